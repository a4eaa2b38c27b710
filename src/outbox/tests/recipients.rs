//! Receivers with several recipients: each has a row, and a fate, of its own.

use super::*;
use crate::store::{OutboxQuery, OutboxStates, Settle};

const THREE: &[&str] = &["a@x", "b@x", "c@x"];

async fn listed(store: &Store, states: OutboxStates) -> Vec<(String, String, String)> {
    let query = OutboxQuery { states, limit: 99, ..OutboxQuery::default() };
    let rows = store.outbox(query).await.unwrap();
    rows.into_iter().map(|row| (row.key, row.recipient, row.state)).collect()
}

fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}

#[tokio::test]
async fn who_is_missing_is_tried_again_and_nobody_else() {
    let mut bench = Bench::memory();
    let script = Script::to(THREE)
        .on("n1/b@x", [retry(None), retry(None), retry(None)])
        .on("n1/c@x", [Reply::With(Outcome::Reject { reason: "550 no such user".into() })]);
    bench.store.commit(rows(&[("n1", "mail", "t")])).await.unwrap();
    bench.run(spec("mail"), &script);
    bench.counted("mail", 2, 1).await;
    let store = bench.stop().await;
    assert_eq!(sorted(script.told()), ["n1/a@x", "n1/b@x", "n1/b@x", "n1/b@x", "n1/b@x", "n1/c@x"]);
    let dead = dead_letters(&store).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].key.as_str(), dead[0].recipient.as_str()), ("n1/c@x", "c@x"));
    assert_eq!((dead[0].receiver.as_str(), dead[0].title.as_str()), ("mail", "title of n1"));
}

/// The process ends in the middle of a notification, as often as there are recipients.
#[tokio::test]
async fn what_was_done_survives_the_end_of_the_process() {
    for cut in THREE {
        let place = Place::new();
        let store = place.open();
        store.commit(rows(&[("n1", "mail", "t"), ("n2", "mail", "t")])).await.unwrap();
        let mut bench = Bench::over(store, policy());
        let script = Script::to(THREE).on(&format!("n1/{cut}"), [Reply::Hang]);
        bench.run(spec("mail"), &script);
        until(async || script.told().contains(&format!("n1/{cut}"))).await;
        drop(bench.stop().await);

        let mut bench = Bench::over(place.open(), policy());
        bench.run(spec("mail"), &script);
        let served = async || {
            let sizes = bench.store.sizes().await.unwrap();
            sizes.receivers.iter().all(|r| r.queued + r.sending == 0)
        };
        until(served).await;
        bench.stop().await;
        let told = script.told();
        for name in THREE {
            let of: Vec<&String> = told.iter().filter(|t| t.ends_with(name)).collect();
            let mut expected = vec![format!("n1/{name}"), format!("n2/{name}")];
            if name == cut {
                // The one whose attempt was cut off, and nobody else.
                expected.insert(0, expected[0].clone());
            }
            assert_eq!(of, expected.iter().collect::<Vec<_>>(), "{told:?}");
        }
    }
}

#[tokio::test]
async fn the_order_is_kept_for_each_recipient_and_nobody_waits_for_another() {
    let mut bench = Bench::memory();
    let script = Script::to(&["a@x", "b@x"]).on("n1/b@x", [Reply::Hang]);
    let quick = Policy { attempt_grace: Duration::from_millis(300), ..policy() };
    bench.outbox = Outbox::new(bench.store.clone(), clock(), quick);
    bench.store.commit(rows(&[("n1", "mail", "t"), ("n2", "mail", "t")])).await.unwrap();
    bench.run(spec("mail"), &script);
    bench.counted("mail", 4, 0).await;
    let told = script.told();
    let place = |what: &str| told.iter().rposition(|t| t == what).unwrap();
    assert!(place("n1/a@x") < place("n2/a@x") && place("n1/b@x") < place("n2/b@x"), "{told:?}");
    assert!(place("n2/a@x") < place("n1/b@x"), "{told:?}");
    let handles: Vec<Option<String>> =
        script.seen().iter().filter(|s| s.key == "n2").map(|s| s.handle.clone()).collect();
    assert_eq!(handles, [Some("handle of n1/a@x".to_owned()), Some("handle of n1/b@x".to_owned())]);
    bench.stop().await;
}

/// A row of an earlier version, or of a receiver that became one with several recipients.
#[tokio::test]
async fn a_row_is_given_out_to_the_recipients_of_that_moment() {
    let bench = Bench::memory();
    let mail: Arc<str> = Arc::from("mail");
    bench.store.commit(rows(&[("n1", "mail", "t"), ("n2", "mail", "t")])).await.unwrap();
    let names: Vec<Arc<str>> = THREE.iter().map(|name| Arc::from(*name)).collect();
    assert_eq!(bench.store.give_out(&mail, &names[..2], crate::clock::now()).await.unwrap(), 1);
    let first = listed(&bench.store, OutboxStates::Undelivered).await;
    let keys: Vec<&str> = first.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(keys, ["n2", "n1/a@x", "n1/b@x"]);
    assert_eq!(bench.store.give_out(&mail, &names[1..], crate::clock::now()).await.unwrap(), 1);
    // Known by its key although there is no row of just that key: a replay repeats nothing.
    bench.store.commit(rows(&[("n1", "mail", "t")])).await.unwrap();
    assert_eq!(listed(&bench.store, OutboxStates::Undelivered).await.len(), 4);

    let mut bench = bench;
    let script = Script::to(&["b@x", "c@x"]);
    bench.run(spec("mail"), &script);
    bench.counted("mail", 3, 1).await;
    assert_eq!(sorted(script.told()), ["n1/b@x", "n2/b@x", "n2/c@x"]);
    let dead = dead_letters(&bench.store).await.unwrap();
    assert_eq!(dead[0].reason, "a@x is not a recipient of this receiver any more");
    // Sent again while it is still none: again a dead letter, not a row that waits for ever.
    assert!(bench.store.resend_dead("n1/a@x", crate::clock::now()).await.unwrap());
    bench.counted("mail", 3, 2).await;
    bench.stop().await;
}

