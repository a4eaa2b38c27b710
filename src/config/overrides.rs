//! `overrides`: a few settings of a rule, changed for a part of what it matches.

use std::sync::Arc;

use super::log_tail;
use super::matching::{Scope, matching, occurrences, severity};
use super::read::error::At;
use super::read::fields::{Fields, Head, section};
use super::read::kind::{Kind, boolean, delay, list, span, text};
use super::routes::receiver_names;
use super::rules::{group_by, runbook, summary};
use crate::rule::{Changes, Matcher, Override};

/// An override as one file gives it; whether there is such a rule is looked up later.
#[derive(Debug)]
pub struct OverrideDraft {
    /// Where the name of the rule stands.
    pub at: At,
    /// Where each key that it sets stands.
    pub keys: Vec<(&'static str, At)>,
    pub read: Override,
}

/// Overrides apply in the order written.
pub fn overrides<'a>() -> Kind<'a, Vec<OverrideDraft>> {
    list("a list of overrides", one()).then(|_, _, drafts| {
        let numbered = drafts.into_iter().enumerate().map(|(n, mut draft)| {
            let path = draft.at.source.path();
            let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            draft.read.place = format!("override {} in {file}:{}", n + 1, draft.at.line()).into();
            draft
        });
        Some(numbered.collect())
    })
}

fn one<'a>() -> Kind<'a, OverrideDraft> {
    let doc = "Changes some settings of a rule for what `match` matches, without copying the rule.";
    section(Head::called("override", "an override", doc), |fields| {
        let rule = fields.require("rule", "The name of the rule that it changes.", rule_name());
        let doc = "For which of the rule's problems; without it: all.";
        let found = fields.get("match", doc, matching(Scope::Override));
        let changes = changes(fields);
        let matcher = if fields.has("match") { found?.matcher } else { Matcher::default() };
        let (rule, at) = rule?;
        let keys: Vec<(&str, At)> =
            changes.keys().into_iter().filter_map(|key| Some((key, at_key(fields, key)?))).collect();
        if fields.has_only(&["rule", "match"]) {
            let help =
                "name what is to change beside `rule` and `match`: `severity: warning`, `window: 6h`, …";
            fields.warn(
                fields.head(),
                "this override changes nothing",
                "it sets no key of a rule",
                Some(help),
            );
        }
        Some(OverrideDraft { at, keys, read: Override { rule, matcher, changes, place: Arc::from("") } })
    })
}

fn at_key(fields: &Fields<'_, '_>, key: &str) -> Option<At> {
    fields.key(key).map(|span| fields.reader.at(span))
}

fn rule_name<'a>() -> Kind<'a, (Arc<str>, At)> {
    text().then(|reader, node, name| {
        let (name, at): (Arc<str>, At) = (name.into(), reader.at(node.span));
        reader.references.rules.push((Arc::clone(&name), at.clone()));
        Some((name, at))
    })
}

fn changes(fields: &mut Fields<'_, '_>) -> Changes {
    let changes = Changes {
        enabled: fields.get(
            "enabled",
            "`false` leaves these problems to the next rule that matches.",
            boolean(),
        ),
        severity: fields.get("severity", "How bad.", severity()),
        for_duration: fields.get("for", "How long it must last before it is told.", delay()),
        count: fields.get("count", "How often it must happen before it is told.", occurrences()),
        group_wait: fields.get("group_wait", "How long members gather before the first message.", delay()),
        group_by: fields.get("group_by", "What the members of one incident share.", group_by()),
        window: fields.get("window", "No more of the same for so long after a message.", span()),
        max_window: fields.get("max_window", "The window never grows past this.", span()),
        stable_for: fields.get("stable_for", "Recovery needs so long without a new occurrence.", delay()),
        resolve_after: fields.get(
            "resolve_after",
            "A problem known from Events alone is over after so long without one.",
            span(),
        ),
        send_resolved: fields.get("send_resolved", "Tell the end.", boolean()),
        receivers: fields.get("receivers", "Who is told, in place of the routes.", receiver_names()),
        summary: fields.get("summary", "The template of the title.", summary()),
        runbook: fields.get("runbook", "The address of a page to read on.", runbook()),
        log_tail: fields.get(
            "log_tail",
            "Tell the last log lines of the run that ended.",
            log_tail::of_rule(),
        ),
    };
    if let (Some(window), Some(max), Some(span)) =
        (changes.window, changes.max_window, fields.key("max_window"))
        && max < window
    {
        fields.error(span, "`max_window` is shorter than `window`", "windows only grow", None);
    }
    changes
}
