//! Rules: which signals make an incident, and how it behaves; and routes: who is told.
//!
//! Everything here is compiled: `config` parses what people write, with positions, and builds these.

pub mod calendar;
mod index;
pub mod matcher;
mod overrides;
mod relation;
pub mod route;
pub mod set;
pub mod silence;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;
use std::time::Duration;

pub use matcher::{Field, IntMatch, Matcher, SeverityMatch, TextMatch};
pub use overrides::{Changes, Override};
pub use relation::{Condition, Narrowing};
pub use route::{Route, RouteFacts, Routes};
pub use set::RuleSet;
pub use silence::{AnnotationRules, Filter, MuteTime, Silence};

use crate::signal::Severity;
use crate::signal::log::LogTail;

/// What the members of one incident share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupBy {
    Cause,
    Namespace,
    Workload,
    Container,
    Node,
    /// The object itself: no grouping at all.
    Object,
    Reason,
}

impl GroupBy {
    /// The names used in rule files, with their meaning.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("cause", Self::Cause),
        ("namespace", Self::Namespace),
        ("workload", Self::Workload),
        ("container", Self::Container),
        ("node", Self::Node),
        ("object", Self::Object),
        ("reason", Self::Reason),
    ];

    pub const DEFAULT: &'static [Self] = &[Self::Cause, Self::Namespace, Self::Workload, Self::Container];
}

/// `count: {at_least: 3, within: 10m}`: a problem is due only when it happened this often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountMatch {
    pub at_least: u32,
    /// In which span of time.
    pub within: Duration,
}

#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique; what metrics, messages and `explain` call it.
    pub name: Arc<str>,
    pub matcher: Matcher,
    pub severity: Severity,
    /// How long the problem must last before it is told (`for`).
    pub for_duration: Duration,
    /// Occurrences needed before it is told.
    pub count: Option<CountMatch>,
    /// How long members gather before the first message; `None`: the engine's default.
    pub group_wait: Option<Duration>,
    /// What the members of one incident share.
    pub group_by: Vec<GroupBy>,
    /// No more of the same inside this span after a message; at its end one reminder. Doubles.
    pub window: Duration,
    /// The window never grows past this.
    pub max_window: Duration,
    /// Recovery needs this long without a new occurrence.
    pub stable_for: Duration,
    /// A cause known from Events alone is over after this long without one.
    pub resolve_after: Duration,
    pub send_resolved: bool,
    /// Receivers named by the rule itself; `None`: the routes decide.
    pub receivers: Option<Vec<Arc<str>>>,
    /// The template of the title (handlebars), checked at load.
    pub summary: Option<Arc<str>>,
    /// Where to read on.
    pub runbook: Option<Arc<str>>,
    /// How much of the log of the run that ended is told; `None`: nothing, and no log is read.
    pub log_tail: Option<LogTail>,
    /// What changed it, for people: `override 1 in kubeherald.yaml:12: severity`.
    pub overrides: Vec<Arc<str>>,
}

impl Rule {
    pub const WINDOW: Duration = Duration::from_secs(3600);
    pub const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);
    pub const STABLE_FOR: Duration = Duration::from_secs(300);
    pub const RESOLVE_AFTER: Duration = Duration::from_secs(15 * 60);

    /// A rule with every default: it tells at once, groups by [`GroupBy::DEFAULT`], tells the end.
    pub fn new(name: &str, matcher: Matcher, severity: Severity) -> Self {
        Self {
            name: Arc::from(name),
            matcher,
            severity,
            for_duration: Duration::ZERO,
            count: None,
            group_wait: None,
            group_by: GroupBy::DEFAULT.to_vec(),
            window: Self::WINDOW,
            max_window: Self::MAX_WINDOW,
            stable_for: Self::STABLE_FOR,
            resolve_after: Self::RESOLVE_AFTER,
            send_resolved: true,
            receivers: None,
            summary: None,
            runbook: None,
            log_tail: None,
            overrides: Vec::new(),
        }
    }
}
