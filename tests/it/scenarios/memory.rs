//! OOM kills.

use kubeherald::testkit::builders::{Pod, event, job, node, pod};

use super::script::{Script, Step, checkout, cluster, looping, says, silent};

fn killed(pod: Pod, restarts: i64) -> Pod {
    pod.memory("20Mi").last(137, "OOMKilled", "T-1h", "-1s").running("-0s").restarts(restarts)
}

#[test]
fn a_single_kill_is_told_and_over_when_quiet() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("29s", a.clone().memory("20Mi").terminated(137, "OOMKilled", "T-1h", "-0s"))
        .see("30s", killed(a, 1));
    says(
        &story,
        "2h",
        &[
            "+34s first oom-killed Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: OOM-killed at its 20Mi memory limit",
            "+30m30s resolved oom-killed Deployment/checkout/app recovered after 1s",
        ],
    );
}

#[test]
fn a_kill_that_ends_in_a_crash_loop_is_one_story() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", killed(a.clone(), 1))
        .see(
            "40s",
            a.clone()
                .memory("20Mi")
                .last(137, "OOMKilled", "-10s", "-0s")
                .waiting("CrashLoopBackOff", "")
                .restarts(1),
        )
        .see("60s", killed(a.clone(), 2))
        .see(
            "70s",
            a.clone()
                .memory("20Mi")
                .last(137, "Error", "-10s", "-0s")
                .waiting("CrashLoopBackOff", "")
                .restarts(2),
        );
    says(
        &story,
        "50m",
        &[
            "+35s first oom-killed Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: OOM-killed at its 20Mi memory limit",
            "+45s grew oom-killed Deployment/checkout/app x2 [checkout-688988776f-aaaaa] (holds 1): OOM-killed at its 20Mi memory limit <- crash-looping",
        ],
    );
}

#[test]
fn a_loop_that_turns_out_to_be_oom_says_so() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see(
            "30s",
            a.clone()
                .memory("20Mi")
                .last(137, "Error", "-10s", "-0s")
                .waiting("CrashLoopBackOff", "")
                .restarts(2),
        )
        .see("60s", killed(a.clone(), 3))
        .see(
            "70s",
            a.clone()
                .memory("20Mi")
                .last(137, "OOMKilled", "-10s", "-0s")
                .waiting("CrashLoopBackOff", "")
                .restarts(3),
        );
    says(
        &story,
        "2h",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 137 after running for 10 s",
            "+1h35s reminder crash-loop Deployment/checkout/app x2 [checkout-688988776f-aaaaa] (holds 1): OOM-killed at its 20Mi memory limit after running for 10 s <- OOM-killed at its 20Mi memory limit",
        ],
    );
}

#[test]
fn an_init_container_can_be_killed_too() {
    let a = checkout("aaaaa");
    let story = cluster().see("10s", a.clone().init("load").running("-0s").container("app")).see(
        "30s",
        a.clone()
            .init("load")
            .terminated(137, "OOMKilled", "-20s", "-0s")
            .container("app")
            .waiting("PodInitializing", ""),
    );
    says(
        &story,
        "4m",
        &[
            "+35s first oom-killed Deployment/checkout/load x1 [checkout-688988776f-aaaaa]: OOM-killed (no memory limit of its own: the node or the pod ran out)",
        ],
    );
}

#[test]
fn a_kill_of_last_week_is_history() {
    let a = checkout("aaaaa").last(137, "OOMKilled", "T-7d", "T-6d").running("T-6d").restarts(1);
    silent(&cluster().with(a.clone()), "1h");
    let first = Script::first_start().with(node("worker-1")).with(a);
    silent(&first, "1h");
}

#[test]
fn a_kill_while_nobody_looked_is_told_once() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .at("10m", Step::Down)
        .see("15m", killed(a.clone(), 1))
        .at("20m", Step::Up)
        .at("30m", Step::Down)
        .at("31m", Step::Up);
    says(
        &story,
        "10m",
        &[
            "+20m5s first oom-killed Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: OOM-killed at its 20Mi memory limit",
        ],
    );
}

#[test]
fn the_kill_of_a_jobs_try_is_the_jobs_matter() {
    let a = pod("import-x2x4z").owned_by_job("import").node("worker-1");
    let story = Script::new()
        .with(node("worker-1"))
        .with(job("import"))
        .see("10s", a.clone().running("-0s"))
        .see("60s", a.terminated(137, "OOMKilled", "-50s", "-0s"));
    silent(&story, "1h");
}

#[test]
fn the_node_itself_runs_out_of_memory() {
    let text = "System OOM encountered, victim process: java, pid: 4711";
    let story = cluster().see("10s", event("Node/worker-1", "SystemOOM", text));
    says(
        &story,
        "1h",
        &[
            "+15s first oom-killed Node/worker-1 x1 [worker-1]: System OOM encountered, victim process: java, pid: 4711",
            "+30m10s resolved oom-killed Node/worker-1 quiet after 0s",
        ],
    );
}

#[test]
fn pods_that_end_in_a_lost_container_are_not_oom() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see(
            "10s",
            a.clone().terminated(137, "ContainerStatusUnknown", "T-1h", "-0s").restarts(1).deleting("-0s"),
        )
        .gone("12s", looping(a, 1));
    silent(&story, "1h");
}
