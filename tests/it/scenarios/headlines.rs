//! What the first line of a message says: the cause as far as any object or Event holds it, and not the last
//! symptom. How single texts of Kubernetes are read is tested beside the code; here each cause goes the
//! whole way, from the objects and Events of a cluster to the title.

use kubeherald::message::Decision;
use kubeherald::testkit::builders::{Event, Pod, cron_job, deployment, event, job, node, pod};

use super::script::{POD, Script, checkout, cluster, fresh};

/// The titles of the first messages, without what they have in common.
fn titles(script: &Script, then: &str) -> Vec<String> {
    let messages = script.messages(then);
    let firsts = messages.iter().filter(|message| message.decided.decision == Decision::First);
    firsts.map(|message| message.title.clone()).collect()
}

#[track_caller]
fn headline(script: &Script, then: &str, expected: &str) {
    assert_eq!(titles(script, then), [expected]);
}

fn about(reason: &str, text: &str) -> Event {
    event(POD, reason, text).container("app")
}

fn running() -> Script {
    cluster().with(checkout("aaaaa").running("T-1h"))
}

const PROBE: &str = "Liveness probe failed: HTTP probe failed with statuscode: 500";
const KILL: &str = "Container app failed liveness probe, will be restarted";
const BACK_OFF: &str = "back-off 20s restarting failed container=app pod=checkout";
const BY_PROBE: &str =
    "Deployment/checkout in shop keeps crashing (container app): liveness probe failed: HTTP 500";

fn killed(restarts: i64, from: &str) -> Pod {
    checkout("aaaaa").last(137, "Error", from, "-0s").restarts(restarts)
}

/// Two kills: too few for the rule about probes, enough for a back-off.
#[test]
fn a_probe_that_ends_a_container_is_the_reason_of_the_loop_that_follows() {
    let once = running()
        .see("30s", about("Unhealthy", PROBE).count(3, "T+10s"))
        .see("30s", about("Killing", KILL).normal().count(1, "T+30s"))
        .see("60s", killed(1, "T-1h").running("-0s"));
    let events_first = once
        .clone()
        .see("90s", about("Unhealthy", PROBE).count(6, "T+10s"))
        .see("90s", about("Killing", KILL).normal().count(2, "T+30s"))
        .see("120s", killed(1, "T+60s").waiting("CrashLoopBackOff", BACK_OFF));
    headline(&events_first, "1m", BY_PROBE);
    let status_first = once
        .clone()
        .see("120s", killed(1, "T+60s").waiting("CrashLoopBackOff", BACK_OFF))
        .see("121s", about("Unhealthy", PROBE).count(6, "T+10s").last_seen("T+90s"))
        .see("121s", about("Killing", KILL).normal().count(2, "T+30s").last_seen("T+90s"));
    headline(&status_first, "1m", BY_PROBE);
    // The recorder writes fewer Events than there are kills.
    let no_events = once.see("120s", killed(1, "T+60s").waiting("CrashLoopBackOff", BACK_OFF));
    headline(&no_events, "1m", BY_PROBE);
    let said = no_events.messages("1m");
    assert!(
        said[0].text.contains(
            "Why: liveness probe failed: HTTP 500\n  \
             the container exited with code 137 after running for 60 s\n"
        ),
        "{}",
        said[0].text
    );
}

/// A readiness probe ends nothing, and what the program does later by itself is its own matter.
#[test]
fn a_probe_is_not_blamed_for_other_ends() {
    let ready = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    let story = running().see("30s", about("Unhealthy", ready)).see(
        "60s",
        checkout("aaaaa").last(1, "Error", "T-1h", "-0s").waiting("CrashLoopBackOff", BACK_OFF).restarts(2),
    );
    let own = "Deployment/checkout in shop keeps crashing (container app): exit code 1";
    headline(&story, "1m", own);
    let later = running()
        .see("30s", about("Killing", KILL).normal())
        .see("60s", killed(1, "T-1h").running("-0s"))
        .see(
            "90s",
            checkout("aaaaa")
                .last(1, "Error", "T+60s", "-0s")
                .waiting("CrashLoopBackOff", BACK_OFF)
                .restarts(1),
        );
    headline(&later, "1m", own);
}

const HOOK: &str = "Exec lifecycle hook ([sh -c exit 7]) for Container \"app\" in Pod \
                    \"checkout-688988776f-aaaaa_shop(5e)\" failed - error: command 'sh -c exit 7' exited with 7: , message: \"\"";

/// The kubelet ends a container whose hook fails; the program takes that well and exits with 0.
fn hooked(hook: &str) -> Script {
    let failed = || about("FailedPostStartHook", "PostStartHook failed");
    cluster()
        .see("10s", fresh())
        .see("12s", fresh().running("-0s"))
        .see("13s", failed())
        .see("14s", fresh().terminated(0, "Completed", "T+12s", "-0s"))
        .see("15s", fresh().last(0, "Completed", "T+12s", "T+14s").waiting(hook, HOOK))
        .see("17s", fresh().last(0, "Completed", "T+12s", "T+14s").running("T+17s").restarts(1))
        .see("18s", failed().count(2, "T+13s"))
        .see("19s", fresh().last(0, "Completed", "T+17s", "-1s").waiting(hook, HOOK).restarts(1))
        .see(
            "20s",
            fresh().last(0, "Completed", "T+17s", "T+18s").waiting("CrashLoopBackOff", BACK_OFF).restarts(1),
        )
}

