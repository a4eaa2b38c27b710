//! From slim objects to facts.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::decode::fields::Message;
use super::intern::Interner;
use super::kinds::{
    Condition, Container, ContainerState, ContainerStatus, CronJob, Job, Namespace, Node,
    PersistentVolumeClaim, Pod, Terminated, WorkloadSpec, WorkloadStatus,
};
use crate::signal::facts::{
    BadCondition, ClaimFacts, ContainerFacts, CronJobFacts, Deletion, Identity, JobFacts, NamespaceFacts,
    NodeFacts, Owner, PodFacts, PodPhase, RestartPolicy, Role, Run, State, Unschedulable, WorkloadFacts,
};
use crate::signal::{Exit, ObjectRef, node, text};

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|t| t.0)
}

/// The longest list of failed indexes that is kept, in bytes: a Job may have 100,000 of them.
const MAX_INDEXES: usize = 200;
fn optional(text: Option<&str>, interner: &mut Interner) -> Option<Arc<str>> {
    text.filter(|t| !t.is_empty()).map(|t| interner.text(t))
}

fn shared(message: Option<&Message>) -> Arc<str> {
    message.map_or_else(|| Arc::from(""), Message::shared)
}

/// Who an object is.
pub fn identity(kind: &str, meta: ObjectMeta, interner: &mut Interner) -> Identity {
    let deletion = deletion(&meta, interner);
    let owner = meta
        .owner_references
        .as_ref()
        .and_then(|owners| owners.first())
        .map(|owner| Owner { kind: interner.text(&owner.kind), name: interner.text(&owner.name) });
    Identity {
        object: ObjectRef {
            kind: interner.text(kind),
            namespace: optional(meta.namespace.as_deref(), interner),
            name: Arc::from(meta.name.unwrap_or_default()),
            uid: Arc::from(meta.uid.unwrap_or_default()),
        },
        labels: interner.labels(meta.labels),
        annotations: interner.labels(meta.annotations),
        created: time(meta.creation_timestamp.as_ref()),
        deletion,
        owner,
    }
}

fn deletion(meta: &ObjectMeta, interner: &mut Interner) -> Option<Box<Deletion>> {
    let at = time(meta.deletion_timestamp.as_ref())?;
    let grace = meta.deletion_grace_period_seconds.and_then(|secs| u64::try_from(secs).ok());
    let names = meta.finalizers.iter().flatten().map(String::as_str);
    let finalizers = finalizers(names, interner);
    Some(Box::new(Deletion { at, grace: Duration::from_secs(grace.unwrap_or_default()), finalizers }))
}

fn finalizers<'a>(names: impl Iterator<Item = &'a str>, interner: &mut Interner) -> Box<[Arc<str>]> {
    names
        .filter(|name| !name.is_empty())
        .take(Deletion::MAX_FINALIZERS)
        .map(|name| interner.text(name))
        .collect()
}

