//! Pods without a controller that end with an error: nobody makes another one, and no back-off shows.

use std::sync::Arc;

use super::{PLANNED_ENDS, ended_run, ended_text, oom, oom_text};
use crate::signal::facts::{ContainerFacts, PodFacts, PodPhase};
use crate::signal::finding::{Finding, weight};
use crate::signal::{Cause, Phase};

/// `status.reason` of a pod that reached its own `activeDeadlineSeconds`
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/active_deadline.go>).
const DEADLINE: &str = "DeadlineExceeded";

/// The failure of a pod that nobody makes again, if it ended by itself and not by plan.
pub(super) fn failed(pod: &PodFacts) -> Option<Finding> {
    if pod.phase != PodPhase::Failed || pod.id.owner.is_some() || pod.disruption.is_some() {
        return None;
    }
    let culprit = culprit(pod);
    let ended = pod.containers.iter().filter_map(ended_run).filter_map(|run| run.exit.finished_at).max();
    let base = |reason: &Arc<str>| {
        Finding::new(Cause::PodFailed, Phase::Raised, reason).since(ended.or(pod.id.created))
    };
    match pod.status.as_deref() {
        // The containers were killed at the deadline: their exit codes are its consequence.
        Some((reason, message)) if &**reason == DEADLINE => {
            let finding = base(reason).text(Arc::clone(message), weight::ERROR);
            Some(match pod.containers.as_ref() {
                [one] => finding.container(&one.name).image(&one.image),
                _ => finding,
            })
        }
        Some((reason, _)) if PLANNED_ENDS.contains(&&**reason) || !pod.started() => None,
        Some((reason, message)) => Some(base(reason).text(Arc::clone(message), weight::STATUS)),
        None => {
            let container = culprit?;
            let run = ended_run(container)?;
            let (text, how_well) = match &run.exit.message {
                _ if oom(&run.exit) => (Arc::from(oom_text(container)), weight::ERROR),
                Some(message) if !message.is_empty() => (Arc::clone(message), weight::ERROR),
                _ => (ended_text(container, run), weight::STATE),
            };
            let reason = run.exit.reason.clone().unwrap_or_else(|| Arc::from("Failed"));
            let finding = base(&reason).container(&container.name).image(&container.image);
            Some(finding.text(text, how_well).exit(Some(run.exit.clone())))
        }
    }
}

/// The container that failed first; what failed after it may have failed because of it.
pub(super) fn culprit(pod: &PodFacts) -> Option<&ContainerFacts> {
    let failed = pod.containers.iter().filter(|c| ended_run(c).is_some_and(|run| run.exit.code != 0));
    failed.min_by_key(|c| ended_run(c).and_then(|run| run.exit.finished_at))
}
