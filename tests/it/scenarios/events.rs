//! Events as such: counts, order, names, expiry.

use kubeherald::testkit::builders::{event, node, pod};
use kubeherald::watch::Kind;

use super::script::{POD, Script, Step, checkout, cluster, deleted, fresh, says, silent};

const SECRET: &str = "MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found";

#[test]
fn counts_jump_restart_and_come_back_with_the_object() {
    let mount = |n: i64| event(POD, "FailedMount", SECRET).count(n, "T+11s");
    let story = cluster()
        .see("10s", fresh())
        .see("11s", mount(1))
        .see("40s", mount(7))
        // The kubelet restarted: another Event, counted from one.
        .see("2m", event(POD, "FailedMount", SECRET).uid("second").count(1, "T+2m"))
        // After its hour it is made anew under its old name with its old count.
        .at("64m", deleted(mount(7)))
        .see("65m", mount(9));
    says(
        &story,
        "3h",
        &[
            "+1m1s first failed-mount Deployment/checkout x7 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
            "+1h1m1s reminder failed-mount Deployment/checkout x8 [checkout-688988776f-aaaaa] (holds 1): MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
            "+3h1m1s reminder failed-mount Deployment/checkout x9 [checkout-688988776f-aaaaa] (holds 1): MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
        ],
    );
}

#[test]
fn events_expire_by_the_thousand_and_mean_nothing() {
    let mut story = cluster().with(checkout("aaaaa").running("T-1h"));
    for n in 0..300 {
        let old = event(POD, "BackOff", "Back-off restarting failed container")
            .uid(&format!("e{n}"))
            .count(5, "T-1h")
            .last_seen("T-1h");
        story = story.with(old.clone()).at("1m", deleted(old));
    }
    silent(&story.once(), "1h");
}

#[test]
fn an_event_may_come_before_its_pod_and_after_it() {
    let before = cluster()
        .see("10s", event(POD, "FailedMount", SECRET))
        .see("11s", fresh())
        .see("1m", event(POD, "FailedMount", SECRET).count(6, "T+10s"));
    says(
        &before,
        "5m",
        &[
            "+1m first failed-mount Deployment/checkout x1 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
        ],
    );
    let after = cluster()
        .with(checkout("aaaaa").running("T-1h"))
        .gone("10s", checkout("aaaaa"))
        .see("11s", event(POD, "FailedMount", SECRET).count(6, "T+5s"))
        .see("11s", event(POD, "Unhealthy", "Readiness probe failed: x").container("app").count(9, "T+5s"));
    silent(&after, "1h");
}

/// The kubelet names a static pod by the hash of its file.
#[test]
fn a_static_pod_is_found_by_its_mirror() {
    let mirror = pod("etcd-worker-1")
        .namespace("kube-system")
        .owned_by("Node", "worker-1")
        .annotation("kubernetes.io/config.mirror", "f00f")
        .node("worker-1");
    let why = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";
    let story = Script::new()
        .with(node("worker-1"))
        .with(mirror.running("T-1h"))
        .see("10s", event("Pod/etcd-worker-1", "Evicted", why).within("kube-system").object_uid("f00f"));
    says(
        &story,
        "1m",
        &[
            "+30s first evicted Pod/etcd x1 [etcd-worker-1]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
        ],
    );
}

#[test]
fn a_gap_in_the_watch_changes_nothing_that_stands() {
    let story = cluster()
        .see("10s", fresh())
        .see("11s", event(POD, "FailedMount", SECRET))
        .see("50s", event(POD, "FailedMount", SECRET).count(6, "T+11s"))
        .at("2m", Step::Gap)
        .at("3m", Step::Relist)
        .at("4m", Step::List(Kind::Pod))
        .at("5m", Step::List(Kind::Event));
    says(
        &story,
        "30m",
        &[
            "+1m1s first failed-mount Deployment/checkout x6 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
        ],
    );
}
