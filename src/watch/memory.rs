//! What was last known of each object, by UID or name: turns changes into signals, and answers the
//! engine's questions about the live state.
//!
//! Nothing is said before every watched kind was listed once (or is known to be unreadable): only
//! then owners, namespaces and nodes are known, and the order in which lists happened to arrive
//! makes no difference. From then on each change is compared with what was known before it.

mod apply;
mod build;
mod early;
mod events;
mod first;
mod gone;
mod news;
mod owner;
mod reasons;
mod silence;
mod terminating;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use self::early::Early;
pub use self::news::NewsSince;
use super::intern::Interner;
use super::kinds::Event;
use super::scope::Forged;
use super::{Change, Kind, Object};
use crate::signal::facts::{
    ClaimFacts, CronJobFacts, Identity, JobFacts, NamespaceFacts, NodeFacts, Owner, PodFacts, WorkloadFacts,
};
use crate::signal::silence::SilenceSeen;
use crate::signal::{Labels, ObjectRef, Signal};

/// The annotation of a static pod's mirror: the hash that the kubelet's Events name it by.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// At most so many deleted pods are kept for Events that arrive late.
const MAX_TOMBSTONES: usize = 2048;
/// At most so many Events wait for a pod that is not known yet.
const MAX_ORPHANS: usize = 1024;
/// At most so many Event counts are kept; DELETED (expiry after an hour) takes them out before.
const MAX_EVENTS: usize = 200_000;

/// A fact with the list it was last seen in.
#[derive(Debug)]
struct Entry<T> {
    facts: T,
    list: u32,
}

type Key = (Arc<str>, Arc<str>);

/// A ReplicaSet is only the way from a pod to its Deployment.
#[derive(Debug)]
struct ReplicaSetFacts {
    owner: Option<Owner>,
}

/// A pod with what its owner resolves to.
#[derive(Debug)]
struct PodEntry {
    facts: PodFacts,
    workload: Arc<str>,
    list: u32,
}

/// A pod that is gone.
#[derive(Debug)]
struct Tombstone {
    facts: PodFacts,
    workload: Arc<str>,
}

/// What was last known of everything watched. Bounded by what the cluster holds, and by the
/// constants of this module for what it no longer holds.
#[derive(Debug)]
pub struct Memory {
    interner: Interner,
    watched: BTreeSet<Kind>,
    /// Kinds whose first list is not complete.
    missing: BTreeSet<Kind>,
    blind: BTreeSet<Kind>,
    /// Counts the lists of each kind, for mark and sweep.
    lists: HashMap<Kind, u32>,
    listing: BTreeSet<Kind>,
    /// Kinds whose current list held something that cannot even be named: absence means nothing.
    unreliable: BTreeSet<Kind>,
    /// When the last list of a kind began that is complete, and the one that is under way.
    listed_at: HashMap<Kind, (Option<Timestamp>, Timestamp)>,
    /// What ended before these moments is no news.
    news_since: NewsSince,
    raw_events: bool,
    /// Boxed: a table keeps room for twice as many entries as it holds.
    pods: HashMap<Arc<str>, Box<PodEntry>>,
    /// Static pods, by namespace and the hash of their file: Events name them by that. A pod of
    /// another namespace that claims the hash gets none of them.
    mirrors: HashMap<Key, Arc<str>>,
    by_workload: HashMap<Key, Vec<Arc<str>>>,
    tombstones: HashMap<Arc<str>, Tombstone>,
    tomb_order: VecDeque<Arc<str>>,
    nodes: HashMap<Arc<str>, Entry<NodeFacts>>,
    told_boot: HashMap<Arc<str>, Arc<str>>,
    workloads: HashMap<(Kind, Key), Entry<WorkloadFacts>>,
    replica_sets: HashMap<Key, Entry<ReplicaSetFacts>>,
    jobs: HashMap<Key, Entry<JobFacts>>,
    cron_jobs: HashMap<Key, Entry<CronJobFacts>>,
    claims: HashMap<Key, Entry<ClaimFacts>>,
    namespaces: HashMap<Arc<str>, Entry<NamespaceFacts>>,
    /// Counts last seen, by Event UID.
    counts: HashMap<Arc<str>, u64>,
    /// Events of the first list, told after everything else is known; later those of a list that came
    /// before the list of what they are about.
    early: Early,
    orphans: VecDeque<(Arc<str>, Event)>,
    /// Events that were not believed, by reason.
    forged: BTreeMap<Forged, u64>,
    /// Texts and lists that were cut while objects were decoded, by kind.
    cut: BTreeMap<Kind, u64>,
    /// Deletions that have not come to an end.
    terminating: terminating::Terminating,
    /// Whose annotations about silence changed since that was asked last.
    silence_changed: Vec<ObjectRef>,
    /// See [`Self::take_silence_seen`].
    silence_seen: Vec<SilenceSeen>,
}

