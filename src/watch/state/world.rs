//! The engine's questions about the live state.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{ClusterState, NamespacedName};
use crate::signal::facts::State;
use crate::signal::silence::Layers;
use crate::signal::{Cause, Health, ObjectRef, Standing, Workload, World};
use crate::watch::Kind;

impl ClusterState {
    pub(in crate::watch) fn readable(&self, kind: Kind, namespace: Option<&str>) -> bool {
        self.watched.contains(&kind) && !self.is_blind(kind, namespace) && !self.missing.contains(&kind)
    }

    /// What it means that an object of this namespace is not known.
    pub(in crate::watch) fn absent(&self, kind: Kind, namespace: Option<&str>) -> Standing {
        let listed = self.readable(kind, namespace) && !self.listing.contains(kind, namespace);
        if listed { Standing::Gone } else { Standing::Unknown }
    }

    pub(in crate::watch) fn pods_of(
        &self,
        namespace: Option<&str>,
        workload: &Workload,
    ) -> impl Iterator<Item = &super::PodEntry> + use<'_> {
        self.by_workload
            .get(&NamespacedName::new(namespace, workload.text()))
            .into_iter()
            .flatten()
            .filter_map(|uid| self.objects.pods.get(uid).map(AsRef::as_ref))
    }
}

impl ClusterState {
    /// The pod of a Job (or of a CronJob's last one) that failed last, as far as it is kept, with the container
    /// that did, and whether that is its only one.
    pub fn failed_pod(&self, object: &ObjectRef) -> Option<(ObjectRef, Arc<str>, bool)> {
        let namespace = object.namespace.as_deref();
        let job = self.objects.jobs.get(&NamespacedName::of(object)).filter(|_| &*object.kind == "Job");
        let cron = job.and_then(|job| job.id.owner.as_ref());
        let workload =
            cron.map_or_else(|| Workload::of(object), |cron| Workload::new(&cron.kind, &cron.name));
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

impl World for ClusterState {
    fn standing(&self, object: &ObjectRef, container: Option<&str>, cause: Cause) -> Standing {
        let kind = Kind::parse(&object.kind);
        let standing = match kind {
            _ if cause == Cause::StuckTerminating => self.terminating_standing(object),
            Some(kind) => self.standing_of(kind, object, container, cause),
            None => Standing::Unknown,
        };
        match standing {
            Standing::Clear(Some(since)) => Standing::Clear(Some(self.own_time(since))),
            standing => standing,
        }
    }

    fn health(&self, namespace: Option<&str>, workload: &Workload) -> Health {
        let found = workload_ref(namespace.map(Arc::from).as_ref(), workload);
        found.map_or(Health::Unknown, |(kind, workload)| self.health_of(kind, &workload))
    }

    fn revision(&self, namespace: Option<&str>, workload: &Workload) -> Option<Arc<str>> {
        self.pods_of(namespace, workload)
            .filter(|entry| !entry.facts.id.deleting() && !entry.facts.finished())
            .max_by_key(|entry| entry.facts.id.created)
            .and_then(|entry| super::owner::revision(&entry.facts.id))
    }

    fn replicas(&self, namespace: Option<&str>, workload: &Workload) -> Option<u32> {
        let (kind, workload) = workload_ref(namespace.map(Arc::from).as_ref(), workload)?;
        self.replicas_of(kind, &workload)
    }

    fn on_node(&self, namespace: Option<&str>, workload: &Workload, node: &str) -> bool {
        self.pods_of(namespace, workload).any(|entry| entry.facts.node.as_deref() == Some(node))
    }

    fn annotations(&self, object: &ObjectRef, workload: &Workload) -> Option<Layers> {
        Some(self.silence_layers(object, workload))
    }

    fn is_unseen(&self, kind: &str, namespace: Option<&str>) -> bool {
        Kind::parse(kind).is_some_and(|kind| {
            self.failing.contains(kind, namespace) || self.blind.contains(kind, namespace)
        })
    }

    fn pods_on_node(&self, node: &str) -> u32 {
        let count = self
            .objects
            .pods
            .values()
            .filter(|entry| entry.facts.node.as_deref() == Some(node) && !entry.facts.finished())
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// A workload as an object, if its kind is watched.
pub(super) fn workload_ref(namespace: Option<&Arc<str>>, workload: &Workload) -> Option<(Kind, ObjectRef)> {
    let kind = Kind::parse(workload.kind())?;
    let object = ObjectRef {
        kind: Arc::from(kind.as_str()),
        namespace: namespace.cloned(),
        name: Arc::from(workload.name()),
        uid: Arc::from(""),
    };
    Some((kind, object))
}
