//! Pods and namespaces whose deletion does not come to an end, and those that only take their time.

use kubeherald::testkit::builders::{Pod, Workload, event, namespace, node, pod};

use super::script::{POD, Script, Step, checkout, cluster, says, silent};

const FINALIZER: &str = "example.com/backup";

/// Deleted half a minute into the story with a grace period of 30 s.
fn deleted(pod: Pod) -> Pod {
    pod.deleting("T+60s").grace(30)
}

fn ended(pod: Pod) -> Pod {
    deleted(pod).terminated(0, "Completed", "T-1h", "T+35s")
}

fn begin(pod: &Pod) -> Script {
    cluster().with(pod.clone().running("T-1h"))
}

#[test]
fn a_finalizer_that_nobody_removes_is_named_and_the_end_is_told_when_the_pod_is_gone() {
    let a = checkout("aaaaa").finalizer(FINALIZER);
    let story =
        begin(&a).see("30s", deleted(a.clone().running("T-1h"))).see("36s", ended(a.clone())).gone("20m", a);
    says(
        &story,
        "1h",
        &[
            "+6m5s first stuck-terminating Deployment/checkout x1 [checkout-688988776f-aaaaa]: finalizer example.com/backup has not been removed",
            "+20m resolved stuck-terminating Deployment/checkout objects_gone after 19m",
        ],
    );
}

#[test]
fn rollouts_drains_and_slow_ends_are_no_news() {
    let a = checkout("aaaaa");
    let b = checkout("bbbbb").created("T+30s").scheduled("T+30s");
    let story = |gone: &str| {
        begin(&a)
            .see("30s", deleted(a.clone().running("T-1h")))
            .see("32s", b.clone().running("-0s"))
            .see("61s", ended(a.clone()))
            .gone(gone, a.clone())
    };
    for gone in ["62s", "3m", "5m50s"] {
        silent(&story(gone), "1h");
    }
    let drained = begin(&a)
        .see("29s", a.clone().running("T-1h").disrupted("EvictionByEvictionAPI"))
        .see("30s", deleted(a.clone().running("T-1h").disrupted("EvictionByEvictionAPI")))
        .gone("58s", a.clone());
    silent(&drained, "1h");
}

#[test]
fn a_long_grace_period_is_legal_until_it_is_over() {
    let a = checkout("aaaaa");
    let long = || a.clone().running("T-1h").deleting("T+2h").grace(7170);
    let story = begin(&a).see("30s", long());
    silent(&story.clone().gone("1h58m", a.clone()), "2h");
    says(
        &story,
        "2h10m",
        &[
            "+2h5m5s first stuck-terminating Deployment/checkout x1 [checkout-688988776f-aaaaa]: container app still runs on node worker-1 after the grace period",
        ],
    );
}

/// The clock of this process is ten minutes ahead of the API server's: each deletion that it sees seems to be
/// long overdue.
#[test]
fn a_clock_that_differs_from_the_api_servers_makes_no_deletion_overdue() {
    let a = checkout("aaaaa");
    let story = begin(&a).once().see("30s", a.clone().running("T-1h").deleting("-9m30s").grace(30));
    silent(&story.clone().gone("5m50s", a), "1h");
    says(
        &story,
        "10m",
        &[
            "+6m5s first stuck-terminating Deployment/checkout x1 [checkout-688988776f-aaaaa]: container app still runs on node worker-1 after the grace period",
        ],
    );
}

#[test]
fn what_the_kubelet_says_explains_it() {
    let a = checkout("aaaaa");
    let text = "error killing pod: failed to \"KillPodSandbox\" for \"5e\" with KillPodSandboxError: \"rpc error: code = Unknown desc = failed to destroy network for sandbox \\\"9b1f\\\": plugin type=\\\"calico\\\" failed (delete): connection is unauthorized\"";
    let story = begin(&a)
        .see("30s", deleted(a.clone().running("T-1h")))
        .see("61s", ended(a.clone()))
        .see("62s", event(POD, "FailedKillPod", text))
        .see("4m", event(POD, "FailedKillPod", text).count(12, "T+62s"));
    let said = story.messages("10m");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(
        said[0].title,
        "Deployment/checkout in shop does not terminate: network plugin calico: connection is unauthorized"
    );
    assert!(
        said[0].text.contains("Look: kubectl -n shop describe pod/checkout-688988776f-aaaaa"),
        "{}",
        said[0].text
    );
}

