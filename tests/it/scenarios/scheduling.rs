//! Pods that no node takes, and claims that get no volume.

use kubeherald::testkit::builders::{Event, Pod, claim, event, job, node, pod};

use super::script::{POD, RS, Script, cluster, says, silent};

/// Not bound yet.
fn waiting() -> Pod {
    pod(&format!("{RS}-aaaaa")).owned_by_rs(RS).created("T+10s")
}

const NO_CPU: &str = "0/3 nodes are available: 3 Insufficient cpu.";

fn stuck(text: &str) -> Pod {
    waiting().unschedulable(text, "T+10s")
}

fn scheduler(text: &str) -> Event {
    event(POD, "FailedScheduling", text).new_style("default-scheduler")
}

#[test]
fn it_is_told_after_a_minute_with_the_current_text_and_over_when_bound() {
    let story = cluster()
        .see("10s", stuck(NO_CPU))
        .see("10s", scheduler(NO_CPU))
        .see("30s", stuck("0/4 nodes are available: 4 Insufficient cpu."))
        .see("5m10s", scheduler(NO_CPU).count(2, "T+10s"))
        .see("6m", waiting().node("worker-1").scheduled("-0s"))
        .see("6m2s", waiting().node("worker-1").scheduled("T+6m").running("-0s"));
    says(
        &story,
        "1h",
        &[
            "+1m15s first unschedulable Deployment/checkout x1 [checkout-688988776f-aaaaa]: 0/4 nodes are available: 4 Insufficient cpu.",
            "+6m30s resolved unschedulable Deployment/checkout recovered after 5m50s",
        ],
    );
}

#[test]
fn waiting_by_wish_is_no_news() {
    silent(&cluster().see("10s", waiting().gated()), "1h");
    silent(&cluster().see("10s", stuck(NO_CPU).nominated("worker-1")), "5m");
    let deleted = cluster()
        .see("10s", waiting())
        .see(
            "11s",
            event(POD, "FailedScheduling", "skip schedule deleting pod: shop/x")
                .new_style("default-scheduler"),
        )
        .see("12s", waiting().deleting("-0s"))
        .gone("12s", waiting());
    silent(&deleted, "1h");
}

#[test]
fn a_node_on_its_way_is_waited_for() {
    let up = || {
        event(POD, "TriggeredScaleUp", "pod triggered scale-up: [{asg 3->4}]")
            .normal()
            .from("cluster-autoscaler")
    };
    let begin = || cluster().see("10s", stuck(NO_CPU)).see("20s", up());
    silent(
        &begin()
            .see("4m", waiting().node("worker-1").scheduled("-0s"))
            .see("4m5s", waiting().node("worker-1").running("-0s")),
        "1h",
    );
    says(
        &begin(),
        "30m",
        &[
            "+10m25s first unschedulable Deployment/checkout x1 [checkout-688988776f-aaaaa]: 0/3 nodes are available: 3 Insufficient cpu.",
        ],
    );
    // It promises one again and again.
    let mut story = begin();
    for n in 1..12_u32 {
        story = story.see(&format!("{}m", n * 5), up().count(i64::from(n) + 1, "T+20s"));
    }
    says(
        &story,
        "5m",
        &[
            "+30m15s first unschedulable Deployment/checkout x1 [checkout-688988776f-aaaaa]: 0/3 nodes are available: 3 Insufficient cpu.",
        ],
    );
    let karpenter = cluster()
        .see("10s", stuck(NO_CPU))
        .see(
            "11s",
            event(POD, "FailedScheduling", "Failed to schedule pod, incompatible requirements")
                .from("karpenter"),
        )
        .see("15s", event(POD, "Nominated", "Pod should schedule on: nodeclaim/x").normal().from("karpenter"))
        .see("3m", waiting().node("worker-1").scheduled("-0s"))
        .see("3m5s", waiting().node("worker-1").running("-0s"));
    silent(&karpenter, "1h");
}

