//! Containers that end again and again, and what looks like it.

use kubeherald::testkit::builders::{
    Pod, daemon_set, deployment, event, job, node, pod, replica_set, stateful_set,
};

use super::script::{RS, Script, Step, checkout, cluster, looping, says, silent};

const NEW_RS: &str = "checkout-7c5ddbdf54";

/// Runs again after a run of two seconds.
fn restarted(pod: Pod, restarts: i64) -> Pod {
    pod.last(3, "Error", "-12s", "-10s").running("-0s").restarts(restarts)
}

/// From the first exit to the back-off, as the kubelet writes it.
fn into_loop(script: Script, pod: &Pod) -> Script {
    script
        .see("30s", pod.clone().terminated(3, "Error", "-2s", "-0s"))
        .see("31s", pod.clone().last(3, "Error", "-3s", "-1s").running("-0s").restarts(1))
        .see(
            "33s",
            pod.clone().last(3, "Error", "-5s", "-3s").terminated(3, "Error", "-2s", "-0s").restarts(1),
        )
        .see("34s", looping(pod.clone(), 1))
}

const FIRST: &str = "+38s first crash-loop Deployment/checkout/app x2 [checkout-688988776f-aaaaa]: \
                     the container exited with code 3 after running for 2 s";

#[test]
fn a_crash_loop_is_told_once_and_resolved_when_it_has_run_for_five_minutes() {
    let a = checkout("aaaaa");
    let story = into_loop(cluster().with(a.clone().running("T-1h")), &a)
        .see("50s", a.clone().last(3, "Error", "T+31s", "T+33s").running("-0s").restarts(2))
        .see(
            "52s",
            a.clone().last(3, "Error", "T+31s", "T+33s").terminated(3, "Error", "-2s", "-0s").restarts(2),
        )
        .see("53s", looping(a.clone(), 2))
        .see("75s", a.clone().last(3, "Error", "T+50s", "T+52s").running("-0s").restarts(3));
    says(&story, "20m", &[FIRST, "+6m17s resolved crash-loop Deployment/checkout/app recovered after 46s"]);
}

#[test]
fn a_container_that_restarts_once_is_no_news() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", a.clone().terminated(1, "Error", "T-1h", "-0s"))
        .see("31s", a.clone().last(1, "Error", "T-1h", "-1s").running("-0s").restarts(1));
    silent(&story, "3h");
}

#[test]
fn a_sidecar_that_crash_loops_is_named() {
    let a = checkout("aaaaa").sidecar("proxy").running("T-1h").container("app").running("T-1h");
    let proxy = || a.clone().sidecar("proxy");
    let story =
        cluster().with(a.clone()).see("30s", proxy().terminated(1, "Error", "-5s", "-0s").restarts(1)).see(
            "31s",
            proxy().last(1, "Error", "-6s", "-1s").waiting("CrashLoopBackOff", "back-off 20s").restarts(1),
        );
    says(
        &story,
        "10m",
        &["+35s first crash-loop Deployment/checkout/proxy x1 [checkout-688988776f-aaaaa]: \
           the sidecar exited with code 1 after running for 5 s"],
    );
}

#[test]
fn two_containers_of_one_pod_are_two_stories() {
    let a = checkout("aaaaa");
    let both = |at: &str| {
        looping(looping(a.clone().container("app"), 4).container("worker"), 4).annotation("seen", at)
    };
    says(
        &cluster()
            .with(a.clone().container("app").running("T-1h").container("worker").running("T-1h"))
            .see("30s", both("1")),
        "10m",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+35s first crash-loop Deployment/checkout/worker x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
    );
}

#[test]
fn exit_code_zero_for_ever_is_a_crash_loop_too() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", a.clone().terminated(0, "Completed", "-2s", "-0s").restarts(2))
        .see(
            "31s",
            a.last(0, "Completed", "-3s", "-1s").waiting("CrashLoopBackOff", "back-off 20s").restarts(2),
        );
    says(
        &story,
        "10m",
        &["+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: \
           the container exited with code 0 after running for 2 s"],
    );
}

#[test]
fn exit_137_without_the_word_is_no_oom_kill() {
    let a = checkout("aaaaa");
    let story = cluster().with(a.clone().running("T-1h")).see(
        "30s",
        a.last(137, "Error", "-40s", "-10s").waiting("CrashLoopBackOff", "back-off 10s").restarts(4),
    );
    says(
        &story,
        "4m",
        &["+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: \
           the container exited with code 137 after running for 30 s"],
    );
}

