//! The metric families: names, help, and which label values are always there.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::process::Process;
use super::writer::{Labels, Writer};
use super::{ConfigStats, EngineStats, Exposition};
use crate::clock;
use crate::message::{Decision, Reason};
use crate::signal::Cause;
use crate::store::{ReceiverSize, Sizes, StoreHealth};
use crate::watch::Kind;
use crate::watch::logs::LogOutcome;
use crate::watch::scope::Forged;
use crate::watch::stream::{KindStatus, WatchState};

/// The states of [`crate::engine::Incident::state`].
pub(super) const STATES: [&str; 4] = ["pending", "held", "firing", "resolved"];

/// At most so many namespaces have a series of their own: who may make namespaces must not make series.
const MAX_TENANTS: usize = 20;

/// How one receiver did since the start.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub receiver: Arc<str>,
    pub outcomes: [(&'static str, u64); 5],
    pub folded: u64,
    pub assertions: [(&'static str, u64); 2],
    /// Does it refuse every message?
    pub refusing: bool,
    /// Its attempts have failed for so long that it is news.
    pub failing: bool,
    /// Messages that went to its fallback.
    pub handed_over: u64,
}

/// All numbers at one moment.
#[derive(Debug)]
pub(super) struct Families {
    pub format: Exposition,
    pub now: Timestamp,
    pub started: Timestamp,
    pub engine: Arc<EngineStats>,
    pub config: Arc<ConfigStats>,
    pub watches: Vec<KindStatus>,
    /// `None`: the store does not answer.
    pub sizes: Option<Sizes>,
    pub store: StoreHealth,
    pub deliveries: Vec<Deliveries>,
    pub logs: Vec<(LogOutcome, u64)>,
    pub http: [(&'static str, u64); 2],
    /// `None`: no heartbeat is configured.
    pub heartbeats: Option<[(&'static str, u64); 3]>,
    pub process: Process,
}

/// With which reasons a decision is taken: the pairs shown at 0. Others are shown once they occur.
pub(super) const fn reasons(decision: Decision) -> &'static [Reason] {
    match decision {
        Decision::First => &[Reason::First],
        Decision::Grew => &[Reason::Grew, Reason::Escalated],
        Decision::Reminder => &[Reason::Reminder],
        Decision::Reopened => &[Reason::Flapping],
        Decision::Resolved => &[Reason::Recovered, Reason::ObjectsGone, Reason::Quiet],
        Decision::Expired => &[Reason::StateUnknown, Reason::RuleRemoved],
        Decision::Standing => &[Reason::Standing],
        Decision::Storm => &[Reason::Storm],
        Decision::Digest => &[Reason::Schedule],
        Decision::Notice => &[
            Reason::ConfigBroken,
            Reason::ConfigMended,
            Reason::Blind,
            Reason::SeesAgain,
            Reason::ReceiverFails,
            Reason::ReceiverRefuses,
            Reason::ReceiverWorks,
            Reason::HandedOver,
            Reason::NotQueued,
            Reason::LimitReached,
            Reason::LimitLifted,
            Reason::StoreInMemory,
            Reason::StoreOnDisk,
            Reason::StoreSetAside,
        ],
    }
}

/// Is this a reason to say nothing?
pub(super) fn holds(reason: Reason) -> bool {
    !Decision::ALL.iter().any(|decision| reasons(*decision).contains(&reason))
}

impl Families {
    pub fn render(self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let format = self.format;
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        match format {
            Exposition::OpenMetrics => text::encode(&mut out, &registry)?,
            // No end mark, and counters are described under their full names.
            Exposition::Text => text::encode_registry(&mut out, &registry)?,
        }
        Ok(out)
    }

    fn of_engine(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let engine = &self.engine;
        let signals = Cause::ALL.iter().map(|cause| {
            (vec![("cause", cause.as_str())], engine.signals.get(cause).copied().unwrap_or_default())
        });
        out.counter("kubeherald_signals", "Signals taken in by the engine.", signals)?;

        let mut decisions = engine.decisions.clone();
        for decision in Decision::ALL {
            for reason in reasons(*decision) {
                decisions.entry((*decision, *reason)).or_default();
            }
        }
        let decisions = decisions.iter().map(|((decision, reason), n)| {
            (vec![("decision", decision.as_str()), ("reason", reason.as_str())], *n)
        });
        out.counter("kubeherald_decisions", "Decisions to tell something.", decisions)?;

        let mut held = engine.held.clone();
        for reason in Reason::ALL.iter().filter(|reason| holds(**reason)) {
            held.entry(*reason).or_default();
        }
        let held = held.iter().map(|(reason, n)| (vec![("reason", reason.as_str())], *n));
        out.counter("kubeherald_held", "Decisions to tell nothing.", held)?;

        let incidents = STATES
            .iter()
            .map(|s| (vec![("state", *s)], engine.incidents.get(s).copied().unwrap_or_default()));
        out.gauge("kubeherald_incidents", "Incidents known.", incidents)?;
        let none = Labels::new;
        out.counter(
            "kubeherald_refused",
            "Incidents and members refused because a cap was hit.",
            [(none(), engine.refused)],
        )?;
        out.counter(
            "kubeherald_bad_annotations",
            "Annotations that were to silence something and cannot be read.",
            [(none(), engine.bad_annotations)],
        )?;
        let forged = Forged::ALL.iter().map(|reason| {
            (vec![("reason", reason.as_str())], engine.forged.get(reason).copied().unwrap_or_default())
        });
        out.counter(
            "kubeherald_events_ignored",
            "Events about objects that their namespace may not speak about.",
            forged,
        )?;
        let cut = Kind::ALL
            .iter()
            .map(|kind| (vec![("kind", kind.as_str())], engine.cut.get(kind).copied().unwrap_or_default()));
        out.counter("kubeherald_object_texts_cut", "Texts and lists of objects that were too long.", cut)?;
        let steps = engine.clock_steps;
        out.counter(
            "kubeherald_clock_steps",
            "How often the wall clock was set by more than a few seconds, or the machine slept.",
            [(vec![("direction", "forward")], steps.forward), (vec![("direction", "back")], steps.back)],
        )?;
        out.gauge(
            "kubeherald_clock_ahead_seconds",
            "How far the clock of this machine is ahead of the API server's; negative: behind.",
            [(none(), engine.clock_ahead.as_secs_f64())],
        )?;
        out.counter(
            "kubeherald_incidents_displaced",
            "Incidents that gave way to others because the limit on incidents was reached.",
            [(none(), engine.displaced)],
        )?;
        out.gauge(
            "kubeherald_incidents_limit_reached",
            "1 while the limit on incidents keeps problems from being followed.",
            [(none(), u32::from(engine.limit.is_some()))],
        )?;
        let left_out = engine.limit.iter().flat_map(|limit| limit.left_out.iter().take(MAX_TENANTS));
        out.gauge(
            "kubeherald_problems_left_out",
            "Problems that are not followed because the limit on incidents is reached, in the namespaces with most.",
            left_out.map(|(of, n)| (vec![("namespace", of.as_str())], u64::try_from(*n).unwrap_or(u64::MAX))),
        )?;
        out.counter(
            "kubeherald_notifications_not_queued",
            "Notifications that were not queued because another message had their key.",
            [(none(), engine.not_queued)],
        )?;
        let memory = engine.memory.iter().map(|(sort, n)| (vec![("sort", *sort)], *n));
        out.gauge("kubeherald_memory_objects", "Objects remembered.", memory)?;
        out.gauge(
            "kubeherald_synced",
            "1 when every kind was listed once, or found unreadable.",
            [(none(), u32::from(engine.synced))],
        )
    }

    fn of_config(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let config = &self.config;
        out.counter(
            "kubeherald_config_reloads",
            "How often the configuration was loaded again.",
            [(vec![("result", "success")], config.succeeded), (vec![("result", "failure")], config.failed)],
        )?;
        let none = Labels::new;
        out.gauge(
            "kubeherald_config_last_reload_successful",
            "1 if what is on disk is in force; 0: it has errors, and the last good one goes on.",
            [(none(), u32::from(config.error.is_none()))],
        )?;
        out.gauge(
            "kubeherald_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded.",
            [(none(), config.last_success.as_duration().as_secs_f64())],
        )?;
        let hash = config.hash.get(..12).unwrap_or_default();
        out.gauge(
            "kubeherald_config_info",
            "Always 1; which configuration is in force.",
            [(vec![("hash", hash)], 1_u32)],
        )
    }

    fn of_watches(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let watches = &self.watches;
        let by_kind = |number: fn(&KindStatus) -> u64| {
            watches.iter().map(move |watch| (vec![("kind", watch.kind.as_str())], number(watch)))
        };
        let age = watches.iter().map(|watch| {
            // A watch that never heard anything is as old as the process.
            let heard = watch.last_activity.unwrap_or(self.started);
            (vec![("kind", watch.kind.as_str())], clock::between(heard, self.now).as_secs_f64())
        });
        out.gauge(
            "kubeherald_watch_last_activity_age_seconds",
            "Time since the API server last showed that it is there.",
            age,
        )?;
        // What a namespaced install may not read is not down.
        let permitted = watches.iter().filter(|watch| !watch.not_permitted);
        out.gauge(
            "kubeherald_watch_up",
            "1 while a kind is followed, also while it is listed anew.",
            permitted.map(|watch| (vec![("kind", watch.kind.as_str())], u64::from(up(watch)))),
        )?;
        out.counter("kubeherald_watch_lists", "Lists completed.", by_kind(|watch| watch.lists))?;
        out.counter(
            "kubeherald_watch_requests",
            "Requests to the API server.",
            by_kind(|watch| watch.requests),
        )?;
        out.counter(
            "kubeherald_watch_requests_delayed",
            "Requests that had to wait: too many came before, or watches ended as soon as they began.",
            by_kind(|watch| watch.delayed),
        )?;
        out.counter("kubeherald_watch_restarts", "Watches started anew.", by_kind(|watch| watch.restarts))?;
        out.counter(
            "kubeherald_watch_bad_objects",
            "Objects that did not decode.",
            by_kind(|watch| watch.bad_objects),
        )
    }

    fn of_outbox(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let outcomes = self.deliveries.iter().flat_map(|of| {
            let receiver = &*of.receiver;
            of.outcomes
                .iter()
                .map(move |(outcome, n)| (vec![("receiver", receiver), ("outcome", outcome)], *n))
        });
        out.counter("kubeherald_deliveries", "Attempts at delivery, by how they ended.", outcomes)?;
        let folded = self.deliveries.iter().map(|of| (vec![("receiver", &*of.receiver)], of.folded));
        out.counter("kubeherald_outbox_folded", "Notifications delivered inside a summary.", folded)?;
        let asserted = self.deliveries.iter().filter(|of| of.assertions.iter().any(|(_, n)| *n > 0));
        let asserted = asserted.flat_map(|of| {
            let receiver = &*of.receiver;
            of.assertions
                .iter()
                .map(move |(outcome, n)| (vec![("receiver", receiver), ("outcome", outcome)], *n))
        });
        out.counter(
            "kubeherald_alert_assertions",
            "Open alerts sent again, and requests with them that failed.",
            asserted,
        )?;
        if let Some(heartbeats) = &self.heartbeats {
            let each = heartbeats.iter().map(|(outcome, n)| (vec![("outcome", *outcome)], *n));
            out.counter("kubeherald_heartbeats", "Requests to the dead man's switch.", each)?;
        }
        let refusing =
            self.deliveries.iter().map(|of| (vec![("receiver", &*of.receiver)], u32::from(of.refusing)));
        out.gauge(
            "kubeherald_receiver_refusing",
            "1 while a receiver refuses every message and is paused.",
            refusing,
        )?;
        let failing =
            self.deliveries.iter().map(|of| (vec![("receiver", &*of.receiver)], u32::from(of.failing)));
        out.gauge(
            "kubeherald_receiver_failing",
            "1 while attempts at a receiver have failed for `receiver_trouble_after` or longer.",
            failing,
        )?;
        let handed_over =
            self.deliveries.iter().map(|of| (vec![("receiver", &*of.receiver)], of.handed_over));
        out.counter(
            "kubeherald_outbox_handed_over",
            "Messages of a receiver that went to its fallback.",
            handed_over,
        )?;
        let logs = self.logs.iter().map(|(outcome, n)| (vec![("outcome", outcome.as_str())], *n));
        out.counter(
            "kubeherald_log_tails",
            "Messages that were to have a log tail, by why they have none.",
            logs,
        )?;
        out.gauge(
            "kubeherald_store_up",
            "1 if the store answered this scrape; 0: its metrics are missing.",
            [(Labels::new(), u32::from(self.sizes.is_some()))],
        )?;
        self.of_disk(out)?;
        let Some(sizes) = &self.sizes else { return Ok(()) };
        let sizes_of = self.receivers(sizes);
        let by_receiver = |number: fn(&ReceiverSize) -> u64| {
            sizes_of.iter().map(move |of| (vec![("receiver", of.receiver.as_str())], number(of)))
        };
        out.gauge(
            "kubeherald_outbox_depth",
            "Notifications waiting or under way.",
            by_receiver(|of| of.queued.saturating_add(of.sending)),
        )?;
        let age = sizes_of.iter().map(|of| {
            let age = of.oldest.map_or(0.0, |oldest| clock::between(oldest, self.now).as_secs_f64());
            (vec![("receiver", of.receiver.as_str())], age)
        });
        out.gauge(
            "kubeherald_outbox_oldest_age_seconds",
            "How long the oldest notification has been waiting; 0 if none.",
            age,
        )?;
        out.gauge("kubeherald_dead_letters", "Notifications given up and kept.", by_receiver(|of| of.dead))?;
        let none = Labels::new;
        out.gauge("kubeherald_store_bytes", "Size of the database.", [(none(), sizes.bytes)])?;
        out.counter(
            "kubeherald_store_rows_cut",
            "Rows that were shortened because they were too large.",
            [(none(), sizes.cut)],
        )?;
        out.counter(
            "kubeherald_store_rows_unread",
            "Rows found too large to be read, and left aside.",
            [(none(), sizes.unread)],
        )?;
        out.gauge("kubeherald_store_incidents", "Incidents in the store.", [(none(), sizes.incidents)])?;
        out.gauge(
            "kubeherald_store_history_rows",
            "Rows of history in the store; an upper bound.",
            [(none(), sizes.history)],
        )
    }

    fn of_disk(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        let (store, none) = (&self.store, Labels::new);
        out.gauge(
            "kubeherald_store_in_memory",
            "1 while nothing can be written to the disk and changes are kept in memory only.",
            [(none(), u32::from(store.in_memory.is_some()))],
        )?;
        out.gauge(
            "kubeherald_store_memory_bytes",
            "Bytes that are kept in memory only.",
            [(none(), store.memory_bytes)],
        )?;
        out.gauge(
            "kubeherald_store_reserve",
            "1 if the room that is held back for a full volume is there.",
            [(none(), u32::from(store.reserve == Some(true)))],
        )?;
        out.gauge(
            "kubeherald_store_over_budget",
            "1 if what may not be dropped takes more than store.max_bytes allows.",
            [(none(), u32::from(store.over_budget))],
        )?;
        out.gauge(
            "kubeherald_store_set_aside",
            "1 if a damaged file was replaced by a new one at the start.",
            [(none(), u32::from(store.set_aside.is_some()))],
        )?;
        let failures = ["full", "disk", "read_only", "open", "corrupt"]
            .map(|error| (vec![("error", error)], store.failures.get(error).copied().unwrap_or_default()));
        out.counter("kubeherald_store_failures", "Transactions that the disk failed.", failures)?;
        let dropped = [("history", store.dropped.history), ("dead_letters", store.dropped.dead_letters)];
        out.counter(
            "kubeherald_store_dropped",
            "Rows dropped for want of room.",
            dropped.map(|(what, rows)| (vec![("what", what)], rows)),
        )
    }

    /// Receivers that are owed nothing are not in the store's answer.
    fn receivers(&self, sizes: &Sizes) -> Vec<ReceiverSize> {
        let mut all = sizes.receivers.clone();
        for of in &self.deliveries {
            if !all.iter().any(|size| size.receiver == *of.receiver) {
                all.push(ReceiverSize { receiver: of.receiver.to_string(), ..ReceiverSize::default() });
            }
        }
        all.sort_by(|a, b| a.receiver.cmp(&b.receiver));
        all
    }

    fn of_process(&self, out: &mut Writer<'_, '_>) -> fmt::Result {
        out.counter(
            "kubeherald_http_connections_ended",
            "Connections of this server that were closed to make room, or refused because there was none.",
            self.http.iter().map(|(how, n)| (vec![("how", *how)], *n)),
        )?;
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        out.gauge("kubeherald_build_info", "Always 1; what is running.", [(version, 1_u32)])?;
        let started = self.started.as_duration().as_secs_f64();
        let none = Labels::new;
        out.gauge(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch.",
            [(none(), started)],
        )?;
        if let Some(bytes) = self.process.resident {
            out.gauge("process_resident_memory_bytes", "Resident memory.", [(none(), bytes)])?;
        }
        if let Some(seconds) = self.process.cpu {
            out.counter("process_cpu_seconds", "User and system CPU time spent.", [(none(), seconds)])?;
        }
        if let Some(fds) = self.process.fds {
            out.gauge("process_open_fds", "Open file descriptors.", [(none(), fds)])?;
        }
        Ok(())
    }
}

fn up(watch: &KindStatus) -> bool {
    match watch.state {
        WatchState::Watching => true,
        WatchState::Listing => watch.lists > 0,
        WatchState::Blind | WatchState::Failing => false,
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer::new(&mut encoder, self.format);
        self.of_engine(&mut out)?;
        self.of_config(&mut out)?;
        self.of_watches(&mut out)?;
        self.of_outbox(&mut out)?;
        self.of_process(&mut out)
    }
}
