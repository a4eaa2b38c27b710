//! Reads `match`, of rules, of routes and of silences.

use regex::Regex;

use crate::config::error::At;
use crate::config::raw::{Node, Value};
use crate::config::read::{Map, Reader, did_you_mean};
use crate::config::suggest;
use crate::rule::CountMatch;
use crate::rule::matcher::{self, Field, IntMatch, Matcher, SeverityMatch, TextMatch};
use crate::signal::{Cause, Severity, Source};

/// The names of severities.
pub const SEVERITIES: &[(&str, Severity)] =
    &[("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];

/// Whose `match` it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A rule's: about signals, with a count.
    Rule,
    /// A route's: about incidents, with the severity and name of the rule.
    Route,
    /// Of a silence or a mute time: as a route's.
    Silence,
}

#[derive(Debug, Default)]
pub struct Match {
    /// Conditions on the signal.
    pub matcher: Matcher,
    pub count: Option<CountMatch>,
    /// Conditions on the severity (routes).
    pub severity: SeverityMatch,
    /// Conditions on the rule's name (routes).
    pub rule: TextMatch,
    /// The rules that a route names, to be looked up when all rules are known.
    pub rules: Vec<(String, At)>,
    /// No condition at all.
    pub is_empty: bool,
}

pub fn read(reader: &mut Reader, node: &Node, scope: Scope) -> Option<Match> {
    let mut map = reader.map(node, "conditions by field")?;
    let mut found = Match { is_empty: map.entries().next().is_none(), ..Match::default() };
    found.matcher.causes = map.get(reader, "cause", causes).unwrap_or_default();
    for (name, field) in Field::NAMES {
        if let Some(text) = map.get(reader, name, |r, n| text(r, n, Some(*field))) {
            found.matcher.texts.push((*field, text));
        }
    }
    let sources = [Source::Status, Source::Event].map(|source| (source.as_str(), source));
    found.matcher.source = map.get(reader, "source", |r, n| r.choice(n, "a source", &sources));
    found.matcher.labels = map.get(reader, "labels", by_key).unwrap_or_default();
    found.matcher.annotations = map.get(reader, "annotations", by_key).unwrap_or_default();
    found.matcher.exit_code = map.get(reader, "exit_code", exit_code).unwrap_or_default();
    match scope {
        Scope::Rule => {
            found.count = map.get(reader, "count", count);
            refuse(
                reader,
                &mut map,
                "severity",
                "a rule gives a severity instead of matching one",
                "move `severity` out of `match`",
            );
        }
        Scope::Route | Scope::Silence => {
            found.severity = map.get(reader, "severity", severity).unwrap_or_default();
            found.rule = map.get(reader, "rule", |r, n| text(r, n, None)).unwrap_or_default();
            if let Some(node) = map.take("rule") {
                found.rules = names(reader, node);
            }
            let message = if scope == Scope::Route { "routes do not count" } else { "silences do not count" };
            refuse(reader, &mut map, "count", message, "count in a rule");
        }
    }
    map.finish(reader, "`match`");
    if scope == Scope::Rule && found.matcher.causes == [Cause::Event] && found.matcher.texts.is_empty() {
        let help = "name the reasons: `reason: [Preempting, NodeShutdown]`";
        reader.warn(map_head(node), "this takes every Event that has no cause of its own", "", Some(help));
    }
    Some(found)
}

fn map_head(node: &Node) -> crate::config::raw::Span {
    match &node.value {
        Value::Map(entries) => entries.first().map_or(node.span, |(key, _)| key.span),
        _ => node.span,
    }
}

fn refuse(reader: &mut Reader, map: &mut Map<'_>, key: &'static str, message: &str, help: &str) {
    if let Some(span) = map.key_span(key) {
        // Taken only where it is given, so that it is not offered as a key.
        let _ = map.take(key);
        reader.error(span, message, "", Some(help));
    }
}

/// `{at_least: 3, within: 10m}`
pub fn count(reader: &mut Reader, node: &Node) -> Option<CountMatch> {
    let mut map = reader.map(node, "`{at_least, within}`")?;
    let at_least = map.require(reader, "at_least", |r, n| r.count(n, 1_000_000));
    let within = map.require(reader, "within", Reader::span_of_time);
    map.finish(reader, "`count`");
    Some(CountMatch { at_least: at_least?, within: within? })
}

/// A text, a list, or `{any_of, none_of, regex, not_regex}`.
fn text(reader: &mut Reader, node: &Node, field: Option<Field>) -> Option<TextMatch> {
    if !matches!(node.value, Value::Map(_)) {
        return Some(TextMatch { any_of: texts(reader, node, field), ..TextMatch::default() });
    }
    let mut map = reader.map(node, "conditions")?;
    let found = TextMatch {
        any_of: map.get(reader, "any_of", |r, n| Some(texts(r, n, field))).unwrap_or_default(),
        none_of: map.get(reader, "none_of", |r, n| Some(texts(r, n, field))).unwrap_or_default(),
        regex: map.get(reader, "regex", regexes).unwrap_or_default(),
        not_regex: map.get(reader, "not_regex", regexes).unwrap_or_default(),
    };
    let empty = map.entries().next().is_none();
    let span = map.span;
    map.finish(reader, "a condition");
    if empty {
        reader.error(span, "this condition is empty", "", Some(FORMS));
    }
    Some(found)
}

const FORMS: &str = "write a text, a list of texts, or `{any_of, none_of, regex, not_regex}`";

fn texts(reader: &mut Reader, node: &Node, field: Option<Field>) -> Vec<String> {
    let mut found = Vec::new();
    for item in reader.one_or_more(node) {
        let Some(text) = reader.text(item) else { continue };
        check_exact(reader, item, text, field);
        found.push(text.to_owned());
    }
    found
}

/// A condition that can never hold is a typing error, and a rule that stays silent for ever is the
/// worst way to learn of it.
fn check_exact(reader: &mut Reader, node: &Node, text: &str, field: Option<Field>) {
    use Field::{Container, Kind, Name, Namespace, Node as OnNode, Type, Workload};
    let Some(field) = field else { return };
    let named = matches!(field, Kind | Name | Namespace | OnNode | Workload | Container);
    if named && text.contains('*') {
        let pattern = text.replace('.', "\\.").replace('*', ".*");
        let help = format!("`*` stands for itself here; write `{{regex: \"^{pattern}$\"}}`");
        let shown = reader.show(node);
        reader.error(node.span, format!("{shown} can never match"), "no such name exists", Some(&help));
    } else if field == Workload && !text.contains('/') {
        let help = format!("a workload is written as `Kind/name`: `Deployment/{text}`");
        let shown = reader.show(node);
        reader.error(node.span, format!("{shown} can never match"), "", Some(&help));
    } else if field == Type {
        let _ = reader.choice(node, "a type of Events", &[("Warning", ()), ("Normal", ())]);
    }
}

fn regexes(reader: &mut Reader, node: &Node) -> Option<Vec<Regex>> {
    let mut found = Vec::new();
    for item in reader.one_or_more(node) {
        let Some(text) = reader.text(item) else { continue };
        match matcher::regex(text) {
            Ok(regex) => found.push(regex),
            Err(wrong) => {
                let wrong = wrong.to_string();
                // The crate draws a frame of its own; its last line says what is wrong.
                let line = wrong.lines().last().unwrap_or_default();
                let line = line.strip_prefix("error: ").unwrap_or(line).to_owned();
                let shown = reader.show(item);
                reader.error(item.span, format!("{shown} is no regular expression"), &line, None);
            }
        }
    }
    Some(found)
}

fn by_key(reader: &mut Reader, node: &Node) -> Option<Vec<(String, TextMatch)>> {
    let map = reader.map(node, "conditions by key")?;
    Some(
        map.entries()
            .filter_map(|(key, _, value)| Some((key.to_owned(), text(reader, value, None)?)))
            .collect(),
    )
}

fn exit_code(reader: &mut Reader, node: &Node) -> Option<IntMatch> {
    fn codes(reader: &mut Reader, node: &Node) -> Option<Vec<i32>> {
        let items = reader.one_or_more(node);
        Some(items.iter().filter_map(|item| i32::try_from(reader.int(item, -1, 255)?).ok()).collect())
    }
    if !matches!(node.value, Value::Map(_)) {
        return Some(IntMatch { any_of: codes(reader, node)?, none_of: Vec::new() });
    }
    let mut map = reader.map(node, "conditions")?;
    let any_of = map.get(reader, "any_of", codes).unwrap_or_default();
    let none_of = map.get(reader, "none_of", codes).unwrap_or_default();
    map.finish(reader, "a condition");
    Some(IntMatch { any_of, none_of })
}

fn severity(reader: &mut Reader, node: &Node) -> Option<SeverityMatch> {
    let one = |reader: &mut Reader, node: &Node| reader.choice(node, "a severity", SEVERITIES);
    let several = |reader: &mut Reader, node: &Node| {
        let items = reader.one_or_more(node);
        Some(items.iter().filter_map(|item| one(reader, item)).collect::<Vec<_>>())
    };
    if !matches!(node.value, Value::Map(_)) {
        return Some(SeverityMatch { any_of: several(reader, node)?, at_least: None });
    }
    let mut map = reader.map(node, "conditions")?;
    let any_of = map.get(reader, "any_of", several).unwrap_or_default();
    let at_least = map.get(reader, "at_least", one);
    map.finish(reader, "a condition");
    Some(SeverityMatch { any_of, at_least })
}

/// The causes that meet a condition. `Event` is only taken by name.
fn causes(reader: &mut Reader, node: &Node) -> Option<Vec<Cause>> {
    let mut any_of = Vec::new();
    let mut negative = TextMatch::default();
    let mut wrong = false;
    let mut cause = |reader: &mut Reader, item: &Node| {
        let found = one_cause(reader, item);
        wrong |= found.is_none();
        found
    };
    if let Value::Map(_) = node.value {
        let mut map = reader.map(node, "conditions")?;
        if let Some(node) = map.take("any_of") {
            let items = reader.one_or_more(node);
            any_of = items.iter().filter_map(|item| cause(reader, item)).collect();
        }
        if let Some(node) = map.take("none_of") {
            let items = reader.one_or_more(node);
            negative.none_of =
                items.iter().filter_map(|item| cause(reader, item)).map(|c| c.as_str().to_owned()).collect();
        }
        negative.regex = map.get(reader, "regex", regexes).unwrap_or_default();
        negative.not_regex = map.get(reader, "not_regex", regexes).unwrap_or_default();
        let given = map.has("any_of");
        map.finish(reader, "a condition");
        if !given {
            any_of = Cause::ALL.iter().copied().filter(|cause| *cause != Cause::Event).collect();
        }
    } else {
        let items = reader.one_or_more(node);
        any_of = items.iter().filter_map(|item| cause(reader, item)).collect();
    }
    any_of.retain(|cause| negative.matches(Some(cause.as_str())));
    if any_of.is_empty() && !wrong {
        reader.error(node.span, "no cause meets this condition", "", None);
    }
    Some(any_of)
}

fn one_cause(reader: &mut Reader, node: &Node) -> Option<Cause> {
    let text = reader.text(node)?;
    if let Ok(cause) = text.parse() {
        return Some(cause);
    }
    let all = || Cause::ALL.iter().map(|cause| cause.as_str());
    let help = match (of_raw_reason(text), suggest::nearest(text, all())) {
        (Some(cause), _) => format!("that is a raw reason: write `cause: {cause}`, or `reason: {text}`"),
        (None, Some(name)) => did_you_mean(name),
        (None, None) => format!("the causes are {}; raw reasons belong under `reason`", suggest::join(all())),
    };
    let shown = reader.show(node);
    reader.error(node.span, format!("{shown} is not a cause"), "", Some(&help));
    None
}

/// What people write who know Kubernetes better than they know us.
fn of_raw_reason(reason: &str) -> Option<Cause> {
    Some(match reason {
        "BackOff" => Cause::CrashLoopBackOff,
        "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError" => {
            Cause::ImagePullBackOff
        }
        "FailedMapVolume" => Cause::FailedMount,
        "Unschedulable" => Cause::FailedScheduling,
        "ContainerCreating" | "FailedCreatePodSandBox" => Cause::ContainerStuck,
        "NotReady" => Cause::NodeNotReady,
        "MemoryPressure" | "DiskPressure" | "PIDPressure" | "NetworkUnavailable" => Cause::NodePressure,
        "BackoffLimitExceeded" => Cause::JobFailed,
        "ProgressDeadlineExceeded" => Cause::RolloutStuck,
        "NodePorts" | "OutOfcpu" | "OutOfmemory" | "OutOfpods" | "NodeAffinity" => Cause::PodRejected,
        "FailedBinding" => Cause::ProvisioningFailed,
        "Terminating" => Cause::StuckTerminating,
        _ => return None,
    })
}

fn names(reader: &mut Reader, node: &Node) -> Vec<(String, At)> {
    let node = match &node.value {
        Value::Map(entries) => entries
            .iter()
            .find(|(key, _)| matches!(&key.value, Value::Text { text, .. } if text == "any_of"))
            .map(|(_, value)| value),
        _ => Some(node),
    };
    let items = match node.map(|node| (&node.value, node)) {
        Some((Value::List(items), _)) => items.as_slice(),
        Some((_, node)) => std::slice::from_ref(node),
        None => &[],
    };
    items
        .iter()
        .filter_map(|item| match &item.value {
            Value::Text { text, .. } => Some((text.clone(), reader.at(item.span))),
            _ => None,
        })
        .collect()
}
