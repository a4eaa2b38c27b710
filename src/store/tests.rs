//! What holds for every database: these tests know the interface alone, and [`fixture`] says which one they run
//! on.

use std::time::Duration;

use super::fixture::{
    Place, at, claim, dead_letters, delivered, due, incident, name, note, owed, store, summary,
};
use super::*;
use crate::message::{Decision, Notification, Reason};

mod explain;

fn decided(seconds: i64, incident: &str, decision: Option<Decision>, reason: Reason) -> HistoryRow {
    HistoryRow {
        at: at(seconds),
        incident: Some(Arc::from(incident)),
        decision,
        reason,
        rule: Arc::from("crash-loop"),
        namespace: Some(Arc::from("shop")),
        workload: "Deployment/checkout".into(),
        title: "t".to_owned(),
        detail: "{}".to_owned(),
    }
}

#[test]
fn everything_of_a_commit_is_there_after_reopening() {
    let place = Place::new();
    let store = place.open();
    store
        .commit(Commit {
            incidents: vec![incident("a", "{1}"), incident("b", "{}")],
            marks: vec![("m".into(), "1".into())],
            notifications: vec![note("a-1-x", "x", "a", at(0))],
            history: vec![decided(0, "a", Some(Decision::First), Reason::First)],
            ..Commit::default()
        })
        .wait()
        .unwrap();
    store
        .commit(Commit {
            incidents: vec![incident("a", "{2}")],
            removed: vec!["b".into(), "never there".into()],
            marks: vec![("m".into(), "2".into())],
            ..Commit::default()
        })
        .wait()
        .unwrap();
    drop(store);

    let store = place.open();
    assert_eq!(store.load_incidents().wait().unwrap(), [("a".to_owned(), "{2}".to_owned())]);
    assert_eq!(store.load_marks().wait().unwrap(), [("m".to_owned(), "2".to_owned())]);
    assert_eq!(store.mark("m").wait().unwrap().as_deref(), Some("2"));
    assert_eq!(store.mark("n").wait().unwrap(), None);
    assert_eq!(claim(&store, "x", at(0)).unwrap().1, "a-1-x");
    assert_eq!(store.history(None).wait().unwrap().len(), 1);
}

#[test]
fn a_known_key_is_not_inserted_again_even_when_delivered() {
    let store = store();
    store.commit(owed(vec![note("k", "x", "t", at(0))])).wait().unwrap();
    store.commit(owed(vec![note("k", "x", "t", at(5))])).wait().unwrap();
    let (seq, _) = claim(&store, "x", at(9)).unwrap();
    assert!(store.settle(seq, delivered(), at(9)).wait().unwrap());
    store.commit(owed(vec![note("k", "x", "t", at(10))])).wait().unwrap();
    assert_eq!(due(&store, "x", at(100)), None);
    assert!(!store.settle(seq, delivered(), at(9)).wait().unwrap(), "settled once only");
}

#[test]
fn a_thread_waits_for_its_head_and_others_do_not() {
    let store = store();
    let rows = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")];
    store.commit(owed(rows.map(|(k, t)| note(k, "x", t, at(0))).into())).wait().unwrap();
    let (a1, key) = claim(&store, "x", at(0)).unwrap();
    assert_eq!(key, "a1");
    // While it is under way, its thread waits.
    assert_eq!(due(&store, "x", at(0)).unwrap().key, "b1");
    let retry = Settle::Retry { not_before: at(60), reason: "r".into(), gate: None };
    assert!(store.settle(a1, retry, at(0)).wait().unwrap());
    let (b1, key) = claim(&store, "x", at(0)).unwrap();
    assert_eq!(key, "b1");
    store.settle(b1, delivered(), at(0)).wait().unwrap();
    let heads = store.heads(&name("x"), &name("x"), Vec::new(), at(0)).wait().unwrap();
    assert_eq!(heads, Heads { next_at: Some(at(60)), ..Heads::default() });
    let (a1, key) = claim(&store, "x", at(60)).unwrap();
    assert_eq!(key, "a1");
    // Giving it up lets the next one go.
    store.settle(a1, Settle::Dead { reason: "no".into() }, at(60)).wait().unwrap();
    assert_eq!(due(&store, "x", at(60)).unwrap().key, "a2");
}

