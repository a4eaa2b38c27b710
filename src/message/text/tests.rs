use super::*;
use crate::message::Held;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn crash() -> IncidentView {
    IncidentView {
        id: "i1".into(),
        rule: "crash-loop".into(),
        cause: Cause::CrashLoopBackOff,
        severity: Severity::Critical,
        was: None,
        seq: 1,
        namespace: Some("shop".into()),
        team: None,
        workload: "Deployment/checkout".into(),
        container: Some("app".into()),
        node: None,
        image: Some("registry.example.com/checkout:1.2".into()),
        member_kind: "Pod".into(),
        members: vec!["checkout-a".into(), "checkout-b".into(), "checkout-c".into()],
        members_total: 3,
        replicas: Some(3),
        occurrences: 14,
        occurrences_new: 0,
        restarts: None,
        since: at("2026-02-03T08:06:24Z"),
        since_at_least: false,
        last_seen: at("2026-02-03T08:10:00Z"),
        ended_at: None,
        end_reason: None,
        left_behind: None,
        gone: Vec::new(),
        reason_raw: "CrashLoopBackOff".into(),
        why: "config: /etc/checkout.yaml: no such file".into(),
        exit: "exit code 3".into(),
        deeper: "".into(),
        flaps: 0,
        held: Vec::new(),
        pods_on_node: None,
        runbook: Some("https://runbooks.example.com/crash-loop".into()),
        command: "kubectl -n shop logs deployment/checkout -c app --tail=50".into(),
        silence: None,
        log_tail: None,
        log_from: None,
        title: String::new(),
        first: None,
    }
}

pub(super) fn node() -> IncidentView {
    IncidentView {
        id: "n1".into(),
        cause: Cause::NodeNotReady,
        namespace: None,
        workload: "Node/worker-2".into(),
        container: None,
        node: Some("worker-2".into()),
        image: None,
        member_kind: "Node".into(),
        members: vec!["worker-2".into()],
        members_total: 1,
        replicas: None,
        occurrences: 1,
        severity: Severity::Warning,
        was: None,
        seq: 1,
        why: "Kubelet stopped posting node status.".into(),
        exit: "".into(),
        held: vec![Held {
            cause: Cause::Unhealthy,
            namespace: Some("shop".into()),
            workload: "Deployment/cart".into(),
            members: 4,
        }],
        pods_on_node: Some(31),
        runbook: None,
        command: "kubectl describe node worker-2".into(),
        ..crash()
    }
}

#[test]
fn titles_say_what_where_how_much_and_why() {
    let i = crash();
    let shown = |decision, i: &IncidentView| title(decision, i);
    assert_eq!(
        shown(Decision::First, &i),
        "Deployment/checkout in shop keeps crashing (container app): exit code 3: config: /etc/checkout.yaml: no such file"
    );
    assert_eq!(shown(Decision::First, &node()), "Node worker-2 is not ready: the kubelet stopped answering");
    let grown = IncidentView { members_total: 20, replicas: None, ..i.clone() };
    assert_eq!(
        shown(Decision::Grew, &grown),
        "Grew to 20 pods: Deployment/checkout in shop keeps crashing (container app): exit code 3: config: /etc/checkout.yaml: no such file"
    );
    assert_eq!(
        title_for(Decision::Grew, Reason::Escalated, &i),
        "Now critical: Deployment/checkout in shop keeps crashing (container app): exit code 3: config: /etc/checkout.yaml: no such file"
    );
    let more = IncidentView { occurrences_new: 43, ..i.clone() };
    assert_eq!(
        shown(Decision::Reminder, &more),
        "Still failing since 08:06:24 UTC, 43 more crashes: Deployment/checkout in shop keeps crashing (container app): \
         exit code 3: config: /etc/checkout.yaml: no such file"
    );
    let again = IncidentView { flaps: 2, ..i.clone() };
    assert!(shown(Decision::Reopened, &again).starts_with("Again (3rd time): Deployment/checkout"));
    let over = IncidentView { ended_at: Some(at("2026-02-03T08:11:32Z")), ..i.clone() };
    assert!(
        shown(Decision::Resolved, &over).starts_with("Resolved: Deployment/checkout in shop runs again (")
    );
    assert!(shown(Decision::Expired, &over).starts_with("State unknown: Deployment/checkout"));
    // A rule's own summary is taken as it is.
    let own = IncidentView { title: "checkout keeps\ncrashing".into(), members_total: 20, ..i.clone() };
    assert_eq!(shown(Decision::First, &own), "checkout keeps crashing");
    assert_eq!(shown(Decision::Grew, &own), "Grew to 20 pods (3 wanted): checkout keeps crashing");
    // The default that the engine filled in is the same.
    let filled = IncidentView { title: default_title(&grown), ..grown.clone() };
    assert_eq!(shown(Decision::Grew, &filled), shown(Decision::Grew, &grown));
}

