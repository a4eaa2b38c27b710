//! What is over, said as what is well again: `Node worker-3 is ready again (down 4m 11s)`.

use jiff::Timestamp;

use super::{MAX_NAME, MAX_TITLE, name, numbers, subject, words};
use crate::message::{Decision, IncidentView, Reason};
use crate::signal::{Cause, Health};
use words::{join, one_line};

/// The title of an end. The rule's own summary says what stood; it says nothing about what is well again.
pub fn title(decision: Decision, reason: Reason, i: &IncidentView) -> String {
    let what = super::incident_title(i);
    one_line(
        &match (decision, reason) {
            (Decision::Expired, Reason::RuleRemoved) => format!("No longer followed, rule removed: {what}"),
            (Decision::Expired, Reason::OverLimit) => format!("No longer followed, limit reached: {what}"),
            (Decision::Expired, _) => format!("State unknown: {what}"),
            _ => format!("Resolved: {}", sentence(reason, i)),
        },
        MAX_TITLE,
    )
}

/// A title without the state in front of it, for what shows the state beside it.
pub fn without_state(decision: Decision, title: &str) -> &str {
    let state = match decision {
        Decision::Resolved => "Resolved: ",
        Decision::Expired => "State unknown: ",
        _ => return title,
    };
    title.strip_prefix(state).unwrap_or(title)
}

/// An incident of a list that has ended, in one line.
pub fn line(i: &IncidentView) -> String {
    match i.end_reason {
        Some(Reason::StateUnknown) => format!("{}, state unknown", super::incident_title(i)),
        Some(Reason::RuleRemoved | Reason::OverLimit) => {
            format!("{}, no longer followed", super::incident_title(i))
        }
        reason => sentence(reason.unwrap_or(Reason::Recovered), i),
    }
}

/// What stands beside a title that says less than is known of the end; may be empty.
pub fn note(reason: Reason, i: &IncidentView) -> String {
    match (reason, i.left_behind) {
        (Reason::ObjectsGone, _) if is_the_object(i) || !is_in_pods(i.cause) => String::new(),
        (Reason::ObjectsGone, Some(Health::Healthy)) => {
            "the affected pods are gone; the remaining ones are healthy".into()
        }
        (Reason::ObjectsGone, Some(Health::Absent)) => {
            "the affected pods are gone; the workload was removed or wants no pods".into()
        }
        (Reason::ObjectsGone, Some(Health::Unhealthy)) => {
            "the affected pods are gone; the workload is not healthy for another reason".into()
        }
        (Reason::ObjectsGone, _) => "the affected pods are gone".into(),
        (Reason::Quiet, _) if i.cause.is_point() || i.cause == Cause::OOMKilled => String::new(),
        (Reason::Quiet, _) => format!("last seen {}", words::moment(i.last_seen, end(i))),
        _ => String::new(),
    }
}

/// What is well again and how long it was not, without the word "resolved".
fn sentence(reason: Reason, i: &IncidentView) -> String {
    let said = match i.cause {
        _ if reason == Reason::ObjectsGone => gone(i),
        Cause::JobFailed | Cause::FailedCreate if reason == Reason::Quiet => (quiet(i), lasted(i)),
        cause if cause.is_point() || cause == Cause::OOMKilled => (quiet(i), last(i)),
        _ => (well(i), lasted(i)),
    };
    format!("{} ({})", said.0, said.1)
}

/// What everybody waited for.
fn well(i: &IncidentView) -> String {
    let who = who(i);
    match i.cause {
        Cause::CrashLoopBackOff if is_batch(i) => format!("{who} no longer crashes"),
        Cause::CrashLoopBackOff => format!("{who} runs again"),
        Cause::ImagePullBackOff => format!("{who} pulls its image again"),
        Cause::CreateContainerConfigError
        | Cause::CreateContainerError
        | Cause::RunContainerError
        | Cause::ContainerStuck => format!("{who} starts again"),
        Cause::FailedMount => format!("{who} mounts its volumes again"),
        Cause::FailedAttachVolume => format!("{who} has its volume attached"),
        Cause::FailedScheduling => format!("{who} is scheduled"),
        Cause::Unhealthy => format!("{who} passes its probes again"),
        Cause::NodeNotReady => format!("{who} is ready again"),
        Cause::NodePressure if &*i.reason_raw == "NoRouteCreated" => format!("{who} has its network again"),
        Cause::NodePressure => format!("{who} is no longer under {}pressure", resource(i)),
        Cause::NodeCondition if i.deeper.is_empty() => format!("{who} reports no bad condition any more"),
        Cause::NodeCondition => format!("{who} no longer reports {}", one_line(&i.deeper, MAX_NAME)),
        Cause::JobFailed => format!("{who} succeeds again"),
        Cause::RolloutStuck => format!("The rollout of {who} goes on"),
        Cause::FailedCreate => format!("{who} creates pods again"),
        Cause::ProvisioningFailed => format!("{who} is bound"),
        Cause::StuckTerminating => format!("{who} is deleted"),
        Cause::PodFailed => format!("{who} was removed"),
        Cause::OOMKilled | Cause::Evicted | Cause::PodRejected | Cause::Rebooted | Cause::Event => quiet(i),
    }
}

