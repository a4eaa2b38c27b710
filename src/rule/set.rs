//! All rules, indexed so that a signal is compared with the few that could match it.
//!
//! Rules are filed by cause, then by *shape*: which fields they compare with exact texts. All rules
//! of one shape share one hash table over the texts of these fields, so ten thousand team rules
//! `{cause: CrashLoopBackOff, namespace: team-N}` cost one look-up. There are as many look-ups as
//! shapes, and people write few shapes. Rules without any exact field (regexes only) are compared
//! one by one.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use super::Rule;
use super::matcher::{Field, Matcher, TextMatch};
use crate::signal::{Cause, Signal};

/// A rule with lists in several exact fields is filed once for each combination, up to this many;
/// past it the longest lists are left to the matcher.
const MAX_ENTRIES: usize = 4096;

/// All rules in order of precedence.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    names: HashMap<Arc<str>, usize>,
    /// In the order of [`Cause::ALL`], which is the order of the discriminants.
    causes: Vec<Vec<Shape>>,
    hasher: RandomState,
}

/// A field that has an exact text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(Field),
    Label(String),
    Annotation(String),
}

impl Key {
    fn of<'a>(&self, signal: &'a Signal) -> Option<&'a str> {
        match self {
            Self::Text(field) => field.of(signal),
            Self::Label(key) => signal.label(key),
            Self::Annotation(key) => signal.annotation(key),
        }
    }
}

/// All rules of one cause that compare the same fields with exact texts.
#[derive(Debug, Clone)]
struct Shape {
    keys: Vec<Key>,
    /// From the hash of the texts to places in `RuleSet::rules`, ascending. Two combinations with
    /// one hash are harmless: the matcher has the last word.
    table: HashMap<u64, Vec<usize>>,
}

impl RuleSet {
    /// Builds the index. Precedence is the order given.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut set = Self {
            rules: rules.into_iter().map(Arc::new).collect(),
            causes: vec![Vec::new(); Cause::ALL.len()],
            ..Self::default()
        };
        for (place, rule) in set.rules.iter().enumerate() {
            set.names.entry(rule.name.clone()).or_insert(place);
            let exact = exact_fields(&rule.matcher);
            let keys: Vec<Key> = exact.iter().map(|(key, _)| key.clone()).collect();
            let hashes = combinations(&set.hasher, &exact);
            for (cause, shapes) in Cause::ALL.iter().zip(&mut set.causes) {
                if rule.matcher.wants(*cause) {
                    file(shapes, &keys, &hashes, place);
                }
            }
        }
        set
    }

    /// The first rule that matches: one problem is one message, so one rule speaks for a signal.
    pub fn first_match(&self, signal: &Signal) -> Option<&Arc<Rule>> {
        self.search(signal, |rule| rule.matcher.matches(signal))
    }

    fn search(&self, signal: &Signal, mut matches: impl FnMut(&Rule) -> bool) -> Option<&Arc<Rule>> {
        let mut best: Option<(usize, &Arc<Rule>)> = None;
        for shape in self.causes.get(signal.cause as usize)? {
            let Some(hash) = shape.hash(&self.hasher, signal) else { continue };
            for &place in shape.table.get(&hash).into_iter().flatten() {
                if best.is_some_and(|(found, _)| found < place) {
                    break;
                }
                if let Some(rule) = self.rules.get(place).filter(|rule| matches(rule)) {
                    best = Some((place, rule));
                    break;
                }
            }
        }
        best.map(|(_, rule)| rule)
    }

    /// A rule by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.get(*self.names.get(name)?)
    }

    /// All rules in order of precedence.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
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

impl Shape {
    /// The hash of the signal's texts in this shape's fields; `None` where one is absent, because
    /// then no rule of this shape matches.
    fn hash(&self, hasher: &RandomState, signal: &Signal) -> Option<u64> {
        let mut state = hasher.build_hasher();
        for key in &self.keys {
            key.of(signal)?.hash(&mut state);
        }
        Some(state.finish())
    }
}

/// The fields that a matcher compares with exact texts, in a canonical order.
fn exact_fields(matcher: &Matcher) -> Vec<(Key, &[String])> {
    let pick = |key: Key, text: &'_ TextMatch| (!text.any_of.is_empty()).then_some(key);
    let mut exact: Vec<(Key, &[String])> = Vec::new();
    for (field, text) in &matcher.texts {
        exact.extend(pick(Key::Text(*field), text).map(|key| (key, text.any_of.as_slice())));
    }
    for (label, text) in &matcher.labels {
        exact.extend(pick(Key::Label(label.clone()), text).map(|key| (key, text.any_of.as_slice())));
    }
    for (annotation, text) in &matcher.annotations {
        exact
            .extend(pick(Key::Annotation(annotation.clone()), text).map(|key| (key, text.any_of.as_slice())));
    }
    exact.sort_by(|(a, _), (b, _)| a.cmp(b));
    // A field given twice is an AND of both lists; the first narrows enough.
    exact.dedup_by(|(a, _), (b, _)| a == b);
    while exact.len() > 1
        && exact.iter().fold(1_usize, |n, (_, list)| n.saturating_mul(list.len())) > MAX_ENTRIES
    {
        if let Some(longest) =
            (0..exact.len()).max_by_key(|i| exact.get(*i).map_or(0, |(_, list)| list.len()))
        {
            exact.remove(longest);
        }
    }
    exact
}

/// The hash of each combination of texts, hashed as [`Shape::hash`] does.
fn combinations(hasher: &RandomState, exact: &[(Key, &[String])]) -> Vec<u64> {
    let mut states = vec![hasher.build_hasher()];
    for (_, texts) in exact {
        states = states
            .iter()
            .flat_map(|state| {
                texts.iter().map(|text| {
                    let mut state = state.clone();
                    text.as_str().hash(&mut state);
                    state
                })
            })
            .collect();
    }
    states.iter().map(Hasher::finish).collect()
}

fn file(shapes: &mut Vec<Shape>, keys: &[Key], hashes: &[u64], place: usize) {
    let found = shapes.iter().position(|shape| shape.keys == keys);
    let index = found.unwrap_or_else(|| {
        shapes.push(Shape { keys: keys.to_vec(), table: HashMap::new() });
        shapes.len() - 1
    });
    let Some(shape) = shapes.get_mut(index) else { return };
    for hash in hashes {
        let places = shape.table.entry(*hash).or_default();
        if places.last() != Some(&place) {
            places.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{rule, signal};
    use super::*;

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
        let filed: usize = set.causes.iter().flatten().map(|shape| shape.table.len()).sum();
        assert_eq!(filed, 500);
        assert!(set.first_match(&signal(Cause::CrashLoopBackOff, "ns-499", "Deployment/499")).is_some());
        assert!(set.first_match(&signal(Cause::CrashLoopBackOff, "ns-499", "Deployment/500")).is_none());
    }
}
