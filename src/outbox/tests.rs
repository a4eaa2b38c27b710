mod asserting;
mod folding;
mod recipients;
mod refusals;
mod stop_mode;

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::message::Notification;
use crate::notify::{Attempt, Outcome};
use crate::store::fixture::{dead_letters, note};
use crate::store::{Commit, Durability, Faults, Options, Point, Retention};

/// What the other side does, by key (and recipient, as `KEY/RECIPIENT`), in order; without a script it takes
/// everything.
#[derive(Debug, Clone)]
enum Reply {
    With(Outcome),
    Hang,
}

/// A delivery as the other side saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    key: String,
    thread: String,
    handle: Option<String>,
    number: u32,
    recipient: Option<String>,
}

#[derive(Clone, Default)]
struct Script {
    recipients: Vec<Arc<str>>,
    credentials: Arc<AtomicU64>,
    reasserts: Option<Duration>,
    /// What was asserted, as `KEY` of the last notification, by request.
    asserted: Arc<Mutex<Vec<Vec<String>>>>,
    /// What the other side says to the next assertions; then it takes them.
    doubts: Arc<Mutex<Vec<Outcome>>>,
    watchdogs: Arc<AtomicU64>,
    replies: Arc<Mutex<HashMap<String, Vec<Reply>>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    fn to(recipients: &[&str]) -> Self {
        Self { recipients: recipients.iter().map(|name| Arc::from(*name)).collect(), ..Self::default() }
    }

    /// Who was told what, in order, as `KEY/RECIPIENT`.
    fn told(&self) -> Vec<String> {
        let of = |s: Seen| s.recipient.map_or(s.key.clone(), |recipient| format!("{}/{recipient}", s.key));
        self.seen().into_iter().map(of).collect()
    }

