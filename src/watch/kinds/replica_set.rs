use jiff::Timestamp;

use super::WatchedKind;
use super::common::identity;
use crate::signal::facts::{Identity, Owner};
use crate::signal::{ObjectRef, Signal};
use crate::watch::decode::slim;
use crate::watch::state::{ClusterState, NamespacedName};

slim! { ReplicaSet, "replicasets", "apps", true {} }

/// A ReplicaSet is only the way from a pod to its Deployment.
impl WatchedKind for ReplicaSet {
    type Key = NamespacedName;
    type Facts = Option<Owner>;

    fn key(object: &ObjectRef) -> NamespacedName {
        NamespacedName::of(object)
    }

    fn is_in(key: &NamespacedName, _: &Option<Owner>, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|namespace| *key.namespace == *namespace)
    }

    fn identity(_: &Option<Owner>) -> Option<&Identity> {
        None
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
        let id = identity("ReplicaSet", self.metadata, &mut state.interner);
        state.remember::<Self>(now, &Self::key(&id.object), id.owner, out);
    }
}
