//! The engine: signals go in, decisions come out.
//!
//! Synchronous, deterministic, without I/O; the clock is passed in. `run`, `replay`, `test`, `demo`
//! and the benches drive the same functions:
//!
//! * [`Engine::signal`] takes one signal in,
//! * [`Engine::tick`] does what is due,
//! * [`Engine::next_deadline`] says when something will be,
//! * [`Engine::synced`] tells that the first picture of the cluster is complete.
//!
//! An incident is everything one rule says about one group. Its life is a type, [`incident::life`].
//! Each time something may have changed for an incident, `judge` says what is due, and `evaluate` does it.

pub mod annotations;
mod clock_set;
pub mod digest;
mod effects;
mod evaluate;
mod explained;
mod group;
mod hints;
pub mod identity;
pub mod incident;
mod inhibit;
mod judge;
mod next_step;
pub mod records;
mod recover;
mod reload;
pub mod room;
pub mod silence;
mod step;
mod summary;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use effects::{Decided, Effects, Note};
pub use explained::ExplainedIncident;
pub use identity::{Identity, Numbers};
use incident::IncidentTable;
pub use incident::{Incident, Log, Member, Suppression, Waits};
pub use records::ExplainRecords;
pub use silence::BadAnnotation;

use crate::message::{Decision, FirstTold, Reason};
use crate::rule::{AnnotationRules, MuteTime, Routes, Rule, RuleSet, Silence};
use crate::signal::{Cause, World};

/// How incidents behave where a rule does not say, and the caps.
#[derive(Debug, Clone)]
pub struct Settings {
    pub group_wait: Duration,
    /// How many members make `grew` break through a window.
    pub growth_steps: Vec<u32>,
    /// At most this many incidents.
    pub max_incidents: usize,
    /// At most this many members of one incident are known by name.
    pub max_members: usize,
    /// More new incidents than this in [`Self::storm_window`] are told in one summary.
    pub storm_incidents: u32,
    /// See [`Self::storm_incidents`].
    pub storm_window: Duration,
    /// The silences of the configuration.
    pub silences: Arc<[Silence]>,
    /// The mute times of the configuration.
    pub mute_times: Arc<[MuteTime]>,
    /// What annotations may silence.
    pub annotations: AnnotationRules,
    /// Who is told in digests.
    pub digests: Vec<digest::DigestReceiver>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group_wait: Duration::from_secs(5),
            growth_steps: vec![1, 5, 20, 100, 500, 2000, 10_000],
            max_incidents: 10_000,
            max_members: 1_000,
            storm_incidents: 20,
            storm_window: Duration::from_secs(60),
            silences: Arc::default(),
            mute_times: Arc::default(),
            annotations: AnnotationRules::default(),
            digests: Vec::new(),
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    rules: RuleSet,
    routes: Routes,
    incidents: IncidentTable,
    hints: hints::Hints,
    summaries: summary::Summaries,
    /// What is owed to those who are told in digests.
    digest_states: digest::DigestStates,
    /// The first picture of the cluster is being taken in.
    looking: bool,
    first_start: bool,
    identity: Identity,
    counts: BTreeMap<Reason, u64>,
    decisions: BTreeMap<(Decision, Reason), u64>,
    signals: BTreeMap<Cause, u64>,
    refused: u64,
    rooms: room::Rooms,
    silences: silence::Silences,
    /// Those that say nothing, each told once.
    bad_annotations: BTreeSet<BadAnnotation>,
    annotations: annotations::SeenAnnotations,
    refusals: records::Refusals,
    /// Some incident is [`Incident::carried`].
    carries: bool,
    /// Who can be told.
    reachable: Vec<Arc<str>>,
}

impl Engine {
    /// An engine that knows no incident. `first_start`: nothing was ever stored, so what stands at
    /// the first look is told in one summary.
    pub fn new(settings: Settings, rules: RuleSet, routes: Routes, first_start: bool) -> Self {
        Self {
            rules,
            routes,
            incidents: IncidentTable::default(),
            hints: hints::Hints::default(),
            summaries: summary::Summaries::default(),
            digest_states: digest::DigestStates::default(),
            looking: true,
            first_start,
            identity: Identity::default(),
            counts: BTreeMap::new(),
            decisions: BTreeMap::new(),
            signals: BTreeMap::new(),
            refused: 0,
            rooms: room::Rooms::default(),
            silences: silence::Silences::new(Arc::clone(&settings.silences)),
            bad_annotations: BTreeSet::new(),
            annotations: annotations::SeenAnnotations::default(),
            refusals: records::Refusals::default(),
            carries: false,
            reachable: Vec::new(),
            settings,
        }
    }

    /// Goes on counting from what was stored, before anything else is taken back in.
    pub fn restore_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// How many numbers were given so far: to be stored with whatever carries them.
    pub const fn numbers(&self) -> Numbers {
        self.identity.numbers
    }

    /// A number that no incident had, and the id made of it.
    fn next_incident(&mut self) -> (u64, Arc<str>) {
        loop {
            self.identity.numbers.incidents += 1;
            let number = self.identity.numbers.incidents;
            let id = self.identity.incident_id(number);
            // An id of an older version was a hash, and could be any.
            if self.incidents.get(&id).is_none() {
                return (number, id);
            }
        }
    }

