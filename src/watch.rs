//! Watching a cluster: what the API server sends becomes [`Change`]s, and [`Memory`] turns those
//! into signals.
//!
//! `run` gets its changes from [`stream`] (kube's watchers under supervision), `replay` from a
//! recording; both feed the same [`Memory`].

pub mod bounded;
pub mod convert;
pub mod decode;
pub mod intern;
pub mod logs;
pub mod memory;
pub mod objects;
pub mod scope;
pub mod stream;

use std::fmt;

pub use memory::Memory;
use tokio::time::Instant;

use objects::{
    CronJob, DaemonSet, Deployment, Event, Job, Namespace, Node, PersistentVolumeClaim, Pod, ReplicaSet,
    StatefulSet,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Namespace,
    Node,
    Deployment,
    /// apps/v1 `replicasets`, metadata only
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    CronJob,
    Job,
    PersistentVolumeClaim,
    Pod,
    Event,
}

impl Kind {
    /// Every kind, owners before what they own, Events last.
    pub const ALL: [Self; 11] = [
        Self::Namespace,
        Self::Node,
        Self::Deployment,
        Self::ReplicaSet,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::CronJob,
        Self::Job,
        Self::PersistentVolumeClaim,
        Self::Pod,
        Self::Event,
    ];

    /// The kind as objects spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
            Self::Job => "Job",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::Pod => "Pod",
            Self::Event => "Event",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One object of a watched kind.
#[derive(Debug, Clone)]
pub enum Object {
    Namespace(Namespace),
    Node(Box<Node>),
    Deployment(Box<Deployment>),
    ReplicaSet(ReplicaSet),
    StatefulSet(Box<StatefulSet>),
    DaemonSet(Box<DaemonSet>),
    CronJob(Box<CronJob>),
    Job(Box<Job>),
    PersistentVolumeClaim(Box<PersistentVolumeClaim>),
    Pod(Box<Pod>),
    Event(Box<Event>),
}

impl Object {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::Deployment(_) => Kind::Deployment,
            Self::ReplicaSet(_) => Kind::ReplicaSet,
            Self::StatefulSet(_) => Kind::StatefulSet,
            Self::DaemonSet(_) => Kind::DaemonSet,
            Self::CronJob(_) => Kind::CronJob,
            Self::Job(_) => Kind::Job,
            Self::PersistentVolumeClaim(_) => Kind::PersistentVolumeClaim,
            Self::Pod(_) => Kind::Pod,
            Self::Event(_) => Kind::Event,
        }
    }
}

/// What happened on one watch. The same for a live cluster, the simulated one and a recording.
#[derive(Debug, Clone)]
pub enum Change {
    /// A list of this kind begins (first start, or again after a gap); until [`Change::Listed`]
    /// the absence of an object means nothing.
    Listing(Kind),
    /// One object of the list that began.
    Initial(Object),
    /// The list is complete: what was known before and did not come is gone.
    Listed(Kind),
    Applied(Object),
    /// Deleted, with its last state.
    Deleted(Object),
    /// An object exists whose contents cannot be read. In a list it is there, not absent; what was
    /// known of it before is old, but still the best there is.
    Undecodable {
        kind: Kind,
        /// Empty for cluster-scoped objects.
        namespace: String,
        /// Empty if not even that could be read; then the list says nothing about any absence.
        name: String,
        /// Empty if not even that could be read.
        uid: String,
    },
    /// This kind cannot be read for now; for people: why. Ends with [`Change::Listed`].
    Blind(Kind, String),
    /// Requests for this kind began to fail. Ends with [`Change::Contact`] or [`Change::Listed`].
    Failing {
        kind: Kind,
        /// The last moment at which the watch was in order.
        since: Instant,
        why: String,
    },
    /// All that the server had sent about this kind by this moment has been passed on before this.
    Contact(Kind, Instant),
}
