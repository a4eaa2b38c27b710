use jiff::Timestamp;

use super::super::attempt;
use super::super::silences::{from_request, restored};
use super::{Files, config_report, messages};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn silences_and_mute_times_are_read() {
    let text = r#"
silences:
  - match: {namespace: shop, cause: [CrashLoopBackOff], exit_code: 137, rule: crash-loop}
    until: 2999-11-21T19:00:00+01:00
    comment: migration
    by: anna
  - {name: load-test, match: {labels: {team: perf}}, from: "2999-01-01T00:00:00Z", until: "2999-01-02T00:00:00Z"}
mute_times:
  - name: nights
    match: {severity: {any_of: [info, warning]}}
    weekdays: [mon-thu, sun]
    from: "22:00"
    to: "07:00"
    timezone: Europe/Berlin
  - {name: weekend, weekdays: sat-sun}
  - {name: over, weekdays: [fri-mon]}
  - {name: daily, from: 01:30, to: "24:00"}
"#;
    let files = Files::new(&[("c.yaml", text)]);
    let loaded = files.load("c.yaml").unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{}", files.report(&loaded.warnings));
    let [first, second] = &loaded.config.engine.silences[..] else { panic!("two silences") };
    assert_eq!(first.until, at("2999-11-21T18:00:00Z"));
    assert_eq!((first.from, &*first.comment, &*first.by), (Timestamp::MIN, "migration", "anna"));
    assert_eq!(
        &*first.written,
        r#"{"cause":["CrashLoopBackOff"],"exit_code":137,"namespace":"shop","rule":"crash-loop"}"#
    );
    assert_eq!(second.called().as_ref(), "load-test");
    assert!(first.id != second.id && first.id.len() == 8, "{} {}", first.id, second.id);
    // What was written is the id: it is the same after a restart.
    let again = files.load("c.yaml").unwrap();
    assert_eq!(again.config.engine.silences[0].id, first.id);

    let shown: Vec<String> = loaded
        .config
        .engine
        .mute_times
        .iter()
        .map(|mute| {
            let days: String = mute.when.days.iter().map(|on| if *on { 'x' } else { '.' }).collect();
            format!("{} {days} {}-{} {}", mute.name, mute.when.from, mute.when.to, mute.timezone)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "nights xxxx..x 1320-420 Europe/Berlin",
            "weekend .....xx 0-1440 UTC",
            "over x...xxx 0-1440 UTC",
            "daily xxxxxxx 90-1440 UTC",
        ]
    );
}

#[test]
fn every_mistake_has_a_frame() {
    insta::assert_snapshot!(config_report(
        r#"
silences:
  - {match: {namespace: shop}, until: tomorrow}
  - {match: {namespace: shop}, until: 2026-11-21T18:00:00}
  - {match: {}, until: "2999-01-01T00:00:00Z"}
  - {name: x, until: "2999-01-01T00:00:00Z"}
  - {name: x, match: {namspace: shop, count: {at_least: 1, within: 1m}}, until: "2999-01-01T00:00:00Z"}
  - {match: {rule: crash-lop}, from: "2999-01-01T00:00:00Z", until: "2999-01-01T00:00:00Z"}
mute_times:
  - {name: a}
  - {name: a, weekdays: [monday], from: "22:00"}
  - {name: b, from: "22:00", to: "22:00", timezone: Berlin}
  - {name: c, from: "7pm", to: "25:00"}
  - {weekdays: [sat]}
"#
    ));
}

#[test]
fn one_that_is_over_is_no_error() {
    let text = "silences: [{match: {namespace: shop}, until: \"2020-01-01T00:00:00Z\"}]";
    let files = Files::new(&[("c.yaml", text)]);
    let load = |now: &str| attempt(Some(&files.path("c.yaml")), &[], now.parse().unwrap()).outcome.unwrap();
    assert!(load("2019-12-31T23:59:59Z").warnings.is_empty());
    let loaded = load("2020-01-01T00:00:00Z");
    assert_eq!(messages(&files.report(&loaded.warnings)), ["warning: this silence is over"]);
    assert_eq!(loaded.config.engine.silences.len(), 1, "a recording may be older");
}

fn asked(body: &str) -> Result<crate::rule::Silence, String> {
    let is_rule = |name: &str| name == "crash-loop";
    from_request(body, at("2026-11-21T08:00:00Z"), &is_rule).map_err(|found| found.to_string())
}

