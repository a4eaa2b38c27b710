//! What comes out of the pipeline: decisions in words, and what is to be stored with them.

use std::sync::Arc;

use super::log::LogWanted;
use crate::engine::annotations::AnnotationKey;
use crate::engine::digest::BookRow;
use crate::engine::{BadAnnotation, Decided, ExplainRecords, Note};
use crate::message::{Decision, Notification};

/// What came out of a step, to be stored in one transaction.
#[derive(Debug, Default)]
pub struct Output {
    /// Decisions with their texts, in order; one for each, not for each receiver.
    pub messages: Vec<Message>,
    /// Incidents whose stored form is out of date.
    pub dirty: std::collections::BTreeSet<Arc<str>>,
    pub removed: Vec<Arc<str>>,
    /// What was held back, and why.
    pub notes: Vec<Note>,
    /// Silences of the API whose stored form is out of date.
    pub silences: std::collections::BTreeSet<Arc<str>>,
    /// Silences of the API to forget.
    pub silences_removed: Vec<Arc<str>>,
    /// Annotations that were meant to silence something and say nothing.
    pub bad_annotations: Vec<BadAnnotation>,
    /// Annotations whose stored form is out of date, or which are to be forgotten.
    pub annotations: std::collections::BTreeSet<AnnotationKey>,
    /// What else `explain` needs.
    pub records: ExplainRecords,
    /// Parts of digests to come whose stored form is out of date.
    pub digests: std::collections::BTreeSet<BookRow>,
}

impl Output {
    /// Is there nothing to store?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
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

/// A decision in words.
#[derive(Debug, Clone)]
pub struct Message {
    pub decided: Decided,
    pub title: String,
    pub text: String,
    /// The configured cluster name.
    pub cluster: Arc<str>,
    /// Receivers that do not want to hear of ends (`send_resolved: false`).
    pub no_ends: Arc<[Arc<str>]>,
    /// Receivers that are told each incident by itself (`fold: false`).
    pub apart: Arc<[Arc<str>]>,
    /// Receivers that are told in digests, and of nothing else.
    pub in_digests: Arc<[Arc<str>]>,
    /// The log that it should be told with, where its rule asks for one. Who has no cluster tells it
    /// without.
    pub log: Option<Box<LogWanted>>,
}

impl Message {
    /// What the keys of its notifications begin with.
    #[must_use]
    pub fn key(&self) -> String {
        let decided = &self.decided;
        let number = decided.number;
        match (decided.incidents.first(), &decided.digest) {
            // Times are there for people: after a step of the clock they repeat, the number does not.
            (_, Some(digest)) => format!("digest-{}-{number}", digest.due.as_millisecond()),
            (Some(incident), _) if !decided.decision.is_summary() => {
                format!("{}-{}", incident.id, decided.seq)
            }
            _ => format!("{}-{}-{number}", decided.decision, decided.at.as_millisecond()),
        }
    }

    /// What each receiver is told: one notification, or, of a summary, one for each incident where the
    /// receiver opens and closes something for each. Receivers of digests are told nothing else.
    pub fn notifications(&self) -> impl Iterator<Item = Notification> {
        let decision = self.decided.decision;
        let summary = matches!(decision, Decision::Standing | Decision::Storm);
        let now =
            move |n: &Notification| decision == Decision::Digest || !self.in_digests.contains(&n.receiver);
        self.whole().filter(now).flat_map(move |mut n| {
            if summary && self.apart.contains(&n.receiver) {
                // Under the keys that single messages have: the next of each incident has the next number.
                return n
                    .apart()
                    .into_iter()
                    .map(|one| {
                        let incident = one.thread();
                        Notification { key: format!("{incident}-{}-{}", one.seq, one.receiver), ..one }
                    })
                    .collect();
            }
            n.incidents.truncate(Notification::MAX_INCIDENTS);
            vec![n]
        })
    }

    /// The message as it was decided, for each receiver, also for those that are told in a digest.
    pub fn whole(&self) -> impl Iterator<Item = Notification> {
        let decided = &self.decided;
        let base = self.key();
        let end = decided.decision.is_end();
        let told = decided.receivers.iter().filter(move |name| !end || !self.no_ends.contains(*name));
        told.map(move |receiver| Notification {
            key: format!("{base}-{receiver}"),
            receiver: Arc::clone(receiver),
            decision: decided.decision,
            reason: decided.reason,
            at: decided.at,
            cluster: Arc::clone(&self.cluster),
            severity: decided.severity(),
            title: self.title.clone(),
            text: self.text.clone(),
            seq: decided.seq,
            incidents: decided.incidents.clone(),
            incidents_total: decided.total,
            digest: decided.digest.clone(),
        })
    }
}
