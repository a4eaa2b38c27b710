//! What was last known of each object, by UID or name: turns changes into signals, and answers the
//! engine's questions about the live state.
//!
//! Nothing is said before every watched kind was listed once (or is known to be unreadable): only
//! then owners, namespaces and nodes are known, and the order in which lists happened to arrive
//! makes no difference. From then on each change is compared with what was known before it.

mod build;
mod clocks;
mod early;
mod events;
mod first;
mod lists;
mod news;
mod owner;
mod reasons;
mod silence;
mod table;
mod terminating;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::early::Early;
pub(super) use self::first::OLD_FAILURE;
use self::lists::{Kinds, ListTimes};
pub use self::news::NewsSince;
pub(super) use self::table::{Table, deleted};
use super::intern::Interner;
use super::kinds::{Event, Objects, PodEntry};
use super::scope::Forged;
use super::{Change, Kind, Object};
use crate::signal::facts::Identity;
use crate::signal::silence::SilenceSeen;
use crate::signal::{Labels, ObjectRef, Signal};

/// The annotation of a static pod's mirror: the hash that the kubelet's Events name it by.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// At most so many deleted pods are kept for Events that arrive late.
pub(super) const MAX_TOMBSTONES: usize = 2048;
/// At most so many Events wait for a pod that is not known yet.
const MAX_ORPHANS: usize = 1024;
/// At most so many Event counts are kept; DELETED (expiry after an hour) takes them out before.
const MAX_EVENTS: usize = 200_000;

/// What namespaced objects are known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NamespacedName {
    /// Empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl NamespacedName {
    pub fn new(namespace: Option<&str>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: Arc::from(namespace.unwrap_or_default()), name: name.into() }
    }

    pub fn of(object: &ObjectRef) -> Self {
        let namespace = object.namespace.clone().unwrap_or_else(|| Arc::from(""));
        Self { namespace, name: Arc::clone(&object.name) }
    }
}

/// What is named in the namespace of an object.
pub(super) fn named(id: &Identity, name: impl Into<Arc<str>>) -> NamespacedName {
    NamespacedName { name: name.into(), ..NamespacedName::of(&id.object) }
}

