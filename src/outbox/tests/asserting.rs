//! Alerts that are open at a receiver which ends what is not repeated.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::message::{Decision, Reason};
use crate::store::IncidentRow;

const EVERY: Duration = Duration::from_millis(100);

fn script() -> Script {
    Script { reasserts: Some(EVERY), ..Script::default() }
}

/// An incident as the engine keeps it.
fn incident(id: &str, state: &str) -> IncidentRow {
    let updated_at = crate::clock::now();
    IncidentRow { id: id.into(), rule: "r".into(), state: state.into(), body: "{}".into(), updated_at }
}

/// Rows of `x` whose incidents fire.
fn firing(keys: &[(&str, &str, &str)]) -> Commit {
    let incidents = keys.iter().map(|(_, _, thread)| incident(thread, "firing")).collect();
    Commit { incidents, ..rows(keys) }
}

fn end(key: &str, thread: &str) -> Notification {
    let mut n = note(key, "x", thread, crate::clock::now());
    (n.decision, n.reason) = (Decision::Resolved, Reason::Recovered);
    n.incidents[0].ended_at = Some(n.at);
    n
}

/// What is asserted from now on, once it has been for a while.
async fn asserted(script: &Script) -> Vec<String> {
    script.asserted.lock().unwrap().clear();
    tokio::time::sleep(EVERY * 4).await;
    let mut all: Vec<String> = script.asserted.lock().unwrap().iter().flatten().cloned().collect();
    all.sort();
    all.dedup();
    all
}

#[tokio::test]
async fn what_is_open_is_repeated_until_it_ends_and_the_newest_counts() {
    let mut bench = Bench::memory();
    let script = script();
    bench.run(spec("x"), &script);
    let mut commit = rows(&[("a1", "x", "a"), ("b1", "x", "b"), ("c1", "x", "c")]);
    commit.incidents = vec![incident("a", "firing"), incident("b", "firing"), incident("c", "pending")];
    bench.store.commit(commit).await.unwrap();
    bench.counted("x", 3, 0).await;
    // Nothing more is decided: silenced, or within its window.
    assert_eq!(asserted(&script).await, ["a1", "b1"]);
    bench.store.commit(rows(&[("a2", "x", "a")])).await.unwrap();
    bench.counted("x", 4, 0).await;
    assert_eq!(asserted(&script).await, ["a2", "b1"]);
    let notifications = vec![end("a3", "a")];
    bench.store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    bench.counted("x", 5, 0).await;
    assert_eq!(asserted(&script).await, ["b1"], "the engine has not even written it down");
    // Over, and nobody is to be told (`send_resolved: false`, or forgotten).
    let incidents = vec![incident("b", "resolved")];
    bench.store.commit(Commit { incidents, ..Commit::default() }).await.unwrap();
    assert_eq!(asserted(&script).await, [""; 0]);
    let counters = bench.outbox.counters();
    assert!(counters[0].1.asserted.load(Ordering::Relaxed) > 4);
    bench.stop().await;
}

#[tokio::test]
async fn a_restart_and_an_outage_leave_nothing_to_catch_up_with() {
    let place = Place::new();
    let mut bench = Bench::over(place.open(), policy());
    let script = script();
    bench.run(spec("x"), &script);
    bench.store.commit(firing(&[("a1", "x", "a")])).await.unwrap();
    bench.counted("x", 1, 0).await;
    drop(bench.stop().await);

    let mut bench = Bench::over(place.open(), policy());
    let down = || Outcome::Retry { after: Some(Duration::from_millis(100)), reason: "503".into() };
    *script.doubts.lock().unwrap() = (0..5).map(|_| down()).collect();
    script.asserted.lock().unwrap().clear();
    bench.run(spec("x"), &script);
    until(async || script.asserted.lock().unwrap().len() >= 6).await;
    tokio::time::sleep(EVERY / 2).await;
    // Five that failed, and one that did not.
    assert_eq!(script.asserted.lock().unwrap().concat(), ["a1"; 6]);
    assert_eq!(asserted(&script).await, ["a1"]);
    let counters = bench.outbox.counters();
    assert_eq!(counters[0].1.assertions_failed.load(Ordering::Relaxed), 5);
    bench.stop().await;
}

