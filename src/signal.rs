//! Signals: normalised facts about one object, whatever source told them.
//!
//! [`Signal`] is what `watch` produces and `rule` and `engine` consume. The submodules are pure
//! functions from what was known of an object before and after a change to the signals that the
//! change means; they know neither a Kubernetes client nor a clock.

pub mod cause;
pub mod event;
pub mod facts;
pub mod finding;
pub mod headline;
pub mod job;
pub mod log;
pub mod node;
pub mod pod;
pub mod redact;
pub mod silence;
pub mod terminating;
pub mod text;
pub mod workload;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
pub use cause::{Cause, Severity};
pub use workload::Workload;

/// Labels or annotations of one object; shared, because a namespace's are looked up for every pod.
pub type Labels = Arc<BTreeMap<String, String>>;

/// Names one Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `Pod`, `Node`, `Job`, …
    pub kind: Arc<str>,
    /// Absent for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
    /// `metadata.uid`; empty where the reporter did not know it.
    pub uid: Arc<str>,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(ns) => write!(f, "{}/{}/{}", self.kind, ns, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// What a signal says about its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The state shows the problem now.
    Raised,
    /// The state shows that the problem is over for this object.
    Cleared,
    /// An Event, or a point in time (an OOM kill), without a state of its own.
    Pulse,
    /// The object no longer exists (deleted, or replaced by another UID).
    Gone,
    /// The state can no longer be read (the watch of its kind is forbidden or failing for good).
    Lost,
    /// The health of the workload changed: what waits for it is looked at again.
    Health,
    /// More about a problem that another signal raises: text, counts. Never raises by itself.
    Detail,
}

/// Where a signal was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// An object's `status` (or its absence).
    Status,
    Event,
}

impl Source {
    /// The name used in rules (`source:`) and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Event => "event",
        }
    }
}

/// How a container's run ended, from `state.terminated` or `lastState.terminated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Exit {
    /// The exit code; 128 + n where signal n ended it.
    pub code: i32,
    /// `Error`, `OOMKilled`, `Completed`, …
    pub reason: Option<Arc<str>>,
    /// The termination message, cut.
    pub message: Option<Arc<str>>,
    /// When the run began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the run ended.
    pub finished_at: Option<Timestamp>,
    /// What ended the run from outside, where that is known: a probe, a hook, an eviction. The exit code
    /// then only tells how the program took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<Arc<str>>,
}

impl Exit {
    /// How long the run lasted. A container that could not be started has "run" since 1970.
    pub fn ran(&self) -> Option<Duration> {
        let from = self.started_at.filter(|at| at.as_second() > 0)?;
        Some(clock::between(from, self.finished_at?))
    }
}

/// One normalised fact about one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// When it was so: the Event's last occurrence, the condition's transition, else when received.
    pub at: Timestamp,
    /// When the problem began as far as the object tells (for standing problems: long before `at`).
    pub since: Option<Timestamp>,
    /// `since` (or `at` without it) is the earliest moment known: the problem may be older.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub since_at_least: bool,
    pub cause: Cause,
    /// What is said about it.
    pub phase: Phase,
    pub source: Source,
    /// The object that has the problem.
    pub object: ObjectRef,
    /// The top owner a person would name.
    pub workload: Workload,
    /// Which revision of the workload the object belongs to (`pod-template-hash` and its kin).
    pub revision: Option<Arc<str>>,
    /// The container concerned, where there is one.
    pub container: Option<Arc<str>>,
    /// The node concerned, where there is one.
    pub node: Option<Arc<str>>,
    /// The raw reason as Kubernetes spelled it (`ErrImagePull`, `Unschedulable`, …).
    pub reason: Arc<str>,
    /// The explaining text, cut to a bounded size. Text from the cluster: hostile data.
    pub message: Arc<str>,
    /// How well `message` explains: the higher wins when several reporters tell of one problem.
    pub weight: u8,
    /// `Warning` or `Normal` for Events.
    pub event_type: Option<Arc<str>>,
    /// How often it happened since the signal before (Event count differences, restarts); ≥ 1 for
    /// a pulse, 0 where nothing new was counted.
    pub count: u32,
    /// The container's `restartCount`, where the problem is in a container of a pod that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// How the container's last run ended.
    pub exit: Option<Exit>,
    /// Of a CronJob: the Job that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Arc<str>>,
    pub image: Option<Arc<str>>,
    /// Do not take the problem as due before this moment (a scale-up is on its way, a node has just
    /// been created): the engine's `for` timer ends no earlier.
    pub not_before: Option<Timestamp>,
    /// Labels, the most specific first: the object's, its workload's, its namespace's.
    pub labels: [Option<Labels>; 3],
    /// Annotations, in the same order.
    pub annotations: [Option<Labels>; 3],
}

impl Signal {
    /// Looks a label up: the object's own wins, then the workload's, then the namespace's.
    pub fn label(&self, key: &str) -> Option<&str> {
        lookup(&self.labels, key)
    }

    /// Looks an annotation up in the same order as [`Self::label`].
    pub fn annotation(&self, key: &str) -> Option<&str> {
        lookup(&self.annotations, key)
    }

    /// The namespace of the object.
    pub fn namespace(&self) -> Option<&str> {
        self.object.namespace.as_deref()
    }
}

fn lookup<'a>(layers: &'a [Option<Labels>; 3], key: &str) -> Option<&'a str> {
    layers.iter().flatten().find_map(|map| map.get(key)).map(String::as_str)
}

/// Whether an object still shows a problem, asked of the live state before anything is called over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The object shows the problem now.
    Raised,
    /// The object is there and has been free of the problem since the given time, as far as known.
    Clear(Option<Timestamp>),
    /// The object no longer exists.
    Gone,
    /// The state cannot be read.
    Unknown,
}

/// How a workload is doing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Everything wanted is there, current and available.
    Healthy,
    /// Something is missing, old or unavailable.
    Unhealthy,
    /// The workload does not exist (any more), or wants nothing (scaled to zero).
    Absent,
    /// Not known: its kind is not watched, or not listed yet.
    Unknown,
}

/// The live state as the engine may ask it. Implemented by `watch::ClusterState`.
pub trait World {
    /// Does `object` (and `container`) still show `cause`?
    fn standing(&self, object: &ObjectRef, container: Option<&str>, cause: Cause) -> Standing;
    /// How is the workload in `namespace` doing?
    fn health(&self, namespace: Option<&str>, workload: &Workload) -> Health;
    /// The revision new objects of the workload get, where known.
    fn revision(&self, namespace: Option<&str>, workload: &Workload) -> Option<Arc<str>>;
    /// How many replicas the workload wants, where it has such a number.
    fn replicas(&self, namespace: Option<&str>, workload: &Workload) -> Option<u32>;
    /// Is a pod of this workload bound to `node`?
    fn on_node(&self, namespace: Option<&str>, workload: &Workload, node: &str) -> bool;
    /// How many pods are bound to `node` and not finished.
    fn pods_on_node(&self, node: &str) -> u32;
    /// The annotations of the object, its workload and its namespace as they are now; `workload`
    /// counts where the object is gone. `None`: not known.
    fn annotations(&self, object: &ObjectRef, workload: &Workload) -> Option<silence::Layers>;
    /// Does the watch of the kind fail, or is it blind, as a whole or in this namespace? Then what is known of
    /// its objects is as old as that.
    fn is_unseen(&self, _kind: &str, _namespace: Option<&str>) -> bool {
        false
    }
}
