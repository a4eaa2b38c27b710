//! Does what is due for one incident now, and says when to look again. Calling it once more changes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::incident::{End, Life, Notified, Summary};
use super::judge::{Context, Verdict, judge, steps_passed, window_ends};
use super::{Decided, Effects, Engine};
use crate::clock;
use crate::message::{Decision, Reason};
use crate::rule::{RouteFacts, Rule};
use crate::signal::{Cause, Health, Severity, World};

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
        let Some(rule) = self.rule_of(incident).filter(|_| !incident.orphaned) else {
            self.without_rule(id, true, now, world, out);
            return;
        };
        if let Life::Ended { end, .. } = incident.life() {
            let forget = clock::after(end.at, rule.window);
            if now >= forget {
                self.remove(id, out);
            } else {
                self.incidents.schedule(id, Some(forget));
            }
            return;
        }
        let (recheck, recovered) = self.recover(id, &rule, now, world);
        let next = self.judge_and_apply(id, &rule, recovered, now, world, out);
        let check = self.incidents.get(id).and_then(|incident| Self::check_at(incident, now));
        let next = [recheck, next, check].into_iter().flatten().filter(|at| *at > now).min();
        self.incidents.schedule(id, next);
        if let Some(incident) = self.incidents.get_mut(id).filter(|i| i.to_keep() && !i.gathers()) {
            incident.recorded.kept = true;
            out.dirty.insert(Arc::clone(id));
        }
        self.list(id, now, out);
    }

    fn judge_and_apply(
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
        let mut health = Health::Unknown;
        if incident.is_open() {
            incident.severity = incident.severity.max(severity);
            health = self.watch_workload(id, now, world);
        }
        let holder = || self.holder(id, now, world);
        let context = Context { now, settings: &self.settings, world, holder: &holder, recovered, health };
        let verdict = judge(self.incidents.get(id)?, rule, &context);
        self.apply(id, rule, verdict, now, world, out)
    }

    /// Does what was judged to be due. Returns when to look again.
    fn apply(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        verdict: Verdict,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<Timestamp> {
        match verdict {
            Verdict::Gather { due_at, .. } | Verdict::Begin { due_at } => {
                self.incidents.set_holder(id, None);
                self.set_due(id, Some(due_at));
            }
            Verdict::Calm | Verdict::NotYet { .. } | Verdict::Unseen(_) | Verdict::Held(_) => {
                self.set_due(id, None);
            }
            _ => {}
        }
        let incident = self.incidents.get_mut(id)?;
        match verdict {
            Verdict::Wait(until) => return until,
            Verdict::Calm => incident.waits.iter_mut().for_each(|waits| waits.until = None),
            Verdict::Gone => return self.never_told(id, rule, now, world, out),
            Verdict::NotYet { reason, until } => {
                incident.waits_for(reason, None, until, now);
                return until;
            }
            Verdict::Unseen(kind) => incident.waits_for(Reason::StateUnknown, Some(kind), None, now),
            Verdict::Held(holder) => {
                self.hold(id, &holder, now, world, out);
                return Some(clock::after(now, HELD_AGAIN));
            }
            Verdict::Gather { until, .. } => {
                incident.waits_for(Reason::GroupWait, None, Some(until), now);
                return Some(until);
            }
            Verdict::Begin { .. } => return self.begin(id, rule, now, world, out),
            Verdict::Growing { until } => {
                incident.life_mut().notified_mut()?.grew_at.get_or_insert(now);
                return Some(until);
            }
            Verdict::Repeats { window_ends } => {
                // Once a window: how often is counted, and told with the next message.
                incident.life_mut().notified_mut()?.repeats_noted = true;
                self.note(id, now, Reason::WithinWindow, None, out);
                return Some(window_ends);
            }
            Verdict::Tell(decision, reason) => {
                return self.tell_more(id, rule, (decision, reason), now, world, out);
            }
            Verdict::Over(reason) if incident.gathers() => self.leave_summary(id, reason, now, world, out),
            Verdict::Over(reason) => {
                self.end(id, rule, reason, now, world, out);
                return Some(clock::after(now, rule.window));
            }
        }
        None
    }

    /// Since when what waits is due; `None`: it is not, or something else speaks for it.
    fn set_due(&mut self, id: &str, due_at: Option<Timestamp>) {
        let pending = self.incidents.get_mut(id).and_then(|incident| incident.life_mut().pending_mut());
        if let Some(pending) = pending {
            pending.due_at = due_at;
        }
    }

    fn hold(
        &mut self,
        id: &Arc<str>,
        holder: &Arc<str>,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let Some(incident) = self.incidents.get(id).filter(|i| i.held_by() != Some(holder)) else { return };
        let cause = incident.cause;
        self.incidents.set_holder(id, Some(Arc::clone(holder)));
        self.note(id, now, Reason::InhibitedBy, Some(Arc::clone(holder)), out);
        self.hasten(holder, cause);
        // What it holds back may make it more severe.
        self.evaluate(holder, now, world, out);
    }

    /// Notifies of a beginning, or gathers it for a summary.
    fn begin(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<Timestamp> {
        if !self.confirm(id, now, world) {
            // Nobody said so, but the state shows it no more.
            return self.judge_and_apply(id, rule, None, now, world, out);
        }
        let again = self.incidents.get(id)?.notified().is_some();
        let (decision, reason) = match again {
            true => (Decision::Reopened, Reason::Flapping),
            false => (Decision::First, Reason::First),
        };
        if let Some(found) = self.silenced_by(id, decision, now, world, out) {
            return found.until;
        }
        let incident = self.incidents.get_mut(id)?;
        incident.flaps = incident.flaps.saturating_add(u32::from(again));
        let summary = if incident.standing && !again && self.summaries.gathers_standing() {
            Summary::Standing
        } else if self.summaries.is_storm(now, &self.settings) {
            self.summaries.gather_storm(now, self.settings.storm_window);
            Summary::Storm
        } else {
            return self.tell(id, rule, (decision, reason), now, world, out);
        };
        let notified = self.told_all(id, rule, now)?;
        let window_ends = notified.window_ends;
        self.incidents.advance(id, |life| life.gather(summary, notified));
        window_ends
    }

    /// Tells those who were notified of growth, or reminds them.
    fn tell_more(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        (decision, reason): (Decision, Reason),
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<Timestamp> {
        if decision == Decision::Grew {
            self.incidents.get_mut(id)?.life_mut().notified_mut()?.grew_at.get_or_insert(now);
        }
        if let Some(found) = self.silenced_by(id, decision, now, world, out) {
            return found.until;
        }
        if decision == Decision::Reminder {
            let notified = self.incidents.get_mut(id)?.life_mut().notified_mut()?;
            notified.reminders = notified.reminders.saturating_add(1);
        }
        self.tell(id, rule, (decision, reason), now, world, out)
    }

    /// It ended before anybody was told: normal life.
    fn never_told(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) -> Option<Timestamp> {
        let incident = self.incidents.get_mut(id)?;
        if let Some(end) = incident.life().end().cloned() {
            // Back to where it was: ended.
            incident.waits = None;
            self.incidents.advance(id, |life| life.end_with(End { at: now, ..end }));
            return Some(clock::after(now, rule.window));
        }
        let quiet = incident.quiet.as_ref().map(|quiet| Arc::clone(&quiet.by));
        let by = incident.held_by().cloned();
        let due = incident.life().due_at().is_some() || by.is_some() || quiet.is_some();
        let lasted = clock::between(incident.since, incident.left_at().unwrap_or(now));
        if due || lasted >= BLINK.max(rule.for_duration / BLINK_SHARE) {
            self.note(id, now, Reason::NeverTold, by.or(quiet), out);
        }
        self.remove(id, out);
        self.wake_held(id, false, now, world, out);
        None
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
        self.incidents.get(id)?.notified()?.window_ends
    }

    /// The rule's severity, or a higher one of what it holds back on the same container: the first
    /// to fire speaks for the worst.
    fn severity(&self, id: &Arc<str>, rule: &Rule) -> Severity {
        let cause = self.incidents.get(id).map(|i| i.cause);
        let held = self
            .incidents
            .held_by(id)
            .filter(|other| other.cause.is_run() && cause.is_some_and(Cause::is_run))
            .map(|other| other.severity)
            .max();
        held.map_or(rule.severity, |held| held.max(rule.severity))
    }

    /// Everything known so far has been told.
    pub(super) fn mark_notified(&mut self, id: &Arc<str>, rule: &Rule, now: Timestamp) {
        if let Some(notified) = self.told_all(id, rule, now) {
            self.incidents.advance(id, |_| Life::Notified(notified));
        }
    }

    fn told_all(&mut self, id: &str, rule: &Rule, now: Timestamp) -> Option<Notified> {
        let incident = self.incidents.get_mut(id)?;
        (incident.quiet, incident.waits) = (None, None);
        let before = incident.notified();
        let reminders = before.map_or(0, |before| before.reminders);
        Some(Notified {
            at: now,
            occurrences: incident.occurrences,
            step: before.map_or(0, |before| before.step).max(steps_passed(&self.settings, incident)),
            severity: incident.severity,
            window_ends: Some(window_ends(now, reminders, rule)),
            reminders,
            grew_at: None,
            repeats_noted: false,
            due_at: incident.life().due_at(),
        })
    }

    fn end(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        reason: Reason,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        self.incidents.advance(id, |life| life.end_with(End { at: now, reason }));
        // What has ended gives way to what begins.
        self.rooms.free();
        if rule.send_resolved {
            let decision =
                if reason == Reason::StateUnknown { Decision::Expired } else { Decision::Resolved };
            self.decide(id, rule, (decision, reason), now, world, out);
        } else {
            self.note(id, now, reason, None, out);
            if let Some(view) = self.view(id, now, world) {
                self.count_silent_end_in_digests(&view, reason, out);
            }
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
        let held: Vec<Arc<str>> = self.incidents.held_by(id).map(|i| Arc::clone(&i.id)).collect();
        for other in held {
            if was_told && self.incidents.get(&other).is_some_and(|i| i.cause.is_point()) {
                // A reboot, an eviction: told as a part of what held it, and over.
                self.note(&other, now, Reason::InhibitedBy, Some(Arc::clone(id)), out);
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
        let severity = self.severity(id, rule);
        let Some(incident) = self.incidents.get_mut(id) else { return };
        // Once told it does not fall: its end must speak of what was told.
        let begins = matches!(decision, Decision::First | Decision::Reopened);
        incident.severity = if begins { severity } else { incident.severity.max(severity) };
        self.route(id, rule);
        self.hand_out(id, (decision, reason), now, world, out);
    }

    /// Who was told of the beginning is told of the end, whatever the routes say by now.
    pub(super) fn route(&mut self, id: &str, rule: &Rule) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        let facts = RouteFacts { signal: &incident.signal, rule, severity: incident.severity };
        for receiver in self.routes.receivers(facts) {
            if !incident.receivers.contains(&receiver) {
                incident.receivers.push(receiver);
            }
        }
    }

    /// The next message about one incident, to all of its receivers.
    pub(super) fn hand_out(
        &mut self,
        id: &Arc<str>,
        (decision, reason): (Decision, Reason),
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        incident.seq += 1;
        let (seq, receivers) = (incident.seq, incident.receivers.clone());
        let Some(view) = self.view(id, now, world) else { return };
        *self.decisions.entry((decision, reason)).or_default() += 1;
        self.book(&receivers, &view, (decision, reason), out);
        out.decided.push(Decided {
            at: now,
            decision,
            reason,
            thread: Arc::clone(id),
            seq,
            number: 0,
            receivers,
            incidents: vec![view],
            total: 1,
            digest: None,
        });
    }
}
