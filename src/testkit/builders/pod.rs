//! Pods: containers with their states; phase and conditions follow as the kubelet writes them.

use serde_json::{Value, json};

use super::meta::{Meta, with_meta};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Main,
    Init,
    Sidecar,
    Ephemeral,
}

#[derive(Debug, Clone)]
struct Container {
    list: List,
    name: String,
    image: String,
    memory: Option<String>,
    state: Value,
    last: Value,
    restarts: i64,
    ready: Option<bool>,
}

impl Container {
    fn new(list: List, name: &str) -> Self {
        Self {
            list,
            name: name.to_owned(),
            image: format!("registry.example.com/{name}:1"),
            memory: None,
            state: json!({ "waiting": { "reason": "ContainerCreating" } }),
            last: json!({}),
            restarts: 0,
            ready: None,
        }
    }

    fn is(&self, state: &str) -> bool {
        self.state.get(state).is_some()
    }

    fn exit(&self) -> Option<i64> {
        self.state.pointer("/terminated/exitCode").and_then(Value::as_i64)
    }

    fn ready(&self) -> bool {
        self.ready.unwrap_or_else(|| match self.list {
            List::Init => self.exit() == Some(0),
            _ => self.is("running"),
        })
    }

    fn spec(&self) -> Value {
        let mut spec = json!({ "name": self.name, "image": self.image });
        if let Some(map) = spec.as_object_mut() {
            if self.list == List::Sidecar {
                map.insert("restartPolicy".into(), json!("Always"));
            }
            if let Some(memory) = &self.memory {
                map.insert("resources".into(), json!({ "limits": { "memory": memory } }));
            }
        }
        spec
    }

    fn status(&self) -> Value {
        // Runs are counted from 0, and their ids are `NAME-RUN`. Until the next one begins, the current
        // one is the one that ended.
        let id = |run: i64| format!("containerd://{}-{run}", self.name);
        let (mut state, mut last) = (self.state.clone(), self.last.clone());
        put_id(&mut state, &id(self.restarts));
        put_id(&mut last, &id(if self.is("waiting") { self.restarts } else { self.restarts - 1 }));
        json!({
            "name": self.name, "image": self.image, "imageID": "", "containerID": id(self.restarts),
            "ready": self.ready(), "started": self.is("running"), "restartCount": self.restarts,
            "state": state, "lastState": last,
        })
    }
}

/// A Pod under construction. Methods about a container speak of the one named last; a pod has the
/// container `app` unless another is named first.
#[derive(Debug, Clone)]
pub struct Pod {
    pub(super) meta: Meta,
    node: Option<String>,
    restart_policy: String,
    containers: Vec<Container>,
    silent: bool,
    phase: Option<String>,
    status: Option<(String, String)>,
    nominated: Option<String>,
    scheduled: Option<Value>,
    scheduled_at: String,
    disruption: Option<String>,
    node_lost: bool,
    gate: Option<String>,
}

with_meta!(Pod);

/// A pod that waits for a node.
pub fn pod(name: &str) -> Pod {
    Pod {
        meta: Meta::new("Pod", name),
        node: None,
        restart_policy: String::from("Always"),
        containers: Vec::new(),
        silent: false,
        phase: None,
        status: None,
        nominated: None,
        scheduled: None,
        scheduled_at: String::from("T-1h"),
        disruption: None,
        node_lost: false,
        gate: None,
    }
}

impl Pod {
    /// Owned by a Deployment's ReplicaSet `<deployment>-<hash>`.
    pub fn owned_by_rs(self, replica_set: &str) -> Self {
        let hash = replica_set.rsplit_once('-').map_or(replica_set, |(_, hash)| hash).to_owned();
        self.owned_by("ReplicaSet", replica_set).label("pod-template-hash", &hash)
    }

    /// Owned by a Job; pods of Jobs are not restarted.
    pub fn owned_by_job(self, job: &str) -> Self {
        self.owned_by("Job", job).restart_policy("Never").label("batch.kubernetes.io/job-name", job)
    }

