//! `kubeherald test`, as people and CI meet it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::flow::recording;

struct Files(tempfile::TempDir);

impl Files {
    /// A rule file, beside a recording of three pods of one Deployment that crash and are mended.
    fn new(rules: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("own.yaml"), rules).unwrap();
        std::fs::copy(recording("crashloop"), dir.path().join("crash-loop.jsonl.gz")).unwrap();
        Self(dir)
    }

    fn test(&self, args: &[&str]) -> Output {
        kubeherald(self.0.path(), args)
    }
}

fn kubeherald(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
    command.env_clear().current_dir(dir).stdin(Stdio::null()).arg("test").args(args);
    command.output().unwrap()
}

fn streams(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const RULES: &str = "\
rules:
  - {name: pay, match: {cause: CrashLoopBackOff, namespace: pay}, for: 2m, severity: warning}
tests:
";

fn with(tests: &str) -> Files {
    Files::new(&format!("{RULES}{tests}"))
}

#[test]
fn the_shipped_rules_pass() {
    let (code, stdout, stderr) = streams(&kubeherald(Path::new("/"), &[]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let count = stdout.lines().filter(|line| line.starts_with("ok   ")).count();
    assert!(stdout.ends_with(&format!("\n\n{count} passed, 0 failed\n")), "{stdout}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(streams(&kubeherald(root, &["rules"])), (Some(0), by_file_name(&stdout), String::new()));
}

/// A directory is read in the order of its names, which is not that of the shipped packs.
fn by_file_name(stdout: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut expected = String::new();
    for pack in ["containers", "nodes", "scheduling", "terminating", "volumes", "workloads"] {
        let text = std::fs::read_to_string(root.join(format!("rules/{pack}.yaml"))).unwrap();
        let (_, tests) = text.split_once("\ntests:").unwrap();
        for name in tests.lines().filter_map(|line| line.strip_prefix("  - name: ")) {
            expected.push_str(&format!("ok   {name}\n"));
        }
    }
    expected.push_str(stdout.lines().last().map(|line| format!("\n{line}\n")).unwrap().as_str());
    expected
}

#[test]
fn recordings_and_signals_pass() {
    let files = with(
        r"  - name: three pods of one deployment are one message
    recording: crash-loop.jsonl.gz
    expect:
      - {at: 35s, decision: first, rule: crash-loop, workload: Deployment/checkout, members: 3}
      - {at: 6m11s, within: 1s, decision: resolved, severity: critical, cause: CrashLoopBackOff,
         namespace: s-crashloop, container: checkout, receivers: [terminal]}
  - name: nothing else is asked
    recording: crash-loop.jsonl.gz
    only: false
    expect: [{decision: resolved}]
  - name: pay waits
    given:
      - {at: 3m, cause: CrashLoopBackOff, namespace: pay, phase: cleared}
      - {at: 0s, cause: CrashLoopBackOff, namespace: pay}
    expect: [{at: 2m5s, decision: first, rule: pay, title: Deployment/app}, {at: 8m, decision: resolved}]
  - {name: no message, given: [{at: 0s, cause: Event, reason: Foo}], expect: []}
  - name: a reminder, when the clock runs on
    given: [{at: 0s, cause: Evicted}, {at: 14m, cause: Evicted}, {at: 28m, cause: Evicted}, {at: 40m, cause: Evicted}, {at: 54m, cause: Evicted}]
    then: 8m
    expect: [{at: 20s, decision: first, occurrences: 1}, {at: 1h20s, decision: reminder, occurrences: 5}]
",
    );
    let (code, stdout, stderr) = streams(&files.test(&["own.yaml"]));
    assert_eq!(stderr, "");
    assert!(stdout.ends_with("\n5 passed, 0 failed\n"), "{stdout}");
    assert_eq!(code, Some(0));
}

#[test]
fn what_differs_is_shown_in_columns() {
    let files = with(
        r"  - name: two pods
    recording: crash-loop.jsonl.gz
    expect:
      - {at: 35s, decision: first, rule: crash-loop, workload: Deployment/checkout, members: 2, title: nothing}
      - {at: 1h, decision: reminder, rule: crash-loop}
  - name: at once
    given: [{at: 0s, cause: CrashLoopBackOff, namespace: pay}]
    expect: [{at: 5s, decision: first, rule: pay}]
  - name: both
    given: [{at: 0s, cause: ImagePullBackOff}, {at: 1m, cause: RolloutStuck, workload: Deployment/app}]
    expect: [{at: 35s, decision: first, rule: image-pull}, {at: 95s, decision: first, rule: rollout-stuck}]
  - {name: right, given: [{at: 0s, cause: Evicted}], expect: [{decision: first}]}
",
    );
    let (code, stdout, stderr) = streams(&files.test(&["own.yaml"]));
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    assert_eq!(
        stdout,
        r#"FAIL two pods (own.yaml:4)
       at     decision  rule        workload             members
     - 35s    first     crash-loop  Deployment/checkout  2
     + 36s    first     crash-loop  Deployment/checkout  3
                                                         ^
     - title with "nothing"
     + title "Deployment/checkout in s-crashloop keeps crashing: exit code 3"
     - 1h     reminder  crash-loop
     + 6m11s  resolved  crash-loop  Deployment/checkout  3
     not told:
       45s crash-loop Deployment/checkout: within_window
FAIL at once (own.yaml:9)
       at    decision  rule  workload        members
     - 5s    first     pay
     + 2m5s  first     pay   Deployment/app  1
       ^^^^
FAIL both (own.yaml:12)
       at     decision  rule           workload        members
     = 35s    first     image-pull     Deployment/app  1
     - 1m35s  first     rollout-stuck
     not told:
       1m30s rollout-stuck Deployment/app: inhibited_by image-pull Deployment/app
ok   right

1 passed, 3 failed
"#
    );
}

#[test]
fn recordings_that_cannot_be_read_are_shown_where_they_are_named() {
    let files = with(
        r"  - {name: none, recording: missing.jsonl, expect: []}
  - {name: nonsense, recording: own.yaml, expect: []}
",
    );
    let (code, stdout, stderr) = streams(&files.test(&["."]));
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    assert_eq!(
        stdout,
        r#"FAIL none (./own.yaml:4)
error: ./missing.jsonl: No such file or directory (os error 2)
 --> ./own.yaml:4:29
  |
4 |   - {name: none, recording: missing.jsonl, expect: []}
  |                             ^^^^^^^^^^^^^
  |
  = help: a recording is `.jsonl` or `.jsonl.gz`, relative to the file that names it
FAIL nonsense (./own.yaml:5)
error: ./own.yaml:1: expected value (column 1); expected {"at": <RFC 3339 time>, "type": "ADDED|MODIFIED|DELETED|BOOKMARK|SYNCED", "object": {…}}
 --> ./own.yaml:5:33
  |
5 |   - {name: nonsense, recording: own.yaml, expect: []}
  |                                 ^^^^^^^^

0 passed, 2 failed
"#
    );
}

#[test]
fn mistakes_in_tests_have_frames_and_nothing_runs() {
    let files = with(
        r"  - {name: a, given: [{at: 0s, cause: CrashLopBackOff}], expect: []}
  - {name: b, given: [{at: 0s, cause: Evicted}], expect: [{within: 3s, decison: first}]}
",
    );
    let (code, stdout, stderr) = streams(&files.test(&["own.yaml"]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(
        stderr,
        r"error: `CrashLopBackOff` is not a cause
 --> own.yaml:4:39
  |
4 |   - {name: a, given: [{at: 0s, cause: CrashLopBackOff}], expect: []}
  |                                       ^^^^^^^^^^^^^^^
  |
  = help: did you mean `CrashLoopBackOff`?

error: `within` needs `at`
 --> own.yaml:5:60
  |
5 |   - {name: b, given: [{at: 0s, cause: Evicted}], expect: [{within: 3s, decison: first}]}
  |                                                            ^^^^^^

error: unknown key `decison` in an expected message
 --> own.yaml:5:72
  |
5 |   - {name: b, given: [{at: 0s, cause: Evicted}], expect: [{within: 3s, decison: first}]}
  |                                                                        ^^^^^^^
  |
  = help: did you mean `decision`?
"
    );
}

#[test]
fn no_test_is_no_success() {
    let files = Files::new("rules: [{name: a, match: {cause: Evicted}}]\n");
    let (code, stdout, stderr) = streams(&files.test(&["own.yaml"]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "error: there is no test in these files; tests are written under `tests:`\n");
    let (code, _, stderr) = streams(&files.test(&["nowhere.yaml"]));
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: there is no such file or directory\n--> nowhere.yaml\n"), "{stderr}");
    assert_eq!(files.test(&["--nonsense"]).status.code(), Some(2));
}

#[test]
fn receivers_come_from_a_configuration() {
    let files = with(
        r"  - {name: who, given: [{at: 0s, cause: Evicted}], expect: [{decision: first, receivers: [mail]}]}
",
    );
    let config = "receivers: {hook: {webhook: {url: https://example.com}}, mail: {webhook: {url: https://example.com}}}
routes: [{match: {rule: pay}, receivers: [hook]}, {receivers: [mail]}]
rules: {paths: [own.yaml]}
";
    std::fs::write(files.0.path().join("kubeherald.yaml"), config).unwrap();
    let (code, stdout, _) = streams(&files.test(&["--config", "kubeherald.yaml"]));
    assert_eq!((code, stdout.as_str()), (Some(0), "ok   who\n\n1 passed, 0 failed\n"));
}

#[test]
fn schemas_are_printed_as_json() {
    for (args, title) in [
        (&["schema"][..], "kubeherald configuration"),
        (&["schema", "config"], "kubeherald configuration"),
        (&["schema", "rules"], "kubeherald rules"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubeherald"));
        let (code, stdout, stderr) = streams(&command.env_clear().args(args).output().unwrap());
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["title"], title);
    }
}

#[test]
fn the_documented_tests_pass() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing-rules.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    let block = |start: &str| *blocks.iter().find(|block| block.starts_with(start)).unwrap();
    let files = Files::new(&format!("{}{}", block("# deploy/rules/own.yaml\n"), block("tests:\n")));
    let (code, stdout, stderr) = streams(&files.test(&["own.yaml"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with("\n\n2 passed, 0 failed\n"), "{stdout}");
}

/// The example rule of the documentation but for its labels, which nothing in the recording has; its test as written; and
/// the recording cut to what that test says: it begins 10 s before the message and ends before the end.
#[test]
fn the_test_of_the_documented_example_passes() {
    let files = Files::new(
        r#"rules:
  - name: crash-loop
    match:
      cause: CrashLoopBackOff            # a string, a list (any of), or {any_of, none_of, regex, not_regex}
      namespace: {none_of: [kube-system]}
    for: 0s
    severity: critical                   # info | warning | critical
    window: 1h
    summary: "{{workload}} keeps crashing ({{exit}})"
    runbook: https://runbooks.example.com/crash-loop
tests:                                   # run by `kubeherald test`
  - name: three pods of one deployment are one message
    recording: crash-loop.jsonl          # or inline `given:` signals with times
    expect: [{at: 10s, decision: first, rule: crash-loop, workload: Deployment/checkout, members: 3}]
"#,
    );
    let packed = std::fs::File::open(recording("crashloop")).unwrap();
    let lines = std::io::read_to_string(flate2::read::MultiGzDecoder::new(packed)).unwrap();
    let lines: String = lines
        .lines()
        .filter(|line| line[..40] < *r#"{"at":"2026-11-21T08:11"#)
        .map(|line| {
            if line.contains(r#""type":"SYNCED""#) {
                String::from("{\"at\":\"2026-11-21T08:06:18Z\",\"type\":\"SYNCED\"}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    std::fs::write(files.0.path().join("crash-loop.jsonl"), lines).unwrap();
    let (code, stdout, stderr) = streams(&files.test(&["own.yaml"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    // It takes the place of a shipped rule and leaves one namespace out.
    assert!(
        stderr.starts_with("warning: `crash-loop` now matches only `namespace: {none_of: kube-system}`"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("warning: ").count(), 1, "{stderr}");
}
