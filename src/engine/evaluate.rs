//! What is due for one incident now, and when to look again. Calling it once more changes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::incident::End;
use super::recover::Over;
use super::{Decided, Effects, Engine};
use crate::clock;
use crate::message::{Decision, Reason};
use crate::rule::{RouteFacts, Rule};
use crate::signal::{Cause, Severity, World};

/// What is held back is looked at again after this, beside whenever its holder changes.
const HELD_AGAIN: Duration = Duration::from_secs(30);
/// What is over sooner, and was not due, leaves no trace: pods wait for a place, a volume or an image
/// at every start.
const BLINK: Duration = Duration::from_secs(10);
/// Nor does what has not lasted for this share of the rule's `for`.
const BLINK_SHARE: u32 = 4;

impl Engine {
    pub(super) fn evaluate(&mut self, id: &Arc<str>, now: Timestamp, world: &dyn World, out: &mut Effects) {
        let Some(incident) = self.incidents.get(id) else { return };
        if self.looking {
            return;
        }
        let Some(rule) = self.rules.get(&incident.rule).cloned().filter(|_| !incident.orphaned) else {
            self.without_rule(id, true, now, world, out);
            return;
        };
        if let Some(end) = incident.end.as_ref().filter(|_| !incident.reopening) {
            let forget = clock::after(end.at, rule.window);
            if now >= forget {
                self.remove(id, out);
            } else {
                self.schedule(id, Some(forget));
            }
            return;
        }
        let (recheck, how) = self.recover(id, &rule, now, world);
        let next = if self.incidents.get(id).is_some_and(super::Incident::is_open) {
            self.evaluate_open(id, &rule, how, now, world, out)
        } else {
            self.evaluate_pending(id, &rule, now, world, out)
        };
        let check = self.incidents.get(id).and_then(|incident| Self::check_at(incident, now));
        let next = [recheck, next, check].into_iter().flatten().filter(|at| *at > now).min();
        self.schedule(id, next);
        let gathers = self.gathers(id);
        if let Some(incident) = self.incidents.get_mut(id)
            && incident.to_keep()
            && !gathers
        {
            incident.kept = true;
            out.dirty.insert(Arc::clone(id));
        }
        self.list(id, now, out);
    }

