//! Pods: from the facts before and after a change to findings.
//!
//! How each problem shows, and which look-alikes are none, follows the kubelet's own code; the
//! places are named where they decide something.

mod ended;
mod failed;
mod moments;
mod since;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::{ContainerFacts, PodFacts, PodPhase, RestartPolicy, Role, Run, State};
use super::finding::{Finding, weight};
use super::{Cause, Exit, Phase};
use crate::clock;

pub use ended::{ended_with, note as note_kill};
pub use standing::standing;

/// A run longer than this resets the kubelet's crash back-off
/// (`MaxContainerBackOff * 2`, <https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet.go>).
pub const BACK_OFF_RESET: Duration = Duration::from_secs(600);

/// So many failed runs inside [`SLOW_WINDOW`] are a crash loop although each run is long enough to
/// reset the back-off.
const SLOW_RESTARTS: u8 = 3;
/// See [`SLOW_RESTARTS`].
const SLOW_WINDOW: Duration = Duration::from_secs(3600);

/// `status.reason` of pods that ended by plan, or that another cause tells of.
const PLANNED_ENDS: &[&str] =
    &["Evicted", "Preempting", "Terminated", "NodeShutdown", "Shutdown", "DeadlineExceeded", "NodeLost"];

/// The cause a waiting reason stands for
/// (`pkg/kubelet/images/types.go`, `pkg/kubelet/kuberuntime/kuberuntime_container.go`).
pub fn waiting_cause(reason: &str) -> Option<Cause> {
    Some(match reason {
        "CrashLoopBackOff" => Cause::CrashLoopBackOff,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Cause::ImagePullBackOff,
        "CreateContainerConfigError" => Cause::CreateContainerConfigError,
        "CreateContainerError" | "PreCreateHookError" => Cause::CreateContainerError,
        "RunContainerError" | "PreStartHookError" | "PostStartHookError" => Cause::RunContainerError,
        _ => return None,
    })
}

/// A waiting reason that says nothing about why.
fn neutral(reason: &str) -> bool {
    matches!(reason, "" | "ContainerCreating" | "PodInitializing")
}

/// Takes over from the facts before what one status alone does not show.
pub fn carry(before: &PodFacts, after: &mut PodFacts, now: Timestamp) {
    after.evicted |= before.evicted;
    for container in &mut after.containers {
        let Some(old) = before.container(&container.name) else { continue };
        ended::carry(old, container);
        if let State::Waiting { reason, .. } = &container.state
            && neutral(reason)
            && container.restarts == old.restarts
        {
            container.sticky = match &old.state {
                State::Waiting { reason, .. } => waiting_cause(reason)
                    .filter(|cause| *cause != Cause::CrashLoopBackOff)
                    .map(|cause| (cause, Arc::clone(reason)))
                    .or_else(|| old.sticky.clone()),
                _ => old.sticky.clone(),
            };
        }
        (container.slow, container.slow_from) = (old.slow, old.slow_from);
        if container.restarts > old.restarts {
            let failed = container.last.as_ref().is_some_and(|run| {
                run.exit.code != 0 && !matches!(&*reason_of(&run.exit), "RestartingAllContainers")
            });
            let fresh = container.slow_from.is_none_or(|from| clock::between(from, now) > SLOW_WINDOW);
            if failed && fresh {
                (container.slow, container.slow_from) = (1, Some(now));
            } else if failed {
                container.slow = container.slow.saturating_add(1);
            }
        }
    }
}

/// The findings that a change of a pod means. `news_since`: what ended before that moment was told,
/// or is too old to be news.
pub fn findings(before: Option<&PodFacts>, after: &PodFacts, news_since: Timestamp) -> Vec<Finding> {
    let mut out = Vec::new();
    for container in &after.containers {
        moments::out_of_memory(before, after, container, news_since, &mut out);
    }
    moments::rejected_or_evicted(before, after, news_since, &mut out);
    if after.leaving() {
        // Neither a problem nor a recovery: `deletionTimestamp` alone turns the waiting reason back
        // to `terminated` (pkg/kubelet/container/helpers.go, ShouldContainerBeRestarted).
        return out;
    }
    let raised = problems(after);
    if let Some(before) = before {
        for old in problems(before) {
            let still = raised.iter().any(|new| new.cause == old.cause && new.container == old.container);
            if !still && !before.leaving() {
                out.push(Finding { phase: Phase::Cleared, count: 0, ..old });
            }
        }
        cleared_by_start(before, after, &mut out);
        for container in after.containers.iter().filter(|c| slow_crash(before, c)) {
            let finding = crash(container, &Arc::from("Restarting")).count(1);
            out.push(finding.clone());
            out.push(Finding { phase: Phase::Cleared, count: 0, ..finding });
        }
    }
    for mut finding in raised {
        if finding.cause == Cause::PodFailed {
            finding.count = u32::from(before.is_none_or(|pod| !pod.finished()));
        } else if finding.cause == Cause::CrashLoopBackOff {
            finding.count = restarts_since(before, after, finding.container.as_deref());
        }
        since::put(after, before.is_none(), &mut finding);
        out.push(finding);
    }
    out
}

