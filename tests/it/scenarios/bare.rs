//! Pods that no controller owns, and how they end.

use kubeherald::testkit::builders::{Pod, event, job, node, pod};

use super::script::{Script, Step, says, silent};

/// A pod that somebody made by hand.
fn migrate() -> Pod {
    pod("migrate").node("worker-1").restart_policy("Never")
}

fn begin() -> Script {
    Script::new().with(node("worker-1")).with(migrate().running("T-1m"))
}

fn failed() -> Pod {
    migrate().terminated(2, "Error", "T-1m", "T+10s")
}

const FIRST: &str = "+45s first pod-failed Pod/migrate/app x1 [migrate]: the container exited with code 2 after running for 70 s";

#[test]
fn a_bare_pod_that_fails_is_told_once_and_over_when_it_is_removed() {
    let story = begin().see("10s", failed());
    says(&story, "20h", &[FIRST]);
    says(
        &story.gone("20m", failed()),
        "1h",
        &[FIRST, "+20m resolved pod-failed Pod/migrate/app objects_gone after 19m50s"],
    );
}

#[test]
fn what_the_program_said_explains_it() {
    let story = begin().see("10s", failed().said("no such table: orders"));
    let said = story.messages("5m");
    assert_eq!(said.len(), 1);
    assert_eq!(
        said[0].title,
        "Pod/migrate in shop failed (container app): exit code 2: no such table: orders"
    );
    assert!(said[0].text.contains("Why: exit code 2\n  no such table: orders\n"), "{}", said[0].text);
    assert!(said[0].text.contains("Look: kubectl -n shop logs migrate -c app --tail=50"), "{}", said[0].text);
}

#[test]
fn its_own_deadline_is_the_reason_and_the_exit_code_is_not() {
    let text = "Pod was active on the node longer than the specified deadline";
    let story = begin()
        .see("10s", event("Pod/migrate", "DeadlineExceeded", text).normal())
        .see("12s", migrate().terminated(137, "Error", "T-1m", "T+11s").failed("DeadlineExceeded", text));
    let said = story.messages("5m");
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].title, "Pod/migrate in shop was ended at its deadline (container app)");
    assert!(!said[0].text.contains("137"), "{}", said[0].text);
}

#[test]
fn memory_is_the_reason_where_it_was() {
    let story = begin().see("10s", migrate().memory("64Mi").terminated(137, "OOMKilled", "T-1m", "T+10s"));
    let said = story.messages("2h");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(said[0].title, "Pod/migrate in shop failed (container app): OOM-killed");
    assert!(said[0].text.contains("OOM-killed at its 64Mi memory limit"), "{}", said[0].text);
}

#[test]
fn the_container_that_failed_first_is_the_reason() {
    let both = migrate()
        .container("app")
        .terminated(3, "Error", "T-1m", "T+10s")
        .container("agent")
        .terminated(1, "Error", "T-1m", "T+14s");
    says(
        &begin().see("14s", both),
        "5m",
        &[
            "+49s first pod-failed Pod/migrate/app x1 [migrate]: the container exited with code 3 after running for 70 s",
        ],
    );
}

#[test]
fn whoever_removes_it_at_once_knows() {
    silent(&begin().see("10s", failed()).gone("30s", failed()), "1h");
}

#[test]
fn what_ends_by_plan_or_well_is_no_news() {
    silent(&begin().see("10s", migrate().terminated(0, "Completed", "T-1m", "-0s")), "1h");
    let removed = begin()
        .see("10s", migrate().running("T-1m").deleting("T+40s").grace(30))
        .see("41s", migrate().terminated(137, "Error", "T-1m", "-0s").deleting("T+40s").grace(30))
        .gone("42s", migrate());
    silent(&removed, "1h");
    let drained = migrate().terminated(143, "Error", "T-1m", "-0s").disrupted("EvictionByEvictionAPI");
    silent(&begin().see("10s", drained), "1h");
    for reason in ["Terminated", "NodeShutdown", "Preempting"] {
        let ended = migrate().terminated(143, "Error", "T-1m", "-0s").failed(reason, "by plan");
        silent(&begin().see("10s", ended), "1h");
    }
    let of_job = pod("import-x2x4z").owned_by_job("import").node("worker-1");
    let story = Script::new().with(node("worker-1")).with(job("import")).with(of_job.clone().running("T-1m"));
    silent(&story.see("10s", of_job.terminated(1, "Error", "T-1m", "-0s")), "1h");
}

#[test]
fn an_eviction_speaks_for_the_pod_it_ended() {
    let text = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";
    let story = begin().see("10s", migrate().terminated(137, "Error", "T-1m", "-0s").failed("Evicted", text));
    let said = story.run("2h");
    assert!(said.len() == 1 && said[0].contains("first evicted Pod/migrate"), "{said:#?}");
}

#[test]
fn at_a_first_start_what_failed_lately_stands_and_the_rest_is_history() {
    let old = |name: &str, from: &str, to: &str| {
        pod(name).node("worker-1").restart_policy("Never").created(from).terminated(1, "Error", from, to)
    };
    let story = Script::first_start()
        .with(node("worker-1"))
        .with(old("lately", "T-3h", "T-2h"))
        .with(old("long-ago", "T-3d", "T-2d"));
    says(&story, "1h", &["+10s standing 1: pod-failed Pod/lately"]);
}

#[test]
fn a_failure_while_kubeherald_was_down_is_told_once() {
    let story = begin()
        .at("5s", Step::Down)
        .see("10s", failed())
        .at("2m", Step::Up)
        .at("5m", Step::Down)
        .at("6m", Step::Up);
    says(
        &story,
        "1h",
        &[
            "+2m5s first pod-failed Pod/migrate/app x1 [migrate]: the container exited with code 2 after running for 70 s",
        ],
    );
}
