//! Compiles rule files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cases::{self, RuleTest};
use super::log_tail;
use super::matching::{self, Scope};
use crate::config::error::At;
use crate::config::raw::Node;
use crate::config::read::Reader;
use crate::config::{NAME_HELP, is_name};
use crate::rule::{GroupBy, Rule};
use crate::signal::Severity;
use crate::template::compile_summary;

/// A rule as one file gives it; names that other files define are looked up later.
#[derive(Debug)]
pub struct RuleDraft {
    /// Unique among the user's rules.
    pub name: Arc<str>,
    /// Where the name stands.
    pub at: At,
    /// The rule; `None` where it is switched off or has errors.
    pub rule: Option<Rule>,
    /// It says `enabled: false` and nothing else: it switches a shipped rule off.
    pub only_disables: bool,
    /// The receivers it names.
    pub receivers: Vec<(Arc<str>, At)>,
}

/// Reads a rule file.
pub fn read(reader: &mut Reader, root: &Node, directory: &Path) -> (Vec<RuleDraft>, Vec<RuleTest>) {
    let Some(mut map) = reader.map(root, "`rules` and `tests`") else { return Default::default() };
    let mut drafts = Vec::new();
    let mut tests = Vec::new();
    if let Some(items) = map.get(reader, "rules", |r, n| r.list(n, "a list of rules")) {
        drafts = items.iter().filter_map(|item| rule(reader, item)).collect();
    }
    if let Some(items) = map.get(reader, "tests", |r, n| r.list(n, "a list of tests")) {
        tests = items.iter().filter_map(|item| cases::read(reader, item, directory)).collect();
    }
    map.finish(reader, "a rule file");
    (drafts, tests)
}

fn rule(reader: &mut Reader, node: &Node) -> Option<RuleDraft> {
    let mut map = reader.map(node, "a rule")?;
    let mut at = reader.at(map.head());
    let name = map.require(reader, "name", |reader, node| {
        at = reader.at(node.span);
        let name = reader.text(node)?;
        if !is_name(name) {
            let shown = reader.show(node);
            reader.error(node.span, format!("{shown} is no name for a rule"), "", Some(NAME_HELP));
            return None;
        }
        Some(name)
    });
    let enabled = map.get(reader, "enabled", Reader::boolean).unwrap_or(true);
    let only_disables = !enabled && !map.has("match");
    let found = if only_disables {
        map.get(reader, "match", |r, n| matching::read(r, n, Scope::Rule))
    } else {
        map.require(reader, "match", |r, n| matching::read(r, n, Scope::Rule))
    };
    let mut rule = Rule::new(name.unwrap_or_default(), crate::rule::Matcher::default(), Severity::Warning);
    if let Some(severity) =
        map.get(reader, "severity", |r, n| r.choice(n, "a severity", matching::SEVERITIES))
    {
        rule.severity = severity;
    }
    if let Some(hold) = map.get(reader, "for", Reader::duration) {
        rule.for_duration = hold;
    }
    let count = map.get(reader, "count", matching::count);
    if let (Some(span), Some(found)) = (map.key_span("count"), &found)
        && found.count.is_some()
    {
        reader.error(span, "`count` is given twice", "it is in `match` too", None);
    }
    rule.group_wait = map.get(reader, "group_wait", Reader::duration);
    if let Some(keys) = map.get(reader, "group_by", group_by) {
        rule.group_by = keys;
    }
    let set = |reader: &mut Reader, map: &mut crate::config::read::Map<'_>, key, value: &mut Duration| {
        if let Some(given) = map.get(reader, key, Reader::span_of_time) {
            *value = given;
        }
    };
    set(reader, &mut map, "window", &mut rule.window);
    set(reader, &mut map, "max_window", &mut rule.max_window);
    set(reader, &mut map, "resolve_after", &mut rule.resolve_after);
    if rule.max_window < rule.window {
        if let Some(span) = map.key_span("max_window") {
            reader.error(span, "`max_window` is shorter than `window`", "windows only grow", None);
        }
        rule.max_window = rule.window;
    }
    if let Some(stable_for) = map.get(reader, "stable_for", Reader::duration) {
        rule.stable_for = stable_for;
    }
    if let Some(send) = map.get(reader, "send_resolved", Reader::boolean) {
        rule.send_resolved = send;
    }
    let receivers = map.get(reader, "receivers", receivers);
    rule.receivers = receivers.as_ref().map(|names| names.iter().map(|(name, _)| name.clone()).collect());
    rule.summary = map.get(reader, "summary", |reader, node| {
        let text = reader.text(node)?;
        if let Err(wrong) = compile_summary(text) {
            reader.error(node.span, wrong.message, "", wrong.help.as_deref());
            return None;
        }
        Some(Arc::from(text))
    });
    rule.runbook = map.get(reader, "runbook", |r, n| r.text(n).map(Arc::from));
    rule.log_tail = map.get(reader, "log_tail", log_tail::of_rule).flatten();
    let log_span = map.key_span("log_tail").filter(|_| rule.log_tail.is_some());
    map.finish(reader, "a rule");
    let usable = found.map(|found| {
        rule.count = count.or(found.count);
        rule.matcher = found.matcher;
        let causes = &rule.matcher.causes;
        if let Some(span) = log_span
            && !causes.is_empty()
            && !causes.iter().any(|cause| cause.has_log())
        {
            let help = "CrashLoopBackOff, OOMKilled, Unhealthy and JobFailed have one";
            reader.warn(span, "there is no log to tell", "no run ends where these causes show", Some(help));
        }
        rule
    });
    Some(RuleDraft {
        name: name?.into(),
        at,
        rule: usable.filter(|_| enabled),
        only_disables,
        receivers: receivers.unwrap_or_default(),
    })
}

fn group_by(reader: &mut Reader, node: &Node) -> Option<Vec<GroupBy>> {
    let items = reader.list(node, "a list of fields")?;
    let mut keys = Vec::new();
    for item in items {
        if let Some(key) = reader.choice(item, "a field to group by", GroupBy::NAMES)
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    }
    Some(keys)
}

/// Names of receivers, with their places.
pub fn receivers(reader: &mut Reader, node: &Node) -> Option<Vec<(Arc<str>, At)>> {
    let mut names = Vec::new();
    for item in reader.one_or_more(node) {
        if let Some(name) = reader.text(item) {
            names.push((Arc::from(name), reader.at(item.span)));
        }
    }
    Some(names)
}