#[test]
fn a_post_start_hook_that_fails_is_the_reason_and_not_the_exit_code() {
    headline(
        &hooked("PostStartHookError"),
        "2m",
        "Deployment/checkout in shop keeps crashing (container app): \
         postStart hook failed: command 'sh -c exit 7' exited with 7",
    );
    // Where only the Event was seen, it is known that it was the hook.
    headline(
        &hooked("ContainerCreating"),
        "2m",
        "Deployment/checkout in shop keeps crashing (container app): postStart hook failed",
    );
}

#[test]
fn a_command_that_cannot_be_started_is_named() {
    let run = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/bin/nope\": stat /bin/nope: no such file or directory: unknown";
    let dead = || fresh().last(128, "StartError", "1970-01-01T00:00:00Z", "-1s").said(run).restarts(1);
    let said = "\"/bin/nope\": no such file or directory";
    headline(
        &cluster().see("10s", fresh()).see("12s", dead().waiting("CrashLoopBackOff", BACK_OFF)),
        "2m",
        &format!("Deployment/checkout in shop keeps crashing (container app): cannot be started: {said}"),
    );
    headline(
        &cluster().see("10s", fresh()).see("12s", dead().waiting("RunContainerError", run)),
        "2m",
        &format!("Deployment/checkout in shop cannot start container app: {said}"),
    );
}

#[test]
fn a_kill_stands_before_the_loop_that_follows_from_it() {
    let init = |pod: Pod| pod.init("migrate").memory("64Mi");
    let story = cluster().see("10s", init(fresh()).container("app")).see(
        "30s",
        init(fresh()).last(137, "OOMKilled", "-20s", "-2s").waiting("CrashLoopBackOff", BACK_OFF).restarts(2),
    );
    headline(
        &story,
        "2m",
        "Deployment/checkout in shop ran out of memory (container migrate): OOM-killed at its 64Mi memory limit, crash-looping",
    );
    let said = story.messages("2m");
    assert!(
        said[0].text.contains("Why: OOM-killed at its 64Mi memory limit\n  crash-looping\n"),
        "{}",
        said[0].text
    );
}

#[test]
fn the_registrys_answer_stands_before_the_chain_that_brought_it() {
    let text = "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/app:nope\": failed to resolve reference \"docker.io/library/app:nope\": docker.io/library/app:nope: not found";
    let pulls = || fresh().image("app:nope");
    let story = cluster()
        .see("10s", pulls())
        .see("12s", pulls().waiting("ErrImagePull", text))
        .see("12s", about("Failed", &format!("Failed to pull image \"app:nope\": {text}")))
        .see("13s", about("Failed", "Error: ErrImagePull"))
        .see(
            "25s",
            pulls().waiting(
                "ImagePullBackOff",
                &format!("Back-off pulling image \"app:nope\": ErrImagePull: {text}"),
            ),
        );
    headline(&story, "1m", "Deployment/checkout in shop cannot pull app:nope: image not found");
    let said = story.messages("1m");
    assert!(said[0].text.contains("Why: image not found\n  rpc error: code = NotFound"), "{}", said[0].text);
}

#[test]
fn a_volume_that_is_missing_is_told_and_not_that_somebody_waits_for_it() {
    let setup = "MountVolume.SetUp failed for volume \"creds\" : secret \"checkout-creds\" not found";
    let late = "Unable to attach or mount volumes: unmounted volumes=[creds], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition";
    let story = cluster()
        .see("10s", fresh())
        .see("12s", event(POD, "FailedMount", setup))
        .see("40s", event(POD, "FailedMount", late).uid("other"));
    headline(
        &story,
        "2m",
        "Deployment/checkout in shop cannot mount volume creds: secret \"checkout-creds\" not found",
    );
}

#[test]
fn a_node_says_why_it_is_not_ready_and_which_condition_it_has() {
    headline(
        &cluster().see("60s", node("worker-1").lost("T+60s")),
        "2m",
        "Node worker-1 is not ready: the kubelet stopped answering",
    );
    let network = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";
    headline(
        &cluster().see("60s", node("worker-1").not_ready(network, "T+60s")),
        "2m",
        "Node worker-1 is not ready: no pod network: cni plugin not initialized",
    );
    let condition = node("worker-1").condition(
        "ReadonlyFilesystem",
        "True",
        "FilesystemIsReadOnly",
        "EXT4-fs (sda1): Remounting filesystem read-only",
        "T+60s",
    );
    headline(
        &cluster().see("60s", condition),
        "2m",
        "Node worker-1 reports ReadonlyFilesystem: EXT4-fs (sda1): Remounting filesystem read-only",
    );
}

fn worker() -> Pod {
    pod("import-x2x4z").owned_by_job("import").node("worker-1")
}

