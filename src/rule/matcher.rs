//! Compiled matchers.

use regex::Regex;

use crate::signal::{Cause, Signal};

/// A match on one text: `any_of`, `none_of`, `regex`, `not_regex`; all given parts must hold.
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

/// All conditions of one rule's `match`; all given ones must hold.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// Causes, as an index can use them; empty: every cause but `Event`.
    pub causes: Vec<Cause>,
}

impl Matcher {
    /// Does the signal meet every condition?
    #[must_use]
    pub fn matches(&self, signal: &Signal) -> bool {
        self.causes.contains(&signal.cause)
    }
}
