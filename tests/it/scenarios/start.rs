//! Pods that do not get to run: images, configuration, volumes, sandboxes.

use kubeherald::testkit::builders::{Event, Pod, event};

use super::script::{POD, Script, checkout, cluster, fresh, says, silent};

fn pull_fails(script: Script, from: u32, times: u32) -> Script {
    let mut script = script;
    for n in 0..times {
        let at = from + n * 20;
        let error = "rpc error: registry.example.com/app:1: not found";
        script = script
            .see(&format!("{at}s"), fresh().waiting("ErrImagePull", error))
            .see(
                &format!("{at}s"),
                event(POD, "Failed", &format!("Failed to pull image \"x\": {error}")).container("app"),
            )
            .see(&format!("{at}s"), event(POD, "Failed", "Error: ErrImagePull").container("app").uid("e2"))
            .see(
                &format!("{}s", at + 10),
                fresh().waiting(
                    "ImagePullBackOff",
                    &format!("Back-off pulling image \"x\": ErrImagePull: {error}"),
                ),
            )
            .see(
                &format!("{}s", at + 10),
                event(POD, "BackOff", "Back-off pulling image \"x\"").normal().container("app"),
            )
            .see(
                &format!("{}s", at + 10),
                event(POD, "Failed", "Error: ImagePullBackOff").container("app").uid("e4"),
            );
    }
    script
}

#[test]
fn pulling_and_backing_off_by_turns_is_one_problem() {
    let story = pull_fails(cluster().see("10s", fresh()), 12, 20);
    says(
        &story,
        "30m",
        &[
            "+47s first image-pull Deployment/checkout/app x2 [checkout-688988776f-aaaaa]: rpc error: registry.example.com/app:1: not found",
        ],
    );
}

#[test]
fn a_pull_that_succeeds_the_second_time_is_no_news() {
    let story = pull_fails(cluster().see("10s", fresh()), 12, 1)
        .see("32s", fresh().waiting("ContainerCreating", ""))
        .see("35s", fresh().running("-0s"));
    silent(&story, "30m");
}

#[test]
fn other_words_for_an_image_that_cannot_be_had() {
    for (reason, text) in [
        ("InvalidImageName", "Failed to apply default image tag \"::\": couldn't parse image reference"),
        ("ErrImageNeverPull", "Container image \"x\" is not present with pull policy of Never"),
        ("RegistryUnavailable", "connection refused"),
        ("SignatureValidationFailed", "no signature"),
        ("ImageInspectError", "cannot inspect"),
    ] {
        let story = cluster().see("10s", fresh()).see("12s", fresh().waiting(reason, text));
        let text: String = text.chars().take(70).collect();
        says(
            &story,
            "10m",
            &[&format!(
                "+47s first image-pull Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: {text}"
            )],
        );
    }
}

#[test]
fn two_containers_with_one_missing_image_are_one_message() {
    let both = |reason: &str| {
        fresh().container("app").waiting(reason, "not found").container("worker").waiting(reason, "not found")
    };
    let story = cluster()
        .see("10s", fresh().container("app").container("worker"))
        .see("12s", both("ErrImagePull"))
        .see("22s", both("ImagePullBackOff"))
        .see("5m", fresh().container("app").running("-0s").container("worker").running("-0s"));
    says(
        &story,
        "10m",
        &[
            "+47s first image-pull Deployment/checkout x1 [checkout-688988776f-aaaaa]: not found",
            "+5m30s resolved image-pull Deployment/checkout recovered after 4m48s",
        ],
    );
}

#[test]
fn a_big_image_takes_its_time() {
    let pulling = |text: &str| event(POD, "Pulling", text).normal().container("app");
    let story = cluster()
        .see("10s", fresh())
        .see("11s", pulling("Pulling image \"x\""))
        .see("12m", fresh().running("-0s"));
    silent(&story, "10m");
}

#[test]
fn an_image_that_is_pulled_for_ever_is_told_in_the_end() {
    let mut story = cluster().see("10s", fresh());
    for n in 0..10_u32 {
        let begun = event(POD, "Pulling", "Pulling image \"x\"")
            .normal()
            .container("app")
            .count(i64::from(n) + 1, "T+11s");
        story = story.see(&format!("{}m", 1 + n * 6), begun);
    }
    says(
        &story,
        "1m",
        &[
            "+30m15s first container-stuck Deployment/checkout x1 [checkout-688988776f-aaaaa]: Pulling image \"x\"",
        ],
    );
}

#[test]
fn a_long_migration_is_at_work() {
    let app = |pod: Pod| pod.init("migrate").running("-0s").container("app").waiting("PodInitializing", "");
    let story = cluster()
        .see("10s", fresh().init("migrate").container("app"))
        .see("12s", app(fresh()))
        .see("30m", fresh().init("migrate").terminated(0, "Completed", "-30m", "-0s").container("app"))
        .see(
            "30m5s",
            fresh().init("migrate").terminated(0, "Completed", "-30m", "-5s").container("app").running("-0s"),
        );
    silent(&story, "30m");
}

#[test]
fn a_sandbox_that_fails_is_told_with_its_text() {
    let mut story = cluster().see("10s", fresh());
    for n in 0..20_i64 {
        let text =
            format!("Failed to create pod sandbox: plugin type=\"calico\" failed (add): try {}", n % 2);
        story = story.see(
            &format!("{}s", 15 + n * 15),
            event(POD, "FailedCreatePodSandBox", &text).count(n + 1, "T+15s"),
        );
    }
    let story = story.see("7m", fresh().running("-0s"));
    says(
        &story,
        "10m",
        &[
            "+2m20s first sandbox-failed Deployment/checkout x9 [checkout-688988776f-aaaaa]: Failed to create pod sandbox: plugin type=\"calico\" failed (add): try 0",
            "+7m30s resolved sandbox-failed Deployment/checkout recovered after 6m45s",
        ],
    );
}

