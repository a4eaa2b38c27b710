//! The engine's loop: takes changes and commands in, decides, and stores what was decided.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::commit::{commit, restore};
use crate::app::logs::{LogRead, Logs};
use crate::app::pipeline::{Output, Pipeline, Start};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::metrics::EngineStats;
use crate::store::{Commit, Retention, Store, StoreError};
use crate::watch::{Change, Kind};
use crate::web::{Ask, Command, Refusal};

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

/// So many commands wait for the loop, at most.
pub(super) const COMMANDS: usize = 16;

/// What the loop is asked to do between changes.
#[derive(Debug)]
pub(super) enum EngineCommand {
    /// From the API: about silences.
    Asked(Ask),
}

/// Takes changes in, decides, and stores what was decided.
pub(super) struct EngineLoop {
    pipeline: Pipeline,
    store: Store,
    stats: Arc<ArcSwap<EngineStats>>,
    heartbeat: Arc<AtomicI64>,
    clock: Clock,
    logs: Logs,
    out: Output,
    last_flush: Timestamp,
    last_mark: Timestamp,
    last_prune: Timestamp,
    last_stats: Timestamp,
    started: bool,
}

impl EngineLoop {
    pub(super) async fn start(
        config: &Config,
        kinds: &[Kind],
        store: Store,
        stats: Arc<ArcSwap<EngineStats>>,
        heartbeat: Arc<AtomicI64>,
        clock: Clock,
        logs: Logs,
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
            logs,
            out,
            last_flush: now,
            last_mark: now,
            last_prune: now,
            last_stats: Timestamp::MIN,
            started,
        })
    }

    /// Until every sender of changes is gone.
    pub(super) async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut commands: mpsc::Receiver<EngineCommand>,
        mut log_read: mpsc::Receiver<LogRead>,
    ) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut commanded = true;
        loop {
            let now = self.clock.now();
            let due = self.pipeline.next_deadline().map_or(FLUSH, |at| clock::between(now, at).min(FLUSH));
            let received = tokio::select! {
                received = changes.recv_many(&mut batch, BATCH) => Some(received),
                command = commands.recv(), if commanded => {
                    match command {
                        Some(command) => self.command(command).await?,
                        None => commanded = false,
                    }
                    None
                }
                Some(LogRead { incident, log }) = log_read.recv() => {
                    self.pipeline.put_log(&incident, log, &mut self.out);
                    None
                }
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

    async fn command(&mut self, command: EngineCommand) -> Result<(), StoreError> {
        let EngineCommand::Asked(Ask { command, answer }) = command;
        let answered = match command {
            Command::Reload
            | Command::Silences { .. }
            | Command::AddSilence { .. }
            | Command::ExpireSilence { .. } => Err(Refusal::Failed("not supported by this version".into())),
        };
        answer.send(answered).ok();
        self.flush(self.clock.now(), false).await
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
        let waiting = self.logs.wanted(&out.messages, now);
        commit.holds = waiting.holds();
        self.store.commit(commit).await?;
        waiting.begin();
        Ok(())
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
