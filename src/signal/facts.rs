//! What is remembered of each object: the compact, normalised input of the signal functions.
//!
//! `watch::kinds` decodes what the API server sends and makes these of it. A healthy
//! pod of 150,000 has to fit in a few hundred bytes, hence the shared strings and boxed slices.

use std::sync::Arc;

use std::time::Duration;

use jiff::Timestamp;

use super::{Cause, Exit, Labels, ObjectRef};

/// The owner a controller reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub kind: Arc<str>,
    pub name: Arc<str>,
}

/// What every object has.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Kind, namespace, name, UID.
    pub object: ObjectRef,
    /// Labels, shared between objects with the same ones.
    pub labels: Option<Labels>,
    pub annotations: Option<Labels>,
    pub created: Option<Timestamp>,
    /// Set from the moment somebody deletes it.
    pub deletion: Option<Box<Deletion>>,
    pub owner: Option<Owner>,
}

impl Identity {
    /// Has somebody deleted it?
    pub const fn deleting(&self) -> bool {
        self.deletion.is_some()
    }
}

/// An object that was deleted and is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// `metadata.deletionTimestamp`. Of a pod this is the end of its grace period, of everything else
    /// the moment of the request.
    pub at: Timestamp,
    /// `metadata.deletionGracePeriodSeconds`; zero where there is none.
    pub grace: Duration,
    /// `metadata.finalizers` and, of a namespace, `spec.finalizers` other than `kubernetes`; cut to
    /// [`Self::MAX_FINALIZERS`].
    pub finalizers: Box<[Arc<str>]>,
}

impl Deletion {
    /// Messages name no more than this.
    pub const MAX_FINALIZERS: usize = 8;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Every end is followed by a restart.
    Always,
    /// A failure is followed by a restart.
    OnFailure,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not running, and not ended for good.
    Waiting {
        reason: Arc<str>,
        message: Option<Arc<str>>,
    },
    Running(Option<Timestamp>),
    Terminated(Box<Run>),
    /// The kubelet said nothing yet.
    None,
}

/// One run of a container that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// From when to when, and how it ended.
    pub exit: Exit,
}

/// Which list of a pod's spec a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Main,
    Init,
    /// `initContainers` with `restartPolicy: Always`
    Sidecar,
}

#[derive(Debug, Clone)]
pub struct ContainerFacts {
    pub name: Arc<str>,
    /// Its image as the spec names it.
    pub image: Arc<str>,
    pub memory_limit: Option<Arc<str>>,
    /// Main, init or sidecar.
    pub role: Role,
    pub state: State,
    pub last: Option<Box<Run>>,
    pub restarts: u32,
    pub ready: bool,
    /// A start problem (image, config, create) that a meaningless waiting reason does not end:
    /// `ContainerCreating` comes back for a moment whenever the kubelet tries again or restarts.
    pub sticky: Option<(Cause, Arc<str>)>,
    /// Restarts counted from [`Self::slow_from`]: a container that crashes too rarely for a back-off.
    pub slow: u8,
    /// Where the counting began.
    pub slow_from: Option<Timestamp>,
    /// The last time the kubelet ended a run, or a probe failed that makes it do so.
    pub kill: Option<Box<Kill>>,
}

/// Why the kubelet ends runs of a container. Only Events tell it; the status shows an exit code as if the
/// program had ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kill {
    /// The last failure of a liveness or startup probe.
    pub probe: Option<Arc<str>>,
    /// When a run was last ended.
    pub at: Option<Timestamp>,
    /// Why: `Liveness probe failed: …`, `postStart hook failed: …`.
    pub by: Arc<str>,
    /// The exit code of the run that was ended.
    pub code: Option<i32>,
}