    /// Takes stored incidents back in, before the first signal. The rules may have changed
    /// meanwhile: incidents that no rule asks for any more are returned, too; their end is told with
    /// [`Self::synced`].
    pub fn restore(&mut self, incidents: impl IntoIterator<Item = Incident>) -> Vec<Incident> {
        let mut orphaned = Vec::new();
        // Changed again in the same way at the next start: there is nothing to store.
        let mut unused = Effects::default();
        for incident in incidents {
            let numbers = &mut self.identity.numbers;
            numbers.incidents = numbers.incidents.max(incident.number);
            self.carries |= incident.carried;
            let id = Arc::clone(&incident.id);
            self.incidents.insert(incident);
            self.settle_under_rules(&id, &mut unused);
            orphaned.extend(self.incidents.get(&id).filter(|i| i.orphaned).cloned());
        }
        orphaned
    }

    /// When the next thing is due; call [`Self::tick`] then.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timers = [
            self.incidents.next_timer(),
            self.summaries.next(),
            self.digest_states.next(),
            self.rooms.next(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Does everything that is due at `now`.
    pub fn tick(&mut self, now: Timestamp, world: &dyn World, out: &mut Effects) {
        self.rooms.saw(now);
        self.rooms.tick(now);
        while let Some(id) = self.incidents.take_due(now) {
            self.evaluate(&id, now, world, out);
        }
        while let Some(summary) = self.summaries.take_due(now) {
            self.tell_summary(summary, now, world, out);
        }
        // Last: everything decided at this moment belongs into it.
        self.digest_states.saw(now);
        self.tell_digests(now, world, out);
    }

    /// The first picture of the cluster is complete: what was known is compared with it.
    pub fn synced(&mut self, now: Timestamp, world: &dyn World, out: &mut Effects) {
        self.looking = false;
        self.forget_annotations(out);
        if self.first_start {
            self.first_start = false;
            self.summaries.gather_standing(crate::clock::after(now, self.settings.group_wait * 2));
        }
        for id in self.incidents.ids_by(|i| by_due(i.life().due_at())) {
            self.compare(&id, now, world);
            self.evaluate(&id, now, world, out);
        }
        self.open_digests(now, out);
    }

    /// A kind can be seen again: what became due meanwhile is judged by what is seen now.
    pub fn sees_again(&mut self, kind: &str, now: Timestamp, world: &dyn World, out: &mut Effects) {
        let waits = |incident: &Incident| {
            let waits = incident.waits.as_ref().filter(|w| w.reason == Reason::StateUnknown);
            waits.is_some_and(|waits| waits.by.as_deref() == Some(kind))
        };
        let mut waiting: Vec<Arc<str>> =
            self.incidents.iter().filter(|i| waits(i)).map(|i| Arc::clone(&i.id)).collect();
        waiting.sort_unstable();
        for id in waiting {
            self.evaluate(&id, now, world, out);
        }
    }

    /// Do standing problems still gather for the summary of a first start?
    pub const fn is_gathering_standing(&self) -> bool {
        self.first_start || self.summaries.gathers_standing()
    }

    pub fn incident(&self, id: &str) -> Option<&Incident> {
        self.incidents.get(id)
    }

    /// All incidents, also pending, held and ended ones, in no order.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter()
    }

    /// The log that an incident was told with: its later messages carry it too, because some
    /// receivers show them in the place of the first. `false`: no such incident.
    pub fn put_log(&mut self, id: &str, log: Log) -> bool {
        let found = self.incidents.get_mut(id).map(|incident| incident.log = Some(log));
        found.is_some()
    }

    /// What the first message about an incident was called, unless there was one before.
    pub fn put_first(&mut self, id: &str, told: FirstTold) {
        if let Some(incident) = self.incidents.get_mut(id) {
            incident.first.get_or_insert(told);
        }
    }

    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The rule of an incident, with the overrides that hold for it.
    pub fn rule_of(&self, incident: &Incident) -> Option<Arc<Rule>> {
        self.rules.of(&incident.rule, &incident.signal)
    }

    /// How many decisions to say nothing were taken, by reason.
    pub const fn held_counts(&self) -> &BTreeMap<Reason, u64> {
        &self.counts
    }

    /// How many decisions to say something were taken.
    pub const fn decision_counts(&self) -> &BTreeMap<(Decision, Reason), u64> {
        &self.decisions
    }

    /// How many signals came in, by cause.
    pub const fn signal_counts(&self) -> &BTreeMap<Cause, u64> {
        &self.signals
    }

    /// How many incidents and members were refused because a cap was hit.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn remove(&mut self, id: &Arc<str>, out: &mut Effects) -> Option<Incident> {
        let incident = self.incidents.remove(id)?;
        self.rooms.free();
        if incident.recorded.kept {
            out.removed.push(Arc::clone(id));
        }
        if incident.recorded.listed_as.is_some() {
            out.records.waiting.insert(Arc::clone(id));
        }
        out.dirty.remove(id);
        Some(incident)
    }

    fn note(&mut self, id: &str, at: Timestamp, reason: Reason, detail: Option<Arc<str>>, out: &mut Effects) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        *self.counts.entry(reason).or_default() += 1;
        let until = match reason {
            Reason::WithinWindow => incident.notified().and_then(|notified| notified.window_ends),
            _ => None,
        };
        if matches!(reason, Reason::InhibitedBy | Reason::SilencedBy | Reason::Muted) && !incident.is_open() {
            incident.waits_for(reason, detail.clone(), None, at);
        }
        let waited = incident.waits.clone().filter(|_| reason == Reason::NeverTold);
        out.notes.push(Note { detail, until, waited, ..Note::of(incident, at, reason) });
        // Repeats are counted by the book itself.
        if reason != Reason::WithinWindow {
            self.count_held_in_digests(id, reason, out);
        }
    }
}

/// Orders what is due: the first that was due first, what is not due last.
fn by_due(due_at: Option<Timestamp>) -> (bool, Option<Timestamp>) {
    (due_at.is_none(), due_at)
}