    /// Bound to a node.
    pub fn node(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// When it was bound (`T+5m`).
    pub fn scheduled(mut self, at: &str) -> Self {
        at.clone_into(&mut self.scheduled_at);
        self
    }

    /// `Always`, `OnFailure` or `Never`.
    pub fn restart_policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.restart_policy);
        self
    }

    /// Adds a container, or goes back to it.
    pub fn container(self, name: &str) -> Self {
        self.select(List::Main, name)
    }

    /// Adds an init container.
    pub fn init(self, name: &str) -> Self {
        self.select(List::Init, name)
    }

    /// Adds an init container with `restartPolicy: Always`.
    pub fn sidecar(self, name: &str) -> Self {
        self.select(List::Sidecar, name)
    }

    /// Adds an ephemeral container.
    pub fn ephemeral(self, name: &str) -> Self {
        self.select(List::Ephemeral, name)
    }

    fn select(mut self, list: List, name: &str) -> Self {
        let found = self.containers.iter().position(|c| c.list == list && c.name == name);
        let container = match found {
            Some(place) => self.containers.remove(place),
            None => Container::new(list, name),
        };
        self.containers.push(container);
        self
    }

    fn current(mut self, change: impl FnOnce(&mut Container)) -> Self {
        if self.containers.is_empty() {
            self.containers.push(Container::new(List::Main, "app"));
        }
        if let Some(container) = self.containers.last_mut() {
            change(container);
        }
        self
    }

    pub fn image(self, image: &str) -> Self {
        self.current(|c| image.clone_into(&mut c.image))
    }

    /// Sets the memory limit.
    pub fn memory(self, limit: &str) -> Self {
        self.current(|c| c.memory = Some(limit.to_owned()))
    }

    /// Runs since then, and is ready.
    pub fn running(self, since: &str) -> Self {
        self.current(|c| c.state = json!({ "running": { "startedAt": since } }))
    }

    /// Its readiness probe does not pass.
    pub fn unready(self) -> Self {
        self.current(|c| c.ready = Some(false))
    }

    pub fn waiting(self, reason: &str, message: &str) -> Self {
        self.current(|c| c.state = json!({ "waiting": { "reason": reason, "message": message } }))
    }

    pub fn terminated(self, code: i32, reason: &str, from: &str, to: &str) -> Self {
        self.current(|c| c.state = ended(code, reason, from, to))
    }

    /// How the run before ended.
    pub fn last(self, code: i32, reason: &str, from: &str, to: &str) -> Self {
        self.current(|c| c.last = ended(code, reason, from, to))
    }

    /// Its termination message, of the run that ended last.
    pub fn said(self, message: &str) -> Self {
        self.current(|c| {
            let ended = if c.is("terminated") { &mut c.state } else { &mut c.last };
            if let Some(Value::Object(run)) = ended.get_mut("terminated") {
                run.insert("message".into(), json!(message));
            }
        })
    }

    pub fn restarts(self, count: i64) -> Self {
        self.current(|c| c.restarts = count)
    }

    /// The kubelet has not written any container status yet.
    pub const fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// A phase other than the one that follows from the containers.
    pub fn phase(mut self, phase: &str) -> Self {
        self.phase = Some(phase.to_owned());
        self
    }

    /// Failed as a whole, with `status.reason`.
    pub fn failed(mut self, reason: &str, message: &str) -> Self {
        self.status = Some((reason.to_owned(), message.to_owned()));
        self.phase("Failed")
    }

    /// The scheduler found no node, since then.
    pub fn unschedulable(mut self, message: &str, since: &str) -> Self {
        self.scheduled = Some(json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": since }));
        self
    }

    /// Scheduling gates hold it.
    pub fn gated(mut self) -> Self {
        self.scheduled = Some(
            json!({ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates", "lastTransitionTime": "T-1h" }),
        );
        self
    }

    /// The scheduler preempts others for it.
    pub fn nominated(mut self, node: &str) -> Self {
        self.nominated = Some(node.to_owned());
        self
    }

    pub fn disrupted(mut self, reason: &str) -> Self {
        self.disruption = Some(reason.to_owned());
        self
    }

    /// The node controller has marked it not ready.
    pub const fn node_lost(mut self) -> Self {
        self.node_lost = true;
        self
    }

    /// Its containers are ready, and a readiness gate holds the pod back.
    pub fn gated_ready(mut self, message: &str) -> Self {
        self.gate = Some(message.to_owned());
        self
    }

    fn of(&self, lists: &[List]) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(move |c| lists.contains(&c.list))
    }

    /// As `getPhase` of the kubelet has it.
    fn phase_now(&self) -> String {
        if let Some(phase) = &self.phase {
            return phase.clone();
        }
        let pending_init = self.of(&[List::Init]).any(|c| c.exit() != Some(0));
        let mut main = self.of(&[List::Main]).peekable();
        let never_ran = |c: &Container| c.is("waiting") && c.last == json!({});
        if self.node.is_none() || self.silent || pending_init || main.peek().is_none() {
            return String::from("Pending");
        }
        let main: Vec<&Container> = main.collect();
        if main.iter().any(|c| never_ran(c)) {
            return String::from("Pending");
        }
        let phase = if main.iter().all(|c| c.is("terminated")) && self.restart_policy != "Always" {
            match (main.iter().all(|c| c.exit() == Some(0)), self.restart_policy.as_str()) {
                (true, _) => "Succeeded",
                (false, "Never") => "Failed",
                (false, _) => "Running",
            }
        } else {
            "Running"
        };
        String::from(phase)
    }

    pub fn json(&self) -> Value {
        let this = if self.containers.is_empty() { self.clone().container("app") } else { self.clone() };
        let specs = |lists: &[List]| this.of(lists).map(Container::spec).collect::<Vec<_>>();
        let reported = this.node.is_some() && !this.silent;
        let statuses =
            |lists: &[List]| this.of(lists).filter(|_| reported).map(Container::status).collect::<Vec<_>>();
        let mut conditions = Vec::new();
        match (&this.scheduled, &this.node) {
            (Some(condition), None) => conditions.push(condition.clone()),
            (_, Some(_)) => conditions.push(json!({ "type": "PodScheduled", "status": "True",
                "lastTransitionTime": this.scheduled_at })),
            _ => {}
        }
        let ready = !this.node_lost
            && this.gate.is_none()
            && this.node.is_some()
            && this.of(&[List::Main, List::Sidecar]).all(Container::ready);
        if this.node.is_some() {
            conditions.push(json!({ "type": "Ready", "status": if ready { "True" } else { "False" },
                "reason": match (ready, &this.gate) {
                    (true, _) => Value::Null,
                    (false, Some(_)) => json!("ReadinessGatesNotReady"),
                    (false, None) => json!("ContainersNotReady"),
                },
                "message": this.gate,
                "lastTransitionTime": "T-1h" }));
        }
        if let Some(reason) = &this.disruption {
            conditions.push(json!({ "type": "DisruptionTarget", "status": "True", "reason": reason,
                "lastTransitionTime": "-0s" }));
        }
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": this.meta.json(),
            "spec": {
                "nodeName": this.node,
                "restartPolicy": this.restart_policy,
                "initContainers": specs(&[List::Init, List::Sidecar]),
                "containers": specs(&[List::Main]),
                "ephemeralContainers": specs(&[List::Ephemeral]),
            },
            "status": {
                "phase": this.phase_now(),
                "reason": this.status.as_ref().map(|(reason, _)| reason),
                "message": this.status.as_ref().map(|(_, message)| message),
                "nominatedNodeName": this.nominated,
                "conditions": conditions,
                "initContainerStatuses": statuses(&[List::Init, List::Sidecar]),
                "containerStatuses": statuses(&[List::Main]),
                "ephemeralContainerStatuses": statuses(&[List::Ephemeral]),
            },
        })
    }
}

fn put_id(state: &mut Value, id: &str) {
    if let Some(Value::Object(run)) = state.get_mut("terminated") {
        run.insert("containerID".into(), json!(id));
    }
}

fn ended(code: i32, reason: &str, from: &str, to: &str) -> Value {
    json!({ "terminated": { "exitCode": code, "reason": reason, "startedAt": from, "finishedAt": to } })
}
