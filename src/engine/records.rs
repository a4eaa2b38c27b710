//! What `explain` needs beside messages and notes: what waits and for what, who is part of which
//! incident, and which problems became no incident at all.
//!
//! All of it is bounded. What waits is written when what it waits for changes, not with each signal;
//! an object is written once for each incident it joins; and a problem that no rule wants is written
//! down at most every six hours for each object, for a few thousand objects.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::incident::{Life, object_key};
use super::{Effects, Engine, Incident, Waits};
use crate::clock;
use crate::message::Reason;
use crate::signal::{Cause, ObjectRef, Signal, Workload};

/// Problems that became no incident are remembered for so many objects, so that each is written down
/// once; those of more objects are only counted.
const MAX_UNMATCHED: usize = 4096;
/// After this the same problem of the same object is written down once more.
const UNMATCHED_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// An object that is part of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub incident: Arc<str>,
    pub kind: Arc<str>,
    /// Where; `None` for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
    /// When it was taken in.
    pub at: Timestamp,
}

/// A problem that became no incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    pub at: Timestamp,
    pub reason: Reason,
    pub cause: Cause,
    pub object: ObjectRef,
    pub workload: Workload,
    /// The explaining text. From the cluster: hostile data.
    pub why: Arc<str>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct ExplainRecords {
    /// Incidents that are not told whose stored form is out of date; those that are told or gone by
    /// now are to be taken off the list of what waits.
    pub waiting: BTreeSet<Arc<str>>,
    /// Who joined which incident.
    pub joined: Vec<Joined>,
    /// What became no incident.
    pub unmatched: Vec<Unmatched>,
}

impl ExplainRecords {
    /// Is there nothing to store?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.joined.is_empty() && self.unmatched.is_empty()
    }
}

/// Which problems without an incident were written down lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    last: HashMap<(Arc<str>, Cause), Timestamp>,
    order: VecDeque<(Timestamp, (Arc<str>, Cause))>,
}

impl Refusals {
    /// Is it worth a line? Not again within [`UNMATCHED_AGAIN`].
    fn is_news(&mut self, key: (Arc<str>, Cause), now: Timestamp) -> bool {
        while self.order.front().is_some_and(|(at, _)| clock::between(*at, now) >= UNMATCHED_AGAIN) {
            if let Some((_, old)) = self.order.pop_front() {
                self.last.remove(&old);
            }
        }
        if self.last.contains_key(&key) || self.last.len() >= MAX_UNMATCHED {
            return false;
        }
        self.last.insert(key.clone(), now);
        self.order.push_back((now, key));
        true
    }
}

impl Incident {
    /// Writes down what it waits for; the time since when stays where only `until` moves.
    pub(super) fn waits_for(
        &mut self,
        reason: Reason,
        by: Option<Arc<str>>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) {
        let same = self.waits.as_ref().filter(|w| w.reason == reason && w.by == by);
        let since = same.map_or(now, |w| w.since);
        self.waits = Some(Waits { reason, since, until, by });
    }
}

impl Engine {
    /// Brings what `explain` reads of an incident up to date.
    pub(super) fn list(&mut self, id: &Arc<str>, now: Timestamp, out: &mut Effects) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        if let Life::Gathering { summary, .. } = *incident.life() {
            incident.waits_for(summary.decision().1, None, self.summaries.until(summary), now);
        }
        if incident.recorded.kept {
            if incident.recorded.listed_as.take().is_some() {
                out.records.waiting.insert(Arc::clone(id));
            }
        } else if incident.waits.is_some()
            && (incident.recorded.listed_as != incident.waits || incident.recorded.joined)
        {
            incident.recorded.listed_as.clone_from(&incident.waits);
            out.records.waiting.insert(Arc::clone(id));
        }
        if !incident.recorded.joined || !(incident.recorded.kept || incident.recorded.listed_as.is_some()) {
            return;
        }
        incident.recorded.joined = false;
        let joined = |kind: &Arc<str>, namespace: &Option<Arc<str>>, name: &Arc<str>| Joined {
            incident: Arc::clone(id),
            kind: Arc::clone(kind),
            namespace: namespace.clone(),
            name: Arc::clone(name),
            at: now,
        };
        if !incident.recorded.listed {
            incident.recorded.listed = true;
            let (kind, name) = (incident.workload.kind(), incident.workload.name());
            if !kind.is_empty() {
                out.records.joined.push(joined(&Arc::from(kind), &incident.namespace, &Arc::from(name)));
            }
        }
        for member in incident.members.values_mut().filter(|m| !m.listed) {
            member.listed = true;
            let ObjectRef { kind, namespace, name, .. } = &member.object;
            out.records.joined.push(joined(kind, namespace, name));
        }
    }

    /// A problem became no incident.
    pub(super) fn unmatched(&mut self, now: Timestamp, signal: &Signal, reason: Reason, out: &mut Effects) {
        *self.counts.entry(reason).or_default() += 1;
        // Events as such are looked at only because some rule wants some of them.
        if signal.cause == Cause::Event
            || !self.refusals.is_news((object_key(&signal.object), signal.cause), now)
        {
            return;
        }
        out.records.unmatched.push(Unmatched {
            at: now,
            reason,
            cause: signal.cause,
            object: signal.object.clone(),
            workload: signal.workload.clone(),
            why: Arc::clone(&signal.message),
        });
    }
}
