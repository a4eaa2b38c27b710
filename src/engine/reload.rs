//! New rules, routes and settings while incidents stand.
//!
//! What was told stays told: an incident goes on under the rule that now matches what it is about,
//! with its window, its counts and its receivers. Where no rule does any more, its end is told to
//! whoever was told of its beginning. What no rule matched before and one does now is found by the
//! caller, who shows the engine everything that stands ([`Engine::stands`]).

use std::sync::Arc;

use jiff::Timestamp;

use super::incident::{End, object_key};
use super::judge::window_ends;
use super::{Effects, Engine, Incident, Settings, by_due, group};
use crate::message::{Decision, Reason};
use crate::rule::{Routes, Rule, RuleSet};
use crate::signal::redact::Redactor;
use crate::signal::{Signal, World};

impl Engine {
    /// Replaces rules, routes and settings; incidents and their windows stay. `receivers`: who can
    /// be told from now on.
    pub fn reload(
        &mut self,
        now: Timestamp,
        (settings, rules, routes): (Settings, RuleSet, Routes),
        receivers: &[Arc<str>],
        world: &dyn World,
        out: &mut Effects,
    ) {
        let old_steps = std::mem::replace(&mut self.settings, settings).growth_steps;
        let old_rules = std::mem::replace(&mut self.rules, rules);
        self.routes = routes;
        self.only_receivers(receivers);
        self.silences.configure(Arc::clone(&self.settings.silences));
        self.change_digests();
        self.rooms.free();
        // What was told keeps its place.
        for id in &self.incidents.ids_by(|i| (by_due(i.notified().map(|told| told.at)), i.since)) {
            let Some(incident) = self.incidents.get(id) else { continue };
            let old = old_rules.of(&incident.rule, &incident.signal);
            self.settle_under_rules(id, out);
            self.adjust(id, old.as_deref(), &old_steps);
        }
        for id in self.incidents.ids_by(|i| by_due(i.life().due_at())) {
            let was_silent =
                |i: &Incident| old_rules.of(&i.rule, &i.signal).is_some_and(|rule| !rule.send_resolved);
            match self.incidents.get(&id).filter(|i| i.orphaned).map(was_silent) {
                Some(was_silent) => self.without_rule(&id, !was_silent, now, world, out),
                None => self.evaluate(&id, now, world, out),
            }
        }
    }

    /// Takes receivers out that can no longer be told: nobody would ever send it.
    pub fn only_receivers(&mut self, known: &[Arc<str>]) {
        self.reachable = known.to_vec();
        for incident in self.incidents.iter_mut() {
            // A last digest, where one is owed, has to know what it is about.
            incident
                .receivers
                .retain(|name| known.contains(name) || self.digest_states.all.contains_key(name));
        }
    }

    /// Masks kept text with new patterns.
    pub fn redact(&mut self, redactor: &Redactor, out: &mut Effects) {
        for incident in self.incidents.iter_mut() {
            redactor.signal(&mut incident.signal);
            redactor.kept(&mut incident.why);
            if let Some(exit) = &mut incident.exit {
                redactor.exit(exit);
            }
            if let Some(log) = &mut incident.log {
                redactor.kept(&mut log.text);
            }
            if incident.recorded.kept {
                out.dirty.insert(Arc::clone(&incident.id));
            }
        }
        self.hints.redact(redactor);
    }

    /// A state that stands, shown again after a reload: told only where no incident has it yet.
    pub fn stands(&mut self, now: Timestamp, signal: &Signal, world: &dyn World, out: &mut Effects) {
        let key = (object_key(&signal.object), signal.container.clone());
        let known = self
            .about(signal, true)
            .iter()
            .any(|id| self.incidents.get(id).is_some_and(|incident| incident.members.contains_key(&key)));
        // Past the cap on members an object is only counted.
        let group = self.rules.first_match(signal).map(|rule| group::key(&rule, signal));
        let counted = group.and_then(|group| self.incidents.of_group(group));
        let known = known || counted.is_some_and(|incident| incident.unnamed_seen.contains(&key.0));
        if !known {
            self.raise(now, signal, world, out);
        }
    }

    /// The incident that has this problem since before the rules were changed, whatever group it
    /// would be in now.
    pub(super) fn carrier(&self, signal: &Signal) -> Option<Arc<str>> {
        if !self.carries {
            return None;
        }
        let key = (object_key(&signal.object), signal.container.clone());
        self.about(signal, true).into_iter().find(|id| {
            self.incidents.get(id).is_some_and(|i| i.carried && i.is_open() && i.members.contains_key(&key))
        })
    }

