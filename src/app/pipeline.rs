//! From changes to notifications: the one function behind `run`, `replay`, `test` and `demo`.
//!
//! Synchronous and deterministic; what has to be stored and told comes out as [`Output`].

mod given;
mod log;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::config::{Config, WatchConfig};
use crate::engine::{Decided, Effects, Engine, Incident, Note, Settings};
use crate::message::{IncidentView, Notification, text};
use crate::rule::Routes;
use crate::signal::redact::Redactor;
use crate::signal::{Cause, Signal};
use crate::template::{Summary, compile_summary};
use crate::watch::{Change, Kind, Memory, Object, objects::Kinded};

pub use log::LogWanted;

/// After a restart, what happened so long before the last thing seen is looked at once more: what
/// was still gathering then was never stored. What was told is known, and is not told again.
const OVERLAP: Duration = Duration::from_secs(60);

/// Who is told where no receiver is configured.
pub const TERMINAL: &str = "terminal";

/// What came out of a step, to be stored in one transaction.
#[derive(Debug, Default)]
pub struct Output {
    /// Decisions with their texts, in order; one for each, not for each receiver.
    pub messages: Vec<Message>,
    /// Incidents whose stored form is out of date.
    pub dirty: std::collections::BTreeSet<Arc<str>>,
    /// Incidents to forget.
    pub removed: Vec<Arc<str>>,
    /// What was held back, and why.
    pub notes: Vec<Note>,
}

impl Output {
    /// Is there nothing to store?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.dirty.is_empty() && self.removed.is_empty() && self.notes.is_empty()
    }
}

/// A decision in words.
#[derive(Debug, Clone)]
pub struct Message {
    /// What was decided.
    pub decided: Decided,
    /// One line.
    pub title: String,
    /// Several lines.
    pub text: String,
    /// The configured cluster name.
    pub cluster: Arc<str>,
    /// Receivers that do not want to hear of ends (`send_resolved: false`).
    pub no_ends: Arc<[Arc<str>]>,
    /// The log that it should be told with, where its rule asks for one. Who has no cluster tells it
    /// without.
    pub log: Option<Box<LogWanted>>,
}

impl Message {
    /// One notification for each receiver.
    pub fn notifications(&self) -> impl Iterator<Item = Notification> {
        let decided = &self.decided;
        let thread = match decided.incidents.first() {
            Some(incident) if !decided.decision.is_summary() => Arc::clone(&incident.id),
            _ => Arc::from(format!("{}-{}", decided.decision, decided.at.as_millisecond())),
        };
        let end = decided.decision.is_end();
        let told = decided.receivers.iter().filter(move |name| !end || !self.no_ends.contains(*name));
        told.map(move |receiver| Notification {
            key: format!("{thread}-{}-{receiver}", decided.seq),
            receiver: Arc::clone(receiver),
            decision: decided.decision,
            reason: decided.reason,
            at: decided.at,
            cluster: Arc::clone(&self.cluster),
            severity: decided.severity(),
            title: self.title.clone(),
            text: self.text.clone(),
            seq: decided.seq,
            incidents: decided.incidents.clone(),
            incidents_total: decided.total,
        })
    }
}

/// Memory and engine under one configuration.
#[derive(Debug)]
pub struct Pipeline {
    memory: Memory,
    engine: Engine,
    cluster: Arc<str>,
    filter: WatchConfig,
    /// Masks what the configuration adds to the built-in patterns: nothing past this point has seen
    /// the text of a signal before.
    redactor: Redactor,
    signals: Vec<Signal>,
    effects: Effects,
    no_ends: Arc<[Arc<str>]>,
    log_timeout: Duration,
    /// The rules' own titles.
    titles: HashMap<Arc<str>, Summary>,
}

/// What a pipeline begins with.
#[derive(Debug, Default)]
pub struct Start {
    /// Nothing was ever stored.
    pub first: bool,
    /// What happened before was told already.
    pub news_since: Option<Timestamp>,
    /// Stored incidents.
    pub incidents: Vec<Incident>,
}

impl Pipeline {
    /// Builds memory and engine. Incidents whose rule is gone come back.
    #[must_use]
    pub fn new(config: &Config, kinds: &[Kind], now: Timestamp, start: Start) -> (Self, Vec<Incident>) {
        let news_since = start.news_since.map_or(now, |seen| clock::before(seen, OVERLAP));
        let memory = Memory::new(kinds, news_since, wants_raw_events(config));
        let mut engine = Engine::new(settings(config), config.rules.clone(), routes(config), start.first);
        let orphaned = engine.restore(start.incidents);
        let pipeline = Self {
            memory,
            engine,
            cluster: Arc::clone(&config.cluster),
            filter: config.watch.clone(),
            redactor: config.redact.clone(),
            signals: Vec::new(),
            effects: Effects::default(),
            titles: titles(config),
            log_timeout: config.log_tail.timeout,
            no_ends: config
                .receivers
                .iter()
                .filter(|r| !r.send_resolved)
                .map(|r| Arc::clone(&r.name))
                .collect(),
        };
        (pipeline, orphaned)
    }

