//! From a finding to a signal: who it is about, and under which labels.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ClusterState, owner};
use crate::signal::facts::{Identity, PodFacts};
use crate::signal::finding::Finding;
use crate::signal::{Labels, Signal, Source, Workload};

impl ClusterState {
    pub(in crate::watch) fn pod_signal(
        &self,
        now: Timestamp,
        facts: &PodFacts,
        workload: &Workload,
        finding: Finding,
        source: Source,
    ) -> Signal {
        let container = finding.container.as_deref().and_then(|name| facts.container(name));
        Signal {
            restarts: container.map(|container| container.restarts),
            revision: owner::revision(&facts.id),
            node: facts.node.clone(),
            ..self.owned_signal(now, &facts.id, workload, finding, source)
        }
    }

    /// A signal about an object of a workload.
    pub(super) fn owned_signal(
        &self,
        now: Timestamp,
        id: &Identity,
        workload: &Workload,
        finding: Finding,
        source: Source,
    ) -> Signal {
        self.signal(now, id, workload, self.workload_layers(id, workload), finding, source)
    }

    pub(in crate::watch) fn node_signal(
        &self,
        now: Timestamp,
        id: &Identity,
        finding: Finding,
        source: Source,
    ) -> Signal {
        Signal { node: Some(Arc::clone(&id.object.name)), ..self.plain_signal(now, id, finding, source) }
    }

    /// A signal about an object that is its own workload.
    pub(in crate::watch) fn plain_signal(
        &self,
        now: Timestamp,
        id: &Identity,
        finding: Finding,
        source: Source,
    ) -> Signal {
        let workload = match (&*id.object.kind, &id.owner) {
            ("Job", Some(owner)) if &*owner.kind == "CronJob" => Workload::new("CronJob", &owner.name),
            _ => Workload::of(&id.object),
        };
        self.signal(now, id, &workload, (None, None), finding, source)
    }

    fn workload_layers(&self, id: &Identity, workload: &Workload) -> (Option<Labels>, Option<Labels>) {
        let owner = self.owner(id.object.namespace.as_ref(), workload);
        owner.map_or((None, None), |id| (id.labels.clone(), id.annotations.clone()))
    }

    fn signal(
        &self,
        now: Timestamp,
        id: &Identity,
        workload: &Workload,
        (labels, annotations): (Option<Labels>, Option<Labels>),
        finding: Finding,
        source: Source,
    ) -> Signal {
        let (ns_labels, ns_annotations) = self.namespace_layers(id);
        Signal {
            at: finding.at.unwrap_or(now),
            since: finding.since,
            since_at_least: finding.since_at_least,
            cause: finding.cause,
            phase: finding.phase,
            source,
            object: id.object.clone(),
            workload: workload.clone(),
            revision: None,
            container: finding.container,
            node: None,
            reason: finding.reason,
            message: finding.message,
            weight: finding.weight,
            event_type: None,
            count: finding.count,
            restarts: None,
            exit: finding.exit,
            job: finding.job,
            image: finding.image,
            not_before: finding.not_before,
            labels: [id.labels.clone(), labels, ns_labels],
            annotations: [id.annotations.clone(), annotations, ns_annotations],
        }
    }
}
