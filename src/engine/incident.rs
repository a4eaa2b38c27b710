//! What the engine knows of one incident; stored as JSON from its first message on.

mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use table::IncidentTable;
pub use table::Tenant;

use super::group;
use super::records::Waits;
use super::silence::Suppression;
use crate::message::Reason;
use crate::rule::{GroupBy, Rule};
use crate::signal::{Cause, Exit, ObjectRef, Phase, Severity, Signal};

/// At most so many objects past the cap on members are told apart.
const MAX_UNNAMED: usize = 20_000;

/// One object (and container) that has the problem.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    pub object: ObjectRef,
    /// The container, or the node's condition.
    pub part: Option<Arc<str>>,
    pub node: Option<Arc<str>>,
    pub revision: Option<Arc<str>>,
    /// Since when it has the problem.
    pub since: Timestamp,
    /// When it was last seen to have it.
    pub last: Timestamp,
    /// It has the problem now, as far as known.
    pub raised: bool,
    /// Since when it seems free of it.
    pub clear_since: Option<Timestamp>,
    /// Since when its state cannot be read.
    #[serde(default)]
    pub unknown_since: Option<Timestamp>,
    /// Known from Events or as a point in time, not from a state.
    pub pulse: bool,
    pub not_before: Option<Timestamp>,
    /// It is written down as part of the incident.
    #[serde(default)]
    pub listed: bool,
}

impl Member {
    /// The object of a signal that it has the problem.
    pub(super) fn of(signal: &Signal, now: Timestamp) -> Self {
        Self {
            object: signal.object.clone(),
            part: signal.container.clone(),
            node: signal.node.clone(),
            revision: signal.revision.clone(),
            since: signal.since.unwrap_or(signal.at).min(now),
            last: signal.at,
            raised: true,
            clear_since: None,
            unknown_since: None,
            pulse: signal.phase == Phase::Pulse,
            not_before: signal.not_before,
            listed: false,
        }
    }

    /// What the object is indexed by: its UID, or its name where no UID is known.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        object_key(&self.object)
    }
}

/// See [`Member::key`].
#[must_use]
pub fn object_key(object: &ObjectRef) -> Arc<str> {
    if object.uid.is_empty() { Arc::from(object.to_string()) } else { Arc::clone(&object.uid) }
}

/// The object of a member and its part: the container, or the node's condition.
pub type MemberKey = (Arc<str>, Option<Arc<str>>);

/// The end of a log, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Its last lines: masked, plain, bounded.
    pub text: Arc<str>,
    /// Whose it is, where the incident leaves that open.
    pub from: Option<Arc<str>>,
}

/// The end of an incident.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct End {
    pub at: Timestamp,
    pub reason: Reason,
}

