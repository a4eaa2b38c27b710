mod asserting;
mod bench;
mod fallback;
mod folding;
mod recipients;
mod refusals;
mod stop_mode;

use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use self::bench::*;
use super::*;
use crate::message::Notification;
use crate::notify::{Attempt, Outcome};
use crate::store::fixture::{Place, dead_letters, note};
use crate::store::{Commit, Faults, Point, Retention};

#[tokio::test]
async fn rows_are_delivered_as_they_come_each_with_the_handle_of_its_thread() {
    let mut bench = Bench::memory();
    let script = Script::default();
    bench.run(spec("x"), &script);
    bench.store.commit(rows(&[("a1", "x", "a"), ("b1", "x", "b"), ("y1", "y", "a")])).await.unwrap();
    bench.counted("x", 2, 0).await;
    bench.store.commit(rows(&[("a2", "x", "a")])).await.unwrap();
    bench.counted("x", 3, 0).await;
    assert_eq!(script.keys(), ["a1", "b1", "a2"]);
    assert_eq!(script.seen()[2].handle.as_deref(), Some("handle of a1"));
    assert_eq!(script.seen()[1].handle, None);
    let store = bench.stop().await;
    // The one of a receiver without a dispatcher waits.
    assert_eq!(store.sizes().await.unwrap().receivers[0].receiver, "y");
}