#[test]
fn a_request_is_read_like_a_configuration() {
    let it = asked(
        r#"{"match": {"workload": "Deployment/checkout", "rule": "crash-loop", "name": "a\u002f\ud83d\ude00"},
            "for": "1h30m", "until": null, "comment": "node \"x\" is drained\n", "by": ""}"#,
    )
    .unwrap();
    assert_eq!((it.from, it.until), (at("2026-11-21T08:00:00Z"), at("2026-11-21T09:30:00Z")));
    assert_eq!((&*it.comment, &*it.by), ("node \"x\" is drained", ""));
    assert_eq!(&*it.written, r#"{"name":"a/😀","rule":"crash-loop","workload":"Deployment/checkout"}"#);
    assert!(restored(&it.written).is_ok());

    let later = r#"{"match": {"severity": "info"}, "from": "2026-11-22T00:00:00Z", "for": "1h"}"#;
    let later = asked(later).unwrap();
    assert_eq!((later.from, later.until), (at("2026-11-22T00:00:00Z"), at("2026-11-22T01:00:00Z")));
    // What began long ago begins now: nothing of before is silenced by it.
    let past =
        r#"{"match": {"severity": "info"}, "from": "2020-01-01T00:00:00Z", "until": "2026-11-21T09:00:00Z"}"#;
    assert_eq!(asked(past).unwrap().from, at("2026-11-21T08:00:00Z"));
}

#[test]
fn a_wrong_request_is_answered_with_what_and_where() {
    let wrong = |body: &str| asked(body).expect_err(body);
    for (body, said) in [
        ("", "this is not JSON"),
        ("match: {namespace: shop}", "this is not JSON"),
        ("null", "expected a silence"),
        ("[]", "expected a silence"),
        (r#"{"for": "1h"}"#, "`match` is missing"),
        (r#"{"match": {}, "for": "1h"}"#, "this would silence everything"),
        (r#"{"match": {"namespace": "a"}}"#, "either `for` or `until`"),
        (r#"{"match": {"namespace": "a"}, "for": "1h", "until": "2026-11-21T09:00:00Z"}"#, "both are given"),
        (r#"{"match": {"namespace": "a"}, "until": "2026-11-21T08:00:00Z"}"#, "would be over already"),
        (r#"{"match": {"namespace": "a"}, "until": "2026-11-21"}"#, "expected a time (RFC 3339)"),
        (r#"{"match": {"namespace": "a"}, "for": 2}"#, "expected a duration"),
        (r#"{"match": {"namespace": "a"}, "for": "0s"}"#, "longer than zero"),
        (r#"{"match": {"rule": "crash-lop"}, "for": "1h"}"#, "no rule named `crash-lop`"),
        (r#"{"match": {"name": {"regex": "("}}, "for": "1h"}"#, "is not a regular expression"),
        (r#"{"match": {"namespace": "a"}, "for": "1h", "comment": {}}"#, "expected a text"),
    ] {
        let report = wrong(body);
        assert!(report.contains(said), "{body}: {report}");
    }
    let long = format!(r#"{{"match": {{"namespace": "a"}}, "for": "1h", "by": "{}"}}"#, "x".repeat(101));
    assert!(wrong(&long).contains("longer than 100 characters"));
    insta::assert_snapshot!(wrong(
        r#"{"match": {"namspace": "shop"}, "for": "two hours", "author": "anna"}"#
    ));
}

#[test]
fn what_annotations_may_silence_is_read_with_its_defaults() {
    let read = |text: &str| {
        let files = Files::new(&[("c.yaml", text)]);
        let loaded = files.load("c.yaml").unwrap_or_else(|report| panic!("{report}"));
        let report = files.report(&loaded.warnings);
        let warnings: Vec<String> = messages(&report).iter().map(ToString::to_string).collect();
        (loaded.config.engine.annotations.clone(), warnings)
    };
    let (rules, warnings) = read("cluster: lab\n");
    assert!(rules.enabled && !rules.nodes && rules.except.is_none() && warnings.is_empty());
    assert_eq!(rules.max.as_secs(), 7 * 86_400);
    let (rules, _) = read("annotations: {max: 36h, nodes: true, except: {severity: critical}}");
    assert!(rules.enabled && rules.nodes && rules.except.is_some());
    assert_eq!(rules.max.as_secs(), 36 * 3600);
    let (rules, warnings) = read("annotations: {enabled: false, max: 1h}");
    assert!(!rules.enabled);
    assert_eq!(warnings, ["warning: `max` is of no use here"]);
}

#[test]
fn every_mistake_about_annotations_has_a_frame() {
    insta::assert_snapshot!(config_report(
        r"
annotations:
  enabled: sometimes
  max: 0s
  node: true
  except: {rule: crash-lop, cause: NodeNotReddy}
"
    ));
    assert!(config_report("annotations: {except: {}}").contains("this would exempt every incident"));
}
