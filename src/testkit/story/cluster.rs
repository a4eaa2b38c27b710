//! Pods, nodes and Events: what kubelets, the scheduler and the node controller write.

use super::controllers::Workload;
use super::objects::{Happening, Meta, Owner, Pod, about, running, terminated, waiting};
use super::{Story, Tone, Write};

pub type Key = (String, String);

/// UID (or name), reason, text, container: the same again is counted, not written anew.
pub type EventKey = (String, &'static str, String, String);

/// What a program that crashes at its start has written before; nobody should read the password.
const BOOT: &str = "level=info msg=\"starting\"";
const CONNECT: &str = "level=info msg=\"connected\" db=postgres://app:correct-horse@db.shop:5432/shop";

/// So many Events are kept; a real cluster forgets them after an hour.
const EVENTS: usize = 3000;

/// What becomes of a pod that was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It starts after so many seconds.
    Runs(u8),
    /// Its container ends as soon as it has begun.
    Crashes,
    /// Its image is not there.
    NoImage,
    /// Its Secret is not there.
    NoSecret,
    /// No node takes it.
    NoNode,
}

/// What an Event says, and who says it.
struct Telling {
    warning: bool,
    reason: &'static str,
    text: String,
    component: &'static str,
    host: String,
}

pub fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

impl Telling {
    const fn by(component: &'static str, warning: bool, reason: &'static str, text: String) -> Self {
        Self { warning, reason, text, component, host: String::new() }
    }
}

impl Story {
    pub(super) fn put_pod(&mut self, pod: &Key) {
        if let Some(pod) = self.pods.get(pod) {
            let object = pod.json();
            self.apply(object);
        }
    }

    /// Changes a pod, writes it, and lets its controller see it.
    pub(super) fn change(&mut self, pod: &Key, change: impl FnOnce(&mut Pod)) {
        let time = self.time();
        let Some(found) = self.pods.get_mut(pod) else { return };
        let was_ready = found.available();
        change(found);
        if found.available() != was_ready {
            found.ready_since = time;
        }
        self.put_pod(pod);
        self.pod_changed(pod);
    }

    fn pod_changed(&mut self, pod: &Key) {
        if let Some(workload) = self.pods.get(pod).and_then(|p| self.workload_of(p)) {
            self.sync_workload(&workload);
        }
    }

    pub(super) fn is_alive(&self, pod: &Key) -> bool {
        self.pods.get(pod).is_some_and(Pod::alive)
    }

    // === The life of a pod ===

    /// A pod as its controller makes it.
    pub(super) fn create_pod(&mut self, meta: Meta, workload: &Workload, fate: Fate) -> Key {
        let pod_key = key(&meta.namespace, &meta.name);
        let pod = Pod {
            ready_since: meta.created.clone(),
            meta,
            template: workload.template.clone(),
            node: None,
            phase: "Pending",
            verdict: None,
            state: None,
            last: serde_json::json!({}),
            restarts: 0,
            ready: false,
            node_lost: false,
            scheduled: None,
            unschedulable: None,
            sandbox: false,
        };
        self.pods.insert(pod_key.clone(), pod);
        self.put_pod(&pod_key);
        let (pod, nodes) = (pod_key.clone(), workload.nodes);
        self.after(0.03, move |s| match fate {
            Fate::NoNode => s.no_node(&pod),
            fate => {
                s.bind(&pod, nodes);
                s.after(0.05, move |s| s.admit(&pod, fate));
            }
        });
        pod_key
    }

    /// The scheduler picks the emptiest of the nodes allowed.
    pub(super) fn bind(&mut self, pod: &Key, nodes: &[&str]) {
        if !self.is_alive(pod) {
            return;
        }
        let load =
            |node: &str| self.pods.values().filter(|p| p.alive() && p.node.as_deref() == Some(node)).count();
        let up = |name: &str| self.nodes.get(name).is_some_and(|n| !n.lost && !n.silent);
        let all: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
        let allowed = if nodes.is_empty() { all.as_slice() } else { nodes };
        let Some(node) = allowed.iter().filter(|n| up(n)).min_by_key(|n| load(n)).map(|n| (*n).to_owned())
        else {
            return;
        };
        let time = self.time();
        if let Some(found) = self.pods.get_mut(pod) {
            found.node = Some(node.clone());
            found.scheduled = Some(time);
            found.unschedulable = None;
        }
        self.put_pod(pod);
        let text = format!("Successfully assigned {}/{} to {node}", pod.0, pod.1);
        self.scheduler_event(pod, false, "Scheduled", text);
    }

    /// The kubelet takes the pod in.
    pub(super) fn admit(&mut self, pod: &Key, fate: Fate) {
        if !self.is_alive(pod) {
            return;
        }
        self.change(pod, |p| p.state = Some(waiting("ContainerCreating", None)));
        let pod = pod.clone();
        match fate {
            Fate::Runs(seconds) => self.after(0.3 + f64::from(seconds), move |s| s.start(&pod, true)),
            Fate::Crashes => self.after(0.6, move |s| s.crash_run(&pod)),
            Fate::NoImage => self.after(0.8, move |s| s.pull_fails(&pod, 0)),
            Fate::NoSecret => self.after(0.1, move |s| s.mount_fails(&pod, 0)),
            Fate::NoNode => {}
        }
    }

