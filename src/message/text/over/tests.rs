use super::*;
use crate::message::text::tests::{at, crash, node};
use crate::message::text::{text, title_for};

/// From 08:06:24 to 08:11:32.
fn ended(cause: Cause, workload: &str) -> IncidentView {
    IncidentView {
        cause,
        workload: workload.into(),
        exit: "exit code 3".into(),
        reason_raw: "".into(),
        ended_at: Some(at("2026-02-03T08:11:32Z")),
        ..crash()
    }
}

fn on_node(cause: Cause, reason: &str) -> IncidentView {
    IncidentView { cause, reason_raw: reason.into(), ended_at: Some(at("2026-02-03T08:11:32Z")), ..node() }
}

fn said(reason: Reason, i: &IncidentView) -> String {
    title(Decision::Resolved, reason, i)
}

#[test]
fn every_cause_says_what_is_well_again() {
    use Cause::*;
    let web = "Deployment/web";
    let cases = [
        (ended(CrashLoopBackOff, web), "Deployment/web in shop runs again (crashed for 5m 8s)"),
        (
            ended(CrashLoopBackOff, "CronJob/report"),
            "CronJob/report in shop no longer crashes (crashed for 5m 8s)",
        ),
        (ended(ImagePullBackOff, web), "Deployment/web in shop pulls its image again (failed for 5m 8s)"),
        (
            ended(CreateContainerConfigError, web),
            "Deployment/web in shop starts again (configuration missing for 5m 8s)",
        ),
        (ended(CreateContainerError, web), "Deployment/web in shop starts again (failed to start for 5m 8s)"),
        (ended(RunContainerError, web), "Deployment/web in shop starts again (failed to start for 5m 8s)"),
        (
            ended(OOMKilled, web),
            "Deployment/web in shop was not OOM-killed again (14 OOM kills, last 08:10:00 UTC)",
        ),
        (
            ended(Evicted, web),
            "No further pod of Deployment/web in shop was evicted (14 evictions, last 08:10:00 UTC)",
        ),
        (ended(FailedMount, web), "Deployment/web in shop mounts its volumes again (failed for 5m 8s)"),
        (ended(FailedAttachVolume, web), "Deployment/web in shop has its volume attached (failed for 5m 8s)"),
        (ended(FailedScheduling, web), "Deployment/web in shop is scheduled (unschedulable for 5m 8s)"),
        (ended(ContainerStuck, web), "Deployment/web in shop starts again (stuck for 5m 8s)"),
        (ended(Unhealthy, web), "Deployment/web in shop passes its probes again (failed for 5m 8s)"),
        (
            ended(PodRejected, web),
            "No further pod of Deployment/web in shop was rejected (14 rejections, last 08:10:00 UTC)",
        ),
        (on_node(NodeNotReady, "NodeStatusUnknown"), "Node worker-2 is ready again (down 5m 8s)"),
        (
            on_node(NodePressure, "KubeletHasDiskPressure"),
            "Node worker-2 is no longer under disk pressure (lasted 5m 8s)",
        ),
        (on_node(NodePressure, "NoRouteCreated"), "Node worker-2 has its network again (lasted 5m 8s)"),
        (
            IncidentView { deeper: "KernelDeadlock".into(), ..on_node(NodeCondition, "DockerHung") },
            "Node worker-2 no longer reports KernelDeadlock (lasted 5m 8s)",
        ),
        (on_node(Rebooted, "Rebooted"), "Node worker-2 has not rebooted again (last 08:10:00 UTC)"),
        (ended(JobFailed, "CronJob/report"), "CronJob/report in shop succeeds again (failed for 5m 8s)"),
        (ended(RolloutStuck, web), "The rollout of Deployment/web in shop goes on (stuck for 5m 8s)"),
        (ended(FailedCreate, web), "Deployment/web in shop creates pods again (failed for 5m 8s)"),
        (
            ended(ProvisioningFailed, "PersistentVolumeClaim/data"),
            "PersistentVolumeClaim/data in shop is bound (failed for 5m 8s)",
        ),
        (ended(StuckTerminating, "Pod/x"), "Pod/x in shop is deleted (stuck for 5m 8s)"),
        (ended(PodFailed, "Pod/x"), "Pod/x in shop was removed (had failed for 5m 8s)"),
        (
            IncidentView { reason_raw: "FailedDraining".into(), ..ended(Event, "Machine/m") },
            "No further FailedDraining Event about Machine/m in shop (seen 14 times, last 08:10:00 UTC)",
        ),
    ];
    for cause in Cause::ALL {
        assert!(cases.iter().any(|(i, _)| i.cause == *cause), "{cause} has no sentence here");
    }
    for (i, expected) in cases {
        assert_eq!(said(Reason::Recovered, &i), format!("Resolved: {expected}"));
        // A rule's own summary says what stood; it must not be read as standing.
        let own = IncidentView { title: "it is broken".into(), ..i.clone() };
        assert_eq!(said(Reason::Recovered, &own), said(Reason::Recovered, &i));
    }
}

