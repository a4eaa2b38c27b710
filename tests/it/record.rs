//! `record`: what it writes is what `replay` and `test` read, and says the same as a bot that watched.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kubeherald::app::record::{Ended, Options, Summary, record};
use kubeherald::clock::Clock;
use kubeherald::recording::mask::Masker;
use kubeherald::recording::writer::RecordingWriter;
use kubeherald::recording::{LineKind, RecordingFile};
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::builders::pod;
use kubeherald::watch::stream::{self, Tuning};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::run::{Played, end};

fn options(server: &ApiServer, clock: Clock) -> Options {
    let config = kube::Config::new(server.url().parse().unwrap());
    Options {
        client: stream::client(config).unwrap(),
        namespaces: Vec::new(),
        masker: Masker::default(),
        clock,
        tuning: Tuning { backoff_min: Duration::from_millis(20), ..Tuning::default() },
    }
}

fn read(path: &Path) -> Vec<(LineKind, Value)> {
    RecordingFile::open(path)
        .unwrap()
        .map(|line| line.unwrap())
        .map(|line| (line.kind, serde_json::from_str(line.object.get()).unwrap()))
        .collect()
}

/// `ADDED Pod/a`
fn shapes(path: &Path) -> Vec<String> {
    let lines = read(path).into_iter().map(|(kind, object)| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        format!("{kind:?} {}/{name}", object["kind"].as_str().unwrap_or_default())
    });
    lines.collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let late = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < late, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kubeherald(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("KUBECONFIG", dir.join("kubeconfig"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    command
}

async fn output(dir: &Path, args: &[&str]) -> Output {
    let mut command = kubeherald(dir, args);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn kubeconfig(dir: &Path, server: &ApiServer) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters: [{{name: lab, cluster: {{server: \"{}\"}}}}]\n\
         users: [{{name: me, user: {{}}}}]\ncontexts: [{{name: lab, context: {{cluster: lab, user: me}}}}]\n",
        server.url()
    );
    std::fs::write(dir.join("kubeconfig"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replay_of_what_was_recorded_says_what_the_bot_said() {
    let mut played = Played::new("crashloop").await;
    let path = played.dir.path().join("night.jsonl.gz");
    let writer = RecordingWriter::create(&path, false, 1 << 30).unwrap();
    let (stop_run, stop) = (CancellationToken::new(), CancellationToken::new());
    let bot = played.start(&stop_run);
    let recorder =
        tokio::spawn(record(options(&played.server, played.clock.clone()), writer, stop.clone(), |_| {}));
    played.play(1.0).await;
    played.then().await;
    stop.cancel();
    let summary: Summary = recorder.await.unwrap().unwrap();
    end(stop_run, bot).await;
    assert!(
        summary.ended == Ended::Asked && summary.unreadable.is_empty() && summary.ahead.is_none(),
        "{summary:?}"
    );
    let told = played.told();
    assert_eq!(told, ["first crash-loop Deployment/checkout", "resolved crash-loop Deployment/checkout"]);

    // No `--then`: the recording itself says how long nothing more came.
    let replayed = output(played.dir.path(), &["replay", "night.jsonl.gz", "--format", "json"]).await;
    let lines: Vec<Value> =
        replayed.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let brief = |v: &Value| format!("{} {} {}", text(&v["decision"]), text(&v["rule"]), text(&v["workload"]));
    assert_eq!(lines.iter().map(brief).collect::<Vec<_>>(), told, "{}", stderr(&replayed));

    let test = "tests:\n  - name: last night\n    recording: night.jsonl.gz\n    expect:\n      \
                - {decision: first, rule: crash-loop, workload: Deployment/checkout}\n      \
                - {decision: resolved, rule: crash-loop}\n";
    std::fs::write(played.dir.path().join("night.yaml"), test).unwrap();
    let tested = output(played.dir.path(), &["test", "night.yaml"]).await;
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(tested.status.success() && said.contains("1 passed, 0 failed"), "{said}{}", stderr(&tested));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_namespace_is_recorded_with_its_nodes_and_without_its_secrets() {
    let server = ApiServer::start().await.unwrap();
    let secret = json!({"spec": {"containers": [{"name": "app", "image": "a", "env": [{"name": "P", "value": "hunter2"}]}]}});
    for namespace in ["shop", "other", "default"] {
        let mut object = pod("web").namespace(namespace).json();
        object["spec"]["containers"][0]["env"] = secret["spec"]["containers"][0]["env"].clone();
        object["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
        server.apply(object).unwrap();
        server
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
            .unwrap();
    }
    server.apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})).unwrap();
    for (name, about) in [("of-node", "Node"), ("of-pod", "Pod")] {
        server
            .apply(json!({
                "apiVersion": "v1", "kind": "Event", "reason": "X", "message": "token=hunter2hunter2",
                "metadata": {"name": name, "namespace": "default"}, "involvedObject": {"kind": about, "name": "n1"},
            }))
            .unwrap();
    }
    server.forbid("persistentvolumeclaims");
    let dir = tempfile::tempdir().unwrap();
    kubeconfig(dir.path(), &server);
    let args = ["record", "--for", "1s", "-n", "shop", "-o", "a.jsonl"];
    let done = output(dir.path(), &args).await;
    let said = stderr(&done);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("warning: PersistentVolumeClaim objects are not recorded: 403: "), "{said}");
    assert!(said.contains("recorded 6 lines in"), "{said}");
    let path = dir.path().join("a.jsonl");
    let mut lines = shapes(&path);
    assert_eq!(lines.split_off(4), ["Synced /", "Bookmark /"]);
    lines.sort();
    assert_eq!(lines, ["Added Event/of-node", "Added Namespace/shop", "Added Node/n1", "Added Pod/web"]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("managedFields"), "{text}");
    assert!(text.contains("\"name\":\"P\",\"value\":\"[masked]\""), "{text}");
    assert!(server.requests().iter().all(|request| !request.uri.contains("/secrets")));

    let again = output(dir.path(), &args).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("a.jsonl is there already"), "{}", stderr(&again));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_bridged_and_nothing_comes_twice() {
    let server = ApiServer::start().await.unwrap();
    for name in ["a", "b"] {
        server.apply(pod(name).json()).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("a.jsonl");
    let writer = RecordingWriter::create(&path, false, 1 << 20).unwrap();
    let stop = CancellationToken::new();
    let recorder = tokio::spawn(record(options(&server, Clock::System), writer, stop.clone(), |_| {}));
    until("it watches", || server.open_watches("pods") == 1).await;
    // While nobody watches one pod goes, and the server forgets that it did.
    server.stop().await;
    server.delete("Pod", "default", "a");
    server.apply(pod("c").json()).unwrap();
    server.compact();
    server.restart().await.unwrap();
    until("it watches again", || server.open_watches("pods") == 1).await;
    server.apply(pod("b").phase("Failed").json()).unwrap();
    until("it is written", || shapes(&path).iter().any(|line| line == "Modified Pod/b")).await;
    stop.cancel();
    recorder.await.unwrap().unwrap();
    let lines: Vec<String> = shapes(&path).into_iter().filter(|line| line.contains("Pod/")).collect();
    let mut gap = lines[2..4].to_vec();
    gap.sort();
    assert_eq!(lines[..2], ["Added Pod/a", "Added Pod/b"]);
    assert_eq!(
        (gap, &lines[4..]),
        (vec!["Added Pod/c".to_owned(), "Deleted Pod/a".to_owned()], &["Modified Pod/b".to_owned()][..])
    );
}

#[tokio::test]
async fn a_cluster_that_shows_nothing_and_wrong_usage_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code, part) in [
        (&["record", "--for", "soon"][..], 2, "write a duration as `90s`"),
        (&["record", "--max-bytes", "much"], 2, "write a size as `512Mi`"),
        (&["record", "-n", "Shop*"], 2, "this cannot be the name of a namespace"),
        (&["record"], 1, "found no cluster"),
    ] {
        let done = output(dir.path(), args).await;
        assert_eq!(done.status.code(), Some(code), "{}", stderr(&done));
        assert!(stderr(&done).contains(part), "{}", stderr(&done));
    }
}
