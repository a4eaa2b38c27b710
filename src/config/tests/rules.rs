use std::collections::HashSet;
use std::time::Duration;

use super::super::{Expect, TestInput, load, shipped};
use super::{Files, messages, rules_report};
use crate::rule::testing::signal;
use crate::rule::{CountMatch, GroupBy};
use crate::signal::{Cause, Severity};

#[test]
fn three_mistakes_make_three_frames() {
    let report = rules_report(
        "rules:\n\
         \x20 - name: crash-loop\n\
         \x20   match: {cause: ErrImagePull}\n\
         \x20   for: 5 minutes\n\
         \x20   summary: \"{{wrkload}} is down\"\n",
    );
    insta::assert_snapshot!(report);
}

#[test]
fn every_key_of_a_rule_arrives() {
    let text = r#"
rules:
  - name: mine
    match:
      cause: {any_of: [CrashLoopBackOff, OOMKilled], none_of: [OOMKilled]}
      reason: CrashLoopBackOff
      source: status
      namespace: {none_of: [kube-system], regex: "^shop", not_regex: [-dev$, -test$]}
      kind: Pod
      name: [a, b]
      workload: Deployment/web
      container: app
      node: n1
      message: {regex: back-off}
      type: Warning
      labels: {team: payments, tier: {none_of: dev}}
      annotations: {a/b: [x]}
      exit_code: {none_of: [0, 143]}
      count: {at_least: 3, within: 10m}
    for: 90s
    severity: critical
    window: 30m
    max_window: 2h
    group_wait: 0s
    group_by: [cause, node]
    stable_for: 1m
    resolve_after: 1h30m
    send_resolved: false
    receivers: [a]
    summary: "{{workload}}: {{why}}"
    runbook: https://example.com
    enabled: true
tests:
  - name: nothing
    given: [{at: 0s, cause: CrashLoopBackOff, labels: {a: b}, exit_code: 3}, {at: 5s, phase: cleared, reason: x}]
    expect: []
  - name: one
    recording: crash-loop.jsonl
    expect: [{at: 10s, decision: first, rule: mine, workload: Deployment/checkout, members: 3}]
"#;
    let config = "receivers: {a: {webhook: {url: https://example.com}}}\nrules: {paths: [r.yaml]}\n";
    let files = Files::new(&[("r.yaml", text), ("c.yaml", config)]);
    let loaded = files.load("c.yaml").expect("no error");
    let rule = loaded.config.rules.get("mine").expect("the rule");
    let secs = Duration::from_secs;
    assert_eq!(rule.matcher.causes, [Cause::CrashLoopBackOff]);
    assert_eq!(
        (rule.matcher.texts.len(), rule.matcher.labels.len(), rule.matcher.annotations.len()),
        (9, 2, 1)
    );
    assert_eq!(rule.matcher.exit_code.none_of, [0, 143]);
    assert_eq!(rule.count, Some(CountMatch { at_least: 3, within: secs(600) }));
    assert_eq!((rule.for_duration, rule.severity), (secs(90), Severity::Critical));
    assert_eq!((rule.window, rule.max_window, rule.group_wait), (secs(1800), secs(7200), Some(secs(0))));
    assert_eq!(rule.group_by, [GroupBy::Cause, GroupBy::Node]);
    assert_eq!((rule.stable_for, rule.resolve_after, rule.send_resolved), (secs(60), secs(5400), false));
    assert_eq!(rule.receivers.as_ref().map(|names| names.join(" ")).as_deref(), Some("a"));
    let [nothing, one] = loaded.tests.as_slice() else { panic!("two tests") };
    assert!(matches!(&nothing.input, TestInput::Given(given) if given.len() == 2));
    assert!(matches!(&one.input, TestInput::Recording(path, _) if *path == files.path("crash-loop.jsonl")));
    assert!(matches!(one.expect.as_slice(), [Expect { decision: Some("first"), members: Some(3), .. }]));
}

#[test]
fn what_is_wrong_with_rules() {
    let report = rules_report(
        r#"
rules:
  - name: a
    match: {namespace: "team-*", workload: web, type: warning, labels: team, exit_code: 300}
  - {name: a, match: {severity: critical, cause: [CrashLoopBackoff, Nonsense]}}
  - {match: {cause: Evicted}, severity: high, group_by: [pod]}
  - name: b
    for: 5
    window: 2h
    max_window: 1h
    count: {at_least: 0, within: 5m}
  - {name: c, match: {message: {regex: "(", not_regex: "(a{1000}){1000}"}, cause: {regex: "^X"}}, log_tail: {lines: 101, bytes: 99}}
  - {name: crash-lop, enabled: false}
tests:
  - {name: t, expect: [{decision: frist}]}
  - {name: u, given: [{}], expect: []}
"#,
    );
    assert_eq!(
        messages(&report),
        [
            "error: `team-*` can never match",
            "error: `web` can never match",
            "error: `warning` is not a type of Events",
            "error: expected conditions by key, found `team`",
            "error: expected a whole number from -1 to 255, found `300`",
            "error: there are two rules named `a`",
            "error: a rule gives a severity instead of matching one",
            "error: `CrashLoopBackoff` is not a cause",
            "error: `Nonsense` is not a cause",
            "error: `name` is missing",
            "error: `high` is not a severity",
            "error: `pod` is not a field to group by",
            "error: `match` is missing",
            "error: expected a duration, found `5`",
            "error: `max_window` is shorter than `window`",
            "error: expected a whole number from 1 to 1000000, found `0`",
            "error: `(` is not a regular expression",
            "error: `(a{1000}){1000}` is not a regular expression",
            "error: no cause meets this condition",
            "error: expected a whole number from 1 to 100, found `101`",
            "error: expected a whole number from 100 to 4000, found `99`",
            "error: there is no shipped rule named `crash-lop` to switch off",
            "error: a test has either `recording` or `given`",
            "error: `frist` is not a decision",
            "error: a signal needs a `cause`, or the `reason` of an Event",
            "error: `at` is missing",
        ]
    );
    for help in [
        "write `{regex: \"^team-.*$\"}`",
        "a workload is written as `Kind/name`: `Deployment/web`",
        "did you mean `Warning`?",
        "did you mean `CrashLoopBackOff`?",
        "write `5s` for seconds or `5m` for minutes",
        "unclosed group",
        "the other is in DIR/rules.yaml:3",
        "did you mean `crash-loop`?",
    ] {
        assert!(report.contains(help), "{help} is not in\n{report}");
    }
}

