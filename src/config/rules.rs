//! Rule files.

use std::sync::Arc;

use serde_json::json;

use super::log_tail;
use super::matching::{Match, Scope, matching, occurrences, severity};
use super::overrides::{OverrideDraft, overrides};
use super::read::duration;
use super::read::error::At;
use super::read::fields::{Fields, Head, section};
use super::read::kind::{Kind, boolean, choice, delay, list, name, span, text};
use super::routes::receiver_names;
use super::rule_tests::{RuleTest, test};
use super::secret::http_url;
use crate::engine::Settings;
use crate::rule::{GroupBy, Matcher, Rule};
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
}

#[derive(Debug, Default)]
pub struct RuleFile {
    pub rules: Vec<RuleDraft>,
    pub overrides: Vec<OverrideDraft>,
    pub tests: Vec<RuleTest>,
}

/// A rule file.
pub fn rules<'a>() -> Kind<'a, RuleFile> {
    let head = Head::new("file", "`rules`, `overrides` and `tests`", "A rule file of kubeherald.")
        .place("a rule file");
    section(head, |fields| {
        let doc = "Rules; the first that matches a problem speaks for it.";
        let rules = fields.get("rules", doc, list("a list of rules", rule()));
        let doc = "Changes of rules, also of shipped ones, for a part of what they match; the later wins.";
        let overrides = fields.get("overrides", doc, overrides());
        let doc = "Tests, run by `kubeherald test`.";
        let tests = fields.get("tests", doc, list("a list of tests", test()));
        Some(RuleFile {
            rules: rules.unwrap_or_default(),
            overrides: overrides.unwrap_or_default(),
            tests: tests.unwrap_or_default(),
        })
    })
}

fn rule<'a>() -> Kind<'a, RuleDraft> {
    let head = Head::called("rule", "a rule", "A rule. One with the name of a shipped rule replaces it.");
    section(head, |fields| {
        let at = fields.node("name").map_or_else(|| fields.head(), |node| node.span);
        let at = fields.reader.at(at);
        let name = fields.require("name", "Unique.", name("cannot be the name of a rule"));
        let enabled =
            fields.or("enabled", "`false` switches a shipped rule of this name off.", boolean(), true);
        let found = fields.get("match", "Which problems.", matching(Scope::Rule));
        let only_disables = !enabled && !fields.has("match");
        fields.condition("anyOf", || {
            let off = json!({"required": ["enabled"], "properties": {"enabled": {"const": false}}});
            json!([{"required": ["match"]}, off])
        });
        if !only_disables {
            fields.miss("match");
        }
        let rule = Rule::new(name.as_deref().unwrap_or_default(), Matcher::default(), Severity::Warning);
        let rule = settings(fields, rule, found.as_ref());
        let rule =
            found.map(|found| Rule { count: rule.count.or(found.count), matcher: found.matcher, ..rule });
        warn_of_no_log(fields, rule.as_ref());
        Some(RuleDraft { name: name?.into(), at, rule: rule.filter(|_| enabled), only_disables })
    })
}

/// What a rule says beside its conditions.
fn settings(fields: &mut Fields<'_, '_>, usual: Rule, found: Option<&Match>) -> Rule {
    let mut rule = Rule {
        severity: fields.or("severity", "How bad.", severity(), usual.severity),
        for_duration: fields.or(
            "for",
            "How long it must last before it is told.",
            delay(),
            usual.for_duration,
        ),
        count: fields.get("count", "How often it must happen before it is told.", occurrences()),
        group_wait: fields.get(
            "group_wait",
            "How long members gather before the first message.",
            delay().with("default", duration::written(Settings::default().group_wait)),
        ),
        group_by: fields.or(
            "group_by",
            "What the members of one incident share.",
            group_by(),
            usual.group_by,
        ),
        window: fields.or(
            "window",
            "No more of the same for so long after a message; doubles with each reminder.",
            span(),
            usual.window,
        ),
        max_window: fields.or("max_window", "The window never grows past this.", span(), usual.max_window),
        resolve_after: fields.or(
            "resolve_after",
            "A problem known from Events alone is over after so long without one.",
            span(),
            usual.resolve_after,
        ),
        stable_for: fields.or(
            "stable_for",
            "Recovery needs so long without a new occurrence; of JobFailed a success is enough.",
            delay(),
            usual.stable_for,
        ),
        ..usual
    };
    if let (Some(span), Some(_)) = (fields.key("count"), found.and_then(|found| found.count)) {
        fields.error(span, "`count` is given twice", "it is in `match` too", None);
    }
    if rule.max_window < rule.window {
        if let Some(span) = fields.key("max_window") {
            fields.error(span, "`max_window` is shorter than `window`", "windows only grow", None);
        }
        rule.max_window = rule.window;
    }
    telling(fields, rule)
}

/// Who is told what of it.
fn telling(fields: &mut Fields<'_, '_>, rule: Rule) -> Rule {
    Rule {
        send_resolved: fields.or("send_resolved", "Tell the end.", boolean(), rule.send_resolved),
        receivers: fields.get("receivers", "Who is told, in place of the routes.", receiver_names()),
        summary: fields.get(
            "summary",
            "The template of the title: \"{{workload}} keeps crashing ({{exit}})\".",
            summary(),
        ),
        runbook: fields.get("runbook", "The address of a page to read on.", runbook()),
        log_tail: fields
            .get(
                "log_tail",
                "Tell the last log lines of the run that ended. kubeherald must be allowed to `get` `pods/log`.",
                log_tail::of_rule(),
            )
            .flatten(),
        ..rule
    }
}

pub fn group_by<'a>() -> Kind<'a, Vec<GroupBy>> {
    list("a list of fields", choice("a field to group by", GroupBy::NAMES.iter().copied())).map(distinct)
}

/// Receivers make a link of it.
pub fn runbook<'a>() -> Kind<'a, Arc<str>> {
    http_url()
        .check(|reader, node, url| {
            let good = !url.contains(char::is_whitespace);
            if !good {
                reader.expected(node, "an `http://` or `https://` address", None);
            }
            good
        })
        .map(Arc::from)
}

fn distinct(keys: Vec<GroupBy>) -> Vec<GroupBy> {
    let mut distinct = Vec::with_capacity(keys.len());
    for key in keys {
        if !distinct.contains(&key) {
            distinct.push(key);
        }
    }
    distinct
}

/// A template of a title.
pub fn summary<'a>() -> Kind<'a, Arc<str>> {
    text().then(|reader, node, text| {
        if let Err(wrong) = compile_summary(&text) {
            reader.error(node.span, wrong.message, "", wrong.help.as_deref());
            return None;
        }
        Some(Arc::from(text))
    })
}

fn warn_of_no_log(fields: &mut Fields<'_, '_>, rule: Option<&Rule>) {
    let Some(rule) = rule.filter(|rule| rule.log_tail.is_some()) else { return };
    let causes = &rule.matcher.causes;
    if let Some(span) = fields.key("log_tail")
        && !causes.is_empty()
        && !causes.iter().any(|cause| cause.has_log())
    {
        let help = "CrashLoopBackOff, OOMKilled, Unhealthy and JobFailed have one";
        fields.warn(span, "these causes have no log", "no container ends when they occur", Some(help));
    }
}
