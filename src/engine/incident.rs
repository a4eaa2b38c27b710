//! What the engine knows of one incident; stored as JSON from its first message on.

pub mod life;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use life::{End, Life, Notified, Pending, Summary};
pub(super) use table::IncidentTable;
pub use table::Tenant;

use super::group;
use crate::clock::{moved, past};
use crate::message::{Decision, FirstTold, Reason};
use crate::rule::{GroupBy, Rule};
use crate::signal::{Cause, Exit, ObjectRef, Phase, Severity, Signal, Workload};

/// At most so many objects past the cap on members are told apart.
const MAX_UNNAMED: usize = 20_000;
/// At most so many revisions of removed members are known.
const MAX_REVISIONS: usize = 16;

/// What an incident that is not told waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Why it is not told: `not_yet_for`, `group_wait`, `below_count`, `inhibited_by`, …
    pub reason: Reason,
    /// Since when this is the reason.
    pub since: Timestamp,
    /// Until when at least, where that is known.
    pub until: Option<Timestamp>,
    /// The incident, silence or mute time that holds it, or the kind that cannot be read.
    pub by: Option<Arc<str>>,
}

/// Why an incident is not told, as it was recorded; stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// [`Reason::SilencedBy`] or [`Reason::Muted`].
    pub reason: Reason,
    /// By what: a silence, a mute time or an annotation.
    pub by: Arc<str>,
    /// What was held back so far, each recorded once.
    pub held: BTreeSet<Decision>,
    /// Of the growth steps, how many were passed when that was recorded.
    pub step: usize,
}

/// One object (and container) that has the problem.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    pub object: ObjectRef,
    /// The container, or the node's condition.
    pub part: Option<Arc<str>>,
    pub node: Option<Arc<str>>,
    pub revision: Option<Arc<str>>,
    /// The container's `restartCount` when it was last seen, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
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
            restarts: signal.restarts,
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
    pub fn key(&self) -> Arc<str> {
        object_key(&self.object)
    }
}

/// See [`Member::key`].
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

/// How the members of an incident left, since it was last quiet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Departed {
    /// Its last member left here.
    pub empty_since: Option<Timestamp>,
    /// The workload has been well since here, with no member left.
    pub well_since: Option<Timestamp>,
    /// When it was over, as far as is known by now; a message comes when that has proved stable.
    #[serde(default)]
    pub over_at: Option<Timestamp>,
    /// Objects that were removed while they had the problem.
    pub left: u32,
    /// Names of the members that were removed or have recovered, for the message of the end; bounded.
    #[serde(default)]
    pub left_names: Vec<Arc<str>>,
    /// Those of them whose objects were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone_names: Vec<Arc<str>>,
    /// Restarts of the members that were removed or have recovered, by their names; bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_restarts: BTreeMap<Arc<str>, u32>,
    /// Revisions of the members that were removed; bounded.
    pub left_revisions: Vec<Arc<str>>,
}

impl Departed {
    /// Remembers a member that leaves. `removed`: its object is gone.
    pub(super) fn leaves(&mut self, member: &Member, removed: bool) {
        let name = &member.object.name;
        if self.left_names.len() < crate::message::IncidentView::MAX_MEMBERS
            && !self.left_names.contains(name)
        {
            self.left_names.push(Arc::clone(name));
        }
        if self.left_names.contains(name) {
            if removed && !self.gone_names.contains(name) {
                self.gone_names.push(Arc::clone(name));
            }
            if let Some(restarts) = member.restarts {
                self.left_restarts.insert(Arc::clone(name), restarts);
            }
        }
        if let Some(revision) = member.revision.as_ref().filter(|_| removed)
            && !self.left_revisions.contains(revision)
            && self.left_revisions.len() < MAX_REVISIONS
        {
            self.left_revisions.push(Arc::clone(revision));
        }
    }

    /// Somebody has the problem again.
    pub(super) fn joined(&mut self, name: &str) {
        (self.empty_since, self.well_since, self.over_at) = (None, None, None);
        self.left_restarts.remove(name);
        self.gone_names.retain(|gone| &**gone != name);
    }

    /// The clock was set by `by` and shows `now`.
    pub(super) fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        for at in [&mut self.empty_since, &mut self.well_since] {
            *at = at.map(|at| moved(at, by));
        }
        self.over_at = self.over_at.map(|at| past(at, by, now));
    }
}

