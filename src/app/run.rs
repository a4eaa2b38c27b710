//! `run`: every part built from the configuration, supervised, and shut down in order.
//!
//! ```text
//!  watches (one task a kind) ──bounded channel──▶ engine loop ──commit──▶ store ──wake──▶ dispatchers
//!                                                     │                                  (one a receiver)
//!                                                     └── statistics ──▶ web
//! ```
//!
//! A task that ends early ends the process with its name: half a bot is worse than none, because
//! nobody notices. Shutdown goes the way the signals go: watches first, then the engine's last
//! commit, then the outbox, which finishes the attempts under way, and the web server last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pipeline::{Output, Pipeline, Start};
use super::receivers::{self, BuildError};
use crate::clock::{self, Clock};
use crate::config::{Config, WatchConfig};
use crate::engine::Incident;
use crate::metrics::{EngineStats, Metrics, Sources};
use crate::outbox::{Outbox, Policy};
use crate::store::{Commit, HistoryRow, IncidentRow, Retention, Store, StoreError};
use crate::watch::stream::{self, Tuning, WatchStatus};
use crate::watch::{Change, Kind};
use crate::web::{self, WebState};

/// The mark that says that a first look was completed and stored.
const MARK_STARTED: &str = "started";
/// Up to when everything was taken in; what ended before is no news after a restart.
const MARK_SEEN: &str = "seen_until";

/// Counters and last-seen times are stored at least this often; decisions at once.
const FLUSH: Duration = Duration::from_secs(1);
/// The mark of what was seen is stored at least this often.
const MARK_EVERY: Duration = Duration::from_secs(10);
/// So many changes are taken in before decisions are stored, at most.
const BATCH: usize = 512;
/// Old history and delivered rows are removed this often.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Statistics for metrics are taken this often.
const STATS_EVERY: Duration = Duration::from_secs(2);

/// Why the bot could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// A receiver.
    #[error(transparent)]
    Receiver(#[from] BuildError),
    /// The HTTP server.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A task that should run for ever did not.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// The HTTP server failed.
    #[error("the HTTP server failed")]
    Web(#[source] std::io::Error),
}

/// What `run` needs beside the configuration.
pub struct Options {
    /// How to reach the API server.
    pub client: kube::Client,
    /// How patient the watches are.
    pub tuning: Tuning,
    /// Which kinds are watched.
    pub kinds: Vec<Kind>,
    /// How the outbox retries.
    pub policy: Policy,
    /// What time it is.
    pub clock: Clock,
    /// Told the address of the HTTP server once it listens.
    pub on_listen: Option<Box<dyn FnOnce(std::net::SocketAddr) + Send>>,
}

impl Options {
    /// The usual patience, every kind.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            tuning: Tuning::default(),
            kinds: Kind::ALL.to_vec(),
            policy: Policy::default(),
            clock: Clock::System,
            on_listen: None,
        }
    }
}

/// Runs until `stop`.
pub async fn run(config: Arc<Config>, options: Options, stop: CancellationToken) -> Result<(), RunError> {
    let store = open_store(&config).await?;
    let outcome = run_with(&config, options, store, &stop).await;
    stop.cancel();
    outcome
}

async fn open_store(config: &Config) -> Result<Store, RunError> {
    let path = config.store.path.clone();
    let opened = tokio::task::spawn_blocking(move || match path {
        Some(path) => Store::open(&path),
        None => Store::memory(),
    });
    Ok(opened.await.map_err(|_| RunError::Ended("opening the store"))??)
}

