//! `given:` signals, and the world that they make: an object has a problem from when it is raised
//! until it is cleared, or until the object is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::config::Given;
use crate::signal::finding::weight;
use crate::signal::silence::Layers;
use crate::signal::{self, Cause, Exit, Health, ObjectRef, Phase, Signal, Source, Standing, Workload};

/// The signal that a test means. What it does not say is made up as it would be for a pod of
/// `Deployment/app` in the namespace `default`.
pub(super) fn signal(given: &Given, at: Timestamp) -> Signal {
    let text = |field: &str| given.texts.iter().find(|(name, _)| *name == field).map(|(_, text)| &**text);
    let cause = given.cause.unwrap_or(Cause::Event);
    let (object, workload) = names(cause, &text);
    let phase = given.phase.unwrap_or_else(|| usual_phase(cause));
    let from_event = cause == Cause::Event || text("type").is_some();
    let source = given.source.unwrap_or(if from_event { Source::Event } else { Source::Status });
    let is_node = &*object.kind == "Node";
    let node = text("node").map(Arc::from).or_else(|| is_node.then(|| Arc::clone(&object.name)));
    let labels = |pairs: &[(String, String)]| {
        (!pairs.is_empty()).then(|| Arc::new(pairs.iter().cloned().collect::<BTreeMap<_, _>>()))
    };
    let oom = cause == Cause::OOMKilled;
    let active = matches!(phase, Phase::Raised | Phase::Pulse);
    Signal {
        at,
        since: None,
        since_at_least: false,
        cause,
        phase,
        source,
        workload,
        revision: None,
        container: text("container").map(Arc::from).or_else(|| in_container(cause).then(|| "app".into())),
        node,
        reason: Arc::from(text("reason").unwrap_or(cause.as_str())),
        message: Arc::from(text("message").unwrap_or_default()),
        weight: if text("message").is_some() { weight::ERROR } else { 0 },
        event_type: text("type").or_else(|| (source == Source::Event).then_some("Warning")).map(Arc::from),
        count: given.count.unwrap_or_else(|| u32::from(active)),
        restarts: None,
        exit: given.exit_code.map(|code| Exit {
            code,
            reason: Some(Arc::from(if oom { "OOMKilled" } else { "Error" })),
            ..Exit::default()
        }),
        job: None,
        image: text("image").map(Arc::from),
        not_before: None,
        labels: [labels(&given.labels), None, None],
        annotations: [labels(&given.annotations), None, None],
        object,
    }
}

/// The object, and whose it is.
fn names<'a>(cause: Cause, text: &impl Fn(&str) -> Option<&'a str>) -> (ObjectRef, Workload) {
    let owner = text("workload").map(Workload::from);
    let owner_kind = owner.as_ref().map(Workload::kind).filter(|kind| !kind.is_empty());
    let kind = text("kind").unwrap_or(match cause {
        cause if cause.is_node() => "Node",
        Cause::JobFailed => "Job",
        Cause::ProvisioningFailed => "PersistentVolumeClaim",
        Cause::RolloutStuck | Cause::FailedCreate => owner_kind.unwrap_or("Deployment"),
        Cause::StuckTerminating if owner_kind == Some("Namespace") => "Namespace",
        _ => "Pod",
    });
    let owner_name = owner.as_ref().map(Workload::name);
    let name = text("name").or_else(|| if kind == "Node" { text("node") } else { None });
    let name = match (name, owner_name) {
        (Some(name), _) => name.to_owned(),
        // It is the workload itself.
        (None, Some(name)) if owner_kind == Some(kind) => name.to_owned(),
        // A pod of nobody.
        (None, Some(name)) if cause == Cause::PodFailed => name.to_owned(),
        (None, Some(name)) => format!("{name}-1"),
        (None, None) if kind == "Pod" => "app-1".to_owned(),
        (None, None) => "app".to_owned(),
    };
    let workload = match &owner {
        Some(owner) => owner.clone(),
        None if kind == "Pod" && cause != Cause::PodFailed => Workload::new("Deployment", "app"),
        None => Workload::new(kind, &name),
    };
    let usual = if kind == "Namespace" { &name } else { "default" };
    let namespace = (kind != "Node").then(|| Arc::from(text("namespace").unwrap_or(usual)));
    (ObjectRef { kind: Arc::from(kind), namespace, name: Arc::from(name), uid: Arc::from("") }, workload)
}

/// How `signal` tells of a cause first: a state, or an Event or a moment that has none.
const fn usual_phase(cause: Cause) -> Phase {
    match cause {
        Cause::OOMKilled
        | Cause::Unhealthy
        | Cause::FailedMount
        | Cause::FailedAttachVolume
        | Cause::FailedCreate
        | Cause::ProvisioningFailed => Phase::Pulse,
        cause if cause.is_point() => Phase::Pulse,
        _ => Phase::Raised,
    }
}

const fn in_container(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::CrashLoopBackOff
            | Cause::ImagePullBackOff
            | Cause::CreateContainerConfigError
            | Cause::CreateContainerError
            | Cause::RunContainerError
            | Cause::OOMKilled
            | Cause::Unhealthy
            | Cause::PodFailed
    )
}

