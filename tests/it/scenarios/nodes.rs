//! Nodes: lost, drained, new, under pressure, booted anew.

use kubeherald::testkit::builders::{Node, Pod, daemon_set, deployment, event, node, pod, replica_set};

use super::script::{POD, RS, Script, Step, checkout, cluster, looping, says, silent};

fn lost_story() -> Script {
    cluster().with(node("worker-2")).see("60s", node("worker-1").lost("T+60s"))
}

#[test]
fn a_node_that_says_it_is_not_ready_and_one_that_says_nothing() {
    let down = cluster()
        .with(checkout("aaaaa").running("T-1h"))
        .see("60s", node("worker-1").not_ready("container runtime is down", "-0s"))
        .see("10m", node("worker-1").ready("-0s"));
    says(
        &down,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: container runtime is down",
            "+12m resolved node-not-ready Node/worker-1 recovered after 9m",
        ],
    );
    let lost = lost_story().see("10m", node("worker-1").ready("-0s"));
    says(
        &lost,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+12m resolved node-not-ready Node/worker-1 recovered after 9m",
        ],
    );
}

#[test]
fn a_kubelet_that_restarts_is_no_news() {
    let story = cluster()
        .see("60s", node("worker-1").not_ready("PLEG is not healthy", "-0s"))
        .see(
            "60s",
            event("Node/worker-1", "NodeNotReady", "Node worker-1 status is now: NodeNotReady").normal(),
        )
        .see("61s", event(POD, "NodeNotReady", "Node is not ready").from("node-controller"))
        .see("70s", node("worker-1").ready("-0s"));
    silent(&story, "30m");
}

#[test]
fn a_node_that_joins_is_no_news() {
    let young = || node("worker-9").created("T+10s");
    let story = cluster()
        .see(
            "10s",
            young().condition("Ready", "Unknown", "NodeStatusNeverUpdated", "Kubelet never posted", "T+10s"),
        )
        .see(
            "20s",
            young().not_ready("container runtime network not ready: cni plugin not initialized", "T+20s"),
        )
        .see("3m", young().ready("-0s"));
    silent(&story, "30m");
    let never = cluster().see("10s", young().not_ready("cni plugin not initialized", "T+10s"));
    says(
        &never,
        "10m",
        &["+5m15s first node-not-ready Node/worker-9 x1 [worker-9]: cni plugin not initialized"],
    );
}

#[test]
fn a_node_that_is_taken_away_is_no_news() {
    let story = Script::new().with(node("worker-1")).with(node("worker-2"));
    silent(
        &story
            .see("50s", node("worker-1").taint("ToBeDeletedByClusterAutoscaler"))
            .see("60s", node("worker-1").taint("ToBeDeletedByClusterAutoscaler").lost("T+60s"))
            .gone("3m", node("worker-1")),
        "30m",
    );
    let serviced = cluster()
        .see("50s", node("worker-1").cordoned())
        .see("60s", node("worker-1").cordoned().lost("T+60s"))
        .see("9m", node("worker-1").cordoned().ready("-0s"))
        .see("9m30s", node("worker-1").ready("T+9m"));
    silent(&serviced, "30m");
}

#[test]
fn a_node_that_is_deleted_ends_its_incident() {
    let story = lost_story().gone("10m", node("worker-1"));
    says(
        &story,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+10m resolved node-not-ready Node/worker-1 objects_gone after 9m",
        ],
    );
}

#[test]
fn a_node_made_anew_under_its_name_ends_it_too() {
    let story = lost_story().see("10m", node("worker-1").uid("second").created("T+10m").ready("T+10m"));
    says(
        &story,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+10m resolved node-not-ready Node/worker-1 objects_gone after 9m",
        ],
    );
}

#[test]
fn a_node_that_comes_and_goes_is_one_incident() {
    let mut story = cluster();
    for n in 0..4_u32 {
        story = story
            .see(&format!("{}s", 60 + n * 90), node("worker-1").lost("-0s"))
            .see(&format!("{}s", 110 + n * 90), node("worker-1").ready("-0s"));
    }
    says(
        &story,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+8m20s resolved node-not-ready Node/worker-1 recovered after 5m20s",
        ],
    );
}

#[test]
fn two_lost_nodes_are_two_incidents() {
    let story = lost_story().see("62s", node("worker-2").lost("T+62s"));
    says(
        &story,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+1m22s first node-not-ready Node/worker-2 x1 [worker-2]: Kubelet stopped posting node status.",
        ],
    );
}

