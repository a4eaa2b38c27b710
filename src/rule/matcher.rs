//! Compiled matchers: the conditions of one `match`, each cheap and without side effects.

use regex::{Regex, RegexBuilder};

use crate::signal::{Cause, Severity, Signal, Source};

/// The largest compiled program of one pattern, in bytes. People write short patterns; this bounds
/// what a hostile or careless one (`(a{1000}){1000}`) can take.
const REGEX_SIZE: usize = 256 * 1024;
/// The largest cache of one pattern's lazy automaton, in bytes.
const REGEX_CACHE: usize = 512 * 1024;
/// How deep groups may nest: deeper ones would cost stack when the pattern is parsed.
const REGEX_NEST: u32 = 32;

/// Compiles a pattern as rules may use it: linear time, bounded memory, unanchored.
pub fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE)
        .dfa_size_limit(REGEX_CACHE)
        .nest_limit(REGEX_NEST)
        .build()
}

/// A match on one text: `any_of`, `none_of`, `regex`, `not_regex`; all given parts must hold.
///
/// An absent text meets no positive condition (`any_of`, `regex`) and every negative one.
#[derive(Debug, Clone, Default)]
pub struct TextMatch {
    /// Equal to one of these (empty: no condition).
    pub any_of: Vec<String>,
    /// Equal to none of these.
    pub none_of: Vec<String>,
    /// Found by all of these.
    pub regex: Vec<Regex>,
    /// Found by none of these.
    pub not_regex: Vec<Regex>,
}

impl TextMatch {
    /// Equal to this text.
    pub fn exact(text: &str) -> Self {
        Self { any_of: vec![text.to_owned()], ..Self::default() }
    }

    /// No condition at all.
    pub const fn is_empty(&self) -> bool {
        self.any_of.is_empty()
            && self.none_of.is_empty()
            && self.regex.is_empty()
            && self.not_regex.is_empty()
    }

    /// Does it ask for something that an absent text cannot have?
    pub const fn is_positive(&self) -> bool {
        !self.any_of.is_empty() || !self.regex.is_empty()
    }

    /// Do all given parts hold for this text?
    pub fn matches(&self, text: Option<&str>) -> bool {
        let Some(text) = text else { return !self.is_positive() };
        (self.any_of.is_empty() || self.any_of.iter().any(|t| t == text))
            && !self.none_of.iter().any(|t| t == text)
            && self.regex.iter().all(|r| r.is_match(text))
            && !self.not_regex.iter().any(|r| r.is_match(text))
    }
}

/// A match on an exit code; an absent one meets no positive condition.
#[derive(Debug, Clone, Default)]
pub struct IntMatch {
    /// Equal to one of these (empty: no condition).
    pub any_of: Vec<i32>,
    /// Equal to none of these.
    pub none_of: Vec<i32>,
}

impl IntMatch {
    /// Do all given parts hold for this number?
    pub fn matches(&self, number: Option<i32>) -> bool {
        match number {
            None => self.any_of.is_empty(),
            Some(n) => (self.any_of.is_empty() || self.any_of.contains(&n)) && !self.none_of.contains(&n),
        }
    }
}

/// A match on a rule's severity, in routes.
#[derive(Debug, Clone, Default)]
pub struct SeverityMatch {
    /// One of these (empty: no condition).
    pub any_of: Vec<Severity>,
    pub at_least: Option<Severity>,
}

impl SeverityMatch {
    /// Do all given parts hold for this severity?
    pub fn matches(&self, severity: Severity) -> bool {
        (self.any_of.is_empty() || self.any_of.contains(&severity))
            && self.at_least.is_none_or(|least| severity >= least)
    }
}

/// A text of a signal that rules match on by itself (labels and annotations have a key besides).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    Reason,
    Namespace,
    Kind,
    Name,
    /// The top owner, as `Kind/name`.
    Workload,
    Container,
    Node,
    Message,
    /// `Warning` or `Normal`, of Events.
    Type,
}

