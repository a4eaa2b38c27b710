//! Compiled routes: who is told.

use std::sync::Arc;

use crate::signal::Signal;

/// What routes match on: an incident's fixed facts, kept by the engine.
#[derive(Debug, Clone, Copy)]
pub struct RouteFacts<'a> {
    /// A signal of the incident (labels, object, node, …).
    pub signal: &'a Signal,
    /// The rule's name and severity.
    pub rule: &'a super::Rule,
}

/// One route.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Who is told where it matches.
    pub receivers: Vec<Arc<str>>,
    /// Go on to the next route although this one matched.
    pub goes_on: bool,
}

/// All routes, in order.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// First match wins unless it says `continue`.
    pub routes: Vec<Route>,
}

impl Routes {
    /// Who is told about an incident; each receiver once, in order of the routes. A rule's own
    /// `receivers` go before all routes.
    #[must_use]
    pub fn receivers(&self, facts: RouteFacts<'_>) -> Vec<Arc<str>> {
        let _ = facts;
        Vec::new()
    }
}