#[test]
fn a_gate_is_kept_and_never_shortened() {
    let place = Place::new();
    let store = place.open();
    store.commit(owed(vec![note("k", "x", "t", at(0))])).wait().unwrap();
    for until in [30, 10] {
        let (seq, _) = claim(&store, "x", at(0)).unwrap();
        let gate = Some(Gate { name: name("token"), until: at(until) });
        let retry = Settle::Retry { not_before: at(0), reason: "429".into(), gate };
        store.settle(seq, retry, at(0)).wait().unwrap();
    }
    drop(store);
    let store = place.open();
    for receiver in ["x", "another of the same token"] {
        let heads = store.heads(&name(receiver), &name("token"), Vec::new(), at(0)).wait().unwrap();
        assert_eq!(heads.gate, Some(at(30)));
    }
}

#[test]
fn the_first_handle_of_a_thread_stays_and_summaries_have_none() {
    let store = store();
    let rows = vec![
        note("a1", "x", "a", at(0)),
        note("a2", "x", "a", at(0)),
        note("a3", "x", "a", at(0)),
        summary("s1", "x", at(0)),
        summary("s2", "x", at(0)),
    ];
    store.commit(owed(rows)).wait().unwrap();
    let mut seen = Vec::new();
    while let Some(row) = due(&store, "x", at(0)) {
        let Claim::Claimed { notification, handle, attempt } = store.claim(row.seq, at(0)).wait().unwrap()
        else {
            panic!("claimed")
        };
        let given = (notification.key != "a1").then(|| format!("handle of {}", notification.key));
        seen.push((notification.key.clone(), handle, attempt));
        store.settle(row.seq, Settle::Delivered { handle: given }, at(0)).wait().unwrap();
    }
    let expected = [("a1", None), ("a2", None), ("a3", Some("handle of a2")), ("s1", None), ("s2", None)];
    let expected = expected.map(|(k, h)| (k.to_owned(), h.map(str::to_owned), 1));
    assert_eq!(seen, expected);
}

#[test]
fn dead_letters_are_listed_shown_sent_again_and_dropped() {
    let store = store();
    let rows = vec![note("a1", "x", "a", at(0)), note("a2", "x", "a", at(0)), note("b1", "y", "b", at(0))];
    store.commit(owed(rows)).wait().unwrap();
    for receiver in ["x", "y"] {
        let row = due(&store, receiver, at(0)).unwrap();
        store.settle(row.seq, Settle::Dead { reason: "too old".into() }, at(7)).wait().unwrap();
    }
    let list = dead_letters(&store).wait().unwrap();
    assert_eq!(list.iter().map(|d| d.key.as_str()).collect::<Vec<_>>(), ["a1", "b1"]);
    assert_eq!(list[0].title, "title of a1");
    assert_eq!(list[0].ended_at, Some(at(7)));
    assert_eq!(list[0].reason, "too old");
    let after = |query: OutboxQuery| store.outbox(OutboxQuery { limit: 10, ..query }).wait().unwrap();
    let of_dead = OutboxQuery { states: OutboxStates::Dead, ..OutboxQuery::default() };
    assert_eq!(after(OutboxQuery { after: list[0].seq, ..of_dead.clone() }), list[1..]);
    assert_eq!(after(OutboxQuery { receiver: Some("y".into()), ..of_dead }), list[1..]);
    let shown = store.outbox_find("a1", 9).wait().unwrap();
    assert_eq!(shown[0].notification, Some(Ok(Box::new(note("a1", "x", "a", at(0))))));

    assert!(store.resend_dead("a1", at(50)).wait().unwrap());
    assert!(!store.resend_dead("a1", at(50)).wait().unwrap());
    assert!(!store.drop_dead("a1").wait().unwrap(), "it is queued now");
    // Behind what was queued meanwhile, and young again.
    let (seq, key) = claim(&store, "x", at(50)).unwrap();
    assert_eq!(key, "a2");
    store.settle(seq, delivered(), at(50)).wait().unwrap();
    let again = due(&store, "x", at(50)).unwrap();
    assert_eq!((again.key.as_str(), again.attempts, again.queued_at), ("a1", 0, at(50)));

    assert!(store.drop_dead("b1").wait().unwrap());
    assert!(!store.drop_dead("b1").wait().unwrap());
    assert_eq!(dead_letters(&store).wait().unwrap(), []);
}

