use super::super::testing::{rule, signal};
use super::*;
use crate::signal::{Cause, Severity};

fn holds(filter: &Filter, affected: &[(&str, Option<&str>)]) -> bool {
    let mut signal = signal(Cause::CrashLoopBackOff, "shop", "Deployment/checkout");
    signal.object.name = Arc::from("a");
    signal.node = Some(Arc::from("worker-1"));
    let rule = rule("crash-loop", Matcher::cause(Cause::CrashLoopBackOff));
    let facts = IncidentFacts { signal: &signal, rule: &rule.name, severity: Severity::Warning };
    filter.matches(
        facts,
        affected.iter().map(|(name, node)| Affected { name, node: *node, container: Some("app") }),
    )
}

fn on(field: Field, text: &str) -> Filter {
    let matcher = Matcher::default().with(field, TextMatch::exact(text));
    Filter::new(matcher, SeverityMatch::default(), TextMatch::default())
}

#[test]
fn every_object_must_meet_conditions_on_objects() {
    assert!(holds(&on(Field::Name, "a"), &[("a", None)]));
    assert!(!holds(&on(Field::Name, "a"), &[("a", None), ("b", None)]));
    assert!(holds(&on(Field::Name, "a"), &[]), "the one that began it");
    assert!(!holds(&on(Field::Name, "b"), &[]));
    let node = on(Field::Node, "worker-1");
    assert!(holds(&node, &[("a", Some("worker-1")), ("b", Some("worker-1"))]));
    assert!(!holds(&node, &[("a", Some("worker-1")), ("b", Some("worker-2"))]));
    assert!(!holds(&node, &[("a", None)]));
    assert!(holds(&on(Field::Container, "app"), &[("a", None)]));
    // What all share is asked of the signal.
    assert!(holds(&on(Field::Namespace, "shop"), &[("a", None), ("b", None)]));
    assert!(!holds(&on(Field::Namespace, "other"), &[("a", None)]));
}

#[test]
fn severity_and_rule_count_too() {
    let warning = SeverityMatch { any_of: vec![Severity::Warning], at_least: None };
    let critical = SeverityMatch { any_of: vec![Severity::Critical], at_least: None };
    let all = |severity, rule| Filter::new(Matcher::default(), severity, rule);
    assert!(holds(&all(warning.clone(), TextMatch::default()), &[]));
    assert!(!holds(&all(critical, TextMatch::default()), &[]));
    assert!(holds(&all(warning.clone(), TextMatch::exact("crash-loop")), &[]));
    assert!(!holds(&all(warning, TextMatch::exact("image-pull")), &[]));
}

#[test]
fn a_silence_begins_with_its_first_moment_and_ends_before_its_last() {
    let at = |s: i64| Timestamp::from_second(s).unwrap();
    let silence = Silence {
        id: Arc::from("x"),
        name: None,
        filter: Filter::default(),
        written: Arc::from("{}"),
        from: at(10),
        until: at(20),
        comment: Arc::from(""),
        by: Arc::from(""),
        origin: Origin::Api,
    };
    let states = [9, 10, 19, 20].map(|s| (silence.state(at(s)), silence.active(at(s))));
    assert_eq!(states, [("pending", false), ("active", true), ("active", true), ("expired", false)]);
}