    fn on(self, key: &str, replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: Vec<Reply> = replies.into_iter().collect();
        replies.reverse();
        self.replies.lock().unwrap().insert(key.to_owned(), replies);
        self
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn keys(&self) -> Vec<String> {
        self.seen().into_iter().map(|s| s.key).collect()
    }

    /// Waits until `n` attempts were made. A missing one fails by the time limit.
    async fn reached(&self, n: usize) {
        within(async {
            while self.seen.lock().unwrap().len() < n {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

impl Deliver for Script {
    fn time_limit(&self) -> Duration {
        Duration::ZERO
    }

    fn recipients(&self) -> &[Arc<str>] {
        &self.recipients
    }

    fn reasserts(&self) -> Option<Duration> {
        self.reasserts
    }

    async fn reassert(&self, alerts: &[Notification]) -> Outcome {
        let keys = alerts.iter().map(|n| n.key.clone()).collect();
        self.asserted.lock().unwrap().push(keys);
        self.doubts.lock().unwrap().pop().unwrap_or(Outcome::Delivered { handle: None })
    }

    async fn watchdog(&self) -> Outcome {
        self.watchdogs.fetch_add(1, Ordering::Relaxed);
        Outcome::Delivered { handle: None }
    }

    fn credentials(&self) -> Option<crate::notify::Credentials> {
        let mut digest = [0; 32];
        digest[0] = u8::try_from(self.credentials.load(Ordering::Relaxed)).unwrap();
        Some(digest)
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let key = attempt.notification.key.clone();
        self.seen.lock().unwrap().push(Seen {
            thread: attempt.notification.thread().to_owned(),
            handle: attempt.handle.map(str::to_owned),
            number: attempt.number,
            recipient: attempt.recipient.map(str::to_owned),
            key: key.clone(),
        });
        let key = attempt.recipient.map_or(key.clone(), |recipient| format!("{key}/{recipient}"));
        let reply = self.replies.lock().unwrap().get_mut(&key).and_then(Vec::pop);
        match reply {
            Some(Reply::With(outcome)) => outcome,
            Some(Reply::Hang) => pending().await,
            None => Outcome::Delivered { handle: Some(format!("handle of {key}")) },
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it never happened")
}

fn retry(after: Option<Duration>) -> Reply {
    Reply::With(Outcome::Retry { after, reason: "HTTP 503".into() })
}

fn reject() -> Reply {
    Reply::With(Outcome::Reject { reason: "no such channel".into() })
}

fn refused() -> Reply {
    Reply::With(Outcome::Refused { reason: "401".into() })
}

/// Short waits, as these tests run in real time.
fn policy() -> Policy {
    Policy {
        backoff: Backoff { base: Duration::from_millis(4), cap: Duration::from_millis(20) },
        drain: Duration::from_millis(30),
        seed: Some(1),
        ..Policy::default()
    }
}

fn spec(name: &str) -> ReceiverSpec {
    ReceiverSpec {
        name: Arc::from(name),
        limit: Limit { per: Duration::from_secs(1), messages: 1_000_000, burst: 1_000_000 },
        max_age: Duration::from_secs(3_600),
        credential: None,
        fold: true,
    }
}

fn clock() -> Clock {
    Clock::System
}

fn rows(keys: &[(&str, &str, &str)]) -> Commit {
    let notifications: Vec<Notification> =
        keys.iter().map(|(key, receiver, thread)| note(key, receiver, thread, crate::clock::now())).collect();
    Commit { notifications, ..Commit::default() }
}

/// A store and its dispatchers.
struct Bench {
    store: Store,
    outbox: Outbox,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Result<(), crate::store::StoreError>>>,
}

impl Bench {
    fn over(store: Store, policy: Policy) -> Self {
        let outbox = Outbox::new(store.clone(), clock(), policy);
        Self { store, outbox, stop: CancellationToken::new(), tasks: Vec::new() }
    }

    fn memory() -> Self {
        Self::over(Store::memory().unwrap(), policy())
    }

    fn run(&mut self, spec: ReceiverSpec, script: &Script) {
        let dispatcher = self.outbox.dispatcher(spec, script.clone());
        self.tasks.push(tokio::spawn(dispatcher.run(self.stop.clone())));
    }

    /// Waits until the counters of a receiver say so.
    async fn counted(&self, receiver: &str, delivered: u64, dead: u64) {
        within(async {
            loop {
                let all = self.outbox.counters();
                let (_, c) = all.iter().find(|(name, _)| &**name == receiver).unwrap();
                let now = (c.delivered.load(Ordering::Relaxed), c.dead.load(Ordering::Relaxed));
                if now == (delivered, dead) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    async fn stop(self) -> Store {
        self.stop.cancel();
        for task in self.tasks {
            within(task).await.unwrap().unwrap();
        }
        self.store
    }
}

fn file(dir: &TempDir, faults: Faults) -> Store {
    Store::open_with(&Options {
        path: Some(dir.path().join("herald.db")),
        durability: Durability::Process,
        faults,
        ..Options::default()
    })
    .unwrap()
}

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
    within(async {
        let gate = Arc::from("credential slack-token");
        while bench.store.heads(&Arc::from("x"), &gate, crate::clock::now()).await.unwrap().gate.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
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
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::over(file(&dir, Faults::default()), policy());
    let script = Script::default().on("hangs", [Reply::Hang]);
    bench.store.commit(rows(&[("hangs", "x", "a")])).await.unwrap();
    bench.run(spec("x"), &script);
    script.reached(1).await;
    let counters = bench.outbox.counters();
    drop(bench.stop().await);
    assert_eq!(counters[0].1.interrupted.load(Ordering::Relaxed), 1);

    // The next process makes it again.
    let mut bench = Bench::over(file(&dir, Faults::default()), policy());
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
    let task = tokio::spawn(bench.outbox.dispatcher(spec("x"), script.clone()).run(second.clone()));
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
        let dir = tempfile::tempdir().unwrap();
        let script = Script::default();
        let commit = || rows(&[("a1", "x", "a"), ("a2", "x", "a"), ("b1", "x", "b")]);

        let crash = Faults::new(move |p, j| assert!((p, j) != (point, job), "crash"));
        let store = file(&dir, crash);
        let outbox = Outbox::new(store.clone(), clock(), policy());
        let task = tokio::spawn(outbox.dispatcher(spec("x"), script.clone()).run(CancellationToken::new()));
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

        let mut bench = Bench::over(file(&dir, Faults::default()), policy());
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
    let dir = tempfile::tempdir().unwrap();
    let store = file(&dir, Faults::default());
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
