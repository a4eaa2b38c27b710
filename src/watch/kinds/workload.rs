//! Deployments, StatefulSets and DaemonSets.

use super::WatchedKind;
use super::common::Condition;
use crate::watch::decode::fields::{CONDITIONS, List, NAME, Text};
use crate::watch::decode::{part, slim};

slim! { Deployment, "deployments", "apps", false {
    spec: WorkloadSpec,
    status: WorkloadStatus,
} }

slim! { StatefulSet, "statefulsets", "apps", false {
    spec: WorkloadSpec,
    status: WorkloadStatus,
} }

slim! { DaemonSet, "daemonsets", "apps", false {
    spec: WorkloadSpec,
    status: WorkloadStatus,
} }

part! {
    /// The spec fields that Deployments, StatefulSets and DaemonSets share.
    WorkloadSpec { replicas: Option<i64>, paused: bool }
    /// The status fields of Deployments, StatefulSets and DaemonSets.
    WorkloadStatus {
        observed_generation: i64, replicas: i64, updated_replicas: i64, ready_replicas: i64,
        available_replicas: Option<i64>, unavailable_replicas: i64,
        conditions: List<Condition, CONDITIONS>,
        desired_number_scheduled: i64, updated_number_scheduled: i64, number_ready: i64,
        number_available: i64, number_unavailable: i64, current_revision: Option<Text<NAME>>,
        update_revision: Option<Text<NAME>>,
    }
}

impl WatchedKind for Deployment {}
impl WatchedKind for StatefulSet {}
impl WatchedKind for DaemonSet {}