fn import() -> Script {
    Script::new().with(node("worker-1")).with(job("import").deadline(300)).with(worker().running("T-5m"))
}

const OVER: &str = "Job was active longer than specified deadline";

#[test]
fn a_job_that_ran_out_of_time_says_so_and_not_how_its_pods_were_killed() {
    let story = import()
        .see("9s", job("import").deadline(300).condition("FailureTarget", "DeadlineExceeded", OVER, "-0s"))
        .see("10s", worker().terminated(137, "Error", "T-5m", "-0s").deleting("-0s"))
        .see("11s", job("import").deadline(300).failed("DeadlineExceeded", OVER, "-0s"));
    headline(
        &story,
        "1m",
        "Job/import in shop did not finish before its deadline: activeDeadlineSeconds: 300",
    );
    assert!(!story.messages("1m")[0].text.contains("137"), "{}", story.messages("1m")[0].text);
}

#[test]
fn a_job_whose_pod_never_ran_says_what_it_waited_for() {
    let waits = || worker().waiting("CreateContainerConfigError", "secret \"import\" not found");
    let story = import()
        .see("5s", waits())
        .see("10s", waits().deleting("-0s"))
        .see("11s", job("import").deadline(300).failed("DeadlineExceeded", OVER, "-0s"));
    headline(
        &story,
        "20s",
        "Job/import in shop did not finish before its deadline: secret \"import\" not found",
    );
}

#[test]
fn a_job_names_its_failed_indexes() {
    let verdict = |reason: &str, text: &str| {
        import()
            .see("10s", worker().terminated(1, "Error", "-5s", "-0s"))
            .see("11s", job("import").failed_indexes("1,3-5").failed(reason, text, "-0s"))
    };
    let expected = "Job/import in shop failed: indexes 1,3-5, exit code 1";
    headline(&verdict("FailedIndexes", "Job has failed indexes"), "1m", expected);
    let most = "Job has exceeded the specified maximal number of failed indexes";
    headline(&verdict("MaxFailedIndexesExceeded", most), "1m", expected);
    // Somebody may have 100,000 of them.
    let many = (0..50_000).map(|n| (n * 2).to_string()).collect::<Vec<_>>().join(",");
    let story = import().see("11s", job("import").failed_indexes(&many).failed("FailedIndexes", "x", "-0s"));
    let said = story.messages("1m");
    assert!(said[0].title.contains("indexes 0,2,4,"), "{}", said[0].title);
    assert!(said[0].text.len() < 2000, "{}", said[0].text.len());
}

#[test]
fn what_ended_the_pods_of_a_job_is_the_reason() {
    let failed = |pod: Pod| import().see("10s", pod).see("11s", job("import").backoff_limit("-0s"));
    headline(
        &failed(worker().terminated(2, "Error", "-5s", "-0s")),
        "1m",
        "Job/import in shop failed: exit code 2",
    );
    let said =
        failed(worker().terminated(2, "Error", "-5s", "-0s").said("no such table: orders")).messages("1m");
    assert!(said[0].text.contains("no such table: orders"), "{}", said[0].text);
    headline(
        &failed(worker().terminated(143, "Error", "-5s", "-0s").disrupted("EvictionByEvictionAPI")),
        "1m",
        "Job/import in shop failed: its pod was removed (EvictionByEvictionAPI)",
    );
    let policy =
        "Container app for pod shop/import-x2x4z failed with exit code 42 matching FailJob rule at index 0";
    let story = import()
        .see("10s", worker().terminated(42, "Error", "-5s", "-0s"))
        .see("11s", job("import").failed("PodFailurePolicy", policy, "-0s"));
    headline(
        &story,
        "1m",
        "Job/import in shop failed: container app exited with code 42 (pod failure policy)",
    );
    let run = || job("report-29330001").owned_by("CronJob", "report");
    let cron = Script::new()
        .with(cron_job("report"))
        .with(run())
        .see("11s", run().deadline(60).failed("DeadlineExceeded", OVER, "-0s"));
    headline(
        &cron,
        "1m",
        "CronJob/report in shop did not finish before its deadline: activeDeadlineSeconds: 60",
    );
}

#[test]
fn a_rollout_that_hangs_says_what_its_pods_lack() {
    let hangs = |pod: Pod| {
        cluster()
            .with(checkout("aaaaa").running("T-1h"))
            .see("1m", pod)
            .see("11m", deployment("checkout").generation(2).available(0).stuck("-0s"))
    };
    let new = || {
        pod("checkout-7c5ddbdf54-bbbbb")
            .owned_by_rs("checkout-7c5ddbdf54")
            .node("worker-1")
            .created("T+1m")
            .scheduled("T+1m")
    };
    headline(
        &hangs(new().running("-0s").unready()),
        "1m",
        "Deployment/checkout in shop does not roll out: container app runs but is not ready",
    );
    let gate = "corresponding condition of pod readiness gate \"target-health.elbv2.k8s.aws/checkout\" does not exist.";
    headline(
        &hangs(new().running("-0s").gated_ready(gate)),
        "1m",
        "Deployment/checkout in shop does not roll out: readiness gate target-health.elbv2.k8s.aws/checkout has no condition",
    );
}
