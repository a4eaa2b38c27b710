//! A store, its dispatchers, and another side that answers as it is told.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::Ordering;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::message::Notification;
use crate::notify::{Attempt, Outcome};
use crate::store::Commit;
use crate::store::fixture::{note, store};

/// What the other side does, by key (and recipient, as `KEY/RECIPIENT`), in order; without a script it takes
/// everything.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    With(Outcome),
    Hang,
}

/// A delivery as the other side saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) key: String,
    pub(super) thread: String,
    pub(super) handle: Option<String>,
    pub(super) number: u32,
    pub(super) recipient: Option<String>,
}

#[derive(Clone, Default)]
pub(super) struct Script {
    pub(super) recipients: Vec<Arc<str>>,
    pub(super) credentials: Arc<AtomicU64>,
    pub(super) reasserts: Option<Duration>,
    /// What was asserted, as `KEY` of the last notification, by request.
    pub(super) asserted: Arc<Mutex<Vec<Vec<String>>>>,
    /// What the other side says to the next assertions; then it takes them.
    pub(super) doubts: Arc<Mutex<Vec<Outcome>>>,
    pub(super) watchdogs: Arc<AtomicU64>,
    pub(super) replies: Arc<Mutex<HashMap<String, Vec<Reply>>>>,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    pub(super) fn to(recipients: &[&str]) -> Self {
        Self { recipients: recipients.iter().map(|name| Arc::from(*name)).collect(), ..Self::default() }
    }

    /// Who was told what, in order, as `KEY/RECIPIENT`.
    pub(super) fn told(&self) -> Vec<String> {
        let of = |s: Seen| s.recipient.map_or(s.key.clone(), |recipient| format!("{}/{recipient}", s.key));
        self.seen().into_iter().map(of).collect()
    }

    pub(super) fn on(self, key: &str, replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: Vec<Reply> = replies.into_iter().collect();
        replies.reverse();
        self.replies.lock().unwrap().insert(key.to_owned(), replies);
        self
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.seen().into_iter().map(|s| s.key).collect()
    }

    /// Waits until `n` attempts were made. A missing one fails by the time limit.
    pub(super) async fn reached(&self, n: usize) {
        until(async || self.seen.lock().unwrap().len() >= n).await;
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

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it never happened")
}

/// Waits until it is so. What never is fails by the time limit.
pub(super) async fn until(so: impl AsyncFn() -> bool) {
    within(async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(super) fn retry(after: Option<Duration>) -> Reply {
    Reply::With(Outcome::Retry { after, reason: "HTTP 503".into() })
}

pub(super) fn reject() -> Reply {
    Reply::With(Outcome::Reject { reason: "no such channel".into() })
}

pub(super) fn refused() -> Reply {
    Reply::With(Outcome::Refused { reason: "401".into() })
}

/// Short waits, as these tests run in real time.
pub(super) fn policy() -> Policy {
    Policy {
        backoff: Backoff { base: Duration::from_millis(4), cap: Duration::from_millis(20) },
        drain: Duration::from_millis(30),
        seed: Some(1),
        ..Policy::default()
    }
}

pub(super) fn spec(name: &str) -> ReceiverSpec {
    ReceiverSpec {
        name: Arc::from(name),
        limit: Limit { per: Duration::from_secs(1), messages: 1_000_000, burst: 1_000_000 },
        max_age: Duration::from_secs(3_600),
        credential: None,
        fold: true,
        fallback: None,
    }
}

pub(super) fn clock() -> Clock {
    Clock::System
}

pub(super) fn rows(keys: &[(&str, &str, &str)]) -> Commit {
    let notifications: Vec<Notification> =
        keys.iter().map(|(key, receiver, thread)| note(key, receiver, thread, crate::clock::now())).collect();
    Commit { notifications, ..Commit::default() }
}

/// A store and its dispatchers.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) outbox: Outbox,
    pub(super) stop: CancellationToken,
    pub(super) tasks: Vec<JoinHandle<Result<(), crate::store::StoreError>>>,
}

impl Bench {
    pub(super) fn over(store: Store, policy: Policy) -> Self {
        let outbox = Outbox::new(store.clone(), clock(), policy);
        Self { store, outbox, stop: CancellationToken::new(), tasks: Vec::new() }
    }

    pub(super) fn memory() -> Self {
        Self::over(store(), policy())
    }

    pub(super) fn run(&mut self, spec: ReceiverSpec, script: &Script) {
        let dispatcher = self.outbox.dispatcher(spec, script.clone());
        self.tasks.push(tokio::spawn(dispatcher.run(StopMode::default(), self.stop.clone())));
    }

    /// Waits until the counters of a receiver say so.
    pub(super) async fn counted(&self, receiver: &str, delivered: u64, dead: u64) {
        until(async || {
            let all = self.outbox.counters();
            let (_, c) = all.iter().find(|(name, _)| &**name == receiver).unwrap();
            (c.delivered.load(Ordering::Relaxed), c.dead.load(Ordering::Relaxed)) == (delivered, dead)
        })
        .await;
    }

    pub(super) async fn stop(self) -> Store {
        self.stop.cancel();
        for task in self.tasks {
            within(task).await.unwrap().unwrap();
        }
        self.store
    }
}
