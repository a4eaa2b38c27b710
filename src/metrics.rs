//! What Prometheus is told. Nothing is kept in step by hand: a scrape reads what the parts know of
//! themselves, and every label value that can occur is there from the start, at 0, so that rates
//! and alerts work from the first failure on.

pub(crate) mod cached;
mod families;
mod process;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};

use self::cached::Cached;
use self::families::{Deliveries, Families};
use self::process::Process;
use crate::clock::Clock;
use crate::message::{Decision, Reason};
use crate::outbox::Outbox;
use crate::signal::Cause;
use crate::store::{Sizes, Store};
use crate::watch::Kind;
use crate::watch::logs::LogStats;
use crate::watch::scope::Forged;
use crate::watch::stream::WatchStatus;

/// Several scrapers share one look at the store.
const SIZES_AGE: Duration = Duration::from_secs(1);
/// A store that takes longer is shown as not answering; the other metrics are still told.
const SIZES_TIMEOUT: Duration = Duration::from_secs(3);

/// What the engine and the memory know of themselves, published by their loop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineStats {
    pub signals: BTreeMap<Cause, u64>,
    /// Decisions to say something.
    pub decisions: BTreeMap<(Decision, Reason), u64>,
    /// Decisions to say nothing.
    pub held: BTreeMap<Reason, u64>,
    /// Incidents by [`crate::engine::Incident::state`].
    pub incidents: BTreeMap<&'static str, u64>,
    /// Objects remembered, by sort.
    pub memory: Vec<(&'static str, usize)>,
    /// Incidents and members refused because a cap was hit.
    pub refused: u64,
    /// Incidents that gave way to others because the limit was reached.
    pub displaced: u64,
    /// The limit on incidents, while it is reached.
    pub limit: Option<LimitStats>,
    /// Notifications that were not queued because another message had their key.
    pub not_queued: u64,
    /// Annotations about silence that cannot be read.
    pub bad_annotations: u64,
    /// Events that were not believed.
    pub forged: BTreeMap<Forged, u64>,
    /// Texts and lists that were cut while objects were decoded.
    pub cut: BTreeMap<Kind, u64>,
    /// How often the wall clock was set while it ran.
    pub clock_steps: ClockSteps,
    /// How far the clock is ahead of the API server's; zero where that cannot be told from jitter.
    pub clock_ahead: SignedDuration,
    /// The first picture of the cluster is complete.
    pub synced: bool,
    /// The kinds that cannot be read for now.
    pub blind: Vec<String>,
}

/// Steps of the wall clock of more than a few seconds. A machine that slept counts as a step forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockSteps {
    /// To a later time.
    pub forward: u64,
    /// To an earlier time.
    pub back: u64,
}

/// The limit on incidents is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitStats {
    pub limit: usize,
    /// The namespace that has most room; `the cluster` for what belongs to none.
    pub largest: String,
    /// How many incidents it has.
    pub largest_count: usize,
    /// How many problems are not followed, by namespace, most first.
    pub left_out: Vec<(String, usize)>,
}

/// What is known of the configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigStats {
    /// Changes with the content of any file of it.
    pub hash: String,
    /// How often it was loaded again and put in force.
    pub succeeded: u64,
    /// How often it was loaded again and could not be used.
    pub failed: u64,
    /// When the one in force was loaded.
    pub last_success: Timestamp,
    /// What is wrong with the one on disk, the first of it; `None`: that is in force.
    pub error: Option<String>,
}

impl ConfigStats {
    /// Loaded at the start, and not again since.
    pub const fn begun(hash: String, at: Timestamp) -> Self {
        Self { hash, succeeded: 0, failed: 0, last_success: at, error: None }
    }
}

/// What became of heartbeats since the start.
#[derive(Debug, Default)]
pub struct HeartbeatStats {
    pub configured: AtomicBool,
    /// Taken by the other side.
    pub sent: AtomicU64,
    /// Not taken, or not answered.
    pub failed: AtomicU64,
    /// Not sent because the bot was not well.
    pub withheld: AtomicU64,
}

