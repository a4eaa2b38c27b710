//! Events whose author may not speak about what they name: a tenant writes them in a namespace of
//! their own, with `eventTime` set, and the API server takes them.

use jiff::Timestamp;
use kubeherald::testkit::builders::{Event, deployment, event, node, pod, stateful_set};
use kubeherald::watch::decode::decode;
use kubeherald::watch::scope::Forged;
use kubeherald::watch::{Change, ClusterState, Kind};

use super::script::{POD, Script, checkout, cluster, fresh, silent};

const NOT_FOUND: &str = "MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found";

const LOW: &str = "The node was low on resource: memory. ";

/// With a tenant's own namespace, where all of these are written.
fn with_tenant() -> Script {
    cluster()
        .with(stateful_set("db"))
        .with(deployment("own").namespace("tenant"))
        .with(pod("own-1").namespace("tenant").node("worker-1").running("T-1h"))
}

fn forged(about: &str, reason: &str, message: &str) -> Event {
    event(about, reason, message).new_style("kubelet").written_in("tenant")
}

#[test]
fn an_event_raises_nothing_in_another_namespace() {
    let story = with_tenant()
        .with(checkout("aaaaa").running("T-1h"))
        .see("10s", forged("StatefulSet/db", "FailedCreate", "create Pod db-0 failed: pay me"))
        .see("11s", forged(POD, "Evicted", "The node was low on resource: memory. Pay me"))
        .see("12s", forged("PersistentVolumeClaim/data", "ProvisioningFailed", "pay me"));
    silent(&story, "1h");
    // The same where it is true.
    let said = with_tenant()
        .with(checkout("aaaaa").running("T-1h"))
        .see("10s", event(POD, "Evicted", LOW).new_style("kubelet"))
        .run("10m");
    assert_eq!(said.len(), 1, "{said:#?}");
}

#[test]
fn an_event_puts_no_text_into_the_message_of_another_namespace() {
    let story = |text: Option<Event>| {
        let story = with_tenant().see("10s", fresh());
        let story = story.see("11s", event(POD, "FailedMount", NOT_FOUND).count(2, "T+11s"));
        match text {
            Some(text) => story.see("12s", text),
            None => story,
        }
        .run("3m")
    };
    let honest = story(None);
    assert_eq!(honest.len(), 1);
    let named = forged(POD, "FailedMount", "call +1 555 0100 to fix this");
    assert_eq!(story(Some(named)), honest);
    // Its own namespace, and the UID of the other's pod.
    let by_uid = event(POD, "FailedMount", "call +1 555 0100 to fix this")
        .within("tenant")
        .object_uid("pod-shop-checkout-688988776f-aaaaa");
    assert_eq!(story(Some(by_uid)), honest);
}

#[test]
fn only_administrators_write_events_about_nodes() {
    let oom = |namespace: &str| {
        event("Node/worker-1", "SystemOOM", "System OOM encountered, victim process: db, pid: 7")
            .new_style("kubelet")
            .written_in(namespace)
    };
    silent(&with_tenant().see("10s", oom("tenant")), "1h");
    silent(&with_tenant().see("10s", oom("tenant").within("tenant")), "1h");
    for namespace in ["default", "kube-system"] {
        let said = with_tenant().see("10s", oom(namespace)).run("10m");
        assert_eq!(said.len(), 1, "{namespace}: {said:#?}");
    }
}

/// The hash of a static pod is no secret: a pod of a tenant's that claims it gets none of its Events.
#[test]
fn a_pod_that_claims_to_be_a_mirror_takes_no_events_away() {
    let why = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";
    let mirror = |name: &str, namespace: &str| {
        pod(name)
            .namespace(namespace)
            .annotation("kubernetes.io/config.mirror", "f00f")
            .owned_by("Node", "worker-1")
            .node("worker-1")
            .running("T-1h")
    };
    let story = Script::new()
        .with(node("worker-1"))
        .with(mirror("etcd-worker-1", "kube-system"))
        .see("5s", mirror("thief-worker-1", "tenant"))
        .see("10s", event("Pod/etcd-worker-1", "Evicted", why).within("kube-system").object_uid("f00f"));
    let said = story.run("10m");
    assert!(said.len() == 1 && said[0].contains("Pod/etcd"), "{said:#?}");
}

#[test]
fn a_namespace_that_is_excluded_is_excluded_for_its_events() {
    let excluded = "watch: {namespaces: {exclude: [tenant]}}\n";
    let own = || event("Pod/own-1", "Evicted", LOW).within("tenant");
    let begin = with_tenant;
    assert_eq!(begin().see("10s", own()).run("10m").len(), 1);
    silent(&begin().see("10s", own()).under(excluded), "1h");
    silent(&begin().see("10s", forged("Node/worker-1", "SystemOOM", "x")).under(excluded), "1h");
    // Events about nodes are written in `default`, and nodes are in no namespace.
    let oom = event("Node/worker-1", "SystemOOM", "System OOM encountered");
    let without_default = "watch: {namespaces: {exclude: [default]}}\n";
    assert_eq!(begin().see("10s", oom).under(without_default).run("10m").len(), 1);
}

#[test]
fn what_is_not_believed_is_counted_by_reason() {
    let now: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
    let mut memory = ClusterState::new(&Kind::ALL, now, true);
    let mut signals = Vec::new();
    let object = |json: serde_json::Value, kind| decode(kind, &json.to_string()).unwrap();
    for kind in Kind::ALL {
        memory.apply(now, Change::Listing(kind), &mut signals);
        if kind == Kind::Pod {
            let pod = resolved(checkout("aaaaa").running("T-1h").json(), now);
            memory.apply(now, Change::Initial(object(pod, kind)), &mut signals);
        }
        memory.apply(now, Change::Listed(kind), &mut signals);
    }
    signals.clear();
    let other_pod =
        event(POD, "FailedMount", "x").within("tenant").object_uid("pod-shop-checkout-688988776f-aaaaa");
    for (forged, expected) in [
        (forged(POD, "FailedMount", "x"), Forged::OtherNamespace),
        (forged("Node/worker-1", "Rebooted", "x"), Forged::ClusterObject),
        (other_pod, Forged::OtherPod),
    ] {
        let json = resolved(forged.json(), now);
        memory.apply(now, Change::Applied(object(json, Kind::Event)), &mut signals);
        assert_eq!(memory.forged().get(&expected), Some(&1), "{expected:?}");
    }
    assert!(signals.is_empty(), "{signals:#?}");
}

fn resolved(json: serde_json::Value, now: Timestamp) -> serde_json::Value {
    kubeherald::testkit::builders::at(json, now, now)
}
