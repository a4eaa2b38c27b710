//! Figures for the budgets in docs/limits.md. Run by hand, on an optimised build where it matters:
//! `cargo test --release --lib measure -- --ignored --nocapture`. They print; they assert no times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Limit, Outbox, Policy, ReceiverSpec, StopMode};
use crate::notify::{Attempt, Deliver, Outcome};
use crate::store::fixture::{at, note};
use crate::store::{Commit, Options, Store};

fn one(n: usize) -> Commit {
    let row = note(&format!("{n:06}"), "x", &format!("t{}", n % 5_000), at(0));
    Commit { notifications: vec![row], ..Commit::default() }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(what: &str, n: usize, took: Duration) {
    println!("{what}: {n} in {took:.2?} = {:.0}/s", n as f64 / took.as_secs_f64());
}

#[derive(Clone, Default)]
struct Sink(Arc<AtomicUsize>);

impl Deliver for Sink {
    fn time_limit(&self) -> std::time::Duration {
        std::time::Duration::from_secs(30)
    }

    async fn deliver(&self, _: Attempt<'_>) -> Outcome {
        self.0.fetch_add(1, Ordering::Relaxed);
        Outcome::Delivered { handle: Some("handle".to_owned()) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measurement"]
async fn durable_notifications() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("herald.db");
    // Flushed to the disk, as in production.
    let options = Options { path: Some(path.clone()), ..Options::default() };
    let store = Store::open_with(&options).unwrap();

    let start = Instant::now();
    for n in 0..500 {
        store.commit(one(n)).await.unwrap();
    }
    rate("durable, one commit awaited after the other", 500, start.elapsed());

    let start = Instant::now();
    let mut pending = Vec::new();
    for n in 500..10_500 {
        pending.push(store.commit(one(n)).submit().await);
    }
    for p in pending {
        p.await.unwrap();
    }
    rate("durable, submitted and then awaited (group commit)", 10_000, start.elapsed());

    for chunk in 0..179 {
        let from = 10_500 + chunk * 500;
        let notifications = (from..from + 500).flat_map(|n| one(n).notifications).collect();
        store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    }
    let queued = store.sizes().await.unwrap().receivers[0].queued;
    let start = Instant::now();
    drop(store);
    println!("closed in {:.2?}", start.elapsed());

    let start = Instant::now();
    let store = Store::open_with(&options).unwrap();
    let x: Arc<str> = Arc::from("x");
    store.recover(&x).await.unwrap();
    let heads = store.heads(&x, &x, Vec::new(), at(1)).await.unwrap();
    assert!(heads.due.is_some());
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("opened with {queued} queued ({bytes} bytes), next row known, in {:.2?}", start.elapsed());
    let start = Instant::now();
    store.sizes().await.unwrap();
    println!("sizes in {:.2?}", start.elapsed());

    let sink = Sink::default();
    let outbox = Outbox::new(store, crate::clock::Clock::Fixed(at(1)), Policy::default());
    let spec = ReceiverSpec {
        name: x,
        limit: Limit { per: Duration::ZERO, messages: 1, burst: 1 },
        max_age: Duration::from_secs(3_600),
        credential: None,
        fold: true,
        fallback: None,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(outbox.dispatcher(spec, sink.clone()).run(StopMode::default(), stop.clone()));
    let start = Instant::now();
    while sink.0.load(Ordering::Relaxed) < 2_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rate("delivered by one dispatcher, one flush each", 2_000, start.elapsed());
    stop.cancel();
    task.await.unwrap().unwrap();
}