/// What the memory adds when a workload is well again: the engine looks at what waits for it.
pub(super) fn health(signal: &Signal) -> Option<Signal> {
    let changed = matches!(signal.phase, Phase::Raised | Phase::Cleared | Phase::Gone);
    changed.then(|| Signal { cause: Cause::Event, phase: Phase::Health, ..signal.clone() })
}

/// What is known of one problem of one object.
#[derive(Debug, Clone, Copy)]
enum State {
    Raised,
    /// Told by an Event: taken as active until it has been quiet for `resolve_after`.
    Pulse(Timestamp),
    Clear(Timestamp),
}

#[derive(Debug)]
struct Object {
    at: ObjectRef,
    workload: Workload,
    node: Option<Arc<str>>,
    /// As its last signal had them.
    annotations: Layers,
    /// By cause and container.
    states: BTreeMap<(Cause, Option<Arc<str>>), State>,
    gone: bool,
    lost: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct World {
    now: Timestamp,
    objects: BTreeMap<String, Object>,
}

impl World {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { now, objects: BTreeMap::new() }
    }

    pub(super) const fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Takes one signal in, before the engine does. `resolve_after` is that of its rule.
    pub(super) fn take(&mut self, signal: &Signal, resolve_after: Duration) {
        let object = self.objects.entry(signal.object.to_string()).or_insert_with(|| Object {
            at: signal.object.clone(),
            workload: signal.workload.clone(),
            node: None,
            annotations: [None, None, None],
            states: BTreeMap::new(),
            gone: false,
            lost: false,
        });
        object.node = signal.node.clone().or_else(|| object.node.take());
        object.annotations.clone_from(&signal.annotations);
        let key = (signal.cause, signal.container.clone());
        match signal.phase {
            Phase::Raised | Phase::Pulse => {
                (object.gone, object.lost) = (false, false);
                let until = clock::after(signal.at, resolve_after);
                let raised = signal.phase == Phase::Raised;
                object.states.insert(key, if raised { State::Raised } else { State::Pulse(until) });
            }
            Phase::Cleared => {
                for ((cause, part), state) in &mut object.states {
                    if *cause == key.0 && (part.is_none() || key.1.is_none() || *part == key.1) {
                        *state = State::Clear(signal.at);
                    }
                }
            }
            Phase::Gone => {
                object.gone = true;
                object.states.clear();
            }
            Phase::Lost => object.lost = true,
            Phase::Health | Phase::Detail => {}
        }
    }

    fn of<'a>(
        &'a self,
        namespace: Option<&'a str>,
        workload: &'a Workload,
    ) -> impl Iterator<Item = &'a Object> {
        self.objects.values().filter(move |object| {
            !object.gone && object.at.namespace.as_deref() == namespace && object.workload == *workload
        })
    }
}

impl signal::World for World {
    fn standing(&self, object: &ObjectRef, container: Option<&str>, cause: Cause) -> Standing {
        let Some(object) = self.objects.get(&object.to_string()) else { return Standing::Unknown };
        if object.lost {
            return Standing::Unknown;
        }
        if object.gone {
            return Standing::Gone;
        }
        let mut since = None;
        for ((of, part), state) in &object.states {
            let same_part = part.is_none() || container.is_none() || part.as_deref() == container;
            if *of != cause || !same_part {
                continue;
            }
            match state {
                State::Raised => return Standing::Raised,
                State::Pulse(until) if self.now < *until => return Standing::Raised,
                State::Pulse(until) => since = since.max(Some(*until)),
                State::Clear(at) => since = since.max(Some(*at)),
            }
        }
        Standing::Clear(since)
    }

    fn health(&self, namespace: Option<&str>, workload: &Workload) -> Health {
        match workload.kind() {
            // Nothing stands behind these: when they are gone, they are gone.
            "Pod" | "Node" | "PersistentVolumeClaim" | "Namespace" => return Health::Absent,
            "Job" | "CronJob" => return Health::Healthy,
            _ => {}
        }
        let ill = self.of(namespace, workload).any(|object| {
            object.states.iter().any(|((cause, _), state)| match state {
                State::Raised => true,
                State::Pulse(until) => cause.is_start() && self.now < *until,
                State::Clear(_) => false,
            })
        });
        if ill { Health::Unhealthy } else { Health::Healthy }
    }

    fn revision(&self, _: Option<&str>, _: &Workload) -> Option<Arc<str>> {
        None
    }

    fn replicas(&self, _: Option<&str>, _: &Workload) -> Option<u32> {
        None
    }

    fn on_node(&self, namespace: Option<&str>, workload: &Workload, node: &str) -> bool {
        self.of(namespace, workload).any(|object| object.node.as_deref() == Some(node))
    }

    fn annotations(&self, object: &ObjectRef, _: &Workload) -> Option<Layers> {
        self.objects.get(&object.to_string()).map(|object| object.annotations.clone())
    }

    fn pods_on_node(&self, node: &str) -> u32 {
        let pods = self.objects.values().filter(|object| {
            !object.gone && &*object.at.kind == "Pod" && object.node.as_deref() == Some(node)
        });
        u32::try_from(pods.count()).unwrap_or(u32::MAX)
    }
}
