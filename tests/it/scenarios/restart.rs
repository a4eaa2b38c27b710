//! kubeherald stops and comes back in the middle of everything; kinds that cannot be read.

use kubeherald::testkit::builders::{Pod, cron_job, deployment, event, job, node, pod};
use kubeherald::watch::Kind;

use super::script::{POD, Script, Step, checkout, cluster, fresh, looping, says, silent};

const SECRET: &str = "MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found";

/// Down for a minute, twice.
fn restarts(story: Script, at: [&str; 4]) -> Script {
    story.at(at[0], Step::Down).at(at[1], Step::Up).at(at[2], Step::Down).at(at[3], Step::Up)
}

#[test]
fn a_crash_loop_is_told_once_and_its_end_is_told() {
    let a = checkout("aaaaa");
    let begin = cluster().with(a.clone().running("T-1h")).see("30s", looping(a.clone(), 2));
    let goes_on = restarts(begin.clone(), ["2m", "3m", "4m", "5m"]);
    says(
        &goes_on,
        "30m",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
    );
    let recovered = begin
        .at("2m", Step::Down)
        .see("3m", a.last(3, "Error", "-12s", "-10s").running("-0s").restarts(3))
        .at("4m", Step::Up);
    says(
        &recovered,
        "30m",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+8m2s resolved crash-loop Deployment/checkout/app recovered after 2m44s",
        ],
    );
}

#[test]
fn what_began_or_ended_meanwhile_is_told() {
    let (a, b) = (checkout("aaaaa"), checkout("bbbbb"));
    let began = cluster()
        .with(a.clone().running("T-1h"))
        .at("1m", Step::Down)
        .see("2m", looping(a.clone(), 4))
        .at("10m", Step::Up);
    says(
        &began,
        "30m",
        &[
            "+10m5s first crash-loop Deployment/checkout/app x4 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
    );
    let gone = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", looping(a.clone(), 2))
        .at("2m", Step::Down)
        .gone("3m", a)
        .see("3m", b.created("T+3m").running("T+3m"))
        .at("10m", Step::Up);
    says(
        &gone,
        "30m",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+15m resolved crash-loop Deployment/checkout/app objects_gone after 9m42s",
        ],
    );
}

#[test]
fn a_lost_node_is_told_once_and_its_end_is_told() {
    let story = cluster()
        .with(node("worker-2"))
        .with(checkout("aaaaa").running("T-1h"))
        .see("60s", node("worker-1").lost("T+60s"))
        .at("2m", Step::Down)
        .at("3m", Step::Up)
        .see(
            "6m",
            pod("checkout-688988776f-bbbbb")
                .owned_by_rs("checkout-688988776f")
                .created("T+6m")
                .unschedulable("0/2 nodes are available", "T+6m"),
        )
        .at("8m", Step::Down)
        .see("9m", node("worker-1").ready("-0s"))
        .see(
            "9m",
            pod("checkout-688988776f-bbbbb")
                .owned_by_rs("checkout-688988776f")
                .created("T+6m")
                .node("worker-1")
                .scheduled("T+9m")
                .running("T+9m"),
        )
        .at("10m", Step::Up);
    says(
        &story,
        "30m",
        &[
            "+1m20s first node-not-ready Node/worker-1 x1 [worker-1]: Kubelet stopped posting node status.",
            "+11m resolved node-not-ready Node/worker-1 recovered after 8m",
        ],
    );
}

#[test]
fn a_mount_that_fails_is_told_once_and_its_end_is_told() {
    let begin = cluster()
        .see("10s", fresh())
        .see("11s", event(POD, "FailedMount", SECRET))
        .see("50s", event(POD, "FailedMount", SECRET).count(6, "T+11s"));
    says(
        &restarts(begin.clone(), ["2m", "3m", "40m", "41m"]),
        "30m",
        &[
            "+1m1s first failed-mount Deployment/checkout x6 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
        ],
    );
    let ends = begin.at("2m", Step::Down).see("3m", fresh().running("-0s")).at("4m", Step::Up);
    says(
        &ends,
        "30m",
        &[
            "+1m1s first failed-mount Deployment/checkout x6 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
            "+4m resolved failed-mount Deployment/checkout recovered after 2m49s",
        ],
    );
    // Stopped before it was due.
    let early = cluster()
        .see("10s", fresh())
        .see("11s", event(POD, "FailedMount", SECRET))
        .at("20s", Step::Down)
        .at("2m", Step::Up);
    says(
        &early,
        "30m",
        &[
            "+2m5s first failed-mount Deployment/checkout x1 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
        ],
    );
}

