//! Deployments, StatefulSets and DaemonSets.

use std::sync::Arc;

use super::facts::{BadCondition, WorkloadFacts};
use super::finding::{Finding, weight};
use super::{Cause, Phase, Standing};

/// The findings that a change of a workload means.
#[must_use]
pub fn findings(before: Option<&WorkloadFacts>, after: &WorkloadFacts) -> Vec<Finding> {
    let mut out = Vec::new();
    for (cause, old, new) in [
        (Cause::RolloutStuck, before.and_then(|b| b.stuck.as_ref()), after.stuck.as_ref()),
        (Cause::FailedCreate, before.and_then(|b| b.create_failure.as_ref()), after.create_failure.as_ref()),
    ] {
        match (old, new) {
            (_, Some(new)) if !after.id.deleting() => out.push(raised(cause, new)),
            (Some(old), None) => out.push(Finding { phase: Phase::Cleared, ..raised(cause, old) }),
            _ => {}
        }
    }
    out
}

fn raised(cause: Cause, condition: &BadCondition) -> Finding {
    // "ReplicaSet "x" has timed out progressing." names what the cause says already.
    let how_well = if cause == Cause::RolloutStuck { weight::STATE } else { weight::ERROR };
    Finding::new(cause, Phase::Raised, &condition.reason)
        .text(Arc::clone(&condition.message), how_well)
        .since(condition.since)
}

/// Does the workload still show `cause`?
#[must_use]
pub fn standing(workload: &WorkloadFacts, cause: Cause) -> Standing {
    let raised = match cause {
        Cause::RolloutStuck => workload.stuck.is_some(),
        // Only a Deployment has a condition for it; others lack pods as long as it goes on.
        Cause::FailedCreate if &*workload.id.object.kind == "Deployment" => workload.create_failure.is_some(),
        Cause::FailedCreate => !workload.healthy,
        _ => false,
    };
    if raised { Standing::Raised } else { Standing::Clear(None) }
}
