//! One signal at a time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::incident::{Departed, Life, object_key};
use super::room::Place;
use super::{Effects, Engine, Incident, Member, group};
use crate::clock;
use crate::message::Reason;
use crate::rule::Rule;
use crate::signal::{Cause, Phase, Signal, World};

/// An autoscaler, a registry or a provisioner that promises again and again is believed this long.
const MAX_GRACE: Duration = Duration::from_secs(1800);

/// The same moment by the clock of this process and of the one before: each knows the API server's to a second.
const SAME_MOMENT: Duration = Duration::from_secs(2);

impl Engine {
    /// Takes one signal in and does what follows from it at once.
    pub fn signal(&mut self, now: Timestamp, signal: &Signal, world: &dyn World, out: &mut Effects) {
        *self.signals.entry(signal.cause).or_default() += 1;
        self.digest_states.saw(now);
        self.rooms.saw(now);
        match signal.phase {
            Phase::Raised | Phase::Pulse => self.raise(now, signal, world, out),
            Phase::Detail => self.detail(now, signal, world, out),
            Phase::Cleared => {
                for id in self.about(signal, true) {
                    self.clear(&id, now, signal);
                    self.evaluate(&id, now, world, out);
                }
            }
            Phase::Gone | Phase::Lost => {
                for id in self.about(signal, false) {
                    if signal.phase == Phase::Gone {
                        self.forget_object(&id, now, &object_key(&signal.object));
                    }
                    self.evaluate(&id, now, world, out);
                }
            }
            Phase::Health => {
                let of_workload =
                    self.incidents.of_workload(signal.object.namespace.clone(), &signal.workload);
                let empty = of_workload.filter(|i| i.departed.empty_since.is_some());
                for id in empty.map(|i| Arc::clone(&i.id)).collect::<Vec<_>>() {
                    self.evaluate(&id, now, world, out);
                }
            }
        }
    }

    /// The incidents that have the signal's object as a member.
    pub(super) fn about(&self, signal: &Signal, same_cause: bool) -> Vec<Arc<str>> {
        let object = object_key(&signal.object);
        let wanted = self.incidents.of_object(&object).filter(|i| !same_cause || i.cause == signal.cause);
        wanted.map(|i| Arc::clone(&i.id)).collect()
    }

    pub(super) fn raise(&mut self, now: Timestamp, signal: &Signal, world: &dyn World, out: &mut Effects) {
        let Some(rule) = self.rules.first_match(signal) else {
            self.unmatched(now, signal, Reason::NoRule, out);
            return;
        };
        let group = group::key(&rule, signal);
        if self.looking && self.was_told(signal, group) {
            return;
        }
        let known =
            self.carrier(signal).or_else(|| self.incidents.of_group(group).map(|i| Arc::clone(&i.id)));
        let id = match known {
            Some(id) => id,
            None => {
                let place = self.find_place(now, &rule, signal, world);
                if matches!(place, Place::None) {
                    self.leave_out(now, signal, &rule, out);
                    return;
                }
                let named = self.next_incident();
                if let Place::Of(other) = place {
                    self.displace(&other, &named.1, now, world, out);
                }
                let incident = Incident::new(named, now, &rule, signal, self.looking && self.first_start);
                let id = Arc::clone(&incident.id);
                self.incidents.insert(incident);
                id
            }
        };
        self.join(&id, now, signal);
        self.speak_for_the_worst(&id, &rule, signal);
        self.evaluate(&id, now, world, out);
    }

    /// Is it something that happened and is part of an incident already? Marks of what was seen may be minutes old
    /// at a restart, so it can come once more; and where its pod is gone by then, under no workload.
    fn was_told(&self, signal: &Signal, group: u128) -> bool {
        if signal.phase != Phase::Pulse || !(signal.cause.is_point() || signal.cause == Cause::OOMKilled) {
            return false;
        }
        let key = (object_key(&signal.object), signal.container.clone());
        let name = &signal.object.name;
        self.incidents.of_namespace(&signal.object.namespace).any(|incident| {
            let same = incident.cause == signal.cause
                && signal.at <= clock::after(incident.last_seen, SAME_MOMENT)
                && (signal.cause != Cause::Event || incident.signal.reason == signal.reason)
                && (incident.container.is_none() || incident.container == signal.container);
            let member = incident.members.contains_key(&key);
            same && if member { incident.group != group } else { incident.departed.left_names.contains(name) }
        })
    }

