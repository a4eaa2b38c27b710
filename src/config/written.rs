//! Rules as they would be written in a file: what is in force, and conditions in the words of a warning.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value as Json;

use super::read::{duration, suggest};
use crate::rule::matcher::{Field, IntMatch, Matcher, TextMatch};
use crate::rule::{Condition, CountMatch, GroupBy, Override, Rule, RuleSet};
use crate::signal::Severity;
use crate::signal::log::LogTail;

/// The keys of a rule that an override can set, in the order in which they are written.
const KEYS: [&str; 14] = [
    "severity",
    "for",
    "count",
    "group_wait",
    "group_by",
    "window",
    "max_window",
    "stable_for",
    "resolve_after",
    "send_resolved",
    "receivers",
    "summary",
    "runbook",
    "log_tail",
];
/// Of these the value is written also where it is the default: they are what people look for.
const ALWAYS: [&str; 3] = ["severity", "for", "window"];

/// A text as a YAML scalar.
fn scalar(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(word);
    let keyword = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    match plain && !keyword.contains(&text.to_ascii_lowercase().as_str()) {
        true => text.to_owned(),
        false => Json::from(text).to_string(),
    }
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// One value stands for a list of one.
fn one_or_more(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    match items.as_slice() {
        [one] => one.clone(),
        _ => list(items),
    }
}

fn mapping(entries: &[(String, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", entries.join(", "))
}

fn text_match(text: &TextMatch) -> String {
    let texts = |all: &[String]| one_or_more(all.iter().map(|text| scalar(text)));
    let regexes = |all: &[Regex]| one_or_more(all.iter().map(|regex| Json::from(regex.as_str()).to_string()));
    if text.none_of.is_empty() && text.regex.is_empty() && text.not_regex.is_empty() {
        return texts(&text.any_of);
    }
    let mut entries = Vec::new();
    let mut add = |key: &str, empty: bool, value: String| {
        entries.extend((!empty).then(|| (key.to_owned(), value)));
    };
    add("any_of", text.any_of.is_empty(), texts(&text.any_of));
    add("none_of", text.none_of.is_empty(), texts(&text.none_of));
    add("regex", text.regex.is_empty(), regexes(&text.regex));
    add("not_regex", text.not_regex.is_empty(), regexes(&text.not_regex));
    mapping(&entries)
}

fn exit_codes(codes: &IntMatch) -> String {
    let numbers = |all: &[i32]| one_or_more(all.iter().map(ToString::to_string));
    if codes.none_of.is_empty() {
        return numbers(&codes.any_of);
    }
    let any_of = (!codes.any_of.is_empty()).then(|| ("any_of".to_owned(), numbers(&codes.any_of)));
    let none_of = ("none_of".to_owned(), numbers(&codes.none_of));
    mapping(&any_of.into_iter().chain([none_of]).collect::<Vec<_>>())
}

const fn field_name(field: Field) -> &'static str {
    match field {
        Field::Reason => "reason",
        Field::Namespace => "namespace",
        Field::Kind => "kind",
        Field::Name => "name",
        Field::Workload => "workload",
        Field::Container => "container",
        Field::Node => "node",
        Field::Message => "message",
        Field::Type => "type",
    }
}

fn conditions(matcher: &Matcher) -> Vec<(String, String)> {
    let by_key = |all: &[(String, TextMatch)]| {
        let entries: Vec<(String, String)> =
            all.iter().map(|(key, text)| (scalar(key), text_match(text))).collect();
        mapping(&entries)
    };
    let mut entries: Vec<(String, String)> = Vec::new();
    if !matcher.causes.is_empty() {
        let causes = one_or_more(matcher.causes.iter().map(|cause| cause.as_str().to_owned()));
        entries.push(("cause".to_owned(), causes));
    }
    entries
        .extend(matcher.texts.iter().map(|(field, text)| (field_name(*field).to_owned(), text_match(text))));
    entries.extend(matcher.source.map(|source| ("source".to_owned(), source.as_str().to_owned())));
    if !matcher.labels.is_empty() {
        entries.push(("labels".to_owned(), by_key(&matcher.labels)));
    }
    if !matcher.annotations.is_empty() {
        entries.push(("annotations".to_owned(), by_key(&matcher.annotations)));
    }
    if !matcher.exit_code.any_of.is_empty() || !matcher.exit_code.none_of.is_empty() {
        entries.push(("exit_code".to_owned(), exit_codes(&matcher.exit_code)));
    }
    entries
}

/// A `match`: `{cause: Evicted, namespace: shop}`.
pub fn matcher(matcher: &Matcher) -> String {
    mapping(&conditions(matcher))
}

/// One condition as a sentence has it, and as it is written.
pub fn condition(condition: Condition<'_>) -> (String, String) {
    let yaml = match condition {
        Condition::Text(field, text) => format!("{}: {}", field_name(field), text_match(text)),
        Condition::Label(key, text) => format!("labels: {{{}: {}}}", scalar(key), text_match(text)),
        Condition::Annotation(key, text) => format!("annotations: {{{}: {}}}", scalar(key), text_match(text)),
        Condition::Source(source) => format!("source: {}", source.as_str()),
        Condition::ExitCode(codes) => format!("exit_code: {}", exit_codes(codes)),
    };
    let words = match condition {
        Condition::Text(field, text) if text_match(text) == list_or_one(text) => {
            format!("{} {}", field_name(field), suggest::join(text.any_of.iter().map(String::as_str)))
        }
        _ => format!("`{yaml}`"),
    };
    (words, yaml)
}

fn list_or_one(text: &TextMatch) -> String {
    one_or_more(text.any_of.iter().map(|text| scalar(text)))
}

fn count(count: CountMatch) -> String {
    format!("{{at_least: {}, within: {}}}", count.at_least, duration::written(count.within))
}

fn groups(keys: &[GroupBy]) -> String {
    let name = |key: &GroupBy| GroupBy::NAMES.iter().find(|(_, one)| one == key).map(|(name, _)| *name);
    list(keys.iter().filter_map(name).map(str::to_owned))
}

fn log_tail(tail: Option<LogTail>) -> String {
    tail.map_or_else(
        || "false".into(),
        |LogTail { lines, bytes }| format!("{{lines: {lines}, bytes: {bytes}}}"),
    )
}

/// One setting of a rule as it is written; `None` where the rule leaves it open.
pub fn setting(rule: &Rule, key: &str) -> Option<String> {
    Some(match key {
        "severity" => rule.severity.as_str().to_owned(),
        "for" => duration::written(rule.for_duration),
        "count" => count(rule.count?),
        "group_wait" => duration::written(rule.group_wait?),
        "group_by" => groups(&rule.group_by),
        "window" => duration::written(rule.window),
        "max_window" => duration::written(rule.max_window),
        "stable_for" => duration::written(rule.stable_for),
        "resolve_after" => duration::written(rule.resolve_after),
        "send_resolved" => rule.send_resolved.to_string(),
        "receivers" => list(rule.receivers.as_ref()?.iter().map(|name| scalar(name))),
        "summary" => Json::from(&**rule.summary.as_ref()?).to_string(),
        "runbook" => Json::from(&**rule.runbook.as_ref()?).to_string(),
        "log_tail" => log_tail(rule.log_tail),
        _ => return None,
    })
}

/// The settings of a rule that differ from the default.
fn settings(rule: &Rule) -> Vec<(&'static str, String)> {
    let mut usual = Rule::new("", Matcher::default(), Severity::Warning);
    usual.max_window = usual.max_window.max(rule.window);
    let differs = |key: &&str| ALWAYS.contains(key) || setting(rule, key) != setting(&usual, key);
    KEYS.into_iter().filter(differs).filter_map(|key| Some((key, setting(rule, key)?))).collect()
}

/// The rules in force as a rule file: each with what changes it for all of its problems, and after them what
/// changes a part. `origins`: where each rule is written.
pub fn effective(rules: &RuleSet, origins: &HashMap<Arc<str>, String>) -> String {
    let mut out = String::from("# The rules in force, the first that matches speaks.\nrules:\n");
    let mut partial = String::new();
    for rule in rules.iter() {
        let overrides = rules.overrides(&rule.name);
        let everywhere: Vec<&Override> = overrides.iter().filter(|one| one.matcher.is_everything()).collect();
        let mut changed = Rule::clone(rule);
        for one in &everywhere {
            one.apply(&mut changed);
        }
        let enabled = everywhere.iter().filter_map(|one| one.changes.enabled).next_back().unwrap_or(true);
        let origin = origins.get(&rule.name).map_or("", String::as_str);
        for comment in [origin].into_iter().chain(changed.overrides.iter().map(|one| &**one)) {
            let _written = writeln!(out, "  # {comment}");
        }
        let _written =
            writeln!(out, "  - name: {}\n    match: {}", scalar(&rule.name), matcher(&rule.matcher));
        if !enabled {
            out.push_str("    enabled: false\n");
        }
        for (key, value) in settings(&changed) {
            let _written = writeln!(out, "    {key}: {value}");
        }
        for (n, one) in overrides.iter().enumerate().filter(|(_, one)| !one.matcher.is_everything()) {
            part(one, rule, overrides.get(n + 1..).unwrap_or_default(), &mut partial);
        }
    }
    if !partial.is_empty() {
        out.push_str("overrides:\n");
        out.push_str(&partial);
    }
    out
}

/// An override of a part, without what a later one sets for everything.
fn part(one: &Override, rule: &Rule, later: &[Override], out: &mut String) {
    let mut changed = Rule::clone(rule);
    one.changes.apply(&mut changed);
    let is_last = |key: &&str| {
        !later.iter().any(|other| other.matcher.is_everything() && other.changes.keys().contains(key))
    };
    let keys: Vec<&str> = one.changes.keys().into_iter().filter(is_last).collect();
    if keys.is_empty() {
        return;
    }
    let _written = writeln!(
        out,
        "  # {}\n  - rule: {}\n    match: {}",
        one.place,
        scalar(&one.rule),
        matcher(&one.matcher)
    );
    for key in keys {
        let value = match (key, one.changes.enabled) {
            ("enabled", Some(enabled)) => Some(enabled.to_string()),
            _ => setting(&changed, key),
        };
        if let Some(value) = value {
            let _written = writeln!(out, "    {key}: {value}");
        }
    }
}
