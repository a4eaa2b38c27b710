//! The engine's loop: takes changes and commands in, decides, and stores what was decided.

mod clocks;
mod identity;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::identity::{MARK_NUMBERS, MARK_STOPPED, MARK_STORE, MESSAGES_LOST, identity, skip_numbers};
use super::seen::{MARK_SEEN, Seen};
use super::slices::Slices;
use super::upkeep::{self, Upkeep};
use crate::app::commit::{commit, restore, restore_digests};
use crate::app::logs::{LogRead, Logs};
use crate::app::notice::{Announcer, Broken, tenant};
use crate::app::pipeline::{Output, Pipeline, Start};
use crate::app::silences;
use crate::clock::{self, Clock, Steady};
use crate::config::Config;
use crate::engine::Numbers;
use crate::metrics::{ClockSteps, EngineStats, LimitStats};
use crate::outbox::Outbox;
use crate::store::{Commit, Committed, Store, StoreError};
use crate::watch::stream::WatchStatus;
use crate::watch::{Change, Kind};
use crate::web::{Ask, Command, Refusal};

/// The mark that says that a first look was completed and stored.
const MARK_STARTED: &str = "started";

/// Counters and last-seen times are stored at least this often; decisions at once.
const FLUSH: Duration = Duration::from_secs(1);
/// The marks of what was seen are stored at least this often.
const MARK_EVERY: Duration = Duration::from_secs(10);
/// So many changes are taken in before decisions are stored, at most.
const BATCH: usize = 512;
/// The store is looked after this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// Statistics for metrics are taken this often.
const STATS_EVERY: Duration = Duration::from_secs(2);

/// So many commands wait for the loop, at most.
pub(super) const COMMANDS: usize = 16;

/// What the loop is asked to do between changes.
#[derive(Debug)]
pub(super) enum EngineCommand {
    /// From the API: about silences.
    Asked(Ask),
    /// Go on under another configuration.
    Reload {
        config: Arc<Config>,
        /// Told once what follows from it is stored.
        done: oneshot::Sender<()>,
    },
    /// The configuration on disk cannot be used.
    Broken {
        /// What is wrong with it.
        broken: Broken,
        /// Told once the notice is stored.
        done: oneshot::Sender<()>,
    },
}