/// The taint manager deletes the pods of a lost node after five minutes; there is nobody to end them.
fn on_lost_node(a: &Pod) -> Script {
    begin(a)
        .with(node("worker-2"))
        .see("60s", node("worker-1").lost("T+60s"))
        .see("61s", a.clone().running("T-1h").node_lost())
        .see(
            "6m",
            a.clone()
                .running("T-1h")
                .node_lost()
                .disrupted("DeletionByTaintManager")
                .deleting("T+6m30s")
                .grace(30),
        )
}

const LOST: &str =
    "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.";

#[test]
fn a_lost_node_speaks_for_the_pods_that_cannot_end_on_it() {
    let a = checkout("aaaaa");
    let story = on_lost_node(&a).see("20m", node("worker-1").ready("-0s")).gone("20m5s", a);
    says(&story, "1h", &[LOST, "+22m resolved node-not-ready Node/worker-1 recovered after 19m"]);
}

#[test]
fn a_kubelet_that_is_back_has_the_whole_grace_period_again() {
    let a = checkout("aaaaa");
    let story = on_lost_node(&a).see("20m", node("worker-1").ready("-0s"));
    says(
        &story,
        "10m",
        &[
            LOST,
            "+22m resolved node-not-ready Node/worker-1 recovered after 19m",
            "+25m35s first stuck-terminating Deployment/checkout x1 [checkout-688988776f-aaaaa]: container app still runs on node worker-1 after the grace period",
        ],
    );
}

#[test]
fn a_pod_whose_node_is_gone_for_good_says_so() {
    let a = checkout("aaaaa").finalizer(FINALIZER);
    let story = begin(&a).see("30s", deleted(a.clone().running("T-1h"))).gone("40s", node("worker-1"));
    says(
        &story,
        "10m",
        &[
            "+6m5s first stuck-terminating Deployment/checkout x1 [checkout-688988776f-aaaaa]: node worker-1 does not exist any more finalizer example.com/backup has",
        ],
    );
}

fn team() -> Workload {
    namespace("team-a")
}

const REMAIN: &str =
    "Some content in the namespace has finalizers remaining: example.com/backup in 2 resource instances";

/// As the namespace controller writes it.
fn dying() -> Workload {
    let some = "Some resources are remaining: backups.example.com has 2 resource instances";
    team()
        .deleting("T+60s")
        .condition(
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
            "T+61s",
        )
        .condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
            "T+61s",
        )
        .condition(
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
            "T+61s",
        )
        .condition("NamespaceContentRemaining", "True", "SomeResourcesRemain", some, "T+61s")
        .condition("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", REMAIN, "T+61s")
}

#[test]
fn a_namespace_says_what_is_left_in_it_and_is_over_when_it_is_gone() {
    let story = Script::new()
        .with(team())
        .see("60s", team().deleting("T+60s"))
        .see("61s", dying())
        .gone("30m", dying());
    says(
        &story,
        "1h",
        &[
            "+6m5s first stuck-terminating Namespace/team-a x1 [team-a]: Some content in the namespace has finalizers remaining: example.com/ba",
            "+30m resolved stuck-terminating Namespace/team-a objects_gone after 29m",
        ],
    );
    let said = story.messages("1h");
    assert_eq!(
        said[0].title,
        "Namespace team-a does not terminate: finalizers remaining: example.com/backup in 2 resource instances"
    );
    assert!(said[0].text.starts_with("StuckTerminating of Namespace/team-a\n"), "{}", said[0].text);
    assert!(said[0].text.contains("\n  Some resources are remaining: backups"), "{}", said[0].text);
    assert!(said[0].text.contains("Look: kubectl describe namespace/team-a"), "{}", said[0].text);
}