/// What of an incident is stored, and what `explain` can read of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Recorded {
    /// It is in the store.
    #[serde(default)]
    pub kept: bool,
    /// Its workload is written down as part of it.
    #[serde(default)]
    pub listed: bool,
    /// Some object is not written down yet.
    #[serde(skip)]
    pub joined: bool,
    /// What the list of what waits says of it.
    #[serde(skip)]
    pub listed_as: Option<Waits>,
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
    /// What changed the rule for it: [`Rule::overrides`](crate::rule::Rule).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Arc<str>>,
    /// What the members share, hashed. Changed by the table.
    pub(super) group: u128,
    pub cause: Cause,
    pub severity: Severity,
    pub namespace: Option<Arc<str>>,
    pub workload: Workload,
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
    /// Of a CronJob: its Job that failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Arc<str>>,
    /// Who has the problem, by object and part. Added and removed by the table.
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
    /// `since` is the earliest moment known: the problem may be older.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub since_at_least: bool,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// How often it happened.
    pub occurrences: u64,
    /// When it happened, for rules that count; bounded.
    #[serde(default)]
    pub times: VecDeque<(Timestamp, u32)>,
    /// It stood already at the first start.
    pub standing: bool,
    #[serde(flatten)]
    life: Life,
    #[serde(flatten)]
    pub departed: Departed,
    /// How often it was reopened.
    pub flaps: u32,
    /// The number of its last message, from 1.
    pub seq: u64,
    /// It holds back what is due: it does not wait for its own `for` and `count` any more.
    #[serde(default)]
    pub hastened: bool,
    /// What was last held back by a silence, until something is told again.
    #[serde(default)]
    pub quiet: Option<Suppression>,
    /// Why it is not told, while it is not.
    #[serde(default)]
    pub waits: Option<Waits>,
    /// Who was notified, or is to be.
    pub receivers: Vec<Arc<str>>,
    /// The end of the log that was told.
    #[serde(default)]
    pub log: Option<Log>,
    /// What the first message of its own was called, once there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstTold>,
    #[serde(flatten)]
    pub recorded: Recorded,
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
        let grouped = |by: GroupBy| rule.group_by.contains(&by);
        let workload =
            if grouped(GroupBy::Workload) || grouped(GroupBy::Object) || !grouped(GroupBy::Namespace) {
                signal.workload.clone()
            } else {
                signal.namespace().map_or_else(Workload::default, |ns| Workload::new("Namespace", ns))
            };
        Self {
            id,
            number,
            rule: Arc::clone(&rule.name),
            overrides: rule.overrides.clone(),
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
            job: signal.job.clone(),
            signal: Box::new(signal.clone()),
            members: BTreeMap::new(),
            unnamed: 0,
            unnamed_seen: BTreeSet::new(),
            several_parts: false,
            peak: 0,
            since: signal.since.unwrap_or(signal.at).min(now),
            since_at_least: signal.since_at_least,
            last_seen: signal.at,
            occurrences: 0,
            times: VecDeque::new(),
            standing,
            life: Life::default(),
            departed: Departed::default(),
            flaps: 0,
            seq: 0,
            hastened: false,
            quiet: None,
            waits: None,
            receivers: Vec::new(),
            log: None,
            first: None,
            recorded: Recorded::default(),
            carried: false,
            orphaned: false,
            checked_at: None,
        }
    }

    pub const fn life(&self) -> &Life {
        &self.life
    }

    /// To change what belongs to the state it is in; the table changes the state itself.
    pub(super) const fn life_mut(&mut self) -> &mut Life {
        &mut self.life
    }

    /// Somebody was notified, or is to be by a summary, and it is not over.
    pub const fn is_open(&self) -> bool {
        matches!(self.life, Life::Notified(_) | Life::Gathering { .. })
    }

    /// Is it to be told by a summary that is not decided yet?
    pub const fn gathers(&self) -> bool {
        matches!(self.life, Life::Gathering { .. })
    }

    pub const fn is_ended(&self) -> bool {
        matches!(self.life, Life::Ended { .. })
    }

    /// What was last told of it; `None`: nothing ever.
    pub const fn notified(&self) -> Option<&Notified> {
        self.life.notified()
    }

    /// The incident that holds it back.
    pub fn held_by(&self) -> Option<&Arc<str>> {
        self.life.pending()?.held_by.as_ref()
    }

    /// How often it happened since that was last told.
    pub fn untold(&self) -> u64 {
        self.occurrences.saturating_sub(self.notified().map_or(0, |notified| notified.occurrences))
    }

    /// Must it survive a restart? What was told must, and what a list of objects would not bring
    /// back: an OOM kill or a probe's kill that waits to be told. And what a silence holds back, so
    /// that how it ended is recorded even if that was not seen.
    pub fn to_keep(&self) -> bool {
        self.notified().is_some() || self.quiet.is_some() || self.members.values().any(|m| m.pulse)
    }

    /// `pending`, `held`, `firing` or `resolved`, as metrics call it.
    pub fn state(&self) -> &'static str {
        match &self.life {
            Life::Ended { .. } => "resolved",
            Life::Notified(_) | Life::Gathering { .. } => "firing",
            _ if self.held_by().is_some() || self.quiet.is_some() => "held",
            _ => "pending",
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
        self.departed.empty_since = Some(now);
    }

    /// When its last member left or became well, while it has none.
    pub(super) fn left_at(&self) -> Option<Timestamp> {
        let Departed { left, over_at, empty_since, .. } = self.departed;
        over_at.filter(|_| left == 0).or(empty_since).filter(|_| self.members.is_empty())
    }

    /// How many objects have the problem, or have not yet been free of it for long enough.
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
