use std::sync::Arc;

use super::super::testing::signal;
use super::*;
use crate::signal::Exit;

fn text(any_of: &[&str], none_of: &[&str], found: &[&str], not_found: &[&str]) -> TextMatch {
    let compile = |patterns: &[&str]| patterns.iter().map(|p| regex(p).expect("valid")).collect();
    TextMatch {
        any_of: any_of.iter().map(ToString::to_string).collect(),
        none_of: none_of.iter().map(ToString::to_string).collect(),
        regex: compile(found),
        not_regex: compile(not_found),
    }
}

#[test]
fn all_given_parts_must_hold() {
    for (matcher, given, expected) in [
        (text(&[], &[], &[], &[]), Some("x"), true),
        (text(&[], &[], &[], &[]), None, true),
        (text(&["a", "b"], &[], &[], &[]), Some("b"), true),
        (text(&["a", "b"], &[], &[], &[]), Some("c"), false),
        (text(&["a"], &[], &[], &[]), None, false),
        (text(&[], &["a"], &[], &[]), Some("a"), false),
        (text(&[], &["a"], &[], &[]), Some("b"), true),
        (text(&[], &["a"], &[], &[]), None, true),
        (text(&[], &[], &["^team-"], &[]), Some("team-a"), true),
        (text(&[], &[], &["^team-"], &[]), Some("my-team-a"), false),
        (text(&[], &[], &["^team-"], &[]), None, false),
        (text(&[], &[], &["^team-"], &["-dev$"]), Some("team-a-dev"), false),
        (text(&[], &[], &[], &["-dev$"]), None, true),
        (text(&["a", "b"], &["b"], &[], &[]), Some("b"), false),
    ] {
        assert_eq!(matcher.matches(given), expected, "{matcher:?} on {given:?}");
    }
}

#[test]
fn every_field_reads_its_part_of_the_signal() {
    let mut s = signal(Cause::CrashLoopBackOff, "shop", "Deployment/checkout");
    s.reason = "CrashLoopBackOff".into();
    s.container = Some("app".into());
    s.node = Some("node-1".into());
    s.message = "back-off 10s".into();
    s.event_type = Some("Warning".into());
    let read: Vec<_> =
        Field::NAMES.iter().map(|(name, field)| (*name, field.of(&s).unwrap_or("-"))).collect();
    assert_eq!(
        read,
        [
            ("reason", "CrashLoopBackOff"),
            ("namespace", "shop"),
            ("kind", "Pod"),
            ("name", "checkout-1"),
            ("workload", "Deployment/checkout"),
            ("container", "app"),
            ("node", "node-1"),
            ("message", "back-off 10s"),
            ("type", "Warning"),
        ]
    );
}

#[test]
fn labels_annotations_source_and_exit_code() {
    let mut s = signal(Cause::CrashLoopBackOff, "shop", "Deployment/checkout");
    let mut by_label = Matcher::cause(Cause::CrashLoopBackOff);
    by_label.labels.push(("team".into(), TextMatch::exact("payments")));
    let mut not_label = Matcher::cause(Cause::CrashLoopBackOff);
    not_label.labels.push(("team".into(), text(&[], &["payments"], &[], &[])));
    let mut by_annotation = Matcher::cause(Cause::CrashLoopBackOff);
    by_annotation.annotations.push(("tier".into(), text(&[], &[], &["gold|silver"], &[])));
    assert!(!by_label.matches(&s) && not_label.matches(&s) && !by_annotation.matches(&s));
    s.labels = [None, Some(Arc::new([("team".to_owned(), "payments".to_owned())].into())), None];
    s.annotations = [Some(Arc::new([("tier".to_owned(), "gold".to_owned())].into())), None, None];
    assert!(by_label.matches(&s) && !not_label.matches(&s) && by_annotation.matches(&s));

    let from_events = Matcher { source: Some(Source::Event), ..Matcher::default() };
    assert!(!from_events.matches(&s));
    s.source = Source::Event;
    assert!(from_events.matches(&s));

    let code = |any_of: &[i32], none_of: &[i32]| Matcher {
        exit_code: IntMatch { any_of: any_of.to_vec(), none_of: none_of.to_vec() },
        ..Matcher::default()
    };
    assert!(!code(&[3], &[]).matches(&s) && code(&[], &[3]).matches(&s));
    s.exit = Some(Exit { code: 3, ..Exit::default() });
    assert!(code(&[3], &[]).matches(&s) && !code(&[], &[3]).matches(&s));
}

#[test]
fn patterns_are_bounded() {
    assert!(regex("(a{1000}){1000}").is_err());
    assert!(regex(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).is_err());
    assert!(regex("^(Job|CronJob)/").is_ok());
}