#[test]
fn a_cron_jobs_failure_is_told_once_though_its_job_is_gone() {
    let run = |n: u8| job(&format!("report-2933000{n}")).owned_by("CronJob", "report").created("T+1m");
    let begin = Script::new()
        .with(cron_job("report").succeeded("T-1h"))
        .see("2m", run(1).backoff_limit("-0s"))
        .at("3m", Step::Down)
        .gone("4m", run(1))
        .at("5m", Step::Up);
    says(
        &begin,
        "5h",
        &[
            "+2m5s first job-failed CronJob/report x1 [report]: Job report-29330001: Job has reached the specified backoff limit",
            "+1h2m5s reminder job-failed CronJob/report x1 [report]: Job report-29330001: Job has reached the specified backoff limit",
            "+3h2m5s reminder job-failed CronJob/report x1 [report]: Job report-29330001: Job has reached the specified backoff limit",
        ],
    );
    let ends = begin
        .at("60m", Step::Down)
        .see("61m", run(2).complete("-0s"))
        .see("61m", cron_job("report").succeeded("-0s"))
        .at("62m", Step::Up);
    says(
        &ends,
        "5h",
        &[
            "+2m5s first job-failed CronJob/report x1 [report]: Job report-29330001: Job has reached the specified backoff limit",
            "+1h2m resolved job-failed CronJob/report recovered after 59m",
        ],
    );
}

#[test]
fn a_job_that_failed_while_nobody_looked_is_told() {
    let story = Script::new()
        .with(job("import"))
        .at("1m", Step::Down)
        .see("2m", job("import").backoff_limit("-0s"))
        .at("3m", Step::Up)
        .at("5m", Step::Down)
        .at("6m", Step::Up);
    says(
        &story,
        "30m",
        &["+3m5s first job-failed Job/import x1 [import]: Job has reached the specified backoff limit"],
    );
}

#[test]
fn the_first_start_says_what_stands_in_one_message() {
    let mut story = Script::first_start().with(node("worker-1"));
    for n in 0..30 {
        let rs = format!("app{n:02}-688988776f");
        story = story
            .with(deployment(&format!("app{n:02}")).available(0))
            .with(looping(pod(&format!("{rs}-aaaaa")).owned_by_rs(&rs).node("worker-1"), 9));
    }
    let said = story.run("50m");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("+10s standing 30: crash-loop Deployment/app00, "), "{said:#?}");
}

/// That a container waits has no time of its own; that its pod was bound an hour ago has.
#[test]
fn what_waits_since_long_ago_stands_at_the_first_start() {
    let waits = |pod: Pod| pod.waiting("CreateContainerConfigError", "secret \"x\" not found");
    let old = checkout("aaaaa").created("T-1h").scheduled("T-1h");
    let story = Script::first_start().with(node("worker-1")).with(deployment("checkout").available(0));
    let says_one = |story: Script, line: &str| {
        let said = story.once().run("50s");
        assert!(said.len() == 1 && said[0].starts_with(line), "{said:#?}");
    };
    says_one(story.clone().with(waits(old)), "+10s standing 1: container-config Deployment/checkout");
    // One that has only just come is given its time.
    let young = checkout("aaaaa").created("T+0s").scheduled("T+0s");
    says_one(story.with(waits(young)), "+35s first container-config Deployment/checkout");
}

/// A start with nothing wrong, and nothing told.
#[test]
fn restarts_of_a_healthy_cluster_are_silent() {
    let story = Script::first_start()
        .with(node("worker-1"))
        .with(deployment("checkout"))
        .with(checkout("aaaaa").last(1, "Error", "T-2d", "T-1d").running("T-1d").restarts(1));
    silent(&restarts(story, ["2m", "3m", "40m", "41m"]), "2h");
}

