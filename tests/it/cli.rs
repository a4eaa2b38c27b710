//! The binary, as people and scripts meet it: what it prints, where, and how it ends.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use kubeherald::testkit::ApiServer;
use kubeherald::testkit::receivers::{Reply, WebhookServer};
use serde_json::Value;

use crate::flow::recording;

fn kubeherald() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("inside")).expect("makes the directory");
    std::fs::write(path, text).expect("writes");
}

#[test]
fn check_shows_three_mistakes_of_a_configuration_with_their_frames() {
    let dir = tempfile::tempdir().expect("a directory");
    write(
        dir.path(),
        "kubeherald.yaml",
        "cluster: lab\nreceivers:\n  oncall:\n    slack: {token: xoxb-12345-secret, channel: \"#a\"}\n    rate_limit: {per: 1 minute}\nroutes:\n  - {receivers: [oncal], continue: true}\n  - {receivers: [oncall]}\n",
    );
    let found = output(kubeherald().current_dir(dir.path()).args(["check", "kubeherald.yaml"]));
    assert_eq!(found.status.code(), Some(1));
    assert_eq!(stdout(&found), "");
    assert_eq!(
        stderr(&found),
        r##"error: a secret must not stand in the configuration
 --> kubeherald.yaml:4:20
  |
4 |     slack: {token: *****************, channel: "#a"}
  |                    ^^^^^^^^^^^^^^^^^
  |
  = help: name where it is: `{env: NAME}` or `{file: PATH}`

error: expected a duration, found `1 minute`
 --> kubeherald.yaml:5:23
  |
5 |     rate_limit: {per: 1 minute}
  |                       ^^^^^^^^ not a duration
  |
  = help: write a duration as `90s`, `5m`, `1h30m` or `2d`

error: there is no receiver named `oncal`
 --> kubeherald.yaml:7:18
  |
7 |   - {receivers: [oncal], continue: true}
  |                  ^^^^^
  |
  = help: did you mean `oncall`?

3 errors, 0 warnings
"##
    );
}

#[test]
fn check_shows_three_mistakes_of_a_rule_file_with_their_frames() {
    let dir = tempfile::tempdir().expect("a directory");
    write(
        dir.path(),
        "rules/mine.yaml",
        "rules:\n  - name: mine\n    match:\n      cause: CrashLopBackOff\n      namespace: {regex: \"(\"}\n    sevrity: critical\n",
    );
    let found = output(kubeherald().current_dir(dir.path()).args(["check", "rules"]));
    assert_eq!(found.status.code(), Some(1));
    let text = stderr(&found);
    for part in [
        "error: `CrashLopBackOff` is not a cause\n --> rules/mine.yaml:4:14\n",
        "4 |       cause: CrashLopBackOff\n  |              ^^^^^^^^^^^^^^^\n",
        "= help: did you mean `CrashLoopBackOff`?",
        " --> rules/mine.yaml:5:26\n",
        "error: unknown key `sevrity` in a rule\n --> rules/mine.yaml:6:5\n",
        "= help: did you mean `severity`?",
        "3 errors, 0 warnings",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn check_shows_three_mistakes_of_a_template_with_their_frames() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "templates/slack.title.hbs", "{{titel}}\n{{> nowhere}}\n{{duratoin 5}}\n");
    let found = output(kubeherald().current_dir(dir.path()).args(["check", "templates"]));
    assert_eq!(found.status.code(), Some(1));
    let text = stderr(&found);
    for part in [
        " --> templates/slack.title.hbs:1:1\n",
        "1 | {{titel}}\n  | ^^^^^^^^^\n",
        " --> templates/slack.title.hbs:2:1\n",
        " --> templates/slack.title.hbs:3:1\n",
        "3 errors, 0 warnings",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn what_is_shipped_is_well() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = output(kubeherald().current_dir(root).args(["check", "rules", "templates"]));
    assert_eq!((found.status.code(), stderr(&found).as_str()), (Some(0), "all is well\n"));
}

#[test]
fn wrong_usage_is_2_and_wrong_files_are_1() {
    assert_eq!(output(kubeherald().arg("watch")).status.code(), Some(2));
    assert_eq!(output(&mut kubeherald()).status.code(), Some(2));
    assert_eq!(output(kubeherald().args(["replay", "--then", "soon", "x"])).status.code(), Some(2));
    let missing = output(kubeherald().args(["replay", "missing.jsonl"]));
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("cannot read missing.jsonl"), "{}", stderr(&missing));
    let unknown = output(kubeherald().args(["send", "nobody"]));
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("no receiver is called `nobody`"), "{}", stderr(&unknown));
}

