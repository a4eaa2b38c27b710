//! API objects as a cluster stores them, made of what the story keeps in mind.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Who made an object.
#[derive(Debug, Clone)]
pub struct Owner {
    pub kind: &'static str,
    pub name: String,
    pub uid: String,
}

impl Owner {
    fn reference(&self) -> Value {
        let api_version = match self.kind {
            "Job" | "CronJob" => "batch/v1",
            "Node" => "v1",
            _ => "apps/v1",
        };
        json!([{ "apiVersion": api_version, "kind": self.kind, "name": self.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true }])
    }
}

/// `metadata`, as far as every object has it.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub created: String,
    pub generation: u32,
    pub labels: Vec<(&'static str, String)>,
    pub owner: Option<Owner>,
    pub deleted: Option<String>,
}

impl Meta {
    pub fn json(&self) -> Value {
        let labels: Map<String, Value> =
            self.labels.iter().map(|(k, v)| ((*k).to_owned(), Value::from(v.as_str()))).collect();
        let mut out = json!({ "name": self.name, "uid": self.uid, "creationTimestamp": self.created,
            "generation": self.generation, "labels": labels });
        let Some(map) = out.as_object_mut() else { return out };
        if !self.namespace.is_empty() {
            map.insert("namespace".into(), self.namespace.as_str().into());
        }
        if let Some(owner) = &self.owner {
            map.insert("ownerReferences".into(), owner.reference());
        }
        if let Some(at) = &self.deleted {
            map.insert("deletionTimestamp".into(), at.as_str().into());
            map.insert("deletionGracePeriodSeconds".into(), 30.into());
        }
        out
    }
}

/// What the pods of a workload look like.
#[derive(Debug, Clone)]
pub struct Template {
    pub container: String,
    pub image: String,
    pub restart_policy: &'static str,
    /// `spec.volumes`, with the name of each mounted under `/mnt`.
    pub volumes: Vec<Value>,
    pub node_selector: Option<(&'static str, &'static str)>,
    pub memory: &'static str,
}

impl Template {
    pub fn new(container: &str, image: &str) -> Self {
        Self {
            container: container.to_owned(),
            image: image.to_owned(),
            restart_policy: "Always",
            volumes: Vec::new(),
            node_selector: None,
            memory: "256Mi",
        }
    }

    pub fn spec(&self, node: Option<&str>) -> Value {
        let mounts: Vec<Value> = self
            .volumes
            .iter()
            .filter_map(|v| v.get("name").and_then(Value::as_str))
            .map(|name| json!({ "name": name, "mountPath": format!("/mnt/{name}") }))
            .collect();
        let mut out = json!({
            "containers": [{ "name": self.container, "image": self.image,
                "resources": { "requests": { "cpu": "100m", "memory": self.memory }, "limits": { "memory": self.memory } },
                "volumeMounts": mounts, "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "FallbackToLogsOnError", "imagePullPolicy": "IfNotPresent" }],
            "volumes": self.volumes,
            "restartPolicy": self.restart_policy, "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "schedulerName": "default-scheduler",
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }],
        });
        if let Some(map) = out.as_object_mut() {
            if let Some((key, value)) = self.node_selector {
                map.insert("nodeSelector".into(), json!({ key: value }));
            }
            if let Some(node) = node {
                map.insert("nodeName".into(), node.into());
            }
        }
        out
    }
}

#[derive(Debug, Clone)]
pub struct Pod {
    pub meta: Meta,
    pub template: Template,
    pub node: Option<String>,
    pub phase: &'static str,
    pub verdict: Option<(&'static str, String)>,
    /// `state` of its container; `None` before the kubelet has looked at it.
    pub state: Option<Value>,
    pub last: Value,
    pub restarts: u32,
    pub ready: bool,
    /// The node controller took readiness away, the kubelet did not.
    pub node_lost: bool,
    pub ready_since: String,
    pub scheduled: Option<String>,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    /// Volumes are mounted and there is a sandbox.
    pub sandbox: bool,
}

fn condition(kind: &str, good: bool, since: &str, reason: Option<&str>, message: &str) -> Value {
    let mut out = json!({ "type": kind, "status": if good { "True" } else { "False" }, "lastProbeTime": null,
        "lastTransitionTime": since });
    if let (Some(map), Some(reason)) = (out.as_object_mut(), reason) {
        map.insert("reason".into(), reason.into());
        if !message.is_empty() {
            map.insert("message".into(), message.into());
        }
    }
    out
}

impl Pod {
    /// Bound, not on its way out.
    pub fn alive(&self) -> bool {
        self.meta.deleted.is_none() && !self.finished()
    }