async fn run_with(
    config: &Arc<Config>,
    options: Options,
    store: Store,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let clock = options.clock;
    let now = clock.now();
    let built = receivers::build(config)?;
    let names: Vec<Arc<str>> = built.iter().map(|(spec, _)| Arc::clone(&spec.name)).collect();
    let buried = store.bury_unknown(&names, now).await?;
    if buried > 0 {
        tracing::warn!(
            notifications = buried,
            "receivers are gone from the configuration; what they were owed is kept as dead letters"
        );
    }

    let status = WatchStatus::new(&options.kinds);
    let stats = Arc::new(ArcSwap::from_pointee(EngineStats::default()));
    let heartbeat = Arc::new(AtomicI64::new(clock::now().as_millisecond()));
    let outbox = Outbox::new(store.clone(), Arc::new(move || clock.now()), options.policy);

    // Each stage has a token of its own, so that the stages can end one after the other.
    let (watching, sending, serving) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let mut senders: JoinSet<Result<(), StoreError>> = JoinSet::new();
    for (spec, notifier) in built {
        let dispatcher = outbox.dispatcher(spec, notifier);
        senders.spawn(dispatcher.run(sending.clone()));
    }
    let mut web_task = JoinSet::new();
    if let Some(address) = config.http {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|source| RunError::Listen { address, source })?;
        let bound = listener.local_addr().unwrap_or(address);
        tracing::info!(address = %bound, "health and metrics");
        if let Some(tell) = options.on_listen {
            tell(bound);
        }
        let metrics = Metrics::new(Sources {
            engine: Arc::clone(&stats),
            watch: Arc::clone(&status),
            store: store.clone(),
            outbox: outbox.clone(),
        });
        let state = WebState::new(metrics, Arc::clone(&heartbeat));
        web_task.spawn(web::serve(listener, state, serving.clone()));
    }

    let (tx, rx) = mpsc::channel(stream::CAPACITY);
    let mut watches = stream::spawn(
        &options.client,
        &config.watch,
        &options.kinds,
        &tx,
        &status,
        &watching,
        &options.tuning,
    );
    // The watches hold the channel open, nobody else.
    drop(tx);
    let engine = EngineLoop::start(config, &options.kinds, store.clone(), stats, heartbeat, clock).await?;
    let mut engine_task = JoinSet::new();
    engine_task.spawn(engine.run(rx));

    let mut failure = None;
    tokio::select! {
        () = stop.cancelled() => tracing::info!("stopping"),
        _ = watches.join_next() => failure = Some(RunError::Ended("a watch")),
        ended = engine_task.join_next() => failure = Some(early("the engine loop", ended.map(|r| r.map(|r| r.map_err(RunError::from))))),
        ended = senders.join_next(), if !senders.is_empty() => {
            failure = Some(early("a dispatcher", ended.map(|r| r.map(|r| r.map_err(RunError::from)))));
        }
        ended = web_task.join_next(), if !web_task.is_empty() => {
            failure = Some(early("the HTTP server", ended.map(|r| r.map(|r| r.map_err(RunError::Web)))));
        }
    }

    watching.cancel();
    while watches.join_next().await.is_some() {}
    // The watches held the sender: the engine takes in what is left, commits and ends.
    while let Some(ended) = engine_task.join_next().await {
        if let Ok(Err(error)) = ended {
            failure.get_or_insert(error.into());
        }
    }
    sending.cancel();
    while let Some(ended) = senders.join_next().await {
        if let Ok(Err(error)) = ended {
            failure.get_or_insert(error.into());
        }
    }
    serving.cancel();
    while web_task.join_next().await.is_some() {}
    failure.map_or(Ok(()), Err)
}

/// A task that was to run for ever has ended.
fn early(
    name: &'static str,
    ended: Option<Result<Result<(), RunError>, tokio::task::JoinError>>,
) -> RunError {
    match ended {
        Some(Ok(Err(error))) => error,
        _ => RunError::Ended(name),
    }
}

/// Takes changes in, decides, and stores what was decided.
struct EngineLoop {
    pipeline: Pipeline,
    store: Store,
    stats: Arc<ArcSwap<EngineStats>>,
    heartbeat: Arc<AtomicI64>,
    clock: Clock,
    out: Output,
    last_flush: Timestamp,
    last_mark: Timestamp,
    last_prune: Timestamp,
    last_stats: Timestamp,
    started: bool,
}

impl EngineLoop {
    async fn start(
        config: &Config,
        kinds: &[Kind],
        store: Store,
        stats: Arc<ArcSwap<EngineStats>>,
        heartbeat: Arc<AtomicI64>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let now = clock.now();
        let marks: BTreeMap<String, String> = store.load_marks().await?.into_iter().collect();
        let started = marks.contains_key(MARK_STARTED);
        let news_since = marks.get(MARK_SEEN).and_then(|at| at.parse::<Timestamp>().ok());
        let incidents = restore(store.load_incidents().await?);
        if started {
            tracing::info!(incidents = incidents.len(), seen_until = ?news_since.map(|t| t.to_string()), "going on where it stopped");
        }
        if news_since.is_none() {
            // A first start that is cut off goes on from its beginning, not from its end.
            let marks = vec![(MARK_SEEN.into(), now.to_string())];
            store.commit(Commit { marks, ..Commit::default() }).await?;
        }
        let start = Start { first: !started, news_since, incidents };
        let (pipeline, orphaned) = Pipeline::new(config, kinds, now, start);
        let mut out = Output::default();
        for incident in orphaned {
            tracing::warn!(incident = %incident.id, rule = %incident.rule, workload = %incident.workload,
                "its rule is gone from the configuration: the incident is forgotten without an end");
            out.removed.push(incident.id);
        }
        Ok(Self {
            pipeline,
            store,
            stats,
            heartbeat,
            clock,
            out,
            last_flush: now,
            last_mark: now,
            last_prune: now,
            last_stats: Timestamp::MIN,
            started,
        })
    }

