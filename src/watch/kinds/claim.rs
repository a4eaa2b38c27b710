use std::sync::Arc;

use jiff::Timestamp;

use super::WatchedKind;
use super::common::identity;
use crate::signal::facts::Identity;
use crate::signal::finding::Finding;
use crate::signal::{Cause, Health, ObjectRef, Phase, Signal, Standing};
use crate::watch::Kind;
use crate::watch::decode::fields::{Text, WORD};
use crate::watch::decode::{part, slim};
use crate::watch::state::{ClusterState, NamespacedName};

slim! { PersistentVolumeClaim, "persistentvolumeclaims", "", false {
    status: ClaimStatus,
} }

part! {
    ClaimStatus { phase: Option<Text<WORD>> }
}

/// What is remembered of a PersistentVolumeClaim.
#[derive(Debug)]
pub struct ClaimFacts {
    pub id: Identity,
    pub bound: bool,
}

impl WatchedKind for PersistentVolumeClaim {
    type Key = NamespacedName;
    type Facts = ClaimFacts;
    const HEALTH: Health = Health::Absent;

    fn key(object: &ObjectRef) -> NamespacedName {
        NamespacedName::of(object)
    }

    fn identity(facts: &ClaimFacts) -> Option<&Identity> {
        Some(&facts.id)
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
        let facts = ClaimFacts {
            bound: self.status.phase.as_deref() == Some("Bound"),
            id: identity("PersistentVolumeClaim", self.metadata, &mut state.interner),
        };
        state.remember::<Self>(now, &Self::key(&facts.id.object), facts, out);
    }

    fn findings(before: Option<&ClaimFacts>, after: &ClaimFacts) -> Vec<Finding> {
        let bound = after.bound && before.is_some_and(|claim| !claim.bound);
        let finding = || Finding::new(Cause::ProvisioningFailed, Phase::Cleared, &Arc::from("Bound"));
        bound.then(finding).into_iter().collect()
    }

    fn standing(state: &ClusterState, object: &ObjectRef, _: Option<&str>, _: Cause) -> Standing {
        match state.objects.claims.get(&Self::key(object)) {
            Some(claim) if claim.bound => Standing::Clear(None),
            Some(_) => Standing::Raised,
            None => state.absent(Kind::PersistentVolumeClaim, object.namespace.as_deref()),
        }
    }
}