    pub fn finished(&self) -> bool {
        matches!(self.phase, "Succeeded" | "Failed")
    }

    /// As its controller counts.
    pub fn available(&self) -> bool {
        self.ready && !self.node_lost && self.alive()
    }

    pub fn json(&self) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": self.meta.json(),
            "spec": self.template.spec(self.node.as_deref()), "status": self.status() })
    }

    fn status(&self) -> Value {
        let mut out = json!({ "phase": self.phase, "qosClass": "Burstable" });
        let Some(map) = out.as_object_mut() else { return out };
        let since = self.scheduled.as_deref().unwrap_or(&self.meta.created);
        let mut conditions = Vec::new();
        if let Some(state) = &self.state {
            let container = &self.template.container;
            let (reason, message) = match self.phase {
                "Succeeded" => (Some("PodCompleted"), String::new()),
                "Failed" => (Some("PodFailed"), String::new()),
                _ if self.ready => (None, String::new()),
                _ => (Some("ContainersNotReady"), format!("containers with unready status: [{container}]")),
            };
            conditions = vec![
                condition("PodReadyToStartContainers", self.sandbox && !self.finished(), since, None, ""),
                condition("Initialized", true, since, None, ""),
                condition("Ready", self.ready && !self.node_lost, &self.ready_since, reason, &message),
                condition("ContainersReady", self.ready, &self.ready_since, reason, &message),
            ];
            let started = state.get("running").is_some();
            map.insert(
                "containerStatuses".into(),
                json!([{ "name": container, "state": state, "lastState": self.last, "ready": self.ready,
                    "started": started, "restartCount": self.restarts, "image": self.template.image,
                    "imageID": "", }]),
            );
            map.insert("startTime".into(), since.into());
        }
        if let Some(message) = &self.unschedulable {
            conditions.push(condition(
                "PodScheduled",
                false,
                &self.meta.created,
                Some("Unschedulable"),
                message,
            ));
        } else if self.scheduled.is_some() {
            conditions.push(condition("PodScheduled", true, since, None, ""));
        }
        if let Some((reason, message)) = &self.verdict {
            map.insert("reason".into(), (*reason).into());
            map.insert("message".into(), message.as_str().into());
        }
        map.insert("conditions".into(), conditions.into());
        out
    }
}

#[derive(Debug, Clone)]
pub struct Node {
    pub meta: Meta,
    pub boot_id: String,
    pub heartbeat: String,
    pub since: String,
    /// The node controller has heard nothing for too long.
    pub lost: bool,
    /// The kubelet does not answer, whoever knows it.
    pub silent: bool,
}

impl Node {
    pub fn json(&self) -> Value {
        let states = [
            (
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ];
        let conditions: Vec<Value> = states
            .iter()
            .map(|(kind, well, reason, message)| {
                let (shown, reason, message) = if self.lost {
                    ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
                } else {
                    (*well, *reason, *message)
                };
                json!({ "type": kind, "status": shown, "reason": reason, "message": message,
                    "lastHeartbeatTime": self.heartbeat, "lastTransitionTime": self.since })
            })
            .collect();
        let taints = if self.lost {
            json!([{ "key": "node.kubernetes.io/unreachable", "effect": "NoSchedule", "timeAdded": self.since },
                { "key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": self.since }])
        } else {
            json!([])
        };
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": self.meta.json(), "spec": { "taints": taints },
            "status": { "capacity": { "cpu": "8", "memory": "32Gi", "pods": "110" },
                "allocatable": { "cpu": "7800m", "memory": "30Gi", "pods": "110" }, "conditions": conditions,
                "addresses": [{ "type": "Hostname", "address": self.meta.name }],
                "nodeInfo": { "bootID": self.boot_id, "kernelVersion": "6.12.0", "osImage": "Debian GNU/Linux 13 (trixie)",
                    "containerRuntimeVersion": "containerd://2.1.4", "kubeletVersion": "v1.36.0",
                    "operatingSystem": "linux", "architecture": "amd64" } } })
    }
}