#[test]
fn rows_of_receivers_that_are_gone_become_dead_letters() {
    let store = store();
    let rows =
        vec![note("a", "kept", "t", at(0)), note("b", "gone", "t", at(0)), note("c", "gone", "u", at(0))];
    store.commit(owed(rows)).wait().unwrap();
    assert_eq!(store.bury_unknown(&[name("kept")], at(1)).wait().unwrap(), 2);
    assert_eq!(store.bury_unknown(&[name("kept")], at(1)).wait().unwrap(), 0);
    assert_eq!(dead_letters(&store).wait().unwrap().len(), 2);
    assert_eq!(due(&store, "kept", at(1)).unwrap().key, "a");
}

#[test]
fn interrupted_rows_are_queued_again() {
    let place = Place::new();
    let store = place.open();
    store.commit(owed(vec![note("k", "x", "t", at(0)), note("l", "y", "t", at(0))])).wait().unwrap();
    claim(&store, "x", at(0)).unwrap();
    drop(store);
    let store = place.open();
    assert_eq!(due(&store, "x", at(0)), None);
    assert_eq!(store.recover(&name("y")).wait().unwrap(), []);
    let expected = Interrupted { key: "k".into(), attempts: 1, inside: None };
    assert_eq!(store.recover(&name("x")).wait().unwrap(), [expected]);
    assert_eq!(due(&store, "x", at(0)).unwrap().attempts, 1);
}

