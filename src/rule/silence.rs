//! Compiled silences and mute times: which incidents are not told for a while.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::calendar::{Weekly, Window};
use super::matcher::{Field, Matcher, SeverityMatch, TextMatch};
use crate::signal::{Severity, Signal};

/// One object of an incident that has the problem.
#[derive(Debug, Clone, Copy)]
pub struct Affected<'a> {
    pub name: &'a str,
    pub node: Option<&'a str>,
    pub container: Option<&'a str>,
}

/// What a silence asks of an incident beside who has the problem.
#[derive(Debug, Clone, Copy)]
pub struct IncidentFacts<'a> {
    /// The signal that began it.
    pub signal: &'a Signal,
    /// The name of the rule that speaks.
    pub rule: &'a str,
    pub severity: Severity,
}

/// The `match` of a silence or a mute time: conditions on an incident.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Conditions that all objects of an incident share, asked of the signal that began it.
    matcher: Matcher,
    /// Conditions on names, nodes and containers: every object must meet them. A silence of one pod
    /// must not hide that another of the same Deployment has the problem too.
    own: Vec<(Field, TextMatch)>,
    severity: SeverityMatch,
    rule: TextMatch,
}

impl Filter {
    /// From the parts of a `match`.
    pub fn new(mut matcher: Matcher, severity: SeverityMatch, rule: TextMatch) -> Self {
        let each = |field: &Field| matches!(field, Field::Name | Field::Node | Field::Container);
        let (own, shared) = matcher.texts.into_iter().partition(|(field, _)| each(field));
        matcher.texts = shared;
        Self { matcher, own, severity, rule }
    }

    /// Does the incident meet every condition, with all of `affected`? Where nobody is affected any
    /// more, the object that began it counts.
    pub fn matches<'a>(
        &self,
        facts: IncidentFacts<'_>,
        affected: impl IntoIterator<Item = Affected<'a>>,
    ) -> bool {
        if !self.severity.matches(facts.severity)
            || !self.rule.matches(Some(facts.rule))
            || !self.matcher.matches_any_cause(facts.signal)
        {
            return false;
        }
        if self.own.is_empty() {
            return true;
        }
        let mut any = false;
        let mut all = affected.into_iter().inspect(|_| any = true);
        let each = all.all(|object| {
            self.own.iter().all(|(field, text)| {
                text.matches(match field {
                    Field::Node => object.node,
                    Field::Container => object.container,
                    _ => Some(object.name),
                })
            })
        });
        if any { each } else { self.own.iter().all(|(field, text)| text.matches(field.of(facts.signal))) }
    }
}

/// What annotations of objects, workloads and namespaces may silence.
#[derive(Debug, Clone)]
pub struct AnnotationRules {
    /// They count at all.
    pub enabled: bool,
    /// Each counts for at most so long from when it was first seen.
    pub max: Duration,
    /// Those of a node count: anyone who may write to the node can silence its loss then.
    pub nodes: bool,
    /// These incidents they cannot silence; `None`: no exception.
    pub except: Option<Filter>,
}

impl AnnotationRules {
    /// Default of `max`: a forgotten one comes back while somebody still remembers it, and a planned absence or
    /// a repair over several days is covered.
    pub const MAX: Duration = Duration::from_secs(7 * 24 * 3600);
}

impl Default for AnnotationRules {
    fn default() -> Self {
        Self { enabled: true, max: Self::MAX, nodes: false, except: None }
    }
}

/// Who wrote a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the configuration.
    Config,
    /// A request to the running bot; kept in the store.
    Api,
}

impl Origin {
    /// What answers of the API call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Api => "api",
        }
    }
}

/// A matcher with an expiry.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Short, and the same as long as what was written is.
    pub id: Arc<str>,
    /// The name given in the configuration.
    pub name: Option<Arc<str>>,
    pub filter: Filter,
    /// The `match` as it was written, as JSON.
    pub written: Arc<str>,
    /// From this moment on.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    pub comment: Arc<str>,
    pub by: Arc<str>,
    pub origin: Origin,
}

impl Silence {
    pub fn active(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// `pending`, `active` or `expired`.
    pub fn state(&self, now: Timestamp) -> &'static str {
        if now >= self.until {
            "expired"
        } else if now < self.from {
            "pending"
        } else {
            "active"
        }
    }

    /// What records and messages call it.
    pub fn called(&self) -> &Arc<str> {
        self.name.as_ref().unwrap_or(&self.id)
    }
}

/// Windows in every week in which some incidents are not told.
#[derive(Debug, Clone)]
pub struct MuteTime {
    /// Unique among mute times.
    pub name: Arc<str>,
    pub filter: Filter,
    /// The `match` as it was written, as JSON.
    pub written: Arc<str>,
    pub when: Weekly,
    /// The IANA name of the zone, as it was written.
    pub timezone: Arc<str>,
}

impl MuteTime {
    /// The window that is on, or the one that is next.
    pub fn window(&self, now: Timestamp) -> Option<(bool, Window)> {
        let current = self.when.current(now).map(|window| (true, window));
        current.or_else(|| self.when.next(now).map(|window| (false, window)))
    }
}

/// Eight characters that stand for these texts: short, unambiguous to read aloud, the same when the
/// texts are.
pub fn short_id(parts: &[&str]) -> Arc<str> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let letter = |byte: &u8| char::from(ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'0'));
    let text: String = hash.finalize().iter().take(8).map(letter).collect();
    Arc::from(text)
}

#[cfg(test)]
mod tests;