    /// Until every sender of changes is gone.
    async fn run(mut self, mut changes: mpsc::Receiver<Change>) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let now = self.clock.now();
            let due = self.pipeline.next_deadline().map_or(FLUSH, |at| clock::between(now, at).min(FLUSH));
            let received = tokio::select! {
                received = changes.recv_many(&mut batch, BATCH) => Some(received),
                () = tokio::time::sleep(self.clock.sleep(due)) => None,
            };
            if received == Some(0) {
                let now = self.clock.now();
                return self.flush(now, true).await;
            }
            for change in batch.drain(..) {
                self.pipeline.feed(self.clock.now(), change, &mut self.out);
            }
            let now = self.clock.now();
            self.pipeline.tick_until(now, &mut self.out);
            // Of the system's clock, whatever time is played: it is compared with that.
            self.heartbeat.store(clock::now().as_millisecond(), Ordering::Relaxed);
            let urgent = !self.out.messages.is_empty();
            if urgent || clock::between(self.last_flush, now) >= FLUSH {
                self.flush(now, false).await?;
            }
            if clock::between(self.last_stats, now) >= STATS_EVERY {
                self.last_stats = now;
                self.stats.store(Arc::new(self.statistics()));
            }
            if clock::between(self.last_prune, now) >= PRUNE_EVERY {
                self.last_prune = now;
                self.store.prune(Retention::default(), now).await?;
            }
        }
    }

    /// One transaction: incidents, notifications, history, marks.
    async fn flush(&mut self, now: Timestamp, last: bool) -> Result<(), StoreError> {
        self.last_flush = now;
        let out = std::mem::take(&mut self.out);
        let mut commit = commit(&self.pipeline, &out, now);
        if self.pipeline.synced() {
            // The summary of a first start is owed until it is decided: only then it has begun.
            let begun = self.started || !self.pipeline.engine().is_gathering_standing();
            if begun && !self.started {
                self.started = true;
                commit.marks.push((MARK_STARTED.into(), now.to_string()));
                commit.marks.push((MARK_SEEN.into(), now.to_string()));
            }
            let due = clock::between(self.last_mark, now) >= MARK_EVERY;
            if self.started && (due || last || !commit.is_empty()) {
                self.last_mark = now;
                commit.marks.push((MARK_SEEN.into(), now.to_string()));
            }
        }
        if commit.is_empty() {
            return Ok(());
        }
        for message in &out.messages {
            tracing::info!(decision = %message.decided.decision, reason = %message.decided.reason,
                title = %message.title, receivers = ?message.decided.receivers, "decided");
        }
        self.store.commit(commit).await
    }

    fn statistics(&self) -> EngineStats {
        let engine = self.pipeline.engine();
        let mut incidents: BTreeMap<&'static str, u64> = BTreeMap::new();
        for incident in engine.incidents() {
            *incidents.entry(incident.state()).or_default() += 1;
        }
        EngineStats {
            signals: engine.signal_counts().clone(),
            decisions: engine.decision_counts().clone(),
            held: engine.held_counts().clone(),
            incidents,
            memory: self.pipeline.memory().sizes().to_vec(),
            refused: engine.refused(),
            synced: self.pipeline.synced(),
            blind: self.pipeline.memory().blind().map(|kind| kind.to_string()).collect(),
        }
    }
}

fn restore(rows: Vec<(String, String)>) -> Vec<Incident> {
    let mut incidents = Vec::with_capacity(rows.len());
    for (id, body) in rows {
        match serde_json::from_str(&body) {
            Ok(incident) => incidents.push(incident),
            Err(error) => {
                tracing::error!(incident = %id, %error, "a stored incident cannot be read and is forgotten");
            }
        }
    }
    incidents
}

/// What a step decided, as the store keeps it.
fn commit(pipeline: &Pipeline, out: &Output, now: Timestamp) -> Commit {
    let mut commit =
        Commit { removed: out.removed.iter().map(ToString::to_string).collect(), ..Commit::default() };
    for id in &out.dirty {
        let Some(incident) = pipeline.engine().incident(id) else { continue };
        match serde_json::to_string(incident) {
            Ok(body) => commit.incidents.push(IncidentRow {
                id: id.to_string(),
                rule: Arc::clone(&incident.rule),
                state: Arc::from(incident.state()),
                body,
                updated_at: now,
            }),
            Err(error) => tracing::error!(incident = %id, %error, "an incident cannot be written down"),
        }
    }
    for message in &out.messages {
        commit.notifications.extend(message.notifications());
        let decided = &message.decided;
        let one = decided.incidents.first().filter(|_| !decided.decision.is_summary());
        commit.history.push(HistoryRow {
            at: decided.at,
            incident: one.map(|i| Arc::clone(&i.id)),
            decision: Some(decided.decision),
            reason: decided.reason,
            rule: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.rule)),
            namespace: one.and_then(|i| i.namespace.clone()),
            workload: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.workload)),
            title: message.title.clone(),
            detail: serde_json::json!({ "receivers": decided.receivers }).to_string(),
        });
    }
    for note in &out.notes {
        commit.history.push(HistoryRow {
            at: note.at,
            incident: Some(Arc::clone(&note.incident)),
            decision: None,
            reason: note.reason,
            rule: Arc::clone(&note.rule),
            namespace: note.namespace.clone(),
            workload: Arc::clone(&note.workload),
            title: String::new(),
            detail: serde_json::json!({ "by": note.detail }).to_string(),
        });
    }
    commit
}

/// The namespaces named in the configuration, for people.
#[must_use]
pub fn scope(config: &WatchConfig) -> String {
    match (config.include.is_empty(), config.exclude.is_empty()) {
        (true, true) => String::from("all namespaces"),
        (true, false) => format!("all namespaces but {}", config.exclude.join(", ")),
        (false, _) => format!("namespaces {}", config.include.join(", ")),
    }
}
