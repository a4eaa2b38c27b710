//! Deployments, StatefulSets, DaemonSets, ReplicaSets and namespaces.

use serde_json::{Value, json};

use super::meta::{Meta, with_meta};

/// A Deployment, StatefulSet, DaemonSet, ReplicaSet or Namespace under construction.
#[derive(Debug, Clone)]
pub struct Workload {
    pub(super) meta: Meta,
    replicas: i64,
    updated: Option<i64>,
    available: Option<i64>,
    present: Option<i64>,
    observed: Option<i64>,
    paused: bool,
    conditions: Vec<Value>,
}

with_meta!(Workload);

fn workload(kind: &'static str, name: &str) -> Workload {
    Workload {
        meta: Meta { generation: Some(1), ..Meta::new(kind, name) },
        replicas: 1,
        updated: None,
        available: None,
        present: None,
        observed: None,
        paused: false,
        conditions: Vec::new(),
    }
}

/// A Deployment with one replica that is available.
pub fn deployment(name: &str) -> Workload {
    workload("Deployment", name)
}

/// A StatefulSet with one replica that is available.
pub fn stateful_set(name: &str) -> Workload {
    workload("StatefulSet", name)
}

/// A DaemonSet that is available on one node.
pub fn daemon_set(name: &str) -> Workload {
    workload("DaemonSet", name)
}

/// The ReplicaSet `<deployment>-<hash>` of a Deployment.
pub fn replica_set(name: &str) -> Workload {
    let owner = name.rsplit_once('-').map_or(name, |(deployment, _)| deployment);
    workload("ReplicaSet", name).owned_by("Deployment", owner)
}

pub fn namespace(name: &str) -> Workload {
    workload("Namespace", name)
}

impl Workload {
    /// How many it wants.
    pub const fn replicas(mut self, count: i64) -> Self {
        self.replicas = count;
        self
    }

    /// How many are available; all, if it does not say.
    pub const fn available(mut self, count: i64) -> Self {
        self.available = Some(count);
        self
    }

    /// How many are of the current template; all, if it does not say.
    pub const fn updated(mut self, count: i64) -> Self {
        self.updated = Some(count);
        self
    }

    /// How many there are; as many as wanted, if it does not say.
    pub const fn present(mut self, count: i64) -> Self {
        self.present = Some(count);
        self
    }

    /// The template was changed so often.
    pub const fn generation(mut self, generation: i64) -> Self {
        self.meta.generation = Some(generation);
        self
    }

    /// Its controller has seen this generation; the current one, if it does not say.
    pub const fn observed(mut self, generation: i64) -> Self {
        self.observed = Some(generation);
        self
    }

    pub const fn paused(mut self) -> Self {
        self.paused = true;
        self
    }

    pub fn condition(mut self, kind: &str, status: &str, reason: &str, message: &str, since: &str) -> Self {
        self.conditions.push(json!({ "type": kind, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": since, "lastTransitionTime": since }));
        self
    }

    /// Its rollout has passed the progress deadline.
    pub fn stuck(self, since: &str) -> Self {
        let message = format!("ReplicaSet \"{}-1\" has timed out progressing.", self.meta.name);
        self.condition("Progressing", "False", "ProgressDeadlineExceeded", &message, since)
    }

    /// Its pods cannot be created.
    pub fn replica_failure(self, message: &str, since: &str) -> Self {
        self.condition("ReplicaFailure", "True", "FailedCreate", message, since)
    }

    pub fn json(&self) -> Value {
        let wanted = self.replicas;
        let updated = self.updated.unwrap_or(wanted);
        let available = self.available.unwrap_or(wanted);
        let observed = self.observed.or(self.meta.generation);
        let status = match self.meta.kind {
            "Namespace" => json!({
                "phase": if self.meta.deleting.is_some() { "Terminating" } else { "Active" },
                "conditions": self.conditions,
            }),
            "DaemonSet" => json!({
                "observedGeneration": observed, "desiredNumberScheduled": wanted,
                "currentNumberScheduled": wanted, "updatedNumberScheduled": updated,
                "numberReady": available, "numberAvailable": available,
                "numberUnavailable": wanted - available, "conditions": self.conditions,
            }),
            _ => json!({
                "observedGeneration": observed, "replicas": self.present.unwrap_or(wanted),
                "updatedReplicas": updated, "readyReplicas": available, "availableReplicas": available,
                "unavailableReplicas": wanted - available, "conditions": self.conditions,
            }),
        };
        let version = if self.meta.kind == "Namespace" { "v1" } else { "apps/v1" };
        let spec = match self.meta.kind {
            "Namespace" => json!({ "finalizers": ["kubernetes"] }),
            _ => json!({ "replicas": wanted, "paused": self.paused }),
        };
        json!({
            "apiVersion": version, "kind": self.meta.kind,
            "metadata": self.meta.json(),
            "spec": spec,
            "status": status,
        })
    }
}
