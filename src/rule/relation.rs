//! How the conditions of two matchers relate: what one leaves out that the other takes.
//!
//! Whether two regular expressions find the same texts is not decided: they are compared as they are written.
//! So "covers" and "excludes" are certain, and their absence is not.

use super::matcher::{Field, IntMatch, Matcher, TextMatch};
use crate::signal::Cause;

/// One condition of a matcher.
#[derive(Debug, Clone, Copy)]
pub enum Condition<'a> {
    Text(Field, &'a TextMatch),
    Label(&'a str, &'a TextMatch),
    Annotation(&'a str, &'a TextMatch),
    Source(crate::signal::Source),
    ExitCode(&'a IntMatch),
}

/// A condition that leaves something out, and what that is: one matcher for each part.
#[derive(Debug, Clone)]
pub struct Narrowing<'a> {
    pub condition: Condition<'a>,
    pub left_out: Vec<Matcher>,
}

impl TextMatch {
    /// Both conditions at once.
    fn and(mut self, other: &Self) -> Self {
        if self.any_of.is_empty() {
            self.any_of.clone_from(&other.any_of);
        } else if !other.any_of.is_empty() {
            let missing = self.any_of.iter().filter(|text| !other.any_of.contains(text));
            self.none_of.extend(missing.cloned().collect::<Vec<_>>());
        }
        self.none_of.extend(other.none_of.iter().cloned());
        self.regex.extend(other.regex.iter().cloned());
        self.not_regex.extend(other.not_regex.iter().cloned());
        self
    }

    /// The only texts that meet it, where it lists them.
    fn texts(&self) -> Option<Vec<&str>> {
        let met = || self.any_of.iter().map(String::as_str).filter(|text| self.matches(Some(text)));
        (!self.any_of.is_empty()).then(|| met().collect())
    }

    /// Does every text that meets `other` certainly meet this?
    fn is_implied_by(&self, other: &Self) -> bool {
        if let Some(texts) = other.texts() {
            return texts.iter().all(|text| self.matches(Some(text)));
        }
        let has = |all: &[regex::Regex], one: &regex::Regex| all.iter().any(|r| r.as_str() == one.as_str());
        self.any_of.is_empty()
            && self.none_of.iter().all(|text| !other.matches(Some(text)))
            && self.regex.iter().all(|regex| has(&other.regex, regex))
            && self.not_regex.iter().all(|regex| has(&other.not_regex, regex))
    }

    /// What does not meet it: a text that is in any of these.
    fn complement(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        if !self.any_of.is_empty() {
            parts.push(Self { none_of: self.any_of.clone(), ..Self::default() });
        }
        if !self.none_of.is_empty() {
            parts.push(Self { any_of: self.none_of.clone(), ..Self::default() });
        }
        let found = |regex: &regex::Regex| Self { not_regex: vec![regex.clone()], ..Self::default() };
        parts.extend(self.regex.iter().map(found));
        let not_found = |regex: &regex::Regex| Self { regex: vec![regex.clone()], ..Self::default() };
        parts.extend(self.not_regex.iter().map(not_found));
        parts
    }
}

fn merged<'a>(texts: impl Iterator<Item = &'a TextMatch>) -> TextMatch {
    texts.fold(TextMatch::default(), TextMatch::and)
}

impl Matcher {
    fn field(&self, field: Field) -> TextMatch {
        merged(self.texts.iter().filter(|(of, _)| *of == field).map(|(_, text)| text))
    }

    fn label(&self, key: &str) -> TextMatch {
        merged(self.labels.iter().filter(|(of, _)| of == key).map(|(_, text)| text))
    }

    fn annotation(&self, key: &str) -> TextMatch {
        merged(self.annotations.iter().filter(|(of, _)| of == key).map(|(_, text)| text))
    }