#[test]
fn a_container_that_cannot_be_started_is_one_story_through_back_off() {
    let a = checkout("aaaaa").created("T+10s").scheduled("T+10s");
    let cannot = "failed to create containerd task: exec: \"/bin/nope\": no such file or directory";
    let epoch = "1970-01-01T00:00:00Z";
    let dead = |pod: Pod, n: i64| pod.last(128, "StartError", epoch, "-1s").said(cannot).restarts(n);
    let story = cluster()
        .see("10s", a.clone())
        .see("12s", a.clone().waiting("RunContainerError", cannot))
        .see("13s", a.clone().terminated(128, "StartError", epoch, "-0s"))
        .see("15s", dead(a.clone(), 1).waiting("RunContainerError", cannot))
        .see("27s", dead(a.clone(), 1).terminated(128, "StartError", epoch, "-11s").said(cannot))
        .see("28s", dead(a.clone(), 1).waiting("CrashLoopBackOff", "back-off 10s"))
        .see("40s", dead(a.clone(), 2).waiting("RunContainerError", cannot))
        .see("41s", dead(a.clone(), 2).waiting("CrashLoopBackOff", "back-off 20s"))
        .see("70s", dead(a.clone(), 3).waiting("RunContainerError", cannot))
        .see("71s", dead(a, 3).waiting("CrashLoopBackOff", "back-off 40s"));
    says(
        &story,
        "30m",
        &["+32s first crash-loop Deployment/checkout/app x2 [checkout-688988776f-aaaaa]: \
           failed to create containerd task: exec: \"/bin/nope\": no such file or d \
           <- cannot be started: \"/bin/nope\": no such "],
    );
}

#[test]
fn a_slow_crash_loop_is_told_and_not_resolved_before_it_outlives_its_runs() {
    let a = checkout("aaaaa");
    let mut story = cluster().with(a.clone().running("T-1m"));
    for (n, (crash, again)) in
        [("12m", "12m1s"), ("24m", "24m1s"), ("36m", "36m1s"), ("48m", "48m1s")].iter().enumerate()
    {
        let n = i64::try_from(n).unwrap();
        story = story
            .see(crash, a.clone().restarts(n).terminated(1, "Error", "-12m", "-0s"))
            .see(again, a.clone().restarts(n + 1).last(1, "Error", "-12m1s", "-1s").running("-0s"));
    }
    says(
        &story,
        "40m",
        &[
            "+36m6s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: \
             the container exited with code 1 after running for 12 min",
            "+1h5m1s resolved crash-loop Deployment/checkout/app recovered after 24m",
        ],
    );
}

#[test]
fn restarting_all_containers_by_wish_is_no_crash() {
    let a = checkout("aaaaa");
    let mut story = cluster().with(a.clone().running("T-1h"));
    for n in 1..=4 {
        let at = format!("{n}m");
        let then = format!("{n}m2s");
        story = story.see(&at, a.clone().restarts(n - 1).waiting("RestartingAllContainers", "")).see(
            &then,
            a.clone().restarts(n).last(137, "RestartingAllContainers", "-1m", "-2s").running("-0s"),
        );
    }
    silent(&story, "20m");
}

#[test]
fn a_kubelet_restart_that_forgets_the_back_off_is_no_recovery() {
    let a = checkout("aaaaa");
    let story = into_loop(cluster().with(a.clone().running("T-1h")), &a)
        .see("60s", a.clone().restarts(1).terminated(3, "Error", "T+31s", "T+33s"))
        .see("61s", a.clone().restarts(1).last(3, "Error", "T+31s", "T+33s").waiting("ContainerCreating", ""))
        .see("62s", restarted(a.clone(), 2))
        .see("64s", a.clone().restarts(2).terminated(3, "Error", "-2s", "-0s"))
        .see("65s", looping(a, 2));
    says(&story, "20m", &[FIRST]);
}

#[test]
fn a_deleted_pod_of_a_loop_that_goes_on_is_no_recovery() {
    let a = checkout("aaaaa");
    let b = checkout("bbbbb").created("T+2m").scheduled("T+2m");
    let story = into_loop(cluster().with(a.clone().running("T-1h")), &a)
        .see("35s", deployment("checkout").available(0))
        .see("2m", looping(a.clone(), 3).deleting("-0s"))
        .see("2m", b.clone())
        .see("2m1s", a.clone().terminated(3, "Error", "-2s", "-0s").restarts(3).deleting("-0s"))
        .see("2m2s", b.clone().running("-0s"))
        .see("2m2s", deployment("checkout"))
        .gone("2m3s", a)
        .see("2m4s", b.clone().terminated(3, "Error", "-2s", "-0s"))
        .see("2m4s", deployment("checkout").available(0))
        .see("2m5s", restarted(b.clone(), 1))
        .see("2m5s", deployment("checkout"))
        .see("2m30s", looping(b, 1))
        .see("2m30s", deployment("checkout").available(0));
    says(&story, "20m", &[FIRST]);
}

