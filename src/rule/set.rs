//! All rules in order of precedence, and the overrides of some of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::index::Index;
use super::matcher::Matcher;
use super::{Override, Rule};
use crate::signal::{Cause, Signal};

/// All rules in order of precedence.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    names: HashMap<Arc<str>, usize>,
    index: Index,
    overrides: HashMap<Arc<str>, Overrides>,
}

/// The overrides of one rule, in the order in which they apply.
#[derive(Debug, Clone)]
struct Overrides {
    all: Vec<Override>,
    index: Index,
}

impl Overrides {
    fn new(all: Vec<Override>) -> Self {
        // The rule has picked the cause: without a `cause` an override is for every one, raw Events too.
        let wants =
            |matcher: &Matcher, cause: Cause| matcher.causes.is_empty() || matcher.causes.contains(&cause);
        let index = Index::new(all.iter().map(|one| &one.matcher), wants);
        Self { all, index }
    }

    fn matching(&self, signal: &Signal) -> impl Iterator<Item = &Override> {
        let matches =
            |place: usize| self.all.get(place).is_some_and(|one| one.matcher.matches_any_cause(signal));
        self.index.all(signal, matches).into_iter().filter_map(|place| self.all.get(place))
    }
}

impl RuleSet {
    /// Builds the index. Precedence is the order given.
    pub fn new(rules: Vec<Rule>) -> Self {
        let index = Index::new(rules.iter().map(|rule| &rule.matcher), Matcher::wants);
        let mut names = HashMap::new();
        for (place, rule) in rules.iter().enumerate() {
            names.entry(Arc::clone(&rule.name)).or_insert(place);
        }
        let rules = rules.into_iter().map(Arc::new).collect();
        Self { rules, names, index, overrides: HashMap::new() }
    }

    /// The same rules with these overrides, which apply in this order: the later wins.
    pub fn with_overrides(self, overrides: Vec<Override>) -> Self {
        let mut by_rule: HashMap<Arc<str>, Vec<Override>> = HashMap::new();
        for one in overrides {
            by_rule.entry(Arc::clone(&one.rule)).or_default().push(one);
        }
        let overrides = by_rule.into_iter().map(|(rule, all)| (rule, Overrides::new(all))).collect();
        Self { overrides, ..self }
    }

    /// The first rule that matches, as its overrides make it for this signal: one problem is one message, so
    /// one rule speaks for a signal.
    pub fn first_match(&self, signal: &Signal) -> Option<Arc<Rule>> {
        let matches = |rule: &Rule| rule.matcher.matches(signal) && self.is_enabled(rule, signal);
        Some(self.overridden(self.search(signal, matches)?, signal))
    }

    fn search(&self, signal: &Signal, mut matches: impl FnMut(&Rule) -> bool) -> Option<&Arc<Rule>> {
        let matches = |place: usize| self.rules.get(place).is_some_and(|rule| matches(rule));
        self.rules.get(self.index.first(signal, matches)?)
    }

    /// Does no override switch the rule off for this signal?
    fn is_enabled(&self, rule: &Rule, signal: &Signal) -> bool {
        let Some(overrides) = self.overrides.get(&rule.name) else { return true };
        overrides.matching(signal).filter_map(|one| one.changes.enabled).last().unwrap_or(true)
    }

    fn overridden(&self, rule: &Arc<Rule>, signal: &Signal) -> Arc<Rule> {
        let Some(overrides) = self.overrides.get(&rule.name) else { return Arc::clone(rule) };
        let mut changed: Option<Rule> = None;
        for one in overrides.matching(signal) {
            one.apply(changed.get_or_insert_with(|| Rule::clone(rule)));
        }
        changed.map_or_else(|| Arc::clone(rule), Arc::new)
    }

    /// The rule of this name as its overrides make it for a signal that it speaks for.
    pub fn of(&self, name: &str, signal: &Signal) -> Option<Arc<Rule>> {
        self.get(name).map(|rule| self.overridden(rule, signal))
    }