/// Takes changes in, decides, and stores what was decided.
pub(super) struct EngineLoop {
    pipeline: Pipeline,
    announcer: Announcer,
    store: Store,
    stats: Arc<ArcSwap<EngineStats>>,
    heartbeat: Arc<AtomicI64>,
    /// Steps of the wall clock are seen between two rounds only.
    clock: Arc<Steady>,
    machine: Clock,
    clock_steps: ClockSteps,
    /// Who had a dispatcher since the start.
    reachable: BTreeSet<Arc<str>>,
    logs: Logs,
    outbox: Outbox,
    watches: Arc<WatchStatus>,
    seen: Seen,
    /// Whether the API server's clock was read since the start.
    compared: bool,
    /// Kinds that were listed since the start.
    listed: BTreeSet<Kind>,
    blind_after: Duration,
    out: Output,
    /// As they are stored.
    numbers: Numbers,
    not_queued: u64,
    last_flush: Timestamp,
    last_mark: Timestamp,
    last_upkeep: Timestamp,
    upkeep: Upkeep,
    stop: CancellationToken,
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
        clock: Arc<Steady>,
        (logs, outbox, watches): (Logs, Outbox, Arc<WatchStatus>),
    ) -> Result<Self, StoreError> {
        let machine = clock.clock().machine();
        let now = clock.now();
        let marks: BTreeMap<String, String> = store.load_marks().await?.into_iter().collect();
        let started = marks.contains_key(MARK_STARTED);
        let mut seen = Seen::load(&marks, kinds, now);
        let news_since = seen.news_since();
        let mut incidents = restore(store.load_incidents().await?);
        store.forget_pending().await?;
        if started {
            let seen_until = seen.before().map(|at| at.to_string());
            tracing::info!(incidents = incidents.len(), ?seen_until, "going on where it stopped");
        }
        let identity = identity(&marks, &config.cluster, now);
        // A first start that is cut off goes on from its beginning, not from its end.
        let mut begun = Commit::default();
        let at = seen.before().unwrap_or(now);
        seen.put_into(&mut begun, at);
        if !marks.contains_key(MARK_STORE) {
            begun.marks.push((MARK_STORE.into(), identity.store.to_string()));
        }
        let in_order = marks.get(MARK_STOPPED).is_some_and(|at| !at.is_empty());
        if in_order {
            begun.marks.push((MARK_STOPPED.into(), String::new()));
        }
        store.commit(begun).await?;
        let numbers = identity.numbers;
        let silences = silences::restore(store.load_silences().await?);
        let annotations = store.load_annotations().await?.into_iter();
        let annotations = annotations
            .filter_map(|row| row.seen.map(|(value, since)| (row.place, row.key, value, since)))
            .collect();
        let digests = restore_digests(store.load_digests().await?);
        let mut announcer = Announcer::new(config, &marks);
        if !in_order {
            skip_numbers(&mut incidents);
            announcer.skip_numbers(MESSAGES_LOST);
        }
        let start =
            Start { first: !started, news_since, identity, incidents, silences, annotations, digests };
        outbox.set_trouble_after(config.trouble_after);
        // It is loaded, or this would not be.
        announcer.in_order(now);
        let (mut pipeline, orphaned) = Pipeline::new(config, kinds, now, start);
        pipeline.set_clock_ahead(seen.stored_ahead().unwrap_or_default());
        let mut out = Output::default();
        let stored = marks.get(MARK_SEEN).and_then(|at| at.parse::<Timestamp>().ok());
        if let Some(by) = stored.and_then(|stored| clock::set_back(stored, now)) {
            tracing::warn!(seconds = by.as_secs(), "the clock is behind the one of the process before");
            pipeline.clock_set(by, now, &mut out);
            announcer.clock_set(by, now);
            clocks::move_waits(&store, by, now).await?;
        }
        clocks::cap_waits(&store, now).await?;
        for incident in orphaned {
            tracing::warn!(incident = %incident.id, rule = %incident.rule, workload = %incident.workload,
                "no rule asks for it any more: the incident is forgotten, and who was told is told so");
        }
        Ok(Self {
            last_upkeep: now,
            upkeep: Upkeep::new(store.clone(), now),
            stop: CancellationToken::new(),
            reachable: pipeline.receivers().into_iter().collect(),
            pipeline,
            announcer,
            store,
            stats,
            heartbeat,
            clock,
            machine,
            clock_steps: ClockSteps::default(),
            logs,
            outbox,
            watches,
            seen,
            compared: false,
            listed: BTreeSet::new(),
            blind_after: config.watch.blind_after,
            out,
            numbers,
            not_queued: 0,
            last_flush: now,
            last_mark: now,
            last_stats: Timestamp::MIN,
            started,
        })
    }

    /// Until every sender of changes is gone, which follows soon after `stop`.
    pub(super) async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut commands: mpsc::Receiver<EngineCommand>,
        mut log_read: mpsc::Receiver<LogRead>,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        self.stop = stop;
        let mut batch = Vec::with_capacity(BATCH);
        let mut commanded = true;
        loop {
            let now = self.clock.now();
            let due = self.pipeline.next_deadline().map_or(FLUSH, |at| clock::between(now, at).min(FLUSH));
            let mut ended = false;
            // People wait for what they command, so commands come first: one a round. What else is there is
            // taken in the same round below, so that commands cannot hold up changes, nor changes logs.
            tokio::select! {
                biased;
                command = commands.recv(), if commanded => match command {
                    Some(command) => self.command(command).await?,
                    None => commanded = false,
                },
                Some(read) = log_read.recv() => self.put_log(read),
                taken = changes.recv_many(&mut batch, BATCH) => ended = taken == 0,
                () = self.clock.clock().sleep(due) => {}
            }
            for _ in 0..COMMANDS {
                match log_read.try_recv() {
                    Ok(read) => self.put_log(read),
                    Err(_) => break,
                }
            }
            while batch.len() < BATCH {
                match changes.try_recv() {
                    Ok(change) => batch.push(change),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        ended = batch.is_empty();
                        break;
                    }
                }
            }
            if ended {
                let now = self.clock.now();
                return self.flush(now, true).await;
            }
            self.follow_the_clock().await?;
            self.follow_the_server().await?;
            for change in batch.drain(..) {
                self.look_at(&change);
                self.pipeline.feed(self.clock.now(), change, &mut self.out);
            }
            let now = self.clock.now();
            self.pipeline.tick_until(now, &mut self.out);
            self.announcer.tick(now);
            self.announcer.receivers(now, &self.outbox.acceptances());
            if self.pipeline.synced() {
                self.announcer.limit(now, self.pipeline.engine().limit_reached());
            }
            self.heartbeat.store(self.machine.now().as_millisecond(), Ordering::Relaxed);
            let urgent = !self.out.messages.is_empty() || self.announcer.is_waiting();
            if urgent || clock::between(self.last_flush, now) >= FLUSH {
                self.flush(now, false).await?;
                // What is announced is on disk by now.
                self.outbox.set_fallbacks(&self.announcer.fallbacks());
            }
            if clock::between(self.last_stats, now) >= STATS_EVERY {
                self.last_stats = now;
                self.stats.store(Arc::new(self.statistics()));
            }
            if clock::between(self.last_upkeep, now) >= UPKEEP_EVERY {
                self.last_upkeep = now;
                self.pipeline.prune_silences(now, &mut self.out);
                self.upkeep.tick(now).await?;
                self.announcer.store(now, &self.store.health());
            }
        }
    }

    /// What a change says of its watch.
    fn look_at(&mut self, change: &Change) {
        let now = self.clock.now();
        match change {
            Change::Listed(kind) | Change::ListedIn(kind, _) => {
                self.listed.insert(*kind);
            }
            Change::Contact(kind, at) => {
                self.seen.contact(*kind, self.pipeline.memory().server_time(self.clock.at(*at)));
            }
            Change::Failing { kind, since, .. } => {
                let since = self.clock.at(*since);
                let listed = self.listed.contains(kind);
                self.announcer.failing(*kind, self.seen.unseen_since(since, listed, self.blind_after));
            }
            _ => {}
        }
        self.announcer.change(now, change);
    }

    fn put_log(&mut self, LogRead { incident, log }: LogRead) {
        self.pipeline.put_log(&incident, log, &mut self.out);
    }

    async fn command(&mut self, command: EngineCommand) -> Result<(), StoreError> {
        let Ask { command, answer } = match command {
            EngineCommand::Asked(ask) => ask,
            EngineCommand::Reload { config, done } => {
                let now = self.clock.now();
                // What was decided before is stored as it was decided.
                self.pipeline.tick_until(now, &mut self.out);
                self.flush(now, false).await?;
                self.pipeline.reload(now, &config, &mut self.out);
                self.reachable.extend(self.pipeline.receivers());
                // What silences held is looked at again, and who gets no digests any more gets the last.
                self.pipeline.tick_until(now, &mut self.out);
                self.announcer.configure(&config);
                self.outbox.set_trouble_after(config.trouble_after);
                self.announcer.in_order(now);
                self.flush(now, false).await?;
                done.send(()).ok();
                return Ok(());
            }
            EngineCommand::Broken { broken, done } => {
                let now = self.clock.now();
                self.announcer.broken(now, &broken);
                self.flush(now, false).await?;
                done.send(()).ok();
                return Ok(());
            }
        };
        let now = self.clock.now();
        let answered = match command {
            // It goes to whoever looks at the files; what comes of it is `EngineCommand::Reload`.
            Command::Reload => Err(Refusal::Failed("the engine reads no files".into())),
            Command::Silences { all } => Ok(self.pipeline.silences(all, now)),
            Command::AddSilence { body } => self.pipeline.add_silence(&body, now, &mut self.out),
            Command::ExpireSilence { id } => self.pipeline.expire_silence(&id, now, &mut self.out),
        };
        // What follows from it is decided with it, and it is on disk before it is called done.
        self.pipeline.tick_until(now, &mut self.out);
        self.flush(now, false).await?;
        answer.send(answered).ok();
        Ok(())
    }

    /// Stores what was decided, in parts of bounded size. `last`: nothing comes after it.
    async fn flush(&mut self, now: Timestamp, last: bool) -> Result<(), StoreError> {
        self.last_flush = now;
        let mut slices = Slices::of(std::mem::take(&mut self.out));
        while let Some(out) = slices.next() {
            self.store_part(out, now, slices.is_empty(), last).await?;
        }
        Ok(())
    }

    /// One transaction: incidents, notifications, history, and, with the last part of a step, marks.
    async fn store_part(
        &mut self,
        out: Output,
        now: Timestamp,
        complete: bool,
        last: bool,
    ) -> Result<(), StoreError> {
        out.effects.bad_annotations.iter().for_each(silences::complain);
        let mut commit = commit(&self.pipeline, &out, now);
        if complete {
            self.announcer.put_into(&mut commit);
            self.put_ahead(&mut commit);
        }
        if complete && self.pipeline.synced() {
            // The summary of a first start is owed until it is decided: only then it has begun.
            let begun = self.started || !self.pipeline.engine().is_gathering_standing();
            if begun && !self.started {
                self.started = true;
                commit.marks.push((MARK_STARTED.into(), now.to_string()));
            }
            let due = clock::between(self.last_mark, now) >= MARK_EVERY;
            if last {
                commit.marks.push((MARK_STOPPED.into(), now.to_string()));
            }
            if self.started && (due || last || !commit.is_empty()) {
                self.last_mark = now;
                self.seen.put_into(&mut commit, now);
            }
        }
        if commit.is_empty() {
            return Ok(());
        }
        let numbers = self.pipeline.engine().numbers();
        if numbers != self.numbers {
            commit.marks.push((MARK_NUMBERS.into(), serde_json::to_string(&numbers).unwrap_or_default()));
        }
        let waiting = self.logs.wanted(&out.messages, now);
        commit.holds = waiting.holds();
        let committed = self.keep(commit).await?;
        self.numbers = numbers;
        waiting.begin();
        self.not_queued(now, &committed).await?;
        // The last digest of a receiver that was gone before this start: like all that it was owed, kept
        // as a dead letter. One that went with a reload is still served.
        if out.messages.iter().any(|m| m.decided.digest.as_ref().is_some_and(|digest| digest.last)) {
            let reachable: Vec<Arc<str>> = self.reachable.iter().cloned().collect();
            self.store.bury_unknown(&reachable, now).await?;
        }
        Ok(())
    }

    /// Stores a commit, however long that takes; the loop counts as alive meanwhile.
    async fn keep(&self, commit: Commit) -> Result<Committed, StoreError> {
        let round = || {
            self.heartbeat.store(self.machine.now().as_millisecond(), Ordering::Relaxed);
        };
        upkeep::keep(&self.store, commit, self.clock.clock(), &self.stop, round).await
    }

    /// What was decided and could not be queued is never left at that: it is logged, counted and told.
    async fn not_queued(&mut self, now: Timestamp, committed: &Committed) -> Result<(), StoreError> {
        for lost in &committed.not_queued {
            self.not_queued += 1;
            tracing::error!(key = %lost.key, receiver = %lost.receiver, title = %lost.title,
                "a notification was not queued: another message has its key");
        }
        self.announcer.not_queued(now, &committed.not_queued);
        if !self.announcer.is_waiting() {
            return Ok(());
        }
        let mut notice = Commit::default();
        self.announcer.put_into(&mut notice);
        let told = self.keep(notice).await?;
        for lost in &told.not_queued {
            tracing::error!(key = %lost.key, receiver = %lost.receiver, "a notice was not queued either");
        }
        Ok(())
    }

    fn statistics(&self) -> EngineStats {
        let engine = self.pipeline.engine();
        let mut incidents: BTreeMap<&'static str, u64> = BTreeMap::new();
        for incident in engine.incidents() {
            *incidents.entry(incident.state()).or_default() += 1;
        }
        let mut decisions = engine.decision_counts().clone();
        decisions.extend(self.announcer.counts());
        EngineStats {
            signals: engine.signal_counts().clone(),
            decisions,
            held: engine.held_counts().clone(),
            incidents,
            memory: self.pipeline.memory().sizes().to_vec(),
            refused: engine.refused(),
            displaced: engine.displaced(),
            limit: engine.limit_reached().map(|reached| LimitStats {
                limit: reached.limit,
                largest: tenant(&reached.largest.0).to_owned(),
                largest_count: reached.largest.1,
                left_out: reached.left_out.iter().map(|(of, n)| (tenant(of).to_owned(), *n)).collect(),
            }),
            not_queued: self.not_queued,
            bad_annotations: engine.bad_annotations(),
            forged: self.pipeline.memory().forged().clone(),
            cut: self.pipeline.memory().cut().clone(),
            clock_steps: self.clock_steps,
            clock_ahead: self.pipeline.memory().clock_ahead(),
            synced: self.pipeline.synced(),
            blind: self.pipeline.memory().blind().map(|kind| kind.to_string()).collect(),
        }
    }
}
