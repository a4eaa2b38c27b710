use super::WatchedKind;
use crate::watch::decode::slim;

slim! { ReplicaSet, "replicasets", "apps", true {} }

impl WatchedKind for ReplicaSet {}