impl Memory {
    /// Nothing is known yet of `kinds`.
    ///
    /// `news_since`: what happened before was told already (or, at a first start, is too old to be
    /// news). `raw_events`: a rule asks for Events as such.
    #[must_use]
    pub fn new(kinds: &[Kind], news_since: impl Into<NewsSince>, raw_events: bool) -> Self {
        let watched: BTreeSet<Kind> = kinds.iter().copied().collect();
        Self {
            interner: Interner::default(),
            missing: watched.clone(),
            watched,
            blind: BTreeSet::new(),
            lists: HashMap::new(),
            listing: BTreeSet::new(),
            unreliable: BTreeSet::new(),
            listed_at: HashMap::new(),
            news_since: news_since.into(),
            raw_events,
            pods: HashMap::new(),
            mirrors: HashMap::new(),
            by_workload: HashMap::new(),
            tombstones: HashMap::new(),
            tomb_order: VecDeque::new(),
            nodes: HashMap::new(),
            told_boot: HashMap::new(),
            workloads: HashMap::new(),
            replica_sets: HashMap::new(),
            jobs: HashMap::new(),
            cron_jobs: HashMap::new(),
            claims: HashMap::new(),
            namespaces: HashMap::new(),
            counts: HashMap::new(),
            early: Early::default(),
            orphans: VecDeque::new(),
            forged: BTreeMap::new(),
            cut: BTreeMap::new(),
            terminating: terminating::Terminating::default(),
            silence_changed: Vec::new(),
            silence_seen: Vec::new(),
        }
    }

    /// Has every kind been listed (or found unreadable) once?
    #[must_use]
    pub fn ready(&self) -> bool {
        self.missing.is_empty()
    }

    /// The kinds that cannot be read for now.
    pub fn blind(&self) -> impl Iterator<Item = Kind> {
        self.blind.iter().copied()
    }

    /// How many objects of each sort are remembered, for metrics.
    #[must_use]
    pub fn sizes(&self) -> [(&'static str, usize); 6] {
        [
            ("pods", self.pods.len()),
            ("nodes", self.nodes.len()),
            ("workloads", self.workloads.len() + self.jobs.len() + self.cron_jobs.len()),
            ("events", self.counts.len()),
            ("tombstones", self.tombstones.len()),
            ("strings", self.interner.len()),
        ]
    }

    /// Events that were not believed, by reason, since the start.
    #[must_use]
    pub const fn forged(&self) -> &BTreeMap<Forged, u64> {
        &self.forged
    }

    /// Texts and lists that were cut while objects were decoded, by kind, since the start.
    #[must_use]
    pub const fn cut(&self) -> &BTreeMap<Kind, u64> {
        &self.cut
    }

    /// Switches raw Events on or off (after a reload of the rules).
    pub const fn set_raw_events(&mut self, on: bool) {
        self.raw_events = on;
    }

    /// Takes one change in and adds the signals it means to `out`. Returns true when this change
    /// completed the first picture of the cluster.
    pub fn apply(&mut self, now: Timestamp, change: Change, out: &mut Vec<Signal>) -> bool {
        let was_ready = self.ready();
        let before = out.len();
        match change {
            Change::Listing(kind) => {
                self.listing.insert(kind);
                *self.lists.entry(kind).or_default() += 1;
                self.listed_at.entry(kind).or_insert((None, now)).1 = now;
                self.blind.remove(&kind);
            }
            Change::Initial(object) => {
                self.count_cut(&object);
                match object {
                    Object::Event(event) => self.event(now, *event, true, out),
                    object => self.object(now, object, out),
                }
            }
            Change::Applied(object) => {
                self.count_cut(&object);
                self.object(now, object, out);
            }
            Change::Deleted(object) => self.deleted(now, &object, out),
            Change::Listed(kind) => {
                self.listing.remove(&kind);
                self.blind.remove(&kind);
                if !self.unreliable.remove(&kind) {
                    let (complete, begun) = self.listed_at.entry(kind).or_insert((None, now));
                    *complete = Some(*begun);
                    self.sweep(now, kind, out);
                }
                if was_ready {
                    self.late_events(now, kind, out);
                }
                self.missing.remove(&kind);
            }
            Change::Undecodable { kind, namespace, name, uid } => {
                self.still_there(kind, &namespace, &name, &uid);
            }
            Change::Blind(kind, _) => {
                self.listing.remove(&kind);
                self.blind.insert(kind);
                self.missing.remove(&kind);
            }
            Change::Failing { .. } | Change::Contact(..) => {}
        }
        let complete = !was_ready && self.ready();
        if complete {
            self.first_look(now, out);
        }
        self.drop_with_namespaces(before, out);
        complete
    }

    fn count_cut(&mut self, object: &Object) {
        let cut = object.cut();
        if cut > 0 {
            let kind = object.kind();
            *self.cut.entry(kind).or_default() += u64::from(cut);
            let meta = object.metadata();
            tracing::debug!(%kind, namespace = meta.namespace, name = meta.name, cut, "texts or lists of an object were cut");
        }
    }

    fn list_of(&self, kind: Kind) -> u32 {
        self.lists.get(&kind).copied().unwrap_or_default()
    }

    fn namespace_layers(&self, id: &Identity) -> (Option<Labels>, Option<Labels>) {
        id.object
            .namespace
            .as_ref()
            .and_then(|ns| self.namespaces.get(ns))
            .map_or((None, None), |entry| (entry.facts.id.labels.clone(), entry.facts.id.annotations.clone()))
    }
}

fn key(id: &Identity) -> Key {
    (id.object.namespace.clone().unwrap_or_else(|| Arc::from("")), Arc::clone(&id.object.name))
}
