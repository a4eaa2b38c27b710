//! What a step of the engine asks of the world.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::annotations::AnnotationKey;
use super::{BadAnnotation, ExplainRecords, Incident, Waits, digest};
use crate::message::{Decision, Digest, IncidentView, Reason};
use crate::signal::{Cause, Severity, Workload};

/// One decision: what is told about one incident, or about several at once.
#[derive(Debug, Clone)]
pub struct Decided {
    pub at: Timestamp,
    pub decision: Decision,
    pub reason: Reason,
    /// What orders deliveries: the incident, what a notice is about, or [`Self::SUMMARIES`].
    pub thread: Arc<str>,
    /// Numbers the messages of one thread from 1.
    pub seq: u64,
    /// Of a summary or a digest: tells its keys from those of every other one of the store. Else 0: the id of
    /// the incident does.
    pub number: u64,
    /// Who is told; empty: the terminal.
    pub receivers: Vec<Arc<str>>,
    /// The incidents, one unless a summary.
    pub incidents: Vec<IncidentView>,
    /// How many there are in all.
    pub total: u32,
    /// What only digests have.
    pub digest: Option<Box<Digest>>,
}

impl Decided {
    /// The one thread of summaries and digests.
    pub const SUMMARIES: &str = "summary";

    /// The highest severity told.
    pub fn severity(&self) -> Severity {
        if self.decision == Decision::Notice {
            return if self.reason.is_mend() { Severity::Info } else { Severity::Warning };
        }
        self.incidents.iter().map(|i| i.severity).max().unwrap_or(Severity::Info)
    }
}

/// A decision to say nothing, or anything else worth finding again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub at: Timestamp,
    pub incident: Arc<str>,
    /// Why nothing was said.
    pub reason: Reason,
    pub rule: Arc<str>,
    pub namespace: Option<Arc<str>>,
    pub workload: Workload,
    /// More: the incident that holds it back, the silence, …
    pub detail: Option<Arc<str>>,
    /// The comment of the silence.
    pub comment: Option<Arc<str>>,
    /// What would have been told.
    pub held: Option<Decision>,
    pub cause: Cause,
    pub severity: Severity,
    pub since: Timestamp,
    /// Until when, where it is over.
    pub ended_at: Option<Timestamp>,
    /// Until when at least, where that is known.
    pub until: Option<Timestamp>,
    /// What it waited for, where it ended before it was told.
    pub waited: Option<Waits>,
}

impl Note {
    /// About this incident, without more.
    pub fn of(incident: &Incident, at: Timestamp, reason: Reason) -> Self {
        Self {
            at,
            incident: Arc::clone(&incident.id),
            reason,
            rule: Arc::clone(&incident.rule),
            namespace: incident.namespace.clone(),
            workload: incident.workload.clone(),
            detail: None,
            comment: None,
            held: None,
            cause: incident.cause,
            severity: incident.severity,
            since: incident.since,
            ended_at: incident.left_at(),
            until: None,
            waited: None,
        }
    }
}

/// What a step of the engine asks of the world: one transaction of the store.
#[derive(Debug, Default)]
pub struct Effects {
    /// What is to be told.
    pub decided: Vec<Decided>,
    /// Incidents whose stored form is out of date.
    pub dirty: BTreeSet<Arc<str>>,
    pub removed: Vec<Arc<str>>,
    /// What was held back, and why.
    pub notes: Vec<Note>,
    /// Silences of the API whose stored form is out of date.
    pub silences: BTreeSet<Arc<str>>,
    /// Silences of the API to forget.
    pub silences_removed: Vec<Arc<str>>,
    /// Annotations that were meant to silence something and say nothing.
    pub bad_annotations: Vec<BadAnnotation>,
    /// Annotations whose stored form is out of date, or which are to be forgotten.
    pub annotations: BTreeSet<AnnotationKey>,
    /// What else `explain` needs.
    pub records: ExplainRecords,
    /// Parts of digests to come whose stored form is out of date, or which are to be forgotten.
    pub digests: BTreeSet<digest::DigestRow>,
}

impl Effects {
    /// Is there nothing to store?
    pub fn is_empty(&self) -> bool {
        self.decided.is_empty()
            && self.dirty.is_empty()
            && self.removed.is_empty()
            && self.notes.is_empty()
            && self.silences.is_empty()
            && self.silences_removed.is_empty()
            && self.bad_annotations.is_empty()
            && self.annotations.is_empty()
            && self.records.is_empty()
            && self.digests.is_empty()
    }
}
