//! Recovery: honest, because the live state is asked before anything is called over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Engine, Incident, Member};
use crate::clock;
use crate::message::Reason;
use crate::rule::Rule;
use crate::signal::{Cause, Health, Standing, World};

/// When the live state cannot be read, it is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How often members that show a problem are compared with the live state although nothing was
/// heard: a source that fell silent cannot say that it is over.
const CHECK_AGAIN: Duration = Duration::from_secs(300);
/// A state that cannot be read for at least this long is called unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(3600);
/// `stable_for` doubles with each reopening, up to this many times.
const MAX_FLAP_DOUBLINGS: u32 = 4;

/// What recovery needs, longer after each reopening: what flaps has to prove itself.
pub(super) fn stable_for(incident: &Incident, rule: &Rule) -> Duration {
    rule.stable_for * 2_u32.pow(incident.flaps.min(MAX_FLAP_DOUBLINGS))
}

/// Does the member still show the problem? A success before the last failure is none.
fn ask(world: &dyn World, member: &Member, cause: Cause) -> Standing {
    match world.standing(&member.object, member.part.as_deref(), cause) {
        Standing::Clear(Some(good)) if cause == Cause::JobFailed && good <= member.last => Standing::Raised,
        standing => standing,
    }
}

/// Keeps the time since when a member's state cannot be read. True when that is too long.
fn lost(member: &mut Member, standing: Standing, rule: &Rule, now: Timestamp) -> bool {
    if standing != Standing::Unknown {
        member.unknown_since = None;
        return false;
    }
    let since = *member.unknown_since.get_or_insert(now);
    clock::between(since, now) >= UNKNOWN_FOR.max(rule.resolve_after)
}

impl Engine {
    /// Removes members that have recovered. Returns when to look again, and how the last ones left.
    pub(super) fn recover(
        &mut self,
        id: &Arc<str>,
        rule: &Rule,
        now: Timestamp,
        world: &dyn World,
    ) -> (Option<Timestamp>, Option<Reason>) {
        let Some(incident) = self.incidents.get_mut(id) else { return (None, None) };
        let need = match incident.cause {
            // A Job's verdict is final: the success of the next run needs no time to prove stable.
            Cause::JobFailed => Duration::ZERO,
            _ => stable_for(incident, rule),
        };
        let mut next: Option<Timestamp> = None;
        let mut reason = None;
        let mut wake = |at: Timestamp| next = Some(next.map_or(at, |n| n.min(at)));
        let mut recovered = Vec::new();
        let mut gone = Vec::new();
        let mut unknown = Vec::new();
        let cause = incident.cause;
        let open = incident.is_open();
        // What has happened is told, however long ago: kubeherald may not have been there.
        let owed = !open
            && incident.held_by().is_none()
            && incident.quiet.is_none()
            && rule.count.is_none()
            && (cause.is_point() || cause == Cause::OOMKilled);
        let check_at = clock::after(*incident.checked_at.get_or_insert(now), CHECK_AGAIN);
        let check = open && now >= check_at;
        if check {
            incident.checked_at = Some(now);
        }
        let workload_ill =
            || world.health(incident.namespace.as_deref(), &incident.workload) == Health::Unhealthy;
        for (key, member) in &mut incident.members {
            if check && member.raised && !(cause.is_point() || cause == Cause::OOMKilled) {
                let standing = ask(world, member, cause);
                if lost(member, standing, rule, now) {
                    unknown.push(key.clone());
                    continue;
                }
                if let Standing::Clear(_) | Standing::Gone = standing {
                    member.raised = false;
                }
            }
            if member.raised && member.pulse {
                let quiet_at = clock::after(member.last, rule.resolve_after);
                if now < quiet_at || owed {
                    wake(quiet_at.max(clock::after(now, ASK_AGAIN)));
                    continue;
                }
                let standing = if cause.is_point() {
                    // Whether the pods live is the workload's matter.
                    if cause != Cause::Rebooted && cause != Cause::Event && workload_ill() {
                        Standing::Raised
                    } else {
                        Standing::Clear(None)
                    }
                } else {
                    ask(world, member, cause)
                };
                if lost(member, standing, rule, now) {
                    unknown.push(key.clone());
                    continue;
                }
                match standing {
                    Standing::Clear(_) => {
                        reason = Some(Reason::Quiet);
                        recovered.push(key.clone());
                    }
                    Standing::Gone => gone.push(Arc::clone(&key.0)),
                    Standing::Raised | Standing::Unknown => {
                        // Nobody repeats a Multi-Attach error: silence alone ends nothing.
                        let again = clock::after(now, ASK_AGAIN.max(rule.resolve_after / 4));
                        member.last = clock::before(again, rule.resolve_after);
                        wake(again);
                    }
                }
                continue;
            }
            if member.raised {
                continue;
            }
            let since = member.clear_since.unwrap_or(now);
            member.clear_since = Some(since);
            let stable_at = clock::after(since, need);
            if now < stable_at {
                wake(stable_at);
                continue;
            }
            let standing = ask(world, member, cause);
            if lost(member, standing, rule, now) {
                unknown.push(key.clone());
                continue;
            }
            match standing {
                Standing::Clear(live) => {
                    // A run that began after the state was called clear starts the clock anew.
                    let live_at = live.map_or(stable_at, |live| clock::after(live, need));
                    if cause.is_run() && live_at > now {
                        member.clear_since = live;
                        wake(live_at);
                    } else {
                        reason = Some(Reason::Recovered);
                        recovered.push(key.clone());
                    }
                }
                Standing::Gone => gone.push(Arc::clone(&key.0)),
                Standing::Raised => {
                    member.raised = true;
                    member.clear_since = None;
                }
                Standing::Unknown => {
                    let again = clock::after(now, ASK_AGAIN);
                    member.clear_since = Some(clock::before(again, need));
                    wake(again);
                }
            }
        }
        if !unknown.is_empty() {
            reason = Some(Reason::StateUnknown);
            recovered.append(&mut unknown);
        }
        for key in recovered {
            let Some(member) = self.incidents.remove_member(id, &key) else { continue };
            let Some(incident) = self.incidents.get_mut(id) else { break };
            // It was over when the state became clear, not when that had proved stable.
            incident.departed.over_at =
                incident.departed.over_at.max(member.clear_since.or(Some(member.last)));
            incident.departed.leaves(&member, false);
            if incident.members.is_empty() {
                incident.no_members(now);
            }
        }
        for object in gone {
            self.forget_object(id, now, &object);
        }
        (next, reason)
    }

