//! From changes to notifications: the one function behind `run`, `replay`, `test` and `demo`.
//!
//! Synchronous and deterministic; what has to be stored and told comes out as [`Output`].

mod given;
mod log;
mod output;
mod policy;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use output::{Message, Output};
pub use policy::Policies;

use crate::config::{Config, WatchConfig};
use crate::engine::digest::DigestState;
use crate::engine::{Decided, Effects, Engine, Identity, Incident};
use crate::message::{CommandLine, FirstTold, IncidentView, text};
use crate::rule::{Routes, Silence};
use crate::signal::redact::Redactor;
use crate::signal::{Cause, Signal};
use crate::template::{Summary, compile_summary};
use crate::watch::state::NewsSince;
use crate::watch::{Change, ClusterState, Kind};

pub use log::LogWanted;

/// After a restart, what happened so long before the last thing seen is looked at once more: what
/// was still gathering then was never stored. What was told is known, and is not told again.
const OVERLAP: Duration = Duration::from_secs(60);

/// Who is told where no receiver is configured.
pub const TERMINAL: &str = "terminal";

/// Cluster state and engine under one configuration.
#[derive(Debug)]
pub struct Pipeline {
    memory: ClusterState,
    engine: Engine,
    cluster: Arc<str>,
    filter: WatchConfig,
    /// Masks what the configuration adds to the built-in patterns: nothing past this point has seen
    /// the text of a signal before.
    redactor: Redactor,
    signals: Vec<Signal>,
    policies: Policies,
    /// Who can be told.
    receivers: Vec<Arc<str>>,
    log_timeout: Duration,
    /// How people silence an incident; `None`: the bot accepts no commands. As at the start, like the API.
    command: Option<CommandLine>,
    /// The rules' own titles.
    titles: HashMap<Arc<str>, Summary>,
    /// Those of overrides, by their text.
    override_titles: HashMap<Arc<str>, Summary>,
}

/// What a pipeline begins with.
#[derive(Debug, Default)]
pub struct Start {
    /// Nothing was ever stored.
    pub first: bool,
    /// What happened before was told already.
    pub news_since: Option<NewsSince>,
    /// Where ids come from.
    pub identity: Identity,
    pub incidents: Vec<Incident>,
    pub silences: Vec<Silence>,
    /// Stored annotations: place, key, value, and when each was first seen.
    pub annotations: Vec<(String, String, String, Timestamp)>,
    /// What was stored of digests to come.
    pub digests: Vec<DigestState>,
}

impl Pipeline {
    /// Builds memory and engine. Incidents whose rule is gone come back.
    pub fn new(config: &Config, kinds: &[Kind], now: Timestamp, start: Start) -> (Self, Vec<Incident>) {
        let memory = ClusterState::new(kinds, news_since(start.news_since, now), wants_raw_events(config));
        let mut engine =
            Engine::new(config.engine.clone(), config.rules.clone(), routes(config), start.first);
        engine.restore_identity(start.identity);
        engine.silences_mut().restore(start.silences);
        engine.restore_annotations(start.annotations);
        let orphaned = engine.restore(start.incidents);
        engine.restore_digests(start.digests);
        engine.only_receivers(&receivers(config));
        let pipeline = Self {
            memory,
            engine,
            cluster: Arc::clone(&config.cluster),
            filter: config.watch.clone(),
            redactor: config.redact.clone(),
            signals: Vec::new(),
            titles: titles(config),
            override_titles: override_titles(config),
            policies: Policies::of(config),
            receivers: receivers(config),
            log_timeout: config.log_timeout,
            command: config.command.clone().filter(|_| config.http.is_some() && config.api_token.is_some()),
        };
        (pipeline, orphaned)
    }