/// Everything one rule says about one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Incident {
    /// Stable, also over reopening; shown to people.
    pub id: Arc<str>,
    /// Which incident of its store it is, from 1; its id is made of it. 0: it is from a version that did not
    /// count them.
    #[serde(default)]
    pub number: u64,
    /// The rule that speaks.
    pub rule: Arc<str>,
    /// What the members share, hashed.
    pub group: u128,
    pub cause: Cause,
    pub severity: Severity,
    pub namespace: Option<Arc<str>>,
    pub workload: Arc<str>,
    /// The container, where the group has one.
    pub container: Option<Arc<str>>,
    /// The signal that began it: labels for routes, and what a message names.
    pub signal: Box<Signal>,
    /// The text that explains best so far.
    pub why: Arc<str>,
    /// How well it does.
    pub weight: u8,
    /// How the last run ended.
    pub exit: Option<Exit>,
    /// Who has the problem, by object and part.
    #[serde(with = "members")]
    pub members: BTreeMap<MemberKey, Member>,
    /// Members that are not kept by name (a cap was hit).
    pub unnamed: u32,
    /// Which ones these are, so that each counts once; bounded.
    #[serde(skip)]
    pub unnamed_seen: BTreeSet<Arc<str>>,
    /// Its members are not all about the same container.
    #[serde(default)]
    pub several_parts: bool,
    /// The most members at one time since it was last quiet.
    pub peak: u32,
    pub since: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// How often it happened.
    pub occurrences: u64,
    /// Of these, how many the last message told.
    pub told_occurrences: u64,
    /// It stood already at the first start.
    pub standing: bool,
    /// Since when it is due (`for` is over); members gather from here.
    pub due_at: Option<Timestamp>,
    /// When it was last told.
    pub told_at: Option<Timestamp>,
    /// How many growth steps the told members had passed.
    pub told_step: usize,
    pub told_severity: Severity,
    /// The current window ends here.
    pub window_ends: Option<Timestamp>,
    /// Doublings of the window so far.
    pub reminders: u32,
    /// A growth was seen here and gathers.
    pub grew_at: Option<Timestamp>,
    pub end: Option<End>,
    /// It fired again after its end, and is not told yet.
    pub reopening: bool,
    /// How often it was reopened.
    pub flaps: u32,
    pub seq: u64,
    /// It holds back what is due: it does not wait for its own `for` and `count` any more.
    #[serde(default)]
    pub hastened: bool,
    /// The incident that holds it back.
    held_by: Option<Arc<str>>,
    /// What was last held back by a silence, until something is told again.
    #[serde(default)]
    pub quiet: Option<Suppression>,
    /// Its last member left here.
    pub empty_since: Option<Timestamp>,
    /// The workload has been well since here, with no member left.
    pub well_since: Option<Timestamp>,
    /// When it was over, as far as is known by now; a message comes when that has proved stable.
    #[serde(default)]
    pub over_at: Option<Timestamp>,
    /// Objects that were removed while they had the problem, since it was last quiet.
    pub left: u32,
    /// Names of the members that were removed or have recovered, for the message of the end; bounded.
    #[serde(default)]
    pub left_names: Vec<Arc<str>>,
    /// Revisions of the members that were removed.
    pub left_revisions: Vec<Arc<str>>,
    pub receivers: Vec<Arc<str>>,
    /// When it happened, for rules that count.
    #[serde(default)]
    pub times: VecDeque<(Timestamp, u32)>,
    /// The end of the log that was told.
    #[serde(default)]
    pub log: Option<Log>,
    /// It is in the store.
    #[serde(default)]
    pub kept: bool,
    /// Why it is not told, while it is not.
    #[serde(default)]
    pub waits: Option<Waits>,
    /// Repeats inside the current window are written down.
    #[serde(default)]
    pub repeats_noted: bool,
    /// Its workload is written down as part of it.
    #[serde(default)]
    pub listed: bool,
    /// Some object is not written down yet.
    #[serde(skip)]
    pub joined: bool,
    /// What the list of what waits says of it.
    #[serde(skip)]
    pub listed_as: Option<Waits>,
    /// The rules were changed while it was open: its members stay with it, whatever group they
    /// would be in now, because each of them was told.
    #[serde(default)]
    pub carried: bool,
    /// No rule asks for it any more.
    #[serde(skip)]
    pub orphaned: bool,
    /// When its members were last compared with the live state without being asked to.
    #[serde(skip)]
    pub checked_at: Option<Timestamp>,
}

impl Incident {
    /// An incident as a signal begins it, without members. `standing`: at a first start.
    pub(super) fn new(
        (number, id): (u64, Arc<str>),
        now: Timestamp,
        rule: &Rule,
        signal: &Signal,
        standing: bool,
    ) -> Self {
        let since = signal.since.unwrap_or(signal.at).min(now);
        let grouped = |by: GroupBy| rule.group_by.contains(&by);
        let workload =
            if grouped(GroupBy::Workload) || grouped(GroupBy::Object) || !grouped(GroupBy::Namespace) {
                Arc::clone(&signal.workload)
            } else {
                Arc::from(signal.namespace().map_or_else(String::new, |ns| format!("Namespace/{ns}")))
            };
        Self {
            id,
            number,
            rule: Arc::clone(&rule.name),
            group: group::key(rule, signal),
            cause: signal.cause,
            severity: rule.severity,
            namespace: signal.object.namespace.clone(),
            workload,
            container: grouped(GroupBy::Container)
                .then(|| signal.container.clone())
                .flatten()
                .filter(|_| !signal.cause.is_node()),
            why: Arc::clone(&signal.message),
            weight: signal.weight,
            exit: signal.exit.clone(),
            signal: Box::new(signal.clone()),
            members: BTreeMap::new(),
            unnamed: 0,
            unnamed_seen: BTreeSet::new(),
            several_parts: false,
            peak: 0,
            since,
            last_seen: signal.at,
            occurrences: 0,
            told_occurrences: 0,
            standing,
            due_at: None,
            told_at: None,
            told_step: 0,
            told_severity: rule.severity,
            window_ends: None,
            reminders: 0,
            grew_at: None,
            end: None,
            reopening: false,
            flaps: 0,
            seq: 0,
            held_by: None,
            hastened: false,
            quiet: None,
            empty_since: None,
            well_since: None,
            over_at: None,
            left: 0,
            left_names: Vec::new(),
            left_revisions: Vec::new(),
            receivers: Vec::new(),
            times: VecDeque::new(),
            log: None,
            kept: false,
            waits: None,
            repeats_noted: false,
            listed: false,
            joined: false,
            listed_as: None,
            carried: false,
            orphaned: false,
            checked_at: None,
        }
    }

