//! What a digest says beside the incidents it lists.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Reason;
use crate::signal::{Cause, Severity, Workload};

/// The part of a [`super::Notification`] that only digests have. Counts are of everything, lists are
/// bounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// What happened after this …
    pub since: Timestamp,
    /// … up to this is told.
    pub until: Timestamp,
    /// When it was due: earlier than `until` if kubeherald was down then.
    pub due: Timestamp,
    /// How many digests were due since the last one while kubeherald was down, beside this one.
    #[serde(default)]
    pub missed: u32,
    /// The time zone that times are shown in; an IANA name.
    pub timezone: Arc<str>,
    /// There will be no other: the receiver is not told in digests any more.
    #[serde(default)]
    pub last: bool,
    /// Began since the last digest and is not over.
    pub new: Section,
    /// Was told before and is not over.
    pub ongoing: Section,
    /// Over since the last digest, whether told before or not.
    pub resolved: Section,
    /// Of those in `resolved`, which ended without anybody knowing how.
    #[serde(default)]
    pub unknown: Vec<Arc<str>>,
    /// Open problems by severity, the worst first.
    pub severities: Vec<(Severity, u32)>,
    /// All problems by cause, the most frequent first.
    pub causes: Vec<(Cause, u32)>,
    /// All problems by namespace and team, the worst first; at most [`Self::MAX_GROUPS`].
    pub groups: Vec<Group>,
    /// How many groups there are.
    pub groups_total: u32,
    /// How many problems began, by span of time; empty where that would be one span only.
    pub begun: Vec<SpanCount>,
    /// What was not told, and why.
    pub held: Vec<HeldBack>,
}

/// One list of incidents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// How many there are.
    pub total: u32,
    /// The ids of those that the notification carries, by group, the worst first.
    pub incidents: Vec<Arc<str>>,
}

/// The problems of one namespace and team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Where; absent for what belongs to the cluster.
    pub namespace: Option<Arc<str>>,
    /// Whose, where a label `team` says so.
    pub team: Option<Arc<str>>,
    /// The worst of what is open; absent where everything is over.
    pub worst: Option<Severity>,
    /// How many are new.
    pub new: u32,
    /// How many go on.
    pub ongoing: u32,
    /// How many are over.
    pub resolved: u32,
}

impl Group {
    pub const fn total(&self) -> u32 {
        self.new.saturating_add(self.ongoing).saturating_add(self.resolved)
    }
}

/// How many problems began in one span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanCount {
    /// Where the span begins; it ends where the next one does.
    pub from: Timestamp,
    pub count: u32,
}

/// What was held back for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    pub reason: Reason,
    /// How often something was held back; for `within_window`, how many repeats.
    pub count: u64,
    /// Whose, most often first; at most [`Digest::MAX_HELD_WORKLOADS`].
    pub workloads: Vec<HeldWorkload>,
    #[serde(default)]
    pub more: bool,
    /// The annotation that holds these back at the moment of the digest; absent where `count` is about the
    /// time since the digest before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
}

/// A workload of which something was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldWorkload {
    pub namespace: Option<Arc<str>>,
    pub workload: Workload,
    pub count: u64,
}

impl Digest {
    /// How many groups are counted apart.
    pub const MAX_GROUPS: usize = 50;
    /// How many annotations are listed that hold something back.
    pub const MAX_ANNOTATIONS: usize = 20;
    /// How many workloads are named for each reason.
    pub const MAX_HELD_WORKLOADS: usize = 10;

    /// How many problems are not over.
    pub const fn open(&self) -> u32 {
        self.new.total.saturating_add(self.ongoing.total)
    }

    pub const fn total(&self) -> u32 {
        self.open().saturating_add(self.resolved.total)
    }
}
