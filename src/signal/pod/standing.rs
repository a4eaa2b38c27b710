//! Whether a pod still shows a problem: the live state's answer to the engine.

use jiff::Timestamp;

use super::{SLOW_WINDOW, container_problem, failed, problems, unschedulable};
use crate::clock;
use crate::signal::facts::{ContainerFacts, PodFacts, State};
use crate::signal::{Cause, Standing};

/// Does the pod still show `cause`? Asked before anything is called over.
pub fn standing(pod: &PodFacts, container: Option<&str>, cause: Cause) -> Standing {
    if cause == Cause::PodFailed {
        let stands = failed::failed(pod).is_some();
        return if stands { Standing::Raised } else { Standing::Clear(None) };
    }
    if pod.leaving() && !pod.finished() {
        return Standing::Raised;
    }
    match cause {
        Cause::FailedScheduling => match unschedulable(pod) {
            Some(_) => Standing::Raised,
            None => Standing::Clear(pod.scheduled_at),
        },
        Cause::ContainerStuck => {
            let shown = problems(pod).iter().any(|f| f.cause == cause);
            if shown { Standing::Raised } else { Standing::Clear(None) }
        }
        Cause::FailedMount | Cause::FailedAttachVolume => {
            let first = pod.containers.iter().filter_map(run_began).min();
            if pod.started() || pod.finished() { Standing::Clear(first) } else { Standing::Raised }
        }
        Cause::Evicted | Cause::PodRejected => Standing::Clear(None),
        _ if pod.finished() => Standing::Clear(None),
        _ => container_standing(pod, container, cause),
    }
}

fn container_standing(pod: &PodFacts, container: Option<&str>, cause: Cause) -> Standing {
    let Some(container) = container.and_then(|name| pod.container(name)) else {
        return Standing::Clear(None);
    };
    if container_problem(pod, container).is_some_and(|finding| finding.cause == cause) {
        return Standing::Raised;
    }
    match (&container.state, cause) {
        (State::Running(_), Cause::Unhealthy) if !container.ready => Standing::Raised,
        (State::Running(since), Cause::OOMKilled) => Standing::Clear(*since),
        // It has to outlive its last run before that means anything.
        (State::Running(since), _) => {
            let last = container.last.as_ref().filter(|_| container.restarts > 0);
            let ran = last.and_then(|run| run.exit.ran()).unwrap_or_default();
            Standing::Clear(since.map(|since| clock::after(since, ran.min(SLOW_WINDOW))))
        }
        // An init container that got through, or one that ended as it should.
        (State::Terminated(run), _) if run.exit.code == 0 => Standing::Clear(run.exit.finished_at),
        _ => Standing::Raised,
    }
}

fn run_began(container: &ContainerFacts) -> Option<Timestamp> {
    match &container.state {
        State::Running(since) => *since,
        State::Terminated(run) => run.exit.started_at,
        _ => container.last.as_ref().and_then(|run| run.exit.started_at),
    }
}
