//! Overrides: a few settings of a rule, changed for a part of what it matches.

use std::sync::Arc;
use std::time::Duration;

use super::{CountMatch, GroupBy, Matcher, Rule};
use crate::signal::Severity;
use crate::signal::log::LogTail;

/// `{rule: crash-loop, match: {namespace: batch}, severity: warning}`
#[derive(Debug, Clone)]
pub struct Override {
    /// The name of the rule that it changes.
    pub rule: Arc<str>,
    /// For which of its problems; without conditions: for all.
    pub matcher: Matcher,
    pub changes: Changes,
    /// Where it is written, for people: `override 1 in kubeherald.yaml:12`.
    pub place: Arc<str>,
}

/// What an override sets; `None`: as it was.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub enabled: Option<bool>,
    pub severity: Option<Severity>,
    pub for_duration: Option<Duration>,
    pub count: Option<CountMatch>,
    pub group_wait: Option<Duration>,
    pub group_by: Option<Vec<GroupBy>>,
    pub window: Option<Duration>,
    pub max_window: Option<Duration>,
    pub stable_for: Option<Duration>,
    pub resolve_after: Option<Duration>,
    pub send_resolved: Option<bool>,
    pub receivers: Option<Vec<Arc<str>>>,
    pub summary: Option<Arc<str>>,
    pub runbook: Option<Arc<str>>,
    /// `Some(None)`: no log is read.
    pub log_tail: Option<Option<LogTail>>,
}

impl Changes {
    /// The keys that are set, as they are written.
    pub fn keys(&self) -> Vec<&'static str> {
        let set = [
            ("enabled", self.enabled.is_some()),
            ("severity", self.severity.is_some()),
            ("for", self.for_duration.is_some()),
            ("count", self.count.is_some()),
            ("group_wait", self.group_wait.is_some()),
            ("group_by", self.group_by.is_some()),
            ("window", self.window.is_some()),
            ("max_window", self.max_window.is_some()),
            ("stable_for", self.stable_for.is_some()),
            ("resolve_after", self.resolve_after.is_some()),
            ("send_resolved", self.send_resolved.is_some()),
            ("receivers", self.receivers.is_some()),
            ("summary", self.summary.is_some()),
            ("runbook", self.runbook.is_some()),
            ("log_tail", self.log_tail.is_some()),
        ];
        set.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect()
    }

    /// Puts what is set into a rule. `enabled` is not the rule's own matter: see
    /// [`RuleSet::first_match`](super::RuleSet::first_match).
    pub fn apply(&self, rule: &mut Rule) {
        fn set<T: Clone>(target: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                target.clone_from(value);
            }
        }
        set(&mut rule.severity, self.severity.as_ref());
        set(&mut rule.for_duration, self.for_duration.as_ref());
        set(&mut rule.group_by, self.group_by.as_ref());
        set(&mut rule.window, self.window.as_ref());
        set(&mut rule.max_window, self.max_window.as_ref());
        set(&mut rule.stable_for, self.stable_for.as_ref());
        set(&mut rule.resolve_after, self.resolve_after.as_ref());
        set(&mut rule.send_resolved, self.send_resolved.as_ref());
        set(&mut rule.log_tail, self.log_tail.as_ref());
        rule.count = self.count.or(rule.count);
        rule.group_wait = self.group_wait.or(rule.group_wait);
        rule.receivers = self.receivers.clone().or_else(|| rule.receivers.take());
        rule.summary = self.summary.clone().or_else(|| rule.summary.take());
        rule.runbook = self.runbook.clone().or_else(|| rule.runbook.take());
        // Windows only grow.
        rule.max_window = rule.max_window.max(rule.window);
    }
}

impl Override {
    /// Changes a rule, and notes in it that this did.
    pub fn apply(&self, rule: &mut Rule) {
        self.changes.apply(rule);
        rule.overrides.push(format!("{}: {}", self.place, self.changes.keys().join(", ")).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing;

    #[test]
    fn only_what_is_set_changes_and_a_longer_window_stretches_its_bound() {
        let mut rule = testing::rule("r", Matcher::default());
        rule.runbook = Some("https://example.com/old".into());
        rule.log_tail = Some(LogTail::default());
        let changes = Changes {
            window: Some(Duration::from_secs(48 * 3600)),
            log_tail: Some(None),
            ..Changes::default()
        };
        let one = Override { rule: "r".into(), matcher: Matcher::default(), changes, place: "here".into() };
        one.apply(&mut rule);
        assert_eq!(
            (rule.window, rule.max_window),
            (Duration::from_secs(48 * 3600), Duration::from_secs(48 * 3600))
        );
        assert_eq!((rule.log_tail, rule.runbook.as_deref()), (None, Some("https://example.com/old")));
        assert_eq!(rule.overrides, [Arc::from("here: window, log_tail")]);
    }

    /// A field that is added to [`Changes`] and forgotten in one of its methods would be a silent no-op.
    #[test]
    fn every_key_is_named_and_applied() {
        let changes = Changes {
            enabled: Some(true),
            severity: Some(Severity::Critical),
            for_duration: Some(Duration::from_secs(1)),
            count: Some(CountMatch { at_least: 2, within: Duration::from_secs(2) }),
            group_wait: Some(Duration::from_secs(3)),
            group_by: Some(vec![GroupBy::Node]),
            window: Some(Duration::from_secs(4)),
            max_window: Some(Duration::from_secs(5)),
            stable_for: Some(Duration::from_secs(6)),
            resolve_after: Some(Duration::from_secs(7)),
            send_resolved: Some(false),
            receivers: Some(vec!["a".into()]),
            summary: Some("s".into()),
            runbook: Some("u".into()),
            log_tail: Some(Some(LogTail::default())),
        };
        let before = testing::rule("r", Matcher::default());
        let mut after = before.clone();
        changes.apply(&mut after);
        let lines = |rule: &Rule| format!("{rule:#?}").lines().map(str::to_owned).collect::<Vec<_>>();
        let same: Vec<String> = lines(&before)
            .into_iter()
            .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
            .collect();
        let kept: Vec<&String> = same.iter().filter(|line| lines(&after).contains(line)).collect();
        let names: Vec<&str> = kept.iter().filter_map(|line| line.trim().split(':').next()).collect();
        let names: Vec<&str> = names
            .into_iter()
            .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            .collect();
        assert_eq!(names, ["name", "matcher", "group_by", "overrides"], "group_by opens a list either way");
        assert_eq!(after.group_by, [GroupBy::Node]);
        assert_eq!(changes.keys().len(), 15);
    }
}
