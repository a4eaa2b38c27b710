//! The annotations that silence, as they are now, and whether any of them changed.

use std::sync::Arc;

use super::{Key, Memory};
use crate::signal::facts::{Identity, NamespaceFacts};
use crate::signal::silence::{self, Layers, SilenceSeen};
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

    /// Annotations about silence that came, changed or went since the last call.
    pub fn take_silence_seen(&mut self) -> Vec<SilenceSeen> {
        std::mem::take(&mut self.silence_seen)
    }

    /// Compares what an object says about silence before and after a change. `before`: what was known
    /// under its name; `after`: what is known now, if it is still there.
    pub(super) fn notice(&mut self, before: Option<&Identity>, after: Option<&Identity>) {
        let now = after.and_then(|id| id.annotations.as_ref());
        let old = before.and_then(|id| id.annotations.as_ref());
        if !silence::differ(old, now) {
            return;
        }
        if let Some(id) = after.or(before).filter(|id| &*id.object.kind != "Pod") {
            let own = format!("{}/{}", id.object.kind, id.object.name);
            self.silence_seen.push(SilenceSeen::of(&id.object, &own, now));
        }
        if let Some(before) = before {
            self.silence_changed.push(before.object.clone());
        }
    }

    /// A pod is here, of this workload.
    pub(super) fn notice_pod(&mut self, id: &Identity, workload: &Arc<str>) {
        if silence::differ(id.annotations.as_ref(), None) {
            self.silence_seen.push(SilenceSeen::of(&id.object, workload, id.annotations.as_ref()));
        }
    }

    /// An object is gone, and with it what is counted for it: a bare pod's annotations, or those of the pods of
    /// a workload.
    pub(super) fn notice_gone(&mut self, id: &Identity) {
        let object = &id.object;
        let own = format!("{}/{}", object.kind, object.name);
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let place = match &*object.kind {
            "Pod" if id.owner.is_none() => object.to_string(),
            "Deployment" | "StatefulSet" | "DaemonSet" | "CronJob" | "Job" => {
                format!("{}{}", silence::PODS_OF, silence::workload_place(namespace, &own))
            }
            _ => return,
        };
        let place = Arc::from(place);
        self.silence_seen.push(SilenceSeen { place, of_pods: true, gone: true, values: [None, None] });
    }

    /// The same of a namespace.
    pub(super) fn notice_namespace(
        &mut self,
        name: &Arc<str>,
        before: Option<&NamespaceFacts>,
        after: Option<&Labels>,
    ) {
        if silence::differ(before.and_then(|before| before.id.annotations.as_ref()), after) {
            self.silence_seen.push(SilenceSeen::of(&of_namespace(name), "", after));
            if before.is_some() {
                self.silence_changed.push(of_namespace(name));
            }
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

    /// What the annotations of an object are counted for: see [`silence::counted_for`].
    #[must_use]
    pub fn counted_for(&self, object: &ObjectRef) -> String {
        let pod = self.pods.get(&object.uid).filter(|_| &*object.kind == "Pod");
        let own = format!("{}/{}", object.kind, object.name);
        silence::counted_for(object, pod.map_or(own.as_str(), |pod| &pod.workload))
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
