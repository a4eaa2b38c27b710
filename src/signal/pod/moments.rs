//! What happens to a pod at one moment and leaves no state behind that would have to end: a kill for memory, an
//! eviction, a rejection.

use std::sync::Arc;

use jiff::Timestamp;

use super::{PLANNED_ENDS, ended_run, failed, old_news, oom, oom_text};
use crate::signal::facts::{ContainerFacts, PodFacts, PodPhase, Run, State};
use crate::signal::finding::{Finding, weight};
use crate::signal::{Cause, Phase};

pub(super) fn out_of_memory(
    before: Option<&PodFacts>,
    after: &PodFacts,
    container: &ContainerFacts,
    news_since: Timestamp,
    out: &mut Vec<Finding>,
) {
    let known = before.and_then(|pod| pod.container(&container.name));
    let seen = |run: &Run| match known {
        Some(old) => {
            let same = |other: &Run| {
                other.exit.finished_at == run.exit.finished_at && other.exit.started_at == run.exit.started_at
            };
            old.last.as_deref().is_some_and(same)
                || matches!(&old.state, State::Terminated(other) if same(other))
        }
        // Not seen before: news only if it ended after the last look.
        None => run.exit.finished_at.is_none_or(|at| old_news(at, news_since)),
    };
    let current = match &container.state {
        State::Terminated(run) => Some(&**run),
        _ => None,
    };
    // Nobody makes a pod without a controller again: its end is told, with this as the reason.
    let last_word = failed::failed(after).is_some_and(|end| end.container.as_ref() == Some(&container.name));
    for run in [container.last.as_deref(), current].into_iter().flatten() {
        if last_word && known.is_none_or(|old| !matches!(old.state, State::Terminated(_))) {
            continue;
        }
        if oom(&run.exit) && !seen(run) && after.disruption.is_none() {
            out.push(
                Finding::new(Cause::OOMKilled, Phase::Pulse, &Arc::from("OOMKilled"))
                    .container(&container.name)
                    .text(Arc::from(oom_text(container)), weight::ERROR)
                    .exit(Some(run.exit.clone()))
                    .image(&container.image)
                    .at(run.exit.finished_at)
                    .count(1),
            );
        }
    }
}

pub(super) fn rejected_or_evicted(
    before: Option<&PodFacts>,
    after: &PodFacts,
    news_since: Timestamp,
    out: &mut Vec<Finding>,
) {
    let Some((reason, message)) = after.status.as_deref() else { return };
    if after.phase != PodPhase::Failed || before.is_some_and(|pod| pod.phase == PodPhase::Failed) {
        return;
    }
    let ended = after.containers.iter().filter_map(ended_run).filter_map(|run| run.exit.finished_at).max();
    let at = ended.or(after.id.created);
    if before.is_none() && at.is_none_or(|at| old_news(at, news_since)) {
        return;
    }
    let cause = match &**reason {
        "Evicted" if after.evicted => return,
        "Evicted" => Cause::Evicted,
        planned if PLANNED_ENDS.contains(&planned) || after.started() => return,
        _ => Cause::PodRejected,
    };
    // A pod that the kubelet let go by plan says so in DisruptionTarget; only pressure is a problem.
    if after.disruption.as_deref().is_some_and(|why| why != "TerminationByKubelet") {
        return;
    }
    out.push(
        Finding::new(cause, Phase::Pulse, reason)
            .text(Arc::clone(message), weight::STATUS)
            .at(ended)
            .count(1),
    );
}