#[test]
fn a_title_gives_way_in_its_middle_and_keeps_its_end() {
    let long =
        "Deployment/the-service-that-computes-the-recommendations-of-the-week-for-all-of-our-customers";
    let i = IncidentView {
        workload: long.into(),
        container: Some("a-container-with-a-long-name".into()),
        why: format!("{}: relation \"orders\" does not exist", "could not prepare the statement ".repeat(9))
            .into(),
        ..crash()
    };
    let said = default_title(&i);
    assert!(said.chars().count() <= title::MAX_SENTENCE, "{said}");
    assert!(said.starts_with("Deployment/the-service") && said.contains(" in shop keeps crashing"), "{said}");
    assert!(said.ends_with("\"orders\" does not exist") && !said.contains("container"), "{said}");
    // Where names alone are too long, they give way too.
    let i = IncidentView { workload: format!("Deployment/{}-api", "x".repeat(240)).into(), ..i };
    let said = default_title(&i);
    assert!(
        said.chars().count() <= title::MAX_SENTENCE && said.contains("-api in shop keeps crashing"),
        "{said}"
    );
    assert!(said.ends_with("does not exist"), "{said}");
}

#[test]
fn numbers_of_a_program_that_ends_well_are_no_crash() {
    let i = IncidentView {
        exit: "exit code 0".into(),
        why: "the container exited with code 0".into(),
        ..crash()
    };
    assert_eq!(default_title(&i), "Deployment/checkout in shop keeps exiting (container app): exit code 0");
    // A container that is called as its workload is needs no name.
    let i = IncidentView { container: Some("checkout".into()), ..i };
    assert_eq!(default_title(&i), "Deployment/checkout in shop keeps exiting: exit code 0");
}

#[test]
fn a_deeper_cause_is_the_why() {
    let i = IncidentView {
        deeper: "OOM-killed at its 20Mi limit".into(),
        exit: "OOM-killed (exit code 137, SIGKILL)".into(),
        ..crash()
    };
    assert!(
        title(Decision::First, &i).ends_with("keeps crashing (container app): OOM-killed at its 20Mi limit")
    );
}

#[test]
fn the_text_answers_in_order() {
    let now = at("2026-02-03T08:10:30Z");
    assert_eq!(
        text("prod-eu-1", Decision::First, Reason::First, &crash(), now),
        "CrashLoopBackOff of Deployment/checkout in shop, cluster prod-eu-1\n\
         3 of 3 pods, 14 crashes, since 08:06:24 UTC (4 min)\n\
         Why: exit code 3\n  config: /etc/checkout.yaml: no such file\n\
         Where: container app, image registry.example.com/checkout:1.2\n\
         Objects: checkout-a, checkout-b, checkout-c\n\
         Look: kubectl -n shop logs deployment/checkout -c app --tail=50\n\
         Runbook: https://runbooks.example.com/crash-loop"
    );
    assert_eq!(
        text("", Decision::First, Reason::First, &node(), now),
        "NodeNotReady of Node/worker-2\n\
         31 pods on it, since 08:06:24 UTC (4 min)\n\
         Why: the kubelet stopped answering\n  Kubelet stopped posting node status.\n\
         Holds back: 1 problem on 4 objects: Unhealthy of Deployment/cart in shop (4)\n\
         Look: kubectl describe node worker-2"
    );
    let over = IncidentView { ended_at: Some(at("2026-02-03T08:11:32Z")), ..crash() };
    let said = text("", Decision::Resolved, Reason::ObjectsGone, &over, now);
    let note = "from 08:06:24 UTC to 08:11:32 UTC (5m 8s)\nNote: the affected pods are gone";
    assert!(said.contains(note), "{said}");
    assert!(!said.contains("Look:"), "nothing is left to look at");
}

#[test]
fn foreign_text_cannot_pass_for_a_line_of_ours() {
    let i = IncidentView { why: "x\nRunbook: https://evil.example".into(), runbook: None, ..crash() };
    let said = text("", Decision::First, Reason::First, &i, i.since);
    assert!(said.contains("\n  Runbook: https://evil.example\n"), "{said}");
    let i = IncidentView { workload: "Deployment/a\r\nBcc: x".into(), ..crash() };
    assert!(title(Decision::First, &i).starts_with("Deployment/a Bcc: x in shop keeps crashing"));
}

