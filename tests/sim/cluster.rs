//! The cluster: who lives in it, and what a write to it is.

use jiff::Timestamp;
use kubeherald::testkit::builders::{self, Pod, deployment, namespace, node, pod, replica_set, stateful_set};
use serde_json::Value;

use super::plan::Ms;

/// When every world begins.
pub const BEGAN: &str = "2026-11-21T08:00:00Z";

pub const NODES: [&str; 4] = ["worker-1", "worker-2", "worker-3", "worker-4"];

/// A Deployment with two pods, and beside it a StatefulSet with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub namespace: &'static str,
    pub name: &'static str,
    /// Where its first and its second pod run.
    pub nodes: [&'static str; 2],
}

const fn target(namespace: &'static str, name: &'static str, a: usize, b: usize) -> Target {
    Target { namespace, name, nodes: [NODES[a], NODES[b]] }
}

pub const TARGETS: [Target; 8] = [
    target("shop", "checkout", 0, 1),
    target("shop", "cart", 1, 2),
    target("media", "thumbs", 2, 0),
    target("platform", "api", 0, 1),
    target("platform", "gateway", 1, 2),
    target("data", "ledger", 2, 0),
    target("ml", "ranker", 0, 1),
    target("ml", "features", 1, 2),
];

/// One write to the API server.
#[derive(Debug, Clone)]
pub enum Write {
    Apply(Value),
    /// A run of a container leaves its log.
    Log {
        namespace: &'static str,
        pod: String,
        run: i64,
        line: String,
    },
    Delete {
        kind: String,
        namespace: String,
        name: String,
    },
}

impl Write {
    pub fn delete(object: &Value) -> Self {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self::Delete {
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }
}

pub fn began() -> Timestamp {
    BEGAN.parse().expect("a time")
}

/// The time of the world, which the API server's clock shows.
pub fn wall(at: Ms) -> Timestamp {
    began() + std::time::Duration::from_millis(at)
}

/// An object whose offsets count from `at` (`-2s`) and from the beginning (`T-1h`).
pub fn object(object: impl Into<Value>, at: Ms) -> Value {
    builders::at(object.into(), began(), wall(at))
}

impl Target {
    pub fn set(&self) -> String {
        format!("{}-688988776f", self.name)
    }

    pub fn workload(&self) -> String {
        format!("Deployment/{}", self.name)
    }

    pub fn stateful_set(&self) -> String {
        format!("{}-db", self.name)
    }

    /// A pod of the Deployment, on the node of the first or the second.
    pub fn pod(&self, letters: &str, place: usize) -> Pod {
        pod(&format!("{}-{letters}", self.set()))
            .namespace(self.namespace)
            .owned_by_rs(&self.set())
            .node(self.nodes[place % 2])
            .image_of(self)
    }

    pub fn deployment(&self) -> builders::Workload {
        deployment(self.name).namespace(self.namespace).replicas(2)
    }

    /// The pod of the StatefulSet.
    pub fn db_pod(&self, uid: &str) -> Pod {
        pod(&format!("{}-0", self.stateful_set()))
            .namespace(self.namespace)
            .uid(uid)
            .owned_by("StatefulSet", &self.stateful_set())
            .node(self.nodes[0])
    }

    pub fn db(&self) -> builders::Workload {
        stateful_set(&self.stateful_set()).namespace(self.namespace)
    }
}

/// Keeps the builder's chain where an image is to be set.
trait ImageOf {
    fn image_of(self, target: &Target) -> Self;
}

impl ImageOf for Pod {
    fn image_of(self, target: &Target) -> Self {
        self.container("app").image(&format!("registry.example.com/{}/{}:1", target.namespace, target.name))
    }
}

/// Everything that is there when a world begins: all of it is well.
pub fn initial() -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut namespaces: Vec<&str> = TARGETS.iter().map(|t| t.namespace).collect();
    namespaces.extend(["default", "kube-system", "tenant"]);
    namespaces.sort_unstable();
    namespaces.dedup();
    all.extend(namespaces.into_iter().map(|name| namespace(name).json()));
    all.extend(NODES.iter().map(|name| node(name).json()));
    for target in &TARGETS {
        all.push(target.deployment().json());
        all.push(replica_set(&target.set()).namespace(target.namespace).replicas(2).json());
        all.push(target.pod("aaaaa", 0).running("T-1h").json());
        all.push(target.pod("bbbbb", 1).running("T-1h").json());
        all.push(target.db().json());
        all.push(target.db_pod(&format!("db-of-{}", target.name)).running("T-1h").json());
    }
    all.into_iter().map(|value| object(value, 0)).collect()
}

/// What the bot watches, as paths spell it.
pub const RESOURCES: [&str; 11] = [
    "namespaces",
    "nodes",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "cronjobs",
    "jobs",
    "persistentvolumeclaims",
    "pods",
    "events",
];