    /// Takes one change in.
    pub fn feed(&mut self, now: Timestamp, change: Change, out: &mut Output) {
        if !self.wanted(&change) {
            return;
        }
        // What was due before this change is done before it, at its own time.
        self.tick_until(now, out);
        let complete = self.memory.apply(now, change, &mut self.signals);
        for mut signal in self.signals.drain(..) {
            self.redactor.signal(&mut signal);
            self.engine.signal(now, &signal, &self.memory, &mut self.effects);
        }
        if complete {
            self.engine.synced(now, &self.memory, &mut self.effects);
        }
        self.settle(out);
    }

    /// Does everything that is due up to `now`, each at its own time.
    pub fn tick_until(&mut self, now: Timestamp, out: &mut Output) {
        while let Some(at) = self.engine.next_deadline().filter(|at| *at <= now) {
            self.engine.tick(at, &self.memory, &mut self.effects);
        }
        self.settle(out);
    }

    /// When something is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.engine.next_deadline()
    }

    /// Was every kind listed once?
    #[must_use]
    pub fn synced(&self) -> bool {
        self.memory.ready()
    }

    /// The engine, to read from.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The memory, to read from.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    fn wanted(&self, change: &Change) -> bool {
        let (Change::Initial(object) | Change::Applied(object) | Change::Deleted(object)) = change else {
            return true;
        };
        match object {
            Object::Node(_) => true,
            Object::Namespace(o) => self.filter.wants(o.meta().name.as_deref().unwrap_or_default()),
            Object::Event(event) => match event.involved_object.namespace.as_deref() {
                Some(namespace) if !namespace.is_empty() => self.filter.wants(namespace),
                _ => true,
            },
            Object::Pod(o) => self.filter.wants(namespace(o.meta())),
            Object::Deployment(o) => self.filter.wants(namespace(o.meta())),
            Object::ReplicaSet(o) => self.filter.wants(namespace(o.meta())),
            Object::StatefulSet(o) => self.filter.wants(namespace(o.meta())),
            Object::DaemonSet(o) => self.filter.wants(namespace(o.meta())),
            Object::CronJob(o) => self.filter.wants(namespace(o.meta())),
            Object::Job(o) => self.filter.wants(namespace(o.meta())),
            Object::PersistentVolumeClaim(o) => self.filter.wants(namespace(o.meta())),
        }
    }

    fn settle(&mut self, out: &mut Output) {
        if self.effects.is_empty() {
            return;
        }
        let effects = std::mem::take(&mut self.effects);
        for decided in effects.decided {
            let message = self.message(decided);
            out.messages.push(message);
        }
        out.dirty.extend(effects.dirty);
        for id in &effects.removed {
            out.dirty.remove(id);
        }
        out.removed.extend(effects.removed);
        out.notes.extend(effects.notes);
    }

    fn message(&self, mut decided: Decided) -> Message {
        for view in &mut decided.incidents {
            self.put_title(view);
        }
        let (title, text) = match (decided.decision.is_summary(), decided.incidents.first()) {
            (false, Some(view)) => (
                text::title_for(decided.decision, decided.reason, view),
                text::text(&self.cluster, decided.decision, decided.reason, view, decided.at),
            ),
            _ => (
                text::summary_title(decided.decision, &decided.incidents, decided.total),
                text::summary_text(
                    &self.cluster,
                    decided.decision,
                    &decided.incidents,
                    decided.total,
                    decided.at,
                ),
            ),
        };
        Message {
            log: self.log_wanted(&decided),
            decided,
            title,
            text,
            cluster: Arc::clone(&self.cluster),
            no_ends: Arc::clone(&self.no_ends),
        }
    }

    fn put_title(&self, view: &mut IncidentView) {
        if let Some(summary) = self.titles.get(&view.rule) {
            view.title = summary.render(view);
        }
    }
}

fn namespace(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// Without any receiver everything is told to the terminal.
fn routes(config: &Config) -> Routes {
    if config.receivers.is_empty() {
        Routes::to_all(vec![Arc::from(TERMINAL)])
    } else {
        config.routes.clone()
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        group_wait: config.engine.group_wait,
        growth_steps: config.engine.growth_steps.clone(),
        max_incidents: config.engine.max_incidents,
        max_members: config.engine.max_members,
        storm_incidents: config.storm.incidents,
        storm_window: config.storm.window,
    }
}

/// Events as such are only looked at where a rule asks for them.
fn wants_raw_events(config: &Config) -> bool {
    config
        .rules
        .iter()
        .any(|rule| rule.matcher.causes.is_empty() || rule.matcher.causes.contains(&Cause::Event))
}

/// The titles that rules bring along. `config` has refused those that do not compile.
fn titles(config: &Config) -> HashMap<Arc<str>, Summary> {
    config
        .rules
        .iter()
        .filter_map(|rule| {
            let summary = compile_summary(rule.summary.as_deref()?).ok()?;
            Some((Arc::clone(&rule.name), summary))
        })
        .collect()
}