    /// Told and not ended.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.told_at.is_some() && self.end.is_none()
    }

    /// The incident that holds it back.
    #[must_use]
    pub const fn held_by(&self) -> Option<&Arc<str>> {
        self.held_by.as_ref()
    }

    /// Must it survive a restart? What was told must, and what a list of objects would not bring
    /// back: an OOM kill or a probe's kill that waits to be told. And what a silence holds back, so
    /// that how it ended is recorded even if that was not seen.
    #[must_use]
    pub fn to_keep(&self) -> bool {
        self.told_at.is_some() || self.quiet.is_some() || self.members.values().any(|m| m.pulse)
    }

    /// `pending`, `held`, `firing` or `resolved`, as metrics call it.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        if self.end.is_some() && !self.reopening {
            "resolved"
        } else if self.told_at.is_some() && self.end.is_none() {
            "firing"
        } else if self.held_by.is_some() || self.quiet.is_some() {
            "held"
        } else {
            "pending"
        }
    }

    /// Members that have the problem now.
    pub fn raised(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|m| m.raised)
    }

    /// Counts an object that has the problem past the cap, once. False: it was counted before.
    pub(super) fn count_unnamed(&mut self, object: &Arc<str>) -> bool {
        if self.unnamed_seen.len() >= MAX_UNNAMED || !self.unnamed_seen.insert(Arc::clone(object)) {
            return false;
        }
        let seen = u32::try_from(self.unnamed_seen.len()).unwrap_or(u32::MAX);
        self.unnamed = self.unnamed.max(seen);
        true
    }

    /// Nobody has the problem any more.
    pub(super) fn no_members(&mut self, now: Timestamp) {
        self.unnamed = 0;
        self.unnamed_seen.clear();
        self.empty_since = Some(now);
    }

    /// When its last member left or became well, while it has none.
    #[must_use]
    pub(super) fn left_at(&self) -> Option<Timestamp> {
        self.over_at.filter(|_| self.left == 0).or(self.empty_since).filter(|_| self.members.is_empty())
    }

    /// Remembers a member that leaves.
    pub(super) fn leaves(&mut self, member: &Member) {
        let name = &member.object.name;
        if self.left_names.len() < crate::message::IncidentView::MAX_MEMBERS
            && !self.left_names.contains(name)
        {
            self.left_names.push(Arc::clone(name));
        }
    }

    /// How many objects have the problem, or have not yet been free of it for long enough.
    #[must_use]
    pub fn affected(&self) -> u32 {
        let mut last: Option<&str> = None;
        let mut count = self.unnamed;
        for (object, _) in self.members.keys() {
            if last != Some(object) {
                count = count.saturating_add(1);
                last = Some(object);
            }
        }
        count
    }
}

/// JSON has no maps with such keys.
mod members {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Member, MemberKey};

    type Map = BTreeMap<MemberKey, Member>;

    pub fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.values())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        let list: Vec<Member> = Vec::deserialize(deserializer)?;
        Ok(list.into_iter().map(|m| ((m.key(), m.part.clone()), m)).collect())
    }
}
