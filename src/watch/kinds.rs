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
use std::hash::Hash;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use self::event::{Event, Involved};
pub(super) use self::pod::PodEntry;
use super::decode::{BadObject, SlimObject, parse};
use super::state::{ClusterState, Table};
use super::stream::Supervisor;
use crate::signal::facts::Identity;
use crate::signal::finding::Finding;
use crate::signal::{Cause, Health, ObjectRef, Signal, Source, Standing};

/// One kind: what is remembered of its objects, what a change of one means, and what the engine may ask.
pub(super) trait WatchedKind: SlimObject {
    /// What an object is remembered under.
    type Key: Hash + Eq + Clone;
    /// What is remembered of an object.
    type Facts;
    /// Pods can belong to a workload of this kind.
    const OWNS_PODS: bool = false;
    /// An object that is missing from a complete list is gone.
    const SWEPT: bool = true;

    /// The health of a workload of this kind, where it depends on no replicas.
    const HEALTH: Health = Health::Unknown;

    fn key(object: &ObjectRef) -> Self::Key;

    /// `None`: the kind raises no signals.
    fn identity(facts: &Self::Facts) -> Option<&Identity>;

    /// The namespace that decides whether the object is watched; `None`: it always is.
    fn namespace(&self) -> Option<&str> {
        self.metadata().namespace.as_deref()
    }

    /// Is what is remembered under `key` an object of this namespace? `None`: of any.
    fn is_in(_key: &Self::Key, facts: &Self::Facts, namespace: Option<&str>) -> bool {
        let of = |id: &Identity| id.object.namespace.as_deref() == namespace;
        namespace.is_none() || Self::identity(facts).is_some_and(of)
    }

    /// An object came, in a list (`listed`) or as a change.
    fn apply(self, state: &mut ClusterState, now: Timestamp, listed: bool, out: &mut Vec<Signal>);

    /// Takes over from the facts before what one status alone does not show.
    fn carry(_before: &Self::Facts, _after: &mut Self::Facts) {}

    /// The findings that a change means, or (without `before`) what an object shows.
    fn findings(_before: Option<&Self::Facts>, _after: &Self::Facts) -> Vec<Finding> {
        Vec::new()
    }

    fn signal(state: &ClusterState, now: Timestamp, id: &Identity, finding: Finding) -> Signal {
        state.plain_signal(now, id, finding, Source::Status)
    }

    /// An object is remembered under `key`. `before`: what was known of the same object.
    fn changed(
        state: &mut ClusterState,
        now: Timestamp,
        key: &Self::Key,
        before: Option<&Self::Facts>,
        out: &mut Vec<Signal>,
    ) where
        Self: Remembered,
    {
        if state.ready() {
            state.emit::<Self>(now, key, before, out);
        }
    }

    /// An object is no longer there, and no longer remembered.
    fn gone(state: &mut ClusterState, now: Timestamp, facts: Self::Facts, out: &mut Vec<Signal>) {
        if let Some(id) = Self::identity(&facts) {
            state.gone(now, id, out);
        }
    }

    /// Signals of every problem that stands: for the first look, and after a reload of the rules.
    fn shown(state: &mut ClusterState, now: Timestamp, _news_since: Timestamp, out: &mut Vec<Signal>)
    where
        Self: Remembered,
    {
        let state = &*state;
        for facts in Self::table(&state.objects).values() {
            for finding in Self::findings(None, facts) {
                out.extend(Self::identity(facts).map(|id| Self::signal(state, now, id, finding)));
            }
        }
    }

    /// Does `object` still show `cause`?
    fn standing(_state: &ClusterState, _object: &ObjectRef, _part: Option<&str>, _cause: Cause) -> Standing {
        Standing::Unknown
    }

    /// How is the workload of this kind and name doing?
    fn health(_state: &ClusterState, _workload: &ObjectRef) -> Health {
        Self::HEALTH
    }

    /// How many replicas the workload of this kind and name wants.
    fn replicas(_state: &ClusterState, _workload: &ObjectRef) -> Option<u32> {
        None
    }
}

/// A kind with its table.
pub(super) trait Remembered: WatchedKind {
    fn table(objects: &Objects) -> &Table<Self::Key, Self::Facts>;
    fn table_mut(objects: &mut Objects) -> &mut Table<Self::Key, Self::Facts>;
}