/// What happened has not happened again.
fn quiet(i: &IncidentView) -> String {
    let who = who(i);
    match i.cause {
        Cause::OOMKilled => format!("{who} was not OOM-killed again"),
        Cause::Evicted => format!("No further pod of {who} was evicted"),
        Cause::PodRejected => format!("No further pod of {who} was rejected"),
        Cause::Rebooted => format!("{who} has not rebooted again"),
        Cause::Event if !i.reason_raw.is_empty() => {
            format!("No further {} Event about {who}", one_line(&i.reason_raw, 60))
        }
        Cause::JobFailed => format!("No further run of {who} failed"),
        _ => format!("No further problem of {who} was seen"),
    }
}

/// The objects that had the problem do not exist any more.
fn gone(i: &IncidentView) -> (String, String) {
    let who = who(i);
    let many = i.members_total != 1;
    let what = match i.cause {
        Cause::StuckTerminating if is_the_object(i) => format!("{who} is deleted"),
        Cause::StuckTerminating if many => format!("The deleted pods of {who} are gone"),
        Cause::StuckTerminating => format!("The deleted pod of {who} is gone"),
        _ if is_the_object(i) => format!("{who} was removed"),
        cause if is_in_pods(cause) && i.left_behind == Some(Health::Healthy) => well(i),
        cause if is_in_pods(cause) && many => format!("The affected pods of {who} are gone"),
        cause if is_in_pods(cause) => format!("The affected pod of {who} is gone"),
        Cause::JobFailed => format!("The failed Job of {who} was removed"),
        _ => format!("{who} was removed"),
    };
    (what, if i.cause == Cause::OOMKilled { last(i) } else { lasted(i) })
}

/// `down 4m 11s`: how it was, and for how long.
fn lasted(i: &IncidentView) -> String {
    let how = match i.cause {
        Cause::CrashLoopBackOff if super::exits_well(i) => "kept exiting for",
        Cause::CrashLoopBackOff => "crashed for",
        Cause::ImagePullBackOff
        | Cause::FailedMount
        | Cause::FailedAttachVolume
        | Cause::Unhealthy
        | Cause::FailedCreate
        | Cause::JobFailed
        | Cause::ProvisioningFailed => "failed for",
        Cause::CreateContainerConfigError => "configuration missing for",
        Cause::CreateContainerError | Cause::RunContainerError => "failed to start for",
        Cause::ContainerStuck | Cause::RolloutStuck | Cause::StuckTerminating => "stuck for",
        Cause::FailedScheduling => "unschedulable for",
        Cause::NodeNotReady => "down",
        Cause::PodFailed => "had failed for",
        _ => "lasted",
    };
    let least = if i.since_at_least { "at least " } else { "" };
    format!("{how} {least}{}", words::duration(words::seconds_between(i.since, end(i))))
}

/// `14 OOM kills, last 08:06:24 UTC`
fn last(i: &IncidentView) -> String {
    let count = numbers::counted(i);
    join(&[&count, &format!("last {}", words::moment(i.last_seen, end(i)))], ", ")
}

fn end(i: &IncidentView) -> Timestamp {
    i.ended_at.unwrap_or(i.last_seen)
}

/// Nodes and namespaces are called as people call them.
fn who(i: &IncidentView) -> String {
    match i.workload.kind() {
        "Node" | "Namespace" => name(&format!("{} {}", i.workload.kind(), i.workload.name())),
        _ => subject(i),
    }
}

/// Is the one object affected the workload itself: a node, a claim, a pod without a controller?
fn is_the_object(i: &IncidentView) -> bool {
    i.workload.kind() == &*i.member_kind && i.members_total <= 1
}

fn is_batch(i: &IncidentView) -> bool {
    matches!(i.workload.kind(), "Job" | "CronJob")
}

/// Is it pods that have the problem, so that others of the workload can be well?
const fn is_in_pods(cause: Cause) -> bool {
    cause.is_run()
        || cause.is_start()
        || matches!(cause, Cause::PodFailed | Cause::Evicted | Cause::PodRejected)
}

/// `disk `, with its space; empty where the reason does not say.
fn resource(i: &IncidentView) -> &'static str {
    match &*i.reason_raw {
        reason if reason.contains("Memory") => "memory ",
        reason if reason.contains("Disk") => "disk ",
        reason if reason.contains("PID") => "PID ",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
