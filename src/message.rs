//! What one receiver is to be told: the input of every template, and what the outbox keeps.

mod apart;
mod command;
pub mod detail;
mod digest;
mod fit;
pub mod text;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use command::CommandLine;
pub use detail::Detail;
pub use digest::{Digest, Group, HeldBack, HeldWorkload, Section, SpanCount};

use crate::signal::{Cause, Health, Severity, Workload};

/// What the engine chose to say about an incident, or about several at once.
///
/// The names are a contract: `replay --format json`, the webhook payload and the metrics show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The first message about an incident.
    First,
    /// It grew past a step, or became more severe.
    Grew,
    /// It is still firing at the end of its window.
    Reminder,
    /// It fired again inside the window after it had been resolved.
    Reopened,
    Resolved,
    /// It ended without anybody knowing how: its state can no longer be read.
    Expired,
    /// A summary of what was wrong already when kubeherald first looked.
    Standing,
    /// A summary in place of many single messages.
    Storm,
    Digest,
    /// About kubeherald itself, and no incident: what keeps it from its work, or does no more.
    Notice,
}

impl Decision {
    pub const ALL: &'static [Self] = &[
        Self::First,
        Self::Grew,
        Self::Reminder,
        Self::Reopened,
        Self::Resolved,
        Self::Expired,
        Self::Standing,
        Self::Storm,
        Self::Digest,
        Self::Notice,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Grew => "grew",
            Self::Reminder => "reminder",
            Self::Reopened => "reopened",
            Self::Resolved => "resolved",
            Self::Expired => "expired",
            Self::Standing => "standing",
            Self::Storm => "storm",
            Self::Digest => "digest",
            Self::Notice => "notice",
        }
    }

    /// Does it say that the incident ended?
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Resolved | Self::Expired)
    }

    /// Is it about several incidents at once?
    pub const fn is_summary(self) -> bool {
        matches!(self, Self::Standing | Self::Storm | Self::Digest)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a decision was taken, or why nothing was said. A closed list: it is a metric label, it is in
/// the history, and tests assert it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing was said of this incident before.
    First,
    /// More members than the last step.
    Grew,
    /// A higher severity than told before.
    Escalated,
    /// The window ended and it is still firing.
    Reminder,
    /// Fired again inside the window after the end.
    Flapping,
    /// The live state agrees that it is over.
    Recovered,
    /// Its last object was removed and its workload is well (or gone too).
    ObjectsGone,
    /// Nothing was heard of it for `resolve_after`.
    Quiet,
    /// Its state can no longer be read.
    StateUnknown,
    /// It stood already at the first start.
    Standing,
    /// Too many at once.
    Storm,
    /// A schedule said so.
    Schedule,
    /// No rule asks for it any more: the rules were changed.
    RuleRemoved,
    /// The configuration on disk has errors; the last good one goes on.
    ConfigBroken,
    /// It has none any more.
    ConfigMended,
    /// Kinds of objects cannot be read.
    Blind,
    /// They can be read again.
    SeesAgain,
    /// Attempts at another receiver have failed for minutes.
    ReceiverFails,
    /// Another receiver refuses every message.
    ReceiverRefuses,
    /// It takes messages again.
    ReceiverWorks,
    /// Messages of the receiver that reads this went to its fallback.
    HandedOver,
    /// A notification was not queued, because another message has its key.
    NotQueued,
    /// Incidents are at their limit: some problems are not followed.
    LimitReached,
    /// They are below it again.
    LimitLifted,
    /// Nothing can be written to the store's disk; decisions are kept in memory.
    StoreInMemory,
    /// The store is on its disk again.
    StoreOnDisk,
    /// The store's file was damaged; a new one goes on.
    StoreSetAside,
    /// Held: the problem has not lasted for the rule's `for`.
    NotYetFor,
    /// Held: members are gathering (`group_wait`).
    GroupWait,
    /// Held: the last message is younger than the window.
    WithinWindow,
    /// Held: another incident explains it.
    InhibitedBy,
    /// Held: a silence matches, or an annotation asks for silence until a moment.
    SilencedBy,
    /// Held: a mute time is on, or an annotation mutes.
    Muted,
    /// Held: it ended before it was told.
    NeverTold,
    /// Held: the count a rule asks for is not reached.
    BelowCount,
    /// Held, or no longer followed: the limit on incidents is reached.
    OverLimit,
    NoRule,
}