/// What was last known of everything watched. Bounded by what the cluster holds, and by the
/// constants of this module for what it no longer holds.
#[derive(Debug)]
pub struct ClusterState {
    pub(super) interner: Interner,
    pub(super) objects: Objects,
    watched: BTreeSet<Kind>,
    /// Kinds whose first list is not complete.
    missing: BTreeSet<Kind>,
    blind: Kinds,
    /// Those whose watch fails.
    failing: Kinds,
    /// See [`Self::take_seen_again`].
    seen_again: BTreeSet<Kind>,
    listing: Kinds,
    /// Those whose current list held something that cannot even be named: absence means nothing.
    unreliable: Kinds,
    listed_at: ListTimes,
    /// What ended before these moments is no news.
    pub(super) news_since: NewsSince,
    /// How far the clock of this machine is ahead of the API server's, whose times are kept here.
    ahead: SignedDuration,
    raw_events: bool,
    /// Static pods, by namespace and the hash of their file: Events name them by that. A pod of
    /// another namespace that claims the hash gets none of them.
    pub(super) mirrors: HashMap<NamespacedName, Arc<str>>,
    /// UIDs of the pods of each workload.
    pub(super) by_workload: HashMap<NamespacedName, Vec<Arc<str>>>,
    /// Pods that are gone.
    pub(super) tombstones: HashMap<Arc<str>, Box<PodEntry>>,
    pub(super) tomb_order: VecDeque<Arc<str>>,
    /// The boot id of each node that was last reported.
    pub(super) reported_boots: HashMap<Arc<str>, Arc<str>>,
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

impl ClusterState {
    /// Nothing is known yet of `kinds`.
    ///
    /// `news_since`: what happened before was told already (or, at a first start, is too old to be
    /// news). `raw_events`: a rule asks for Events as such.
    pub fn new(kinds: &[Kind], news_since: impl Into<NewsSince>, raw_events: bool) -> Self {
        let watched: BTreeSet<Kind> = kinds.iter().copied().collect();
        Self {
            interner: Interner::default(),
            objects: Objects::default(),
            missing: watched.clone(),
            watched,
            blind: Kinds::default(),
            failing: Kinds::default(),
            seen_again: BTreeSet::new(),
            listing: Kinds::default(),
            unreliable: Kinds::default(),
            listed_at: ListTimes::default(),
            news_since: news_since.into(),
            ahead: SignedDuration::ZERO,
            raw_events,
            mirrors: HashMap::new(),
            by_workload: HashMap::new(),
            tombstones: HashMap::new(),
            tomb_order: VecDeque::new(),
            reported_boots: HashMap::new(),
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
    pub fn ready(&self) -> bool {
        self.missing.is_empty()
    }

    /// The kinds that cannot be read for now, or not in every namespace.
    pub fn blind(&self) -> impl Iterator<Item = Kind> {
        self.blind.iter()
    }

    /// Can the objects of a kind in this namespace not be read for now?
    pub(super) fn is_blind(&self, kind: Kind, namespace: Option<&str>) -> bool {
        self.blind.contains(kind, namespace)
    }

    /// How many objects of each sort are remembered, for metrics.
    pub fn sizes(&self) -> [(&'static str, usize); 6] {
        let Objects { pods, nodes, deployments, stateful_sets, daemon_sets, jobs, cron_jobs, events, .. } =
            &self.objects;
        let workloads = deployments.len() + stateful_sets.len() + daemon_sets.len();
        [
            ("pods", pods.len()),
            ("nodes", nodes.len()),
            ("workloads", workloads + jobs.len() + cron_jobs.len()),
            ("events", events.len()),
            ("tombstones", self.tombstones.len()),
            ("strings", self.interner.len()),
        ]
    }

    /// Events that were not believed, by reason, since the start.
    pub const fn forged(&self) -> &BTreeMap<Forged, u64> {
        &self.forged
    }

    /// Texts and lists that were cut while objects were decoded, by kind, since the start.
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
        let (own, now) = (now, self.server_time(now));
        let was_ready = self.ready();
        let before = out.len();
        match change {
            Change::Listing(kind) => self.begin_list(now, kind, None),
            Change::ListingIn(kind, namespace) => self.begin_list(now, kind, Some(&namespace)),
            Change::Initial(object) => {
                self.count_cut(&object);
                self.object(now, object, true, out);
            }
            Change::Applied(object) => {
                self.count_cut(&object);
                self.object(now, object, false, out);
            }
            Change::Deleted(object) => {
                let (kind, meta) = (object.kind(), object.metadata());
                let [namespace, name, uid] =
                    [&meta.namespace, &meta.name, &meta.uid].map(|text| text.as_deref().unwrap_or_default());
                self.deleted(now, kind, &object_ref(kind, namespace, name, uid), out);
            }
            Change::Listed(kind) => {
                self.end_list(now, kind, None, out);
                self.missing.remove(&kind);
            }
            Change::ListedIn(kind, namespace) => self.end_list(now, kind, Some(&namespace), out),
            Change::Undecodable { kind, namespace, name, uid } => {
                if name.is_empty() {
                    // A list of all namespaces does not say whose it is.
                    let all = self.listing.contains(kind, None) || namespace.is_empty();
                    let one = (!all).then(|| Arc::from(namespace));
                    self.unreliable.insert(kind, one.as_ref());
                } else {
                    // What was known of it stays.
                    self.objects.still_there(kind, &object_ref(kind, &namespace, &name, &uid));
                }
            }
            Change::Blind(kind, _) | Change::NotPermitted(kind, _) => {
                self.listing.remove(kind, None);
                self.blind.insert(kind, None);
                self.missing.remove(&kind);
            }
            Change::BlindIn(kind, namespace, _) => {
                self.listing.remove(kind, Some(&namespace));
                self.blind.insert(kind, Some(&namespace));
            }
            Change::Failing { kind, .. } => self.failing.insert(kind, None),
            Change::Contact(kind, _) => self.answered(kind),
        }
        let complete = !was_ready && self.ready();
        if complete {
            self.first_look(now, out);
        }
        self.drop_with_namespaces(before, out);
        self.translate(own, out.get_mut(before..).unwrap_or_default());
        complete
    }

    /// A watch of the kind is answered. What is blind is seen again by a list only: no watch brings the changes since.
    fn answered(&mut self, kind: Kind) {
        if self.failing.remove(kind, None) && !self.blind.contains(kind, None) {
            self.seen_again.insert(kind);
        }
    }

    /// Kinds that could not be seen and can again, since this was asked last.
    pub fn take_seen_again(&mut self) -> BTreeSet<Kind> {
        std::mem::take(&mut self.seen_again)
    }

    /// A list begins: of a kind as a whole, or of one namespace.
    fn begin_list(&mut self, now: Timestamp, kind: Kind, namespace: Option<&Arc<str>>) {
        self.listing.insert(kind, namespace);
        self.objects.begin_list(kind, namespace.map(|name| &**name));
        self.listed_at.begin(kind, namespace, now);
    }

    /// It is complete: what was known before and did not come is gone.
    fn end_list(&mut self, now: Timestamp, kind: Kind, namespace: Option<&Arc<str>>, out: &mut Vec<Signal>) {
        self.listing.remove(kind, namespace);
        let was_blind = self.blind.remove(kind, namespace);
        if (namespace.is_none() && self.failing.remove(kind, None)) || was_blind {
            self.seen_again.insert(kind);
        }
        let named = namespace.map(|name| &**name);
        if !self.unreliable.remove(kind, namespace) {
            self.listed_at.complete(kind, namespace, now);
            self.sweep(now, kind, named, out);
        }
        if self.ready() {
            self.late_events(now, kind, named, out);
        }
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

    fn namespace_layers(&self, id: &Identity) -> (Option<Labels>, Option<Labels>) {
        id.object
            .namespace
            .as_ref()
            .and_then(|ns| self.objects.namespaces.get(ns))
            .map_or((None, None), |space| (space.id.labels.clone(), space.id.annotations.clone()))
    }
}

fn object_ref(kind: Kind, namespace: &str, name: &str, uid: &str) -> ObjectRef {
    ObjectRef {
        kind: Arc::from(kind.as_str()),
        namespace: (!namespace.is_empty()).then(|| Arc::from(namespace)),
        name: Arc::from(name),
        uid: Arc::from(uid),
    }
}
