//! Workloads: their names, and what Deployments, StatefulSets and DaemonSets show.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::facts::{BadCondition, WorkloadFacts};
use super::finding::{Finding, weight};
use super::{Cause, ObjectRef, Phase, Standing};

/// The top owner that a person would name: `Deployment/checkout`, or `Pod/x` and `Node/x` for what nothing
/// owns. It is stored, matched and shown as this text. Empty where a message is about no object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Workload(Arc<str>);

impl Workload {
    pub fn new(kind: &str, name: &str) -> Self {
        Self::from(format!("{kind}/{name}"))
    }

    /// An object that is its own workload.
    pub fn of(object: &ObjectRef) -> Self {
        Self::new(&object.kind, &object.name)
    }

    /// Empty if the text has no kind.
    pub fn kind(&self) -> &str {
        self.parts().0
    }

    pub fn name(&self) -> &str {
        self.parts().1
    }

    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }
}

impl Deref for Workload {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<T: Into<Arc<str>>> From<T> for Workload {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// The findings that a change of a workload means.
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