    /// Goes on under another configuration; incidents and their windows stay. What is watched stays
    /// as well: another choice of namespaces needs another start.
    pub fn reload(&mut self, now: Timestamp, config: &Config, out: &mut Output) {
        // What was due before is done under the rules it was due under.
        self.tick_until(now, out);
        self.cluster = Arc::clone(&config.cluster);
        self.policies = Policies::of(config);
        self.receivers = receivers(config);
        self.log_timeout = config.log_timeout;
        // The ends of incidents whose rule is gone still have its title.
        let old = std::mem::replace(&mut self.titles, titles(config));
        self.override_titles = override_titles(config);
        for (rule, title) in old {
            self.titles.entry(rule).or_insert(title);
        }
        if self.redactor != config.redact {
            self.redactor = config.redact.clone();
            self.engine.redact(&self.redactor, &mut out.effects);
        }
        self.memory.set_raw_events(wants_raw_events(config));
        let parts = (config.engine.clone(), config.rules.clone(), routes(config));
        self.engine.reload(now, parts, &receivers(config), &self.memory, &mut out.effects);
        // What stands already and was no rule's matter may be one's now.
        self.look_again(now, out);
        self.settle(out);
        self.titles.retain(|rule, _| config.rules.get(rule).is_some());
    }

    /// Takes one change in.
    pub fn feed(&mut self, now: Timestamp, change: Change, out: &mut Output) {
        if !change.wanted(&self.filter) {
            return;
        }
        // What was due before this change is done before it, at its own time.
        self.tick_until(now, out);
        let complete = self.memory.apply(now, change, &mut self.signals);
        for seen in self.memory.take_silence_seen() {
            self.engine.annotations_seen(now, &seen, &mut out.effects);
        }
        self.take_signals(now, out);
        if complete {
            self.engine.synced(now, &self.memory, &mut out.effects);
        }
        for kind in self.memory.take_seen_again() {
            self.engine.sees_again(kind.as_str(), now, &self.memory, &mut out.effects);
        }
        for object in self.memory.take_silence_changed() {
            self.engine.review_about(&object, now, &self.memory, &mut out.effects);
        }
        self.settle(out);
    }

    /// The clock was set by `by` and shows `now`: deadlines are moved by as much.
    pub fn clock_set(&mut self, by: SignedDuration, now: Timestamp, out: &mut Output) {
        // The API server's clock was not.
        self.memory.set_clock_ahead(self.memory.clock_ahead().saturating_add(by));
        self.engine.clock_set(by, now, &self.memory, &mut out.effects);
        self.settle(out);
    }

    /// The clock of this machine is `ahead` of the API server's: times of objects and Events are taken for that.
    pub const fn set_clock_ahead(&mut self, ahead: SignedDuration) {
        self.memory.set_clock_ahead(ahead);
    }

    /// What [`Start::news_since`] and `now` are by the API server's clock, once that is known.
    pub fn set_news_since(&mut self, seen: Option<NewsSince>, now: Timestamp) {
        self.memory.set_news_since(news_since(seen, now));
    }

    /// Does everything that is due up to `now`, each at its own time.
    pub fn tick_until(&mut self, now: Timestamp, out: &mut Output) {
        while let Some(at) = self.next_deadline().filter(|at| *at <= now) {
            self.memory.tick(at, &mut self.signals);
            self.take_signals(at, out);
            self.engine.tick(at, &self.memory, &mut out.effects);
            if self.engine.take_look() {
                self.look_again(at, out);
            }
        }
        if self.engine.wants_review() {
            self.engine.review(now, &self.memory, &mut out.effects);
        }
        self.settle(out);
    }

    /// Shows the engine everything that stands.
    fn look_again(&mut self, now: Timestamp, out: &mut Output) {
        self.engine.begin_look(now, &self.memory, &mut out.effects);
        self.memory.look_again(now, &mut self.signals);
        for mut signal in self.signals.drain(..) {
            self.redactor.signal(&mut signal);
            self.engine.stands(now, &signal, &self.memory, &mut out.effects);
        }
        self.engine.end_look(now);
    }

    /// Forgets silences that have been over for long enough.
    pub fn prune_silences(&mut self, now: Timestamp, out: &mut Output) {
        self.with_engine(out, |engine, effects| engine.silences_mut().prune(now, effects));
    }