#[test]
fn what_cannot_be_read_is_not_called_over() {
    let a = checkout("aaaaa");
    let begin = cluster().with(a.clone().running("T-1h")).see("30s", looping(a.clone(), 2)).once();
    let back = begin.clone().at("2m", Step::Blind(Kind::Pod)).at("40m", Step::List(Kind::Pod));
    says(
        &back,
        "15m",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
    );
    let recovered = begin
        .clone()
        .at("2m", Step::Gap)
        .at("2m", Step::Blind(Kind::Pod))
        .see("10m", a.clone().last(3, "Error", "-12s", "-10s").running("-0s").restarts(3))
        .at("40m", Step::List(Kind::Pod));
    says(
        &recovered,
        "15m",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+45m resolved crash-loop Deployment/checkout/app recovered after 39m42s",
        ],
    );
    let never = begin.at("2m", Step::Blind(Kind::Pod));
    says(
        &never,
        "5h",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+1h5m30s expired crash-loop Deployment/checkout/app state_unknown after 12s",
        ],
    );
}

#[test]
fn a_restart_that_may_not_read_any_more_says_so_in_the_end() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", looping(a, 2))
        .once()
        .at("2m", Step::Down)
        .at("3m", Step::Up)
        .at("3m", Step::Blind(Kind::Pod))
        .at("3m", Step::Blind(Kind::Deployment));
    says(
        &story,
        "5h",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+1h8m expired crash-loop Deployment/checkout/app state_unknown after 2m42s",
        ],
    );
}

/// It had happened and was still gathering when kubeherald stopped: nothing of it was stored.
#[test]
fn an_eviction_seconds_before_the_stop_is_told_after_it() {
    let a = checkout("aaaaa");
    let why = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("60s", event(POD, "Evicted", why))
        .see("60s", a.terminated(137, "Error", "T-1h", "-0s").failed("Evicted", why))
        .at("62s", Step::Down)
        .at("90s", Step::Up);
    says(
        &story,
        "10m",
        &["+1m35s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: \
           Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\"."],
    );
}

/// The watch of Events brought nothing for minutes, so its mark is older than what was told.
#[test]
fn an_eviction_that_was_told_is_not_told_again_after_a_restart() {
    let a = checkout("aaaaa");
    let why = "The node was low on resource: memory. ";
    let failed = a.clone().terminated(137, "Error", "T-1h", "T+60s").failed("Evicted", why);
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .once()
        .see("60s", event(POD, "Evicted", why))
        .see("60s", failed)
        .at("61s", Step::Gap);
    let first = "+1m20s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: \
                 The node was low on resource: memory.";
    let resolved = "+16m resolved evicted Deployment/checkout quiet after 0s";
    // Open, and over; its pod still there, and gone, so that only the Event is left.
    for (down, gone, said) in [
        ("5m", None, &[first, resolved][..]),
        ("5m", Some("5m10s"), &[first, resolved]),
        ("40m", None, &[first, resolved]),
        ("40m", Some("40m10s"), &[first, resolved]),
    ] {
        let mut story = story.clone().at(down, Step::DownUnheard("90s"));
        if let Some(gone) = gone {
            story = story.gone(gone, a.clone());
        }
        let up = if down == "5m" { "6m" } else { "41m" };
        says(&story.at(up, Step::Up), "30m", said);
    }
    // That of another pod is news.
    let b = checkout("bbbbb");
    let failed = b.clone().terminated(137, "Error", "T-1h", "T+40m10s").failed("Evicted", why);
    let again = story
        .with(b.running("T-1h"))
        .at("40m", Step::DownUnheard("90s"))
        .see("40m10s", event("Pod/checkout-688988776f-bbbbb", "Evicted", why))
        .see("40m10s", failed)
        .at("41m", Step::Up);
    let said = again.run("10m");
    assert!(said.iter().any(|line| line.starts_with("+41m5s reopened evicted")), "{said:#?}");
}