#[tokio::test]
async fn a_failing_row_holds_its_thread_and_no_other() {
    let mut bench = Bench::memory();
    let script = Script::default().on("a1", [retry(None), retry(None), retry(None)]);
    bench.store.commit(rows(&[("a1", "x", "a"), ("a2", "x", "a"), ("b1", "x", "b")])).await.unwrap();
    bench.run(spec("x"), &script);
    bench.counted("x", 3, 0).await;
    let keys = script.keys();
    let place = |key: &str| keys.iter().rposition(|k| k == key).unwrap();
    assert!(place("a1") < place("a2"), "{keys:?}");
    assert!(place("b1") < place("a1"), "{keys:?}");
    let numbers: Vec<u32> = script.seen().iter().filter(|s| s.key == "a1").map(|s| s.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    bench.stop().await;
}

#[tokio::test]
async fn a_rejected_row_is_a_dead_letter_and_can_be_sent_again() {
    let mut bench = Bench::memory();
    let script = Script::default().on("a1", [reject()]);
    bench.store.commit(rows(&[("a1", "x", "a"), ("a2", "x", "a")])).await.unwrap();
    bench.run(spec("x"), &script);
    bench.counted("x", 1, 1).await;
    let dead = dead_letters(&bench.store).await.unwrap();
    assert_eq!((dead[0].key.as_str(), dead[0].reason.as_str()), ("a1", "no such channel"));
    assert!(bench.store.resend_dead("a1", crate::clock::now()).await.unwrap());
    bench.counted("x", 2, 1).await;
    assert_eq!(script.keys(), ["a1", "a2", "a1"]);
    bench.stop().await;
}

#[tokio::test]
async fn retry_after_holds_all_receivers_of_the_credential() {
    let mut bench = Bench::memory();
    let hour = Some(Duration::from_secs(3_600));
    let script = Script::default().on("a1", [retry(hour)]);
    let shared = |name| ReceiverSpec { credential: Some(Arc::from("slack-token")), ..spec(name) };
    bench.store.commit(rows(&[("a1", "x", "a"), ("a2", "x", "b")])).await.unwrap();
    bench.run(shared("x"), &script);
    script.reached(1).await;
    let (x, gate) = (Arc::from("x"), Arc::from("credential slack-token"));
    until(async || {
        bench.store.heads(&x, &gate, Vec::new(), crate::clock::now()).await.unwrap().gate.is_some()
    })
    .await;
    bench.run(shared("y"), &script);
    bench.run(spec("z"), &script);
    bench.store.commit(rows(&[("y1", "y", "a"), ("z1", "z", "a")])).await.unwrap();
    bench.counted("z", 1, 0).await;
    assert_eq!(script.keys(), ["a1", "z1"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_only_itself_and_is_tried_again() {
    let quick = Policy { attempt_grace: Duration::from_millis(20), ..policy() };
    let mut bench = Bench::over(Store::memory().unwrap(), quick);
    let script = Script::default().on("a1", [Reply::Hang, Reply::Hang]);
    bench.store.commit(rows(&[("a1", "x", "a"), ("y1", "y", "a")])).await.unwrap();
    bench.run(spec("x"), &script);
    bench.run(spec("y"), &script);
    bench.counted("y", 1, 0).await;
    bench.counted("x", 1, 0).await;
    assert_eq!(script.keys().iter().filter(|k| *k == "a1").count(), 3);
    bench.stop().await;
}

/// How long something waited may be the clock's fault, so nothing is given up before one attempt.
#[tokio::test]
async fn what_is_too_old_is_given_up_after_one_attempt() {
    let mut bench = Bench::memory();
    let script = Script::default().on("old", [retry(None)]);
    let long_ago = crate::clock::now() - jiff::SignedDuration::from_hours(2);
    let notifications = vec![note("old", "x", "a", long_ago), note("new", "x", "a", crate::clock::now())];
    bench.store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    bench.run(spec("x"), &script);
    bench.counted("x", 1, 1).await;
    assert_eq!(script.keys(), ["old", "new"]);
    let dead = dead_letters(&bench.store).await.unwrap();
    assert_eq!(dead[0].reason, "not delivered within 1h; last: HTTP 503");
    bench.stop().await;
}

#[tokio::test]
async fn the_rate_limit_holds_back_and_loses_nothing() {
    let mut bench = Bench::memory();
    let script = Script::default();
    let slow = Limit { per: Duration::from_secs(3_600), messages: 1, burst: 3 };
    let keys = ["a", "b", "c", "d", "e"].map(|k| (k, "x", k));
    bench.store.commit(rows(&keys)).await.unwrap();
    bench.run(ReceiverSpec { limit: slow, ..spec("x") }, &script);
    bench.counted("x", 3, 0).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let store = bench.stop().await;
    assert_eq!(script.keys(), ["a", "b", "c"]);
    assert_eq!(store.sizes().await.unwrap().receivers[0].queued, 2);
}

#[tokio::test]
async fn shutdown_lets_an_attempt_end_and_cuts_off_one_that_does_not() {
    let place = Place::new();
    let mut bench = Bench::over(place.open(), policy());
    let script = Script::default().on("hangs", [Reply::Hang]);
    bench.store.commit(rows(&[("hangs", "x", "a")])).await.unwrap();
    bench.run(spec("x"), &script);
    script.reached(1).await;
    let counters = bench.outbox.counters();
    drop(bench.stop().await);
    assert_eq!(counters[0].1.interrupted.load(Ordering::Relaxed), 1);

    // The next process makes it again.
    let mut bench = Bench::over(place.open(), policy());
    bench.run(spec("x"), &script);
    bench.counted("x", 1, 0).await;
    let numbers: Vec<u32> = script.seen().iter().map(|s| s.number).collect();
    assert_eq!(numbers, [1, 2]);
    bench.stop().await;
}

#[tokio::test]
async fn a_second_dispatcher_of_a_receiver_waits_for_the_first() {
    let mut bench = Bench::memory();
    let script = Script::default().on("a1", [Reply::Hang]);
    bench.store.commit(rows(&[("a1", "x", "a"), ("b1", "x", "b")])).await.unwrap();
    bench.run(spec("x"), &script);
    script.reached(1).await;
    let second = CancellationToken::new();
    let task = tokio::spawn(
        bench.outbox.dispatcher(spec("x"), script.clone()).run(StopMode::default(), second.clone()),
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(script.keys(), ["a1"], "it would have taken the row under way for interrupted");
    bench.stop.cancel();
    script.reached(3).await;
    assert_eq!(script.keys(), ["a1", "a1", "b1"]);
    second.cancel();
    within(task).await.unwrap().unwrap();
}

/// Every gap between two statements, in the writer thread and in the dispatcher.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_point_loses_nothing_and_repeats_only_the_attempt_under_way() {
    let mut cases: Vec<(Point, &str)> =
        [Point::Chosen, Point::Claimed, Point::Attempted, Point::Settled].map(|p| (p, "dispatch")).into();
    for point in [Point::Applied, Point::Committing, Point::Committed] {
        cases.extend(["commit", "claim a row", "settle a row"].map(|job| (point, job)));
    }
    for (point, job) in cases {
        let place = Place::new();
        let script = Script::default();
        let commit = || rows(&[("a1", "x", "a"), ("a2", "x", "a"), ("b1", "x", "b")]);

        let crash = Faults::new(move |p, j| assert!((p, j) != (point, job), "crash"));
        let store = place.open_with(crash);
        let outbox = Outbox::new(store.clone(), clock(), policy());
        let task = tokio::spawn(
            outbox.dispatcher(spec("x"), script.clone()).run(StopMode::default(), CancellationToken::new()),
        );
        // The engine may hear of the crash too; then it would replay.
        let kept = store.commit(commit()).await;
        if kept.is_ok() {
            // The task panics, or ends because the store is gone.
            match within(task).await {
                Ok(result) => assert!(result.is_err(), "{point:?} {job}"),
                Err(panic) => assert!(panic.is_panic(), "{point:?} {job}"),
            }
        } else {
            within(task).await.ok();
        }
        drop((outbox, store));
        let before = script.seen();

        let mut bench = Bench::over(place.open(), policy());
        bench.run(spec("x"), &script);
        bench.store.commit(commit()).await.unwrap();
        let settled = u64::from((point, job) == (Point::Settled, "dispatch"))
            + u64::from((point, job) == (Point::Committed, "settle a row"));
        bench.counted("x", 3 - settled, 0).await;
        bench.stop().await;

        let keys = script.keys();
        let repeated = keys.len() - 3;
        // Sent, but not recorded: there, and nowhere else, one is sent twice.
        let ambiguous = point == Point::Attempted
            || (job == "settle a row" && (point == Point::Applied || point == Point::Committing));
        assert_eq!(repeated, usize::from(ambiguous), "{point:?} {job}: {keys:?}");
        assert_eq!(before.len(), usize::from(ambiguous) + usize::try_from(settled).unwrap());
        let mut firsts: Vec<&String> = Vec::new();
        for key in &keys {
            if !firsts.contains(&key) {
                firsts.push(key);
            }
        }
        assert_eq!(firsts, ["a1", "a2", "b1"], "{point:?} {job}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rows_of_many_threads_arrive_once_and_in_order() {
    const ROWS: usize = 10_000;
    let place = Place::new();
    let store = place.open();
    for chunk in 0..100 {
        let notifications = (0..ROWS / 100)
            .map(|i| {
                let n = chunk * 100 + i;
                let receiver = if n % 2 == 0 { "x" } else { "y" };
                note(&format!("{n:05}"), receiver, &format!("t{}", n % 37), crate::clock::now())
            })
            .collect();
        store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    }
    let mut bench = Bench::over(store, policy());
    let (x, y) = (Script::default(), Script::default());
    bench.run(spec("x"), &x);
    bench.run(spec("y"), &y);
    let total = u64::try_from(ROWS / 2).unwrap();
    tokio::time::timeout(Duration::from_secs(300), async {
        while [&x, &y].iter().any(|s| s.seen.lock().unwrap().len() < ROWS / 2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    bench.counted("x", total, 0).await;
    bench.counted("y", total, 0).await;
    for script in [&x, &y] {
        let keys = script.keys();
        assert!(keys.is_sorted(), "lowest first");
        assert_eq!(keys.len(), ROWS / 2, "once each");
    }
    let store = bench.stop().await;
    assert_eq!(store.sizes().await.unwrap().receivers, []);
    let later = crate::clock::now() + jiff::SignedDuration::from_hours(24 * 30);
    let mut left = ROWS;
    loop {
        let pruned = store.prune(Retention::default(), later).await.unwrap();
        left -= pruned.delivered;
        if !pruned.is_full() {
            break;
        }
    }
    assert_eq!(left, 0);
}