/// Everything that follows for what ran there.
#[test]
fn a_lost_node_speaks_for_what_happens_on_it() {
    let old = pod("broken-5d5c5c5c5c-zzzzz").owned_by_rs("broken-5d5c5c5c5c").node("worker-1");
    let a = checkout("aaaaa");
    let b = pod(&format!("{RS}-bbbbb")).owned_by_rs(RS).created("T+6m");
    let text = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.";
    let multi =
        "Multi-Attach error for volume \"pv\" Volume is already used by pod(s) checkout-688988776f-aaaaa";
    let story = Script::first_start()
        .with(node("worker-1"))
        .with(node("worker-2"))
        .with(deployment("checkout"))
        .with(replica_set(RS))
        .with(deployment("broken").available(0))
        .with(replica_set("broken-5d5c5c5c5c"))
        .with(looping(old.clone(), 9))
        .with(a.clone().running("T-1h"))
        .with(daemon_set("agent").replicas(2))
        .with(pod("agent-1").owned_by("DaemonSet", "agent").node("worker-1").running("T-1h"))
        .see("60s", node("worker-1").lost("T+60s"))
        .see("61s", a.clone().running("T-1h").node_lost())
        .see("61s", deployment("checkout").available(0))
        .see("61s", daemon_set("agent").replicas(2).available(1))
        .see("62s", event(POD, "NodeNotReady", "Node is not ready").from("node-controller"))
        .see("6m", a.clone().running("T-1h").node_lost().disrupted("DeletionByTaintManager").deleting("-0s"))
        .see(
            "6m",
            event(POD, "TaintManagerEviction", "Marking for deletion Pod shop/x").normal().object_uid(""),
        )
        .see("6m", looping(old.clone(), 9).disrupted("DeletionByTaintManager").deleting("-0s"))
        .see("6m1s", b.clone().unschedulable(text, "T+6m1s"))
        .see("12m", b.clone().node("worker-2").scheduled("-0s"))
        .see(
            "12m1s",
            event("Pod/checkout-688988776f-bbbbb", "FailedAttachVolume", multi)
                .from("attachdetach-controller"),
        )
        .see("13m", deployment("checkout").available(0).stuck("-0s"))
        .see("20m", node("worker-1").ready("-0s"))
        .gone("20m5s", a)
        .gone("20m5s", old.clone())
        .see("20m30s", b.node("worker-2").scheduled("T+12m").running("-0s"))
        .see("20m31s", deployment("checkout"))
        .see("20m31s", daemon_set("agent").replicas(2));
    says(
        &story,
        "1h",
        &[
            "+10s standing 1: crash-loop Deployment/broken",
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+22m resolved node-not-ready Node/worker-1 recovered after 19m",
            "+35m5s resolved crash-loop Deployment/broken/app objects_gone after 20m17s",
        ],
    );
}

#[test]
fn what_a_lost_node_held_is_told_when_it_goes_on_without_it() {
    let b = pod(&format!("{RS}-bbbbb")).owned_by_rs(RS).created("T+6m");
    let text = "0/2 nodes are available: 2 Insufficient cpu.";
    let story = lost_story()
        .with(checkout("aaaaa").running("T-1h"))
        .see("6m", b.unschedulable(text, "T+6m"))
        .see("10m", node("worker-1").ready("-0s"));
    says(
        &story,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+12m resolved node-not-ready Node/worker-1 recovered after 9m",
            "+12m5s first unschedulable Deployment/checkout x1 [checkout-688988776f-bbbbb]: 0/2 nodes are available: 2 Insufficient cpu.",
        ],
    );
}

#[test]
fn pressure_is_told_after_a_minute_and_a_lost_node_has_none() {
    let full = |since: &str| {
        node("worker-1").condition("MemoryPressure", "True", "KubeletHasInsufficientMemory", "low", since)
    };
    says(
        &cluster().see("60s", full("T+60s")).see("10m", node("worker-1")),
        "30m",
        &[
            "+2m5s first node-pressure Node/worker-1 x1 [worker-1]: low",
            "+15m resolved node-pressure Node/worker-1 recovered after 9m",
        ],
    );
    silent(&cluster().see("60s", full("T+60s")).see("90s", node("worker-1")), "30m");
    let lost = cluster().see("60s", node("worker-1").lost("T+60s"));
    says(
        &lost,
        "30m",
        &["+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status."],
    );
}