    /// When the members of an incident that was told are to be compared with the live state again.
    pub(super) fn check_at(incident: &Incident, now: Timestamp) -> Option<Timestamp> {
        let raised = incident.is_open() && incident.raised().next().is_some();
        raised.then(|| clock::after(incident.checked_at.unwrap_or(now), CHECK_AGAIN))
    }

    /// What an incident without members is over by: how its workload is.
    pub(super) fn watch_workload(&mut self, id: &str, now: Timestamp, world: &dyn World) -> Health {
        let Some(incident) = self.incidents.get_mut(id) else { return Health::Unknown };
        let departed = &mut incident.departed;
        // That it is gone is all that is waited for of what is stuck in termination.
        if !incident.members.is_empty() || departed.left == 0 || incident.cause == Cause::StuckTerminating {
            return Health::Unknown;
        }
        let health = world.health(incident.namespace.as_deref(), &incident.workload);
        match health {
            Health::Unhealthy => departed.well_since = None,
            Health::Healthy => departed.over_at = Some(*departed.well_since.get_or_insert(now)),
            Health::Absent | Health::Unknown => {}
        }
        health
    }

    /// Before something is told: do the members known from a state still show it? False if that
    /// changed any of them.
    pub(super) fn confirm(&mut self, id: &Arc<str>, now: Timestamp, world: &dyn World) -> bool {
        let Some(incident) = self.incidents.get_mut(id) else { return true };
        if incident.cause.is_point() || incident.cause.is_run() {
            return true;
        }
        let cause = incident.cause;
        let mut same = true;
        for member in incident.members.values_mut().filter(|m| m.raised) {
            let standing = ask(world, member, cause);
            if let Standing::Clear(_) | Standing::Gone = standing {
                member.raised = false;
                member.clear_since = Some(now);
                same = false;
            }
        }
        same
    }

    /// After a restart, or when what held it back is over: what is known of each member is compared with the live
    /// state.
    pub(super) fn compare(&mut self, id: &Arc<str>, now: Timestamp, world: &dyn World) {
        let Some(incident) = self.incidents.get_mut(id) else { return };
        // A kill that nobody was told of is news, although its container runs again.
        let news = incident.cause == Cause::OOMKilled && incident.notified().is_none();
        if incident.life().end().is_some() || incident.cause.is_point() || news {
            return;
        }
        let cause = incident.cause;
        let mut gone = Vec::new();
        for (key, member) in &mut incident.members {
            match ask(world, member, cause) {
                Standing::Raised => {
                    member.raised = true;
                    member.clear_since = None;
                }
                Standing::Clear(since) if member.raised => {
                    member.raised = false;
                    member.clear_since = Some(since.unwrap_or(now).max(member.last).min(now));
                }
                Standing::Gone => gone.push(Arc::clone(&key.0)),
                Standing::Clear(_) | Standing::Unknown => {}
            }
        }
        for object in gone {
            self.forget_object(id, now, &object);
        }
    }
}
