//! Probes: what has an effect is told, what is a part of starting and stopping is not.

use kubeherald::testkit::builders::{Event, Pod, deployment, event, node};

use super::script::{POD, Script, checkout, cluster, fresh, looping, says, silent};

const READINESS: &str = "Readiness probe failed: HTTP probe failed with statuscode: 503";

fn unhealthy(text: &str, n: i64, first: &str) -> Event {
    event(POD, "Unhealthy", text).container("app").count(n, first)
}

/// A readiness probe every ten seconds that fails.
fn fails(mut story: Script, from: u32, to: u32) -> Script {
    for (n, at) in (from..to).step_by(10).enumerate() {
        let n = i64::try_from(n).unwrap() + 1;
        story = story
            .see(&format!("{at}s"), unhealthy(READINESS, n, &format!("T+{from}s")).uid(&format!("e{from}")));
    }
    story
}

fn unready(pod: Pod) -> Pod {
    pod.running("T+12s").unready()
}

#[test]
fn a_slow_start_is_no_news() {
    let story = fails(cluster().see("10s", fresh()).see("12s", unready(fresh())), 20, 100);
    silent(&story.see("102s", fresh().running("T+12s")), "1h");
}

#[test]
fn short_blips_under_load_are_no_news_however_many() {
    let a = checkout("aaaaa");
    let mut story = cluster().with(a.clone().running("T-1h"));
    for n in 0..12_u32 {
        let from = 60 + n * 120;
        story = fails(story, from, from + 40)
            .see(&format!("{}s", from + 20), a.clone().running("T-1h").unready())
            .see(&format!("{}s", from + 45), a.clone().running("T-1h"));
    }
    silent(&story, "1h");
}

#[test]
fn a_container_that_stays_unready_is_told_and_over_when_it_is_ready() {
    let begin = fails(cluster().see("10s", fresh()).see("12s", unready(fresh())), 20, 370);
    let story = begin.see("372s", fresh().running("T+12s"));
    says(
        &story,
        "1h",
        &[
            "+5m25s first probe-failing Deployment/checkout/app x31 [checkout-688988776f-aaaaa]: Readiness probe failed: HTTP probe failed with statuscode: 503",
            "+11m12s resolved probe-failing Deployment/checkout/app recovered after 5m52s",
        ],
    );
}

/// The Deployment gives up before the rule's `for` is over: that is no slow start any more.
#[test]
fn a_rollout_that_hangs_on_a_probe_is_told_when_it_hangs() {
    let story = fails(cluster().see("10s", fresh()).see("12s", unready(fresh())), 20, 200)
        .see("70s", deployment("checkout").generation(2).available(0).stuck("-0s"));
    says(
        &story,
        "1m",
        &[
            "+1m45s first probe-failing Deployment/checkout/app x9 [checkout-688988776f-aaaaa] (holds 1): Readiness probe failed: HTTP probe failed with statuscode: 503",
        ],
    );
    // Too few failures for the rule, which would have waited for more for ever.
    let twice = fails(cluster().see("10s", fresh()).see("12s", unready(fresh())), 20, 40)
        .see("70s", deployment("checkout").generation(2).available(0).stuck("-0s"));
    says(
        &twice,
        "3m",
        &[
            "+1m45s first probe-failing Deployment/checkout/app x2 [checkout-688988776f-aaaaa] (holds 1): Readiness probe failed: HTTP probe failed with statuscode: 503",
        ],
    );
}

/// What the summary of a first start has named is not told again when the probe's Events come.
#[test]
fn a_rollout_that_hung_before_the_first_start_is_told_once() {
    let begin = Script::first_start()
        .with(node("worker-1"))
        .with(deployment("checkout").generation(2).available(0).stuck("T-1h"))
        .with(checkout("aaaaa").running("T-1h").unready());
    let said = fails(begin, 60, 900).once().run("1m");
    assert!(
        said.len() == 1 && said[0].starts_with("+10s standing 1: rollout-stuck Deployment/checkout"),
        "{said:#?}"
    );
}

/// The recorder writes 25 Warnings and then one every five minutes.
#[test]
fn silence_of_the_recorder_is_no_recovery() {
    let story = fails(cluster().see("10s", fresh()).see("12s", unready(fresh())), 20, 270)
        .see("9m30s", unhealthy(READINESS, 60, "T+20s").uid("e20"));
    says(
        &story,
        "50m",
        &[
            "+5m25s first probe-failing Deployment/checkout/app x25 [checkout-688988776f-aaaaa]: Readiness probe failed: HTTP probe failed with statuscode: 503",
        ],
    );
}