fn restarts_since(before: Option<&PodFacts>, after: &PodFacts, container: Option<&str>) -> u32 {
    let Some(now) = container.and_then(|name| after.container(name)) else { return 0 };
    match before.and_then(|pod| pod.container(&now.name)) {
        // The end of a run is what counts; the restart that follows it does not count again.
        Some(old) => u32::from(ended::another_ended(now, old)),
        None => now.restarts.max(1),
    }
}

/// The API tells times in whole seconds: what happened in the second of the last look may be new.
pub fn old_news(at: Timestamp, news_since: Timestamp) -> bool {
    clock::after(at, Duration::from_secs(1)) <= news_since
}

/// The newest run that ended.
fn ended_run(container: &ContainerFacts) -> Option<&Run> {
    match &container.state {
        State::Terminated(run) => Some(run),
        _ => container.last.as_deref(),
    }
}

/// What a pod shows now, as raised findings.
pub fn problems(pod: &PodFacts) -> Vec<Finding> {
    let mut out = Vec::new();
    if pod.leaving() {
        return out;
    }
    if pod.finished() {
        out.extend(failed::failed(pod));
        return out;
    }
    for container in &pod.containers {
        if let Some(finding) = container_problem(pod, container) {
            out.push(finding);
        }
    }
    if let Some(finding) = unschedulable(pod) {
        out.push(finding);
    }
    if out.is_empty()
        && let Some(finding) = stuck(pod)
    {
        out.push(finding);
    }
    out
}

fn container_problem(pod: &PodFacts, container: &ContainerFacts) -> Option<Finding> {
    match &container.state {
        State::Waiting { reason, message } => {
            let (cause, reason) = match waiting_cause(reason) {
                Some(cause) => (cause, reason),
                None if neutral(reason) => container.sticky.as_ref().map(|(c, r)| (*c, r))?,
                None => return None,
            };
            if cause == Cause::CrashLoopBackOff {
                return Some(crash(container, reason));
            }
            let (text, how_well) = waiting_text(reason, message.as_deref());
            let mut finding = Finding::new(cause, Phase::Raised, reason)
                .container(&container.name)
                .text(text, how_well)
                .image(&container.image);
            if cause == Cause::RunContainerError {
                finding.exit = container.last.as_ref().map(|run| run.exit.clone());
            }
            Some(finding)
        }
        State::Terminated(run) if in_back_off(pod, container, run) => {
            Some(crash(container, &Arc::from("CrashLoopBackOff")))
        }
        _ => None,
    }
}

/// A container that runs too long for a back-off has crashed once more: that is a problem at the
/// moment of its restart, and seems to be none while it runs.
fn slow_crash(before: &PodFacts, container: &ContainerFacts) -> bool {
    container.slow >= SLOW_RESTARTS
        && before.container(&container.name).is_some_and(|old| container.restarts > old.restarts)
        && matches!(container.state, State::Running(_))
        && container.last.as_ref().is_some_and(|run| {
            // After a shorter run the back-off shows it.
            run.exit.code != 0 && run.exit.ran().is_some_and(|ran| ran >= BACK_OFF_RESET)
        })
}

/// Is a container that shows `terminated` in its crash back-off? The kubelet writes the status before
/// its reason cache (kubelet.go, SyncPod), so for most of a back-off the status says `terminated`.
/// The first end is followed by an immediate restart; the back-off starts over after a long run.
fn in_back_off(pod: &PodFacts, container: &ContainerFacts, run: &Run) -> bool {
    let restarts = match (container.role, pod.restart_policy) {
        (Role::Sidecar, _) | (_, RestartPolicy::Always) => container.role != Role::Init || run.exit.code != 0,
        (_, RestartPolicy::OnFailure) => run.exit.code != 0,
        (_, RestartPolicy::Never) => false,
    };
    let short = run.exit.ran().is_none_or(|ran| ran < BACK_OFF_RESET);
    restarts && short && container.restarts >= 1 && &*reason_of(&run.exit) != "ContainerStatusUnknown"
}

fn reason_of(exit: &Exit) -> Arc<str> {
    exit.reason.clone().unwrap_or_else(|| Arc::from(""))
}

fn crash(container: &ContainerFacts, reason: &Arc<str>) -> Finding {
    let run = ended_run(container);
    let exit = run.map(|run| run.exit.clone());
    let (text, how_well) = match (&run, exit.as_ref().and_then(|e| e.message.clone())) {
        (_, Some(message)) if !message.is_empty() => (message, weight::ERROR),
        (Some(run), _) => (ended_text(container, run), weight::STATE),
        _ => (Arc::from("restarts again and again"), weight::BACK_OFF),
    };
    Finding::new(Cause::CrashLoopBackOff, Phase::Raised, reason)
        .container(&container.name)
        .text(text, how_well)
        .image(&container.image)
        .exit(exit)
}