/// Each run lasts for 45 seconds, in which the new pods look well.
#[test]
fn a_rollout_of_what_is_still_broken_is_no_recovery() {
    let a = checkout("aaaaa");
    let b = pod("checkout-7c5ddbdf54-bbbbb")
        .owned_by_rs(NEW_RS)
        .node("worker-1")
        .created("T+5m")
        .scheduled("T+5m");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", a.clone().last(3, "Error", "-45s", "-1s").waiting("CrashLoopBackOff", "").restarts(2))
        .see("30s", deployment("checkout").available(0))
        .see("5m", deployment("checkout").generation(2).observed(1).available(0))
        .see("5m", replica_set(NEW_RS))
        .see("5m", b.clone())
        .see("5m2s", b.clone().running("-0s"))
        .see("5m2s", deployment("checkout").generation(2).present(2))
        .see("5m2s", a.clone().terminated(3, "Error", "-45s", "-1s").restarts(2).deleting("-0s"))
        .gone("5m3s", a)
        .see("5m3s", deployment("checkout").generation(2))
        .see("5m47s", b.clone().terminated(3, "Error", "-45s", "-0s"))
        .see("5m47s", deployment("checkout").generation(2).available(0))
        .see("5m48s", b.clone().last(3, "Error", "-46s", "-1s").running("-0s").restarts(1))
        .see("5m48s", deployment("checkout").generation(2))
        .see("6m33s", b.last(3, "Error", "-46s", "-1s").waiting("CrashLoopBackOff", "").restarts(1))
        .see("6m33s", deployment("checkout").generation(2).available(0));
    says(
        &story,
        "20m",
        &["+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: \
           the container exited with code 3 after running for 44 s"],
    );
}

#[test]
fn scaling_to_zero_ends_it() {
    let a = checkout("aaaaa");
    let story = into_loop(cluster().with(a.clone().running("T-1h")), &a)
        .see("35s", deployment("checkout").available(0))
        .see("3m", deployment("checkout").replicas(0))
        .see("3m", looping(a.clone(), 4).deleting("-0s"))
        .gone("3m1s", a);
    says(
        &story,
        "20m",
        &[FIRST, "+3m1s resolved crash-loop Deployment/checkout/app objects_gone after 2m30s"],
    );
}

#[test]
fn deleting_the_deployment_ends_it_whatever_goes_first() {
    let a = checkout("aaaaa");
    let begin = into_loop(cluster().with(a.clone().running("T-1h")), &a)
        .see("35s", deployment("checkout").available(0));
    let end = "+3m1s resolved crash-loop Deployment/checkout/app objects_gone after 2m30s";
    let background = begin
        .clone()
        .gone("3m", deployment("checkout").available(0))
        .gone("3m", replica_set(RS))
        .see("3m", looping(a.clone(), 4).deleting("-0s"))
        .gone("3m1s", a.clone());
    says(&background, "20m", &[FIRST, end]);
    let orphan = begin
        .see("3m", looping(a.clone(), 4).deleting("-0s"))
        .gone("3m", a)
        .gone("3m1s", deployment("checkout").available(0));
    says(
        &orphan,
        "20m",
        &[FIRST, "+3m1s resolved crash-loop Deployment/checkout/app objects_gone after 2m29s"],
    );
}

#[test]
fn a_bare_pod_that_is_deleted_ends_it() {
    let a = pod("tool").node("worker-1");
    let story = Script::new()
        .with(node("worker-1"))
        .see("30s", looping(a.clone(), 2))
        .see("2m", looping(a.clone(), 4).deleting("-0s"))
        .gone("2m30s", a);
    says(
        &story,
        "20m",
        &[
            "+35s first crash-loop Pod/tool/app x2 [tool]: the container exited with code 3 after running for 2 s",
            "+2m30s resolved crash-loop Pod/tool/app objects_gone after 2m12s",
        ],
    );
}