    fn conditions(&self) -> impl Iterator<Item = Condition<'_>> {
        let texts = self.texts.iter().map(|(field, text)| Condition::Text(*field, text));
        let labels = self.labels.iter().map(|(key, text)| Condition::Label(key, text));
        let annotations = self.annotations.iter().map(|(key, text)| Condition::Annotation(key, text));
        let exit = &self.exit_code;
        let exit = (!exit.any_of.is_empty() || !exit.none_of.is_empty()).then_some(Condition::ExitCode(exit));
        texts.chain(labels).chain(annotations).chain(self.source.map(Condition::Source)).chain(exit)
    }

    /// Does every signal that meets `other` certainly meet the condition?
    fn implies(&self, condition: Condition<'_>) -> bool {
        match condition {
            Condition::Text(field, text) => text.is_implied_by(&self.field(field)),
            Condition::Label(key, text) => text.is_implied_by(&self.label(key)),
            Condition::Annotation(key, text) => text.is_implied_by(&self.annotation(key)),
            Condition::Source(source) => self.source == Some(source),
            Condition::ExitCode(codes) => {
                let mine = &self.exit_code;
                if mine.any_of.is_empty() {
                    codes.any_of.is_empty() && codes.none_of.iter().all(|n| mine.none_of.contains(n))
                } else {
                    mine.any_of.iter().filter(|n| mine.matches(Some(**n))).all(|n| codes.matches(Some(*n)))
                }
            }
        }
    }

    /// Is no signal possible that meets every condition?
    fn is_impossible(&self) -> bool {
        let nothing = |text: TextMatch| text.texts().is_some_and(|texts| texts.is_empty());
        let exit = &self.exit_code;
        self.texts.iter().any(|(field, _)| nothing(self.field(*field)))
            || self.labels.iter().any(|(key, _)| nothing(self.label(key)))
            || self.annotations.iter().any(|(key, _)| nothing(self.annotation(key)))
            || (!exit.any_of.is_empty() && !exit.any_of.iter().any(|n| exit.matches(Some(*n))))
    }

    /// Both at once, of one cause.
    fn and(&self, other: &Self, cause: Cause) -> Self {
        let mut both = self.clone();
        both.causes = vec![cause];
        both.texts.extend(other.texts.iter().cloned());
        both.labels.extend(other.labels.iter().cloned());
        both.annotations.extend(other.annotations.iter().cloned());
        both.source = other.source.or(both.source);
        if both.exit_code.any_of.is_empty() {
            both.exit_code.any_of.clone_from(&other.exit_code.any_of);
        } else if !other.exit_code.any_of.is_empty() {
            both.exit_code.any_of.retain(|n| other.exit_code.any_of.contains(n));
        }
        both.exit_code.none_of.extend(&other.exit_code.none_of);
        both
    }

    /// The causes that it takes.
    pub fn all_causes(&self) -> Vec<Cause> {
        Cause::ALL.iter().copied().filter(|cause| self.wants(*cause)).collect()
    }

    /// Does every signal of these causes that meets `other` certainly meet this?
    pub fn covers(&self, other: &Self, cause: Cause) -> bool {
        self.wants(cause) && self.conditions().all(|condition| other.implies(condition))
    }

    /// Is there certainly no signal that meets both? Without a `cause` this one is for every cause, as in
    /// overrides and routes.
    pub fn excludes(&self, rule: &Self) -> bool {
        let shared = |cause: &Cause| self.causes.is_empty() || self.causes.contains(cause);
        let Some(cause) = rule.all_causes().into_iter().find(shared) else { return true };
        let differs = matches!((self.source, rule.source), (Some(a), Some(b)) if a != b);
        differs || self.and(rule, cause).is_impossible()
    }

    /// The conditions by which this one takes less of a cause than `wider`, each with what it leaves out.
    pub fn narrowings(&self, wider: &Self, cause: Cause) -> Vec<Narrowing<'_>> {
        let narrower = self.conditions().filter(|condition| !wider.implies(*condition));
        let each = narrower.map(|condition| {
            let parts = left_out(condition).into_iter().map(|part| wider.and(&part, cause));
            Narrowing { condition, left_out: parts.filter(|part| !part.is_impossible()).collect() }
        });
        each.filter(|narrowing| !narrowing.left_out.is_empty()).collect()
    }
}

