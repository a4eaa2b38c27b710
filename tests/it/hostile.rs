//! The program against a cluster in which somebody means it harm: how much memory it takes, what it
//! keeps, and what it says of it.

use std::path::Path;
use std::time::Duration;

use kubeherald::store::SharedAccess;
use kubeherald::store::{OutboxQuery, OutboxStates, Store};
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::receivers::WebhookServer;
use serde_json::{Value, json};

use crate::support::Process;

/// What the process may take at any time, with room below what the shipped manifest gives it.
const MAX_RESIDENT_KIB: u64 = 160 * 1024;
/// What sixty hostile Events may leave on the disk.
const MAX_STORE: u64 = 4 << 20;

/// With a rule for each Event.
fn start(dir: &Path, server: &ApiServer, hook: &WebhookServer) -> Process {
    let config = format!(
        "receivers:\n  hook:\n    webhook: {{url: \"{}\"}}\n    rate_limit: {{per: 1s, messages: 200, burst: 200}}\nstore: {{path: state.db}}\nhttp: {{listen: \"127.0.0.1:0\"}}\nrules: {{dir: own}}\n",
        hook.url()
    );
    std::fs::write(dir.join("kubeherald.yaml"), config).unwrap();
    std::fs::create_dir_all(dir.join("own")).unwrap();
    let rules = "rules:\n  - name: raw\n    match: {cause: Event}\n    severity: info\n    for: 0s\n";
    std::fs::write(dir.join("own/raw.yaml"), rules).unwrap();
    Process::start(dir, &server.url(), &[], &["--config", "kubeherald.yaml"])
}

/// The most it ever had in memory.
fn peak_kib(bot: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bot.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// As a tenant may write it: the API server validates neither name nor reason.
fn huge_event(n: usize) -> Value {
    let now = kubeherald::clock::now();
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("e{n}"), "namespace": "tenant", "uid": format!("event-{n}"),
            "creationTimestamp": now},
        "involvedObject": {"kind": "Widget", "namespace": "tenant", "uid": format!("w{n}"),
            "name": format!("w{n}-{}", "x".repeat(900_000))},
        "reason": format!("Broken{}", "y".repeat(100_000)),
        "message": format!("{}", "z".repeat(100_000)), "type": "Warning",
        "eventTime": now, "reportingComponent": "me", "reportingInstance": "me", "action": "x",
        "series": {"count": 3, "lastObservedTime": now},
    })
}

fn stored(dir: &Path) -> u64 {
    ["state.db", "state.db-wal"]
        .iter()
        .filter_map(|name| dir.join(name).metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_events_of_a_megabyte_kill_no_bot_and_poison_no_store() {
    let server = ApiServer::start().await.unwrap();
    let hook = WebhookServer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    // Half of them are there when it starts, and half come while it watches.
    for n in 0..30 {
        server.apply(huge_event(n)).unwrap();
    }
    let mut bot = start(dir.path(), &server, &hook);
    bot.until("the watch of Events", |_| server.open_watches("events") == 1).await;
    for n in 30..60 {
        server.apply(huge_event(n)).unwrap();
    }
    let told = |n: usize| {
        let all: String = hook.received().all().iter().map(|r| r.json().to_string()).collect();
        all.contains(&format!("w{n}-xxx"))
    };
    bot.until("a message about the last", |_| told(59)).await;
    let peak = peak_kib(&bot);
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB");
    bot.stop().await;
    assert!(stored(dir.path()) < MAX_STORE, "{} bytes", stored(dir.path()));
    let largest = hook.received().all().iter().map(|r| r.body.len()).max().unwrap_or_default();
    assert!(largest < 256 * 1024, "a message of {largest} bytes");

    // What is stored is as harmless as what came.
    let mut bot = start(dir.path(), &server, &hook);
    bot.until("the watch of Events", |_| server.open_watches("events") == 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let peak = peak_kib(&bot);
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB after a restart");
    bot.stop().await;
    let store = Store::open_shared(&dir.path().join("state.db"), SharedAccess::Reading).unwrap();
    let query = OutboxQuery { states: OutboxStates::All, limit: 1000, ..OutboxQuery::default() };
    for row in store.outbox(query).await.unwrap() {
        assert!(row.title.len() < 1200 && row.key.len() < 200, "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_in_the_log_without_being_asked_for() {
    let server = ApiServer::start().await.unwrap();
    let hook = WebhookServer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut bot = start(dir.path(), &server, &hook);
    bot.until("the watch of Events", |_| server.open_watches("events") == 1).await;
    let mut event = huge_event(1);
    event["involvedObject"]["name"] = json!("w1");
    event["reason"] = json!("Broken");
    server.apply(event).unwrap();
    bot.until("a decision", |bot| bot.log().lines().any(|line| line.contains("decided"))).await;
    let log = bot.log();
    let line = log.lines().find(|line| line.contains("decided")).unwrap();
    assert!(line.contains(" INFO ") && line.contains("kubeherald::") && line.contains("hook"), "{line}");
    // And of libraries only what is wrong.
    let foreign = |line: &&str| line.contains(" INFO ") && !line.contains("kubeherald::");
    assert_eq!(log.lines().find(foreign), None);
    bot.stop().await;
}
