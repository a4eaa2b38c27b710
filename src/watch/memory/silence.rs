//! The annotations that silence, as they are now, and whether any of them changed.

use std::sync::Arc;

use super::{Key, Memory};
use crate::signal::facts::{Identity, NamespaceFacts};
use crate::signal::silence::{self, Layers};
use crate::signal::{Labels, ObjectRef};
use crate::watch::Kind;

/// At most so many objects with such annotations are listed.
const MAX_LISTED: usize = 1000;

impl Memory {
    /// Objects that were there at the last call and say something else about silence since. What is
    /// new is not among them: nothing can have been held back by it.
    pub fn take_silence_changed(&mut self) -> Vec<ObjectRef> {
        std::mem::take(&mut self.silence_changed)
    }

    /// Compares what an object says about silence before and after a change. `before`: what was known
    /// under its name; `after`: what is known now, if it is still there.
    pub(super) fn notice(&mut self, before: Option<&Identity>, after: Option<&Identity>) {
        let Some(before) = before else { return };
        let now = after.and_then(|id| id.annotations.as_ref());
        if silence::differ(before.annotations.as_ref(), now) {
            self.silence_changed.push(before.object.clone());
        }
    }

    /// The same of a namespace.
    pub(super) fn notice_namespace(
        &mut self,
        name: &Arc<str>,
        before: Option<&NamespaceFacts>,
        after: Option<&Labels>,
    ) {
        if before.is_some_and(|before| silence::differ(before.id.annotations.as_ref(), after)) {
            self.silence_changed.push(of_namespace(name));
        }
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
        let namespaces = self
            .namespaces
            .iter()
            .filter_map(|(name, entry)| Some((of_namespace(name), entry.facts.id.annotations.clone()?)));
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
        let of_namespace =
            self.namespaces.get(&namespace).and_then(|entry| entry.facts.id.annotations.clone());
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

fn of_namespace(name: &Arc<str>) -> ObjectRef {
    ObjectRef { kind: Arc::from("Namespace"), namespace: None, name: Arc::clone(name), uid: Arc::from("") }
}