    /// Overrides may make a rule more severe for one object of an incident than for the others: it goes by
    /// what holds for the worst of them.
    fn speak_for_the_worst(&mut self, id: &Arc<str>, rule: &Rule, signal: &Signal) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        if incident.rule != rule.name || incident.overrides == rule.overrides {
            return;
        }
        let speaks = self.rules.of(&incident.rule, &incident.signal);
        if speaks.is_some_and(|speaks| speaks.severity < rule.severity) {
            *incident.signal = signal.clone();
            incident.overrides.clone_from(&rule.overrides);
        }
    }

    /// Puts the signal's object among the members.
    fn join(&mut self, id: &Arc<str>, now: Timestamp, signal: &Signal) {
        let object = object_key(&signal.object);
        let hint = self.hints.take(&object, signal.cause, now);
        if self.incidents.get(id).is_some_and(Incident::is_ended) {
            self.incidents.advance(id, Life::reopen);
            self.incidents.get_mut(id).into_iter().for_each(|incident| begin_anew(incident, signal, now));
            self.note_overrides(id);
        }
        let Some(incident) = self.incidents.get_mut(id) else { return };
        incident.last_seen = incident.last_seen.max(signal.at);
        // The first look after a restart shows what was counted before it, too.
        let before = incident.members.get(&(Arc::clone(&object), signal.container.clone()));
        let counted = self.looking
            && before.is_some_and(|member| signal.phase == Phase::Raised || signal.at <= member.last);
        let new = if counted { 0 } else { u64::from(signal.count) };
        incident.occurrences = incident.occurrences.saturating_add(new);
        incident.several_parts |= incident.signal.container != signal.container;
        explain(incident, &signal.message, signal.weight);
        if signal.exit.is_some() {
            incident.exit.clone_from(&signal.exit);
        }
        if signal.job.is_some() {
            incident.job.clone_from(&signal.job);
        }
        if let Some(image) = &signal.image {
            incident.signal.image = Some(Arc::clone(image));
        }
        if new > 0 {
            incident.times.push_back((now, signal.count));
            if incident.times.len() > 256 {
                incident.times.pop_front();
            }
        }
        let key = (Arc::clone(&object), signal.container.clone());
        let never_told = incident.notified().is_none();
        if let Some(member) = incident.members.get_mut(&key) {
            if !member.raised && never_told && !incident.cause.loops() {
                // It was well in between: what is told is how long it has been ill this time.
                member.since = signal.since.unwrap_or(signal.at).min(now);
            }
            member.raised = true;
            member.clear_since = None;
            member.unknown_since = None;
            member.last = signal.at.max(member.last);
            member.restarts = signal.restarts.or(member.restarts);
            member.node = signal.node.clone().or_else(|| member.node.take());
            member.not_before = match (signal.phase, member.not_before, signal.not_before) {
                // Each Event of a wait would begin it anew.
                (Phase::Pulse, Some(old), Some(new)) => Some(old.min(new)),
                (Phase::Pulse, ..) => None,
                (_, old, new) => new.or(old),
            };
            member.pulse &= signal.phase == Phase::Pulse;
        } else if incident.members.len() >= self.settings.max_members {
            self.refused += u64::from(incident.count_unnamed(&object));
        } else {
            let since = signal.since.unwrap_or(signal.at).min(now);
            if since < incident.since || (incident.members.is_empty() && never_told) {
                (incident.since, incident.since_at_least) = (since, signal.since_at_least);
            }
            incident.recorded.joined = true;
            incident.departed.joined(&signal.object.name);
            self.incidents.add_member(id, key, Member::of(signal, now));
        }
        let Some(incident) = self.incidents.get_mut(id) else { return };
        if let Some(hint) = hint {
            explain(incident, &hint.message, hint.weight);
            incident.occurrences = incident.occurrences.saturating_add(u64::from(hint.count));
            if let Some(member) = incident.members.get_mut(&(object, signal.container.clone())) {
                member.not_before = hint.not_before.max(member.not_before);
            }
        }
        incident.peak = incident.peak.max(incident.affected());
    }

    /// Notes which overrides hold for what began it.
    fn note_overrides(&mut self, id: &Arc<str>) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        let rule = self.rules.of(&incident.rule, &incident.signal);
        incident.overrides = rule.map(|rule| rule.overrides.clone()).unwrap_or_default();
    }

    fn detail(&mut self, now: Timestamp, signal: &Signal, world: &dyn World, out: &mut Effects) {
        let ids = self.about(signal, true);
        if ids.is_empty() {
            self.hints.remember(now, signal);
            return;
        }
        let object = object_key(&signal.object);
        for id in ids {
            if let Some(incident) = self.incidents.get_mut(&id) {
                let other_part = incident.container.is_some()
                    && signal.container.is_some()
                    && incident.container != signal.container;
                if other_part {
                    continue;
                }
                explain(incident, &signal.message, signal.weight);
                if signal.exit.as_ref().is_some_and(|exit| exit.ended_by.is_some()) {
                    incident.exit.clone_from(&signal.exit);
                }
                incident.last_seen = incident.last_seen.max(signal.at);
                incident.occurrences = incident.occurrences.saturating_add(u64::from(signal.count));
                for (_, member) in incident.members.iter_mut().filter(|((of, _), _)| *of == object) {
                    let latest = clock::after(member.since, MAX_GRACE);
                    member.not_before = signal.not_before.map(|at| at.min(latest)).max(member.not_before);
                }
            }
            self.evaluate(&id, now, world, out);
        }
    }

    fn clear(&mut self, id: &Arc<str>, now: Timestamp, signal: &Signal) {
        let object = object_key(&signal.object);
        let Some(incident) = self.incidents.get_mut(id) else { return };
        for ((of, part), member) in &mut incident.members {
            let same_part = signal.container.is_none() || part.is_none() || *part == signal.container;
            if *of == object && same_part && member.raised {
                member.raised = false;
                member.clear_since = Some(now);
            }
        }
    }

    /// The object is gone; a point in time stays what happened.
    pub(super) fn forget_object(&mut self, id: &Arc<str>, now: Timestamp, object: &Arc<str>) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        // What has happened is told although its object is gone. Only of a pod that nobody makes
        // again the removal is the end.
        let bare = incident.notified().is_some() && incident.workload.kind() == "Pod";
        let happened = incident.cause.is_point() && !bare;
        if happened || (incident.cause == Cause::OOMKilled && incident.notified().is_none()) {
            return;
        }
        let gone: Vec<_> = incident.members.keys().filter(|(of, _)| of == object).cloned().collect();
        let removed: Vec<Member> =
            gone.iter().filter_map(|key| self.incidents.remove_member(id, key)).collect();
        let Some(incident) = self.incidents.get_mut(id).filter(|_| !removed.is_empty()) else { return };
        for member in &removed {
            incident.departed.leaves(member, true);
        }
        incident.departed.left = incident.departed.left.saturating_add(1);
        if incident.members.is_empty() {
            incident.no_members(now);
        }
    }
}

fn explain(incident: &mut Incident, message: &Arc<str>, weight: u8) {
    if !message.is_empty() && (weight >= incident.weight || incident.why.is_empty()) {
        incident.why = Arc::clone(message);
        incident.weight = weight;
    }
}

/// What is known of the time before its end says nothing of the one that begins.
fn begin_anew(incident: &mut Incident, signal: &Signal, now: Timestamp) {
    incident.carried = false;
    incident.since = signal.since.unwrap_or(signal.at).min(now);
    incident.since_at_least = signal.since_at_least;
    incident.waits = None;
    incident.departed = Departed {
        empty_since: incident.departed.empty_since,
        well_since: incident.departed.well_since,
        ..Departed::default()
    };
    incident.peak = 0;
    incident.unnamed = 0;
    incident.unnamed_seen.clear();
    incident.several_parts = false;
    incident.times.clear();
    incident.log = None;
    incident.why = Arc::clone(&signal.message);
    incident.weight = signal.weight;
    *incident.signal = signal.clone();
}
