//! A stored incident as `explain` shows it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Incident, Waits};
use crate::message::Reason;
use crate::signal::{Cause, Severity, Workload};

#[derive(Debug, Clone)]
pub struct ExplainedIncident {
    /// `pending`, `held`, `silenced`, `muted`, `gathering`, `firing`, `recovering` or `resolved`.
    pub state: &'static str,
    pub cause: Cause,
    /// What changed its rule for it.
    pub overrides: Vec<Arc<str>>,
    pub severity: Severity,
    pub namespace: Option<Arc<str>>,
    pub workload: Workload,
    pub container: Option<Arc<str>>,
    pub since: Timestamp,
    pub last_seen: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub why: Arc<str>,
    pub occurrences: u64,
    /// Of these, how many no message has told.
    pub untold: u64,
    pub flaps: u32,
    /// Why it is not told, while it is not.
    pub waits: Option<Waits>,
    /// Repeats are counted until then.
    pub quiet_until: Option<Timestamp>,
}

impl ExplainedIncident {
    pub fn read(body: &str) -> serde_json::Result<Self> {
        serde_json::from_str(body).map(Self::of)
    }

    fn of(incident: Incident) -> Self {
        let end = incident.life().end().filter(|_| incident.is_ended());
        let ended_at = end.map(|end| incident.departed.over_at.unwrap_or(end.at));
        let open = incident.is_open() && incident.waits.is_none();
        let notified = incident.notified();
        Self {
            state: match incident.waits.as_ref().map(|waits| waits.reason) {
                _ if ended_at.is_some() => "resolved",
                Some(Reason::InhibitedBy) => "held",
                Some(Reason::SilencedBy) => "silenced",
                Some(Reason::Muted) => "muted",
                Some(Reason::Standing | Reason::Storm) => "gathering",
                Some(_) => "pending",
                None if open && incident.raised().next().is_none() => "recovering",
                None => incident.state(),
            },
            cause: incident.cause,
            severity: incident.severity,
            since: incident.since,
            last_seen: incident.last_seen,
            ended_at,
            occurrences: incident.occurrences,
            untold: incident.untold(),
            flaps: incident.flaps,
            quiet_until: notified.and_then(|notified| notified.window_ends).filter(|_| open),
            namespace: incident.namespace,
            workload: incident.workload,
            container: incident.container,
            why: incident.why,
            overrides: incident.overrides,
            waits: incident.waits.filter(|_| ended_at.is_none()),
        }
    }
}