#[test]
fn a_container_that_never_comes_is_told_without_any_event() {
    let story = cluster().see("10s", fresh()).see("6m", fresh().running("-0s"));
    says(
        &story,
        "10m",
        &[
            "+5m15s first container-stuck Deployment/checkout x1 [checkout-688988776f-aaaaa]: the container app has not been created and no Event says why",
            "+6m30s resolved container-stuck Deployment/checkout recovered after 5m50s",
        ],
    );
    // The kubelet has said nothing at all.
    let silent_kubelet = cluster().see("10s", fresh().silent());
    says(
        &silent_kubelet,
        "10m",
        &[
            "+5m15s first container-stuck Deployment/checkout x1 [checkout-688988776f-aaaaa]: the container app has not been created and no Event says why",
        ],
    );
}

#[test]
fn a_config_map_that_comes_a_moment_later_is_no_news() {
    let missing = || fresh().waiting("CreateContainerConfigError", "configmap \"cfg\" not found");
    let soon = cluster().see("10s", fresh()).see("12s", missing()).see("30s", fresh().running("-0s"));
    silent(&soon, "10m");
    let late = cluster().see("10s", fresh()).see("12s", missing()).see("2m", fresh().running("-0s"));
    says(
        &late,
        "10m",
        &[
            "+47s first container-config Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: configmap \"cfg\" not found",
            "+2m30s resolved container-config Deployment/checkout/app recovered after 1m48s",
        ],
    );
}

fn mount(text: &str) -> Event {
    event(POD, "FailedMount", text)
}

const SECRET: &str = "MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found";

#[test]
fn a_mount_that_works_after_twenty_seconds_is_no_news() {
    let story = cluster()
        .see("10s", fresh())
        .see("11s", mount(SECRET))
        .see("20s", mount(SECRET).count(5, "T+11s"))
        .see("30s", fresh().running("-0s"));
    silent(&story, "30m");
}

/// It waited for its volume to be attached, as it should.
#[test]
fn one_failed_mount_late_in_a_slow_start_is_no_news() {
    let story = cluster()
        .see("10s", fresh())
        .see("2m", mount("MountVolume.WaitForAttach failed for volume \"pv\""))
        .see("2m10s", fresh().running("-0s"));
    silent(&story, "30m");
}

#[test]
fn a_failed_mount_of_a_pod_that_runs_or_leaves_says_nothing() {
    let a = checkout("aaaaa");
    let running = cluster().with(a.clone().running("T-1h")).see("10s", mount(SECRET).count(9, "-0s"));
    silent(&running, "30m");
    let leaving = cluster()
        .see("10s", fresh().deleting("T+40s").grace(30))
        .see("12s", mount(SECRET).count(9, "-0s"))
        .gone("40s", fresh());
    silent(&leaving, "30m");
}

#[test]
fn a_mount_that_fails_lasts_until_the_pod_runs_however_quiet_it_is() {
    let story = cluster()
        .see("10s", fresh())
        .see("11s", mount(SECRET))
        .see("1m", mount(SECRET).count(8, "T+11s"))
        .see("50m", fresh().running("-0s"));
    says(
        &story,
        "10m",
        &[
            "+1m1s first failed-mount Deployment/checkout x8 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"tls\" : secret \"tls\" not found",
            "+50m30s resolved failed-mount Deployment/checkout recovered after 49m49s",
        ],
    );
}

#[test]
fn multi_attach_is_told_once_and_lasts() {
    let text = "Multi-Attach error for volume \"pv\" Volume is already exclusively attached to one node";
    let story = cluster()
        .see("10s", fresh())
        .see("11s", event(POD, "FailedAttachVolume", text).from("attachdetach-controller"))
        .see("2m15s", mount("Unable to attach or mount volumes: unmounted volumes=[data]: timed out waiting"))
        .see(
            "4m30s",
            mount("Unable to attach or mount volumes: unmounted volumes=[data]: timed out waiting")
                .count(2, "T+2m15s"),
        )
        .see("30m", fresh().running("-0s"));
    says(
        &story,
        "10m",
        &[
            "+6m16s first multi-attach Deployment/checkout x1 [checkout-688988776f-aaaaa] (holds 2): Multi-Attach error for volume \"pv\" Volume is already exclusively attac",
            "+30m30s resolved multi-attach Deployment/checkout recovered after 29m49s",
        ],
    );
    let released = cluster()
        .see("10s", fresh())
        .see("11s", event(POD, "FailedAttachVolume", text).from("attachdetach-controller"))
        .see("5m30s", fresh().running("-0s"));
    silent(&released, "30m");
}

#[test]
fn a_csi_mount_that_hangs_is_told() {
    let text = "MountVolume.SetUp failed for volume \"pv\" : rpc error: code = DeadlineExceeded";
    let story =
        cluster().see("10s", fresh()).see("2m12s", mount(text)).see("4m14s", mount(text).count(2, "T+2m12s"));
    says(
        &story,
        "20m",
        &[
            "+3m2s first failed-mount Deployment/checkout x1 [checkout-688988776f-aaaaa]: MountVolume.SetUp failed for volume \"pv\" : rpc error: code = DeadlineE",
        ],
    );
}
