//! Several incidents in one message: what stood at a first start, and storms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Decided, Effects, Engine};
use crate::clock;
use crate::message::{Decision, IncidentView, Reason};
use crate::rule::RouteFacts;
use crate::signal::World;

/// How long the first summary of a storm gathers: long enough for what falls over together, short
/// enough for somebody who waits for it.
const GATHER: Duration = Duration::from_secs(10);

impl Engine {
    /// Has so much begun lately that one more single message would only bury the others? Counts the
    /// incident that asks.
    pub(super) fn is_storm(&mut self, now: Timestamp) -> bool {
        let from = clock::before(now, self.settings.storm_window);
        while self.recent.front().is_some_and(|at| *at < from) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        // Only whether it is more than the limit matters, not how much more.
        let limit = usize::try_from(self.settings.storm_incidents).unwrap_or(usize::MAX);
        let storm = self.recent.len() > limit;
        if storm {
            self.recent.pop_front();
        }
        storm
    }

    /// Puts an incident into the summary to come. The first one of a storm comes soon, the next ones
    /// a window apart: a storm that goes on does not become a storm of summaries.
    pub(super) fn gather_storm(&mut self, id: &Arc<str>, now: Timestamp) {
        self.storm.insert(Arc::clone(id));
        let soon = clock::after(now, GATHER);
        let apart = self.storm_told.map(|told| clock::after(told, self.settings.storm_window));
        self.storm_until.get_or_insert(apart.map_or(soon, |apart| apart.max(soon)));
    }

    /// Is it to be told by a summary that is not decided yet?
    pub(super) fn gathers(&self, id: &str) -> bool {
        self.standing.contains(id) || self.storm.contains(id)
    }

    /// It was over before the summary came.
    pub(super) fn leave_summary(
        &mut self,
        id: &Arc<str>,
        reason: Reason,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        self.standing.remove(id);
        self.storm.remove(id);
        if let Some(incident) = self.incidents.get(id).cloned() {
            self.note(&incident, now, Reason::NeverTold, Some(Arc::from(reason.as_str())), out);
        }
        self.remove(id, out);
        self.wake_held(id, false, now, world, out);
    }

    /// One summary for each set of receivers: root causes first, then the worst, then the largest. A storm
    /// of which one problem is left for a set of receivers is told as that problem.
    pub(super) fn tell_summary(
        &mut self,
        (decision, reason): (Decision, Reason),
        ids: BTreeSet<Arc<str>>,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let routes = Arc::clone(&self.routes);
        let mut by_receivers: BTreeMap<Vec<Arc<str>>, Vec<Arc<str>>> = BTreeMap::new();
        for id in ids {
            if self.withdraw(&id, now, world, out) {
                continue;
            }
            let Some(incident) = self.incidents.get_mut(&id) else { continue };
            let Some(rule) = self.rules.get(&incident.rule) else { continue };
            let facts = RouteFacts { signal: &incident.signal, rule, severity: incident.severity };
            for receiver in routes.receivers(facts) {
                if !incident.receivers.contains(&receiver) {
                    incident.receivers.push(receiver);
                }
            }
            by_receivers.entry(incident.receivers.clone()).or_default().push(id);
        }
        for (receivers, ids) in by_receivers {
            let alone = decision == Decision::Storm && ids.len() == 1;
            for id in &ids {
                let Some(incident) = self.incidents.get_mut(id) else { continue };
                let Some(rule) = self.rules.get(&incident.rule).cloned() else { continue };
                incident.kept = true;
                if alone {
                    // Messages were about it before: it was over, and came back in the storm.
                    let what = match incident.seq {
                        0 => (Decision::First, Reason::First),
                        _ => (Decision::Reopened, Reason::Flapping),
                    };
                    self.tell(id, &rule, what, now, world, out);
                } else {
                    incident.seq += 1;
                    self.mark_notified(id, &rule, now);
                }
                self.list(id, now, out);
                out.dirty.insert(Arc::clone(id));
            }
            if alone {
                continue;
            }
            let mut incidents: Vec<IncidentView> =
                ids.iter().filter_map(|id| self.view(id, now, world)).collect();
            incidents.sort_by(|a, b| {
                (b.cause.is_node(), b.severity, b.members_total, &a.namespace, &a.workload).cmp(&(
                    a.cause.is_node(),
                    a.severity,
                    a.members_total,
                    &b.namespace,
                    &b.workload,
                ))
            });
            for view in &incidents {
                self.book(&receivers, view, (decision, reason), out);
            }
            let total = u32::try_from(incidents.len()).unwrap_or(u32::MAX);
            self.identity.numbers.summaries += 1;
            *self.decisions.entry((decision, reason)).or_default() += 1;
            let seq = self.identity.numbers.summaries;
            out.decided.push(Decided {
                at: now,
                decision,
                reason,
                seq,
                number: seq,
                receivers,
                incidents,
                total,
                digest: None,
            });
        }
    }
}
