//! All rules, indexed by cause.

use std::sync::Arc;

use super::Rule;
use crate::signal::Signal;

/// All rules in order of precedence.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
}

impl RuleSet {
    /// Builds the index. Precedence is the order given.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into_iter().map(Arc::new).collect() }
    }

    /// The first rule that matches: one problem is one message, so one rule speaks for a signal.
    #[must_use]
    pub fn first_match(&self, signal: &Signal) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.matcher.matches(signal))
    }

    /// A rule by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| &*rule.name == name)
    }

    /// All rules in order of precedence.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }
}
