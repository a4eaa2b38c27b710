//! Nodes.

use serde_json::{Value, json};

use super::meta::{Meta, with_meta};

/// A Node under construction.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) meta: Meta,
    conditions: Vec<Value>,
    unschedulable: bool,
    taints: Vec<String>,
    boot_id: String,
}

with_meta!(Node);

/// A node that is ready.
pub fn node(name: &str) -> Node {
    let fine = |kind: &str, status: &str, reason: &str| {
        json!({ "type": kind, "status": status, "reason": reason, "message": "",
                "lastHeartbeatTime": "-5s", "lastTransitionTime": "T-1d" })
    };
    Node {
        meta: Meta::new("Node", name),
        conditions: vec![
            fine("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            fine("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            fine("PIDPressure", "False", "KubeletHasSufficientPID"),
            fine("Ready", "True", "KubeletReady"),
        ],
        unschedulable: false,
        taints: Vec::new(),
        boot_id: String::from("boot-1"),
    }
    .created("T-30d")
}

impl Node {
    pub fn condition(mut self, kind: &str, status: &str, reason: &str, message: &str, since: &str) -> Self {
        self.conditions.retain(|c| c.get("type").and_then(Value::as_str) != Some(kind));
        self.conditions.push(json!({ "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": "-5s", "lastTransitionTime": since }));
        self
    }

    pub fn ready(self, since: &str) -> Self {
        self.condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", since)
    }

    /// The kubelet says that it is not ready.
    pub fn not_ready(self, message: &str, since: &str) -> Self {
        self.condition("Ready", "False", "KubeletNotReady", message, since)
            .taint("node.kubernetes.io/not-ready")
    }

    /// The kubelet says nothing any more: every condition is unknown.
    pub fn lost(mut self, since: &str) -> Self {
        for kind in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
            self = self.condition(
                kind,
                "Unknown",
                "NodeStatusUnknown",
                "Kubelet stopped posting node status.",
                since,
            );
        }
        self.taint("node.kubernetes.io/unreachable")
    }

    pub const fn cordoned(mut self) -> Self {
        self.unschedulable = true;
        self
    }

    pub fn taint(mut self, key: &str) -> Self {
        self.taints.push(key.to_owned());
        self
    }

    /// Sets the boot id.
    pub fn boot(mut self, id: &str) -> Self {
        id.clone_into(&mut self.boot_id);
        self
    }

    pub fn json(&self) -> Value {
        let taints: Vec<Value> =
            self.taints.iter().map(|key| json!({ "key": key, "effect": "NoSchedule" })).collect();
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": self.meta.json(),
            "spec": { "unschedulable": self.unschedulable, "taints": taints },
            "status": { "conditions": self.conditions, "nodeInfo": { "bootID": self.boot_id } },
        })
    }
}
