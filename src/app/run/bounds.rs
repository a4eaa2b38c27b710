//! No object can make a row, a message or the memory larger than stated, or bring characters or secrets
//! into them that do not belong there: every field of every kind, one after the other and several at a
//! time, through the decoding, the pipeline and the commit.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::app::pipeline::{Output, Pipeline, Start};
use crate::clock;
use crate::config::Config;
use crate::store::{Commit, MAX_DETAIL, MAX_INCIDENT, MAX_NOTIFICATION, MAX_PART, MAX_TITLE};
use crate::watch::decode::decode;
use crate::watch::{Change, Kind};

/// The most that one object may take in memory once it is decoded, as its `Debug` text, which shows
/// every byte that is kept: two label sets of 8 KiB, a hundred containers of each sort with messages of
/// 2 KiB in three states, some of them escaped.
const MAX_OBJECT: usize = 3 << 20;
/// The same of an Event: the tenants of a cluster write those without limit.
const MAX_EVENT: usize = 64 * 1024;
/// All that one object may bring into the store with one commit.
const MAX_COMMIT: usize = 4 << 20;

/// What no row may hold: parts of a secret, line ends of other protocols, overrides of direction.
const SECRET: &str = "ghp_Ab3dEf6hIj9lMn2pQr5tUv8xYz1234567890";
const HOSTILE: &str =
    "a\r\nBcc: x\u{1b}[31m\u{202e}b ghp_Ab3dEf6hIj9lMn2pQr5tUv8xYz1234567890 password=hunter2hunter2";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn time(seconds: i64) -> String {
    at(seconds).to_string()
}

fn meta(name: &str, namespace: Option<&str>) -> Value {
    json!({
        "name": name, "namespace": namespace, "uid": format!("uid-{name}"), "resourceVersion": "7",
        "generation": 2, "creationTimestamp": time(-3600),
        "labels": {"app": "web", "team": "shop", "pod-template-hash": "abc"},
        "annotations": {"note": "text", "kubernetes.io/config.mirror": "f00"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "r",
            "controller": true}],
    })
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "why it is so",
        "lastTransitionTime": time(-60)})
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "registry.example.com/web:1", "restartPolicy": "Always",
        "resources": {"limits": {"memory": "20Mi"}}})
}

fn terminated(code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "message": "panic: no database",
        "startedAt": time(-90), "finishedAt": time(-80)}})
}

fn status(name: &str) -> Value {
    json!({"name": name, "image": "registry.example.com/web:1", "ready": false, "restartCount": 7,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting"}},
        "lastState": terminated(1, "Error"), "started": false})
}

