//! A receiver that does not work, and its fallback.

use std::collections::BTreeMap;

use super::*;
use crate::message::{Decision, Reason};
use crate::store::Fallback;

/// The message that shows that the receiver works again.
fn probe(receiver: &str) -> Notification {
    let key = format!("fallback-{receiver}-1-1-1-{receiver}");
    let mut n = note(&key, receiver, "x", crate::clock::now());
    (n.decision, n.reason) = (Decision::Notice, Reason::HandedOver);
    n.incidents.clear();
    n
}

fn fallbacks(of: &[(&str, &str)]) -> BTreeMap<Arc<str>, Fallback> {
    let each =
        of.iter().map(|(from, to)| (Arc::from(*from), Fallback { name: Arc::from(*to), apart: false }));
    each.collect()
}

fn failing(bench: &Bench, receiver: &str) -> bool {
    bench.outbox.acceptances().get(receiver).is_some_and(|acceptance| acceptance.outage().is_some())
}

#[tokio::test]
async fn its_messages_are_told_by_the_fallback_until_it_works_again() {
    let mut bench = Bench::memory();
    let down: Vec<Reply> = std::iter::repeat_with(|| retry(None)).take(1_000).collect();
    let slack = Script::default().on("a1", down.clone()).on("fallback-slack-1-1-1-slack", down);
    let mail = Script::default();
    bench.store.commit(rows(&[("a1", "slack", "a"), ("a2", "slack", "a")])).await.unwrap();
    bench.run(spec("slack"), &slack);
    bench.run(spec("mail"), &mail);
    until(async || failing(&bench, "slack")).await;
    assert!(bench.outbox.troubles().is_empty(), "one failed attempt is no news");
    bench.outbox.set_trouble_after(Duration::ZERO);
    let trouble = bench.outbox.troubles().remove("slack").unwrap();
    assert_eq!(
        (trouble.outage.reason.as_str(), trouble.refusing, trouble.fallback),
        ("HTTP 503", false, None)
    );

    bench.store.commit(Commit { notifications: vec![probe("slack")], ..Commit::default() }).await.unwrap();
    bench.outbox.set_fallbacks(&fallbacks(&[("slack", "mail")]));
    bench.counted("mail", 2, 0).await;
    assert_eq!(bench.outbox.troubles()["slack"].fallback.as_deref(), Some("mail"));
    bench.store.commit(rows(&[("b1", "slack", "b")])).await.unwrap();
    bench.counted("mail", 3, 0).await;
    assert_eq!(mail.keys(), ["a1", "a2", "b1"]);
    assert!(slack.keys().iter().all(|key| key != "a2" && key != "b1"), "{:?}", slack.keys());

    slack.replies.lock().unwrap().clear();
    bench.counted("slack", 1, 0).await;
    until(async || !failing(&bench, "slack")).await;
    // Before anybody says that nothing is to be handed over any more.
    bench.store.commit(rows(&[("c1", "slack", "c")])).await.unwrap();
    bench.counted("slack", 2, 0).await;
    assert_eq!(mail.keys().len(), 3);
    let counters = bench.outbox.counters();
    let of_slack = &counters.iter().find(|(name, _)| &**name == "slack").unwrap().1;
    assert_eq!(of_slack.handed_over.load(Ordering::Relaxed), 3);
    bench.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_hands_over_although_it_is_paused() {
    let mut bench = Bench::memory();
    let slack = Script::default().on("a1", [refused()]);
    let mail = Script::default();
    bench.store.commit(rows(&[("a1", "slack", "a")])).await.unwrap();
    bench.run(spec("slack"), &slack);
    bench.run(spec("mail"), &mail);
    until(async || failing(&bench, "slack")).await;
    bench.outbox.set_fallbacks(&fallbacks(&[("slack", "mail")]));
    bench.counted("mail", 1, 0).await;
    assert_eq!((slack.keys(), mail.keys()), (vec!["a1".to_owned()], vec!["a1".to_owned()]));
    bench.stop().await;
}

/// A restart knows that the receiver did not work, and hands over as soon as it is told to whom.
#[tokio::test]
async fn an_outage_survives_a_restart() {
    let place = Place::new();
    let slow = Policy {
        backoff: Backoff { base: Duration::from_secs(60), cap: Duration::from_secs(60) },
        ..policy()
    };
    let mut first = Bench::over(place.open(), slow);
    let slack = Script::default().on("a1", [retry(None)]);
    first.store.commit(rows(&[("a1", "slack", "a")])).await.unwrap();
    first.run(spec("slack"), &slack);
    until(async || failing(&first, "slack")).await;
    let since = first.outbox.acceptances()["slack"].outage().unwrap().since;
    drop(first.stop().await);

    let mut second = Bench::over(place.open(), slow);
    let mail = Script::default();
    second.run(spec("slack"), &slack);
    second.run(spec("mail"), &mail);
    until(async || failing(&second, "slack")).await;
    let outage = second.outbox.acceptances()["slack"].outage().unwrap().clone();
    assert_eq!((outage.since.as_second(), outage.attempts), (since.as_second(), 1));
    second.outbox.set_fallbacks(&fallbacks(&[("slack", "mail")]));
    second.counted("mail", 1, 0).await;
    second.stop().await;
}