#[test]
fn help_teaches() {
    let help = stdout(&output(kubeherald().arg("--help")));
    for part in ["kubeherald demo", "kubeherald run", "Exit codes", "One problem is one message"] {
        assert!(help.contains(part), "no {part:?} in\n{help}");
    }
}

#[test]
fn a_broken_recording_is_named_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    write(
        dir.path(),
        "bad.jsonl",
        "{\"at\":\"2026-11-21T08:05:52Z\",\"type\":\"SYNCED\"}\n{\"at\":\"2026-11-21T08:05:53Z\",\"type\":\"CHANGED\"}\n",
    );
    let found = output(kubeherald().current_dir(dir.path()).args(["replay", "bad.jsonl"]));
    assert_eq!(found.status.code(), Some(1));
    assert!(stderr(&found).contains("bad.jsonl") && stderr(&found).contains('2'), "{}", stderr(&found));
}

/// The keys of the JSON contract, in order.
const KEYS: [&str; 18] = [
    "at",
    "decision",
    "incident",
    "rule",
    "cause",
    "severity",
    "namespace",
    "workload",
    "container",
    "node",
    "members",
    "occurrences",
    "since",
    "reason",
    "receivers",
    "title",
    "text",
    "incidents",
];

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn replay_keeps_its_json_contract() {
    let path = recording("node-down");
    let done = output(kubeherald().args(["replay", "--format", "json", "--then", "10m"]).arg(&path));
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert_eq!(stderr(&done), "", "nothing but messages, on a pipe");
    let text = stdout(&done);
    for line in text.lines() {
        let mut from = 0;
        for key in KEYS {
            let at = line[from..].find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key} in {line}"));
            from += at;
        }
        let value: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(value.as_object().expect("an object").len(), KEYS.len(), "{line}");
    }
    let lines = json_lines(&text);
    assert_eq!(lines.len(), 3);
    let (standing, first) = (&lines[0], &lines[1]);
    assert_eq!(standing["decision"], "standing");
    assert_eq!(standing["incidents"].as_array().map(Vec::len), Some(1));
    for key in ["incident", "rule", "cause", "namespace", "workload", "members", "occurrences", "since"] {
        assert!(standing[key].is_null(), "{key} does not apply to a summary");
    }
    assert_eq!(first["decision"], "first");
    assert_eq!(first["reason"], "first");
    assert_eq!(first["workload"], "Node/lab-node");
    assert_eq!(first["node"], "lab-node");
    assert_eq!(first["members"], serde_json::json!(["lab-node"]));
    assert_eq!(first["receivers"], serde_json::json!(["terminal"]));
    assert!(first["namespace"].is_null() && first["incidents"].is_null());
    assert_eq!(first["since"], "2026-11-21T08:18:53Z");
}