impl Reason {
    pub const ALL: &'static [Self] = &[
        Self::First,
        Self::Grew,
        Self::Escalated,
        Self::Reminder,
        Self::Flapping,
        Self::Recovered,
        Self::ObjectsGone,
        Self::Quiet,
        Self::StateUnknown,
        Self::Standing,
        Self::Storm,
        Self::Schedule,
        Self::RuleRemoved,
        Self::ConfigBroken,
        Self::ConfigMended,
        Self::Blind,
        Self::SeesAgain,
        Self::ReceiverFails,
        Self::ReceiverRefuses,
        Self::ReceiverWorks,
        Self::HandedOver,
        Self::NotQueued,
        Self::LimitReached,
        Self::LimitLifted,
        Self::StoreInMemory,
        Self::StoreOnDisk,
        Self::StoreSetAside,
        Self::NotYetFor,
        Self::GroupWait,
        Self::WithinWindow,
        Self::InhibitedBy,
        Self::SilencedBy,
        Self::Muted,
        Self::NeverTold,
        Self::BelowCount,
        Self::OverLimit,
        Self::NoRule,
    ];

    /// The name used in JSON, metrics and history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Grew => "grew",
            Self::Escalated => "escalated",
            Self::Reminder => "reminder",
            Self::Flapping => "flapping",
            Self::Recovered => "recovered",
            Self::ObjectsGone => "objects_gone",
            Self::Quiet => "quiet",
            Self::StateUnknown => "state_unknown",
            Self::Standing => "standing",
            Self::Storm => "storm",
            Self::Schedule => "schedule",
            Self::RuleRemoved => "rule_removed",
            Self::ConfigBroken => "config_broken",
            Self::ConfigMended => "config_mended",
            Self::Blind => "blind",
            Self::SeesAgain => "sees_again",
            Self::ReceiverFails => "receiver_fails",
            Self::ReceiverRefuses => "receiver_refuses",
            Self::ReceiverWorks => "receiver_works",
            Self::HandedOver => "handed_over",
            Self::NotQueued => "not_queued",
            Self::LimitReached => "limit_reached",
            Self::LimitLifted => "limit_lifted",
            Self::StoreInMemory => "store_in_memory",
            Self::StoreOnDisk => "store_on_disk",
            Self::StoreSetAside => "store_set_aside",
            Self::NotYetFor => "not_yet_for",
            Self::GroupWait => "group_wait",
            Self::WithinWindow => "within_window",
            Self::InhibitedBy => "inhibited_by",
            Self::SilencedBy => "silenced_by",
            Self::Muted => "muted",
            Self::NeverTold => "never_told",
            Self::BelowCount => "below_count",
            Self::OverLimit => "over_limit",
            Self::NoRule => "no_rule",
        }
    }
}

impl Reason {
    /// Does a notice with this reason take back an earlier one?
    pub const fn is_mend(self) -> bool {
        matches!(
            self,
            Self::ConfigMended
                | Self::SeesAgain
                | Self::ReceiverWorks
                // It is read when the receiver works again, and must open no alert there.
                | Self::HandedOver
                | Self::LimitLifted
                | Self::StoreOnDisk
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Another incident (or several) that this one holds back, and counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What is held back.
    pub cause: Cause,
    /// Where: `namespace`, absent for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    pub workload: Workload,
    pub members: u32,
}

/// One incident as a message shows it. Lists are bounded; `*_total` counts what there was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Stable for the life of the incident, also over reopening.
    pub id: Arc<str>,
    /// The rule that speaks.
    pub rule: Arc<str>,
    pub cause: Cause,
    pub severity: Severity,
    /// How bad the last message said it was, where this one says more: who knows an incident by its
    /// severity has to end that one.
    #[serde(default)]
    pub was: Option<Severity>,
    /// Numbers the messages of this incident from 1.
    #[serde(default)]
    pub seq: u64,
    /// Where; absent for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    /// The label `team` of the object, its workload or its namespace.
    #[serde(default)]
    pub team: Option<Arc<str>>,
    pub workload: Workload,
    /// The container, where the group has one.
    pub container: Option<Arc<str>>,
    /// The node, where all members share one.
    pub node: Option<Arc<str>>,
    /// The image, where known and relevant.
    pub image: Option<Arc<str>>,
    /// Kind of the members: `Pod`, `Node`, `Job`, …
    pub member_kind: Arc<str>,
    /// Names of the objects affected, sorted, cut to [`Self::MAX_MEMBERS`].
    pub members: Vec<Arc<str>>,
    /// How many objects are (or, in an end, were) affected.
    pub members_total: u32,
    /// How many objects the workload wants, where known: "3 of 12 pods".
    pub replicas: Option<u32>,
    /// How often it happened.
    pub occurrences: u64,
    /// How often since the last message.
    pub occurrences_new: u64,
    /// Restarts of the affected containers as the kubelet counts them, where the problem makes containers restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    pub since: Timestamp,
    /// `since` is the earliest moment known: the problem may be older.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub since_at_least: bool,
    /// When it was last seen.
    pub last_seen: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Why it ended; `None` also in messages of versions that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<Reason>,
    /// How the workload was when it ended because the affected objects were gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<Health>,
    /// Those of `members` whose objects no longer exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Arc<str>>,
    /// The raw reason (`ErrImagePull`, `Unschedulable`, …).
    pub reason_raw: Arc<str>,
    /// The explaining text. From the cluster: hostile data.
    pub why: Arc<str>,
    /// "exit code 3", "OOM-killed (exit code 137, SIGKILL)"; empty where no container ended.
    pub exit: Arc<str>,
    /// A deeper cause found on the way ("OOM-killed at its 20Mi limit"), empty if none.
    pub deeper: Arc<str>,
    /// How often it was reopened.
    pub flaps: u32,
    /// What it holds back.
    pub held: Vec<Held>,
    /// How many pods run on the node (node causes only).
    pub pods_on_node: Option<u32>,
    pub runbook: Option<Arc<str>>,
    /// A `kubectl` command to look further; built from names only, safe to paste.
    pub command: Arc<str>,
    /// A command that silences this incident, safe to paste; `None` where the bot accepts no commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Arc<str>>,
    /// The last log lines of the run that ended, redacted, where a rule allows it.
    #[serde(default)]
    pub log_tail: Option<Arc<str>>,
    /// Whose log that is, `POD` or `POD, container NAME`, where the incident leaves that open.
    #[serde(default)]
    pub log_from: Option<Arc<str>>,
    /// The rule's rendered summary line, or the default one.
    pub title: String,
    /// What its first message was called; `None` in that message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstTold>,
}

/// What the first message about an incident was called: the subject that keeps its mails in one thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstTold {
    pub title: Arc<str>,
    pub severity: Severity,
}

