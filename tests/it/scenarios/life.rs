//! Days in the life of a Deployment: what people do about a problem, and what follows from what.

use kubeherald::testkit::builders::{Event, Pod, deployment, event, job, namespace, node, pod, replica_set};

use super::script::{POD, RS, Script, checkout, cluster, fresh, looping, says, silent};

const NEW_RS: &str = "checkout-7c5ddbdf54";

/// A pod of the new revision.
fn newer(name: &str) -> Pod {
    pod(&format!("{NEW_RS}-{name}")).owned_by_rs(NEW_RS).node("worker-1").created("T+10s").scheduled("T+10s")
}

#[test]
fn a_bad_image_that_is_rolled_back() {
    let story = cluster()
        .with(checkout("aaaaa").running("T-1h"))
        .see("10s", deployment("checkout").generation(2).updated(0))
        .see("10s", replica_set(NEW_RS))
        .see("10s", newer("bbbbb"))
        .see("12s", newer("bbbbb").waiting("ErrImagePull", "not found"))
        .see("12s", deployment("checkout").generation(2).present(2))
        .see("2m12s", deployment("checkout").generation(2).present(2).stuck("-0s"))
        .see("5m", deployment("checkout").generation(3).present(2).updated(1))
        .see("5m1s", newer("bbbbb").waiting("ImagePullBackOff", "not found").deleting("-0s"))
        .see(
            "5m2s",
            newer("bbbbb")
                .terminated(137, "ContainerStatusUnknown", "T+5m", "T+5m")
                .phase("Failed")
                .deleting("-1s"),
        )
        .gone("5m3s", newer("bbbbb"))
        .see("5m3s", deployment("checkout").generation(3));
    says(
        &story,
        "1h",
        &[
            "+47s first image-pull Deployment/checkout/app x1 [checkout-7c5ddbdf54-bbbbb]: not found",
            "+5m33s resolved image-pull Deployment/checkout/app objects_gone after 4m51s",
        ],
    );
}

#[test]
fn a_rollout_whose_probe_never_passes_is_one_story() {
    let mut story = cluster().see("10s", fresh()).see("12s", fresh().running("-0s").unready());
    for n in 1..60_i64 {
        let text = "Readiness probe failed: connection refused";
        story = story.see(
            &format!("{}s", 10 + n * 10),
            event(POD, "Unhealthy", text).container("app").count(n, "T+20s"),
        );
    }
    let story = story
        .see("15s", deployment("checkout").available(0))
        .see("2m12s", deployment("checkout").available(0).stuck("-0s"));
    says(
        &story,
        "10m",
        &[
            "+2m47s first probe-failing Deployment/checkout/app x15 [checkout-688988776f-aaaaa] (holds 1): Readiness probe failed: connection refused",
        ],
    );
}

#[test]
fn a_namespace_that_is_deleted_takes_its_problems_along() {
    let a = checkout("aaaaa");
    let story = cluster()
        .with(namespace("shop"))
        .with(a.clone().running("T-1h"))
        .see("10s", looping(a.clone(), 3))
        .see("10s", deployment("checkout").available(0))
        .see("5m", namespace("shop").deleting("-0s"))
        .see("5m", looping(a.clone(), 6).deleting("-0s"))
        .gone("5m", deployment("checkout"))
        .gone("5m", replica_set(RS))
        .gone("5m30s", a)
        .gone("5m31s", namespace("shop"));
    says(
        &story,
        "1h",
        &[
            "+15s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+5m30s resolved crash-loop Deployment/checkout/app objects_gone after 5m32s",
        ],
    );
}

#[test]
fn one_bad_pod_of_many_that_is_scaled_away() {
    let (a, b) = (checkout("aaaaa"), checkout("bbbbb"));
    let story = Script::new()
        .with(node("worker-1"))
        .with(replica_set(RS))
        .with(deployment("checkout").replicas(2))
        .with(a.clone().running("T-1h"))
        .with(b.clone().running("T-1h"))
        .see("10s", looping(b.clone(), 3))
        .see("10s", deployment("checkout").replicas(2).available(1))
        .see("3m", deployment("checkout").replicas(1).present(2))
        .see("3m", looping(b.clone(), 4).deleting("-0s"))
        .gone("3m1s", b)
        .see("3m1s", deployment("checkout"));
    says(
        &story,
        "1h",
        &[
            "+15s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-bbbbb]: the container exited with code 3 after running for 2 s",
            "+8m1s resolved crash-loop Deployment/checkout/app objects_gone after 3m3s",
        ],
    );
}