#[test]
fn replay_reads_plain_packed_and_piped_recordings_alike() {
    let path = recording("oom");
    let packed = output(kubeherald().args(["replay", "--format", "json"]).arg(&path));
    let plain = {
        let bytes = std::fs::read(&path).expect("reads");
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text)
            .expect("unpacks");
        text
    };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("oom.jsonl");
    std::fs::write(&file, &plain).expect("writes");
    let from_file = output(kubeherald().args(["replay", "--format", "json"]).arg(&file));
    let mut child = kubeherald()
        .args(["replay", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("a pipe").write_all(&plain).expect("reads all of it");
    let piped = child.wait_with_output().expect("it ends");
    assert!(!packed.stdout.is_empty());
    assert_eq!(stdout(&packed), stdout(&from_file));
    assert_eq!(stdout(&packed), stdout(&piped));
}

#[test]
fn replay_uses_the_rules_it_is_given() {
    let dir = tempfile::tempdir().expect("a directory");
    write(
        dir.path(),
        "rules/oom.yaml",
        "rules:\n  - {name: crash-loop, enabled: false}\n  - name: oom-killed\n    match: {cause: OOMKilled}\n    severity: info\n    summary: \"{{workload}} needs more memory\"\n",
    );
    let done = output(
        kubeherald()
            .args(["replay", "--format", "json", "--rules"])
            .arg(dir.path().join("rules"))
            .arg(recording("oom")),
    );
    let lines = json_lines(&stdout(&done));
    assert_eq!(lines.len(), 1, "{}", stderr(&done));
    assert_eq!(lines[0]["severity"], "info");
    assert_eq!(lines[0]["title"], "Deployment/memhog needs more memory");
}

pub(crate) fn kubeconfig(dir: &Path, server: &str) {
    write(
        dir,
        "kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sim\nclusters:\n- {{name: sim, cluster: {{server: \"{server}\"}}}}\nusers:\n- {{name: me, user: {{token: \"kube-token-SECRET-1\"}}}}\ncontexts:\n- {{name: sim, context: {{cluster: sim, user: me}}}}\n"
        ),
    );
}

/// What must never be seen anywhere, however it is given.
const SECRETS: [&str; 7] = [
    "kube-token-SECRET-1",
    "xoxb-SECRET-2",
    "hook-path-SECRET-3",
    "sign-SECRET-4",
    "smtp-SECRET-5",
    "bearer-SECRET-6",
    "query-SECRET-7",
];

/// A crash-looping pod, so that there is something to tell at once.
pub(crate) fn crashing() -> Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "bad", "namespace": "shop"},
        "spec": {"nodeName": "n1", "restartPolicy": "Always", "containers": [{"name": "app", "image": "i"}]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "app", "ready": false, "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}
        }]}
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_in_no_log_at_any_level_nor_in_metrics() {
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let server = ApiServer::start().await.expect("listens");
    server.apply(crashing()).expect("a pod");
    let hook = WebhookServer::start().await.expect("listens");
    hook.next(Reply::status(500, "try later"));
    hook.next(Reply::status(401, "go away"));
    let dir = tempfile::tempdir().expect("a directory");
    kubeconfig(dir.path(), &server.url());
    write(dir.path(), "token", "xoxb-SECRET-2\n");
    write(dir.path(), "url", "http://127.0.0.1:9/hook-path-SECRET-3?key=query-SECRET-7\n");
    write(dir.path(), "signing", "sign-SECRET-4");
    write(
        dir.path(),
        "kubeherald.yaml",
        &format!(
            "receivers:\n  slack:\n    slack: {{token: {{file: token}}, channel: \"#a\", api_url: \"http://127.0.0.1:9/api\"}}\n  dead:\n    webhook: {{url: {{file: url}}, sign: {{secret: {{file: signing}}}}, bearer: {{env: BEARER}}}}\n  live:\n    webhook: {{url: \"{}\", sign: {{secret: {{file: signing}}}}, bearer: {{env: BEARER}}}}\n  mail:\n    email: {{from: a@example.com, to: [b@example.com], smtp: {{host: 127.0.0.1, port: 9, tls: none, username: u, password: {{env: SMTP_PASSWORD}}}}}}\n",
            hook.url()
        ),
    );
    let logs = dir.path().join("logs");
    let listen = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        free.local_addr().expect("bound")
    };
    let mut child = kubeherald()
        .current_dir(dir.path())
        .env("KUBECONFIG", dir.path().join("kubeconfig"))
        .env("KUBEHERALD_LOG", "trace")
        .env("BEARER", "bearer-SECRET-6")
        .env("SMTP_PASSWORD", "smtp-SECRET-5")
        .args(["run", "--config", "kubeherald.yaml", "--store", "state.db", "--listen", &listen.to_string()])
        .stdout(std::fs::File::create(dir.path().join("out")).expect("a file"))
        .stderr(std::fs::File::create(&logs).expect("a file"))
        .spawn()
        .expect("it runs");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    // Until every receiver was tried.
    let mut metrics = String::new();
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Ok(answer) = reqwest::get(format!("http://{listen}/metrics")).await {
            #[allow(clippy::disallowed_methods, reason = "our own page, in a test")]
            let text = answer.text().await.unwrap_or_default();
            metrics = text;
        }
        let tried = ["slack", "dead", "mail"].iter().all(|r| {
            metrics
                .lines()
                .any(|l| l.starts_with("kubeherald_deliveries_total") && l.contains(r) && !l.ends_with(" 0"))
        });
        if tried && !hook.received().all().is_empty() {
            break;
        }
    }
    let pid = pid(&child);
    Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
    let ended = child.wait().expect("it ends");
    let (log, out) = (read("logs"), read("out"));
    assert_eq!(
        ended.code(),
        Some(0),
        "SIGTERM ends it in order:\n{}",
        &log[log.len().saturating_sub(2000)..]
    );
    assert!(!hook.received().all().is_empty(), "the live receiver was told");
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "it logged at every level");
    for secret in SECRETS {
        for (where_, text) in [("the log", &log), ("stdout", &out), ("metrics", &metrics)] {
            assert!(!text.contains(secret), "{secret} is in {where_}");
        }
    }
    // Nor in what is kept: rows hold messages, not credentials.
    let state = std::fs::read(dir.path().join("state.db")).expect("the store");
    for secret in SECRETS {
        assert!(!state.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} is in the store");
    }
}