#[test]
fn what_exits_without_an_error_did_not_crash() {
    let i = IncidentView { exit: "exit code 0".into(), ..ended(Cause::CrashLoopBackOff, "Deployment/web") };
    assert!(said(Reason::Recovered, &i).ends_with("runs again (kept exiting for 5m 8s)"));
    let oom = IncidentView { deeper: "OOM-killed".into(), ..i };
    assert!(said(Reason::Recovered, &oom).ends_with("(crashed for 5m 8s)"));
}

#[test]
fn objects_that_are_gone_say_what_became_of_their_workload() {
    let left = |health, cause| IncidentView { left_behind: health, ..ended(cause, "Deployment/web") };
    let pull = Cause::ImagePullBackOff;
    let both = |i: &IncidentView| (said(Reason::ObjectsGone, i), note(Reason::ObjectsGone, i));
    assert_eq!(
        both(&left(Some(Health::Healthy), pull)),
        (
            "Resolved: Deployment/web in shop pulls its image again (failed for 5m 8s)".into(),
            "the affected pods are gone; the remaining ones are healthy".into()
        )
    );
    assert_eq!(
        both(&left(Some(Health::Absent), pull)),
        (
            "Resolved: The affected pods of Deployment/web in shop are gone (failed for 5m 8s)".into(),
            "the affected pods are gone; the workload was removed or wants no pods".into()
        )
    );
    let (title, note) = both(&left(Some(Health::Unhealthy), pull));
    assert!(title.contains("are gone") && note.ends_with("not healthy for another reason"), "{title} {note}");
    assert_eq!(both(&left(None, pull)).1, "the affected pods are gone", "nothing is claimed of the others");

    let alone = IncidentView { members_total: 1, ..ended(Cause::CrashLoopBackOff, "Pod/x") };
    assert_eq!(
        both(&alone),
        ("Resolved: Pod/x in shop was removed (crashed for 5m 8s)".into(), String::new())
    );
    assert_eq!(
        both(&on_node(Cause::NodeNotReady, "")),
        ("Resolved: Node worker-2 was removed (down 5m 8s)".into(), String::new())
    );
    let stuck = IncidentView { members_total: 1, ..ended(Cause::StuckTerminating, "StatefulSet/db") };
    assert_eq!(
        said(Reason::ObjectsGone, &stuck),
        "Resolved: The deleted pod of StatefulSet/db in shop is gone (stuck for 5m 8s)"
    );
    let space = IncidentView {
        member_kind: "Namespace".into(),
        namespace: Some("team-a".into()),
        workload: "Namespace/team-a".into(),
        ..stuck
    };
    assert_eq!(said(Reason::ObjectsGone, &space), "Resolved: Namespace team-a is deleted (stuck for 5m 8s)");
}

#[test]
fn what_ended_otherwise_is_not_called_resolved() {
    let i = IncidentView { title: "web is ill".into(), ..ended(Cause::Unhealthy, "Deployment/web") };
    let said = |reason| title(Decision::Expired, reason, &i);
    assert_eq!(said(Reason::RuleRemoved), "No longer followed, rule removed: web is ill");
    assert_eq!(said(Reason::OverLimit), "No longer followed, limit reached: web is ill");
    assert_eq!(said(Reason::StateUnknown), "State unknown: web is ill");
    let listed = |reason| line(&IncidentView { end_reason: reason, ..i.clone() });
    assert_eq!(listed(Some(Reason::StateUnknown)), "web is ill, state unknown");
    assert_eq!(listed(Some(Reason::RuleRemoved)), "web is ill, no longer followed");
    assert_eq!(listed(None), "Deployment/web in shop passes its probes again (failed for 5m 8s)");
}

#[test]
fn a_state_that_is_shown_beside_the_title_is_not_said_twice() {
    let i = ended(Cause::CrashLoopBackOff, "Deployment/web");
    let whole = title_for(Decision::Resolved, Reason::Recovered, &i);
    assert_eq!(
        without_state(Decision::Resolved, &whole),
        "Deployment/web in shop runs again (crashed for 5m 8s)"
    );
    assert_eq!(without_state(Decision::First, &whole), whole);
    let late = IncidentView { since_at_least: true, ..i };
    let now = at("2026-02-03T08:12:00Z");
    assert_eq!(
        text("", Decision::Resolved, Reason::Recovered, &late, now).lines().nth(1),
        Some("3 of 3 pods, 14 crashes, from 08:06:24 UTC or earlier to 08:11:32 UTC (5m 8s)")
    );
    assert!(said(Reason::Recovered, &late).ends_with("(crashed for at least 5m 8s)"));
}
