use proptest::prelude::*;

use super::*;
use crate::message::Decision;
use crate::template::sample;

fn document(source: Value) -> Document {
    Document::compile(source).unwrap_or_else(|e| panic!("{e:#?}"))
}

fn errors(source: Value) -> Vec<String> {
    let found = Document::compile(source).expect_err("must be refused");
    found.iter().map(|e| format!("{e} ({})", e.help.as_deref().unwrap_or_default())).collect()
}

#[test]
fn texts_values_lists_and_conditions() {
    let doc = document(json!({
        "$$schema": "x",
        "title": "{{severity}}: {{title}}",
        "short": {"$text": "{{title}}", "$max": 10},
        "n": {"$if": "incident", "$then": {"$value": "incident.members_total"}},
        "ended": {"$if": "is_end", "$then": true, "$else": false},
        "absent": "{{#if is_end}}over{{/if}}",
        "auth": {"$secret": "key"},
        "list": ["a", {"$each": "incidents", "$item": {"who": "{{workload}} of {{message.cluster}}"}}],
    }));
    assert!(doc.needs_key());
    let got = doc.render(&sample::notification(Decision::First, sample::incident()), "s3cret").unwrap();
    assert_eq!(
        got,
        json!({
            "$schema": "x",
            "title": "critical: Deployment/checkout in shop keeps crashing (container app): exit code 3: panic: open /etc/checkout/config.yaml: no such file or directory",
            "short": "Deploymen…",
            "n": 3,
            "ended": false,
            "auth": "s3cret",
            "list": ["a", {"who": "Deployment/checkout of prod-eu-1"}],
        })
    );
    let storm = doc.render(&sample::notification(Decision::Storm, sample::incident()), "k").unwrap();
    assert_eq!(storm["list"].as_array().unwrap().len(), 3);
    assert!(storm.get("n").is_none());
}

#[test]
fn every_error_is_reported_at_once_with_its_path() {
    let found = errors(json!({
        "a": "{{titel}}",
        "b": ["x", "{{#if title}}"],
        "c": {"$each": "incidnets", "$item": 1},
        "d": {"$valeu": "title"},
        "e": {"$if": "{{title}}", "$then": 1},
        "f": {"$text": "{{title}}", "$mx": 3},
        "g": {"$each": "incidents", "$item": "{{titel}}"},
        "h": {"$text": "{{{title}}}", "$escape": "none"},
        "i": {"$secret": "token"},
        "{{k}}": 1,
    }));
    let shown = found.join("\n");
    for part in [
        "a: there is no variable `titel` (did you mean `title`?)",
        "b.1: a tag is not complete",
        "c.$each: there is no variable `incidnets` (did you mean `incidents`?)",
        "d.$valeu: `$valeu` means nothing here (did you mean `$value`?)",
        "e.$if: a condition is no template",
        "f.$mx: unknown key `$mx` beside `$text`",
        "g.$item: there is no variable `titel`",
        "h.$escape: unknown way to escape",
        "h.$text: values cannot be written unescaped",
        "i.$secret: there is no such secret",
        "{{k}}: a key cannot be a template",
    ] {
        assert!(shown.contains(part), "missing: {part}\nin:\n{shown}");
    }
    assert_eq!(found.len(), 11, "{shown}");
    let summary = errors(json!({"text": "{{incident.title}}"}));
    assert!(summary[0].contains("put it under `$if: incident`"), "{summary:?}");
}

#[test]
fn output_and_input_are_bounded() {
    let doc = document(json!({"text": "{{text}}"}));
    let mut n = sample::notification(Decision::First, sample::huge());
    n.text = "x".repeat(10_000_000);
    let got = doc.render(&n, "").unwrap().to_string();
    assert!(got.len() < MAX_DOCUMENT);
    assert!(errors(json!({"all": vec!["{{text}}"; 200]}))[0].contains("larger than 256 KiB"));
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert!(errors(deep).join("").contains("nested too deep"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the cluster says, the document keeps its shape.
    #[test]
    fn foreign_text_changes_texts_only(why in "(?s).{0,200}", name in "\\PC{0,60}") {
        let doc = document(json!({"$escape": "markdown", "why": "w{{#if incident}}{{incident.why}}{{/if}}", "n": "n{{#if incident}}{{incident.workload}}{{/if}}"}));
        let mut i = sample::incident();
        i.why = why.as_str().into();
        i.workload = name.as_str().into();
        let got = doc.render(&sample::notification(Decision::First, i), "").unwrap();
        let parsed: Value = serde_json::from_str(&got.to_string()).unwrap();
        let keys: Vec<_> = parsed.as_object().unwrap().keys().cloned().collect();
        prop_assert_eq!(keys, ["n", "why"]);
        prop_assert!(parsed["why"].is_string() && parsed["n"].is_string());
    }
}
