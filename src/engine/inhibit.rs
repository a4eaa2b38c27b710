//! One incident's reason to hold another back.
//!
//! Built in: a lost node explains what happens on it and to its pods; one container is one story;
//! what keeps a pod from starting is told once; a rollout hangs because of something.

use std::sync::Arc;
use std::time::Duration;

use super::{Engine, Incident, Member};
use jiff::Timestamp;

use crate::clock;
use crate::signal::{Cause, World};

/// A node is called lost up to a minute after its pods began to suffer: the node controller waits
/// `node-monitor-grace-period` (50 s).
const NODE_GRACE: Duration = Duration::from_secs(90);

/// What goes on is told by an Event at least this often.
const EVENTS_COME: Duration = Duration::from_secs(600);

impl Engine {
    /// The incident that holds this one back, if any.
    pub(super) fn holder(&self, id: &Arc<str>, now: Timestamp, world: &dyn World) -> Option<Arc<str>> {
        let incident = self.incidents.get(id)?;
        let found = self.node_holder(incident, world).or_else(|| self.story_holder(incident, now, world))?;
        // What is held back itself says nothing: the one that holds it counts both.
        let above = self.incidents.get(&found).and_then(|other| other.held_by().cloned());
        Some(above.filter(|above| above != id && self.incidents.get(above).is_some()).unwrap_or(found))
    }

    /// Incidents about `node` that are not over.
    fn about_node(&self, node: &str) -> impl Iterator<Item = &Incident> {
        self.incidents.of_node(node).filter(|other| other.life().end().is_none())
    }

    fn lost_node(&self, node: &str, member: &Member) -> Option<&Incident> {
        self.about_node(node).find(|other| {
            other.cause == Cause::NodeNotReady && member.since >= clock::before(other.since, NODE_GRACE)
        })
    }

    fn node_holder(&self, incident: &Incident, world: &dyn World) -> Option<Arc<str>> {
        if incident.cause == Cause::NodeNotReady {
            return None;
        }
        if incident.cause == Cause::Evicted
            && let Some(node) = incident.raised().find_map(|m| m.node.as_deref())
            && (incident.why.contains("low on resource") || incident.why.contains("node had condition"))
            && let Some(holder) = self.about_node(node).find(|o| o.cause == Cause::NodePressure)
        {
            return Some(Arc::clone(&holder.id));
        }
        let mut holder = None;
        let mut any = false;
        for member in incident.raised() {
            any = true;
            let found = match &member.node {
                // A volume is held back from the new node for the sake of the old one.
                Some(node) if incident.cause == Cause::FailedAttachVolume => {
                    self.lost_node(node, member).or_else(|| self.lost_home(incident, member, world))
                }
                Some(node) => self.lost_node(node, member),
                None => self.lost_home(incident, member, world),
            };
            holder = Some(found?);
        }
        holder.filter(|_| any).map(|o| Arc::clone(&o.id))
    }

    /// What has no node of its own suffers with the node its workload lives on: a replacement that
    /// finds no place, a rollout that cannot go on.
    fn lost_home(&self, incident: &Incident, member: &Member, world: &dyn World) -> Option<&Incident> {
        if !matches!(
            incident.cause,
            Cause::FailedScheduling | Cause::RolloutStuck | Cause::FailedAttachVolume
        ) {
            return None;
        }
        let named = incident.why.contains("node.kubernetes.io/unreachable")
            || incident.why.contains("node.kubernetes.io/not-ready");
        self.incidents.nodes().find_map(|node| {
            let holder = self.lost_node(node, member)?;
            let namespace = incident.namespace.as_deref();
            // What was held stays so: the old pod may leave before the node's incident is over.
            let held = incident.held_by() == Some(&holder.id);
            (named || held || world.on_node(namespace, &incident.workload, node)).then_some(holder)
        })
    }

