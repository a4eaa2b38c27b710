//! What is wrong now: the answer of `kubeherald status`. Serialised it is a contract (docs/commands.md).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::words;
use crate::signal::Severity;

/// Everything that is open, and what keeps the bot from its work. Lists are bounded; `*_total` counts what there is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The configured cluster name; empty if none.
    pub cluster: String,
    pub asked_at: Timestamp,
    /// `false`: the first look at the cluster is not complete.
    pub synced: bool,
    /// The most severe first, of the same severity the oldest first.
    pub incidents: Vec<OpenIncident>,
    pub incidents_total: u64,
    /// How many of all are critical, warnings and informational.
    pub critical: u64,
    pub warning: u64,
    pub info: u64,
    /// Annotations that were meant for kubeherald and do nothing.
    pub annotations: Vec<AnnotationMistake>,
    pub annotations_total: u64,
    /// Receivers that do not take messages, and those that did not take all of them.
    #[serde(default)]
    pub receivers: Vec<ReceiverTrouble>,
    /// The checks of `/readyz` that are not `ok`.
    #[serde(default)]
    pub checks: Vec<FailedCheck>,
}

/// One incident that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIncident {
    /// Its id, as messages show it.
    pub incident: String,
    /// One line.
    pub title: String,
    pub severity: Severity,
    /// `firing`, `recovering`, `pending`, `gathering`, `held`, `silenced` or `muted`, as `kubeherald explain` has them.
    pub state: String,
    pub rule: String,
    pub cause: String,
    pub namespace: Option<String>,
    /// Whose, as `Kind/name`.
    pub workload: String,
    pub container: Option<String>,
    pub since: Timestamp,
    pub last_seen: Timestamp,
    /// `3 of 3 pods`; empty where the workload is the one object.
    pub size: String,
    /// How many objects are affected, and how many the workload wants, where known.
    pub members_total: u32,
    pub replicas: Option<u32>,
    pub occurrences: u64,
    /// How many other incidents it explains and holds back.
    pub explains: u64,
    /// Somebody was notified of it, or is to be.
    pub notified: bool,
    /// Why nothing is sent of it now, if that is so.
    pub held_back: Option<HeldBack>,
}

/// Why nothing is sent of an incident now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// `silenced_by`, `muted`, `inhibited_by`, `not_yet_for`, `below_count`, `group_wait`, `standing` or `storm`.
    pub reason: String,
    /// The silence, mute time, annotation or incident.
    pub by: Option<String>,
    pub comment: Option<String>,
    /// Until when at least, where known.
    pub until: Option<Timestamp>,
}

/// An annotation that was meant for kubeherald and does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnotationMistake {
    /// `Deployment/shop/checkout`
    pub object: String,
    pub annotation: String,
    /// Cut and cleaned.
    pub value: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

/// A receiver that does not take messages, or did not take all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverTrouble {
    pub receiver: String,
    /// `refusing` (every message), `failing` (attempts fail and are repeated), `paused` (it asked for that) or
    /// `dead_letters` (messages whose delivery failed permanently).
    pub state: String,
    pub since: Option<Timestamp>,
    pub next_attempt: Option<Timestamp>,
    /// Messages that wait to be delivered.
    pub waiting: u64,
    /// Messages whose delivery failed permanently.
    pub dead: u64,
    /// What it answered last.
    pub reason: String,
    /// The receiver that is sent its messages until it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// A check of `/readyz` that is not `ok`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCheck {
    /// `watch/Pod`, `config`, `store`, …
    pub check: String,
    /// `degraded` or `failed`.
    pub status: String,
    pub detail: String,
}

impl OpenIncident {
    /// `critical, since 08:06:23 UTC (4 min), 3 of 3 pods, 14 times`
    pub fn details(&self, now: Timestamp) -> String {
        let state = match self.state.as_str() {
            "recovering" => "seems over",
            _ => "",
        };
        let times =
            if self.occurrences > 1 { words::plural(self.occurrences, "time") } else { String::new() };
        let explains = match self.explains {
            0 => String::new(),
            n => format!("explains {}", words::plural(n, "other incident")),
        };
        let since = words::since(self.since, now);
        words::join(&[self.severity.as_str(), &since, &self.size, &times, &explains, state], ", ")
    }
}

impl HeldBack {
    /// `silenced until 10:00:00 UTC (in 2 h) by 3k9x2abq: release 4.2 (by anna)`
    pub fn line(&self, now: Timestamp) -> String {
        let until = self.until.map(|at| {
            let away = if at > now { words::seconds_between(now, at) } else { 0 };
            format!(" until {} (in {})", words::moment(at, now), words::about(away))
        });
        let until = until.unwrap_or_default();
        let by = self.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let comment = self.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
        match self.reason.as_str() {
            "silenced_by" => format!("silenced{until}{by}{comment}"),
            "muted" => format!("muted{until}{by}"),
            "inhibited_by" => format!("explained{by}"),
            "not_yet_for" => format!("not sent yet: it has not lasted as long as its rule asks{until}"),
            "below_count" => "not sent yet: it has not happened as often as its rule asks".to_owned(),
            "group_wait" => format!("not sent yet: waits for others of its group{until}"),
            "standing" => format!("not sent yet: waits for the summary of the first start{until}"),
            "storm" => format!("not sent yet: waits for the summary of many that began at once{until}"),
            other => format!("not sent: {}{until}{by}", other.replace('_', " ")),
        }
    }
}

impl ReceiverTrouble {
    /// `mail: refuses every message since 08:00:00 UTC (10 min): 535 …; 4 wait`
    pub fn line(&self, now: Timestamp) -> String {
        let since = self.since.map(|at| format!(" {}", words::since(at, now))).unwrap_or_default();
        let what = match self.state.as_str() {
            "refusing" => format!("refuses every message{since}"),
            "failing" => format!("deliveries fail{since}"),
            "paused" => format!("asked for a pause{since}"),
            "dead_letters" => String::new(),
            other => format!("{}{since}", other.replace('_', " ")),
        };
        let next = self.next_attempt.filter(|at| *at > now).map(|at| {
            format!(
                "next attempt {} (in {})",
                words::moment(at, now),
                words::about(words::seconds_between(now, at))
            )
        });
        let waiting = match self.waiting {
            0 => String::new(),
            n => format!("{} waiting", words::plural(n, "message")),
        };
        let dead = match self.dead {
            0 => String::new(),
            n => format!("{} permanently undeliverable", words::plural(n, "message")),
        };
        let what = words::join(&[&what, &self.reason], ": ");
        let to = self.fallback.as_ref().map(|to| format!("its messages go to {to}")).unwrap_or_default();
        let rest = words::join(&[&what, &to, &waiting, &next.unwrap_or_default(), &dead], "; ");
        format!("{}: {rest}", self.receiver)
    }
}

impl fmt::Display for AnnotationMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} is \"{}\": {}", self.annotation, self.object, self.value, self.problem)
    }
}