    pub(super) fn start(&mut self, pod: &Key, pulled: bool) {
        if !self.is_alive(pod) {
            return;
        }
        self.change(pod, |p| p.sandbox = true);
        let image = self.pods.get(pod).map(|p| p.template.image.clone()).unwrap_or_default();
        let text = if pulled {
            format!("Container image \"{image}\" already present on machine and can be accessed by the pod")
        } else {
            format!(
                "Successfully pulled image \"{image}\" in 1.204s (1.204s including waiting). Image size: 48211934 bytes."
            )
        };
        self.kubelet_event(pod, false, "Pulled", text);
        self.kubelet_event(pod, false, "Created", String::from("Container created"));
        self.kubelet_event(pod, false, "Started", String::from("Container started"));
        let time = self.time();
        self.change(pod, |p| {
            p.phase = "Running";
            p.state = Some(running(&time));
            p.ready = true;
        });
    }

    /// Somebody wants the pod to go.
    pub(super) fn delete_pod(&mut self, pod: &Key) {
        if self.pods.get(pod).is_none_or(|p| p.meta.deleted.is_some()) {
            return;
        }
        let time = self.time();
        let was_running = self.pods.get(pod).is_some_and(|p| p.phase == "Running");
        self.change(pod, |p| p.meta.deleted = Some(time));
        if was_running {
            let container = self.pods.get(pod).map(|p| p.template.container.clone()).unwrap_or_default();
            self.kubelet_event(pod, false, "Killing", format!("Stopping container {container}"));
        }
        let pod = pod.clone();
        self.after(2.0, move |s| {
            s.end_run(&pod, 0, "Completed", "");
            s.change(&pod, |p| p.ready = false);
            let workload = s.pods.get(&pod).and_then(|p| s.workload_of(p));
            s.pods.remove(&pod);
            s.remove("Pod", &pod.0, &pod.1);
            if let Some(workload) = workload {
                s.sync_workload(&workload);
            }
        });
    }

    /// The container ends; nothing is written yet.
    pub(super) fn end_run(&mut self, pod: &Key, code: i32, reason: &str, message: &str) {
        let (time, id) = (self.time(), format!("{:016x}", self.number()));
        let Some(found) = self.pods.get_mut(pod) else { return };
        let from = found
            .state
            .as_ref()
            .and_then(|s| s.pointer("/running/startedAt"))
            .and_then(serde_json::Value::as_str)
            .unwrap_or(&time)
            .to_owned();
        if let Some(state) = &found.state
            && state.get("terminated").is_some()
        {
            found.last = state.clone();
        }
        found.state = Some(terminated(code, reason, message, &from, &time, &id));
        if !message.is_empty() {
            let (container, id) = (found.template.container.clone(), format!("containerd://{id}"));
            let lines = [BOOT, CONNECT, message];
            let (namespace, name) = (pod.0.clone(), pod.1.clone());
            self.write(Write::Log {
                namespace: &namespace,
                pod: &name,
                container: &container,
                id: &id,
                lines: &lines,
            });
        }
    }

    // === Nodes ===

    pub(super) fn put_node(&mut self, name: &str) {
        if let Some(node) = self.nodes.get(name) {
            let object = node.json();
            self.apply(object);
        }
    }

    /// Each kubelet says that it is there.
    pub(super) fn heartbeats(&mut self) {
        let time = self.time();
        let mut up = Vec::new();
        for (name, node) in self.nodes.iter_mut().filter(|(_, n)| !n.silent) {
            node.heartbeat.clone_from(&time);
            up.push(name.clone());
        }
        for name in up {
            self.put_node(&name);
        }
    }

    /// The node controller has waited long enough.
    pub(super) fn lose_node(&mut self, name: &str) {
        let time = self.time();
        if let Some(node) = self.nodes.get_mut(name) {
            (node.lost, node.since) = (true, time);
        }
        self.put_node(name);
        self.node_event(
            name,
            "NodeNotReady",
            "node-controller",
            format!("Node {name} status is now: NodeNotReady"),
        );
        for pod in self.pods_on(name) {
            self.change(&pod, |p| p.node_lost = true);
            if let Some(meta) = self.pods.get(&pod).map(|p| p.meta.clone()) {
                let about = about("Pod", &meta, None);
                let text = String::from("Node is not ready");
                self.event(&meta, about, Telling::by("node-controller", true, "NodeNotReady", text));
            }
        }
        let pods = self.pods_on(name).len();
        self.say(Tone::Trouble, format!("node {name} is lost; {pods} pods on it count as not ready"));
    }

