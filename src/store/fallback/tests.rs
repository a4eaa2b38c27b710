use crate::message::{Decision, Notification, Reason};
use crate::store::fixture::{Place, at, claim, delivered, due, name, note, owed, store, summary};
use crate::store::{Fallback, OutboxEntry, OutboxQuery, OutboxStates, Settle, Store, TakenOver};

fn to(name: &str) -> Fallback {
    Fallback { name: name.into(), apart: false }
}

/// The message `seq` of an incident.
fn message(receiver: &str, thread: &str, seq: u64) -> Notification {
    let mut n = note(&format!("{thread}-{seq}-{receiver}"), receiver, thread, at(0));
    (n.seq, n.incidents[0].seq) = (seq, seq);
    n
}

fn end(receiver: &str, thread: &str, seq: u64) -> Notification {
    Notification { decision: Decision::Resolved, reason: Reason::Recovered, ..message(receiver, thread, seq) }
}

fn commit(store: &Store, rows: Vec<Notification>) {
    store.commit(owed(rows)).wait().unwrap();
}

fn take_over(store: &Store, from: &str, to: &Fallback) -> TakenOver {
    store.take_over(&name(from), to.clone(), at(9)).wait().unwrap()
}

/// What each receiver is owed, or was told, as `RECEIVER KEY`.
fn rows(store: &Store, state: &str) -> Vec<String> {
    let query = OutboxQuery { states: OutboxStates::All, limit: 1_000, ..OutboxQuery::default() };
    let all: Vec<OutboxEntry> = store.outbox(query).wait().unwrap();
    all.iter().filter(|row| row.state == state).map(|row| format!("{} {}", row.receiver, row.key)).collect()
}

/// Delivers all that a receiver is owed, and says in which order.
fn deliver(store: &Store, receiver: &str) -> Vec<String> {
    std::iter::from_fn(|| {
        let (seq, key) = claim(store, receiver, at(20))?;
        assert!(store.settle(seq, delivered(), at(21)).wait().unwrap());
        Some(key)
    })
    .collect()
}

#[test]
fn what_waits_goes_to_the_fallback_in_order_with_its_keys() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1), message("slack", "b", 1), message("slack", "a", 2)]);
    assert_eq!(take_over(&store, "slack", &to("mail")), TakenOver { looked_at: 3, handed_over: 3 });
    assert_eq!(take_over(&store, "slack", &to("mail")), TakenOver::default());
    assert_eq!(due(&store, "slack", at(20)), None);
    assert_eq!(deliver(&store, "mail"), ["a-1-slack", "b-1-slack", "a-2-slack"]);
    // Committed once more, after a crash: nothing is queued and nothing is taken for another message.
    let again = store.commit(owed(vec![message("slack", "a", 1)])).wait().unwrap();
    assert_eq!((again.not_queued.len(), rows(&store, "queued").len()), (0, 0));
}

#[test]
fn the_end_of_what_only_the_fallback_was_told_goes_to_the_fallback() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1)]);
    take_over(&store, "slack", &to("mail"));
    // Slack works again by now: nobody hands anything over.
    commit(&store, vec![end("slack", "a", 2), message("slack", "b", 1)]);
    assert_eq!(rows(&store, "queued"), ["mail a-1-slack", "mail a-2-slack", "slack b-1-slack"]);
    assert_eq!(deliver(&store, "mail"), ["a-1-slack", "a-2-slack"]);
}

#[test]
fn the_end_of_what_both_were_told_goes_to_both() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1)]);
    deliver(&store, "slack");
    commit(&store, vec![message("slack", "a", 2)]);
    take_over(&store, "slack", &to("mail"));
    commit(&store, vec![end("slack", "a", 3)]);
    assert_eq!(take_over(&store, "slack", &to("mail")), TakenOver { looked_at: 1, handed_over: 0 });
    assert_eq!(rows(&store, "queued"), ["mail a-2-slack", "slack a-3-slack", "mail a-3-slack@mail"]);
    assert_eq!(deliver(&store, "mail"), ["a-2-slack", "a-3-slack"], "the same notification");
    assert_eq!(deliver(&store, "slack"), ["a-3-slack"]);
}

#[test]
fn a_receiver_that_told_it_after_it_works_again_tells_the_end_too() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1)]);
    take_over(&store, "slack", &to("mail"));
    commit(&store, vec![message("slack", "a", 2)]);
    assert_eq!(deliver(&store, "slack"), ["a-2-slack"]);
    commit(&store, vec![end("slack", "a", 3)]);
    assert_eq!(rows(&store, "queued"), ["mail a-1-slack", "slack a-3-slack", "mail a-3-slack@mail"]);
}

#[test]
fn the_end_of_what_only_the_receiver_was_told_waits_for_it() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1)]);
    deliver(&store, "slack");
    commit(&store, vec![end("slack", "a", 2), message("slack", "b", 1)]);
    assert_eq!(take_over(&store, "slack", &to("mail")), TakenOver { looked_at: 2, handed_over: 1 });
    assert_eq!(rows(&store, "queued"), ["slack a-2-slack", "mail b-1-slack"]);
}

#[test]
fn beginning_and_end_that_both_wait_go_together() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1), end("slack", "a", 2)]);
    take_over(&store, "slack", &to("mail"));
    assert_eq!(deliver(&store, "mail"), ["a-1-slack", "a-2-slack"]);
    assert_eq!(rows(&store, "queued"), [""; 0]);
}