pub fn namespace(namespace: Namespace, interner: &mut Interner) -> NamespaceFacts {
    let Namespace { metadata, spec, status, .. } = namespace;
    let mut id = identity("Namespace", metadata, interner);
    let name = interner.text(&id.object.name);
    id.object.namespace = Some(name);
    if let Some(deletion) = &mut id.deletion {
        // `kubernetes` is the namespace controller's own; it goes last, when everything else has gone.
        let others = spec.finalizers.iter().map(|name| &**name).filter(|name| *name != "kubernetes");
        let mut all = deletion.finalizers.to_vec();
        all.extend(finalizers(others, interner));
        all.truncate(Deletion::MAX_FINALIZERS);
        deletion.finalizers = all.into_boxed_slice();
    }
    let conditions = status.conditions.iter().filter(|_| id.deletion.is_some());
    let conditions = conditions.filter(|c| c.status == "True" && c.r#type.starts_with("Namespace"));
    NamespaceFacts { conditions: conditions.take(8).map(|c| bad_condition(c, interner)).collect(), id }
}

pub fn pod(pod: Pod, interner: &mut Interner) -> PodFacts {
    let Pod { metadata, spec, status, .. } = pod;
    let condition = |kind: &str| status.conditions.iter().find(|c| c.r#type == kind);
    let scheduled = condition("PodScheduled");
    let mut containers = Vec::with_capacity(spec.init_containers.len() + spec.containers.len());
    for (list, statuses, init) in [
        (&spec.init_containers, &status.init_container_statuses, true),
        (&spec.containers, &status.container_statuses, false),
    ] {
        for wanted in list.iter() {
            let reported = statuses.iter().find(|s| s.name == wanted.name);
            containers.push(container(wanted, reported, init, interner));
        }
    }
    PodFacts {
        node: optional(spec.node_name.as_deref(), interner),
        restart_policy: match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        phase: match status.phase.as_deref() {
            Some("Running") => PodPhase::Running,
            Some("Succeeded") => PodPhase::Succeeded,
            Some("Failed") => PodPhase::Failed,
            Some("Unknown") => PodPhase::Unknown,
            _ => PodPhase::Pending,
        },
        status: status.reason.as_deref().filter(|r| !r.is_empty()).map(|reason| {
            let mut message = shared(status.message.as_ref());
            if let Some(secs) = spec.active_deadline_seconds.filter(|_| reason == "DeadlineExceeded") {
                message = Arc::from(format!("{message} (activeDeadlineSeconds: {secs})"));
            }
            Box::new((interner.text(reason), message))
        }),
        nominated: status.nominated_node_name.as_deref().is_some_and(|n| !n.is_empty()),
        unschedulable: scheduled.filter(|c| c.status == "False").map(|c| {
            Box::new(Unschedulable {
                reason: interner.text(c.reason.as_deref().unwrap_or_default()),
                message: shared(c.message.as_ref()),
                since: time(c.last_transition_time.as_ref()),
            })
        }),
        scheduled_at: scheduled
            .filter(|c| c.status == "True")
            .and_then(|c| time(c.last_transition_time.as_ref())),
        ready: condition("Ready").is_some_and(|c| c.status == "True"),
        gate: condition("Ready")
            .filter(|c| c.status != "True" && c.reason.as_deref() == Some("ReadinessGatesNotReady"))
            .map(|c| shared(c.message.as_ref())),
        disruption: condition("DisruptionTarget")
            .filter(|c| c.status == "True")
            .map(|c| interner.text(c.reason.as_deref().unwrap_or("DisruptionTarget"))),
        containers: containers.into_boxed_slice(),
        evicted: false,
        id: identity("Pod", metadata, interner),
    }
}

fn container(
    wanted: &Container,
    reported: Option<&ContainerStatus>,
    init: bool,
    interner: &mut Interner,
) -> ContainerFacts {
    let role = match (init, wanted.restart_policy.as_deref()) {
        (false, _) => Role::Main,
        (true, Some("Always")) => Role::Sidecar,
        (true, _) => Role::Init,
    };
    ContainerFacts {
        name: interner.text(&wanted.name),
        image: interner.text(wanted.image.as_deref().unwrap_or_default()),
        memory_limit: optional(wanted.resources.limits.memory.as_deref(), interner),
        role,
        state: reported.map_or(State::None, |r| state(&r.state, interner)),
        last: reported.and_then(|r| r.last_state.terminated.as_ref()).map(|t| Box::new(run(t, interner))),
        restarts: reported.map_or(0, |r| u32::try_from(r.restart_count).unwrap_or(0)),
        ready: reported.is_some_and(|r| r.ready),
        sticky: None,
        slow: 0,
        slow_from: None,
        kill: None,
    }
}

fn state(state: &ContainerState, interner: &mut Interner) -> State {
    if let Some(terminated) = &state.terminated {
        return State::Terminated(Box::new(run(terminated, interner)));
    }
    if let Some(running) = &state.running {
        return State::Running(time(running.started_at.as_ref()));
    }
    match &state.waiting {
        Some(waiting) => State::Waiting {
            reason: interner.text(waiting.reason.as_deref().unwrap_or_default()),
            message: waiting.message.as_ref().filter(|m| !m.is_empty()).map(Message::shared),
        },
        None => State::None,
    }
}

fn run(terminated: &Terminated, interner: &mut Interner) -> Run {
    Run {
        exit: Exit {
            code: terminated.exit_code,
            reason: optional(terminated.reason.as_deref(), interner),
            message: terminated.message.as_ref().filter(|m| !m.is_empty()).map(Message::shared),
            started_at: time(terminated.started_at.as_ref()),
            finished_at: time(terminated.finished_at.as_ref()),
            ended_by: None,
        },
    }
}

fn bad_condition(condition: &Condition, interner: &mut Interner) -> BadCondition {
    BadCondition {
        kind: interner.text(&condition.r#type),
        reason: interner.text(condition.reason.as_deref().unwrap_or_default()),
        message: shared(condition.message.as_ref()),
        since: time(condition.last_transition_time.as_ref()),
    }
}

pub fn node(node: Node, interner: &mut Interner) -> NodeFacts {
    let Node { metadata, spec, status, .. } = node;
    let removal_taint = |key: &str| {
        matches!(
            key,
            "node.kubernetes.io/out-of-service" | "ToBeDeletedByClusterAutoscaler" | "karpenter.sh/disrupted"
        )
    };
    let mut facts = NodeFacts {
        id: identity("Node", metadata, interner),
        not_ready: None,
        ready_since: None,
        was_ready: false,
        pressure: Vec::new(),
        other: Vec::new(),
        boot_id: optional(status.node_info.boot_id.as_deref(), interner),
        being_removed: spec.unschedulable || spec.taints.iter().any(|t| removal_taint(&t.key)),
    };
    for condition in status.conditions.iter() {
        match &*condition.r#type {
            "Ready" if condition.status == "True" => {
                facts.ready_since = time(condition.last_transition_time.as_ref());
                facts.was_ready = true;
            }
            "Ready" => {
                facts.not_ready = Some(bad_condition(condition, interner));
                // Unknown is written over a Ready that was there before, unless it never was.
                facts.was_ready = condition.reason.as_deref() == Some("NodeStatusUnknown");
            }
            "MemoryPressure" | "DiskPressure" | "PIDPressure" | "NetworkUnavailable" => {
                if condition.status == "True" {
                    facts.pressure.push(bad_condition(condition, interner));
                }
            }
            kind if node::no_state(kind) => {}
            kind => {
                let bad = if node::true_is_good(kind) { "False" } else { "True" };
                if condition.status == bad {
                    facts.other.push(bad_condition(condition, interner));
                }
            }
        }
    }
    facts
}

/// A Deployment, StatefulSet or DaemonSet.
pub fn workload(
    kind: &str,
    metadata: ObjectMeta,
    spec: &WorkloadSpec,
    status: &WorkloadStatus,
    interner: &mut Interner,
) -> WorkloadFacts {
    let current = metadata.generation.is_none_or(|generation| status.observed_generation >= generation);
    let (wanted, updated, available) = match kind {
        "DaemonSet" => {
            (status.desired_number_scheduled, status.updated_number_scheduled, status.number_available)
        }
        // minReadySeconds aside, ready is what old servers report instead of available.
        "StatefulSet" => (
            spec.replicas.unwrap_or(1),
            status.updated_replicas,
            status.available_replicas.unwrap_or(status.ready_replicas),
        ),
        _ => (spec.replicas.unwrap_or(1), status.updated_replicas, status.available_replicas.unwrap_or(0)),
    };
    let find = |kind: &str, status_is: &str| {
        status.conditions.iter().find(|c| c.r#type == kind && c.status == status_is)
    };
    let extra = if kind == "Deployment" { status.replicas > status.updated_replicas } else { false };
    WorkloadFacts {
        id: identity(kind, metadata, interner),
        wanted: u32::try_from(wanted).unwrap_or(0),
        healthy: current && updated >= wanted && available >= wanted && !extra,
        stuck: find("Progressing", "False")
            .filter(|c| current && c.reason.as_deref() == Some("ProgressDeadlineExceeded"))
            .map(|c| bad_condition(c, interner)),
        create_failure: find("ReplicaFailure", "True").map(|c| bad_condition(c, interner)),
    }
}

pub fn job(job: Job, interner: &mut Interner) -> JobFacts {
    let Job { metadata, spec, status, .. } = job;
    let find = |kind: &str| status.conditions.iter().find(|c| c.r#type == kind && c.status == "True");
    // `FailureTarget` comes first; `Failed` is the verdict, after the last pod has gone.
    let failed = find("Failed").map(|c| {
        let mut failed = bad_condition(c, interner);
        // At the end of the text, so that rules may match its beginning as Kubernetes words it.
        if let Some(secs) = spec.active_deadline_seconds.filter(|_| &*failed.reason == "DeadlineExceeded") {
            failed.message = Arc::from(format!("{} (activeDeadlineSeconds: {secs})", failed.message));
        }
        if let Some(indexes) = status.failed_indexes.as_deref().filter(|list| !list.is_empty()) {
            let list = text::clean(&text::cut(indexes, MAX_INDEXES));
            failed.message = Arc::from(format!("{} (failed indexes: {list})", failed.message));
        }
        failed
    });
    JobFacts {
        failed,
        completed: find("Complete")
            .and_then(|c| time(c.last_transition_time.as_ref()))
            .or_else(|| time(status.completion_time.as_ref())),
        last_exit: None,
        waits_for: None,
        id: identity("Job", metadata, interner),
    }
}

pub fn cron_job(cron: CronJob, interner: &mut Interner) -> CronJobFacts {
    CronJobFacts {
        succeeded: time(cron.status.last_successful_time.as_ref()),
        failed: None,
        id: identity("CronJob", cron.metadata, interner),
    }
}

pub fn claim(claim: PersistentVolumeClaim, interner: &mut Interner) -> ClaimFacts {
    ClaimFacts {
        bound: claim.status.phase.as_deref() == Some("Bound"),
        lost: claim.status.phase.as_deref() == Some("Lost"),
        id: identity("PersistentVolumeClaim", claim.metadata, interner),
    }
}
