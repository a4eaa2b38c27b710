//! Evictions, and what looks like one.

use kubeherald::testkit::builders::{Event, Pod, event, node};

use super::script::{POD, Script, Step, checkout, cluster, deleted, says, silent};

const DISK: &str = "The node was low on resource: ephemeral-storage. Threshold quantity: 1, available: 0. ";
const EMPTY_DIR: &str = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";

fn evicted(pod: Pod, why: &str) -> Pod {
    pod.terminated(137, "Error", "T-1h", "-0s").failed("Evicted", why)
}

fn told(why: &str) -> Event {
    event(POD, "Evicted", why)
}

#[test]
fn the_event_alone_tells_it() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("10s", told(EMPTY_DIR))
        .see("12s", a.terminated(0, "Completed", "T-1h", "-0s").phase("Succeeded"));
    says(
        &story,
        "1h",
        &[
            "+30s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+15m10s resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
}

#[test]
fn the_status_alone_tells_it() {
    let a = checkout("aaaaa");
    let story = cluster().with(a.clone().running("T-1h")).see("10s", evicted(a, EMPTY_DIR));
    says(
        &story,
        "1h",
        &[
            "+30s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+15m10s resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
}

#[test]
fn event_and_status_are_one_eviction_in_either_order() {
    let a = checkout("aaaaa");
    let begin = cluster().with(a.clone().running("T-1h"));
    let event_first = begin.clone().see("10s", told(EMPTY_DIR)).see("15s", evicted(a.clone(), EMPTY_DIR));
    says(
        &event_first,
        "1h",
        &[
            "+30s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+15m10s resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
    let status_first = begin.clone().see("10s", evicted(a.clone(), EMPTY_DIR)).see("15s", told(EMPTY_DIR));
    says(
        &status_first,
        "1h",
        &[
            "+30s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+15m10s resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
    let pod_gone = begin.see("10s", evicted(a.clone(), EMPTY_DIR)).gone("11s", a).see("15s", told(EMPTY_DIR));
    says(
        &pod_gone,
        "1h",
        &[
            "+30s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+15m10s resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
}

#[test]
fn pressure_on_the_node_speaks_for_its_evictions() {
    let (a, b) = (checkout("aaaaa"), checkout("bbbbb"));
    let full = || {
        node("worker-1").condition(
            "DiskPressure",
            "True",
            "KubeletHasDiskPressure",
            "kubelet has disk pressure",
            "T+15s",
        )
    };
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .with(b.clone().running("T-1h"))
        .see("10s", told(DISK))
        .see("12s", evicted(a.clone(), DISK).disrupted("TerminationByKubelet"))
        .see("18s", full())
        .see("22s", evicted(b, DISK).disrupted("TerminationByKubelet"))
        .see(
            "25s",
            checkout("ccccc")
                .created("T+25s")
                .failed("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. "),
        )
        .see("8m", node("worker-1"));
    says(
        &story,
        "1h",
        &[
            "+1m20s first node-pressure Node/worker-1 x1 [worker-1] (holds 3): kubelet has disk pressure",
            "+13m resolved node-pressure Node/worker-1 recovered after 7m45s",
        ],
    );
}

#[test]
fn what_is_planned_is_no_news() {
    let a = checkout("aaaaa");
    let begin = || cluster().with(a.clone().running("T-1h"));
    let leaves = |story: Script, pod: Pod| {
        story
            .see("10s", pod.clone().running("T-1h"))
            .see("11s", pod.clone().running("T-1h").deleting("-0s"))
            .see("15s", pod.clone().terminated(137, "Error", "T-1h", "-0s").deleting("-30s"))
            .at("16s", deleted(pod))
            .see("17s", checkout("bbbbb").created("T+10s").running("-0s"))
    };
    // A drain, the taint manager, the scheduler's preemption.
    for reason in ["EvictionByEvictionAPI", "DeletionByTaintManager", "PreemptionByScheduler"] {
        silent(&leaves(begin(), a.clone().disrupted(reason)), "1h");
    }
    silent(
        &leaves(begin().see("9s", told("Evicted pod: drifted").normal().from("karpenter")), a.clone()),
        "1h",
    );
    silent(
        &leaves(
            begin().see("9s", event(POD, "Preempted", "Preempted by shop/x on node worker-1").normal()),
            a.clone(),
        ),
        "1h",
    );
    // The kubelet makes room for a critical pod.
    let preempting =
        begin().see("10s", event(POD, "Preempting", "Preempted in order to admit critical pod")).see(
            "11s",
            a.clone()
                .terminated(137, "Error", "T-1h", "-0s")
                .failed("Preempting", "Preempted in order to admit critical pod"),
        );
    silent(&preempting, "1h");
    // A graceful node shutdown.
    let shutdown = begin()
        .see("10s", node("worker-1").not_ready("node is shutting down", "-0s"))
        .see(
            "10s",
            a.clone()
                .terminated(0, "Completed", "T-1h", "-0s")
                .failed("Terminated", "Pod was terminated in response to imminent node shutdown."),
        )
        .see(
            "12s",
            checkout("bbbbb")
                .created("T+12s")
                .failed("NodeShutdown", "Pod was rejected as the node is shutting down."),
        )
        .see("3m", node("worker-1"));
    silent(&shutdown, "1h");
}

#[test]
fn evicted_pods_of_yesterday_are_history() {
    let old =
        checkout("aaaaa").terminated(137, "Error", "T-1d", "T-20h").failed("Evicted", DISK).created("T-2d");
    silent(&cluster().with(old.clone()), "1h");
    silent(&Script::first_start().with(node("worker-1")).with(old), "1h");
}

#[test]
fn an_eviction_while_nobody_looked_is_told_once() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .at("1m", Step::Down)
        .see("2m", told(EMPTY_DIR))
        .see("2m", evicted(a, EMPTY_DIR))
        .at("3m", Step::Up)
        .at("5m", Step::Down)
        .at("6m", Step::Up);
    says(
        &story,
        "1h",
        &[
            "+3m5s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+17m resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
}

#[test]
fn a_rejected_bare_pod_is_told_and_a_controllers_first_ones_are_not() {
    let bare = kubeherald::testkit::builders::pod("tool").node("worker-1").created("T+10s");
    let text = "Pod was rejected: Predicate NodePorts failed";
    let story = Script::new()
        .with(node("worker-1"))
        .see("10s", bare.clone())
        .see("11s", bare.clone().failed("NodePorts", text));
    let first =
        "+16s first bare-pod-rejected Pod/tool x1 [tool]: Pod was rejected: Predicate NodePorts failed";
    // Nobody makes another one: it is over when somebody has removed it.
    says(&story, "50m", &[first]);
    let removed = story.gone("20m", bare);
    says(&removed, "1h", &[first, "+20m resolved bare-pod-rejected Pod/tool objects_gone after 19m49s"]);
    let mut story = cluster();
    for n in 0..2 {
        let pod = checkout(&format!("{n}")).created("T+10s");
        story = story
            .see("11s", pod.failed("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu"));
    }
    silent(&story, "1h");
    let third = checkout("third").created("T+10s");
    says(
        &story.see("1m", third.failed("OutOfcpu", "Pod was rejected: too much")),
        "1h",
        &[
            "+1m5s first pod-rejected Deployment/checkout x3 [checkout-688988776f-0 checkout-688988776f-1 checkout-688988776f-third]: Pod was rejected: too much",
            "+16m11s resolved pod-rejected Deployment/checkout quiet after 49s",
        ],
    );
}

/// Down while it happens, and the pod is gone when it looks again: the Event is all that is left.
fn meanwhile(pod: &str, begin: Script) -> Script {
    begin
        .at("1m", Step::Down)
        .see("2m", event(&format!("Pod/{pod}"), "Evicted", EMPTY_DIR))
        .at("3m", Step::Up)
}

#[test]
fn an_eviction_while_kubeherald_was_down_counts_although_the_pod_is_gone() {
    let begin = || cluster().with(checkout("bbbbb").running("T-1h"));
    // Its ReplicaSet is there, and names its pods like that.
    says(
        &meanwhile("checkout-688988776f-xk2v9", begin()),
        "1h",
        &[
            "+3m5s first evicted Deployment/checkout x1 [checkout-688988776f-xk2v9]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+17m resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
    // Nothing that is there does: not the pods' own names, no suffix with vowels, no other namespace.
    for name in [
        "checkout-xk2v9",
        "checkout-688988776f-aeiou",
        "checkout-688988776f-xk2v",
        "basket-5d8f-xk2v9",
        "alone",
    ] {
        let said = meanwhile(name, begin()).run("10m");
        assert_eq!(said.len(), 1, "{said:#?}");
        assert!(said[0].contains(&format!("first evicted Pod/{name} x1 [{name}]")), "{said:#?}");
    }
    // What a first start finds is as old as can be.
    let first = Script::first_start().with(event("Pod/alone", "Evicted", EMPTY_DIR).last_seen("-10m"));
    silent(&first, "10m");
}
