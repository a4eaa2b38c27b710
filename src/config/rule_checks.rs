//! What is probably not meant: rules that replace a shipped one and match less, and overrides without effect.

use std::collections::{BTreeMap, HashMap};

use super::overrides::OverrideDraft;
use super::read::error::{Diagnostic, Diagnostics, Level};
use super::read::suggest;
use super::rules::RuleDraft;
use super::written;
use crate::rule::{Matcher, Rule};
use crate::signal::Cause;

/// Warns of each rule that replaces one of `replaced` and leaves problems to no rule at all.
pub fn narrowed(in_force: &[&RuleDraft], replaced: &[RuleDraft], found: &mut Diagnostics) {
    for old in replaced {
        let Some(shipped) = &old.rule else { continue };
        let mut drafts = in_force.iter().filter(|draft| draft.name == old.name);
        let Some((draft, rule)) = drafts.find_map(|draft| Some((draft, draft.rule.as_ref()?))) else {
            // Switched off, which was meant, or with errors.
            continue;
        };
        let others = || in_force.iter().filter_map(|other| other.rule.as_ref());
        let is_lost = |part: &Matcher, cause| !others().any(|other| other.matcher.covers(part, cause));
        for (what, causes) in lost(rule, shipped, is_lost) {
            let causes = suggest::join(causes.iter().map(|cause| cause.as_str()));
            let (message, label, example) = match &what {
                Some(condition) => (
                    format!(
                        "`{}` now matches only {}; other problems of {causes} have no rule",
                        rule.name, condition.0
                    ),
                    "it replaces the shipped rule of this name everywhere",
                    format!("match: {{{}}}, …", condition.1),
                ),
                None => (
                    format!("`{}` no longer matches {causes}; no other rule does", rule.name),
                    "it replaces the shipped rule of this name",
                    "severity: …".to_owned(),
                ),
            };
            let help = format!(
                "to keep the shipped rule for the rest give this one another name, or change that one for a \
                 part: `overrides: [{{rule: {}, {example}}}]`",
                rule.name
            );
            found.push(Diagnostic::at(Level::Warning, &draft.at, message).label(label).help(help));
        }
    }
}

/// How a condition is told in a sentence, and as YAML.
type Told = (String, String);

/// The causes of which `rule` leaves something out that `shipped` takes and `is_lost` says no rule has, by the
/// conditions that leave it out; `None`: it does not take the cause at all.
fn lost(
    rule: &Rule,
    shipped: &Rule,
    is_lost: impl Fn(&Matcher, Cause) -> bool,
) -> BTreeMap<Option<Told>, Vec<Cause>> {
    let mut lost: BTreeMap<Option<Told>, Vec<Cause>> = BTreeMap::new();
    for cause in shipped.matcher.all_causes() {
        if !rule.matcher.wants(cause) {
            if is_lost(&shipped.matcher, cause) {
                lost.entry(None).or_default().push(cause);
            }
            continue;
        }
        let narrowings = rule.matcher.narrowings(&shipped.matcher, cause);
        let lossy = narrowings.iter().filter(|one| one.left_out.iter().any(|part| is_lost(part, cause)));
        let told: Vec<(String, String)> = lossy.map(|one| written::condition(one.condition)).collect();
        if !told.is_empty() {
            let words: Vec<&str> = told.iter().map(|(words, _)| words.as_str()).collect();
            let yaml: Vec<&str> = told.iter().map(|(_, yaml)| yaml.as_str()).collect();
            lost.entry(Some((words.join(" and "), yaml.join(", ")))).or_default().push(cause);
        }
    }
    lost
}

/// Warns of overrides that change nothing or never match.
pub fn overrides(drafts: &[OverrideDraft], in_force: &[&RuleDraft], found: &mut Diagnostics) {
    let rules: HashMap<&str, Option<&Rule>> =
        in_force.iter().rev().map(|draft| (&*draft.name, draft.rule.as_ref())).collect();
    for (n, draft) in drafts.iter().enumerate() {
        let name = &draft.read.rule;
        let mut warn = |at, message: String, label: &str, help: Option<String>| {
            let warning = Diagnostic::at(Level::Warning, at, message);
            let warning = if label.is_empty() { warning } else { warning.label(label) };
            found.push(Diagnostic { help, ..warning });
        };
        let rule = match rules.get(&**name) {
            Some(Some(rule)) => *rule,
            Some(None) => {
                warn(&draft.at, format!("`{name}` is switched off"), "this changes nothing", None);
                continue;
            }
            // There is no such rule, which is an error of its own.
            None => continue,
        };
        if draft.read.matcher.excludes(&rule.matcher) {
            let written = written::matcher(&rule.matcher);
            let help = format!("the rule matches {written}");
            let message = format!("this override of `{name}` can never match");
            warn(&draft.at, message, "the rule matches nothing of that kind", Some(help));
            continue;
        }
        let later = drafts.iter().skip(n + 1);
        let everywhere: Vec<&OverrideDraft> =
            later.filter(|other| other.read.rule == *name && other.read.matcher.is_everything()).collect();
        for (key, at) in &draft.keys {
            let same_key = |other: &OverrideDraft| other.keys.iter().any(|(other, _)| other == key);
            if let Some(other) = everywhere.iter().find(|other| same_key(other)) {
                let message =
                    format!("`{key}` has no effect: {} sets it for all of `{name}`", other.read.place);
                warn(at, message, "the later one wins", None);
                continue;
            }
            let changed_before =
                drafts.iter().take(n).any(|other| other.read.rule == *name && same_key(other));
            if !changed_before && is_same(rule, draft, key) {
                warn(at, format!("`{name}` has this `{key}` already"), "this changes nothing", None);
            }
        }
    }
}

/// Is the rule the same with this one key of an override as without?
fn is_same(rule: &Rule, draft: &OverrideDraft, key: &str) -> bool {
    if key == "enabled" {
        return draft.read.changes.enabled == Some(true);
    }
    let mut changed = rule.clone();
    draft.read.changes.apply(&mut changed);
    written::setting(rule, key) == written::setting(&changed, key)
}