/// Objects that show a problem, and have every field that is read of their kind.
fn objects() -> Vec<(Kind, Value)> {
    let workload = || {
        json!({"spec": {"replicas": 3, "paused": false},
            "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 1,
                "availableReplicas": 1, "unavailableReplicas": 2, "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 1, "numberReady": 1, "numberAvailable": 1, "numberUnavailable": 2,
                "currentRevision": "web-1", "updateRevision": "web-2",
                "conditions": [condition("Progressing", "False", "ProgressDeadlineExceeded"),
                    condition("ReplicaFailure", "True", "FailedCreate")]}})
    };
    let namespace = |metadata: Value| {
        json!({"metadata": metadata, "spec": {"finalizers": ["kubernetes", "example.com/hold"]},
            "status": {"conditions": [condition("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain")]}})
    };
    let deleted = |mut metadata: Value| {
        metadata["deletionTimestamp"] = json!(time(-3600));
        metadata["deletionGracePeriodSeconds"] = json!(30);
        metadata["finalizers"] = json!(["example.com/hold"]);
        metadata
    };
    let named = |mut object: Value, metadata: Value| {
        object["metadata"] = metadata;
        object
    };
    let event = |about: Value, reason: &str, namespace: &str, name: &str| {
        json!({"metadata": meta(name, Some(namespace)), "involvedObject": about, "reason": reason,
            "message": "Error creating: forbidden", "type": "Warning", "count": 3,
            "series": {"count": 4, "lastObservedTime": time(-1)}, "firstTimestamp": time(-30),
            "lastTimestamp": time(-2), "eventTime": time(-30),
            "source": {"component": "kubelet", "host": "node-1"}, "reportingComponent": "kubelet"})
    };
    let pod = json!({"metadata": meta("web-abc-aaaaa", Some("shop")),
        "spec": {"nodeName": "node-1", "restartPolicy": "Always", "containers": [container("app")],
            "initContainers": [container("init")], "activeDeadlineSeconds": 3600},
        "status": {"phase": "Running", "reason": "Evicted", "message": "low on resource: memory",
            "nominatedNodeName": "node-2", "startTime": time(-3600),
            "conditions": [condition("Ready", "False", "ContainersNotReady"),
                condition("PodScheduled", "False", "Unschedulable")],
            "containerStatuses": [status("app")], "initContainerStatuses": [status("init")]}});
    vec![
        (Kind::Namespace, namespace(meta("shop", None))),
        (Kind::Namespace, namespace(deleted(meta("old", None)))),
        (
            Kind::Pod,
            json!({"metadata": deleted(meta("stuck", Some("shop"))), "spec": pod["spec"], "status": pod["status"]}),
        ),
        (
            Kind::Node,
            json!({"metadata": meta("node-1", None),
            "spec": {"unschedulable": false, "taints": [{"key": "example.com/x", "effect": "NoSchedule"}]},
            "status": {"nodeInfo": {"bootID": "b00t"},
                "conditions": [condition("Ready", "False", "KubeletNotReady"),
                    condition("DiskPressure", "True", "KubeletHasDiskPressure"),
                    condition("KernelDeadlock", "True", "DockerHung")]}}),
        ),
        (Kind::Deployment, named(workload(), meta("web", Some("shop")))),
        (Kind::ReplicaSet, json!({"metadata": meta("web-abc", Some("shop"))})),
        (Kind::StatefulSet, named(workload(), meta("db", Some("shop")))),
        (Kind::DaemonSet, named(workload(), meta("agent", Some("shop")))),
        (
            Kind::CronJob,
            json!({"metadata": meta("report", Some("shop")), "spec": {"suspend": false},
            "status": {"lastSuccessfulTime": time(-7200), "lastScheduleTime": time(-60)}}),
        ),
        (
            Kind::Job,
            json!({"metadata": meta("import", Some("shop")),
            "spec": {"backoffLimit": 3, "suspend": false, "activeDeadlineSeconds": 600},
            "status": {"failedIndexes": "1,3-5", "failed": 4, "succeeded": 0, "active": 0, "startTime": time(-600),
                "completionTime": time(-60), "conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}}),
        ),
        (
            Kind::PersistentVolumeClaim,
            json!({"metadata": meta("data", Some("shop")),
            "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}}),
        ),
        (Kind::Pod, pod),
        (
            Kind::Event,
            event(
                json!({"kind": "StatefulSet", "namespace": "shop", "name": "db", "uid": "uid-db",
            "fieldPath": "spec.containers{app}"}),
                "FailedCreate",
                "shop",
                "e1",
            ),
        ),
        (
            Kind::Event,
            event(
                json!({"kind": "Node", "namespace": null, "name": "node-1", "uid": "node-1",
            "fieldPath": "x"}),
                "SystemOOM",
                "default",
                "e2",
            ),
        ),
        (
            Kind::Event,
            event(
                json!({"kind": "Widget", "namespace": "shop", "name": "w", "uid": "uid-w",
            "fieldPath": "spec"}),
                "Broken",
                "shop",
                "e3",
            ),
        ),
        (
            Kind::Event,
            event(
                json!({"kind": "Pod", "namespace": "shop", "name": "web-abc-aaaaa",
            "uid": "uid-web-abc-aaaaa", "fieldPath": "spec.containers{app}"}),
                "FailedMount",
                "shop",
                "e4",
            ),
        ),
    ]
}

/// What is done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoil {
    /// 60 KB of one character, or 500 entries.
    Huge,
    /// The same of characters of three bytes.
    HugeUnicode,
    /// See [`HOSTILE`].
    Hostile,
    /// The secret behind so much other text that a cut falls into it.
    Edge(usize),
}

/// Where a value stands.
type Path = Vec<String>;

fn paths(value: &Value, at: &mut Path, out: &mut Vec<Path>) {
    match value {
        Value::String(_) => out.push(at.clone()),
        Value::Array(list) => {
            out.push(at.clone());
            if let Some(first) = list.first() {
                at.push("0".into());
                paths(first, at, out);
                at.pop();
            }
        }
        Value::Object(map) => {
            if matches!(at.last().map(String::as_str), Some("labels" | "annotations")) {
                out.push(at.clone());
            }
            for (key, value) in map {
                at.push(key.clone());
                paths(value, at, out);
                at.pop();
            }
        }
        _ => {}
    }
}

/// The server's own: never a tenant's to write, and refused where they make no sense.
fn is_the_servers(path: &Path) -> bool {
    let last = path.last().map_or("", String::as_str);
    last == "resourceVersion" || last.ends_with("Time") || last.ends_with("Timestamp") || last.ends_with("At")
}

fn text(how: Spoil) -> String {
    match how {
        Spoil::Huge => "x".repeat(60_000),
        Spoil::HugeUnicode => "€".repeat(20_000),
        Spoil::Hostile => HOSTILE.to_owned(),
        Spoil::Edge(before) => format!("{}{SECRET}{}", "y ".repeat(before / 2), "z".repeat(5000)),
    }
}

fn spoil(object: &mut Value, path: &Path, how: Spoil) {
    let mut pointer = String::new();
    for key in path {
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
    }
    let Some(value) = object.pointer_mut(&pointer) else { return };
    match value {
        Value::Array(list) => {
            let Some(entry) = list.first().cloned() else { return };
            for n in 0..500 {
                let mut entry = entry.clone();
                // Conditions of a type each, containers of a name each.
                for key in ["type", "name"] {
                    if let Some(Value::String(name)) = entry.get_mut(key) {
                        *name = format!("{name}{n}");
                    }
                }
                list.push(entry);
            }
        }
        Value::Object(map) => {
            for n in 0..500 {
                map.insert(format!("key-{n}"), Value::String(text(how).chars().take(400).collect()));
            }
            map.insert(text(how), Value::String("x".into()));
        }
        value => *value = Value::String(text(how)),
    }
}

/// Takes an object in after its healthy cluster, lets a day pass, and returns all that is to be kept.
fn told(config: &Config, spoiled: &[(Kind, String)]) -> (Pipeline, Vec<Commit>) {
    let start = Start { first: false, news_since: Some(at(-60).into()), ..Start::default() };
    let (mut pipeline, _) = Pipeline::new(config, &Kind::ALL, at(0), start);
    let mut out = Output::default();
    let mut commits = Vec::new();
    for kind in Kind::ALL {
        pipeline.feed(at(0), Change::Listing(kind), &mut out);
        // What the spoiled ones are about.
        for (of, object) in objects() {
            let known = matches!(of, Kind::Namespace | Kind::Node | Kind::ReplicaSet | Kind::StatefulSet);
            if of == kind && known {
                pipeline.feed(at(0), Change::Initial(decode(of, &object.to_string()).unwrap()), &mut out);
            }
        }
        pipeline.feed(at(0), Change::Listed(kind), &mut out);
    }
    for (kind, json) in spoiled {
        let change = match decode(*kind, json) {
            Ok(object) => {
                let size = format!("{object:?}").len();
                let most = if *kind == Kind::Event { MAX_EVENT } else { MAX_OBJECT };
                assert!(size <= most, "{kind}: {size} bytes are kept");
                Change::Applied(object)
            }
            Err(bad) => Change::from(&bad),
        };
        assert!(format!("{change:?}").len() <= MAX_OBJECT);
        pipeline.feed(at(1), change, &mut out);
        commits.push(crate::app::commit::commit(&pipeline, &std::mem::take(&mut out), at(1)));
    }
    for hour in [1, 2, 26] {
        let now = clock::after(at(1), Duration::from_secs(hour * 3600));
        pipeline.tick_until(now, &mut out);
        commits.push(crate::app::commit::commit(&pipeline, &std::mem::take(&mut out), now));
    }
    (pipeline, commits)
}

fn check(config: &Config, spoiled: &[(Kind, String)]) -> usize {
    let (pipeline, commits) = told(config, spoiled);
    let mut rows = 0;
    for commit in &commits {
        let all = format!("{commit:?}");
        assert!(all.len() <= MAX_COMMIT, "{} bytes in one commit", all.len());
        // As `Debug` shows a string of JSON: escaped once, or twice.
        for bad in [SECRET, "ghp_Ab3dEf6hI", "hunter2hunter2", "\\r", "\\u001b", "\u{202e}", "\\u{202e}"] {
            if let Some((before, _)) = all.split_once(bad) {
                let around: Vec<char> = before.chars().rev().take(200).collect();
                panic!("{bad:?} behind …{}", around.iter().rev().collect::<String>());
            }
        }
        for row in commit.incidents.iter().chain(&commit.pending) {
            assert!(row.body.len() <= MAX_INCIDENT);
        }
        for notification in &commit.notifications {
            assert!(serde_json::to_string(notification).unwrap().len() <= MAX_NOTIFICATION);
            assert!(notification.title.len() <= MAX_TITLE && notification.title.lines().count() <= 1);
        }
        for row in commit.history.iter().chain(commit.summaries.iter().map(|(row, _)| row)) {
            assert!(row.title.len() <= MAX_TITLE && row.detail.len() <= MAX_DETAIL);
            assert!(row.workload.len() <= 400);
        }
        for row in &commit.digests {
            assert!(row.body.as_ref().is_none_or(|body| body.len() <= MAX_PART));
        }
        for row in &commit.objects {
            let object = &row.object;
            assert!(object.name.len() <= 253 && object.kind.len() <= 63, "{object:?}");
        }
        rows += commit.incidents.len() + commit.notifications.len() + commit.history.len();
    }
    let memory = format!("{:?}", pipeline.memory()).len();
    assert!(memory <= (MAX_OBJECT + MAX_EVENT) * (spoiled.len() + 4), "{memory} bytes in memory");
    rows
}

fn config() -> Arc<Config> {
    // A rule on Events as such, so that those no other rule wants come through as well.
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yaml");
    let raw = "rules:\n  - name: raw\n    match: {cause: Event}\n    severity: info\n";
    std::fs::write(&rules, raw).unwrap();
    crate::config::load(None, &[rules]).unwrap_or_else(|_| panic!("loads")).config
}

#[test]
fn the_objects_have_every_field_that_is_read_and_are_told() {
    let config = config();
    for (kind, object) in objects() {
        let decoded = decode(kind, &object.to_string()).unwrap();
        // Of metadata most is never read.
        let shown = format!("{decoded:?}");
        let own = shown.split("cut: 0").nth(1).unwrap_or_default();
        let missing =
            own.contains("None") && !(kind == Kind::Event && object["involvedObject"]["namespace"].is_null());
        let states = matches!(kind, Kind::Pod);
        assert!(!missing || states, "{kind}: {own}");
        assert!(!own.contains("[]") && !own.contains("\"\""), "{kind}: {own}");
        if matches!(kind, Kind::Node | Kind::Deployment | Kind::Job | Kind::Pod | Kind::Event) {
            assert!(check(&config, &[(kind, object.to_string())]) > 0, "nothing is told of {object}");
        }
    }
}

#[test]
fn no_field_of_any_kind_makes_a_row_or_the_memory_larger_than_stated() {
    let config = config();
    let mut fields = 0;
    for (kind, object) in objects() {
        let mut all = Vec::new();
        paths(&object, &mut Vec::new(), &mut all);
        let mut spoiled = Vec::new();
        for path in all.iter().filter(|path| !is_the_servers(path)) {
            fields += 1;
            for how in [Spoil::Huge, Spoil::Hostile, Spoil::Edge(2040)] {
                let mut object = object.clone();
                // An object of its own each, so that each is news.
                for key in ["name", "uid"] {
                    let name = object["metadata"][key].as_str().unwrap_or_default();
                    object["metadata"][key] = format!("{name}-{}", spoiled.len()).into();
                }
                spoil(&mut object, path, how);
                spoiled.push((kind, object.to_string()));
            }
        }
        check(&config, &spoiled);
        // All of them at once: what is in lists is spoiled before the lists are.
        let mut whole = object.clone();
        for path in all.iter().rev().filter(|path| !is_the_servers(path)) {
            spoil(&mut whole, path, Spoil::Hostile);
        }
        check(&config, &[(kind, whole.to_string())]);
    }
    assert!(fields > 150, "{fields} fields");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn neither_do_several_fields_of_several_objects(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_usize, 0..2100_usize), 1..12)
    ) {
        let config = config();
        let mut objects = objects();
        for (object, field, how, before) in picks {
            let object = object.index(objects.len());
            let (_, object) = &mut objects[object];
            let mut all = Vec::new();
            paths(object, &mut Vec::new(), &mut all);
            all.retain(|path| !is_the_servers(path));
            let how = [Spoil::Huge, Spoil::HugeUnicode, Spoil::Hostile, Spoil::Edge(before)][how];
            spoil(object, &all[field.index(all.len())].clone(), how);
        }
        let spoiled: Vec<(Kind, String)> = objects.into_iter().map(|(kind, o)| (kind, o.to_string())).collect();
        check(&config, &spoiled);
    }
}
