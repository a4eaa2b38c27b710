//! The annotations that silence, as they are now, and whether any of them changed.

use std::sync::Arc;

use super::{Key, Memory};
use crate::signal::facts::Identity;
use crate::signal::silence::{self, Layers};
use crate::signal::{Labels, ObjectRef};
use crate::watch::Kind;

/// At most so many objects with such annotations are listed.
const MAX_LISTED: usize = 1000;

impl Memory {
    /// Has an annotation about silence been added, changed or removed since the last call?
    pub const fn take_silence_changed(&mut self) -> bool {
        std::mem::replace(&mut self.silence_changed, false)
    }

    /// Compares what an object says about silence before and after a change; `None`: it is not there.
    pub(super) fn notice(&mut self, before: Option<&Option<Labels>>, after: Option<&Option<Labels>>) {
        let (before, after) = (before.and_then(Option::as_ref), after.and_then(Option::as_ref));
        self.silence_changed |= silence::differ(before, after);
    }

    /// Objects, workloads and namespaces that say something about silence, cut to a bounded number,
    /// in order of their names.
    #[must_use]
    pub fn annotated(&self) -> Vec<(ObjectRef, Labels)> {
        let says = |labels: &Labels| silence::differ(Some(labels), None);
        let ids = self.pods.values().map(|entry| &entry.facts.id);
        let ids = ids
            .chain(self.nodes.values().map(|entry| &entry.facts.id))
            .chain(self.workloads.values().map(|entry| &entry.facts.id))
            .chain(self.jobs.values().map(|entry| &entry.facts.id))
            .chain(self.cron_jobs.values().map(|entry| &entry.facts.id))
            .chain(self.claims.values().map(|entry| &entry.facts.id));
        let objects = ids.filter_map(|id| Some((id.object.clone(), id.annotations.clone()?)));
        let namespaces = self.namespaces.iter().filter_map(|(name, entry)| {
            let object = ObjectRef {
                kind: Arc::from("Namespace"),
                namespace: None,
                name: Arc::clone(name),
                uid: Arc::from(""),
            };
            Some((object, entry.facts.annotations.clone()?))
        });
        let mut found: Vec<(ObjectRef, Labels)> =
            namespaces.chain(objects).filter(|(_, labels)| says(labels)).collect();
        found.sort_by(|(a, _), (b, _)| {
            (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name))
        });
        found.truncate(MAX_LISTED);
        found
    }

    pub(super) fn silence_layers(&self, object: &ObjectRef, workload: &str) -> Layers {
        let namespace = object.namespace.clone().unwrap_or_else(|| Arc::from(""));
        let key: Key = (Arc::clone(&namespace), Arc::clone(&object.name));
        let mut owner = workload;
        let own = match &*object.kind {
            "Pod" => match (self.pods.get(&object.uid), self.tombstones.get(&object.uid)) {
                (Some(pod), _) => {
                    owner = &pod.workload;
                    Some(&pod.facts.id)
                }
                (None, Some(gone)) => {
                    owner = &gone.workload;
                    Some(&gone.facts.id)
                }
                (None, None) => None,
            },
            "Node" => self.nodes.get(&object.name).map(|entry| &entry.facts.id),
            "PersistentVolumeClaim" => self.claims.get(&key).map(|entry| &entry.facts.id),
            kind => self.owner(kind, &key),
        };
        let owner = owner.split_once('/').and_then(|(kind, name)| {
            // A node, a claim or a pod by itself is no workload: it has been asked already.
            self.owner(kind, &(Arc::clone(&namespace), Arc::from(name)))
        });
        let annotations = |id: Option<&Identity>| id.and_then(|id| id.annotations.clone());
        let of_namespace = self.namespaces.get(&namespace).and_then(|entry| entry.facts.annotations.clone());
        [annotations(own), annotations(owner), of_namespace]
    }

    /// What stands behind pods.
    pub(super) fn owner(&self, kind: &str, key: &Key) -> Option<&Identity> {
        let workload = |kind| self.workloads.get(&(kind, key.clone())).map(|entry| &entry.facts.id);
        match kind {
            "Deployment" => workload(Kind::Deployment),
            "StatefulSet" => workload(Kind::StatefulSet),
            "DaemonSet" => workload(Kind::DaemonSet),
            "CronJob" => self.cron_jobs.get(key).map(|entry| &entry.facts.id),
            "Job" => self.jobs.get(key).map(|entry| &entry.facts.id),
            _ => None,
        }
    }
}