/// Where the numbers are read.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Published by the engine's loop.
    pub engine: Arc<ArcSwap<EngineStats>>,
    pub config: Arc<ArcSwap<ConfigStats>>,
    pub watch: Arc<WatchStatus>,
    pub store: Store,
    pub outbox: Outbox,
    pub logs: Arc<LogStats>,
    pub heartbeat: Arc<HeartbeatStats>,
}

impl HeartbeatStats {
    /// `None`: no heartbeat is configured.
    fn counts(&self) -> Option<[(&'static str, u64); 3]> {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let counts =
            [("sent", load(&self.sent)), ("failed", load(&self.failed)), ("withheld", load(&self.withheld))];
        self.configured.load(Ordering::Relaxed).then_some(counts)
    }
}

/// In which text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    OpenMetrics,
    /// The older Prometheus text format, 0.0.4.
    Text,
}

impl Exposition {
    /// What a client gets that accepts this. Prometheus names `OpenMetrics`; `curl` and
    /// `promtool check metrics` know only the older one.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Connections of the HTTP server that did not end by themselves.
#[derive(Debug, Default)]
pub struct HttpStats {
    /// Idle ones that were closed to make room.
    pub closed: AtomicU64,
    /// Refused, because all others were being answered.
    pub refused: AtomicU64,
}

#[derive(Debug)]
pub struct Metrics {
    sources: Sources,
    http: Arc<HttpStats>,
    clock: Clock,
    started: Timestamp,
    sizes: Cached<Option<Sizes>>,
}

impl Metrics {
    /// Metrics of a process that starts now.
    pub fn new(sources: Sources) -> Self {
        Self::with_clock(sources, Clock::System)
    }

    /// The same by another clock: the one by which the sources give their times.
    pub fn with_clock(sources: Sources, clock: Clock) -> Self {
        Self { sources, http: Arc::default(), started: clock.now(), clock, sizes: Cached::new(SIZES_AGE) }
    }

    /// The clock by which the sources give their times.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// When the process started.
    pub const fn started(&self) -> Timestamp {
        self.started
    }

    /// Where the numbers are read.
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Of the server that shows them.
    pub const fn http(&self) -> &Arc<HttpStats> {
        &self.http
    }

    /// Everything, in a text format.
    pub async fn render(&self, format: Exposition) -> Result<String, std::fmt::Error> {
        let sizes = self.sizes.get(|| self.read_sizes()).await;
        let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let deliveries = self.sources.outbox.counters();
        let refusals = self.sources.outbox.refusals();
        let troubles = self.sources.outbox.troubles();
        let deliveries = deliveries.iter().map(|(receiver, counters)| Deliveries {
            receiver: Arc::clone(receiver),
            outcomes: [
                ("delivered", load(&counters.delivered)),
                ("retried", load(&counters.retried)),
                ("refused", load(&counters.refused)),
                ("dead", load(&counters.dead)),
                ("interrupted", load(&counters.interrupted)),
            ],
            folded: load(&counters.folded),
            assertions: [("sent", load(&counters.asserted)), ("failed", load(&counters.assertions_failed))],
            refusing: refusals.contains_key(receiver),
            failing: troubles.get(receiver).is_some_and(|trouble| !trouble.refusing),
            handed_over: load(&counters.handed_over),
        });
        let families = Families {
            format,
            now: self.clock.now(),
            started: self.started,
            engine: self.sources.engine.load_full(),
            config: self.sources.config.load_full(),
            watches: self.sources.watch.snapshot(),
            sizes,
            store: self.sources.store.health(),
            deliveries: deliveries.collect(),
            logs: self.sources.logs.counts(),
            http: [("closed_idle", load(&self.http.closed)), ("refused", load(&self.http.refused))],
            heartbeats: self.sources.heartbeat.counts(),
            process: Process::read(),
        };
        families.render()
    }

    async fn read_sizes(&self) -> Option<Sizes> {
        match tokio::time::timeout(SIZES_TIMEOUT, self.sources.store.sizes().into_future()).await {
            Ok(Ok(sizes)) => Some(sizes),
            Ok(Err(error)) => {
                tracing::warn!(%error, "no metrics of the store");
                None
            }
            Err(_) => {
                tracing::warn!("no metrics of the store: it does not answer");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