fn stateful() -> (Script, Pod, Pod) {
    let old = pod("db-0").owned_by("StatefulSet", "db").node("worker-1");
    let new = old.clone().uid("second").created("T+3m").scheduled("T+3m");
    let story = Script::new()
        .with(node("worker-1"))
        .with(stateful_set("db"))
        .with(old.clone().running("T-1h"))
        .see("30s", looping(old.clone(), 2))
        .see("30s", stateful_set("db").available(0));
    (story, old, new)
}

const DB: &str = "+35s first crash-loop StatefulSet/db/app x1 [db-0]: the container exited with code 3 after running for 2 s";

#[test]
fn a_stateful_pod_replaced_under_its_name_ends_it_when_the_new_one_is_well() {
    let (story, old, new) = stateful();
    let seen = story
        .clone()
        .gone("3m", old)
        .see("3m", new.clone())
        .see("3m5s", new.clone().running("-0s"))
        .see("3m5s", stateful_set("db"));
    let end = "+8m5s resolved crash-loop StatefulSet/db/app objects_gone after 2m47s";
    says(&seen, "20m", &[DB, end]);
    // The deletion was missed.
    let missed = story
        .at("3m", Step::Gap)
        .see("3m", new.clone())
        .see("3m4s", new.clone().running("-0s"))
        .at("3m5s", Step::Relist)
        .see("3m5s", stateful_set("db"));
    says(&missed, "20m", &[DB, end]);
}

#[test]
fn flapping_is_told_as_one_incident_that_has_to_prove_itself_longer_each_time() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", looping(a.clone(), 2))
        .see("1m", restarted(a.clone(), 3))
        .see("10m", looping(a.clone(), 5))
        .see("11m", restarted(a.clone(), 6))
        .see("30m", looping(a.clone(), 8))
        .see("31m", restarted(a.clone(), 9));
    let text = "[checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s";
    says(
        &story,
        "1h",
        &[
            &format!("+35s first crash-loop Deployment/checkout/app x1 {text}"),
            "+6m2s resolved crash-loop Deployment/checkout/app recovered after 44s",
            &format!("+10m5s reopened crash-loop Deployment/checkout/app x2 {text}"),
            "+21m2s resolved crash-loop Deployment/checkout/app recovered after 1m14s",
            &format!("+30m5s reopened crash-loop Deployment/checkout/app x3 {text}"),
            "+51m2s resolved crash-loop Deployment/checkout/app recovered after 1m14s",
        ],
    );
}

#[test]
fn ephemeral_containers_are_somebody_debugging() {
    let a = checkout("aaaaa").running("T-1h").ephemeral("debugger");
    let name = "Pod/checkout-688988776f-aaaaa";
    let story = cluster()
        .with(a.clone())
        .see("30s", a.clone().waiting("ErrImagePull", "no such image"))
        .see("50s", a.clone().terminated(1, "Error", "-2s", "-0s"))
        .see("51s", a.waiting("CrashLoopBackOff", "back-off").restarts(3))
        .see("52s", event(name, "Failed", "Failed to pull image \"x\": not found"));
    silent(&story, "20m");
}

#[test]
fn a_job_that_restarts_its_container_is_left_to_its_own_limit() {
    let a = pod("import-x2x4z").owned_by("Job", "import").restart_policy("OnFailure").node("worker-1");
    let mut story =
        Script::new().with(node("worker-1")).with(job("import")).see("10s", a.clone().running("-0s"));
    for (n, at) in ["20s", "40s", "80s", "160s", "5m20s", "10m"].iter().enumerate() {
        story = story.see(at, looping(a.clone(), i64::try_from(n).unwrap() + 1));
    }
    silent(&story, "5m");
    says(
        &story,
        "10m",
        &["+15m13s first job-crash-loop Job/import/app x6 [import-x2x4z]: \
           the container exited with code 3 after running for 2 s"],
    );
}

#[test]
fn a_daemon_set_that_crashes_on_one_of_three_nodes_says_where() {
    let agent = |n: u8| {
        let node = format!("worker-{n}");
        pod(&format!("agent-{n}")).owned_by("DaemonSet", "agent").node(&node)
    };
    let story = Script::new()
        .with(node("worker-1"))
        .with(node("worker-2"))
        .with(daemon_set("agent").replicas(2))
        .with(agent(1).running("T-1h"))
        .with(agent(2).running("T-1h"))
        .see("10s", looping(agent(2), 3))
        .see("10s", daemon_set("agent").replicas(2).available(1));
    says(
        &story,
        "10m",
        &[
            "+15s first crash-loop DaemonSet/agent/app x1 [agent-2]: the container exited with code 3 after running for 2 s",
        ],
    );
}
