//! The schemas and the reader agree, both ways.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use super::super::{check, load, schema, shipped};
use super::Files;

/// Every definition with keys of its own, and a file with a key `qqqqqqqq` in such a mapping.
const CONFIG: &[(&str, &str)] = &[
    ("file", "{qqqqqqqq: 1}"),
    ("watch", "watch: {qqqqqqqq: 1}"),
    ("namespaces", "watch: {namespaces: {qqqqqqqq: 1}}"),
    ("kinds", "watch: {kinds: {qqqqqqqq: 1}}"),
    ("receiver", "receivers: {a: {qqqqqqqq: 1}}"),
    ("slack", "receivers: {a: {slack: {qqqqqqqq: 1}}}"),
    ("secret", "receivers: {a: {slack: {webhook_url: {qqqqqqqq: 1}}}}"),
    ("webhook", "receivers: {a: {webhook: {qqqqqqqq: 1}}}"),
    ("basic", "receivers: {a: {webhook: {basic: {qqqqqqqq: 1}}}}"),
    ("sign", "receivers: {a: {webhook: {sign: {qqqqqqqq: 1}}}}"),
    ("email", "receivers: {a: {email: {qqqqqqqq: 1}}}"),
    ("smtp", "receivers: {a: {email: {smtp: {qqqqqqqq: 1}}}}"),
    ("rate_limit", "receivers: {a: {rate_limit: {qqqqqqqq: 1}}}"),
    ("digest", "receivers: {a: {digest: {qqqqqqqq: 1}}}"),
    ("route", "routes: [{qqqqqqqq: 1}]"),
    ("match", "routes: [{match: {qqqqqqqq: 1}}]"),
    ("text_condition", "routes: [{match: {rule: {qqqqqqqq: 1}}}]"),
    ("cause_condition", "routes: [{match: {cause: {qqqqqqqq: 1}}}]"),
    ("exit_code_condition", "routes: [{match: {exit_code: {qqqqqqqq: 1}}}]"),
    ("severity_condition", "routes: [{match: {severity: {qqqqqqqq: 1}}}]"),
    ("override", "overrides: [{qqqqqqqq: 1}]"),
    ("override_match", "overrides: [{match: {qqqqqqqq: 1}}]"),
    ("count", "overrides: [{count: {qqqqqqqq: 1}}]"),
    ("rule_log_tail", "overrides: [{log_tail: {qqqqqqqq: 1}}]"),
    ("engine", "engine: {qqqqqqqq: 1}"),
    ("storm", "storm: {qqqqqqqq: 1}"),
    ("store", "store: {qqqqqqqq: 1}"),
    ("http", "http: {qqqqqqqq: 1}"),
    ("templates", "templates: {qqqqqqqq: 1}"),
    ("rule_files", "rules: {qqqqqqqq: 1}"),
    ("redact", "redact: {qqqqqqqq: 1}"),
    ("silence", "silences: [{qqqqqqqq: 1}]"),
    ("mute_time", "mute_times: [{qqqqqqqq: 1}]"),
    ("annotations", "annotations: {qqqqqqqq: 1}"),
    ("log_tail", "log_tail: {qqqqqqqq: 1}"),
    ("heartbeat", "heartbeat: {qqqqqqqq: 1}"),
];
const RULES: &[(&str, &str)] = &[
    ("file", "{qqqqqqqq: 1}"),
    ("rule", "rules: [{qqqqqqqq: 1}]"),
    ("rule_log_tail", "rules: [{log_tail: {qqqqqqqq: 1}}]"),
    ("override", "overrides: [{qqqqqqqq: 1}]"),
    ("override_match", "overrides: [{match: {qqqqqqqq: 1}}]"),
    ("match", "rules: [{match: {qqqqqqqq: 1}}]"),
    ("text_condition", "rules: [{match: {name: {qqqqqqqq: 1}}}]"),
    ("cause_condition", "rules: [{match: {cause: {qqqqqqqq: 1}}}]"),
    ("exit_code_condition", "rules: [{match: {exit_code: {qqqqqqqq: 1}}}]"),
    ("count", "rules: [{count: {qqqqqqqq: 1}}]"),
    ("test", "tests: [{qqqqqqqq: 1}]"),
    ("given", "tests: [{given: [{qqqqqqqq: 1}]}]"),
    ("expect", "tests: [{expect: [{qqqqqqqq: 1}]}]"),
];