impl Field {
    /// The names used in rule files, with their meaning.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("reason", Self::Reason),
        ("namespace", Self::Namespace),
        ("kind", Self::Kind),
        ("name", Self::Name),
        ("workload", Self::Workload),
        ("container", Self::Container),
        ("node", Self::Node),
        ("message", Self::Message),
        ("type", Self::Type),
    ];

    /// The signal's text; `None` where it has none.
    pub fn of(self, signal: &Signal) -> Option<&str> {
        match self {
            Self::Reason => Some(&signal.reason),
            Self::Namespace => signal.namespace(),
            Self::Kind => Some(&signal.object.kind),
            Self::Name => Some(&signal.object.name),
            Self::Workload => Some(&signal.workload),
            Self::Container => signal.container.as_deref(),
            Self::Node => signal.node.as_deref(),
            Self::Message => Some(&signal.message),
            Self::Type => signal.event_type.as_deref(),
        }
    }
}

/// All conditions of one `match`; all given ones must hold.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// Causes, as an index can use them; empty: every cause but `Event`, which has to be asked for
    /// by name or by `reason`.
    pub causes: Vec<Cause>,
    /// Conditions on single texts.
    pub texts: Vec<(Field, TextMatch)>,
    /// Conditions on labels, by key: the object's, its workload's, its namespace's.
    pub labels: Vec<(String, TextMatch)>,
    /// Conditions on annotations, by key.
    pub annotations: Vec<(String, TextMatch)>,
    /// Where the signal was read.
    pub source: Option<Source>,
    /// How the container's last run ended.
    pub exit_code: IntMatch,
}

impl Matcher {
    /// Matches one cause, without further conditions.
    pub fn cause(cause: Cause) -> Self {
        Self { causes: vec![cause], ..Self::default() }
    }

    /// Adds a condition on a text.
    pub fn with(mut self, field: Field, text: TextMatch) -> Self {
        self.texts.push((field, text));
        self
    }

    /// Has it no condition at all?
    pub fn is_everything(&self) -> bool {
        let Self { causes, texts, labels, annotations, source, exit_code } = self;
        causes.is_empty()
            && texts.iter().all(|(_, text)| text.is_empty())
            && labels.iter().chain(annotations).all(|(_, text)| text.is_empty())
            && source.is_none()
            && exit_code.any_of.is_empty()
            && exit_code.none_of.is_empty()
    }

    /// Could a signal of this cause match? Without `cause`, a condition on the raw reason asks for
    /// raw Events too; anything else does not, or every unclassified Event would be an incident.
    pub fn wants(&self, cause: Cause) -> bool {
        if self.causes.is_empty() {
            cause != Cause::Event || self.texts.iter().any(|(f, t)| *f == Field::Reason && t.is_positive())
        } else {
            self.causes.contains(&cause)
        }
    }

    /// Does the signal meet every condition?
    pub fn matches(&self, signal: &Signal) -> bool {
        self.wants(signal.cause) && self.holds(signal)
    }

    /// Does the signal meet every condition, where a `match` without `cause` means every cause? So
    /// it is in routes: they see only what a rule has picked already.
    pub fn matches_any_cause(&self, signal: &Signal) -> bool {
        (self.causes.is_empty() || self.causes.contains(&signal.cause)) && self.holds(signal)
    }

    fn holds(&self, signal: &Signal) -> bool {
        self.source.is_none_or(|s| s == signal.source)
            && self.texts.iter().all(|(field, text)| text.matches(field.of(signal)))
            && self.labels.iter().all(|(key, text)| text.matches(signal.label(key)))
            && self.annotations.iter().all(|(key, text)| text.matches(signal.annotation(key)))
            && self.exit_code.matches(signal.exit.as_ref().map(|e| e.code))
    }
}

#[cfg(test)]
mod tests;
