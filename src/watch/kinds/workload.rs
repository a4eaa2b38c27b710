//! Deployments, StatefulSets and DaemonSets.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::common::{Condition, bad_condition, identity};
use super::{Remembered, WatchedKind};
use crate::signal::facts::{Identity, WorkloadFacts};
use crate::signal::finding::Finding;
use crate::signal::{Cause, Health, ObjectRef, Phase, Signal, Source, Standing, workload};
use crate::watch::Kind;
use crate::watch::decode::SlimObject;
use crate::watch::decode::fields::{CONDITIONS, List};
use crate::watch::decode::{part, slim};
use crate::watch::intern::Interner;
use crate::watch::state::{ClusterState, NamespacedName};

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
    WorkloadSpec { replicas: Option<i64> }
    /// The status fields of Deployments, StatefulSets and DaemonSets.
    WorkloadStatus {
        observed_generation: i64, replicas: i64, updated_replicas: i64, ready_replicas: i64,
        available_replicas: Option<i64>, conditions: List<Condition, CONDITIONS>,
        desired_number_scheduled: i64, updated_number_scheduled: i64, number_available: i64,
    }
}

/// What the three kinds do alike.
macro_rules! workloads {
    ($($kind:ident),+) => {$(
        impl WatchedKind for $kind {
            type Key = NamespacedName;
            type Facts = WorkloadFacts;
            const OWNS_PODS: bool = true;

            fn key(object: &ObjectRef) -> NamespacedName {
                NamespacedName::of(object)
            }

            fn identity(facts: &WorkloadFacts) -> Option<&Identity> {
                Some(&facts.id)
            }

            fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
                let Self { metadata, spec, status, .. } = self;
                let facts = facts(Self::KIND, metadata, &spec, &status, &mut state.interner);
                state.remember::<Self>(now, &Self::key(&facts.id.object), facts, out);
            }

            fn findings(before: Option<&WorkloadFacts>, after: &WorkloadFacts) -> Vec<Finding> {
                workload::findings(before, after)
            }

            fn signal(state: &ClusterState, now: Timestamp, id: &Identity, mut finding: Finding) -> Signal {
                state.explain_rollout(id, &mut finding);
                state.plain_signal(now, id, finding, Source::Status)
            }

            fn changed(
                state: &mut ClusterState,
                now: Timestamp,
                key: &NamespacedName,
                before: Option<&WorkloadFacts>,
                out: &mut Vec<Signal>,
            ) {
                let after = Self::table(&state.objects).get(key);
                let Some(after) = after.filter(|_| state.ready()) else { return };
                state.emit::<Self>(now, key, before, out);
                let health = |facts: &WorkloadFacts| (facts.healthy, health(facts) == Health::Absent);
                if before.map(health) != Some(health(after)) {
                    state.health_changed(now, &after.id, out);
                }
            }

            fn gone(state: &mut ClusterState, now: Timestamp, facts: WorkloadFacts, out: &mut Vec<Signal>) {
                state.gone(now, &facts.id, out);
                state.health_changed(now, &facts.id, out);
            }

            fn standing(state: &ClusterState, object: &ObjectRef, _: Option<&str>, cause: Cause) -> Standing {
                match Self::table(&state.objects).get(&Self::key(object)) {
                    Some(facts) => workload::standing(facts, cause),
                    None => state.absent(Self::KIND, object.namespace.as_deref()),
                }
            }

            fn health(state: &ClusterState, workload: &ObjectRef) -> Health {
                if !state.readable(Self::KIND, workload.namespace.as_deref()) {
                    return Health::Unknown;
                }
                Self::table(&state.objects).get(&Self::key(workload)).map_or(Health::Absent, health)
            }

            fn replicas(state: &ClusterState, workload: &ObjectRef) -> Option<u32> {
                Self::table(&state.objects).get(&Self::key(workload)).map(|facts| facts.wanted)
            }
        }
    )+};
}

workloads! { Deployment, StatefulSet, DaemonSet }

fn health(facts: &WorkloadFacts) -> Health {
    match facts {
        _ if facts.wanted == 0 || facts.id.deleting() => Health::Absent,
        _ if facts.healthy => Health::Healthy,
        _ => Health::Unhealthy,
    }
}

fn facts(
    kind: Kind,
    metadata: ObjectMeta,
    spec: &WorkloadSpec,
    status: &WorkloadStatus,
    interner: &mut Interner,
) -> WorkloadFacts {
    let current = metadata.generation.is_none_or(|generation| status.observed_generation >= generation);
    let (wanted, updated, available) = match kind {
        Kind::DaemonSet => {
            (status.desired_number_scheduled, status.updated_number_scheduled, status.number_available)
        }
        // minReadySeconds aside, ready is what old servers report instead of available.
        Kind::StatefulSet => (
            spec.replicas.unwrap_or(1),
            status.updated_replicas,
            status.available_replicas.unwrap_or(status.ready_replicas),
        ),
        _ => (spec.replicas.unwrap_or(1), status.updated_replicas, status.available_replicas.unwrap_or(0)),
    };
    let find = |kind: &str, status_is: &str| {
        status.conditions.iter().find(|c| c.r#type == kind && c.status == status_is)
    };
    let extra = if kind == Kind::Deployment { status.replicas > status.updated_replicas } else { false };
    WorkloadFacts {
        id: identity(kind.as_str(), metadata, interner),
        wanted: u32::try_from(wanted).unwrap_or(0),
        healthy: current && updated >= wanted && available >= wanted && !extra,
        stuck: find("Progressing", "False")
            .filter(|c| current && c.reason.as_deref() == Some("ProgressDeadlineExceeded"))
            .map(|c| bad_condition(c, interner)),
        create_failure: find("ReplicaFailure", "True").map(|c| bad_condition(c, interner)),
    }
}

impl ClusterState {
    /// What waits for the health of a workload is to look at it again.
    fn health_changed(&self, now: Timestamp, id: &Identity, out: &mut Vec<Signal>) {
        if self.ready() {
            let finding = Finding::new(Cause::Event, Phase::Health, &Arc::from("Health"));
            out.push(self.plain_signal(now, id, finding, Source::Status));
        }
    }
}
