//! Since when a container has had its problem, as far as its status tells: waiting has no time of its own.

use std::time::Duration;

use jiff::Timestamp;

use super::{BACK_OFF_RESET, ended_run};
use crate::clock;
use crate::signal::facts::{ContainerFacts, PodFacts, Role, State};
use crate::signal::finding::Finding;
use crate::signal::{Cause, Exit};

/// The kubelet's crash back-off begins here and doubles up to [`MAX_BACK_OFF`]; the first restart is immediate
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>).
const BACK_OFF: u64 = 10;
const MAX_BACK_OFF: u64 = 300;
/// For pulling the image, scheduling the restart and what else takes a moment.
const SLACK: Duration = Duration::from_secs(60);

/// Puts the earliest evidence into a finding that has no time. `unseen`: the pod was not known before, so that
/// what happened earlier than the evidence was not seen.
pub(super) fn put(pod: &PodFacts, unseen: bool, finding: &mut Finding) {
    if finding.since.is_some() {
        return;
    }
    let Some(container) = finding.container.as_deref().and_then(|name| pod.container(name)) else { return };
    let looping = matches!(finding.cause, Cause::CrashLoopBackOff | Cause::RunContainerError);
    let (since, exact) = match ended_run(container).map(|run| &run.exit) {
        Some(exit) if looping => loops(pod, container, exit),
        _ if !unseen => return,
        // It has waited since its last run ended.
        Some(exit) => (exit.finished_at, true),
        None if container.restarts == 0 => (turn(pod, container), true),
        None => (None, false),
    };
    finding.since = since;
    finding.since_at_least = unseen && !(exact && since.is_some());
}

/// Since when a container ends again and again, and whether that is exact. Its status has its last run only.
/// Where the restarts explain all of the time since its turn came, it never ran well.
fn loops(pod: &PodFacts, container: &ContainerFacts, last: &Exit) -> (Option<Timestamp>, bool) {
    let began = turn(pod, container);
    let ran = last.ran().unwrap_or_default();
    if let (Some(began), Some(ended)) = (began, last.finished_at)
        && began <= ended
        && container.restarts > 0
    {
        let runs = ran.saturating_mul(container.restarts.saturating_add(1));
        let explained = runs.saturating_add(waited(container.restarts));
        if clock::between(began, ended) <= explained.saturating_add(explained / 4).saturating_add(SLACK) {
            return (Some(began), true);
        }
    }
    // A long run was well until its end.
    let short = ran < BACK_OFF_RESET;
    let started = last.started_at.filter(|at| short && at.as_second() > 0);
    (started.or(last.finished_at), false)
}

/// How long the kubelet waited before so many restarts.
fn waited(restarts: u32) -> Duration {
    let mut total = 0_u64;
    let mut pause = BACK_OFF;
    let mut left = u64::from(restarts.saturating_sub(1));
    while left > 0 && pause < MAX_BACK_OFF {
        total += pause;
        pause *= 2;
        left -= 1;
    }
    Duration::from_secs(total.saturating_add(left.saturating_mul(MAX_BACK_OFF)))
}

/// When it was the container's turn to run: its pod was bound, and the init containers before it were through.
fn turn(pod: &PodFacts, container: &ContainerFacts) -> Option<Timestamp> {
    let mut since = pod.scheduled_at.or(pod.id.created);
    for other in pod.containers.iter().take_while(|other| other.name != container.name) {
        match &other.state {
            State::Terminated(run) if other.role == Role::Init => since = since.max(run.exit.finished_at),
            State::Running(from) if other.restarts == 0 => since = since.max(*from),
            _ => {}
        }
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelet_waits_twice_as_long_each_time() {
        let waits = [0, 1, 2, 3, 4, 6, 7, 113].map(|n| waited(n).as_secs());
        assert_eq!(waits, [0, 0, 10, 30, 70, 310, 610, 32_410]);
    }
}
