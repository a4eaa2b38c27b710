//! The collection of real messages in `tests/data/messages`: each goes the whole way, from the object or Event
//! that has it to the title, and the whole title is compared.
//!
//! `KUBEHERALD_WRITE_HEADLINES=FILE` writes what is said now as JSON lines, for reading aloud.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use kubeherald::config::{self, Config};
use kubeherald::message::Decision;
use kubeherald::message::text::title::MAX_SENTENCE;
use kubeherald::signal::Cause;
use kubeherald::testkit::builders::{
    Event, Pod, claim, cron_job, deployment, event, job, namespace, node, pod, stateful_set,
};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::script::{POD, RS, Script, checkout, cluster, fresh};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    cause: Cause,
    /// The raw reason, where the cause has several.
    reason: Option<String>,
    /// The type of a condition.
    kind: Option<String>,
    image: Option<String>,
    exit: Option<i32>,
    /// What the last pod of a Job said at its end.
    said: Option<String>,
    indexes: Option<String>,
    finalizer: Option<String>,
    workload: Option<String>,
    /// The probe ended the container.
    #[serde(default)]
    killed: bool,
    /// It is about the node.
    #[serde(default)]
    node: bool,
    #[serde(default)]
    cron: bool,
    /// A readiness gate says it.
    #[serde(default)]
    gate: bool,
    message: String,
    source: String,
    headline: String,
}

const FILES: &[&str] = &[
    "images",
    "containers",
    "network",
    "volumes",
    "scheduling",
    "admission",
    "probes",
    "nodes",
    "evictions",
    "workloads",
    "odd",
];

fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/messages/{file}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

const BACK_OFF: &str = "back-off 20s restarting failed container=app pod=checkout";

fn about(reason: &str, text: &str) -> Event {
    event(POD, reason, text).container("app")
}

/// The story that shows the message, and how long it takes until the shipped rules speak.
fn story(case: &Case) -> (Script, &'static str) {
    let text = case.message.as_str();
    let reason = |other: &'static str| case.reason.clone().unwrap_or_else(|| other.to_owned());
    let image = || match &case.image {
        Some(image) => fresh().image(image),
        None => fresh(),
    };
    match case.cause {
        Cause::ImagePullBackOff => waits(image(), &reason("ErrImagePull"), text),
        Cause::CreateContainerConfigError | Cause::CreateContainerError | Cause::RunContainerError => {
            waits(image(), &reason(case.cause.as_str()), text)
        }
        Cause::CrashLoopBackOff => (crashed(case), "1m"),
        Cause::OOMKilled if case.node => {
            (cluster().see("10s", event("Node/worker-1", "SystemOOM", text)), "1m")
        }
        Cause::OOMKilled => {
            let killed =
                fresh().memory("64Mi").last(137, "OOMKilled", "-20s", "-2s").running("-0s").restarts(1);
            (cluster().see("10s", fresh().memory("64Mi")).see("30s", killed), "1m")
        }
        Cause::PodFailed => (ended(case), "2m"),
        Cause::ContainerStuck if text.is_empty() => (cluster().see("10s", fresh()), "10m"),
        Cause::ContainerStuck => (tries("FailedCreatePodSandBox", text), "4m"),
        Cause::FailedMount => (tries("FailedMount", text), "4m"),
        Cause::FailedAttachVolume => (tries("FailedAttachVolume", text), "12m"),
        Cause::FailedScheduling => {
            let pending =
                pod(&format!("{RS}-aaaaa")).owned_by_rs(RS).created("T+10s").unschedulable(text, "T+10s");
            (cluster().see("10s", pending), "5m")
        }
        Cause::FailedCreate => (refused(case), "5m"),
        Cause::ProvisioningFailed => {
            let told = |n| {
                event("PersistentVolumeClaim/data", &reason("ProvisioningFailed"), text).count(n, "T+11s")
            };
            (
                cluster()
                    .see("10s", claim("data"))
                    .see("11s", told(1))
                    .see("100s", told(9))
                    .see("200s", told(20)),
                "5m",
            )
        }
        Cause::Unhealthy => (probed(case), "2m"),
        Cause::NodeNotReady | Cause::NodePressure | Cause::NodeCondition | Cause::Rebooted => {
            (of_node(case), "15m")
        }
        Cause::Evicted => (cluster().with(checkout("aaaaa").running("-1h")).see("10s", evicted(text)), "2m"),
        Cause::PodRejected => {
            let tool = || pod("tool").node("worker-1").created("T+10s").scheduled("T+10s");
            (cluster().see("10s", tool()).see("11s", tool().failed(&reason("OutOfcpu"), text)), "2m")
        }
        Cause::JobFailed => (failed_job(case), "2m"),
        Cause::RolloutStuck => (stuck(case), "2m"),
        Cause::StuckTerminating => (terminating(case), "15m"),
        Cause::Event => (
            cluster().configured(&backups()).see("10s", event("Deployment/checkout", "BackupFailed", text)),
            "2m",
        ),
    }
}

