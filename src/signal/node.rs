//! Nodes: from the facts before and after a change to findings.

use std::sync::Arc;
use std::time::Duration;

use super::facts::{BadCondition, NodeFacts};
use super::finding::{Finding, weight};
use super::{Cause, Phase, Standing};
use crate::clock;

/// A node that has never been ready gets this long from its creation.
const NEW_NODE: Duration = Duration::from_secs(300);
/// A node that somebody takes out of service gets this long before it counts as lost.
const BEING_REMOVED: Duration = Duration::from_secs(600);

/// Conditions other than `Ready` and pressure where `True` is the good state. The polarity of
/// node-problem-detector is `True` = problem; agents of some vendors have it the other way round.
pub fn true_is_good(kind: &str) -> bool {
    ["Ready", "Healthy", "Available", "Ok", "OK"].iter().any(|end| kind.ends_with(end))
}

/// Conditions that tell a role, not a state.
pub fn no_state(kind: &str) -> bool {
    matches!(kind, "EtcdIsVoter")
}

/// The findings that a change of a node means.
pub fn findings(before: Option<&NodeFacts>, after: &NodeFacts) -> Vec<Finding> {
    let raised = problems(after);
    let mut out = Vec::new();
    if let Some(before) = before {
        for old in problems(before) {
            if !raised.iter().any(|new| new.cause == old.cause && new.container == old.container) {
                out.push(Finding { phase: Phase::Cleared, ..old });
            }
        }
        if let (Some(old), Some(new)) = (&before.boot_id, &after.boot_id)
            && old != new
            // Somebody has cordoned it before: a boot by plan.
            && !after.being_removed
        {
            out.push(rebooted(Arc::from(format!("boot id is now {new}"))));
        }
    }
    out.extend(raised);
    out
}

/// A node booted anew.
pub fn rebooted(message: Arc<str>) -> Finding {
    Finding::new(Cause::Rebooted, Phase::Pulse, &Arc::from("Rebooted")).text(message, weight::EVENT).count(1)
}

/// What a node shows now.
pub fn problems(node: &NodeFacts) -> Vec<Finding> {
    let mut out = Vec::new();
    if let Some(condition) = &node.not_ready {
        out.push(not_ready(node, condition));
    }
    // A lost node's other conditions are `Unknown`: no pressure, and nothing new.
    for condition in &node.pressure {
        out.push(bad(Cause::NodePressure, condition));
    }
    for condition in &node.other {
        out.push(bad(Cause::NodeCondition, condition));
    }
    out
}

fn not_ready(node: &NodeFacts, condition: &BadCondition) -> Finding {
    let mut not_before = None;
    if !node.was_ready {
        not_before = node.id.created.map(|created| clock::after(created, NEW_NODE));
    }
    let shutting_down = condition.message.contains("node is shutting down");
    if node.being_removed || node.id.deleting() || shutting_down {
        not_before = condition.since.map(|since| clock::after(since, BEING_REMOVED));
    }
    Finding::new(Cause::NodeNotReady, Phase::Raised, &condition.reason)
        .text(Arc::clone(&condition.message), weight::STATUS)
        .since(condition.since)
        .not_before(not_before)
}

/// The condition's type stands where a pod's container does: one node can have several at once.
fn bad(cause: Cause, condition: &BadCondition) -> Finding {
    Finding::new(cause, Phase::Raised, &condition.reason)
        .container(&condition.kind)
        .text(Arc::clone(&condition.message), weight::STATUS)
        .since(condition.since)
}

/// Does the node still show `cause`?
pub fn standing(node: &NodeFacts, part: Option<&str>, cause: Cause) -> Standing {
    let shown = |list: &[BadCondition]| list.iter().any(|c| part.is_none_or(|p| p == &*c.kind));
    let raised = match cause {
        Cause::NodeNotReady => node.not_ready.is_some(),
        Cause::NodePressure => shown(&node.pressure),
        Cause::NodeCondition => shown(&node.other),
        _ => false,
    };
    match (raised, cause) {
        (true, _) => Standing::Raised,
        (false, Cause::NodeNotReady) => Standing::Clear(node.ready_since),
        (false, _) => Standing::Clear(None),
    }
}
