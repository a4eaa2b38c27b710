//! The engine's questions about the live state.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{Key, Memory};
use crate::signal::facts::{PodPhase, State};
use crate::signal::silence::Layers;
use crate::signal::{Cause, Health, ObjectRef, Standing, World, job, node, pod, workload};
use crate::watch::Kind;

impl Memory {
    fn readable(&self, kind: Kind) -> bool {
        self.watched.contains(&kind) && !self.blind.contains(&kind) && !self.missing.contains(&kind)
    }

    pub(super) fn absent(&self, kind: Kind) -> Standing {
        if self.readable(kind) && !self.listing.contains(&kind) { Standing::Gone } else { Standing::Unknown }
    }

    fn pods_of(&self, namespace: Option<&str>, workload: &str) -> impl Iterator<Item = &super::PodEntry> {
        let key: Key = (Arc::from(namespace.unwrap_or_default()), Arc::from(workload));
        self.by_workload
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|uid| self.pods.get(uid).map(AsRef::as_ref))
    }
}

impl Memory {
    /// The pod of a Job (or of a CronJob's last one) that failed last, as far as it is kept, with the container
    /// that did, and whether that is its only one.
    #[must_use]
    pub fn failed_pod(&self, object: &ObjectRef) -> Option<(ObjectRef, Arc<str>, bool)> {
        let namespace = object.namespace.as_deref();
        let own = format!("{}/{}", object.kind, object.name);
        let key: Key = (Arc::from(namespace.unwrap_or_default()), Arc::clone(&object.name));
        let cron =
            self.jobs.get(&key).filter(|_| &*object.kind == "Job").and_then(|e| e.facts.id.owner.as_ref());
        let workload = cron.map_or(own, |cron| format!("{}/{}", cron.kind, cron.name));
        let of_job = |entry: &&super::PodEntry| {
            let owner = entry.facts.id.owner.as_ref();
            &*object.kind != "Job" || owner.is_some_and(|owner| owner.name == object.name)
        };
        let failed = self.pods_of(namespace, &workload).filter(of_job).flat_map(|entry| {
            entry.facts.containers.iter().filter_map(move |container| match &container.state {
                State::Terminated(run) if run.exit.code != 0 => {
                    Some((run.exit.finished_at, entry, container))
                }
                _ => None,
            })
        });
        let (_, entry, container) = failed.max_by_key(|(at, entry, container)| {
            (*at, Reverse(&entry.facts.id.object.name), Reverse(&container.name))
        })?;
        let alone = entry.facts.containers.len() == 1;
        Some((entry.facts.id.object.clone(), Arc::clone(&container.name), alone))
    }
}

impl Memory {
    /// [`World::standing`], by the API server's clock.
    fn shown(&self, object: &ObjectRef, container: Option<&str>, cause: Cause) -> Standing {
        let key: Key = (object.namespace.clone().unwrap_or_else(|| Arc::from("")), Arc::clone(&object.name));
        if cause == Cause::StuckTerminating {
            return self.terminating_standing(object);
        }
        let kind = match &*object.kind {
            "Pod" => {
                let Some(entry) = self.pods.get(&object.uid) else { return self.absent(Kind::Pod) };
                if self.blind.contains(&Kind::Pod) {
                    return Standing::Unknown;
                }
                let standing = pod::standing(&entry.facts, container, cause);
                let node = entry.facts.node.as_ref().and_then(|name| self.nodes.get(name));
                // The kubelet is the only writer of the status: on a lost node it is frozen.
                let frozen = node.is_some_and(|node| node.facts.not_ready.is_some());
                return if frozen && standing != Standing::Raised { Standing::Unknown } else { standing };
            }
            "Node" => {
                return match self.nodes.get(&object.name) {
                    Some(entry) if object.uid.is_empty() || entry.facts.id.object.uid == object.uid => {
                        node::standing(&entry.facts, container, cause)
                    }
                    _ => self.absent(Kind::Node),
                };
            }
            "Job" => {
                return match self.jobs.get(&key) {
                    Some(entry) if cause == Cause::JobFailed => job::standing(&entry.facts),
                    Some(entry) if cause == Cause::FailedCreate => job::can_create(&entry.facts),
                    Some(_) => Standing::Clear(None),
                    None => self.absent(Kind::Job),
                };
            }
            "CronJob" => {
                return match self.cron_jobs.get(&key) {
                    Some(entry) if cause == Cause::JobFailed => job::cron_standing(&entry.facts),
                    // Only the Event of the next Job that it makes can tell.
                    Some(_) if cause == Cause::FailedCreate => Standing::Raised,
                    Some(_) => Standing::Clear(None),
                    None => self.absent(Kind::CronJob),
                };
            }
            "PersistentVolumeClaim" => {
                return match self.claims.get(&key) {
                    Some(entry) if entry.facts.bound => Standing::Clear(None),
                    Some(_) => Standing::Raised,
                    None => self.absent(Kind::PersistentVolumeClaim),
                };
            }
            "Deployment" => Kind::Deployment,
            "StatefulSet" => Kind::StatefulSet,
            "DaemonSet" => Kind::DaemonSet,
            _ => return Standing::Unknown,
        };
        match self.workloads.get(&(kind, key)) {
            Some(entry) => workload::standing(&entry.facts, cause),
            None => self.absent(kind),
        }
    }
}