    /// The kubelet answers again; its containers ran all the time.
    pub(super) fn node_returns(&mut self, name: &str) {
        let time = self.time();
        if let Some(node) = self.nodes.get_mut(name) {
            (node.lost, node.silent) = (false, false);
            node.since.clone_from(&time);
            node.heartbeat = time;
        }
        self.put_node(name);
        self.node_event(name, "NodeReady", "kubelet", format!("Node {name} status is now: NodeReady"));
        for pod in self.pods_on(name) {
            self.change(&pod, |p| p.node_lost = false);
        }
    }

    pub(super) fn pods_on(&self, node: &str) -> Vec<Key> {
        let there = |p: &&Pod| p.phase == "Running" && p.node.as_deref() == Some(node);
        self.pods.values().filter(there).map(|p| key(&p.meta.namespace, &p.meta.name)).collect()
    }

    // === Events ===

    /// About a pod's container, by the kubelet of its node.
    pub(super) fn kubelet_event(&mut self, pod: &Key, warning: bool, reason: &'static str, text: String) {
        let Some(found) = self.pods.get(pod) else { return };
        let (meta, host) = (found.meta.clone(), found.node.clone().unwrap_or_default());
        let about = about("Pod", &meta, Some(&found.template.container));
        self.event(&meta, about, Telling { host, ..Telling::by("kubelet", warning, reason, text) });
    }

    /// About a pod as a whole, by the kubelet of its node.
    pub(super) fn kubelet_pod_event(&mut self, pod: &Key, warning: bool, reason: &'static str, text: String) {
        let Some(found) = self.pods.get(pod) else { return };
        let (meta, host) = (found.meta.clone(), found.node.clone().unwrap_or_default());
        let about = about("Pod", &meta, None);
        self.event(&meta, about, Telling { host, ..Telling::by("kubelet", warning, reason, text) });
    }

    pub(super) fn scheduler_event(&mut self, pod: &Key, warning: bool, reason: &'static str, text: String) {
        let Some(meta) = self.pods.get(pod).map(|p| p.meta.clone()) else { return };
        let about = about("Pod", &meta, None);
        let happening = self.happening(&meta, about, Telling::by("default-scheduler", warning, reason, text));
        let object = happening.scheduler_json(self.timestamp());
        self.apply(object);
        // The newer recorder makes a new Event of each.
        self.remember((happening.uid.clone(), reason, String::new(), String::new()), happening);
    }

    fn node_event(&mut self, name: &str, reason: &'static str, component: &'static str, text: String) {
        let Some(meta) = self.nodes.get(name).map(|n| n.meta.clone()) else { return };
        // Events about what has no namespace live in `default`.
        let meta = Meta { namespace: "default".into(), ..meta };
        let mut about = about("Node", &meta, None);
        if let Some(map) = about.as_object_mut() {
            map.remove("namespace");
        }
        let host = if component == "kubelet" { name.to_owned() } else { String::new() };
        self.event(&meta, about, Telling { host, ..Telling::by(component, false, reason, text) });
    }

    /// By a controller, about an object it owns.
    pub(super) fn controller_event(
        &mut self,
        kind: &str,
        meta: &Meta,
        component: &'static str,
        reason: &'static str,
        text: String,
    ) {
        let about = about(kind, meta, None);
        self.event(meta, about, Telling::by(component, false, reason, text));
    }

    fn event(&mut self, meta: &Meta, about: serde_json::Value, telling: Telling) {
        let time = self.time();
        let field = about.get("fieldPath").and_then(|f| f.as_str()).unwrap_or_default().to_owned();
        let event_key = (meta.uid.clone(), telling.reason, telling.text.clone(), field);
        if let Some(known) = self.events.get_mut(&event_key) {
            known.count += 1;
            let object = known.json(&time);
            self.apply(object);
            return;
        }
        let happening = self.happening(meta, about, telling);
        self.apply(happening.json(&time));
        self.remember(event_key, happening);
    }

    fn happening(&mut self, meta: &Meta, about: serde_json::Value, telling: Telling) -> Happening {
        let Telling { warning, reason, text, component, host } = telling;
        Happening {
            // Real names end in the nanoseconds of the first time; here two can share those.
            name: format!("{}.{:016x}", meta.name, self.number() >> 3),
            uid: self.uid(),
            namespace: meta.namespace.clone(),
            about,
            warning,
            reason,
            message: text,
            component,
            host,
            first: self.time(),
            count: 1,
        }
    }

    fn remember(&mut self, event_key: EventKey, happening: Happening) {
        self.event_order.push_back(event_key.clone());
        self.events.insert(event_key, happening);
        if self.event_order.len() > EVENTS
            && let Some(oldest) = self.event_order.pop_front().and_then(|k| self.events.remove(&k))
        {
            self.remove("Event", &oldest.namespace, &oldest.name);
        }
    }

    /// `metadata` of something made now.
    pub(super) fn meta(&mut self, namespace: &str, name: String, owner: Option<Owner>) -> Meta {
        Meta {
            namespace: namespace.to_owned(),
            name,
            uid: self.uid(),
            created: self.time(),
            generation: 1,
            labels: Vec::new(),
            owner,
            deleted: None,
        }
    }
}
