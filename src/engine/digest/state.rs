//! What one receiver is owed at its next digest, as it is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::text::words;
use crate::message::{Decision, HeldBack, HeldWorkload, IncidentView, Reason};
use crate::signal::Workload;

/// At most so many incidents are known one by one; others are counted.
const MAX_ENTRIES: usize = 4_000;
/// At most so many workloads are counted apart for each reason.
const MAX_WORKLOADS: usize = 200;
/// The longest explaining text that is kept, in characters.
const MAX_WHY: usize = 500;
/// How many names of members, and of what is held back, are kept.
const MAX_NAMES: usize = 10;

/// What one receiver is owed. Serialised without its entries, which are rows of their own: one
/// decision must not write down all that was decided before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DigestState {
    pub receiver: Arc<str>,
    /// When the last digest was decided, or the first look at the schedule.
    pub since: Timestamp,
    /// Up to when the schedule was looked at: later than `since` where there was nothing to say.
    pub seen: Timestamp,
    pub seq: u64,
    /// The time zone of the schedule.
    pub timezone: Arc<str>,
    /// Incidents that ended and found no place in `entries`. Those that are open are known anyway.
    #[serde(default)]
    pub more_resolved: u32,
    /// What was held back.
    #[serde(default)]
    pub held: Vec<HeldSoFar>,
    /// Incidents that are told of, by id.
    #[serde(skip)]
    pub entries: BTreeMap<Arc<str>, Entry>,
    /// When the next digest is to be decided.
    #[serde(skip)]
    pub(super) at: Option<Timestamp>,
    /// When that one was due.
    #[serde(skip)]
    pub(super) due: Option<Timestamp>,
    /// How many others were due while nobody could decide them.
    #[serde(skip)]
    pub(super) missed: u32,
    /// The receiver is not told in digests any more.
    #[serde(skip)]
    pub(super) closing: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// As it was when something was last decided about it.
    pub view: IncidentView,
    /// A digest has told of it.
    pub told: bool,
    /// Of how many occurrences.
    pub occurrences: u64,
    /// It is over, and why.
    pub end: Option<Reason>,
}

/// What was held back for one reason since the last digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSoFar {
    pub reason: Reason,
    pub count: u64,
    pub workloads: Vec<HeldWorkload>,
    pub more: bool,
}

impl DigestState {
    pub(super) fn new(receiver: Arc<str>, timezone: Arc<str>, now: Timestamp) -> Self {
        Self {
            receiver,
            since: now,
            seen: now,
            seq: 0,
            timezone,
            more_resolved: 0,
            held: Vec::new(),
            entries: BTreeMap::new(),
            at: None,
            due: None,
            missed: 0,
            closing: false,
        }
    }

    /// Something was decided about an incident that this receiver is told of. `ends`: it also wants to
    /// hear of ends.
    pub(super) fn decided(&mut self, view: &IncidentView, decision: Decision, reason: Reason, ends: bool) {
        let end = decision.is_end().then_some(reason);
        let begins = !matches!(decision, Decision::Grew | Decision::Reminder) && end.is_none();
        // What is not in the book and does not begin now was told before there was one, or found no
        // place in it.
        let before = !begins && view.since < self.since;
        if let Some(entry) = self.entries.get_mut(&view.id) {
            if end.is_some() && entry.told && !ends {
                self.entries.remove(&view.id);
            } else {
                entry.view = slim(view);
                entry.end = end;
            }
            return;
        }
        if end.is_some() && before && !ends {
            return;
        }
        if self.entries.len() < MAX_ENTRIES {
            let entry = Entry { view: slim(view), told: before, occurrences: 0, end };
            self.entries.insert(Arc::clone(&view.id), entry);
        } else if end.is_some() {
            self.more_resolved = self.more_resolved.saturating_add(1);
        }
    }

    /// Something of a workload was held back, so often.
    pub(super) fn hold_back(
        &mut self,
        reason: Reason,
        namespace: Option<&Arc<str>>,
        workload: &Workload,
        times: u64,
    ) {
        let place = match self.held.iter().position(|held| held.reason == reason) {
            Some(place) => place,
            None => {
                self.held.push(HeldSoFar::new(reason));
                self.held.len() - 1
            }
        };
        if let Some(held) = self.held.get_mut(place) {
            held.add(namespace, workload, times);
        }
    }

    /// An entry for an incident that a digest told of.
    pub(super) fn adopt(&mut self, view: &IncidentView, occurrences: u64) {
        if let Some(entry) = self.entries.get_mut(&view.id) {
            entry.view = slim(view);
        } else if self.entries.len() < MAX_ENTRIES {
            let entry = Entry { view: slim(view), told: true, occurrences, end: None };
            self.entries.insert(Arc::clone(&view.id), entry);
        }
    }
}

impl HeldSoFar {
    pub(super) const fn new(reason: Reason) -> Self {
        Self { reason, count: 0, workloads: Vec::new(), more: false }
    }

    pub(super) fn add(&mut self, namespace: Option<&Arc<str>>, workload: &Workload, times: u64) {
        self.count = self.count.saturating_add(times);
        let same = |w: &&mut HeldWorkload| w.namespace.as_ref() == namespace && w.workload == *workload;
        if let Some(known) = self.workloads.iter_mut().find(same) {
            known.count = known.count.saturating_add(times);
        } else if self.workloads.len() < MAX_WORKLOADS {
            let (namespace, workload) = (namespace.cloned(), workload.clone());
            self.workloads.push(HeldWorkload { namespace, workload, count: times });
        } else {
            self.more = true;
        }
    }

    /// As a digest shows it.
    pub(super) fn shown(&self, most: usize) -> HeldBack {
        let mut workloads = self.workloads.clone();
        workloads.sort_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| (&a.namespace, &a.workload).cmp(&(&b.namespace, &b.workload)))
        });
        let more = self.more || workloads.len() > most;
        workloads.truncate(most);
        HeldBack { reason: self.reason, count: self.count, workloads, more, by: None }
    }
}

/// What a digest shows of an incident: less than a message of its own does.
pub(super) fn slim(view: &IncidentView) -> IncidentView {
    let mut slim = view.clone();
    slim.members.truncate(MAX_NAMES);
    slim.held.truncate(MAX_NAMES);
    slim.why = Arc::from(words::cut_chars(&view.why, MAX_WHY));
    slim.log_tail = None;
    slim
}

#[cfg(test)]
mod tests;
