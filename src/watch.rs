//! Watching a cluster: what the API server sends becomes [`Change`]s, and [`ClusterState`] turns those
//! into signals.
//!
//! `run` gets its changes from [`stream`] (kube's watchers under supervision), `replay` from a
//! recording; both feed the same [`ClusterState`].

pub mod decode;
pub mod intern;
pub mod kinds;
pub mod logs;
pub mod scope;
pub mod state;
pub mod stream;

use std::sync::Arc;

pub use kinds::{Kind, Object};
pub use state::ClusterState;
use tokio::time::Instant;

use crate::config::WatchConfig;

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
    /// As [`Change::Listing`], of the objects of one namespace, where namespaces are listed one by one. When
    /// each of them was listed once, or is known to be unreadable, [`Change::Listed`] says so.
    ListingIn(Kind, Arc<str>),
    /// As [`Change::Listed`], of the objects of one namespace.
    ListedIn(Kind, Arc<str>),
    /// As [`Change::Blind`], of the objects of one namespace. Ends with [`Change::ListedIn`].
    BlindIn(Kind, Arc<str>, String),
    /// A kind without namespaces is not followed, where only some namespaces are watched: a Role cannot allow
    /// it. Nobody waits for it. Ends with [`Change::Listed`].
    NotPermitted(Kind, String),
}

impl Change {
    /// Is it about a namespace that is watched, or about none?
    pub fn wanted(&self, config: &WatchConfig) -> bool {
        let namespace = match self {
            Self::Initial(object) | Self::Applied(object) | Self::Deleted(object) => object.namespace(),
            Self::Undecodable { namespace, .. } => Some(namespace.as_str()).filter(|name| !name.is_empty()),
            _ => None,
        };
        namespace.is_none_or(|namespace| config.wants(namespace))
    }
}