#[test]
fn history_is_paged_and_the_newest_comes_first() {
    let store = store();
    let history = (0..10).map(|i| decided(i, "a", None, Reason::WithinWindow)).collect();
    store.commit(Commit { history, ..Commit::default() }).wait().unwrap();
    let ask = |before| store.history(before).wait().unwrap();
    let seconds = |page: &[HistoryEntry]| -> Vec<i64> {
        page.iter().map(|r| r.at.as_second() - at(0).as_second()).collect()
    };
    let all = ask(None);
    assert_eq!(seconds(&all), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(seconds(&ask(Some(all[6].id))), [2, 1, 0]);
}

#[test]
fn pruning_bounds_what_is_kept() {
    let store = store();
    let history = (0..100).map(|i| decided(i, "a", None, Reason::Muted)).collect();
    let notifications =
        vec![note("a", "x", "t", at(0)), note("b", "x", "u", at(0)), note("c", "x", "v", at(0))];
    store.commit(Commit { notifications, history, ..Commit::default() }).wait().unwrap();
    let (a, _) = claim(&store, "x", at(0)).unwrap();
    store.settle(a, Settle::Delivered { handle: Some("h".into()) }, at(1)).wait().unwrap();
    let (b, _) = claim(&store, "x", at(0)).unwrap();
    store.settle(b, Settle::Dead { reason: String::new() }, at(1)).wait().unwrap();

    let day = Duration::from_secs(86_400);
    let keep =
        Retention { history_age: day, history_rows: 60, delivered_age: day, dead_age: day, handle_age: day };
    let pruned = store.prune(keep, at(86_400 + 10)).wait().unwrap();
    // Ten by age, thirty more by number; the open row stays however old it is.
    assert_eq!(pruned, Pruned { history: 40, delivered: 1, dead: 1, handles: 1, objects: 0 });
    assert!(!pruned.is_full());
    assert_eq!(store.prune(keep, at(86_400 + 10)).wait().unwrap(), Pruned::default());
    let sizes = store.sizes().wait().unwrap();
    assert_eq!(sizes.history, 60);
    assert_eq!(sizes.receivers.len(), 1);
    assert_eq!((sizes.receivers[0].queued, sizes.receivers[0].oldest), (1, Some(at(0))));
}

#[test]
fn sizes_are_by_receiver() {
    let store = store();
    let rows = vec![note("a", "x", "t", at(5)), note("b", "x", "u", at(3)), note("c", "y", "v", at(1))];
    store.commit(owed(rows)).wait().unwrap();
    claim(&store, "x", at(9)).unwrap();
    let sizes = store.sizes().wait().unwrap();
    let size = |receiver: &str, queued, sending, oldest| ReceiverSize {
        receiver: receiver.into(),
        queued,
        sending,
        dead: 0,
        oldest: Some(at(oldest)),
    };
    assert_eq!(sizes.receivers, [size("x", 1, 1, 3), size("y", 1, 0, 1)]);
    assert!(sizes.bytes > 0);
}

#[tokio::test]
async fn a_failing_job_does_not_spoil_its_group() {
    let store = store();
    let bad = store.write("fail", |s| {
        s.commit(&Commit { marks: vec![("half".into(), "x".into())], ..Commit::default() }, &[])?;
        Err::<(), _>(StoreError::Value { what: "x", why: "y".into() })
    });
    let good = store.commit(Commit { marks: vec![("good".into(), "1".into())], ..Commit::default() });
    // Both are in the queue before either answer is asked for.
    let (bad, good) = (bad.submit().await, good.submit().await);
    assert!(bad.await.is_err());
    good.await.unwrap();
    assert_eq!(store.load_marks().await.unwrap(), [("good".to_owned(), "1".to_owned())]);
}

#[test]
fn a_crash_inside_a_transaction_leaves_nothing_of_it() {
    for point in [Point::Applied, Point::Committing] {
        let place = Place::new();
        let faults = Faults::new(move |p, job| assert!(p != point || job != "commit", "crash"));
        let store = place.open_with(faults);
        let result = store.commit(owed(vec![note("k", "x", "t", at(0))])).wait();
        assert!(matches!(result, Err(StoreError::Stopped)), "{result:?}");
        assert!(matches!(store.writable().wait(), Err(StoreError::Stopped)));
        drop(store);
        let store = place.open();
        assert_eq!(due(&store, "x", at(0)), None, "{point:?}");
    }
}

#[test]
fn a_crash_after_the_commit_keeps_it_though_nobody_was_told() {
    let place = Place::new();
    let faults = Faults::new(|p, _| assert!(p != Point::Committed, "crash"));
    let store = place.open_with(faults);
    let result = store.commit(owed(vec![note("k", "x", "t", at(0))])).wait();
    assert!(matches!(result, Err(StoreError::Stopped)), "{result:?}");
    drop(store);
    let store = place.open();
    assert_eq!(due(&store, "x", at(0)).unwrap().key, "k");
}

#[tokio::test]
async fn new_rows_wake_their_receiver_only() {
    let store = store();
    let (x, y) = (store.wakeups(&name("x")), store.wakeups(&name("y")));
    store.commit(owed(vec![note("k", "x", "t", at(0))])).await.unwrap();
    x.notified().await;
    let not = tokio::time::timeout(Duration::from_millis(20), y.notified()).await;
    assert!(not.is_err());
    // A key that is known is nothing new.
    store.commit(owed(vec![note("k", "x", "t", at(0))])).await.unwrap();
    let not = tokio::time::timeout(Duration::from_millis(20), x.notified()).await;
    assert!(not.is_err());
}

#[tokio::test]
async fn a_handle_dropped_before_its_call_is_answered_loses_nothing() {
    let place = Place::new();
    let store = place.open();
    let pending = store.commit(owed(vec![note("k", "x", "t", at(0))])).submit().await;
    drop(store);
    pending.await.unwrap();
    let store = place.open();
    assert_eq!(due(&store, "x", at(0)).unwrap().key, "k");
}

/// The same message committed again is a replay; another one under its key is reported, whatever became of
/// the first.
#[test]
fn another_message_under_a_known_key_is_reported() {
    let place = Place::new();
    let store = place.open();
    let first = note("a-1-x", "x", "a", at(0));
    let other = Notification { title: "another one".into(), ..note("a-1-x", "x", "a", at(60)) };
    let lost = |message: &Notification| {
        let committed = store.commit(owed(vec![message.clone(), note("b-1-x", "x", "b", at(0))])).wait();
        committed.unwrap().not_queued
    };
    let reported = [NotQueued { key: "a-1-x".into(), receiver: name("x"), title: "another one".into() }];
    assert_eq!(lost(&first), []);
    assert_eq!(lost(&first), [], "a replay while it waits");
    assert_eq!(lost(&other), reported);
    let amended = Notification { text: "with a log".into(), ..first.clone() };
    assert_eq!(store.amend(&[amended]).wait().unwrap(), 1);
    assert_eq!(lost(&first), [], "what was added to the row is not the message's");
    let (seq, _) = claim(&store, "x", at(1)).unwrap();
    assert!(store.settle(seq, delivered(), at(1)).wait().unwrap());
    assert_eq!(lost(&first), [], "a replay after it was delivered");
    assert_eq!(lost(&other), reported, "its body is gone by now");
    let rows = store.history(None).wait().unwrap();
    let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
    assert_eq!(reasons, ["not_queued", "not_queued"]);
    assert_eq!(rows[0].title, "another one");
}