/// Shipped rules and one for an Event.
fn backups() -> Arc<Config> {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    let load = || {
        let dir = tempfile::tempdir().unwrap();
        let rules = "rules:\n  - name: backups\n    match: {cause: Event, reason: BackupFailed}\n    severity: warning\n";
        std::fs::write(dir.path().join("rules.yaml"), rules).unwrap();
        let path = dir.path().join("kubeherald.yaml");
        std::fs::write(&path, "rules: {paths: [rules.yaml]}\n").unwrap();
        config::load(Some(&path), &[]).unwrap_or_else(|found| panic!("{found}")).config
    };
    Arc::clone(CONFIG.get_or_init(load))
}

fn waits(pod: Pod, reason: &str, text: &str) -> (Script, &'static str) {
    (cluster().see("10s", pod.clone()).see("12s", pod.waiting(reason, text)), "2m")
}

fn crashed(case: &Case) -> Script {
    let code = case.exit.unwrap();
    let never_ran = case.reason.as_deref() == Some("StartError");
    let from = if never_ran { "1970-01-01T00:00:00Z" } else { "-3s" };
    let reason = case.reason.as_deref().unwrap_or(if code == 0 { "Completed" } else { "Error" });
    let mut dead = fresh().last(code, reason, from, "-1s");
    if !case.message.is_empty() {
        dead = dead.said(&case.message);
    }
    cluster().see("10s", fresh()).see("30s", dead.waiting("CrashLoopBackOff", BACK_OFF).restarts(2))
}

fn ended(case: &Case) -> Script {
    let migrate =
        || pod("migrate").node("worker-1").restart_policy("Never").created("T+1s").scheduled("T+1s");
    let code = case.exit.unwrap_or(137);
    let mut dead = migrate().terminated(code, "Error", "-5s", "-0s");
    dead = match &case.reason {
        Some(reason) => dead.failed(reason, &case.message),
        None if case.message.is_empty() => dead,
        None => dead.said(&case.message),
    };
    Script::new().with(node("worker-1")).see("2s", migrate().running("-0s")).see("12s", dead)
}

/// An Event that is written at each try.
fn tries(reason: &str, text: &str) -> Script {
    let told = |n| event(POD, reason, text).count(n, "T+12s");
    let mut story = cluster().see("10s", fresh()).see("12s", told(1));
    for (n, at) in [(2, "1m"), (3, "2m"), (4, "3m"), (5, "6m"), (6, "9m")] {
        story = story.see(at, told(n));
    }
    story
}

fn refused(case: &Case) -> Script {
    if case.workload.is_some() {
        let told = |n| {
            event("StatefulSet/checkout", "FailedCreate", &case.message)
                .from("statefulset-controller")
                .count(n, "T+11s")
        };
        return cluster()
            .with(stateful_set("checkout").available(0).present(0))
            .see("11s", told(1))
            .see("40s", told(5))
            .see("100s", told(9));
    }
    cluster().see("60s", deployment("checkout").available(0).replica_failure(&case.message, "T+10s"))
}

fn evicted(text: &str) -> Pod {
    checkout("aaaaa").terminated(137, "Error", "-1h", "-0s").failed("Evicted", text)
}

fn probed(case: &Case) -> Script {
    let mut story = cluster().see("10s", fresh()).see("12s", fresh().running("T+12s").unready());
    let mut n = 0;
    for at in (20..400).step_by(10) {
        n += 1;
        let at = format!("{at}s");
        if !case.message.is_empty() {
            story = story.see(&at, about("Unhealthy", &case.message).count(n, "T+20s"));
        }
        if case.killed && n % 3 == 0 {
            let probe = if case.message.starts_with("Startup") { "startup" } else { "liveness" };
            let text = format!("Container app failed {probe} probe, will be restarted");
            story = story.see(&at, about("Killing", &text).normal().count(n / 3, "T+40s"));
        }
    }
    story
}

fn of_node(case: &Case) -> Script {
    let text = case.message.as_str();
    let reason = case.reason.as_deref();
    let changed = match (case.cause, case.kind.as_deref()) {
        (Cause::Rebooted, _) => return cluster().see("10s", event("Node/worker-1", "Rebooted", text)),
        (_, Some(kind)) => node("worker-1").condition(kind, "True", reason.unwrap(), text, "T+60s"),
        _ if reason.is_some() => {
            node("worker-1").condition("Ready", "Unknown", reason.unwrap(), text, "T+60s")
        }
        _ => node("worker-1").not_ready(text, "T+60s"),
    };
    cluster().see("60s", changed)
}