/// "the container ended with exit code 3 after running for 2s"
fn ended_text(container: &ContainerFacts, run: &Run) -> Arc<str> {
    let mut out = if oom(&run.exit) {
        oom_text(container)
    } else {
        format!("{} exited with code {}", role_word(container.role), run.exit.code)
    };
    if let Some(ran) = run.exit.ran() {
        let secs = ran.as_secs();
        out.push_str(&match secs {
            0 => String::from(" within a second of its start"),
            1..=119 => format!(" after running for {secs} s"),
            _ => format!(" after running for {} min", secs / 60),
        });
    }
    Arc::from(out)
}

const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Main => "the container",
        Role::Init => "the init container",
        Role::Sidecar => "the sidecar",
    }
}

fn oom(exit: &Exit) -> bool {
    exit.reason.as_deref() == Some("OOMKilled")
}

fn oom_text(container: &ContainerFacts) -> String {
    match &container.memory_limit {
        Some(limit) => format!("OOM-killed at its {limit} memory limit"),
        None => String::from("OOM-killed (no memory limit of its own: the node or the pod ran out)"),
    }
}

/// The kubelet's prefix hides the real error behind it (`Back-off pulling image "x": ErrImagePull: …`,
/// pkg/kubelet/images/image_manager.go).
fn waiting_text(reason: &str, message: Option<&str>) -> (Arc<str>, u8) {
    let Some(message) = message.filter(|m| !m.is_empty()) else {
        return (Arc::from(reason), weight::BACK_OFF);
    };
    if message.starts_with("Back-off pulling image") {
        return match message.split_once(": ErrImagePull: ") {
            Some((_, error)) => (Arc::from(error.trim()), weight::ERROR),
            None => (Arc::from(message), weight::BACK_OFF),
        };
    }
    (Arc::from(message), weight::ERROR)
}

fn unschedulable(pod: &PodFacts) -> Option<Finding> {
    let condition = pod.unschedulable.as_deref()?;
    // Gated pods wait by wish; a nominated pod is preempting or about to be bound.
    if !matches!(&*condition.reason, "Unschedulable" | "SchedulerError")
        || pod.nominated
        || pod.node.is_some()
    {
        return None;
    }
    Some(
        Finding::new(Cause::FailedScheduling, Phase::Raised, &condition.reason)
            .text(Arc::clone(&condition.message), weight::ERROR)
            .since(condition.since.or(pod.id.created)),
    )
}

/// Scheduled, and yet the container that should come next does not come into being.
fn stuck(pod: &PodFacts) -> Option<Finding> {
    if pod.node.is_none() || pod.phase != PodPhase::Pending {
        return None;
    }
    // Whose turn it is has waited since the one before it was through.
    let mut since = pod.scheduled_at.or(pod.id.created);
    for container in &pod.containers {
        match (&container.state, container.role) {
            // Containers behind an init container at work wait by design.
            (State::Running(_), Role::Init) => return None,
            (State::Terminated(run), Role::Init) if run.exit.code == 0 => {
                since = since.max(run.exit.finished_at);
            }
            (State::Running(from), _) => since = since.max(*from),
            (State::Waiting { reason, .. }, _) if neutral(reason) => {
                return Some(stuck_finding(container, since));
            }
            (State::None, _) => return Some(stuck_finding(container, since)),
            _ => return None,
        }
    }
    // The kubelet has not said anything about the pod at all.
    pod.containers.is_empty().then(|| {
        Finding::new(Cause::ContainerStuck, Phase::Raised, &Arc::from("Pending"))
            .text(Arc::from("the kubelet has not started the pod"), weight::STATE)
            .since(since)
    })
}

fn stuck_finding(container: &ContainerFacts, since: Option<Timestamp>) -> Finding {
    let reason: Arc<str> = match &container.state {
        State::Waiting { reason, .. } if !reason.is_empty() => Arc::clone(reason),
        _ => Arc::from("Pending"),
    };
    Finding::new(Cause::ContainerStuck, Phase::Raised, &reason)
        .text(
            Arc::from(format!(
                "{} {} has not been created and no Event says why",
                role_word(container.role),
                container.name
            )),
            weight::STATE,
        )
        .image(&container.image)
        .since(since)
}

/// What only Events raise is cleared by status: mounts by the first container that runs, probes by
/// a container that is ready.
fn cleared_by_start(before: &PodFacts, after: &PodFacts, out: &mut Vec<Finding>) {
    if !before.started() && after.started() {
        for cause in [Cause::FailedMount, Cause::FailedAttachVolume] {
            out.push(Finding::new(cause, Phase::Cleared, &Arc::from("Started")));
        }
    }
    for container in &after.containers {
        let was_ready = before.container(&container.name).is_some_and(|c| c.ready);
        let restarted =
            before.container(&container.name).is_some_and(|old| container.restarts > old.restarts);
        if container.ready && !was_ready {
            out.push(
                Finding::new(Cause::Unhealthy, Phase::Cleared, &Arc::from("Ready"))
                    .container(&container.name),
            );
        }
        if restarted && matches!(container.state, State::Running(_)) {
            out.push(
                Finding::new(Cause::OOMKilled, Phase::Cleared, &Arc::from("Running"))
                    .container(&container.name),
            );
        }
    }
}