#[test]
fn a_startup_probe_that_fails_until_it_passes_is_no_news() {
    let mut story = cluster().see("10s", fresh()).see("12s", unready(fresh()));
    for n in 0..25_u32 {
        story = story.see(
            &format!("{}s", 20 + n * 10),
            unhealthy("Startup probe failed: connection refused", i64::from(n) + 1, "T+20s"),
        );
    }
    silent(&story.see("280s", fresh().running("T+12s")), "1h");
}

fn kills(probe: &str, pod: &Pod) -> Script {
    let mut story = cluster().with(pod.clone().running("T-1h"));
    for n in 1..=3_u32 {
        let (at, i) = (n * 60, i64::from(n));
        let probe_text = format!("{probe} probe failed: HTTP probe failed with statuscode: 500");
        let killing = format!("Container app failed {} probe, will be restarted", probe.to_lowercase());
        story = story
            .see(&format!("{}s", at - 20), unhealthy(&probe_text, i * 3 - 2, "T+40s").uid("e1"))
            .see(&format!("{at}s"), unhealthy(&probe_text, i * 3, "T+40s").uid("e1"))
            .see(
                &format!("{at}s"),
                event(POD, "Killing", &killing).normal().container("app").uid("e2").count(i, "T+60s"),
            )
            .see(
                &format!("{}s", at + 1),
                pod.clone().last(137, "Error", "-60s", "-0s").running("-0s").unready().restarts(i),
            )
            .see(
                &format!("{}s", at + 15),
                pod.clone().last(137, "Error", "-75s", "-15s").running("-15s").restarts(i),
            );
    }
    story
}

#[test]
fn probes_that_kill_a_container_three_times_are_told() {
    for probe in ["Liveness", "Startup"] {
        let a = checkout("aaaaa");
        let story = kills(probe, &a);
        says(
            &story,
            "30m",
            &[
                &format!(
                    "+3m5s first probe-restarts Deployment/checkout/app x12 [checkout-688988776f-aaaaa]: {probe} probe failed: HTTP probe failed with statuscode: 500"
                ),
                "+9m resolved probe-restarts Deployment/checkout/app recovered after 3m",
            ],
        );
    }
}

#[test]
fn kills_that_end_in_a_crash_loop_are_one_story() {
    let a = checkout("aaaaa");
    let story = kills("Liveness", &a).see("4m", looping(a, 4));
    says(
        &story,
        "30m",
        &[
            "+3m5s first probe-restarts Deployment/checkout/app x12 [checkout-688988776f-aaaaa]: Liveness probe failed: HTTP probe failed with statuscode: 500",
        ],
    );
}

#[test]
fn a_single_kill_is_no_news() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see(
            "60s",
            event(POD, "Killing", "Container app failed liveness probe, will be restarted")
                .normal()
                .container("app"),
        )
        .see("61s", a.last(137, "Error", "T-1h", "-0s").running("-0s").restarts(1));
    silent(&story, "1h");
}

#[test]
fn a_pod_on_its_way_out_may_be_unready() {
    let a = checkout("aaaaa");
    let begin = cluster()
        .with(a.clone().running("T-1h"))
        .see("10s", a.clone().running("T-1h").deleting("T+11m").grace(650))
        .see("15s", a.clone().running("T-1h").unready().deleting("T+11m").grace(650));
    silent(&fails(begin, 20, 600).gone("11m", a), "1h");
}

/// Ten different texts in ten minutes, and the recorder folds them.
#[test]
fn folded_events_mean_what_they_meant() {
    let folded = |n: i64| {
        unhealthy(&format!("(combined from similar events): Readiness probe failed: took {n} ms"), n, "T+20s")
            .uid("folded")
    };
    let mut story = cluster().see("10s", fresh()).see("12s", unready(fresh()));
    for n in 0..36_i64 {
        story = story.see(&format!("{}s", 20 + n * 10), folded(n + 1));
    }
    says(
        &story,
        "5m",
        &[
            "+5m25s first probe-failing Deployment/checkout/app x31 [checkout-688988776f-aaaaa]: Readiness probe failed: took 31 ms",
        ],
    );
}