fn failed_job(case: &Case) -> Script {
    let reason = case.reason.as_deref().unwrap();
    if case.cron {
        let run = || job("report-29330001").owned_by("CronJob", "report");
        let story = Script::new().with(cron_job("report")).with(run());
        return story.see("11s", run().failed(reason, &case.message, "-0s"));
    }
    let worker = || pod("import-x2x4z").owned_by_job("import").node("worker-1");
    let mut story = Script::new().with(node("worker-1")).with(job("import")).with(worker().running("T-5m"));
    if let Some(code) = case.exit {
        let mut dead = worker().terminated(code, "Error", "-5s", "-0s");
        if let Some(said) = &case.said {
            dead = dead.said(said);
        }
        story = story.see("10s", dead);
    }
    let mut verdict = job("import");
    if let Some(indexes) = &case.indexes {
        verdict = verdict.failed_indexes(indexes);
    }
    story.see("11s", verdict.failed(reason, &case.message, "-0s"))
}

fn stuck(case: &Case) -> Script {
    let new = || {
        pod("checkout-7c5ddbdf54-bbbbb")
            .owned_by_rs("checkout-7c5ddbdf54")
            .node("worker-1")
            .created("T+1m")
            .scheduled("T+1m")
    };
    let mut story = cluster().with(checkout("aaaaa").running("T-1h"));
    if case.gate {
        story = story.see("1m", new().running("-0s").gated_ready(&case.message));
    }
    story.see("11m", deployment("checkout").generation(2).available(0).stuck("-0s"))
}

fn terminating(case: &Case) -> Script {
    let text = case.message.as_str();
    if let Some(kind) = &case.kind {
        let gone = namespace("team-a").deleting("T+60s").condition(kind, "True", "Failed", text, "T+61s");
        return Script::new().with(namespace("team-a")).see("60s", gone);
    }
    let a = || match &case.finalizer {
        Some(name) => checkout("aaaaa").finalizer(name),
        None => checkout("aaaaa"),
    };
    let leaving = || a().deleting("T+60s").grace(30);
    let mut story = cluster().with(a().running("T-1h")).see("30s", leaving().running("T-1h"));
    story = story.see("61s", leaving().terminated(0, "Completed", "T-1h", "T+35s"));
    if !text.is_empty() {
        let told = |n| event(POD, "FailedKillPod", text).count(n, "T+62s");
        story = story.see("62s", told(1)).see("4m", told(12));
    }
    story
}

fn title(case: &Case) -> String {
    let (script, then) = story(case);
    let messages = script.messages(then);
    let of_cause = |m: &&kubeherald::app::pipeline::Message| {
        m.decided.decision == Decision::First && m.decided.incidents.iter().any(|i| i.cause == case.cause)
    };
    messages.iter().find(of_cause).map_or_else(
        || format!("(nothing was said of it: {:?})", messages.iter().map(|m| &m.title).collect::<Vec<_>>()),
        |message| message.title.clone(),
    )
}

#[test]
fn each_real_message_becomes_the_title_that_was_read_aloud() {
    let mut wrong = String::new();
    let mut lines = String::new();
    let mut count = 0;
    for file in FILES {
        for case in cases(file) {
            count += 1;
            let said = title(&case);
            if said != case.headline {
                writeln!(
                    wrong,
                    "{file}: {}\n  said:     {said}\n  expected: {}",
                    case.message, case.headline
                )
                .unwrap();
            }
            let now = Case { headline: said, ..case };
            writeln!(lines, "{}", serde_json::to_string(&now).unwrap()).unwrap();
        }
    }
    if let Some(file) = std::env::var_os("KUBEHERALD_WRITE_HEADLINES") {
        std::fs::write(file, lines).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 250, "{count} messages");
}

/// What no title may hold, whatever the message.
#[test]
fn titles_name_causes_and_nothing_that_only_machines_read() {
    let uid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}";
    let made_up = "-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\\b";
    let banned = [
        uid,
        made_up,
        "rpc error",
        "desc = ",
        "sha256:",
        "\\b[0-9a-f]{20,}\\b",
        "(?i)error response from daemon",
        "Error: Error",
        "^Failed to|: Failed to create pod sandbox|OCI runtime create failed",
        "exit status 32",
        "/var/lib/kubelet",
        "hunter2",
        "…$",
        "[\\n\\t\\u{1b}\\u{7}\\u{202e}\\u{200b}]",
        "[:,] *$",
        "  |: :|\\\\\"",
    ];
    for file in FILES {
        for case in cases(file) {
            let said = &case.headline;
            assert!(said.chars().count() <= MAX_SENTENCE, "{said}");
            assert!(!case.source.is_empty());
            for pattern in banned {
                assert!(!Regex::new(pattern).unwrap().is_match(said), "{pattern} in: {said}");
            }
            assert!(said.contains("checkout") || said.contains(' '), "says of what: {said}");
        }
    }
}

/// What the cluster writes is told as it is below the title.
#[test]
fn the_whole_message_stands_below_its_title() {
    for case in cases("network").into_iter().filter(|case| !case.message.is_empty()).take(5) {
        let (script, then) = story(&case);
        let said = script.messages(then);
        let begin: String = case.message.chars().take(100).collect();
        assert!(said.iter().any(|message| message.text.contains(&begin)), "{said:#?}");
    }
}