/// The keys that the reader offers in place of the unknown one, and those beside it.
fn known(config: bool, text: &str) -> BTreeSet<String> {
    let files = Files::new(&[("file.yaml", text)]);
    let path = files.path("file.yaml");
    let found = if config { load(Some(&path), &[]) } else { load(None, &[path]) }.expect_err("errors");
    let unknown: Vec<_> = found.iter().filter(|d| d.message.starts_with("unknown key")).collect();
    let [unknown] = unknown.as_slice() else { panic!("one unknown key, not {}", files.report(&found)) };
    let help = unknown.help.as_deref().expect("the keys");
    help.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_reader_is_in_the_schema_and_none_besides() {
    for (config, schema, probes) in [(true, schema::config(), CONFIG), (false, schema::rules(), RULES)] {
        let defs = schema["$defs"].as_object().unwrap();
        let closed: BTreeMap<&str, BTreeSet<String>> = defs
            .iter()
            .filter(|(_, def)| def["additionalProperties"] == false)
            .map(|(name, def)| (&**name, def["properties"].as_object().unwrap().keys().cloned().collect()))
            .collect();
        let read: BTreeMap<&str, BTreeSet<String>> =
            probes.iter().map(|(name, text)| (*name, known(config, text))).collect();
        assert_eq!(closed, read);
        let mut inline = 0;
        count_closed(&schema, &mut inline);
        assert_eq!(inline, closed.len(), "a mapping with fixed keys is a definition, so that it is compared");
    }
}

fn count_closed(schema: &Value, count: &mut usize) {
    *count += usize::from(schema.get("additionalProperties") == Some(&Value::Bool(false)));
    match schema {
        Value::Object(map) => map.values().for_each(|value| count_closed(value, count)),
        Value::Array(items) => items.iter().for_each(|value| count_closed(value, count)),
        _ => {}
    }
}

/// What says nothing about values of other types.
const APPLY_TO_SOME: &[&str] = &[
    "properties",
    "additionalProperties",
    "required",
    "dependentRequired",
    "propertyNames",
    "items",
    "minItems",
    "minLength",
    "pattern",
    "minimum",
    "maximum",
];

/// As much of JSON Schema as the two use; anything else fails the test.
fn valid(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let annotations = ["$schema", "$defs", "title", "description", "default", "examples", "deprecated"];
    let rules = schema.as_object().unwrap().iter();
    for (key, rule) in rules.filter(|(key, _)| !annotations.contains(&key.as_str())) {
        let all = || rule.as_array().unwrap().iter();
        let ok = match (key.as_str(), value) {
            ("$ref", _) => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                valid(root, &root["$defs"][name], value)?;
                true
            }
            ("type", _) => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                rule.as_array().map_or_else(|| is(rule), |types| types.iter().any(is))
            }
            ("properties", Value::Object(map)) => {
                for (key, value) in map {
                    if let Some(schema) = rule.get(key) {
                        valid(root, schema, value).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
                true
            }
            ("additionalProperties", Value::Object(map)) => {
                let known = |key: &String| schema["properties"].get(key).is_some();
                for (key, value) in map.iter().filter(|(key, _)| !known(key)) {
                    if rule == false {
                        return Err(format!("unknown {key}"));
                    }
                    valid(root, rule, value).map_err(|error| format!("{key}: {error}"))?;
                }
                true
            }
            ("required", Value::Object(map)) => all().all(|key| map.contains_key(key.as_str().unwrap())),
            ("dependentRequired", Value::Object(map)) => {
                rule.as_object().unwrap().iter().all(|(key, needs)| {
                    !map.contains_key(key)
                        || needs.as_array().unwrap().iter().all(|n| map.contains_key(n.as_str().unwrap()))
                })
            }
            ("propertyNames", Value::Object(map)) => {
                map.keys().all(|key| valid(root, rule, &Value::from(key.as_str())).is_ok())
            }
            ("items", Value::Array(items)) => {
                for (place, item) in items.iter().enumerate() {
                    valid(root, rule, item).map_err(|error| format!("[{place}] {error}"))?;
                }
                true
            }
            ("minItems", Value::Array(items)) => items.len() as u64 >= rule.as_u64().unwrap(),
            ("minLength", Value::String(text)) => text.len() as u64 >= rule.as_u64().unwrap(),
            ("pattern", Value::String(text)) => Regex::new(rule.as_str().unwrap()).unwrap().is_match(text),
            ("minimum", Value::Number(n)) => n.as_i64() >= rule.as_i64(),
            ("maximum", Value::Number(n)) => n.as_i64() <= rule.as_i64(),
            ("enum", _) => all().any(|one| one == value),
            ("const", _) => rule == value,
            ("anyOf", _) => all().any(|schema| valid(root, schema, value).is_ok()),
            ("oneOf", _) => all().filter(|schema| valid(root, schema, value).is_ok()).count() == 1,
            (other, _) if APPLY_TO_SOME.contains(&other) => true,
            (other, _) => panic!("`{other}` is not known to this test"),
        };
        if !ok {
            return Err(format!("{value} is not {key} {rule}"));
        }
    }
    Ok(())
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn what_is_shipped_is_valid() {
    let rules = schema::rules();
    for (name, text) in shipped::PACKS {
        assert_eq!(valid(&rules, &rules, &yaml(text)), Ok(()), "{name}");
    }
    let config = schema::config();
    for name in ["config/kubeherald.yaml", "examples/kubeherald.yaml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(valid(&config, &config, &yaml(&text)), Ok(()), "{name}");
    }
}

const EXAMPLE: &str = r##"
cluster: prod-eu-1
watch: {namespaces: {exclude: [kube-node-lease]}}
receivers:
  oncall:
    slack: {token: {file: /etc/kubeherald/secrets/slack-token}, channel: "#alerts"}
    rate_limit: {per: 1s, messages: 1, burst: 5}
  platform-mail:
    email: {from: kubeherald@example.com, to: [platform@example.com],
            smtp: {host: smtp.example.com, port: 587, tls: starttls, username: herald, password: {env: SMTP_PASSWORD}}}
    digest: {cron: "0 8 * * 1-5", timezone: Europe/Berlin}
  hook:
    webhook: {url: {file: hook-url}, headers: {X-Env: prod}, sign: {secret: {file: hook-secret}}}
routes:
  - {match: {severity: critical}, receivers: [oncall], continue: true}
  - {match: {namespace: {regex: "^team-a-"}}, receivers: [hook]}
  - {receivers: [platform-mail]}
overrides:
  - {rule: crash-loop, match: {namespace: batch}, severity: warning, window: 6h, log_tail: {lines: 50}}
"##;

const RULE_EXAMPLE: &str = r#"
rules:
  - name: crash-loop
    match:
      cause: CrashLoopBackOff
      namespace: {none_of: [kube-system]}
      labels: {team: payments}
    for: 0s
    severity: critical
    window: 1h
    summary: "{{workload}} keeps crashing ({{exit}})"
    runbook: https://runbooks.example.com/crash-loop
tests:
  - name: three pods of one deployment are one message
    recording: crash-loop.jsonl
    expect: [{at: 10s, decision: first, rule: crash-loop, workload: Deployment/checkout, members: 3}]
"#;

#[test]
fn the_examples_of_the_design_are_valid_and_load() {
    let (config, rules) = (schema::config(), schema::rules());
    assert_eq!(valid(&config, &config, &yaml(EXAMPLE)), Ok(()));
    assert_eq!(valid(&rules, &rules, &yaml(RULE_EXAMPLE)), Ok(()));
    let files = Files::new(&[("kubeherald.yaml", EXAMPLE), ("rules/a.yaml", RULE_EXAMPLE)]);
    let found =
        check::check(&[files.path("kubeherald.yaml"), files.path("rules")], jiff::Timestamp::MIN).found;
    assert!(!found.has_errors(), "{}", files.report(&found));
}

#[test]
fn both_refuse_the_same_mistakes() {
    let (config, rules) = (schema::config(), schema::rules());
    for text in [
        "rules: [{name: a}]",
        "rules: [{name: a, match: {cause: Evictd}}]",
        "rules: [{name: a, match: {severity: info}}]",
        "rules: [{name: a, match: {cause: Evicted}, for: 5}]",
        "rules: [{name: a, match: {cause: Evicted}, for: 5 minutes}]",
        "rules: [{name: a, match: {exit_code: 300}}]",
        "rules: [{name: a, match: {cause: Evicted}, group_by: [pod]}]",
        "rules: [{name: a b, match: {cause: Evicted}}]",
        "rules: [{name: a, match: {name: []}}]",
        "tests: [{name: a, expect: []}]",
        "tests: [{name: a, expect: [], recording: a, given: []}]",
        "tests: [{name: a, given: [{at: 0s}], expect: []}]",
        "tests: [{name: a, given: [], expect: [{within: 3s}]}]",
        "tests: [{name: a, given: [], expect: [{decision: frist}]}]",
    ] {
        assert!(valid(&rules, &rules, &yaml(text)).is_err(), "{text}");
        assert!(Files::new(&[("a.yaml", text)]).load_rules(&["a.yaml"]).is_err(), "{text}");
    }
    for text in [
        "receivers: {a: {}}",
        "receivers: {a b: {webhook: {url: https://example.com}}}",
        "receivers: {a: {webhook: {url: ftp://example.com}}}",
        "receivers: {a: {slack: {token: xoxb, channel: b}}}",
        "receivers: {a: {slack: {token: {env: A, file: b}, channel: b}}}",
        "receivers: {a: {slack: {webhook_url: {env: A}, token: {env: B}, channel: b}}}",
        "routes: [{match: {count: {at_least: 1, within: 1m}}, receivers: [a]}]",
        "watch: {namespaces: {include: [\"a*\"]}}",
        "engine: {max_members: 0}",
        "inhibit: []",
        "silences: [{until: \"2026-11-21T18:00:00Z\"}]",
        "silences: [{match: {namespace: a}}]",
        "silences: [{match: {namespace: a}, until: 2026-11-21}]",
        "silences: [{match: {namespace: a}, until: \"2026-11-21T18:00:00\"}]",
        "silences: [{match: {namespace: a}, until: \"2026-11-21T18:00:00Z\", name: a b}]",
        "mute_times: [{weekdays: [sat]}]",
        "mute_times: [{name: a}]",
        "mute_times: [{name: a, from: \"22:00\"}]",
        "mute_times: [{name: a, from: \"22:00\", to: \"24:30\"}]",
        "mute_times: [{name: a, from: \"24:00\", to: \"07:00\"}]",
        "mute_times: [{name: a, weekdays: [saturday]}]",
        "mute_times: [{name: a, weekdays: []}]",
    ] {
        assert!(valid(&config, &config, &yaml(text)).is_err(), "{text}");
        assert!(Files::new(&[("a.yaml", text)]).load("a.yaml").is_err(), "{text}");
    }
}
