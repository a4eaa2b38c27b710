//! What comes out of the pipeline: decisions in words, and what is to be stored with them.

use std::sync::Arc;

use super::Policies;
use super::log::LogWanted;
use crate::engine::{Decided, Effects};
use crate::message::{Decision, Notification};

/// What came out of a step, to be stored in one transaction.
#[derive(Debug, Default)]
pub struct Output {
    /// Decisions with their texts, in order; one for each, not for each receiver.
    pub messages: Vec<Message>,
    /// Without decisions: these are messages by now.
    pub effects: Effects,
}

impl Output {
    /// Is there nothing to store?
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.effects.is_empty()
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
    pub policies: Policies,
    /// The log that it should be told with, where its rule asks for one. Who has no cluster tells it
    /// without.
    pub log: Option<Box<LogWanted>>,
}

impl Message {
    /// What the keys of its notifications begin with.
    pub fn key(&self) -> String {
        let decided = &self.decided;
        let number = decided.number;
        // Times are there for people: after a step of the clock they repeat, the number does not.
        match &decided.digest {
            Some(digest) => format!("digest-{}-{number}", digest.due.as_millisecond()),
            _ if decided.decision.is_summary() => {
                format!("{}-{}-{number}", decided.decision, decided.at.as_millisecond())
            }
            _ => format!("{}-{}", decided.thread, decided.seq),
        }
    }

    /// What each receiver is told: one notification, or, of a summary, one for each incident where the
    /// receiver opens and closes something for each. Receivers of digests are told nothing else.
    pub fn notifications(&self) -> impl Iterator<Item = Notification> {
        let decision = self.decided.decision;
        let summary = matches!(decision, Decision::Standing | Decision::Storm);
        let always = matches!(decision, Decision::Digest | Decision::Notice);
        let now = move |n: &Notification| always || !self.policies.get(&n.receiver).digest;
        self.whole().filter(now).flat_map(move |mut n| {
            if summary && !self.policies.get(&n.receiver).fold {
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
        let end = decided.decision.is_end() || decided.reason.is_mend();
        let told = decided.receivers.iter().filter(move |name| !end || self.policies.get(name).send_resolved);
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
            late_s: None,
        })
    }
}