#[test]
fn rules_of_the_user_come_first_and_replace_by_name() {
    let text = r"
rules:
  - {name: payments, match: {cause: CrashLoopBackOff, namespace: payments}, severity: warning}
  - {name: evicted, match: {cause: Evicted}, severity: critical}
  - {name: oom-killed, enabled: false}
";
    let files = Files::new(&[("rules/mine.yaml", text)]);
    let config = files.load_rules(&["rules"]).expect("no error").config;
    let speaks = |cause, namespace| {
        let rule = config.rules.first_match(&signal(cause, namespace, "Deployment/web"));
        rule.map(|rule| (rule.name.to_string(), rule.severity))
    };
    assert_eq!(speaks(Cause::CrashLoopBackOff, "payments"), Some(("payments".into(), Severity::Warning)));
    assert_eq!(speaks(Cause::CrashLoopBackOff, "shop"), Some(("crash-loop".into(), Severity::Critical)));
    assert_eq!(speaks(Cause::Evicted, "shop"), Some(("evicted".into(), Severity::Critical)));
    assert_eq!(speaks(Cause::OOMKilled, "shop"), None);
}

#[test]
fn the_shipped_rules_load_and_cover_every_cause() {
    let loaded = load(None, &[]).expect("no error");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let rules = &loaded.config.rules;
    for cause in Cause::ALL.iter().filter(|cause| **cause != Cause::Event) {
        for workload in ["Deployment/web", "Node/n1", "Pod/x"] {
            assert!(rules.first_match(&signal(*cause, "shop", workload)).is_some(), "{cause} of {workload}");
        }
    }
    assert!(rules.first_match(&signal(Cause::Event, "shop", "Deployment/web")).is_none());
    let names: HashSet<&str> = rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names.len(), rules.len(), "names are unique");
    let on_disk =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/rules")).expect("the packs").count();
    assert_eq!(on_disk, shipped::PACKS.len(), "every pack is compiled in");
}

#[test]
fn jobs_may_retry_in_peace() {
    let rules = load(None, &[]).expect("no error").config.rules.clone();
    let rule =
        |cause, workload| rules.first_match(&signal(cause, "shop", workload)).map(|r| r.name.to_string());
    for workload in ["Job/import", "CronJob/report"] {
        assert_eq!(rule(Cause::CrashLoopBackOff, workload).as_deref(), Some("job-crash-loop"));
        assert_eq!(rule(Cause::OOMKilled, workload).as_deref(), Some("job-oom-killed"));
        assert_eq!(rule(Cause::FailedScheduling, workload).as_deref(), Some("job-unschedulable"));
    }
    let mut held = signal(Cause::FailedAttachVolume, "shop", "StatefulSet/db");
    assert_eq!(rules.first_match(&held).map(|r| r.name.to_string()).as_deref(), Some("failed-attach"));
    held.message = "Multi-Attach error for volume \"pvc-1\" …".into();
    assert_eq!(rules.first_match(&held).map(|r| r.name.to_string()).as_deref(), Some("multi-attach"));
}

/// Whatever a rule's title names, a cluster-scoped object leaves no gap in it.
#[test]
fn no_title_has_a_gap_where_an_object_has_no_namespace() {
    let rules = super::super::load(None, &[]).expect("the shipped rules load").config.rules.clone();
    for cause in crate::signal::Cause::ALL {
        let mut node = crate::template::sample::node();
        (node.cause, node.exit, node.container) = (*cause, "".into(), None);
        for why in ["", "System OOM encountered", "System OOM encountered, victim process: java, pid: 4711"] {
            node.why = why.into();
            let own = rules
                .iter()
                .filter_map(|rule| crate::template::compile_summary(rule.summary.as_deref()?).ok());
            let titles =
                own.map(|summary| summary.render(&node)).chain([crate::message::text::default_title(&node)]);
            for title in titles {
                let gap = ["  ", " :", " ,", " in:", "container was", " in keeps"];
                let gap = gap.iter().find(|gap| title.contains(**gap));
                assert!(gap.is_none() && !title.ends_with(" in"), "{cause}: `{title}` has {gap:?}");
            }
        }
    }
}