    fn evaluate_pending(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<Timestamp> {
        let incident = self.incidents.get_mut(id)?;
        if incident.members.is_empty() {
            self.never_told(id, rule, now, world, out);
            return None;
        }
        let due = incident
            .raised()
            .map(|m| clock::after(m.since, rule.for_duration).max(m.not_before.unwrap_or(Timestamp::MIN)))
            .min();
        let due = if incident.hastened { due.map(|due| due.min(now)) } else { due };
        // A crash loop that is due stays so while its container runs for a moment.
        let due = due.or_else(|| incident.due_at.filter(|_| incident.cause.is_run()));
        // A kill that was held back has happened, also if its container runs again.
        let held = incident.held_by.is_some() && !incident.reopening;
        let due = due.or_else(|| (held && incident.cause == Cause::OOMKilled).then_some(now));
        let Some(due) = due else {
            incident.due_at = None;
            if let Some(waits) = &mut incident.waits {
                waits.until = None;
            }
            return None;
        };
        if now < due {
            incident.due_at = None;
            incident.waits_for(Reason::NotYetFor, None, Some(due), now);
            return Some(due);
        }
        if let Some(count) = rule.count.filter(|_| !incident.hastened) {
            let from = clock::before(now, count.within);
            while incident.times.front().is_some_and(|(at, _)| *at < from) {
                incident.times.pop_front();
            }
            let seen: u64 = incident.times.iter().map(|(_, n)| u64::from(*n)).sum();
            if seen < u64::from(count.at_least) {
                incident.due_at = None;
                incident.waits_for(Reason::BelowCount, None, None, now);
                return None;
            }
        }
        if let Some(holder) = self.holder(id, now, world) {
            let incident = self.incidents.get_mut(id)?;
            incident.due_at = None;
            if incident.held_by.as_ref() != Some(&holder) {
                incident.held_by = Some(Arc::clone(&holder));
                let incident = incident.clone();
                self.note(&incident, now, Reason::InhibitedBy, Some(Arc::clone(&holder)), out);
                let cause = incident.cause;
                self.hasten(&holder, cause);
                // What it holds back may make it more severe.
                self.evaluate(&holder, now, world, out);
            }
            return Some(clock::after(now, HELD_AGAIN));
        }
        let wait = rule.group_wait.unwrap_or(self.settings.group_wait);
        let incident = self.incidents.get_mut(id)?;
        incident.held_by = None;
        let due_at = *incident.due_at.get_or_insert(now);
        let tell_at = clock::after(due_at, wait);
        if now < tell_at {
            incident.waits_for(Reason::GroupWait, None, Some(tell_at), now);
            return Some(tell_at);
        }
        if !self.confirm(id, now, world) {
            // Nobody said so, but the state shows it no more.
            return self.evaluate_pending(id, rule, now, world, out);
        }
        let what = match self.incidents.get(id)?.reopening {
            true => Decision::Reopened,
            false => Decision::First,
        };
        if let Some(found) = self.silenced_by(id, what, now, world, out) {
            return found.until;
        }
        let incident = self.incidents.get_mut(id)?;
        let (decision, reason) = if incident.reopening {
            incident.flaps = incident.flaps.saturating_add(1);
            (Decision::Reopened, Reason::Flapping)
        } else {
            (Decision::First, Reason::First)
        };
        incident.reopening = false;
        incident.end = None;
        if incident.standing && decision == Decision::First && self.standing_until.is_some() {
            self.standing.insert(Arc::clone(id));
            self.mark_notified(id, rule, now);
            return self.incidents.get(id)?.window_ends;
        }
        if self.is_storm(now) {
            self.gather_storm(id, now);
            self.mark_notified(id, rule, now);
            return self.incidents.get(id)?.window_ends;
        }
        self.tell(id, rule, (decision, reason), now, world, out)
    }

    fn evaluate_open(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        recovered: Option<Reason>,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<Timestamp> {
        let severity = self.severity(id, rule);
        let incident = self.incidents.get_mut(id)?;
        incident.severity = incident.severity.max(severity);
        if incident.members.is_empty() {
            return match Self::over(incident, rule, now, world, recovered) {
                Over::No(at) => at,
                Over::Yes(reason) if self.gathers(id) => {
                    self.leave_summary(id, reason, now, world, out);
                    None
                }
                Over::Yes(reason) => {
                    let incident = self.incidents.get_mut(id)?;
                    incident.end = Some(End { at: now, reason });
                    let decision =
                        if reason == Reason::StateUnknown { Decision::Expired } else { Decision::Resolved };
                    self.finish(id, rule, (decision, reason), now, world, out);
                    Some(clock::after(now, rule.window))
                }
            };
        }
        if self.gathers(id) {
            return None;
        }
        let incident = self.incidents.get_mut(id)?;
        let active = incident.raised().next().is_some();
        let step = self.settings.growth_steps.iter().filter(|s| **s <= incident.affected()).count();
        let worse = incident.severity > incident.told_severity;
        if active && (step > incident.told_step || worse) {
            let wait = rule.group_wait.unwrap_or(self.settings.group_wait);
            let at = clock::after(*incident.grew_at.get_or_insert(now), wait);
            if now >= at {
                if let Some(found) = self.silenced_by(id, Decision::Grew, now, world, out) {
                    return found.until;
                }
                let reason = if worse { Reason::Escalated } else { Reason::Grew };
                return self.tell(id, rule, (Decision::Grew, reason), now, world, out);
            }
            return Some(at);
        }
        let ends = incident.window_ends.unwrap_or(now);
        let fresh = incident.occurrences > incident.told_occurrences;
        if now < ends {
            if fresh && !incident.repeats_noted {
                // Once a window: how often is counted, and told with the next message.
                incident.repeats_noted = true;
                let incident = incident.clone();
                self.note(&incident, now, Reason::WithinWindow, None, out);
            }
            return Some(ends);
        }
        let state = incident.raised().any(|m| !m.pulse && m.unknown_since.is_none());
        if !active || !(fresh || state) {
            // Recovering, or nothing new: a reminder would say what is not known to be so.
            return None;
        }
        if let Some(found) = self.silenced_by(id, Decision::Reminder, now, world, out) {
            return found.until;
        }
        let incident = self.incidents.get_mut(id)?;
        incident.reminders = incident.reminders.saturating_add(1);
        self.tell(id, rule, (Decision::Reminder, Reason::Reminder), now, world, out)
    }

    /// It ended before anybody was told: normal life.
    fn never_told(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        if incident.reopening {
            // Back to where it was: ended.
            incident.reopening = false;
            incident.waits = None;
            if let Some(end) = &mut incident.end {
                end.at = now;
            }
            return;
        }
        let incident = incident.clone();
        let quiet = incident.quiet.as_ref().map(|quiet| Arc::clone(&quiet.by));
        let due = incident.due_at.is_some() || incident.held_by.is_some() || quiet.is_some();
        let lasted = clock::between(incident.since, incident.left_at().unwrap_or(now));
        if due || lasted >= BLINK.max(rule.for_duration / BLINK_SHARE) {
            self.note(&incident, now, Reason::NeverTold, incident.held_by.clone().or(quiet), out);
        }
        self.remove(id, out);
        self.wake_held(id, false, now, world, out);
    }

    pub(super) fn tell(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        (decision, reason): (Decision, Reason),
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<Timestamp> {
        self.decide(id, rule, (decision, reason), now, world, out);
        self.mark_notified(id, rule, now);
        self.incidents.get(id)?.window_ends
    }

    /// The rule's severity, or a higher one of what it holds back on the same container: the first
    /// to fire speaks for the worst.
    fn severity(&self, id: &Arc<str>, rule: &Rule) -> Severity {
        let cause = self.incidents.get(id).map(|i| i.cause);
        let held = self
            .held_by(id)
            .filter(|other| other.cause.is_run() && cause.is_some_and(Cause::is_run))
            .map(|other| other.severity)
            .max();
        held.map_or(rule.severity, |held| held.max(rule.severity))
    }

    /// Writes down that everything known so far has been told.
    pub(super) fn mark_notified(&mut self, id: &Arc<str>, rule: &Rule, now: Timestamp) {
        let steps = self.settings.growth_steps.clone();
        let Some(incident) = self.incidents.get_mut(id) else { return };
        incident.told_at = Some(now);
        incident.quiet = None;
        incident.waits = None;
        incident.repeats_noted = false;
        incident.told_occurrences = incident.occurrences;
        incident.told_step =
            incident.told_step.max(steps.iter().filter(|s| **s <= incident.affected()).count());
        incident.told_severity = incident.severity;
        incident.grew_at = None;
        let doubled = rule.window.saturating_mul(2_u32.saturating_pow(incident.reminders.min(16)));
        incident.window_ends = Some(clock::after(now, doubled.min(rule.max_window.max(rule.window))));
    }

    fn finish(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        (decision, reason): (Decision, Reason),
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        // What has ended gives way to what begins.
        self.rooms.free();
        if rule.send_resolved {
            self.decide(id, rule, (decision, reason), now, world, out);
        } else if let Some(incident) = self.incidents.get(id).cloned() {
            self.note(&incident, now, reason, None, out);
            if let Some(view) = self.view(id, now, world) {
                self.book_silent_end(&view, reason, out);
            }
        }
        if let Some(incident) = self.incidents.get_mut(id) {
            incident.told_step = 0;
            incident.reminders = 0;
            incident.due_at = None;
        }
        self.wake_held(id, true, now, world, out);
    }

    /// What this one held back stands for itself now; what could be told as a part of it is over.
    pub(super) fn wake_held(
        &mut self,
        id: &Arc<str>,
        was_told: bool,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let mut held: Vec<Arc<str>> = self
            .incidents
            .values()
            .filter(|i| i.held_by.as_ref() == Some(id))
            .map(|i| Arc::clone(&i.id))
            .collect();
        // Decisions do not depend on the order of a hash map.
        held.sort();
        for other in held {
            if let Some(incident) =
                self.incidents.get(&other).filter(|i| was_told && i.cause.is_point()).cloned()
            {
                // A reboot, an eviction: told as a part of what held it, and over.
                self.note(&incident, now, Reason::InhibitedBy, Some(Arc::clone(id)), out);
                self.remove(&other, out);
                continue;
            }
            self.compare(&other, now, world);
            self.evaluate(&other, now, world, out);
        }
    }

    fn decide(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        (decision, reason): (Decision, Reason),
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let routes = Arc::clone(&self.routes);
        let severity = self.severity(id, rule);
        let Some(incident) = self.incidents.get_mut(id) else { return };
        // Once told it does not fall: its end must speak of what was told.
        let begins = matches!(decision, Decision::First | Decision::Reopened);
        incident.severity = if begins { severity } else { incident.severity.max(severity) };
        incident.seq += 1;
        let now_routed =
            routes.receivers(RouteFacts { signal: &incident.signal, rule, severity: incident.severity });
        // Who was told of the beginning is told of the end, whatever the routes say by now.
        for receiver in now_routed {
            if !incident.receivers.contains(&receiver) {
                incident.receivers.push(receiver);
            }
        }
        let (seq, receivers) = (incident.seq, incident.receivers.clone());
        let Some(view) = self.view(id, now, world) else { return };
        *self.decisions.entry((decision, reason)).or_default() += 1;
        self.book(&receivers, &view, (decision, reason), out);
        out.decided.push(Decided {
            at: now,
            decision,
            reason,
            seq,
            number: 0,
            receivers,
            incidents: vec![view],
            total: 1,
            digest: None,
        });
    }
}
