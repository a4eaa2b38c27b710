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
//! An incident is everything one rule says about one group. Its life:
//!
//! ```text
//!   signal ──▶ pending ──for──▶ due ──group_wait──▶ told ──stable──▶ ended ──window──▶ forgotten
//!                 │              │ held by another     │  ▲             │
//!                 └── gone before it was told          └──┘ grew,       └── again: reopened
//!                     (silent)                              reminder
//! ```

pub mod annotations;
mod clock_set;
pub mod digest;
mod effects;
mod evaluate;
mod group;
pub mod identity;
pub mod incident;
mod inhibit;
pub mod records;
mod recover;
mod reload;
pub mod room;
pub mod silence;
mod step;
mod summary;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use effects::{Decided, Effects, Note};
pub use identity::{Identity, Numbers};
pub use incident::{Incident, Log, Member};
pub use records::{ExplainRecords, Waits};
pub use silence::{BadAnnotation, Suppression};

use crate::message::{Decision, Reason};
use crate::rule::{AnnotationRules, MuteTime, Routes, RuleSet, Silence};
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

/// At most so many texts are kept for problems that no signal has raised yet.
const MAX_HINTS: usize = 4096;
/// A text is kept so long for a problem that no signal has raised yet.
const HINT_AGE: Duration = Duration::from_secs(600);

/// A text that came before the problem it explains (Events overtake the status).
#[derive(Debug)]
struct Hint {
    message: Arc<str>,
    weight: u8,
    at: Timestamp,
    not_before: Option<Timestamp>,
    count: u32,
}

type Place = (Option<Arc<str>>, Arc<str>);

