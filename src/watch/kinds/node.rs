use std::sync::Arc;

use jiff::Timestamp;

use super::WatchedKind;
use super::common::{Condition, bad_condition, identity, optional, time};
use crate::signal::facts::{Identity, NodeFacts};
use crate::signal::finding::Finding;
use crate::signal::{Cause, Health, ObjectRef, Signal, Source, Standing, node};
use crate::watch::Kind;
use crate::watch::decode::fields::{CONDITIONS, KEY, List, REASON, Text};
use crate::watch::decode::{part, slim};
use crate::watch::intern::Interner;
use crate::watch::state::ClusterState;

slim! { Node, "nodes", "", false {
    spec: NodeSpec,
    status: NodeStatus,
} }

part! {
    NodeSpec { unschedulable: bool, taints: List<Taint, CONDITIONS> }
    Taint { key: Text<KEY> }
    NodeStatus { conditions: List<Condition, CONDITIONS>, node_info: NodeInfo }
    NodeInfo { #[serde(rename = "bootID")] boot_id: Option<Text<REASON>> }
}

impl WatchedKind for Node {
    type Key = Arc<str>;
    type Facts = NodeFacts;
    const HEALTH: Health = Health::Absent;

    fn key(object: &ObjectRef) -> Arc<str> {
        Arc::clone(&object.name)
    }

    fn identity(facts: &NodeFacts) -> Option<&Identity> {
        Some(&facts.id)
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
        let facts = facts(self, &mut state.interner);
        let name = state.interner.text(&facts.id.object.name);
        state.remember::<Self>(now, &name, facts, out);
    }

    fn carry(before: &NodeFacts, after: &mut NodeFacts) {
        after.was_ready |= before.was_ready;
    }

    fn findings(before: Option<&NodeFacts>, after: &NodeFacts) -> Vec<Finding> {
        node::findings(before, after)
    }

    fn signal(state: &ClusterState, now: Timestamp, id: &Identity, finding: Finding) -> Signal {
        state.node_signal(now, id, finding, Source::Status)
    }

    fn changed(
        state: &mut ClusterState,
        now: Timestamp,
        name: &Arc<str>,
        before: Option<&NodeFacts>,
        out: &mut Vec<Signal>,
    ) {
        if before.is_none() {
            state.reported_boots.remove(name);
        }
        let Some(after) = state.objects.nodes.get(name) else { return };
        let (id, boot) = (after.id.clone(), after.boot_id.clone());
        let returned = after.not_ready.is_none() && before.is_some_and(|node| node.not_ready.is_some());
        let findings = if state.ready() { node::findings(before, after) } else { Vec::new() };
        for finding in findings {
            let news = |boot: &Arc<str>| state.first_report(name, boot);
            if finding.cause != Cause::Rebooted || boot.as_ref().is_none_or(news) {
                out.push(state.node_signal(now, &id, finding, Source::Status));
            }
        }
        if returned {
            state.node_returned(now, name, out);
        }
    }

    fn gone(state: &mut ClusterState, now: Timestamp, facts: NodeFacts, out: &mut Vec<Signal>) {
        state.reported_boots.remove(&facts.id.object.name);
        state.gone(now, &facts.id, out);
    }

    fn standing(state: &ClusterState, object: &ObjectRef, part: Option<&str>, cause: Cause) -> Standing {
        match state.objects.nodes.get(&object.name) {
            Some(node) if object.uid.is_empty() || node.id.object.uid == object.uid => {
                node::standing(node, part, cause)
            }
            _ => state.absent(Kind::Node, None),
        }
    }
}

fn facts(node: Node, interner: &mut Interner) -> NodeFacts {
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

impl ClusterState {
    /// Whether a boot is news: the status and an Event of the kubelet both tell of it.
    pub(in crate::watch) fn first_report(&mut self, node: &Arc<str>, boot: &Arc<str>) -> bool {
        self.reported_boots.insert(Arc::clone(node), Arc::clone(boot)).as_ref() != Some(boot)
    }
}