#[test]
fn an_autoscaler_at_work_is_no_news() {
    let mut story = cluster().with(checkout("aaaaa").running("T-1h"));
    for n in 1..8_u32 {
        let name = format!("x{n}");
        let at = n * 60;
        let born = format!("T+{at}s");
        let extra = checkout(&name).created(&born).scheduled(&born);
        story = story
            .see(&format!("{at}s"), deployment("checkout").replicas(2).available(1))
            .see(&format!("{at}s"), extra.clone())
            .see(&format!("{}s", at + 8), extra.clone().running("-0s").unready())
            .see(&format!("{}s", at + 20), extra.clone().running("-12s"))
            .see(&format!("{}s", at + 20), deployment("checkout").replicas(2))
            .see(&format!("{}s", at + 40), deployment("checkout"))
            .see(&format!("{}s", at + 40), extra.clone().running("-32s").deleting("-0s"))
            .gone(&format!("{}s", at + 50), extra);
    }
    silent(&story, "1h");
}

fn unhealthy(pod: &str, n: i64, first: &str) -> Event {
    event(&format!("Pod/{pod}"), "Unhealthy", "Readiness probe failed: connection refused")
        .container("app")
        .count(n, first)
}

/// Forty pods, one after the other, each slow to start.
#[test]
fn a_long_rolling_update_of_slow_starters_is_no_news() {
    let mut story = Script::new()
        .with(node("worker-1"))
        .with(deployment("checkout").replicas(40))
        .with(replica_set(NEW_RS));
    for n in 0..40_u32 {
        let name = format!("{NEW_RS}-{n:05}");
        let at = 10 + n * 100;
        let born = format!("T+{at}s");
        let p = pod(&name).owned_by_rs(NEW_RS).node("worker-1").created(&born).scheduled(&born);
        story = story
            .see(&format!("{at}s"), p.clone())
            .see(&format!("{}s", at + 2), p.clone().running("-0s").unready());
        for i in 1..9_u32 {
            story = story.see(&format!("{}s", at + i * 10), unhealthy(&name, i64::from(i), &born));
        }
        story = story.see(&format!("{}s", at + 92), p.running("-90s"));
    }
    silent(&story.once(), "1h");
}

#[test]
fn a_pod_that_loops_and_is_evicted_then_looks_well_elsewhere() {
    let (a, b) = (checkout("aaaaa"), checkout("bbbbb").created("T+5m").scheduled("T+5m"));
    let why = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .see("10s", looping(a.clone(), 3))
        .see("10s", deployment("checkout").available(0))
        .see("5m", event(POD, "Evicted", why))
        .see("5m1s", looping(a, 5).failed("Evicted", why))
        .see("5m2s", b.clone())
        .see("5m5s", b.running("-0s"))
        .see("5m5s", deployment("checkout"));
    says(
        &story,
        "1h",
        &[
            "+15s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+5m20s first evicted Deployment/checkout x1 [checkout-688988776f-aaaaa]: Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\".",
            "+10m1s resolved crash-loop Deployment/checkout/app recovered after 5m3s",
            "+20m resolved evicted Deployment/checkout quiet after 0s",
        ],
    );
}

/// Nothing is said of a pod on its way out, not even that its problem is over: only the live state,
/// asked once more before the first message, shows that it is.
#[test]
fn a_pod_that_ended_on_its_way_out_is_not_told() {
    let pulling =
        || fresh().waiting("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: not found");
    let begin = cluster().see("10s", pulling());
    says(
        &begin,
        "2m",
        &["+45s first image-pull Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: not found"],
    );
    // A finalizer keeps it for longer than the rule waits.
    let ended = || {
        pulling()
            .deleting("T+20s")
            .terminated(137, "ContainerStatusUnknown", "T+20s", "T+22s")
            .phase("Failed")
    };
    silent(
        &begin.clone().see("20s", pulling().deleting("T+20s")).see("22s", ended()).gone("5m", ended()),
        "10m",
    );
}

/// That a Job's pods could not be created is known from Events; that the Job has completed since, from
/// its status, of which no signal speaks.
#[test]
fn a_job_that_got_its_pods_after_all_is_not_told() {
    let begin = cluster().see("5s", job("report")).see(
        "10s",
        event(
            "Job/report",
            "FailedCreate",
            "Error creating: pods \"report-\" is forbidden: exceeded quota: small",
        ),
    );
    assert_eq!(begin.run("10m").len(), 1, "{:#?}", begin.run("10m"));
    silent(&begin.see("12s", job("report").complete("T+12s")), "10m");
}