fn pid(child: &std::process::Child) -> String {
    child.id().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_without_a_configuration_tells_the_terminal() {
    let server = ApiServer::start().await.expect("listens");
    server.apply(crashing()).expect("a pod");
    let dir = tempfile::tempdir().expect("a directory");
    kubeconfig(dir.path(), &server.url());
    let out = dir.path().join("out");
    let mut child = kubeherald()
        .current_dir(dir.path())
        .env("KUBECONFIG", dir.path().join("kubeconfig"))
        .arg("run")
        .stdout(std::fs::File::create(&out).expect("a file"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if std::fs::read_to_string(&out).unwrap_or_default().contains("Pod/bad") {
            break;
        }
    }
    Command::new("kill").args(["-INT", &pid(&child)]).status().expect("kill runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "Ctrl-C is a good end");
    let told = std::fs::read_to_string(&out).expect("reads");
    assert!(told.contains("1 problem was already open at startup") && told.contains("Pod/bad"), "{told}");
}

#[test]
fn run_without_a_cluster_says_so() {
    let done = output(kubeherald().env("HOME", "/nonexistent").arg("run"));
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).starts_with("error: found no cluster"), "{}", stderr(&done));
    let dir = tempfile::tempdir().expect("a directory");
    kubeconfig(dir.path(), "http://127.0.0.1:9");
    let done = output(kubeherald().env("KUBECONFIG", dir.path().join("kubeconfig")).arg("run"));
    assert_eq!(done.status.code(), Some(1));
    assert!(
        stderr(&done).contains("cannot reach the cluster at 127.0.0.1:9: connection refused"),
        "{}",
        stderr(&done)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_says_what_the_other_side_answered() {
    let hook = WebhookServer::start().await.expect("listens");
    let dir = tempfile::tempdir().expect("a directory");
    write(
        dir.path(),
        "k.yaml",
        &format!(
            "receivers:\n  live: {{webhook: {{url: \"{}\"}}}}\n  gone: {{webhook: {{url: \"http://127.0.0.1:9/\"}}}}\n",
            hook.url()
        ),
    );
    let send = |name: &'static str| {
        let dir = dir.path().to_owned();
        tokio::task::spawn_blocking(move || {
            output(kubeherald().current_dir(dir).args(["send", name, "-c", "k.yaml"]))
        })
    };
    let done = send("live").await.expect("runs");
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(stderr(&done).contains("delivered to `live`"), "{}", stderr(&done));
    let body = hook.received().all()[0].json();
    assert!(body["title"].as_str().is_some_and(|t| t.contains("Test message")), "{body}");
    hook.next(Reply::status(403, "no entry"));
    let done = send("live").await.expect("runs");
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("403"), "{}", stderr(&done));
    let done = send("gone").await.expect("runs");
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("not delivered"), "{}", stderr(&done));
}
