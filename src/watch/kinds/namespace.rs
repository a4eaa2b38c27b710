use std::sync::Arc;

use jiff::Timestamp;

use super::WatchedKind;
use super::common::{Condition, bad_condition, finalizers, identity};
use crate::signal::facts::{Deletion, Identity, NamespaceFacts};
use crate::signal::{Health, ObjectRef, Signal};
use crate::watch::decode::fields::{CONDITIONS, FINALIZERS, KEY, List, Text};
use crate::watch::decode::{part, slim};
use crate::watch::intern::Interner;
use crate::watch::state::ClusterState;

slim! { Namespace, "namespaces", "", false {
    spec: NamespaceSpec,
    status: NamespaceStatus,
} }

part! {
    NamespaceSpec { finalizers: List<Text<KEY>, FINALIZERS> }
    NamespaceStatus { conditions: List<Condition, CONDITIONS> }
}

impl WatchedKind for Namespace {
    type Key = Arc<str>;
    type Facts = NamespaceFacts;
    const HEALTH: Health = Health::Absent;

    fn key(object: &ObjectRef) -> Arc<str> {
        Arc::clone(&object.name)
    }

    fn identity(facts: &NamespaceFacts) -> Option<&Identity> {
        Some(&facts.id)
    }

    fn namespace(&self) -> Option<&str> {
        self.metadata.name.as_deref()
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
        let facts = facts(self, &mut state.interner);
        let name = state.interner.text(&facts.id.object.name);
        state.remember::<Self>(now, &name, facts, out);
    }

    fn changed(
        state: &mut ClusterState,
        now: Timestamp,
        name: &Arc<str>,
        _before: Option<&NamespaceFacts>,
        out: &mut Vec<Signal>,
    ) {
        state.namespace_terminates(now, name, out);
    }

    fn gone(state: &mut ClusterState, now: Timestamp, facts: NamespaceFacts, out: &mut Vec<Signal>) {
        state.namespace_terminated(&facts.id.object.name);
        state.gone(now, &facts.id, out);
    }
}

fn facts(namespace: Namespace, interner: &mut Interner) -> NamespaceFacts {
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