    /// Puts an incident under the rule that speaks for it now, and into the group it is in now.
    pub(super) fn settle_under_rules(&mut self, id: &Arc<str>, out: &mut Effects) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        let rule = self.rules.first_match(&incident.signal);
        incident.orphaned = rule.is_none();
        let Some(rule) = rule else { return };
        let group = group::key(&rule, &incident.signal);
        // From here on its members stay with it: each of them was told.
        incident.carried = incident.is_open();
        self.carries |= incident.carried;
        let kept = incident.recorded.kept;
        if incident.overrides != rule.overrides {
            incident.overrides.clone_from(&rule.overrides);
            if kept {
                out.dirty.insert(Arc::clone(id));
            }
        }
        if incident.group == group && incident.rule == rule.name {
            return;
        }
        incident.rule = Arc::clone(&rule.name);
        incident.container = incident.container.take().filter(|_| grouped_by_container(&rule));
        if kept {
            out.dirty.insert(Arc::clone(id));
        }
        // Told ones come first: what is not told yet joins them.
        if let Some(other) = self.incidents.regroup(id, group) {
            let untold = |i: &Incident| i.notified().is_none();
            if !self.looking && self.incidents.get(id).is_some_and(untold) {
                self.merge(id, &other, out);
            }
        }
    }

    /// Puts the members of an incident that nobody was told of into another one.
    fn merge(&mut self, from: &Arc<str>, into: &Arc<str>, out: &mut Effects) {
        let Some(left) = self.remove(from, out) else { return };
        for (key, member) in left.members {
            self.incidents.add_member(into, key, member);
        }
        let Some(incident) = self.incidents.get_mut(into) else { return };
        incident.several_parts |= incident.signal.container != left.signal.container;
        incident.unnamed = incident.unnamed.saturating_add(left.unnamed);
        incident.occurrences = incident.occurrences.saturating_add(left.occurrences);
        incident.last_seen = incident.last_seen.max(left.last_seen);
        if incident.notified().is_none() && left.since < incident.since {
            (incident.since, incident.since_at_least) = (left.since, left.since_at_least);
        }
        incident.departed.empty_since = None;
        incident.peak = incident.peak.max(incident.affected());
        if incident.recorded.kept {
            out.dirty.insert(Arc::clone(into));
        }
    }

    /// What was computed from the old rule and settings is computed anew.
    fn adjust(&mut self, id: &Arc<str>, old: Option<&Rule>, old_steps: &[u32]) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        let Some(rule) = self.rules.of(&incident.rule, &incident.signal) else { return };
        let (severity, affected) = (incident.severity, incident.affected());
        // Less severe is no news; more severe is, and is told.
        incident.severity = match old.filter(|_| incident.notified().is_some()) {
            Some(old) if old.severity == rule.severity => severity,
            _ => rule.severity,
        };
        let Some(notified) = incident.life_mut().notified_mut() else { return };
        let changed = old.is_none_or(|old| (old.window, old.max_window) != (rule.window, rule.max_window));
        if changed {
            notified.window_ends = Some(window_ends(notified.at, notified.reminders, &rule));
        }
        let steps = &self.settings.growth_steps;
        if steps != old_steps {
            let passed = |steps: &[u32], size: u32| steps.iter().filter(|step| **step <= size).count();
            let told = if passed(old_steps, affected) > notified.step {
                // It has grown since it was told, and that is still to be told.
                notified.step.checked_sub(1).and_then(|n| old_steps.get(n)).copied().unwrap_or(0)
            } else {
                affected
            };
            notified.step = passed(steps, told);
            notified.grew_at = None;
        }
    }

    /// Nobody is left to say more about it. Whoever was told of its beginning is told so.
    pub(super) fn without_rule(
        &mut self,
        id: &Arc<str>,
        tell: bool,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let Some(incident) = self.incidents.get(id) else { return };
        if incident.life().end().is_some() {
            self.remove(id, out);
            return;
        }
        if incident.gathers() {
            self.leave_summary(id, Reason::RuleRemoved, now, world, out);
            return;
        }
        self.give_up(id, (Reason::RuleRemoved, None), tell, now, world, out);
    }

    /// It is not followed any more. Whoever was told of its beginning is told so; `by`: what it gave way to.
    pub(super) fn give_up(
        &mut self,
        id: &Arc<str>,
        (reason, by): (Reason, Option<Arc<str>>),
        tell: bool,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        let open = incident.is_open() && !incident.gathers();
        if open && tell && !incident.receivers.is_empty() {
            incident.departed.over_at = Some(now);
            self.incidents.advance(id, |life| life.end_with(End { at: now, reason }));
            self.hand_out(id, (Decision::Expired, reason), now, world, out);
        } else {
            self.note(id, now, reason, by, out);
        }
        self.remove(id, out);
        self.wake_held(id, open, now, world, out);
    }
}

fn grouped_by_container(rule: &Rule) -> bool {
    rule.group_by.contains(&crate::rule::GroupBy::Container)
}
