//! Overrides of rules, from the file to what is told.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kubeherald::app::reload::Source;
use kubeherald::app::run::{Options, run_in};
use kubeherald::store::{self, Driver, Store};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::flow::recording;
use crate::world::{HOOK, Life, checkout, in_paused_time, loaded};

fn kubeherald(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().current_dir(dir).args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const TESTS: &str = r"
tests:
  - name: batch may loop for a minute
    given: [{at: 0s, cause: CrashLoopBackOff, namespace: batch}]
    expect: [{at: 1m5s, decision: first, rule: crash-loop, severity: info, title: a batch job loops}]
  - name: others are told as ever
    given: [{at: 0s, cause: CrashLoopBackOff, namespace: shop}]
    expect: [{at: 5s, decision: first, rule: crash-loop, severity: critical, title: keeps crashing}]
  - name: evictions of batch are nobody's matter
    given: [{at: 0s, cause: Evicted, namespace: batch}]
    expect: []
";

#[test]
fn the_tests_of_a_rule_file_run_with_its_overrides() {
    let dir = tempfile::tempdir().expect("a directory");
    let overrides = "overrides:\n\
        \x20 - {rule: crash-loop, match: {namespace: batch}, severity: info, for: 1m, summary: a batch job loops}\n\
        \x20 - {rule: evicted, match: {namespace: batch}, enabled: false}\n";
    std::fs::write(dir.path().join("own.yaml"), format!("{overrides}{TESTS}")).expect("writes");
    let output = kubeherald(dir.path(), &["test", "own.yaml"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    // Without them the first and the last test fail.
    std::fs::write(dir.path().join("own.yaml"), TESTS).expect("writes");
    let output = kubeherald(dir.path(), &["test", "own.yaml"]);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.code() == Some(1) && said.contains("2 failed"), "{said}");
}

/// One of forty pods may be what a rule is more severe for: nobody should wait for a message of its own.
#[test]
fn an_incident_goes_by_the_worst_of_its_objects() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = r"
overrides:
  - {rule: crash-loop, severity: info}
  - {rule: crash-loop, match: {name: app-2}, severity: critical}
tests:
  - name: the second pod makes it worse
    given:
      - {at: 0s, cause: CrashLoopBackOff, name: app-1}
      - {at: 30s, cause: CrashLoopBackOff, name: app-2}
      - {at: 60s, cause: CrashLoopBackOff, name: app-3}
    expect:
      - {at: 5s, decision: first, severity: info, members: 1}
      - {at: 35s, decision: grew, severity: critical, members: 2}
    then: 2m
";
    std::fs::write(dir.path().join("own.yaml"), file).expect("writes");
    let output = kubeherald(dir.path(), &["test", "own.yaml"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_replay_shows_what_an_override_would_have_said() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("own.yaml"), "overrides: [{rule: crash-loop, severity: info}]\n")
        .expect("writes");
    let path = recording("crashloop");
    let severities = |rules: &[&str]| {
        let mut args = vec!["replay", path.to_str().expect("a path"), "--format", "json"];
        args.extend(rules);
        let output = kubeherald(dir.path(), &args);
        let lines = text(&output.stdout);
        let of = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["severity"].clone();
        lines.lines().map(of).collect::<Vec<_>>()
    };
    assert!(severities(&[]).contains(&Value::from("critical")));
    let changed = severities(&["--rules", "own.yaml"]);
    assert!(
        changed.contains(&Value::from("info")) && !changed.contains(&Value::from("critical")),
        "{changed:?}"
    );
}

#[test]
fn an_incident_keeps_its_identity_when_overrides_come_and_go() {
    in_paused_time(|| async {
        let life = Life::new();
        let options = store::Options { driver: Driver::Inline, ..store::Options::default() };
        let store = Store::open_with(&options).unwrap();
        let with = "overrides:\n  - {rule: crash-loop, match: {namespace: shop}, severity: warning, \
                    runbook: \"https://example.com/shop\", send_resolved: true}\n";
        let configs = [loaded(HOOK), loaded(&format!("{HOOK}{with}")), loaded(HOOK)];
        let config = Arc::clone(&configs[0].config);
        let loads = AtomicUsize::new(0);
        let source = Source::given(move || Ok(configs[loads.fetch_add(1, Ordering::Relaxed).min(2)].clone()));
        let signal = Arc::clone(&source.signal);
        let (begun, _) = source.begin().unwrap();
        let stop = CancellationToken::new();
        let world = life.world(store.clone(), Arc::default());
        let run = Options { reload: Some(begun), ..life.options(5) };
        let bot = tokio::spawn(run_in(world, config, run, stop.clone()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let looping = checkout()
            .last(1, "Error", "-20s", "-10s")
            .waiting("CrashLoopBackOff", "back-off restarting failed container")
            .restarts(3);
        life.apply(looping.into());
        tokio::time::sleep(Duration::from_secs(60)).await;
        let overrides = || async {
            let rows = store.load_incidents().await.unwrap();
            assert_eq!(rows.len(), 1);
            let body: Value = serde_json::from_str(&rows[0].1).unwrap();
            (body["rule"].clone(), body["overrides"].clone())
        };
        assert_eq!(overrides().await, (Value::from("crash-loop"), Value::Null));
        signal.notify_one();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (rule, changed) = overrides().await;
        assert_eq!(rule, "crash-loop");
        let changed = changed[0].as_str().unwrap().to_owned();
        assert!(changed.starts_with("override 1 in kubeherald.yaml:"), "{changed}");
        assert!(changed.ends_with(": severity, send_resolved, runbook"), "{changed}");
        // Two hours: the window ends, and it is reminded of. Without the override it is more severe again, which is told.
        tokio::time::sleep(Duration::from_secs(7200)).await;
        signal.notify_one();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(overrides().await.1, Value::Null);
        life.apply(checkout().running("-1s").restarts(4).into());
        tokio::time::sleep(Duration::from_secs(1200)).await;
        stop.cancel();
        bot.await.unwrap().unwrap();
        let bodies = std::mem::take(&mut *life.receivers.trace.lock().unwrap());
        let bodies: Vec<Value> =
            bodies.iter().map(|(_, _, body)| serde_json::from_str(body).unwrap()).collect();
        let told: Vec<(&str, &Value, bool)> = bodies
            .iter()
            .map(|body| {
                let one = &body["incidents"][0];
                let runbook = one.to_string().contains("https://example.com/shop");
                (body["decision"].as_str().unwrap(), &one["id"], runbook)
            })
            .collect();
        let id = told[0].1;
        assert!(id.is_string());
        let decisions: Vec<(&str, bool)> = told.iter().map(|(what, _, runbook)| (*what, *runbook)).collect();
        assert_eq!(decisions, [("first", false), ("reminder", true), ("grew", false), ("resolved", false)]);
        assert!(told.iter().all(|(_, one, _)| *one == id), "{told:?}");
    });
}