#[test]
fn what_keeps_the_namespace_controller_from_looking_stands_first() {
    let text = "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1: stale GroupVersion discovery: metrics.k8s.io/v1beta1";
    let story = Script::new().with(team()).see(
        "60s",
        dying().condition("NamespaceDeletionDiscoveryFailure", "True", "DiscoveryFailed", text, "T+61s"),
    );
    says(
        &story,
        "10m",
        &[
            "+6m5s first stuck-terminating Namespace/team-a x1 [team-a]: Discovery failed for some groups, 1 failing: unable to retrieve the co",
        ],
    );
}

#[test]
fn a_namespace_that_goes_within_minutes_is_no_news() {
    silent(&Script::new().with(team()).see("60s", dying()).gone("5m", dying()), "1h");
}

#[test]
fn a_namespace_waits_for_the_grace_periods_in_it() {
    let batch = || pod("batch-1").namespace("team-a").node("worker-1").running("T-1h");
    let story = Script::new()
        .with(node("worker-1"))
        .with(team())
        .with(batch())
        .see("60s", dying())
        .see("61s", batch().deleting("T+61m").grace(3600));
    silent(&story.clone().gone("50m", batch()).gone("50m1s", dying()), "1h");
    // From when the last pod is gone the namespace has its own few minutes.
    let hangs = "first stuck-terminating Namespace/team-a x1 [team-a]: Some content";
    let said = story.clone().gone("50m", batch()).once().run("20m");
    assert!(said.len() == 1 && said[0].starts_with(&format!("+55m5s {hangs}")), "{said:#?}");
    says(
        &story,
        "70m",
        &[
            "+1h6m5s first stuck-terminating Namespace/team-a x1 [team-a]: Some content in the namespace has finalizers remaining: example.com/ba",
        ],
    );
}

#[test]
fn what_goes_wrong_in_a_namespace_that_is_deleted_is_no_news() {
    let in_team = |name: &str| pod(name).namespace("team-a").node("worker-1");
    let forbidden = "Error creating: pods \"web-1-x\" is forbidden: unable to create new content in namespace team-a because it is being terminated";
    let mut story = Script::new()
        .with(node("worker-1"))
        .with(team())
        .with(in_team("stays").finalizer(FINALIZER).running("T-1h"))
        .see("60s", dying())
        .see("61s", in_team("stays").finalizer(FINALIZER).running("T-1h").deleting("T+61s"))
        .see("62s", in_team("new").waiting("ErrImagePull", "not found"))
        .see("63s", in_team("alone").restart_policy("Never").terminated(1, "Error", "T-1h", "-0s"));
    for n in 0..10_i64 {
        let created = event("ReplicaSet/web-1", "FailedCreate", forbidden).within("team-a");
        story = story
            .see(&format!("{}s", 70 + n * 60), created.from("replicaset-controller").count(n + 1, "T+70s"));
    }
    says(
        &story,
        "20m",
        &[
            "+6m6s first stuck-terminating Namespace/team-a x1 [team-a]: Some content in the namespace has finalizers remaining: example.com/ba",
        ],
    );
}

#[test]
fn what_hung_before_the_first_start_stands_in_the_summary() {
    let old =
        checkout("aaaaa").finalizer(FINALIZER).terminated(0, "Completed", "T-2d", "T-1d").deleting("T-1d");
    let story = Script::first_start().with(node("worker-1")).with(team().deleting("T-2h")).with(old);
    says(
        &story,
        "1h",
        &["+10s standing 2: stuck-terminating Deployment/checkout, stuck-terminating Namespace/team-a"],
    );
}

#[test]
fn a_restart_in_between_changes_nothing() {
    let a = checkout("aaaaa").finalizer(FINALIZER);
    let story = begin(&a)
        .see("30s", deleted(a.clone().running("T-1h")))
        .see("36s", ended(a.clone()))
        .at("3m", Step::Down)
        .at("4m", Step::Up)
        .at("7m", Step::Down)
        .at("8m", Step::Up)
        .at("9m", Step::Down)
        .gone("10m", a)
        .at("11m", Step::Up);
    says(
        &story,
        "1h",
        &[
            "+6m5s first stuck-terminating Deployment/checkout x1 [checkout-688988776f-aaaaa]: finalizer example.com/backup has not been removed",
            "+11m resolved stuck-terminating Deployment/checkout objects_gone after 10m",
        ],
    );
}