/// See the [module](self).
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    rules: RuleSet,
    routes: Arc<Routes>,
    incidents: HashMap<Arc<str>, Incident>,
    by_group: HashMap<u128, Arc<str>>,
    by_object: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    by_workload: HashMap<Place, BTreeSet<Arc<str>>>,
    /// Sorted: of several lost nodes the first holds back what could be on any of them.
    by_node: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    timers: BTreeSet<(Timestamp, Arc<str>)>,
    hints: HashMap<(Arc<str>, Cause), Hint>,
    hint_order: VecDeque<(Timestamp, (Arc<str>, Cause))>,
    /// Until this moment standing problems gather for the one summary of a first start.
    standing_until: Option<Timestamp>,
    /// Told by that summary, which is still to come; not stored as told before it is decided.
    standing: BTreeSet<Arc<str>>,
    /// When new incidents were told or gathered, for as long as the storm window is.
    recent: VecDeque<Timestamp>,
    /// Gathered for the summary of a storm; not stored as told before it is decided.
    storm: BTreeSet<Arc<str>>,
    /// When that summary is due.
    storm_until: Option<Timestamp>,
    /// When the one before it was told.
    storm_told: Option<Timestamp>,
    /// What is owed to those who are told in digests.
    books: digest::Books,
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
    #[must_use]
    pub fn new(settings: Settings, rules: RuleSet, routes: Routes, first_start: bool) -> Self {
        Self {
            settings,
            rules,
            routes: Arc::new(routes),
            incidents: HashMap::new(),
            by_group: HashMap::new(),
            by_object: HashMap::new(),
            by_workload: HashMap::new(),
            by_node: BTreeMap::new(),
            timers: BTreeSet::new(),
            hints: HashMap::new(),
            hint_order: VecDeque::new(),
            standing_until: None,
            standing: BTreeSet::new(),
            recent: VecDeque::new(),
            storm: BTreeSet::new(),
            storm_until: None,
            storm_told: None,
            books: digest::Books::default(),
            looking: true,
            first_start,
            identity: Identity::default(),
            counts: BTreeMap::new(),
            decisions: BTreeMap::new(),
            signals: BTreeMap::new(),
            refused: 0,
            rooms: room::Rooms::default(),
            silences: silence::Silences::default(),
            annotations: annotations::SeenAnnotations::default(),
            refusals: records::Refusals::default(),
            carries: false,
            reachable: Vec::new(),
        }
    }

    /// Goes on counting from what was stored, before anything else is taken back in.
    pub fn restore_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// How many numbers were given so far: to be stored with whatever carries them.
    #[must_use]
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
            if !self.incidents.contains_key(&id) {
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
            self.insert(incident);
            self.settle_under_rules(&id, &mut unused);
            orphaned.extend(self.incidents.get(&id).filter(|i| i.orphaned).cloned());
        }
        orphaned
    }

    /// When the next thing is due; call [`Self::tick`] then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.standing_until, self.storm_until, self.books.next(), self.rooms.next()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does everything that is due at `now`.
    pub fn tick(&mut self, now: Timestamp, world: &dyn World, out: &mut Effects) {
        self.rooms.saw(now);
        self.rooms.tick(now);
        while let Some((at, id)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, Arc::clone(&id)));
            if let Some(incident) = self.incidents.get_mut(&id) {
                incident.timer = None;
            }
            self.evaluate(&id, now, world, out);
        }
        if self.standing_until.is_some_and(|until| until <= now) {
            self.standing_until = None;
            let ids = std::mem::take(&mut self.standing);
            self.tell_summary((Decision::Standing, Reason::Standing), ids, now, world, out);
        }
        if self.storm_until.is_some_and(|until| until <= now) {
            self.storm_until = None;
            self.storm_told = Some(now);
            let ids = std::mem::take(&mut self.storm);
            self.tell_summary((Decision::Storm, Reason::Storm), ids, now, world, out);
        }
        // Last: everything decided at this moment belongs into it.
        self.books.saw(now);
        self.tell_digests(now, world, out);
    }

    /// The first picture of the cluster is complete: what was known is compared with it.
    pub fn synced(&mut self, now: Timestamp, world: &dyn World, out: &mut Effects) {
        self.looking = false;
        self.forget_annotations(out);
        if self.first_start {
            self.first_start = false;
            self.standing_until = Some(crate::clock::after(now, self.settings.group_wait * 2));
        }
        let mut ids: Vec<Arc<str>> = self.incidents.keys().cloned().collect();
        // Decisions do not depend on the order of a hash map.
        ids.sort_by_key(|id| self.incidents.get(id).map(|i| (i.due_at.is_none(), i.due_at, Arc::clone(id))));
        for id in ids {
            self.compare(&id, now, world);
            self.evaluate(&id, now, world, out);
        }
        self.open_books(now, out);
    }

    /// Do standing problems still gather for the summary of a first start?
    #[must_use]
    pub const fn is_gathering_standing(&self) -> bool {
        self.first_start || self.standing_until.is_some()
    }

    #[must_use]
    pub fn incident(&self, id: &str) -> Option<&Incident> {
        self.incidents.get(id)
    }

    /// All incidents, also pending, held and ended ones, in no order.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    /// The log that an incident was told with: its later messages carry it too, because some
    /// receivers show them in the place of the first. `false`: no such incident.
    pub fn put_log(&mut self, id: &str, log: Log) -> bool {
        let found = self.incidents.get_mut(id).map(|incident| incident.log = Some(log));
        found.is_some()
    }

    /// The rule of an incident.
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// How many decisions to say nothing were taken, by reason.
    #[must_use]
    pub const fn held_counts(&self) -> &BTreeMap<Reason, u64> {
        &self.counts
    }

    /// How many decisions to say something were taken.
    #[must_use]
    pub const fn decision_counts(&self) -> &BTreeMap<(Decision, Reason), u64> {
        &self.decisions
    }

    /// How many signals came in, by cause.
    #[must_use]
    pub const fn signal_counts(&self) -> &BTreeMap<Cause, u64> {
        &self.signals
    }

    /// How many incidents and members were refused because a cap was hit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn schedule(&mut self, id: &Arc<str>, at: Option<Timestamp>) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        if incident.timer == at {
            return;
        }
        if let Some(old) = incident.timer.take() {
            self.timers.remove(&(old, Arc::clone(id)));
        }
        incident.timer = at;
        if let Some(at) = at {
            self.timers.insert((at, Arc::clone(id)));
        }
    }

    fn insert(&mut self, incident: Incident) {
        let id = Arc::clone(&incident.id);
        self.by_group.insert(incident.group, Arc::clone(&id));
        self.by_workload
            .entry((incident.namespace.clone(), Arc::clone(&incident.workload)))
            .or_default()
            .insert(Arc::clone(&id));
        for member in incident.members.values() {
            self.by_object.entry(member.key()).or_default().insert(Arc::clone(&id));
            if let Some(node) = member.node.as_ref().filter(|_| incident.cause.is_node()) {
                self.by_node.entry(Arc::clone(node)).or_default().insert(Arc::clone(&id));
            }
        }
        self.rooms.enter(&incident);
        self.incidents.insert(Arc::clone(&id), incident);
        let soon = self.incidents.get(&id).map(|i| i.last_seen);
        self.schedule(&id, soon);
    }

    fn remove(&mut self, id: &Arc<str>, out: &mut Effects) {
        self.schedule(id, None);
        let Some(incident) = self.incidents.remove(id) else { return };
        self.rooms.leave(&incident);
        if self.by_group.get(&incident.group) == Some(id) {
            self.by_group.remove(&incident.group);
        }
        drop_from(&mut self.by_workload, &(incident.namespace.clone(), Arc::clone(&incident.workload)), id);
        for member in incident.members.values() {
            self.unindex_member(member, id);
        }
        if incident.kept {
            out.removed.push(Arc::clone(id));
        }
        if incident.listed_as.is_some() {
            out.records.waiting.insert(Arc::clone(id));
        }
        out.dirty.remove(id);
    }

    fn unindex_member(&mut self, member: &Member, id: &Arc<str>) {
        drop_from(&mut self.by_object, &member.key(), id);
        if let Some(node) = &member.node
            && let Some(ids) = self.by_node.get_mut(node)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.by_node.remove(node);
            }
        }
    }

    fn note(
        &mut self,
        incident: &Incident,
        at: Timestamp,
        reason: Reason,
        detail: Option<Arc<str>>,
        out: &mut Effects,
    ) {
        *self.counts.entry(reason).or_default() += 1;
        let until = match reason {
            Reason::WithinWindow => incident.window_ends,
            _ => None,
        };
        if matches!(reason, Reason::InhibitedBy | Reason::SilencedBy | Reason::Muted)
            && let Some(held) = self.incidents.get_mut(&incident.id).filter(|i| !i.is_open())
        {
            held.waits_for(reason, detail.clone(), None, at);
        }
        let waited = incident.waits.clone().filter(|_| reason == Reason::NeverTold);
        out.notes.push(Note { detail, until, waited, ..Note::of(incident, at, reason) });
        // Repeats are counted by the book itself.
        if reason != Reason::WithinWindow {
            self.book_held(incident, reason, out);
        }
    }
}

fn drop_from<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<Arc<str>>>, key: &K, id: &Arc<str>) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