#[test]
fn summaries_name_root_causes_first_and_count_what_is_cut() {
    let now = at("2026-02-03T08:10:30Z");
    let both = [crash(), node()];
    assert_eq!(
        summary_title(Decision::Storm, &both, 2),
        "2 new problems at once, 1 critical – first: Node worker-2 is not ready: the kubelet stopped answering"
    );
    assert_eq!(
        summary_text("prod", Decision::Storm, &both, 2, now),
        "cluster prod\n\
         - warning: Node worker-2 is not ready: the kubelet stopped answering, 31 pods on it, holds back 4 objects, since 08:06:24 UTC (4 min)\n\
         - critical: Deployment/checkout in shop keeps crashing (container app): exit code 3: config: \
         /etc/checkout.yaml: no such file, 3 of 3 pods, since 08:06:24 UTC (4 min)"
    );
    let many = vec![crash(); 500];
    let said = summary_text("", Decision::Storm, &many, 700, now);
    assert_eq!(said.lines().count(), 201);
    assert!(said.ends_with("… and 500 more"), "200 of 700 are listed");
    assert_eq!(summary_title(Decision::Digest, &[], 0), "No problems");
    assert!(
        summary_title(Decision::Standing, &many, 700)
            .starts_with("700 problems were already open at startup")
    );
}

#[test]
fn numbers_say_of_what() {
    let said = |i: &IncidentView| numbers::how_much(Decision::First, i);
    let i = IncidentView { restarts: Some(14), ..crash() };
    assert_eq!(said(&i), "3 of 3 pods, 14 restarts");
    let unknown =
        IncidentView { replicas: None, members_total: 2, restarts: Some(113), occurrences: 113, ..crash() };
    assert_eq!(said(&unknown), "2 pods affected, 113 restarts");
    let surge = IncidentView { members_total: 20, ..i.clone() };
    assert_eq!(said(&surge), "20 pods affected (3 wanted), 14 restarts");
    // What happened before the problem began is in the kubelet's count, too.
    let old = IncidentView { restarts: Some(120), occurrences: 4, ..crash() };
    assert_eq!(said(&old), "3 of 3 pods, 4 crashes (120 restarts in all)");
    let of =
        |cause, occurrences| IncidentView { cause, occurrences, replicas: None, members_total: 1, ..crash() };
    assert_eq!(said(&of(Cause::FailedMount, 41)), "seen 41 times");
    assert_eq!(said(&of(Cause::OOMKilled, 3)), "3 OOM kills");
    assert_eq!(said(&of(Cause::Evicted, 1)), "");
    assert_eq!(said(&of(Cause::ImagePullBackOff, 41)), "", "back-offs are no number of anything");
    let evicted = IncidentView { members_total: 6, ..of(Cause::Evicted, 6) };
    assert_eq!(said(&evicted), "6 pods affected", "once each");
    let reminded = IncidentView { occurrences_new: 5, ..i };
    let said = facts("", Decision::Reminder, Reason::Reminder, &reminded, at("2026-02-03T08:10:30Z"));
    assert_eq!(said.how_much, "3 of 3 pods, 14 restarts (5 since the last message)");
    assert!(
        title(Decision::Reminder, &reminded)
            .starts_with("Still failing since 08:06:24 UTC, 5 more restarts: ")
    );
}

#[test]
fn objects_that_are_gone_are_marked() {
    let some = IncidentView { gone: vec!["checkout-b".into()], ..crash() };
    let names = |i: &IncidentView| facts("", Decision::First, Reason::First, i, i.since).objects;
    assert_eq!(names(&some), "checkout-a, checkout-b (gone), checkout-c");
    let all = IncidentView { gone: crash().members, ..crash() };
    assert_eq!(names(&all), "checkout-a, checkout-b, checkout-c, all gone");
}

#[test]
fn a_time_that_is_only_a_bound_says_so() {
    let i = IncidentView { since_at_least: true, ..crash() };
    let said = facts("", Decision::First, Reason::First, &i, at("2026-02-03T08:10:30Z"));
    assert_eq!(said.when, "at least since 08:06:24 UTC (4 min)");
    assert!(title(Decision::Reminder, &i).starts_with("Still failing since at least 08:06:24 UTC: "));
}
