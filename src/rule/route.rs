//! Compiled routes: who is told.

use std::sync::Arc;

use super::matcher::{Matcher, SeverityMatch, TextMatch};
use crate::signal::{Severity, Signal};

/// What routes match on: an incident's fixed facts, kept by the engine.
#[derive(Debug, Clone, Copy)]
pub struct RouteFacts<'a> {
    /// A signal of the incident (labels, object, node, …).
    pub signal: &'a Signal,
    /// The rule that speaks: its name, severity and own receivers.
    pub rule: &'a super::Rule,
    /// How bad: the rule's severity, or higher where the incident holds back something worse.
    pub severity: Severity,
}

#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Conditions on the signal; a route without `match` is for everything.
    pub matcher: Matcher,
    /// Conditions on the rule's severity.
    pub severity: SeverityMatch,
    /// Conditions on the rule's name.
    pub rule: TextMatch,
    /// Who is told where it matches.
    pub receivers: Vec<Arc<str>>,
    /// Go on to the next route although this one matched (`continue: true`).
    pub continue_matching: bool,
}

impl Route {
    /// Has it no condition at all?
    pub fn takes_everything(&self) -> bool {
        self.matcher.is_everything()
            && self.severity.any_of.is_empty()
            && self.severity.at_least.is_none()
            && self.rule.is_empty()
    }

    /// Does the incident meet every condition?
    pub fn matches(&self, facts: RouteFacts<'_>) -> bool {
        self.severity.matches(facts.severity)
            && self.rule.matches(Some(&facts.rule.name))
            && self.matcher.matches_any_cause(facts.signal)
    }
}

/// All routes, in order.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// First match wins unless it says `continue`.
    pub routes: Vec<Route>,
}

impl Routes {
    /// One route that tells everything to all of these: what holds where no routes are written.
    pub fn to_all(receivers: Vec<Arc<str>>) -> Self {
        Self { routes: vec![Route { receivers, ..Route::default() }] }
    }

    /// Who is told about an incident; each receiver once. Where the rule names `receivers` itself,
    /// these decide and no route is asked; else in order of the routes. Empty: nobody.
    pub fn receivers(&self, facts: RouteFacts<'_>) -> Vec<Arc<str>> {
        let mut told: Vec<Arc<str>> = Vec::new();
        let mut add = |names: &[Arc<str>]| {
            for name in names {
                if !told.contains(name) {
                    told.push(name.clone());
                }
            }
        };
        if let Some(own) = &facts.rule.receivers {
            add(own);
            return told;
        }
        for route in self.routes.iter().filter(|route| route.matches(facts)) {
            add(&route.receivers);
            if !route.continue_matching {
                break;
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::Field;
    use super::super::testing::{rule, signal};
    use super::*;
    use crate::signal::{Cause, Severity};

    fn names(routes: &Routes, facts: RouteFacts<'_>) -> Vec<String> {
        routes.receivers(facts).iter().map(ToString::to_string).collect()
    }

    fn to(receivers: &[&str]) -> Vec<Arc<str>> {
        receivers.iter().map(|r| Arc::from(*r)).collect()
    }

    #[test]
    fn first_match_wins_unless_it_continues_and_nobody_is_told_twice() {
        let routes = Routes {
            routes: vec![
                Route {
                    severity: SeverityMatch { any_of: vec![Severity::Critical], at_least: None },
                    receivers: to(&["oncall"]),
                    continue_matching: true,
                    ..Route::default()
                },
                Route {
                    matcher: Matcher::default().with(Field::Namespace, TextMatch::exact("shop")),
                    receivers: to(&["shop", "oncall"]),
                    ..Route::default()
                },
                Route { receivers: to(&["mail"]), ..Route::default() },
            ],
        };
        let shop = signal(Cause::CrashLoopBackOff, "shop", "Deployment/checkout");
        let other = signal(Cause::CrashLoopBackOff, "other", "Deployment/checkout");
        let mut critical = rule("crash-loop", Matcher::cause(Cause::CrashLoopBackOff));
        critical.severity = Severity::Critical;
        let warning = rule("crash-loop", Matcher::cause(Cause::CrashLoopBackOff));
        assert_eq!(
            names(&routes, RouteFacts { signal: &shop, rule: &critical, severity: critical.severity }),
            ["oncall", "shop"]
        );
        assert_eq!(
            names(&routes, RouteFacts { signal: &shop, rule: &warning, severity: warning.severity }),
            ["shop", "oncall"]
        );
        assert_eq!(
            names(&routes, RouteFacts { signal: &other, rule: &critical, severity: critical.severity }),
            ["oncall", "mail"]
        );
        assert_eq!(
            names(&routes, RouteFacts { signal: &other, rule: &warning, severity: warning.severity }),
            ["mail"]
        );
    }

    #[test]
    fn a_rule_with_receivers_needs_no_route() {
        let routes = Routes::to_all(to(&["mail"]));
        let signal = signal(Cause::Evicted, "shop", "Deployment/checkout");
        let mut rule = rule("mine", Matcher::cause(Cause::Evicted));
        rule.receivers = Some(to(&["hook", "hook"]));
        assert_eq!(
            names(&routes, RouteFacts { signal: &signal, rule: &rule, severity: rule.severity }),
            ["hook"]
        );
    }

    #[test]
    fn a_route_without_cause_also_takes_raw_events() {
        let routes = Routes { routes: vec![Route { receivers: to(&["mail"]), ..Route::default() }] };
        let signal = signal(Cause::Event, "shop", "Deployment/checkout");
        let rule = rule("raw", Matcher::cause(Cause::Event));
        assert_eq!(
            names(&routes, RouteFacts { signal: &signal, rule: &rule, severity: rule.severity }),
            ["mail"]
        );
        assert!(
            Routes::default()
                .receivers(RouteFacts { signal: &signal, rule: &rule, severity: rule.severity })
                .is_empty()
        );
    }

    #[test]
    fn at_least_is_this_or_worse_and_the_rule_may_be_named() {
        let route = Route {
            severity: SeverityMatch { any_of: Vec::new(), at_least: Some(Severity::Warning) },
            rule: TextMatch::exact("crash-loop"),
            ..Route::default()
        };
        let signal = signal(Cause::CrashLoopBackOff, "shop", "Deployment/checkout");
        let mut named = rule("crash-loop", Matcher::default());
        assert!(route.matches(RouteFacts { signal: &signal, rule: &named, severity: named.severity }));
        named.severity = Severity::Info;
        assert!(!route.matches(RouteFacts { signal: &signal, rule: &named, severity: named.severity }));
        let other = rule("other", Matcher::default());
        assert!(!route.matches(RouteFacts { signal: &signal, rule: &other, severity: other.severity }));
    }
}
