//! Several incidents in one message: what stood at a first start, and storms.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::incident::{Life, Summary};
use super::{Decided, Effects, Engine, Settings};
use crate::clock::{self, moved};
use crate::message::{Decision, IncidentView, Reason};
use crate::signal::World;

/// How long the first summary of a storm gathers: long enough for what falls over together, short
/// enough for somebody who waits for it.
const GATHER: Duration = Duration::from_secs(10);

/// When the summaries to come are due. What gathers for one is [`Life::Gathering`].
#[derive(Debug, Default)]
pub(super) struct Summaries {
    /// Until this moment standing problems gather for the one summary of a first start.
    standing_until: Option<Timestamp>,
    /// When new incidents were told or gathered, for as long as the storm window is.
    recent: VecDeque<Timestamp>,
    storm_until: Option<Timestamp>,
    /// When the summary before was told.
    storm_told: Option<Timestamp>,
}

impl Summaries {
    pub fn next(&self) -> Option<Timestamp> {
        [self.standing_until, self.storm_until].into_iter().flatten().min()
    }

    pub fn take_due(&mut self, now: Timestamp) -> Option<Summary> {
        let due = |until: &mut Timestamp| *until <= now;
        if self.standing_until.take_if(due).is_some() {
            return Some(Summary::Standing);
        }
        self.storm_until.take_if(due)?;
        self.storm_told = Some(now);
        Some(Summary::Storm)
    }

    pub const fn until(&self, summary: Summary) -> Option<Timestamp> {
        match summary {
            Summary::Standing => self.standing_until,
            Summary::Storm => self.storm_until,
        }
    }

    pub const fn gather_standing(&mut self, until: Timestamp) {
        self.standing_until = Some(until);
    }

    pub const fn gathers_standing(&self) -> bool {
        self.standing_until.is_some()
    }

    /// Has so much begun lately that one more single message would only bury the others? Counts the
    /// incident that asks.
    pub fn is_storm(&mut self, now: Timestamp, settings: &Settings) -> bool {
        let from = clock::before(now, settings.storm_window);
        while self.recent.front().is_some_and(|at| *at < from) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        // Only whether it is more than the limit matters, not how much more.
        let limit = usize::try_from(settings.storm_incidents).unwrap_or(usize::MAX);
        let storm = self.recent.len() > limit;
        if storm {
            self.recent.pop_front();
        }
        storm
    }

    /// One more is told by the summary of a storm. The first one comes soon, the next ones a window
    /// apart: a storm that goes on does not become a storm of summaries.
    pub fn gather_storm(&mut self, now: Timestamp, window: Duration) {
        let soon = clock::after(now, GATHER);
        let apart = self.storm_told.map(|told| clock::after(told, window));
        self.storm_until.get_or_insert(apart.map_or(soon, |apart| apart.max(soon)));
    }

    pub fn clock_set(&mut self, by: SignedDuration) {
        for at in self
            .recent
            .iter_mut()
            .chain(&mut self.standing_until)
            .chain(&mut self.storm_until)
            .chain(&mut self.storm_told)
        {
            *at = moved(*at, by);
        }
    }
}

/// Does it wait for this summary?
fn is_for(life: &Life, this: Summary) -> bool {
    matches!(life, Life::Gathering { summary, .. } if *summary == this)
}

impl Engine {
    /// It was over before the summary came.
    pub(super) fn leave_summary(
        &mut self,
        id: &Arc<str>,
        reason: Reason,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        self.note(id, now, Reason::NeverTold, Some(Arc::from(reason.as_str())), out);
        self.remove(id, out);
        self.wake_held(id, false, now, world, out);
    }

    /// One summary for each set of receivers: root causes first, then the worst, then the largest. A storm
    /// of which one problem is left for a set of receivers is told as that problem.
    pub(super) fn tell_summary(
        &mut self,
        summary: Summary,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let (decision, reason) = summary.decision();
        let mut ids = self.incidents.ids_by(|_| ());
        ids.retain(|id| self.incidents.get(id).is_some_and(|i| is_for(i.life(), summary)));
        let mut by_receivers: BTreeMap<Vec<Arc<str>>, Vec<Arc<str>>> = BTreeMap::new();
        for id in ids {
            if self.withdraw(&id, now, world, out) {
                continue;
            }
            let Some(incident) = self.incidents.get(&id).filter(|i| i.gathers()) else { continue };
            let Some(rule) = self.rule_of(incident) else { continue };
            self.route(&id, &rule);
            let Some(incident) = self.incidents.get(&id) else { continue };
            by_receivers.entry(incident.receivers.clone()).or_default().push(id);
        }
        for (receivers, ids) in by_receivers {
            let alone = decision == Decision::Storm && ids.len() == 1;
            for id in &ids {
                let Some(incident) = self.incidents.get_mut(id) else { continue };
                let Some(rule) = self.rules.of(&incident.rule, &incident.signal) else { continue };
                incident.recorded.kept = true;
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
                thread: Arc::from(Decided::SUMMARIES),
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