#[test]
fn batch_work_waits_for_room() {
    let a = pod("import-x2x4z").owned_by_job("import").unschedulable(NO_CPU, "T+10s").created("T+10s");
    let begin = Script::new().with(node("worker-1")).with(job("import")).see("10s", a.clone());
    silent(&begin.clone().see("20m", a.clone().node("worker-1").running("-0s")), "2h");
    says(
        &begin,
        "40m",
        &[
            "+30m15s first job-unschedulable Job/import x1 [import-x2x4z]: 0/3 nodes are available: 3 Insufficient cpu.",
        ],
    );
}

#[test]
fn a_claim_without_a_volume_is_one_story_with_its_pods() {
    let text = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    let failed = |n: i64| {
        event(
            "PersistentVolumeClaim/data",
            "ProvisioningFailed",
            "storageclass.storage.k8s.io \"fast\" not found",
        )
        .from("persistentvolume-controller")
        .count(n, "T+10s")
    };
    let mut story = cluster().see("10s", claim("data")).see("10s", failed(1)).see("11s", stuck(text));
    for n in 1..20_i64 {
        story = story.see(&format!("{}s", 10 + n * 15), failed(n + 1));
    }
    let story = story
        .see("6m", claim("data").bound())
        .see("6m1s", waiting().node("worker-1").scheduled("-0s"))
        .see("6m3s", waiting().node("worker-1").running("-0s"));
    says(
        &story,
        "1h",
        &[
            "+2m15s first provisioning-failed PersistentVolumeClaim/data x9 [data] (holds 1): storageclass.storage.k8s.io \"fast\" not found",
            "+6m30s resolved provisioning-failed PersistentVolumeClaim/data recovered after 5m50s",
        ],
    );
}

#[test]
fn a_binding_that_fails_is_told_though_its_event_is_normal() {
    let text = "no persistent volumes available for this claim and no storage class is set";
    let event =
        |n: i64| event("PersistentVolumeClaim/data", "FailedBinding", text).normal().count(n, "T+10s");
    let mut story = cluster().see("10s", claim("data").class(None));
    for n in 0..30_i64 {
        story = story.see(&format!("{}s", 10 + n * 15), event(n + 1));
    }
    says(
        &story,
        "2h",
        &[
            "+2m15s first provisioning-failed PersistentVolumeClaim/data x9 [data]: no persistent volumes available for this claim and no storage class is",
            "+1h2m15s reminder provisioning-failed PersistentVolumeClaim/data x30 [data]: no persistent volumes available for this claim and no storage class is",
        ],
    );
}

#[test]
fn claims_that_wait_by_wish_or_for_a_moment_are_no_news() {
    let wait =
        event("PersistentVolumeClaim/data", "WaitForFirstConsumer", "waiting for first consumer").normal();
    silent(&cluster().see("10s", claim("data")).see("10s", wait.count(200, "-0s")), "1h");
    let external =
        event("PersistentVolumeClaim/data", "ExternalProvisioning", "waiting for a volume to be created")
            .normal();
    let bound = cluster().see("10s", claim("data")).see("10s", external).see("30s", claim("data").bound());
    silent(&bound, "1h");
}

#[test]
fn a_provisioner_that_never_answers_is_told() {
    let text = "Waiting for a volume to be created either by the external provisioner 'x' or manually";
    let mut story = cluster().see("10s", claim("data"));
    for n in 0..120_i64 {
        let event = event("PersistentVolumeClaim/data", "ExternalProvisioning", text).normal();
        story = story.see(&format!("{}s", 10 + n * 15), event.count(n + 1, "T+10s"));
    }
    says(
        &story,
        "1m",
        &[
            "+10m15s first provisioning-failed PersistentVolumeClaim/data x41 [data]: Waiting for a volume to be created either by the external provisioner ",
        ],
    );
}