/// Everything that does not meet a condition.
fn left_out(condition: Condition<'_>) -> Vec<Matcher> {
    let none = Matcher::default;
    match condition {
        Condition::Text(field, text) => {
            text.complement().into_iter().map(|text| none().with(field, text)).collect()
        }
        Condition::Label(key, text) => {
            let with = |text| Matcher { labels: vec![(key.to_owned(), text)], ..none() };
            text.complement().into_iter().map(with).collect()
        }
        Condition::Annotation(key, text) => {
            let with = |text| Matcher { annotations: vec![(key.to_owned(), text)], ..none() };
            text.complement().into_iter().map(with).collect()
        }
        Condition::Source(source) => {
            use crate::signal::Source::{Event, Status};
            let other = if source == Status { Event } else { Status };
            vec![Matcher { source: Some(other), ..none() }]
        }
        Condition::ExitCode(codes) => {
            let with = |exit_code| Matcher { exit_code, ..none() };
            let outside = (!codes.any_of.is_empty())
                .then(|| IntMatch { any_of: Vec::new(), none_of: codes.any_of.clone() });
            let inside = (!codes.none_of.is_empty())
                .then(|| IntMatch { any_of: codes.none_of.clone(), none_of: Vec::new() });
            outside.into_iter().chain(inside).map(with).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::matcher::regex;

    const CAUSE: Cause = Cause::JobFailed;

    fn any() -> Matcher {
        Matcher::cause(CAUSE)
    }

    fn exact(texts: &[&str]) -> TextMatch {
        TextMatch { any_of: texts.iter().map(|text| (*text).to_owned()).collect(), ..TextMatch::default() }
    }

    fn not(texts: &[&str]) -> TextMatch {
        TextMatch { none_of: exact(texts).any_of, ..TextMatch::default() }
    }

    fn found(pattern: &str) -> TextMatch {
        TextMatch { regex: vec![regex(pattern).unwrap()], ..TextMatch::default() }
    }

    fn lacks(pattern: &str) -> TextMatch {
        TextMatch { not_regex: vec![regex(pattern).unwrap()], ..TextMatch::default() }
    }

    fn ns(text: TextMatch) -> Matcher {
        any().with(Field::Namespace, text)
    }

    #[test]
    fn what_certainly_covers() {
        for (wide, narrow, expected) in [
            (any(), ns(exact(&["a"])), true),
            (ns(exact(&["a"])), any(), false),
            (ns(exact(&["a", "b"])), ns(exact(&["a"])), true),
            (ns(exact(&["a"])), ns(exact(&["a", "b"])), false),
            (ns(not(&["a"])), ns(exact(&["b"])), true),
            (ns(not(&["a"])), ns(not(&["a", "b"])), true),
            (ns(not(&["a", "b"])), ns(not(&["a"])), false),
            (ns(found("^team-")), ns(exact(&["team-a"])), true),
            (ns(found("^team-")), ns(found("^team-")), true),
            (ns(found("^team-")), ns(found("^team-a")), false),
            (ns(lacks("^team-")), ns(lacks("^team-").and(&not(&["x"]))), true),
            (any().with(Field::Node, exact(&["n"])), ns(exact(&["a"])), false),
        ] {
            assert_eq!(wide.covers(&narrow, CAUSE), expected, "{wide:?}\n{narrow:?}");
        }
        assert!(!Matcher::cause(Cause::Evicted).covers(&any(), CAUSE));
        assert!(Matcher::default().covers(&ns(exact(&["a"])), CAUSE));
    }

    #[test]
    fn what_is_certainly_apart() {
        for (a, b, expected) in [
            (Matcher::cause(Cause::Evicted), any(), true),
            (ns(exact(&["a"])), ns(exact(&["b"])), true),
            (ns(exact(&["a"])), ns(not(&["a"])), true),
            (ns(exact(&["a"])), ns(lacks("^a")), true),
            (ns(exact(&["a"])), ns(found("^a")), false),
            (ns(found("^a")), ns(found("^b")), false),
            (Matcher::default(), ns(exact(&["a"])), false),
        ] {
            assert_eq!(a.excludes(&b), expected, "{a:?}\n{b:?}");
        }
    }

    #[test]
    fn what_is_left_out_is_named_and_can_be_covered_by_others() {
        let left_out = |mine: &Matcher, others: &[Matcher]| -> usize {
            let all = mine.narrowings(&any(), CAUSE);
            let parts = all.iter().flat_map(|narrowing| &narrowing.left_out);
            parts.filter(|part| !others.iter().any(|other| other.covers(part, CAUSE))).count()
        };
        assert_eq!(left_out(&any(), &[]), 0);
        assert_eq!(left_out(&ns(exact(&["a"])), &[]), 1);
        assert_eq!(left_out(&ns(exact(&["a"])), &[ns(exact(&["b"]))]), 1);
        assert_eq!(left_out(&ns(exact(&["a"])), &[ns(not(&["a"]))]), 0);
        assert_eq!(left_out(&ns(found("^a")), &[ns(lacks("^a"))]), 0);
        let two = ns(exact(&["a"])).with(Field::Node, exact(&["n"]));
        assert_eq!(left_out(&two, &[ns(not(&["a"]))]), 1, "other nodes of `a` have none");
        assert_eq!(left_out(&two, &[ns(not(&["a"])), any().with(Field::Node, not(&["n"]))]), 0);
        // What the wider one leaves out already is no loss.
        let wider = ns(not(&["kube-system"]));
        assert!(ns(not(&["kube-system"])).narrowings(&wider, CAUSE).is_empty());
        let both = ns(not(&["kube-system", "x"]));
        assert_eq!(both.narrowings(&wider, CAUSE).len(), 1);
    }
}
