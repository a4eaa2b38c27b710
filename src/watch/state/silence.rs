//! The annotations that silence, as they are now, and whether any of them changed.

use std::sync::Arc;

use super::ClusterState;
use super::world::workload_ref;
use crate::signal::facts::Identity;
use crate::signal::silence::{self, Layers, SilenceSeen};
use crate::signal::{Labels, ObjectRef, Workload};
use crate::watch::Kind;

/// At most so many objects with such annotations are listed.
const MAX_LISTED: usize = 1000;

impl ClusterState {
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
    pub(in crate::watch) fn notice(&mut self, before: Option<&Identity>, after: Option<&Identity>) {
        let now = after.and_then(|id| id.annotations.as_ref());
        let old = before.and_then(|id| id.annotations.as_ref());
        if !silence::differ(old, now) {
            return;
        }
        if let Some(id) = after.or(before).filter(|id| &*id.object.kind != "Pod") {
            let own = Workload::of(&id.object);
            self.silence_seen.push(SilenceSeen::of(&place(&id.object), &own, now));
        }
        if let Some(before) = before {
            self.silence_changed.push(place(&before.object));
        }
    }

    /// A pod is here, of this workload.
    pub(in crate::watch) fn notice_pod(&mut self, id: &Identity, workload: &Workload) {
        if silence::differ(id.annotations.as_ref(), None) {
            self.silence_seen.push(SilenceSeen::of(&id.object, workload, id.annotations.as_ref()));
        }
    }

    /// An object is gone, and with it what is counted for it: a bare pod's annotations, or those of the pods of
    /// a workload.
    pub(in crate::watch) fn notice_gone(&mut self, id: &Identity) {
        let object = &id.object;
        let own = Workload::of(object);
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let place = match &*object.kind {
            "Pod" if id.owner.is_none() => object.to_string(),
            kind if Kind::parse(kind).is_some_and(Kind::owns_pods) => {
                format!("{}{}", silence::PODS_OF, silence::workload_place(namespace, &own))
            }
            _ => return,
        };
        let place = Arc::from(place);
        self.silence_seen.push(SilenceSeen { place, of_pods: true, gone: true, values: [None, None] });
    }

    /// Objects, workloads and namespaces that say something about silence, cut to a bounded number,
    /// in order of their names.
    pub fn annotated(&self) -> Vec<(ObjectRef, Labels)> {
        self.annotated_so(|labels| silence::differ(Some(labels), None))
    }

    /// The same of objects with an annotation whose key begins so.
    pub fn annotated_with(&self, prefix: &str) -> Vec<(ObjectRef, Labels)> {
        self.annotated_so(|labels| labels.keys().any(|key| key.starts_with(prefix)))
    }

    fn annotated_so(&self, says: impl Fn(&Labels) -> bool) -> Vec<(ObjectRef, Labels)> {
        let mut found: Vec<(ObjectRef, Labels)> = self
            .objects
            .identities()
            .filter_map(|id| Some((place(&id.object), id.annotations.clone().filter(&says)?)))
            .collect();
        found.sort_by(|(a, _), (b, _)| {
            (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name))
        });
        found.truncate(MAX_LISTED);
        found
    }

    /// What the annotations of an object are counted for: see [`silence::counted_for`].
    pub fn counted_for(&self, object: &ObjectRef) -> String {
        let pod = self.objects.pods.get(&object.uid).filter(|_| &*object.kind == "Pod");
        let workload = pod.map_or_else(|| Workload::of(object), |pod| pod.workload.clone());
        silence::counted_for(object, &workload)
    }

    pub(super) fn silence_layers(&self, object: &ObjectRef, workload: &Workload) -> Layers {
        let mut owner = workload;
        let own = match &*object.kind {
            "Pod" => match (self.objects.pods.get(&object.uid), self.tombstones.get(&object.uid)) {
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
            _ => self.known(object),
        };
        // A node, a claim or a pod by itself owns no pods: it has been asked already.
        let owner = self.owner(object.namespace.as_ref(), owner);
        let annotations = |id: Option<&Identity>| id.and_then(|id| id.annotations.clone());
        let namespace = object.namespace.as_ref().and_then(|name| self.objects.namespaces.get(name));
        let of_namespace = namespace.and_then(|space| space.id.annotations.clone());
        [annotations(own), annotations(owner), of_namespace]
    }

    /// The workload that pods belong to.
    pub(super) fn owner(&self, namespace: Option<&Arc<str>>, workload: &Workload) -> Option<&Identity> {
        let (kind, object) = workload_ref(namespace, workload)?;
        self.objects.identity(kind, &object).filter(|_| kind.owns_pods())
    }
}

/// A namespace is an object without a namespace here.
fn place(object: &ObjectRef) -> ObjectRef {
    if &*object.kind == "Namespace" {
        let (kind, name) = (Arc::clone(&object.kind), Arc::clone(&object.name));
        return ObjectRef { kind, namespace: None, name, uid: Arc::from("") };
    }
    object.clone()
}