impl World for Memory {
    fn standing(&self, object: &ObjectRef, container: Option<&str>, cause: Cause) -> Standing {
        match self.shown(object, container, cause) {
            Standing::Clear(Some(since)) => Standing::Clear(Some(self.own_time(since))),
            standing => standing,
        }
    }

    fn health(&self, namespace: Option<&str>, workload: &str) -> Health {
        let Some((kind, name)) = workload.split_once('/') else { return Health::Unknown };
        let kind = match kind {
            "Deployment" => Kind::Deployment,
            "StatefulSet" => Kind::StatefulSet,
            "DaemonSet" => Kind::DaemonSet,
            // Nobody makes another one: as long as it is there it is as bad as it was.
            "Pod" if self.pods_of(namespace, workload).any(|entry| entry.facts.phase == PodPhase::Failed) => {
                return Health::Unhealthy;
            }
            // Nothing stands behind these: when they are gone, they are gone.
            "Pod" | "Node" | "PersistentVolumeClaim" | "Namespace" => return Health::Absent,
            "Job" | "CronJob" => return Health::Healthy,
            _ => return Health::Unknown,
        };
        if !self.readable(kind) {
            return Health::Unknown;
        }
        let key: Key = (Arc::from(namespace.unwrap_or_default()), Arc::from(name));
        match self.workloads.get(&(kind, key)) {
            None => Health::Absent,
            Some(entry) if entry.facts.wanted == 0 || entry.facts.id.deleting() => Health::Absent,
            Some(entry) if entry.facts.healthy => Health::Healthy,
            Some(_) => Health::Unhealthy,
        }
    }

    fn revision(&self, namespace: Option<&str>, workload: &str) -> Option<Arc<str>> {
        self.pods_of(namespace, workload)
            .filter(|entry| !entry.facts.id.deleting() && !entry.facts.finished())
            .max_by_key(|entry| entry.facts.id.created)
            .and_then(|entry| super::owner::revision(&entry.facts.id))
    }

    fn replicas(&self, namespace: Option<&str>, workload: &str) -> Option<u32> {
        let (kind, name) = workload.split_once('/')?;
        let kind = match kind {
            "Deployment" => Kind::Deployment,
            "StatefulSet" => Kind::StatefulSet,
            "DaemonSet" => Kind::DaemonSet,
            _ => return None,
        };
        let key: Key = (Arc::from(namespace.unwrap_or_default()), Arc::from(name));
        self.workloads.get(&(kind, key)).map(|entry| entry.facts.wanted)
    }

    fn on_node(&self, namespace: Option<&str>, workload: &str, node: &str) -> bool {
        self.pods_of(namespace, workload).any(|entry| entry.facts.node.as_deref() == Some(node))
    }

    fn annotations(&self, object: &ObjectRef, workload: &str) -> Option<Layers> {
        Some(self.silence_layers(object, workload))
    }

    fn pods_on_node(&self, node: &str) -> u32 {
        let count = self
            .pods
            .values()
            .filter(|entry| entry.facts.node.as_deref() == Some(node) && !entry.facts.finished())
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
