use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::message::Notification;
use crate::store::fixture::{at, note, store};
use crate::store::{Claim, Commit, Gate, Settle, Store};

fn with_log(mut n: Notification) -> Notification {
    n.text.push_str("\nLast log lines:\n  panic");
    n.incidents[0].log_tail = Some(Arc::from("panic"));
    n
}

/// Rows of thread `a` at receiver `x`, of which the first is held until `at(10)`.
fn held(rows: &[&str]) -> (Store, Vec<Notification>) {
    let store = store();
    let notifications: Vec<Notification> = rows.iter().map(|key| note(key, "x", "a", at(0))).collect();
    let holds = [(rows[0].to_owned(), at(10))].into();
    store.commit(Commit { notifications: notifications.clone(), holds, ..Commit::default() }).wait().unwrap();
    (store, notifications)
}

fn due(store: &Store, now: Timestamp) -> Option<String> {
    let x = Arc::from("x");
    store.heads(&x, &x, Vec::new(), now).wait().unwrap().due.map(|row| row.key)
}

fn claim(store: &Store, now: Timestamp) -> (i64, Notification) {
    let x = Arc::from("x");
    let row = store.heads(&x, &x, Vec::new(), now).wait().unwrap().due.unwrap();
    match store.claim(row.seq, now).wait().unwrap() {
        Claim::Claimed { notification, .. } => (row.seq, *notification),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_held_row_goes_with_what_was_added_as_soon_as_it_is() {
    let (store, rows) = held(&["a1", "a2"]);
    let x = Arc::from("x");
    let heads = store.heads(&x, &x, Vec::new(), at(1)).wait().unwrap();
    assert_eq!((heads.due, heads.next_at), (None, Some(at(10))), "also what is behind it waits");
    let amended = with_log(rows[0].clone());
    assert_eq!(store.amend(std::slice::from_ref(&amended)).wait().unwrap(), 1);
    let (seq, told) = claim(&store, at(1));
    assert_eq!(told, amended);
    store.settle(seq, Settle::Delivered { handle: None }, at(1)).wait().unwrap();
    assert_eq!(claim(&store, at(1)).1, rows[1]);
}

#[test]
fn whoever_serves_the_receiver_is_woken() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (store, rows) = held(&["a1"]);
        let woken = store.wakeups(&Arc::from("x"));
        store.amend(&[with_log(rows[0].clone())]).await.unwrap();
        woken.notified().await;
    });
}

#[test]
fn a_held_row_goes_as_it_is_when_its_time_has_passed() {
    let (store, rows) = held(&["a1"]);
    assert_eq!(due(&store, at(9)), None);
    assert_eq!(claim(&store, at(10)).1, rows[0]);
}

#[test]
fn a_row_that_was_attempted_is_never_changed() {
    let (store, rows) = held(&["a1"]);
    let amended = [with_log(rows[0].clone())];
    let (seq, _) = claim(&store, at(10));
    assert_eq!(store.amend(&amended).wait().unwrap(), 0, "it is under way");
    assert_eq!(store.release(vec!["a1".into()]).wait().unwrap(), 0);
    let again = Settle::Retry { not_before: at(60), reason: "503".into(), gate: None };
    store.settle(seq, again, at(11)).wait().unwrap();
    assert_eq!(store.amend(&amended).wait().unwrap(), 0, "it is queued again");
    assert_eq!(store.release_all().wait().unwrap(), 0, "and waits for its next attempt");
    assert_eq!(due(&store, at(59)), None);
    assert_eq!(claim(&store, at(60)).1, rows[0]);
    assert_eq!(store.amend(&[note("unknown", "x", "a", at(0))]).wait().unwrap(), 0);
}

#[test]
fn what_is_not_wanted_any_more_is_released() {
    let (store, rows) = held(&["a1"]);
    assert_eq!(store.release(vec!["a1".into(), "b".into()]).wait().unwrap(), 1);
    assert_eq!(claim(&store, at(0)).1, rows[0]);
    let (store, rows) = held(&["a1", "a2"]);
    assert_eq!(store.release_all().wait().unwrap(), 1, "the one that was held");
    assert_eq!(claim(&store, at(0)).1, rows[0]);
}

#[test]
fn a_decision_that_is_replayed_neither_holds_nor_changes_its_row() {
    let (store, rows) = held(&["a1"]);
    store.amend(&[with_log(rows[0].clone())]).wait().unwrap();
    let holds = [("a1".to_owned(), at(99))].into();
    store.commit(Commit { notifications: rows, holds, ..Commit::default() }).wait().unwrap();
    assert!(claim(&store, at(1)).1.text.contains("Last log lines"));
}

#[test]
fn what_was_waited_for_is_over_by_a_clock_that_was_set_back() {
    let store = store();
    let name: Arc<str> = Arc::from("x");
    let owe = |key, now| {
        let notifications = vec![note(key, "x", key, now)];
        store.commit(Commit { notifications, ..Commit::default() }).wait().unwrap();
        store.heads(&name, &name, Vec::new(), now).wait().unwrap().due
    };
    let first = owe("first", at(0)).unwrap().seq;
    store.claim(first, at(0)).wait().unwrap();
    let gate = Some(Gate { name: Arc::clone(&name), until: at(20) });
    let retry = Settle::Retry { not_before: at(20), reason: "429".into(), gate };
    assert!(store.settle(first, retry, at(0)).wait().unwrap());
    store.claim(first, at(30)).wait().unwrap();
    assert!(store.settle(first, Settle::Delivered { handle: None }, at(30)).wait().unwrap());
    let by = SignedDuration::from_hours(-2);
    let now = crate::clock::moved(at(300), by);
    store.move_waits(by, now, Duration::from_secs(3_600)).wait().unwrap();
    assert!(owe("second", now).is_some());
}
