//! Overrides of rules, and rules that replace shipped ones and match less.

use std::time::Duration;

use super::super::Loaded;
use super::super::check::check;
use super::{Files, config_report, messages};
use crate::rule::testing::signal;
use crate::signal::{Cause, Severity};

/// The warnings about a configuration with rules of its own.
fn warnings(config: &str, rules: &str) -> (Files, String) {
    let files = Files::new(&[("kubeherald.yaml", config), ("own.yaml", rules)]);
    let loaded = files.load("kubeherald.yaml").expect("no error");
    let report = files.report(&loaded.warnings);
    (files, report)
}

fn with_rules(rules: &str) -> String {
    warnings("rules: {paths: [own.yaml]}\n", rules).1
}

fn severity(loaded: &Loaded, cause: Cause, namespace: &str) -> (Severity, Vec<String>) {
    let rule = loaded.config.rules.first_match(&signal(cause, namespace, "Deployment/web")).expect("a rule");
    (rule.severity, rule.overrides.iter().map(ToString::to_string).collect())
}

#[test]
fn every_key_of_an_override_arrives_and_the_configuration_has_the_last_word() {
    let config = r#"
receivers: {a: {webhook: {url: https://example.com}}}
rules: {paths: [own.yaml]}
overrides:
  - rule: crash-loop
    match: {namespace: batch, labels: {tier: {none_of: [gold]}}}
    severity: warning
    for: 1m
    count: {at_least: 3, within: 10m}
    group_wait: 10s
    group_by: [cause, workload]
    window: 6h
    max_window: 12h
    stable_for: 20m
    resolve_after: 40m
    send_resolved: false
    receivers: [a]
    summary: "{{workload}} loops"
    runbook: https://example.com/batch
    log_tail: {lines: 5}
  - {rule: evicted, match: {namespace: batch}, enabled: false}
"#;
    let own = "overrides: [{rule: crash-loop, severity: info, runbook: https://example.com/all}]\n";
    let files = Files::new(&[("kubeherald.yaml", config), ("own.yaml", own)]);
    let loaded = files.load("kubeherald.yaml").expect("no error");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let rules = &loaded.config.rules;
    let rule = rules.first_match(&signal(Cause::CrashLoopBackOff, "batch", "Deployment/web")).unwrap();
    let secs = Duration::from_secs;
    assert_eq!((&*rule.name, rule.severity, rule.for_duration), ("crash-loop", Severity::Warning, secs(60)));
    assert_eq!(rule.count.map(|count| (count.at_least, count.within)), Some((3, secs(600))));
    assert_eq!((rule.group_wait, rule.group_by.len(), rule.window), (Some(secs(10)), 2, secs(6 * 3600)));
    assert_eq!((rule.max_window, rule.stable_for), (secs(12 * 3600), secs(1200)));
    assert_eq!((rule.resolve_after, rule.send_resolved), (secs(2400), false));
    assert_eq!(rule.receivers.as_ref().map(|names| names.join(" ")).as_deref(), Some("a"));
    assert_eq!(
        (rule.summary.as_deref(), rule.log_tail.map(|tail| tail.lines)),
        (Some("{{workload}} loops"), Some(5))
    );
    assert_eq!(rule.runbook.as_deref(), Some("https://example.com/batch"));
    assert_eq!(
        rule.overrides[0].to_string(),
        "override 1 in own.yaml:1: severity, runbook",
        "those of rule files come first"
    );
    assert!(rule.overrides[1].starts_with("override 1 in kubeherald.yaml:5: severity, for, count"));
    assert_eq!(severity(&loaded, Cause::CrashLoopBackOff, "shop").0, Severity::Info);
    assert!(rules.first_match(&signal(Cause::Evicted, "batch", "Deployment/web")).is_none());
    assert!(rules.first_match(&signal(Cause::Evicted, "shop", "Deployment/web")).is_some());
}

#[test]
fn what_is_wrong_with_overrides() {
    let report = config_report(
        r#"
overrides:
  - {rule: crash-lop, severity: info}
  - {severity: info}
  - {rule: crash-loop, match: {severity: critical, count: {at_least: 2, within: 1m}, rule: x}, severity: high}
  - {rule: crash-loop, window: 2h, max_window: 1h}
  - {rule: crash-loop, windw: 2h}
  - {rule: crash-loop, summary: "{{wrkload}}"}
"#,
    );
    assert_eq!(
        messages(&report),
        [
            "error: there is no rule named `crash-lop`",
            "error: `rule` is missing",
            "error: an override gives a severity instead of matching one",
            "error: the `match` of an override does not count",
            "error: the rule is named beside `match`",
            "error: `high` is not a severity",
            "error: `max_window` is shorter than `window`",
            "error: unknown key `windw` in an override",
            "error: there is no variable `wrkload`",
        ]
    );
    for help in ["did you mean `crash-loop`?", "did you mean `window`?", "move `severity` out of `match`"] {
        assert!(report.contains(help), "{help} is not in\n{report}");
    }
}

#[test]
fn an_override_without_effect_is_warned_of() {
    let (_, report) = warnings(
        r"
rules: {paths: [own.yaml]}
overrides:
  - {rule: crash-loop, match: {cause: Evicted}, severity: info}
  - {rule: crash-loop, match: {namespace: batch}}
  - {rule: crash-loop, match: {namespace: batch}, severity: critical, window: 2h}
  - {rule: crash-loop, match: {namespace: shop}, severity: info, window: 3h}
  - {rule: crash-loop, severity: warning}
  - {rule: oom-killed, severity: info}
  - {rule: mine, match: {namespace: b}, severity: info}
  - {rule: mine, match: {namespace: a}, severity: info}
",
        "rules:\n  - {name: oom-killed, enabled: false}\n  - {name: mine, match: {cause: Evicted, namespace: a}}\n",
    );
    assert_eq!(
        messages(&report),
        [
            "warning: this override of `crash-loop` can never match",
            "warning: this override changes nothing",
            "warning: `severity` has no effect: override 5 in kubeherald.yaml:8 sets it for all of `crash-loop`",
            "warning: `severity` has no effect: override 5 in kubeherald.yaml:8 sets it for all of `crash-loop`",
            "warning: `oom-killed` is switched off",
            "warning: this override of `mine` can never match",
        ]
    );
    assert!(report.contains("the rule matches {cause: Evicted, namespace: a}"), "{report}");
    let (_, report) = warnings("overrides: [{rule: crash-loop, severity: critical, for: 0s}]\n", "");
    assert_eq!(
        messages(&report),
        ["warning: `crash-loop` has this `severity` already", "warning: `crash-loop` has this `for` already"]
    );
}

#[test]
fn a_rule_that_replaces_a_shipped_one_and_is_narrower_is_warned_of() {
    let report =
        with_rules("rules:\n  - name: job-failed\n    match: {cause: JobFailed, namespace: trial-b}\n");
    insta::assert_snapshot!(report);
}

#[test]
fn only_what_is_left_without_any_rule_is_warned_of() {
    for (rules, expected) in [
        // Other names, and replacements that take all of it.
        ("[{name: mine, match: {cause: JobFailed, namespace: a}}]", vec![]),
        ("[{name: job-failed, match: {cause: JobFailed}, for: 5m}]", vec![]),
        ("[{name: job-failed, enabled: false}]", vec![]),
        // The rest is another rule's.
        (
            "[{name: job-failed, match: {cause: JobFailed, namespace: a}}, {name: rest, match: {cause: JobFailed}}]",
            vec![],
        ),
        (
            "[{name: job-failed, match: {cause: JobFailed, namespace: a}}, \
             {name: rest, match: {cause: JobFailed, namespace: {none_of: [a]}}}]",
            vec![],
        ),
        // `crash-loop` has what this one leaves, as it had before.
        ("[{name: job-crash-loop, match: {cause: CrashLoopBackOff, namespace: a}}]", vec![]),
        (
            "[{name: job-failed, match: {cause: JobFailed, namespace: [a, b], labels: {team: x}}}]",
            vec![
                "warning: `job-failed` now matches only namespace `a` and `b` and `labels: {team: x}`; other \
                 problems of `JobFailed` have no rule",
            ],
        ),
        (
            "[{name: container-start, match: {cause: CreateContainerError}}]",
            vec!["warning: `container-start` no longer matches `RunContainerError`; no other rule does"],
        ),
    ] {
        let report = with_rules(&format!("rules: {rules}\n"));
        assert_eq!(messages(&report), expected, "{rules}");
    }
}

/// What `check --effective` prints is a rule file that does the same.
#[test]
fn the_rules_in_force_can_be_read_again() {
    let config = r#"
receivers: {a: {webhook: {url: https://example.com}}}
rules: {paths: [own.yaml]}
overrides:
  - {rule: crash-loop, match: {namespace: batch}, severity: info, window: 6h}
  - {rule: crash-loop, severity: warning, log_tail: true}
  - {rule: crash-loop, match: {namespace: {regex: "^team-"}}, enabled: false, summary: "x \"y\" {{workload}}"}
"#;
    let own = r#"
rules:
  - name: mine
    match:
      reason: {any_of: ["404", "a b"], none_of: [c]}
      labels: {"a/b": x}
      exit_code: {any_of: [1, 2], none_of: [3]}
    receivers: [a]
    group_by: [node]
    runbook: "https://example.com/#x"
"#;
    let files = Files::new(&[("kubeherald.yaml", config), ("own.yaml", own)]);
    let checked = check(&[files.path("kubeherald.yaml")], jiff::Timestamp::MIN);
    assert!(!checked.found.has_errors(), "{}", checked.found);
    let [effective] = checked.effective.as_slice() else { panic!("one configuration") };
    let part = effective.replace(&*files.root().to_string_lossy(), "DIR");
    let mine = part.split("  # shipped").next().unwrap_or_default();
    let crash = part.split("  # shipped/containers.yaml").nth(2).unwrap_or_default();
    let overrides = part.split("overrides:\n").nth(1).unwrap_or_default();
    insta::assert_snapshot!(format!("{mine}  # …{crash}overrides:\n{overrides}"));

    files.write("again.yaml", effective);
    files.write(
        "c2.yaml",
        "receivers: {a: {webhook: {url: https://example.com}}}\nrules: {paths: [again.yaml]}\n",
    );
    let again = check(&[files.path("c2.yaml")], jiff::Timestamp::MIN);
    assert!(!again.found.has_errors(), "{}", again.found);
    let plain = |text: &str| {
        text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(plain(&again.effective[0]), plain(effective));
}