#[tokio::test]
async fn what_waits_to_be_sent_is_not_asserted_as_it_was() {
    let mut bench = Bench::memory();
    let script = script().on("a2", [retry(Some(Duration::from_secs(3_600)))]);
    bench.run(spec("x"), &script);
    bench.store.commit(firing(&[("a1", "x", "a"), ("b1", "x", "b")])).await.unwrap();
    bench.counted("x", 2, 0).await;
    // The receiver asked for a pause of an hour: that counts for assertions, too.
    bench.store.commit(rows(&[("a2", "x", "a")])).await.unwrap();
    script.reached(3).await;
    assert_eq!(asserted(&script).await, [""; 0]);
    bench.stop().await;

    let mut bench = Bench::memory();
    let script = self::script().on("a2", (0..1_000).map(|_| retry(None)).collect::<Vec<_>>());
    bench.run(spec("x"), &script);
    bench.store.commit(firing(&[("a1", "x", "a"), ("b1", "x", "b"), ("a2", "x", "a")])).await.unwrap();
    bench.counted("x", 2, 0).await;
    script.reached(4).await;
    assert_eq!(asserted(&script).await, ["b1"], "the other alert is");
    bench.stop().await;
}

#[tokio::test]
async fn a_notice_stands_until_it_is_taken_back() {
    let mut bench = Bench::memory();
    let script = script();
    bench.run(spec("x"), &script);
    let mut n = note("blind-7-1-x", "x", "none", crate::clock::now());
    (n.decision, n.reason) = (Decision::Notice, Reason::Blind);
    n.incidents.clear();
    let mark = serde_json::json!({ "thread": "blind-7", "seq": 1, "content": "", "to": ["x"] }).to_string();
    let marks = vec![("notice.blind".to_owned(), mark), ("notice.number".to_owned(), "7".to_owned())];
    bench.store.commit(Commit { notifications: vec![n], marks, ..Commit::default() }).await.unwrap();
    bench.counted("x", 1, 0).await;
    assert_eq!(asserted(&script).await, ["blind-7-1-x"]);
    let marks = vec![("notice.blind".to_owned(), String::new())];
    bench.store.commit(Commit { marks, ..Commit::default() }).await.unwrap();
    assert_eq!(asserted(&script).await, [""; 0]);
    bench.stop().await;
}

/// Each request is bounded, all of them are sent, and messages go in between.
#[tokio::test]
async fn many_open_alerts_are_several_requests() {
    let mut bench = Bench::memory();
    let script = script();
    bench.run(spec("x"), &script);
    let keys: Vec<String> = (0..120).map(|n| format!("k{n:03}")).collect();
    let all: Vec<(&str, &str, &str)> = keys.iter().map(|k| (k.as_str(), "x", k.as_str())).collect();
    bench.store.commit(firing(&all)).await.unwrap();
    bench.counted("x", 120, 0).await;
    script.asserted.lock().unwrap().clear();
    until(async || script.asserted.lock().unwrap().concat().len() >= 240).await;
    let requests = script.asserted.lock().unwrap().clone();
    assert!(requests.iter().all(|request| request.len() <= 50), "{requests:?}");
    let mut once: Vec<String> = requests.concat();
    once.sort();
    once.dedup();
    assert_eq!(once, keys);
    bench.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_assertions_is_called_refusing() {
    let mut bench = Bench::memory();
    let script = script();
    bench.run(spec("x"), &script);
    bench.store.commit(firing(&[("a1", "x", "a")])).await.unwrap();
    bench.counted("x", 1, 0).await;
    script.doubts.lock().unwrap().push(Outcome::Refused { reason: "401".into() });
    until(async || !bench.outbox.refusals().is_empty()).await;
    assert_eq!(asserted(&script).await, [""; 0], "it is paused");
    script.credentials.store(1, Ordering::Relaxed);
    bench.store.wakeups(&Arc::from("x")).notify_one();
    until(async || bench.outbox.refusals().is_empty()).await;
    bench.stop().await;
}

#[tokio::test]
async fn the_watchdog_is_only_sent_while_the_bot_is_well() {
    let mut bench = Bench::memory();
    let well = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&well);
    bench.outbox = bench.outbox.clone().with_vital(Arc::new(move || asked.load(Ordering::Relaxed)));
    let script = script();
    bench.run(spec("x"), &script);
    let sent = || script.watchdogs.load(Ordering::Relaxed);
    until(async || sent() >= 3).await;
    well.store(false, Ordering::Relaxed);
    tokio::time::sleep(EVERY).await;
    let before = sent();
    tokio::time::sleep(EVERY * 4).await;
    assert_eq!(sent(), before);
    bench.stop().await;
}