    /// A rule by name, as it is without overrides.
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.get(*self.names.get(name)?)
    }

    /// All rules in order of precedence, as they are without overrides.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// The overrides of a rule, in the order in which they apply.
    pub fn overrides(&self, rule: &str) -> &[Override] {
        self.overrides.get(rule).map_or(&[], |overrides| &overrides.all)
    }

    /// How many rules there are.
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// No rule at all: nothing is ever told.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{rule, signal};
    use super::super::{Changes, Field, TextMatch};
    use super::*;
    use crate::signal::Severity;

    /// How many matchers a signal was compared with, and the rule found.
    fn search(set: &RuleSet, signal: &Signal) -> (usize, Option<String>) {
        let mut compared = 0;
        let found = set.search(signal, |rule| {
            compared += 1;
            rule.matcher.matches(signal)
        });
        (compared, found.map(|rule| rule.name.to_string()))
    }

    fn in_namespace(namespace: &str) -> Matcher {
        Matcher::cause(Cause::CrashLoopBackOff).with(Field::Namespace, TextMatch::exact(namespace))
    }

    #[test]
    fn ten_thousand_rules_of_one_cause_cost_no_more_than_ten() {
        for teams in [10, 10_000] {
            let mut rules: Vec<Rule> =
                (0..teams).map(|n| rule(&format!("team-{n}"), in_namespace(&format!("team-{n}")))).collect();
            rules.push(rule("rest", Matcher::cause(Cause::CrashLoopBackOff)));
            let set = RuleSet::new(rules);
            let last = format!("team-{}", teams - 1);
            let signal = |ns: &str| signal(Cause::CrashLoopBackOff, ns, "Deployment/web");
            assert_eq!(search(&set, &signal(&last)), (1, Some(last)));
            assert_eq!(search(&set, &signal("other")), (1, Some("rest".into())));
        }
    }

    #[test]
    fn a_grid_of_namespaces_and_workloads_costs_one_comparison() {
        let mut rules = Vec::new();
        for ns in 0..100 {
            for app in 0..100 {
                let matcher = in_namespace(&format!("ns-{ns}"))
                    .with(Field::Workload, TextMatch::exact(&format!("Deployment/app-{app}")));
                rules.push(rule(&format!("{ns}-{app}"), matcher));
            }
        }
        let set = RuleSet::new(rules);
        let signal = signal(Cause::CrashLoopBackOff, "ns-99", "Deployment/app-99");
        assert_eq!(search(&set, &signal), (1, Some("99-99".into())));
    }

    #[test]
    fn teams_by_label_are_indexed_too() {
        let teams = (0..1000).map(|n| {
            let mut matcher = Matcher::cause(Cause::CrashLoopBackOff);
            matcher.labels.push(("team".into(), TextMatch::exact(&format!("t{n}"))));
            rule(&format!("t{n}"), matcher)
        });
        let set = RuleSet::new(teams.collect());
        let mut signal = signal(Cause::CrashLoopBackOff, "shop", "Deployment/web");
        assert_eq!(search(&set, &signal), (0, None));
        signal.labels = [None, None, Some(Arc::new([("team".to_owned(), "t7".to_owned())].into()))];
        assert_eq!(search(&set, &signal), (1, Some("t7".into())));
    }

    #[test]
    fn order_decides_over_every_shape() {
        let broad = || Matcher::cause(Cause::CrashLoopBackOff);
        let signal = signal(Cause::CrashLoopBackOff, "shop", "Deployment/web");
        let set = RuleSet::new(vec![rule("narrow", in_namespace("shop")), rule("broad", broad())]);
        assert_eq!(search(&set, &signal).1.as_deref(), Some("narrow"));
        let set = RuleSet::new(vec![rule("broad", broad()), rule("narrow", in_namespace("shop"))]);
        assert_eq!(search(&set, &signal).1.as_deref(), Some("broad"));
        assert_eq!(set.get("narrow").map(|r| r.name.to_string()).as_deref(), Some("narrow"));
    }

    #[test]
    fn a_rule_by_reason_alone_takes_every_cause_and_raw_events() {
        let by_reason = Matcher::default().with(Field::Reason, TextMatch::exact("Preempting"));
        let set = RuleSet::new(vec![rule("any", Matcher::default()), rule("preempting", by_reason)]);
        let mut raw = signal(Cause::Event, "shop", "Deployment/web");
        assert_eq!(search(&set, &raw), (0, None));
        raw.reason = "Preempting".into();
        assert_eq!(search(&set, &raw).1.as_deref(), Some("preempting"));
        let mut rejected = signal(Cause::PodRejected, "shop", "Deployment/web");
        rejected.reason = "Preempting".into();
        assert_eq!(search(&set, &rejected).1.as_deref(), Some("any"));
    }

    #[test]
    fn long_lists_in_several_fields_stay_bounded_and_right() {
        let list = |prefix: &str| TextMatch {
            any_of: (0..500).map(|n| format!("{prefix}{n}")).collect(),
            ..TextMatch::default()
        };
        let matcher = Matcher::cause(Cause::CrashLoopBackOff)
            .with(Field::Namespace, list("ns-"))
            .with(Field::Workload, list("Deployment/"));
        let set = RuleSet::new(vec![rule("wide", matcher)]);
        let filed = set.index.entries();
        assert_eq!(filed, 500);
        assert!(set.first_match(&signal(Cause::CrashLoopBackOff, "ns-499", "Deployment/499")).is_some());
        assert!(set.first_match(&signal(Cause::CrashLoopBackOff, "ns-499", "Deployment/500")).is_none());
    }

    fn severity(rule_name: &str, matcher: Matcher, severity: Severity) -> Override {
        let changes = Changes { severity: Some(severity), ..Changes::default() };
        Override { rule: rule_name.into(), matcher, changes, place: format!("{severity}").into() }
    }

    fn any_in(namespace: &str) -> Matcher {
        Matcher::default().with(Field::Namespace, TextMatch::exact(namespace))
    }

    #[test]
    fn overrides_change_what_they_match_and_the_later_wins() {
        let set =
            RuleSet::new(vec![rule("crash", Matcher::cause(Cause::CrashLoopBackOff))]).with_overrides(vec![
                severity("crash", any_in("batch"), Severity::Info),
                severity(
                    "crash",
                    Matcher::default().with(Field::Name, TextMatch::exact("db-1")),
                    Severity::Critical,
                ),
                severity("other", Matcher::default(), Severity::Critical),
            ]);
        let found = |namespace: &str, workload: &str| {
            let rule = set.first_match(&signal(Cause::CrashLoopBackOff, namespace, workload)).unwrap();
            (rule.severity, rule.overrides.join(" + "))
        };
        assert_eq!(found("shop", "Deployment/web"), (Severity::Warning, String::new()));
        assert_eq!(found("batch", "Deployment/web"), (Severity::Info, "info: severity".into()));
        assert_eq!(
            found("batch", "Deployment/db"),
            (Severity::Critical, "info: severity + critical: severity".into())
        );
        let again = set.of("crash", &signal(Cause::CrashLoopBackOff, "batch", "Deployment/web")).unwrap();
        assert_eq!((again.severity, &*again.name), (Severity::Info, "crash"));
        assert_eq!(set.get("crash").unwrap().severity, Severity::Warning, "the rule itself stays");
    }

    #[test]
    fn a_rule_that_is_switched_off_for_a_part_leaves_that_part_to_the_next_rule() {
        let off = |matcher, enabled| Override {
            rule: "special".into(),
            matcher,
            changes: Changes { enabled: Some(enabled), ..Changes::default() },
            place: "here".into(),
        };
        let set = RuleSet::new(vec![
            rule("special", Matcher::cause(Cause::Evicted)),
            rule("usual", Matcher::cause(Cause::Evicted)),
        ])
        .with_overrides(vec![off(Matcher::default(), false), off(any_in("shop"), true)]);
        let found =
            |namespace| set.first_match(&signal(Cause::Evicted, namespace, "Deployment/web")).unwrap();
        assert_eq!((&*found("shop").name, &*found("bank").name), ("special", "usual"));
    }

    #[test]
    fn ten_thousand_overrides_of_one_rule_cost_no_more_than_ten() {
        for teams in [10, 10_000] {
            let overrides =
                (0..teams).map(|n| severity("crash", any_in(&format!("team-{n}")), Severity::Info));
            let overrides = Overrides::new(overrides.collect());
            let signal = signal(Cause::CrashLoopBackOff, "team-7", "Deployment/web");
            let asked = std::cell::Cell::new(0);
            let found = overrides.index.all(&signal, |_| {
                asked.set(asked.get() + 1);
                true
            });
            assert_eq!((found, asked.get()), (vec![7], 1));
        }
    }
}
