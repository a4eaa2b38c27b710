//! Puts the end of the log of the run that crashed into the message about it.
//!
//! A decision whose rule asks for a log is committed at once like any other; its rows are held for a
//! moment ([`Commit::holds`](crate::store::Commit), `log_tail.timeout`). A few readers fetch the logs beside the
//! engine's loop, which never waits for them. What they bring is masked, cut, put into the messages and written
//! into the rows in one statement that also lets them go ([`Store::amend`]), as long as no attempt has
//! been made: what a receiver may have seen under a key does not change. Mostly that takes some
//! milliseconds.
//!
//! Whatever goes wrong, the message goes without the log: a failure releases the rows, a reader that hangs is
//! cut off when the rows' time has come, a full queue holds no rows at all, and of rows that a process held when it
//! ended the next one thinks nothing ([`Store::release_all`]). Why there is none is a metric.
//!
//! Reading ahead, while members gather, would save the milliseconds. It would also ask for the logs of
//! most problems that go away untold, and let what an API server answered into what the engine decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::JoinSet;

use crate::app::pipeline::Message;
use crate::clock::{self, Clock};
use crate::engine::Log;
use crate::store::{DelayedRows, Store};
use crate::watch::logs::{self, LogOutcome, LogStats, NoLog};

/// So many logs are read at once.
const AT_ONCE: usize = 4;
/// So many more may wait for their turn.
const WAITING: usize = 60;

/// A log that was read, for the incident that it belongs to.
#[derive(Debug)]
pub struct LogRead {
    pub incident: Arc<str>,
    pub log: Log,
}

/// A message whose rows are held.
#[derive(Debug)]
struct Job {
    message: Message,
    until: Timestamp,
}

/// The way in, for the code that commits decisions.
#[derive(Debug, Clone)]
pub struct Logs {
    queue: mpsc::Sender<Job>,
    stats: Arc<LogStats>,
}

/// Messages that are about to be committed and then wait for their logs.
#[derive(Debug, Default)]
pub struct Waiting(Vec<(OwnedPermit<Job>, Job)>);

/// Reads logs until every [`Logs`] is gone, and then what is left.
#[derive(Debug)]
pub struct LogReaders {
    queue: mpsc::Receiver<Job>,
    context: Arc<ReaderContext>,
}

/// What every reader needs.
struct ReaderContext {
    client: kube::Client,
    store: Store,
    clock: Clock,
    stats: Arc<LogStats>,
    news: mpsc::Sender<LogRead>,
    /// It was said that logs may not be read.
    forbidden: AtomicBool,
}

impl std::fmt::Debug for ReaderContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReaderContext").finish_non_exhaustive()
    }
}

/// Makes both ends. `news` hears of what was read.
pub fn logs(
    client: kube::Client,
    store: Store,
    clock: Clock,
    stats: Arc<LogStats>,
    news: mpsc::Sender<LogRead>,
) -> (Logs, LogReaders) {
    let (tx, queue) = mpsc::channel(WAITING);
    let context = ReaderContext {
        client,
        store,
        clock,
        stats: Arc::clone(&stats),
        news,
        forbidden: AtomicBool::new(false),
    };
    (Logs { queue: tx, stats }, LogReaders { queue, context: Arc::new(context) })
}

impl Logs {
    /// Which of these messages wait for a log.
    pub fn wanted(&self, messages: &[Message], now: Timestamp) -> Waiting {
        let mut waiting = Vec::new();
        for message in messages {
            let Some(wanted) = &message.log else { continue };
            // A place first: rows are held only for a log that somebody will read.
            match self.queue.clone().try_reserve_owned() {
                Ok(place) => {
                    let until = clock::after(now, wanted.timeout);
                    waiting.push((place, Job { message: message.clone(), until }));
                }
                Err(_) => self.stats.count(LogOutcome::Crowded),
            }
        }
        Waiting(waiting)
    }
}

impl Waiting {
    /// Which rows are held, and until when.
    pub fn holds(&self) -> DelayedRows {
        let context =
            self.0.iter().flat_map(|(_, job)| job.message.notifications().map(|n| (n.key, job.until)));
        context.collect()
    }

    /// To be called once the rows are on disk.
    pub fn begin(self) {
        for (place, job) in self.0 {
            place.send(job);
        }
    }
}

impl LogReaders {
    pub async fn run(mut self) {
        let mut reading = JoinSet::new();
        loop {
            // What has ended makes room for the next; there are never more than `AT_ONCE` of them.
            tokio::select! {
                biased;
                Some(ended) = reading.join_next() => report(ended),
                job = self.queue.recv(), if reading.len() < AT_ONCE => match job {
                    Some(job) => drop(reading.spawn(Arc::clone(&self.context).one(job))),
                    None => break,
                },
            }
        }
        while let Some(ended) = reading.join_next().await {
            report(ended);
        }
    }
}

/// One that panicked: its rows go when their time has come.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a log was not read");
    }
}

impl ReaderContext {
    async fn one(self: Arc<Self>, job: Job) {
        let Job { mut message, until } = job;
        let Some(wanted) = message.log.take() else { return };
        let left = self.clock.scaled(clock::between(self.clock.now(), until));
        let read = tokio::time::timeout(left, logs::read(&self.client, &wanted.request)).await;
        let read = read.unwrap_or_else(|_| {
            Err(NoLog { outcome: LogOutcome::Timeout, detail: "it was not read in time".into() })
        });
        let outcome = match read {
            Ok(text) => self.put(message, Log { text, from: wanted.from.clone() }).await,
            Err(none) => {
                let keys = message.notifications().map(|n| n.key).collect();
                if let Err(error) = self.store.release(keys).await {
                    tracing::warn!(%error, "a message that waits for no log any more waits on");
                }
                tracing::debug!(namespace = %wanted.request.namespace, pod = %wanted.request.pod,
                    outcome = none.outcome.as_str(), why = %none, "a message goes without its log");
                none.outcome
            }
        };
        self.stats.count(outcome);
        match outcome {
            LogOutcome::Forbidden if !self.forbidden.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    "a rule has log_tail, but pods/log may not be read: messages go without; \
                     grant it with `kubeherald rbac --config CONFIG | kubectl apply -f -`, or take log_tail out of the rule"
                );
            }
            LogOutcome::Added => self.forbidden.store(false, Ordering::Relaxed),
            _ => {}
        }
    }

    async fn put(&self, mut message: Message, log: Log) -> LogOutcome {
        message.put_log(&log);
        let rows: Vec<_> = message.notifications().collect();
        let amended = self.store.amend(&rows).await;
        if let Some(incident) = message.decided.incidents.first() {
            // Nobody listens any more at the end of the process.
            self.news.send(LogRead { incident: Arc::clone(&incident.id), log }).await.ok();
        }
        match amended {
            Ok(0) => LogOutcome::Late,
            Ok(_) => LogOutcome::Added,
            Err(error) => {
                tracing::warn!(%error, "a log could not be put into its message");
                LogOutcome::Failed
            }
        }
    }
}
