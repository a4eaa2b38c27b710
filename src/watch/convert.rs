//! From slim objects to facts.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::bounded::Message;
use super::intern::Interner;
use super::objects::{
    Condition, Container, ContainerState, ContainerStatus, CronJob, Job, Node, PersistentVolumeClaim, Pod,
    Terminated, WorkloadSpec, WorkloadStatus,
};
use crate::signal::facts::{
    BadCondition, ClaimFacts, ContainerFacts, CronJobFacts, Identity, JobFacts, NodeFacts, Owner, PodFacts,
    PodPhase, RestartPolicy, Role, Run, State, Unschedulable, WorkloadFacts,
};
use crate::signal::{Exit, ObjectRef, node};

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|t| t.0)
}

fn optional(text: Option<&str>, interner: &mut Interner) -> Option<Arc<str>> {
    text.filter(|t| !t.is_empty()).map(|t| interner.text(t))
}

fn shared(message: Option<&Message>) -> Arc<str> {
    message.map_or_else(|| Arc::from(""), Message::shared)
}

/// Who an object is.
pub fn identity(kind: &str, meta: ObjectMeta, interner: &mut Interner) -> Identity {
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
        deleting: meta.deletion_timestamp.is_some(),
        owner,
    }
}

/// A pod.
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
        status: status
            .reason
            .as_deref()
            .filter(|r| !r.is_empty())
            .map(|reason| Box::new((interner.text(reason), shared(status.message.as_ref())))),
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

/// A node.
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

/// A Job.
pub fn job(job: Job, interner: &mut Interner) -> JobFacts {
    let Job { metadata, status, .. } = job;
    let find = |kind: &str| status.conditions.iter().find(|c| c.r#type == kind && c.status == "True");
    JobFacts {
        // `FailureTarget` comes first; `Failed` is the verdict, after the last pod has gone.
        failed: find("Failed").map(|c| bad_condition(c, interner)),
        completed: find("Complete")
            .and_then(|c| time(c.last_transition_time.as_ref()))
            .or_else(|| time(status.completion_time.as_ref())),
        last_exit: None,
        id: identity("Job", metadata, interner),
    }
}

/// A CronJob.
pub fn cron_job(cron: CronJob, interner: &mut Interner) -> CronJobFacts {
    CronJobFacts {
        succeeded: time(cron.status.last_successful_time.as_ref()),
        failed: None,
        id: identity("CronJob", cron.metadata, interner),
    }
}

/// A PersistentVolumeClaim.
pub fn claim(claim: PersistentVolumeClaim, interner: &mut Interner) -> ClaimFacts {
    ClaimFacts {
        bound: claim.status.phase.as_deref() == Some("Bound"),
        lost: claim.status.phase.as_deref() == Some("Lost"),
        id: identity("PersistentVolumeClaim", claim.metadata, interner),
    }
}