macro_rules! kinds {
    ($($table:ident: $module:ident::$kind:ident),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($kind),+ }

        impl Kind {
            /// Every kind, owners before what they own, Events last.
            pub const ALL: [Self; [$(Self::$kind),+].len()] = [$(Self::$kind),+];

            /// The kind as objects spell it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),+ }
            }

            /// Its resource, as paths and roles spell it.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $module::$kind::PLURAL),+ }
            }

            /// Its API group; empty for core.
            pub const fn group(self) -> &'static str {
                match self { $(Self::$kind => $module::$kind::GROUP),+ }
            }

            /// Can pods belong to a workload of this kind?
            pub(super) const fn owns_pods(self) -> bool {
                match self { $(Self::$kind => $module::$kind::OWNS_PODS),+ }
            }

            /// Watches the kind until the watch is cancelled.
            pub(super) async fn watch(self, supervisor: Supervisor) {
                match self { $(Self::$kind => supervisor.run::<$module::$kind>().await),+ }
            }
        }

        /// One object of a watched kind.
        #[derive(Debug, Clone)]
        pub enum Object { $($kind(Box<$module::$kind>)),+ }

        impl Object {
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),+ }
            }

            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata),+ }
            }

            /// How many of its texts and lists were cut.
            pub fn cut(&self) -> u32 {
                match self { $(Self::$kind(object) => object.cut()),+ }
            }

            /// The namespace that decides whether the object is watched; `None`: it always is.
            pub fn namespace(&self) -> Option<&str> {
                match self { $(Self::$kind(object) => object.namespace()),+ }
            }
        }

        /// Decodes one object of a known kind.
        pub fn decode(kind: Kind, json: &str) -> Result<Object, BadObject> {
            match kind { $(Kind::$kind => parse::<$module::$kind>(json).map(SlimObject::into_object)),+ }
        }

        /// What is remembered of each object, by kind.
        #[derive(Debug, Default)]
        pub(super) struct Objects {
            $(pub $table: Table<
                <$module::$kind as WatchedKind>::Key,
                <$module::$kind as WatchedKind>::Facts,
            >),+
        }

        $(impl Remembered for $module::$kind {
            fn table(objects: &Objects) -> &Table<Self::Key, Self::Facts> {
                &objects.$table
            }
            fn table_mut(objects: &mut Objects) -> &mut Table<Self::Key, Self::Facts> {
                &mut objects.$table
            }
        })+

        impl Objects {
            pub fn identities(&self) -> impl Iterator<Item = &Identity> {
                let all = std::iter::empty();
                $(let all = all.chain(self.$table.values().filter_map($module::$kind::identity));)+
                all
            }

            pub fn identity(&self, kind: Kind, object: &ObjectRef) -> Option<&Identity> {
                match kind {
                    $(Kind::$kind => {
                        self.$table.get(&$module::$kind::key(object)).and_then($module::$kind::identity)
                    })+
                }
            }

            /// A list begins, of one namespace or of all: what is known and does not come in it is gone.
            pub fn begin_list(&mut self, kind: Kind, namespace: Option<&str>) {
                match kind {
                    $(Kind::$kind => if $module::$kind::SWEPT {
                        self.$table.begin_list(|key, facts| $module::$kind::is_in(key, facts, namespace));
                    })+
                }
            }

            /// An object is there, whether it can be read or not.
            pub fn still_there(&mut self, kind: Kind, object: &ObjectRef) {
                match kind {
                    $(Kind::$kind => self.$table.still_there(&$module::$kind::key(object))),+
                }
            }
        }

        impl ClusterState {
            pub(super) fn object(&mut self, now: Timestamp, object: Object, listed: bool, out: &mut Vec<Signal>) {
                match object { $(Object::$kind(object) => object.apply(self, now, listed, out)),+ }
            }

            pub(super) fn deleted(&mut self, now: Timestamp, kind: Kind, object: &ObjectRef, out: &mut Vec<Signal>) {
                match kind {
                    $(Kind::$kind => self.remove::<$module::$kind>(now, &$module::$kind::key(object), out)),+
                }
            }

            /// A list is complete, of one namespace or of all.
            pub(super) fn sweep(
                &mut self,
                now: Timestamp,
                kind: Kind,
                namespace: Option<&str>,
                out: &mut Vec<Signal>,
            ) {
                match kind { $(Kind::$kind => self.sweep_table::<$module::$kind>(now, namespace, out)),+ }
            }

            pub(super) fn shown(&mut self, now: Timestamp, news_since: Timestamp, out: &mut Vec<Signal>) {
                $($module::$kind::shown(self, now, news_since, out);)+
            }

            pub(super) fn standing_of(
                &self,
                kind: Kind,
                object: &ObjectRef,
                part: Option<&str>,
                cause: Cause,
            ) -> Standing {
                match kind { $(Kind::$kind => $module::$kind::standing(self, object, part, cause)),+ }
            }

            pub(super) fn health_of(&self, kind: Kind, workload: &ObjectRef) -> Health {
                match kind { $(Kind::$kind => $module::$kind::health(self, workload)),+ }
            }

            pub(super) fn replicas_of(&self, kind: Kind, workload: &ObjectRef) -> Option<u32> {
                match kind { $(Kind::$kind => $module::$kind::replicas(self, workload)),+ }
            }
        }
    };
}

// Owners before what they own, Events last: lists of kinds are shown in this order.
kinds! {
    namespaces: namespace::Namespace,
    nodes: node::Node,
    deployments: workload::Deployment,
    replica_sets: replica_set::ReplicaSet,
    stateful_sets: workload::StatefulSet,
    daemon_sets: workload::DaemonSet,
    cron_jobs: cron_job::CronJob,
    jobs: job::Job,
    claims: claim::PersistentVolumeClaim,
    pods: pod::Pod,
    events: event::Event,
}

impl Kind {
    /// Do its objects live in namespaces?
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }

    /// The kind objects spell like this.
    pub fn parse(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == kind)
    }
}

#[cfg(test)]
#[test]
fn the_configuration_can_leave_out_each_of_them() {
    assert_eq!(Kind::ALL.map(Kind::as_str), crate::config::KINDS);
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
