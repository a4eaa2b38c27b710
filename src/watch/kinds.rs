//! The kinds that are watched. Each is a file here and a line of the table.

mod claim;
mod common;
mod cron_job;
mod event;
mod job;
mod namespace;
mod node;
mod pod;
mod replica_set;
mod workload;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use self::claim::PersistentVolumeClaim;
pub use self::common::Condition;
pub use self::cron_job::CronJob;
pub use self::event::{Event, Involved};
pub use self::job::Job;
pub use self::namespace::Namespace;
pub use self::node::Node;
pub use self::pod::{Container, ContainerState, ContainerStatus, Pod, Terminated};
pub use self::workload::{WorkloadSpec, WorkloadStatus};
use super::decode::{BadObject, SlimObject, parse};
use super::stream::Supervisor;

/// What is special about a kind.
pub(super) trait WatchedKind: SlimObject {
    /// The namespace it counts as part of; `None`: it is watched whatever namespaces are.
    fn namespace(&self) -> Option<&str> {
        self.metadata().namespace.as_deref()
    }
}

macro_rules! kinds {
    ($($module:ident::$kind:ident),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($kind),+ }

        impl Kind {
            /// Every kind, owners before what they own, Events last.
            pub const ALL: [Self; [$(Self::$kind),+].len()] = [$(Self::$kind),+];

            /// The kind as objects spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),+ }
            }

            /// Its resource, as paths and roles spell it.
            #[must_use]
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $module::$kind::PLURAL),+ }
            }

            /// Its API group; empty for core.
            #[must_use]
            pub const fn group(self) -> &'static str {
                match self { $(Self::$kind => $module::$kind::GROUP),+ }
            }
        }

        /// One object of a watched kind.
        #[derive(Debug, Clone)]
        pub enum Object { $($kind(Box<$module::$kind>)),+ }

        impl Object {
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),+ }
            }

            #[must_use]
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata),+ }
            }

            /// How many of its texts and lists were cut.
            #[must_use]
            pub fn cut(&self) -> u32 {
                match self { $(Self::$kind(object) => object.cut()),+ }
            }

            /// The namespace it counts as part of; `None`: it is watched whatever namespaces are.
            #[must_use]
            pub fn namespace(&self) -> Option<&str> {
                match self { $(Self::$kind(object) => object.namespace()),+ }
            }
        }

        /// Decodes one object of a known kind.
        pub fn decode(kind: Kind, json: &str) -> Result<Object, BadObject> {
            match kind { $(Kind::$kind => parse::<$module::$kind>(json).map(SlimObject::into_object)),+ }
        }

        /// Watches a kind until the watch is cancelled.
        pub(super) async fn watch(kind: Kind, supervisor: Supervisor) {
            match kind { $(Kind::$kind => supervisor.run::<$module::$kind>().await),+ }
        }
    };
}

// Owners before what they own, Events last: lists of kinds are shown in this order.
kinds! {
    namespace::Namespace,
    node::Node,
    workload::Deployment,
    replica_set::ReplicaSet,
    workload::StatefulSet,
    workload::DaemonSet,
    cron_job::CronJob,
    job::Job,
    claim::PersistentVolumeClaim,
    pod::Pod,
    event::Event,
}

impl Kind {
    /// The kind objects spell like this.
    #[must_use]
    pub fn parse(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
