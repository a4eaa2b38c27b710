//! Jobs, CronJobs, rollouts and controllers that cannot create pods.

use kubeherald::testkit::builders::{
    Event, Job, cron_job, daemon_set, deployment, event, job, node, pod, stateful_set,
};

use super::script::{Script, Step, checkout, cluster, says, silent};

fn run(name: &str) -> Job {
    job(name).owned_by("CronJob", "report").created("T+1m")
}

#[test]
fn a_job_is_told_when_its_retries_are_used_up() {
    let a = |n: i64| pod(&format!("import-{n}")).owned_by_job("import").node("worker-1");
    let begin = |tries: i64| {
        let mut story = Script::new().with(node("worker-1")).with(job("import"));
        for n in 0..tries {
            let at = 10 + n * 40;
            story = story
                .see(&format!("{at}s"), a(n).running("-0s"))
                .see(&format!("{}s", at + 20), a(n).terminated(2, "Error", "-20s", "-0s"))
                .see(&format!("{}s", at + 20), job("import").tries(n + 1));
        }
        story
    };
    silent(&begin(5).see("6m", job("import").tries(5).complete("-0s")), "1h");
    let failed = begin(7)
        .see(
            "6m",
            job("import").tries(7).condition("FailureTarget", "BackoffLimitExceeded", "reached", "-0s"),
        )
        .see("6m2s", job("import").tries(7).backoff_limit("-0s"))
        .see(
            "6m2s",
            event("Job/import", "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
        );
    says(
        &failed,
        "6h",
        &[
            "+6m7s first job-failed Job/import x1 [import]: Job has reached the specified backoff limit",
            "+1h6m7s reminder job-failed Job/import x1 [import]: Job has reached the specified backoff limit",
            "+3h6m7s reminder job-failed Job/import x1 [import]: Job has reached the specified backoff limit",
        ],
    );
}

#[test]
fn every_verdict_of_a_job_is_told() {
    for (reason, text) in [
        ("DeadlineExceeded", "Job was active longer than specified deadline"),
        ("PodFailurePolicy", "Container app failed with exit code 42 matching FailJob rule"),
        ("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"),
    ] {
        let story = Script::new().with(job("import")).see("10s", job("import").failed(reason, text, "-0s"));
        let text: String = text.chars().take(70).collect();
        says(&story, "1h", &[&format!("+15s first job-failed Job/import x1 [import]: {text}")]);
    }
    silent(&Script::new().with(job("import")).see("10s", job("import").suspended()), "1h");
}

#[test]
fn a_cron_job_fails_until_the_next_run_succeeds() {
    let begin = Script::new()
        .with(cron_job("report").succeeded("T-1h"))
        .see("1m", run("report-29330001"))
        .see("2m", run("report-29330001").backoff_limit("-0s"))
        .see("61m", run("report-29330061"))
        .see("62m", run("report-29330061").backoff_limit("-0s"))
        .gone("63m", run("report-29330001"));
    says(
        &begin,
        "8h",
        &[
            "+2m5s first job-failed CronJob/report x1 [report]: Job report-29330001: Job has reached the specified backoff limit",
            "+1h2m5s reminder job-failed CronJob/report x2 [report]: Job report-29330061: Job has reached the specified backoff limit",
            "+3h2m5s reminder job-failed CronJob/report x2 [report]: Job report-29330061: Job has reached the specified backoff limit",
            "+7h2m5s reminder job-failed CronJob/report x2 [report]: Job report-29330061: Job has reached the specified backoff limit",
        ],
    );
    let ends = begin
        .see("121m", run("report-29330121"))
        .see("122m", run("report-29330121").complete("-0s"))
        .see("122m", cron_job("report").succeeded("-0s"));
    says(
        &ends,
        "8h",
        &[
            "+2m5s first job-failed CronJob/report x1 [report]: Job report-29330001: Job has reached the specified backoff limit",
            "+1h2m5s reminder job-failed CronJob/report x2 [report]: Job report-29330061: Job has reached the specified backoff limit",
            "+2h2m resolved job-failed CronJob/report recovered after 2h",
        ],
    );
}

#[test]
fn a_run_by_hand_counts_for_its_cron_job() {
    let story = Script::new()
        .with(cron_job("report"))
        .see("2m", run("report-29330001").backoff_limit("-0s"))
        .see("10m", run("report-manual-x7z").complete("-0s"));
    says(
        &story,
        "8h",
        &[
            "+2m5s first job-failed CronJob/report x1 [report]: Job report-29330001: Job has reached the specified backoff limit",
            "+10m resolved job-failed CronJob/report recovered after 8m",
        ],
    );
}

/// Each verdict is final: nothing has to prove itself, however often the runs fail and succeed by turns.
#[test]
fn a_cron_job_that_fails_and_succeeds_by_turns_is_told_so_at_once_each_time() {
    let mut story = Script::new().with(cron_job("report"));
    for n in 0..3 {
        let at = |minutes: i64| format!("{}m", 10 + n * 20 + minutes);
        story = story
            .see(&at(0), run(&format!("report-a{n}")).backoff_limit("-0s"))
            .see(&at(10), run(&format!("report-b{n}")).complete("-0s"));
    }
    let said = story.once().run("1h");
    let times: Vec<&str> = said.iter().filter_map(|line| line.split(" job-failed").next()).collect();
    assert_eq!(
        times,
        [
            "+10m5s first",
            "+20m resolved",
            "+30m5s reopened",
            "+40m resolved",
            "+50m5s reopened",
            "+1h resolved"
        ],
        "{said:#?}"
    );
}

/// A run that began earlier and succeeds with a time before the failure proves nothing.
#[test]
fn a_success_from_before_the_failure_ends_nothing() {
    let story = Script::new()
        .with(cron_job("report"))
        .see("10m", run("report-b").backoff_limit("-0s"))
        .see("11m", run("report-a").complete("-2m"));
    let said = story.run("30m");
    assert!(said.len() == 1 && said[0].contains(" first "), "{said:#?}");
}

#[test]
fn failures_of_the_past_are_history_unless_nothing_made_them_good() {
    let old = Script::first_start().with(job("import").created("T-3d").backoff_limit("T-2d"));
    silent(&old, "1h");
    let good = Script::first_start()
        .with(cron_job("report").succeeded("T-1h"))
        .with(run("report-29330001").created("T-3h").backoff_limit("T-2h"));
    silent(&good, "1h");
    let bad = Script::first_start()
        .with(cron_job("report").succeeded("T-3h"))
        .with(run("report-29330001").created("T-3h").backoff_limit("T-2h"))
        .with(run("report-29330061").created("T-2h").backoff_limit("T-1h"));
    says(&bad, "1h", &["+10s standing 1: job-failed CronJob/report"]);
}

#[test]
fn a_failed_job_that_is_deleted_is_over_and_the_next_of_its_name_is_told() {
    let again = job("import").uid("second").created("T+20m");
    let begin = Script::new().with(job("import")).see("1m", job("import").backoff_limit("-0s"));
    let deleted = begin.clone().gone("10m", job("import"));
    says(
        &deleted,
        "3h",
        &[
            "+1m5s first job-failed Job/import x1 [import]: Job has reached the specified backoff limit",
            "+10m30s resolved job-failed Job/import objects_gone after 9m",
        ],
    );
    // Replaced while nobody looked.
    let replaced = begin
        .at("19m", Step::Gap)
        .see("20m", again.clone())
        .at("21m", Step::Relist)
        .see("25m", again.backoff_limit("-0s"));
    says(
        &replaced,
        "30m",
        &[
            "+1m5s first job-failed Job/import x1 [import]: Job has reached the specified backoff limit",
            "+21m30s resolved job-failed Job/import objects_gone after 20m",
            "+25m5s reopened job-failed Job/import x2 [import]: Job has reached the specified backoff limit",
        ],
    );
}

#[test]
fn a_rollout_that_hangs_is_told_by_itself_or_by_its_reason() {
    let alone = cluster()
        .see("1m", deployment("checkout").generation(2).available(0))
        .see("11m", deployment("checkout").generation(2).available(0).stuck("-0s"))
        .see("20m", deployment("checkout").generation(2));
    says(
        &alone,
        "1h",
        &[
            "+11m35s first rollout-stuck Deployment/checkout x1 [checkout]: ReplicaSet \"checkout-1\" has timed out progressing. It has no pods.",
            "+20m30s resolved rollout-stuck Deployment/checkout recovered after 9m",
        ],
    );
    let a = checkout("aaaaa").created("T+1m").scheduled("T+1m");
    let image = cluster()
        .see("1m", a.clone().waiting("ErrImagePull", "not found"))
        .see("11m", deployment("checkout").generation(2).available(0).stuck("-0s"));
    says(
        &image,
        "30m",
        &["+1m35s first image-pull Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: not found"],
    );
    let paused = cluster().see(
        "1m",
        deployment("checkout").paused().available(0).condition(
            "Progressing",
            "Unknown",
            "DeploymentPaused",
            "",
            "-0s",
        ),
    );
    silent(&paused, "1h");
    // The condition is about the generation before.
    let lag = cluster()
        .see("1m", deployment("checkout").generation(3).observed(2).available(0).stuck("-0s"))
        .see("1m20s", deployment("checkout").generation(3));
    silent(&lag, "1h");
}

const QUOTA: &str =
    "pods \"x\" is forbidden: exceeded quota: pods, requested: pods=1, used: pods=5, limited: pods=5";

#[test]
fn a_full_quota_is_told_after_a_minute() {
    let full = || deployment("checkout").available(0).replica_failure(QUOTA, "T+10s");
    let short = cluster().see("10s", full()).see("40s", deployment("checkout"));
    silent(&short, "1h");
    let long = cluster().see("10s", full()).see("5m", deployment("checkout"));
    says(
        &long,
        "1h",
        &[
            "+1m15s first failed-create Deployment/checkout x1 [checkout]: pods \"x\" is forbidden: exceeded quota: pods, requested: pods=1, used: ",
            "+5m30s resolved failed-create Deployment/checkout recovered after 4m50s",
        ],
    );
}

fn refused(n: i64) -> Event {
    event("StatefulSet/db", "FailedCreate", QUOTA).from("statefulset-controller").count(n, "T+10s")
}

#[test]
fn a_stateful_set_that_cannot_create_pods_is_told() {
    let begin = Script::new()
        .with(stateful_set("db"))
        .see("5s", stateful_set("db").available(0))
        .see("10s", refused(1));
    let made = || {
        event("StatefulSet/db", "SuccessfulCreate", "create Pod db-0 in StatefulSet db successful").normal()
    };
    silent(&begin.clone().see("20s", refused(5)).see("40s", made()).see("50s", stateful_set("db")), "2h");
    let long =
        begin.see("1m", refused(9)).see("3m", refused(12)).see("5m", made()).see("5m10s", stateful_set("db"));
    says(
        &long,
        "2h",
        &[
            "+1m15s first failed-create StatefulSet/db x9 [db]: pods \"x\" is forbidden: exceeded quota: pods, requested: pods=1, used: ",
            "+5m30s resolved failed-create StatefulSet/db recovered after 4m50s",
        ],
    );
}

#[test]
fn a_daemon_set_that_cannot_create_pods_is_told_and_over_when_it_is_well() {
    let event = |n: i64| {
        event("DaemonSet/agent", "FailedCreate", QUOTA).from("daemonset-controller").count(n, "T+10s")
    };
    let story = Script::new()
        .with(daemon_set("agent"))
        .see("5s", daemon_set("agent").available(0))
        .see("10s", event(1))
        .see("1m", event(9))
        .see("10m", daemon_set("agent"));
    says(
        &story,
        "2h",
        &[
            "+1m15s first failed-create DaemonSet/agent x9 [agent]: pods \"x\" is forbidden: exceeded quota: pods, requested: pods=1, used: ",
            "+10m40s resolved failed-create DaemonSet/agent recovered after 10m",
        ],
    );
}

#[test]
fn a_cron_job_that_cannot_create_jobs_is_told() {
    let story = Script::new()
        .with(cron_job("report"))
        .see(
            "10s",
            event("CronJob/report", "FailedCreate", "Error creating job: quota").from("cronjob-controller"),
        )
        .see(
            "70s",
            event("CronJob/report", "FailedCreate", "Error creating job: quota")
                .from("cronjob-controller")
                .count(2, "T+10s"),
        )
        .see("5m", event("CronJob/report", "SuccessfulCreate", "Created job report-29330001").normal());
    says(&story, "2h", &["+1m15s first failed-create CronJob/report x2 [report]: Error creating job: quota"]);
}

#[test]
fn a_rolling_update_and_scaling_are_no_news() {
    let old = checkout("aaaaa");
    let new = pod("checkout-7c5ddbdf54-bbbbb")
        .owned_by_rs("checkout-7c5ddbdf54")
        .node("worker-1")
        .created("T+10s")
        .scheduled("T+10s");
    let story = cluster()
        .with(old.clone().running("T-1h"))
        .see("10s", deployment("checkout").generation(2).observed(1))
        .see("10s", new.clone())
        .see("12s", new.clone().running("-0s").unready())
        .see("30s", new.clone().running("T+12s"))
        .see("30s", deployment("checkout").generation(2).present(2))
        .see("31s", old.clone().running("T-1h").deleting("-0s"))
        .see("60s", old.clone().terminated(143, "Error", "T-1h", "-0s").deleting("-30s"))
        .gone("61s", old)
        .see("61s", deployment("checkout").generation(2))
        .see("5m", deployment("checkout").generation(3).replicas(3).updated(1).available(1).present(1))
        .see("6m", deployment("checkout").generation(3).replicas(3))
        .see("7m", deployment("checkout").generation(4).replicas(0));
    silent(&story, "1h");
}