impl ContainerFacts {
    /// Has it ever run?
    pub fn started(&self) -> bool {
        matches!(self.state, State::Running(_) | State::Terminated(_))
            || self.last.is_some()
            || self.restarts > 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unschedulable {
    pub reason: Arc<str>,
    pub message: Arc<str>,
    pub since: Option<Timestamp>,
}

/// What is remembered of a pod.
#[derive(Debug, Clone)]
pub struct PodFacts {
    pub id: Identity,
    pub node: Option<Arc<str>>,
    pub restart_policy: RestartPolicy,
    pub phase: PodPhase,
    pub status: Option<Box<(Arc<str>, Arc<str>)>>,
    pub nominated: bool,
    pub unschedulable: Option<Box<Unschedulable>>,
    /// When `PodScheduled` became True.
    pub scheduled_at: Option<Timestamp>,
    /// The `Ready` condition is True.
    pub ready: bool,
    /// The text of the `Ready` condition where a readiness gate holds the pod back.
    pub gate: Option<Arc<str>>,
    /// `DisruptionTarget` is True, with its reason.
    pub disruption: Option<Arc<str>>,
    pub containers: Box<[ContainerFacts]>,
    /// An eviction of this pod was told already (Event and status both tell it).
    pub evicted: bool,
}

impl PodFacts {
    /// A container by name.
    pub fn container(&self, name: &str) -> Option<&ContainerFacts> {
        self.containers.iter().find(|c| &*c.name == name)
    }

    /// Has any of its containers run?
    pub fn started(&self) -> bool {
        self.containers.iter().any(ContainerFacts::started)
    }

    /// Is it done for good?
    pub fn finished(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }

    /// Is it on its way out, by plan or by deletion? What it shows then is no problem of its own.
    pub fn leaving(&self) -> bool {
        self.id.deleting() || self.disruption.is_some()
    }
}

/// One condition that reports a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCondition {
    pub kind: Arc<str>,
    pub reason: Arc<str>,
    pub message: Arc<str>,
    pub since: Option<Timestamp>,
}

/// What is remembered of a node.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    pub id: Identity,
    /// `Ready` is not True; absent conditions count as not ready yet.
    pub not_ready: Option<BadCondition>,
    /// When it became ready, if it is.
    pub ready_since: Option<Timestamp>,
    /// It has been ready at least once, as far as seen.
    pub was_ready: bool,
    /// Pressure conditions that are True.
    pub pressure: Vec<BadCondition>,
    /// Other conditions that report a problem.
    pub other: Vec<BadCondition>,
    pub boot_id: Option<Arc<str>>,
    /// Somebody or something takes it out of service (cordon, autoscaler, out-of-service).
    pub being_removed: bool,
}

/// What is remembered of a Deployment, StatefulSet or DaemonSet.
#[derive(Debug, Clone)]
pub struct WorkloadFacts {
    pub id: Identity,
    /// How many replicas it wants.
    pub wanted: u32,
    /// All of them are current and available, and the status is up to date.
    pub healthy: bool,
    pub stuck: Option<BadCondition>,
    pub create_failure: Option<BadCondition>,
}

/// What is remembered of a Job.
#[derive(Debug, Clone)]
pub struct JobFacts {
    pub id: Identity,
    pub failed: Option<BadCondition>,
    pub completed: Option<Timestamp>,
    /// How the last of its pods that failed did so.
    pub last_exit: Option<Exit>,
    /// What kept its pods from running when one was last seen: `pod import-x2x4z: ImagePullBackOff: …`.
    pub waits_for: Option<Arc<str>>,
}

/// What is remembered of a namespace.
#[derive(Debug, Clone)]
pub struct NamespaceFacts {
    /// Who it is; it counts as an object of itself, so that rules and routes by namespace apply.
    pub id: Identity,
    /// Conditions that are True: what keeps its deletion from coming to an end.
    pub conditions: Vec<BadCondition>,
}

/// What is remembered of a CronJob.
#[derive(Debug, Clone)]
pub struct CronJobFacts {
    pub id: Identity,
    /// `status.lastSuccessfulTime`, or the completion of the latest Job seen to succeed.
    pub succeeded: Option<Timestamp>,
    /// When the latest Job seen to fail did so.
    pub failed: Option<Timestamp>,
}
