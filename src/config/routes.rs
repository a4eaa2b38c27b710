//! `routes`: who is told what.

use std::sync::Arc;

use super::matching::{Scope, matching};
use super::read::fields::{Head, section};
use super::read::kind::{Kind, boolean, list, one_or_more, text};
use super::read::node::Span;
use crate::rule::Route;

pub fn routes<'a>() -> Kind<'a, Vec<Route>> {
    list("a list of routes", route()).then(|reader, _, routes| {
        let unreachable = routes.split_last().map_or(&[][..], |(_, before)| before);
        for (route, span) in unreachable {
            if route.takes_everything() && !route.continue_matching {
                let message = "the routes after this one are never used";
                let help = "put it last, or add `continue: true`";
                reader.warn(*span, message, "it matches everything", Some(help));
            }
        }
        Some(routes.into_iter().map(|(route, _)| route).collect())
    })
}

fn route<'a>() -> Kind<'a, (Route, Span)> {
    let head = Head::called("route", "a route", "Who is told of what.");
    section(head, |fields| {
        let found = fields.get("match", "Which incidents; without it: all.", matching(Scope::Route));
        let receivers = fields.require("receivers", "Who is told.", receiver_names());
        let continue_matching = fields.or("continue", "Ask the next routes too.", boolean(), false);
        let found = if fields.has("match") { found? } else { found.unwrap_or_default() };
        let route = Route {
            matcher: found.matcher,
            severity: found.severity,
            rule: found.rule,
            receivers: receivers?,
            continue_matching,
        };
        Some((route, fields.head()))
    })
}

/// Names of receivers, which are left to `Reader::references`.
pub fn receiver_names<'a>() -> Kind<'a, Vec<Arc<str>>> {
    one_or_more(receiver_name())
}

/// The name of one receiver, which is left to `Reader::references`.
pub fn receiver_name<'a>() -> Kind<'a, Arc<str>> {
    text().then(|reader, node, name| {
        let name: Arc<str> = name.into();
        let at = reader.at(node.span);
        reader.references.receivers.push((Arc::clone(&name), at));
        Some(name)
    })
}