/// One Event, as the older recorders of kubelet and controllers write it.
#[derive(Debug, Clone)]
pub struct Happening {
    pub name: String,
    pub uid: String,
    pub namespace: String,
    pub about: Value,
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
    pub component: &'static str,
    pub host: String,
    pub first: String,
    pub count: u32,
}

impl Happening {
    pub fn json(&self, now: &str) -> Value {
        let mut source = json!({ "component": self.component });
        if let (Some(map), false) = (source.as_object_mut(), self.host.is_empty()) {
            map.insert("host".into(), self.host.as_str().into());
        }
        json!({ "apiVersion": "v1", "kind": "Event",
            "metadata": { "namespace": self.namespace, "name": self.name, "uid": self.uid, "creationTimestamp": self.first },
            "involvedObject": self.about, "reason": self.reason, "message": self.message, "source": source,
            "firstTimestamp": self.first, "lastTimestamp": now, "count": self.count, "eventTime": null,
            "type": if self.warning { "Warning" } else { "Normal" },
            "reportingComponent": self.component, "reportingInstance": self.host })
    }

    /// The same in the form of the scheduler, which uses the newer recorder: no count, no source.
    pub fn scheduler_json(&self, at: Timestamp) -> Value {
        json!({ "apiVersion": "v1", "kind": "Event",
            "metadata": { "namespace": self.namespace, "name": self.name, "uid": self.uid, "creationTimestamp": self.first },
            "involvedObject": self.about, "reason": self.reason, "message": self.message, "source": {},
            "firstTimestamp": null, "lastTimestamp": null, "eventTime": format!("{at:.6}"),
            "action": if self.warning { "Scheduling" } else { "Binding" },
            "type": if self.warning { "Warning" } else { "Normal" },
            "reportingComponent": "default-scheduler", "reportingInstance": "default-scheduler-cp-1" })
    }
}

/// What an Event is about.
pub fn about(kind: &str, meta: &Meta, container: Option<&str>) -> Value {
    let api_version = match kind {
        "Pod" | "Node" => "v1",
        "Job" | "CronJob" => "batch/v1",
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        _ => "apps/v1",
    };
    let mut out = json!({ "kind": kind, "apiVersion": api_version, "name": meta.name });
    let Some(map) = out.as_object_mut() else { return out };
    // The kubelet leaves a node's UID out.
    if kind != "Node" {
        map.insert("uid".into(), meta.uid.as_str().into());
    }
    if !meta.namespace.is_empty() {
        map.insert("namespace".into(), meta.namespace.as_str().into());
    }
    if let Some(container) = container {
        map.insert("fieldPath".into(), format!("spec.containers{{{container}}}").into());
    }
    out
}

pub fn waiting(reason: &str, message: Option<String>) -> Value {
    match message {
        Some(message) => json!({ "waiting": { "reason": reason, "message": message } }),
        None => json!({ "waiting": { "reason": reason } }),
    }
}

pub fn running(since: &str) -> Value {
    json!({ "running": { "startedAt": since } })
}

pub fn terminated(code: i32, reason: &str, message: &str, from: &str, to: &str, id: &str) -> Value {
    let mut out = json!({ "terminated": { "exitCode": code, "reason": reason, "startedAt": from, "finishedAt": to,
        "containerID": format!("containerd://{id}") } });
    if let Some(map) = out.get_mut("terminated").and_then(Value::as_object_mut)
        && !message.is_empty()
    {
        map.insert("message".into(), message.into());
    }
    out
}