impl IncidentView {
    /// How many member names a message carries.
    pub const MAX_MEMBERS: usize = 200;
}

/// What one receiver is to be told about one decision: one row of the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The idempotency key: `THREAD-SEQ-RECEIVER`, stable over retries and restarts. The thread is
    /// the incident, or names what a summary or a notice is about.
    pub key: String,
    pub receiver: Arc<str>,
    pub decision: Decision,
    pub reason: Reason,
    /// When it was decided.
    pub at: Timestamp,
    /// The configured cluster name; empty if none.
    pub cluster: Arc<str>,
    /// The highest severity of what is told.
    pub severity: Severity,
    /// One line, plain text, without the cluster.
    pub title: String,
    /// Several lines, plain text: how much, since when, why, where, what next.
    pub text: String,
    /// Numbers the messages of one incident (or of summaries) from 1.
    pub seq: u64,
    /// The incident; exactly one unless `decision` is a summary, none in a notice.
    pub incidents: Vec<IncidentView>,
    /// How many incidents a summary covers (`incidents` is cut).
    pub incidents_total: u32,
    /// What only digests have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Box<Digest>>,
    /// How many seconds after the decision this attempt is made, where that is worth a word. Set for each attempt
    /// and never stored.
    #[serde(skip)]
    pub late_s: Option<i64>,
}

impl Notification {
    /// How many incidents a summary carries in full.
    pub const MAX_INCIDENTS: usize = 500;
    /// What arrives sooner than this after its decision is not called late, in seconds.
    pub const LATE: i64 = 120;

    /// An attempt to deliver it is made at this moment.
    pub fn attempted(&mut self, now: Timestamp) {
        let late = now.as_second().saturating_sub(self.at.as_second());
        self.late_s = (late >= Self::LATE).then_some(late);
    }

    /// `decided at 03:12:40 UTC, delivered 14 min late`; `None`: it is in time.
    pub fn late(&self) -> Option<String> {
        let late = self.late_s?;
        let now = self.at.saturating_add(jiff::SignedDuration::from_secs(late)).unwrap_or(self.at);
        let at = text::words::moment(self.at, now);
        Some(format!("decided at {at}, delivered {} late", text::words::about(late)))
    }

    /// The one incident of a message that is no summary.
    pub fn incident(&self) -> Option<&IncidentView> {
        if self.decision.is_summary() { None } else { self.incidents.first() }
    }

    /// Does it say that something is over? Ends of incidents do, and notices of what is mended.
    pub const fn is_end(&self) -> bool {
        self.decision.is_end() || self.reason.is_mend()
    }

    /// What orders deliveries: the messages of one thread reach a receiver in order.
    pub fn thread(&self) -> &str {
        if let Some(incident) = self.incident() {
            return &incident.id;
        }
        match self.decision {
            Decision::Notice => {
                let rest = self.key.strip_suffix(&*self.receiver).and_then(|key| key.strip_suffix('-'));
                rest.and_then(|key| key.rsplit_once('-')).map_or(&self.key, |(thread, _)| thread)
            }
            _ => "summary",
        }
    }
}