#[test]
fn a_fallback_that_is_told_by_its_own_route_is_not_told_twice() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1), message("mail", "a", 1)]);
    take_over(&store, "slack", &to("mail"));
    assert_eq!(deliver(&store, "mail"), ["a-1-mail"]);
    assert_eq!(rows(&store, "delivered"), ["mail a-1-slack", "mail a-1-mail"]);
    commit(&store, vec![end("slack", "a", 2), end("mail", "a", 2)]);
    assert_eq!(deliver(&store, "mail"), ["a-2-mail"]);
}

#[test]
fn older_rows_go_before_what_the_fallback_is_owed_of_the_same_incident() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1), message("mail", "a", 2)]);
    take_over(&store, "slack", &to("mail"));
    assert_eq!(deliver(&store, "mail"), ["a-1-slack", "a-2-mail"]);
}

#[test]
fn rows_of_recipients_become_one_row_of_the_fallback() {
    let store = store();
    commit(&store, vec![message("mail", "a", 1)]);
    store.give_out(&name("mail"), &[name("x@a.test"), name("y@a.test")], at(1)).wait().unwrap();
    commit(&store, vec![end("mail", "a", 2)]);
    store.give_out(&name("mail"), &[name("x@a.test"), name("y@a.test")], at(1)).wait().unwrap();
    take_over(&store, "mail", &to("slack"));
    assert_eq!(deliver(&store, "slack"), ["a-1-mail", "a-2-mail"]);
    assert_eq!(rows(&store, "queued"), [""; 0]);
}

#[test]
fn a_summary_is_taken_apart_for_a_fallback_that_opens_and_closes() {
    let store = store();
    let mut both = summary("storm-1-1-slack", "slack", at(0));
    both.incidents[0].id = "a".into();
    let mut other = both.incidents[0].clone();
    other.id = "b".into();
    both.incidents.push(other);
    commit(&store, vec![both]);
    take_over(&store, "slack", &Fallback { apart: true, ..to("pager") });
    commit(&store, vec![end("slack", "a", 2), end("slack", "b", 2)]);
    let told = deliver(&store, "pager");
    assert_eq!(told, ["storm-1-1-slack-a", "storm-1-1-slack-b", "a-2-slack", "b-2-slack"]);
}

#[test]
fn digests_and_the_message_that_shows_that_it_works_stay() {
    let store = store();
    let mut probe = message("slack", "x", 1);
    probe.key = "fallback-slack-1-1-1-slack".to_owned();
    (probe.decision, probe.reason) = (Decision::Notice, Reason::HandedOver);
    probe.incidents.clear();
    commit(&store, vec![probe, message("slack", "a", 1)]);
    assert_eq!(take_over(&store, "slack", &to("mail")).handed_over, 1);
    let row = due(&store, "slack", at(20)).unwrap();
    assert!(row.probe && !row.foldable, "{row:?}");
    assert_eq!(row.key, "fallback-slack-1-1-1-slack");
}

#[test]
fn an_end_follows_a_chain_of_fallbacks() {
    let store = store();
    commit(&store, vec![message("slack", "a", 1)]);
    take_over(&store, "slack", &to("mail"));
    take_over(&store, "mail", &to("pager"));
    commit(&store, vec![end("slack", "a", 2)]);
    assert_eq!(deliver(&store, "pager"), ["a-1-slack", "a-2-slack"]);
    assert_eq!(rows(&store, "queued"), [""; 0]);
}

#[test]
fn where_a_thread_was_told_and_since_when_it_fails_survives_a_restart() {
    let place = Place::new();
    let store = place.open();
    commit(&store, vec![message("slack", "a", 1), message("slack", "b", 1)]);
    let (seq, _) = claim(&store, "slack", at(1)).unwrap();
    let retry = Settle::Retry { not_before: at(5), reason: "HTTP 503".into(), gate: None };
    store.settle(seq, retry, at(2)).wait().unwrap();
    take_over(&store, "slack", &to("mail"));
    drop(store);

    let store = place.open();
    let outages = store.outages().wait().unwrap();
    assert_eq!(outages.len(), 1);
    assert!(!outages[0].refusing);
    let outage = &outages[0].outage;
    assert_eq!((outage.since, outage.attempts, outage.reason.as_str()), (at(2), 1, "HTTP 503"));
    commit(&store, vec![end("slack", "a", 2)]);
    assert_eq!(rows(&store, "queued"), ["mail a-1-slack", "mail b-1-slack", "mail a-2-slack"]);
    store.end_outage(&name("slack")).wait().unwrap();
    assert!(store.outages().wait().unwrap().is_empty());
}

#[test]
fn how_a_receiver_did_that_is_gone_is_forgotten() {
    let place = Place::new();
    let store = place.open();
    for receiver in ["slack", "mail"] {
        store.keep_failure(&name(receiver), "HTTP 503", at(1)).wait().unwrap();
    }
    store.bury_unknown(&[name("mail")], at(2)).wait().unwrap();
    let left: Vec<String> = store.outages().wait().unwrap().into_iter().map(|one| one.receiver).collect();
    assert_eq!(left, ["mail"]);
}