    fn story_holder(&self, incident: &Incident, now: Timestamp, world: &dyn World) -> Option<Arc<str>> {
        let of_workload = self
            .incidents
            .of_workload(incident.namespace.clone(), &incident.workload)
            .filter(|other| other.id != incident.id && !other.members.is_empty());
        for other in of_workload {
            if explains(other, incident, now, &|other| self.is_quiet(other, now, world)) {
                return Some(Arc::clone(&other.id));
            }
        }
        if incident.cause == Cause::FailedScheduling && incident.why.contains("PersistentVolumeClaim") {
            let claims = self.incidents.of_namespace(&incident.namespace).filter(|other| {
                // Told already or not: the pods wait for the claim, not the claim for them.
                other.cause == Cause::ProvisioningFailed
                    && other.life().end().is_none()
                    && !other.members.is_empty()
            });
            // Of several the one it waits for already, else the one that failed first.
            let held_by = incident.held_by();
            let claim = claims
                .min_by_key(|other| (held_by != Some(&other.id), other.since, &other.workload, &other.id));
            return claim.map(|other| Arc::clone(&other.id));
        }
        None
    }

    /// What waits to be told holds back what is due already: its time has come, too. A rollout that
    /// hangs proves that what its pods have is no slow start.
    pub(super) fn hasten(&mut self, holder: &Arc<str>, held: Cause) {
        if held == Cause::RolloutStuck
            && let Some(holder) =
                self.incidents.get_mut(holder).filter(|i| !i.is_open() && !i.cause.is_node())
        {
            holder.hastened = true;
        }
    }
}

/// Does `other` explain `incident`, both of one workload?
fn explains(
    other: &Incident,
    incident: &Incident,
    now: Timestamp,
    quiet: &dyn Fn(&Incident) -> bool,
) -> bool {
    if incident.cause == Cause::RolloutStuck {
        // Whatever is wrong with the pods is why the rollout does not get on, told already or not.
        let wrong = other.is_open() || other.held_by().is_some() || other.raised().next().is_some();
        return other.cause != Cause::RolloutStuck && other.life().end().is_none() && wrong;
    }
    if incident.cause == Cause::Unhealthy && other.cause == Cause::RolloutStuck {
        // At a first start the Events of the probe that a rollout hangs on come after the summary.
        let soon = |told| incident.since <= clock::after(told, EVENTS_COME);
        let summary = other.standing && other.is_open() && other.notified().is_some_and(|told| soon(told.at));
        return summary && incident.notified().is_none() && &*incident.signal.reason != "Killing";
    }
    let waits_for = match incident.cause {
        Cause::ContainerStuck => other.cause.is_start() && other.cause != Cause::ContainerStuck,
        // What is not attached cannot be mounted.
        Cause::FailedMount => other.cause == Cause::FailedAttachVolume,
        _ => false,
    };
    if waits_for && incident.notified().is_none() {
        return other.life().end().is_none() && shares_objects(other, incident);
    }
    if !ahead(other, incident, now) {
        return false;
    }
    // What is silenced does not speak for others of its container. What it has spoken for already
    // stays with it.
    let spoken_for = other.is_open() && incident.held_by() == Some(&other.id);
    if !spoken_for && quiet(other) {
        return false;
    }
    if other.cause.is_run() && incident.cause.is_run() {
        return same_container(other, incident);
    }
    let two_containers =
        other.container.is_some() && incident.container.is_some() && other.container != incident.container;
    other.cause.is_start() && incident.cause.is_start() && !two_containers && shares_objects(other, incident)
}

/// Told and not over, or due before the other; of two that are due at once the deeper one speaks.
fn ahead(other: &Incident, incident: &Incident, now: Timestamp) -> bool {
    if other.is_open() {
        return true;
    }
    if other.held_by().is_some() || other.life().end().is_some() {
        return false;
    }
    let order = |i: &Incident, due: Timestamp| (due, depth(i.cause), Arc::clone(&i.id));
    let ours = incident.life().due_at().unwrap_or(now);
    other.life().due_at().is_some_and(|theirs| order(other, theirs) < order(incident, ours))
}

/// A kill for memory or by a probe says more than the loop that follows from it.
const fn depth(cause: Cause) -> u8 {
    match cause {
        Cause::OOMKilled => 0,
        Cause::Unhealthy => 1,
        _ => 2,
    }
}

fn same_container(a: &Incident, b: &Incident) -> bool {
    let part = |i: &Incident| i.container.clone().or_else(|| i.signal.container.clone());
    part(a) == part(b)
}

/// Does every object of `incident` have the problem `other` too?
fn shares_objects(other: &Incident, incident: &Incident) -> bool {
    incident.members.keys().all(|(object, _)| other.members.keys().any(|(o, _)| o == object))
}

#[cfg(test)]
mod tests;