#[tokio::test]
async fn several_recipients_share_one_text_that_pruning_leaves_to_the_last() {
    let store = Store::memory().unwrap();
    let mail: Arc<str> = Arc::from("mail");
    let names: Vec<Arc<str>> = THREE.iter().map(|name| Arc::from(*name)).collect();
    store.commit(rows(&[("n1", "mail", "t")])).await.unwrap();
    let now = crate::clock::now();
    store.give_out(&mail, &names, now).await.unwrap();
    for (place, name) in THREE.iter().enumerate() {
        let row = store.heads(&mail, &mail, Vec::new(), now).await.unwrap().due.unwrap();
        assert_eq!(&*row.recipient, *name);
        let crate::store::Claim::Claimed { notification, .. } = store.claim(row.seq, now).await.unwrap()
        else {
            panic!("{name}")
        };
        assert_eq!(notification.key, "n1");
        let end = if place == 1 {
            Settle::Dead { reason: "550".into() }
        } else {
            Settle::Delivered { handle: None }
        };
        assert!(store.settle(row.seq, end, now).await.unwrap());
    }
    // The dead letter still has its text, also once it was sent again.
    assert!(matches!(store.outbox_find("n1/b@x", 1).await.unwrap()[0].notification, Some(Ok(_))));
    assert!(store.resend_dead("n1/b@x", now).await.unwrap());
    let later = now + jiff::SignedDuration::from_mins(1);
    store.prune(crate::store::Retention::default(), later).await.unwrap();
    let row = store.heads(&mail, &mail, Vec::new(), now).await.unwrap().due.unwrap();
    let claim = store.claim(row.seq, now).await.unwrap();
    assert!(matches!(claim, crate::store::Claim::Claimed { .. }), "{claim:?}");
}

#[tokio::test]
async fn the_rate_limit_is_each_recipients_own() {
    let mut bench = Bench::memory();
    let script = Script::to(&["a@x", "b@x"]);
    let slow = Limit { per: Duration::from_secs(3_600), messages: 1, burst: 2 };
    let keys = ["n1", "n2", "n3", "n4"].map(|k| (k, "mail", k));
    bench.store.commit(rows(&keys)).await.unwrap();
    bench.run(ReceiverSpec { limit: slow, ..spec("mail") }, &script);
    bench.counted("mail", 4, 0).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let store = bench.stop().await;
    assert_eq!(sorted(script.told()), ["n1/a@x", "n1/b@x", "n2/a@x", "n2/b@x"]);
    assert_eq!(store.sizes().await.unwrap().receivers[0].queued, 4);
}

#[tokio::test]
async fn what_waits_beyond_the_limit_is_told_each_recipient_in_a_summary_of_its_own() {
    let mut bench = Bench::memory();
    let script = Script::to(&["a@x", "b@x"]);
    let limit = Limit { per: Duration::from_millis(200), messages: 1, burst: 1 };
    let keys: Vec<String> = (0..9).map(|n| format!("n{n}")).collect();
    let all: Vec<(&str, &str, &str)> = keys.iter().map(|k| (k.as_str(), "mail", k.as_str())).collect();
    bench.store.commit(rows(&all)).await.unwrap();
    bench.run(ReceiverSpec { limit, ..spec("mail") }, &script);
    bench.counted("mail", 18, 0).await;
    let told = script.told();
    assert_eq!(told.len(), 4, "one message and one summary each: {told:?}");
    for name in ["a@x", "b@x"] {
        let own: Vec<&String> = told.iter().filter(|t| t.ends_with(&format!("/{name}"))).collect();
        assert_eq!(own.len(), 2, "{told:?}");
        assert!(own[1].starts_with("fold-") && own[1].ends_with(&format!("-mail/{name}/{name}")), "{own:?}");
    }
    bench.stop().await;
}

/// A row that becomes due while another is attempted is given out first, and not claimed along as nobody's.
#[tokio::test]
async fn what_is_claimed_along_is_for_a_recipient() {
    let mut bench = Bench::memory();
    let script = Script::to(&["a@x"]);
    bench.store.commit(rows(&[("n1", "mail", "t"), ("n2", "mail", "u"), ("n3", "mail", "t")])).await.unwrap();
    bench.run(spec("mail"), &script);
    bench.counted("mail", 3, 0).await;
    assert_eq!(sorted(script.told()), ["n1/a@x", "n2/a@x", "n3/a@x"]);
    bench.stop().await;
}