    pub(super) fn with_engine<T>(
        &mut self,
        out: &mut Output,
        act: impl FnOnce(&mut Engine, &mut Effects) -> T,
    ) -> T {
        let done = act(&mut self.engine, &mut out.effects);
        self.settle(out);
        done
    }

    /// When something is due next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.engine.next_deadline(), self.memory.next_deadline()].into_iter().flatten().min()
    }

    fn take_signals(&mut self, now: Timestamp, out: &mut Output) {
        for mut signal in self.signals.drain(..) {
            self.redactor.signal(&mut signal);
            self.engine.signal(now, &signal, &self.memory, &mut out.effects);
        }
    }

    /// Was every kind listed once?
    pub fn synced(&self) -> bool {
        self.memory.ready()
    }

    /// The engine, to read from.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The receivers of the configuration; none: the terminal.
    pub fn receivers(&self) -> Vec<Arc<str>> {
        self.receivers.clone()
    }

    /// The memory, to read from.
    pub const fn memory(&self) -> &ClusterState {
        &self.memory
    }

    /// Puts what was decided into words.
    fn settle(&mut self, out: &mut Output) {
        for decided in std::mem::take(&mut out.effects.decided) {
            let message = self.message(decided);
            self.remember_first(&message);
            out.messages.push(message);
        }
    }

    /// The mails about an incident keep the subject of the first one.
    fn remember_first(&mut self, message: &Message) {
        let decided = &message.decided;
        if let (false, [view]) = (decided.decision.is_summary(), decided.incidents.as_slice()) {
            let told = FirstTold { title: Arc::from(message.title.as_str()), severity: view.severity };
            self.engine.put_first(&view.id, told);
        }
    }

    fn message(&self, mut decided: Decided) -> Message {
        for view in &mut decided.incidents {
            self.put_title(view);
            if let Some(incident) = self.engine.incident(&view.id) {
                view.first.clone_from(&incident.first);
            }
            let command = self.command.as_ref().filter(|_| view.ended_at.is_none());
            view.silence = command.map(|command| Arc::from(command.silence(&view.id)));
        }
        let (title, text) = match (decided.decision.is_summary(), decided.incidents.first()) {
            _ if decided.digest.is_some() => {
                decided.digest.as_deref().map_or_else(Default::default, |digest| {
                    let incidents = &decided.incidents;
                    (
                        text::digest::title(digest, incidents),
                        text::digest::text(&self.cluster, digest, incidents),
                    )
                })
            }
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
            policies: self.policies.clone(),
        }
    }

    fn put_title(&self, view: &mut IncidentView) {
        if let Some(summary) = self.override_title(view).or_else(|| self.titles.get(&view.rule)) {
            view.title = summary.render(view);
        }
    }

    fn override_title(&self, view: &IncidentView) -> Option<&Summary> {
        if self.override_titles.is_empty() {
            return None;
        }
        let rule = self.engine.rule_of(self.engine.incident(&view.id)?)?;
        self.override_titles.get(rule.summary.as_ref()?)
    }
}

fn news_since(seen: Option<NewsSince>, now: Timestamp) -> NewsSince {
    seen.map_or_else(|| now.into(), |seen| seen.before(OVERLAP))
}

/// Everybody who can be told.
pub(super) fn receivers(config: &Config) -> Vec<Arc<str>> {
    if config.receivers.is_empty() {
        vec![Arc::from(TERMINAL)]
    } else {
        config.receivers.iter().map(|r| Arc::clone(&r.spec.name)).collect()
    }
}

/// Without any receiver everything is told to the terminal.
fn routes(config: &Config) -> Routes {
    if config.receivers.is_empty() {
        Routes::to_all(vec![Arc::from(TERMINAL)])
    } else {
        config.routes.clone()
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

/// The titles that overrides bring along.
fn override_titles(config: &Config) -> HashMap<Arc<str>, Summary> {
    let overrides = config.rules.iter().flat_map(|rule| config.rules.overrides(&rule.name));
    let titles = overrides.filter_map(|one| one.changes.summary.as_ref());
    titles.filter_map(|text| Some((Arc::clone(text), compile_summary(text).ok()?))).collect()
}