#[test]
fn conditions_of_other_agents_have_their_own_polarity() {
    let with =
        |kind: &str, status: &str| node("worker-1").condition(kind, status, "Why", "what it says", "T+10s");
    for (kind, good, bad) in [
        ("KernelDeadlock", "False", "True"),
        ("ReadonlyFilesystem", "False", "True"),
        ("FrequentKubeletRestart", "False", "True"),
        ("GpuReady", "True", "False"),
        ("NetworkingHealthy", "True", "False"),
    ] {
        silent(&cluster().see("10s", with(kind, good)), "1h");
        silent(&cluster().see("10s", with(kind, "Unknown")), "1h");
        let story = cluster().see("10s", with(kind, bad)).see("10m", with(kind, good));
        says(
            &story,
            "30m",
            &[
                &format!("+1m15s first node-condition Node/worker-1 x1 [worker-1]: what it says <- {kind}"),
                "+15m resolved node-condition Node/worker-1 recovered after 9m50s",
            ],
        );
    }
}

fn rebooted(id: &str) -> kubeherald::testkit::builders::Event {
    event("Node/worker-1", "Rebooted", &format!("Node worker-1 has been rebooted, boot id: {id}"))
}

#[test]
fn a_boot_is_told_once_whoever_tells_it() {
    let boot = |id: &str| -> Node { node("worker-1").boot(id) };
    let status = cluster().see("10s", boot("boot-2"));
    says(&status, "1h", &["+15s first node-rebooted Node/worker-1 x1 [worker-1]: boot id is now boot-2"]);
    let both = cluster().see("10s", rebooted("boot-2")).see("11s", boot("boot-2"));
    says(
        &both,
        "1h",
        &[
            "+15s first node-rebooted Node/worker-1 x1 [worker-1]: Node worker-1 has been rebooted, boot id: boot-2",
        ],
    );
    let other = cluster().see("10s", boot("boot-2")).see("11s", rebooted("boot-2"));
    says(&other, "1h", &["+15s first node-rebooted Node/worker-1 x1 [worker-1]: boot id is now boot-2"]);
    // Back before the loss of the node was told: still a boot.
    let fast = cluster()
        .see("10s", node("worker-1").not_ready("starting", "-0s"))
        .see("11s", rebooted("boot-2"))
        .see("12s", boot("boot-2").not_ready("starting", "T+10s"))
        .see("20s", boot("boot-2").ready("-0s"));
    says(
        &fast,
        "1h",
        &[
            "+2m25s first node-rebooted Node/worker-1 x1 [worker-1]: Node worker-1 has been rebooted, boot id: boot-2",
        ],
    );
    let slow = lost_story().see("5m", boot("boot-2").ready("-0s")).see("5m1s", rebooted("boot-2"));
    says(
        &slow,
        "1h",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+7m resolved node-not-ready Node/worker-1 recovered after 4m",
        ],
    );
}

#[test]
fn a_boot_after_a_drain_is_no_news() {
    let boot = |id: &str| node("worker-1").cordoned().boot(id);
    // A restart right after the node is back in service finds its Event, and no cordon any more.
    let story = cluster()
        .once()
        .see("10s", node("worker-1").cordoned())
        .see("60s", boot("boot-1").lost("T+60s"))
        .see("3m", boot("boot-2").ready("-0s"))
        .see("3m", rebooted("boot-2"))
        .see("4m", node("worker-1").boot("boot-2").ready("T+3m"));
    silent(&story, "1h");
}

#[test]
fn heartbeats_say_nothing() {
    let mut story = cluster().with(checkout("aaaaa").running("T-1h"));
    for n in 1..50_u32 {
        story = story.see(&format!("{}m", n * 5), node("worker-1").annotation("beat", &n.to_string()));
    }
    silent(&story, "1h");
}

#[test]
fn a_loop_on_a_lost_node_is_not_called_over() {
    let a: Pod = checkout("aaaaa");
    let story = cluster()
        .with(node("worker-2"))
        .with(a.clone().running("T-1h"))
        .see("10s", looping(a.clone(), 3))
        .see("50s", a.clone().last(3, "Error", "T-1h", "-1s").running("-0s").restarts(4))
        .see("60s", node("worker-1").lost("T+60s"))
        .at("5m", Step::Relist)
        .see("30m", node("worker-1").ready("-0s"))
        .see("30m1s", looping(a, 5));
    says(
        &story,
        "30m",
        &[
            "+15s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+32m resolved node-not-ready Node/worker-1 recovered after 29m",
        ],
    );
}
