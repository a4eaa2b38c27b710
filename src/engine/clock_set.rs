//! The clock was set: deadlines are moved, so that what remains until them stays.
//!
//! Times of what has happened are shown to people and came from the cluster's clocks as often as from
//! this one: they stay, unless they would be to come. Where a deadline follows from such a time (`for`
//! from `since`, quiet from the last Event), the deadline gets a lower bound of its own.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Effects, Engine, Incident, Member};
use crate::clock::{self, moved, past};
use crate::rule::Rule;
use crate::signal::World;

impl Engine {
    /// The clock was set by `by` and shows `now`. To be called before anything else at the new time.
    pub fn clock_set(&mut self, by: SignedDuration, now: Timestamp, world: &dyn World, out: &mut Effects) {
        let ids = self.incidents.ids_by(|_| ());
        for id in &ids {
            let Some(incident) = self.incidents.get_mut(id) else { continue };
            let rule = self.rules.of(&incident.rule, &incident.signal);
            set(incident, rule.as_deref(), by, now);
            if incident.recorded.kept {
                out.dirty.insert(Arc::clone(id));
            }
            let timer = self.incidents.timer(id).map(|at| moved(at, by));
            self.incidents.schedule(id, timer);
        }
        self.hints.clock_set(by);
        self.summaries.clock_set(by);
        self.digest_states.clock_set(by, now);
        self.rooms.clock_set(by, now);
        self.annotations.clock_set(by, now, out);
        for id in &ids {
            self.evaluate(id, now, world, out);
        }
    }
}

fn set(incident: &mut Incident, rule: Option<&Rule>, by: SignedDuration, now: Timestamp) {
    let before = moved(now, -by);
    incident.life_mut().clock_set(by, now);
    incident.departed.clock_set(by, now);
    incident.checked_at = incident.checked_at.map(|at| moved(at, by));
    for at in [&mut incident.since, &mut incident.last_seen] {
        *at = past(*at, by, now);
    }
    if let Some(waits) = &mut incident.waits {
        waits.since = past(waits.since, by, now);
        waits.until = waits.until.map(|at| moved(at, by));
    }
    for (at, _) in &mut incident.times {
        *at = moved(*at, by);
    }
    let waits = !incident.is_open();
    for member in incident.members.values_mut() {
        set_member(member, rule.filter(|_| waits), by, (before, now));
    }
}

fn set_member(
    member: &mut Member,
    waits: Option<&Rule>,
    by: SignedDuration,
    (before, now): (Timestamp, Timestamp),
) {
    let due = waits.map(|rule| clock::after(member.since, rule.for_duration)).filter(|due| *due > before);
    member.since = past(member.since, by, now);
    // Suppression counts from here.
    member.last = if member.pulse { moved(member.last, by) } else { past(member.last, by, now) };
    for at in [&mut member.clear_since, &mut member.unknown_since, &mut member.not_before] {
        *at = at.map(|at| moved(at, by));
    }
    if !by.is_negative() {
        member.not_before = member.not_before.max(due.map(|due| moved(due, by)));
    }
}
