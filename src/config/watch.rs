//! `watch`: which namespaces, and when a kind that cannot be seen is announced.

use std::time::Duration;

use super::read::fields::{Head, section};
use super::read::kind::{Kind, list, span_within, text};

#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Only these namespaces; empty: all.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// A kind of which nothing could be seen for so long is announced, and `/readyz` fails.
    pub blind_after: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { include: Vec::new(), exclude: Vec::new(), blind_after: Duration::from_secs(60) }
    }
}

impl WatchConfig {
    /// The shortest `blind_after`: a restart of the API server takes as long and loses nothing.
    pub const MIN_BLIND_AFTER: Duration = Duration::from_secs(10);
    /// The longest `blind_after`: Events are kept for an hour, and what they tell is gone then.
    pub const MAX_BLIND_AFTER: Duration = Duration::from_secs(3600);

    /// Is this namespace watched?
    pub fn wants(&self, namespace: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|n| n == namespace))
            && !self.exclude.iter().any(|n| n == namespace)
    }
}

pub fn watch<'a>() -> Kind<'a, WatchConfig> {
    let head = Head::new("watch", "`{namespaces, blind_after}`", "What is watched.");
    section(head, |fields| {
        let given = fields.get("namespaces", "Which namespaces.", namespaces());
        let (include, exclude) = given.unwrap_or_default();
        let bounds = (WatchConfig::MIN_BLIND_AFTER, WatchConfig::MAX_BLIND_AFTER);
        let help = "shorter, each restart of the API server is announced; longer, Events expire unseen";
        let blind_after = fields.or(
            "blind_after",
            "A kind that could not be seen for so long is announced, and /readyz fails; `10s` to `1h`.",
            span_within(bounds, "a duration from `10s` to `1h`", Some(help)),
            WatchConfig::default().blind_after,
        );
        Some(WatchConfig { include, exclude, blind_after })
    })
}

fn namespaces<'a>() -> Kind<'a, (Vec<String>, Vec<String>)> {
    let head = Head::new("namespaces", "`{include, exclude}`", "Which namespaces, by full name.");
    section(head, |fields| {
        let include = fields.get("include", "Only these; empty: all.", names());
        let exclude = fields.get("exclude", "Never these.", names());
        Some((include.unwrap_or_default(), exclude.unwrap_or_default()))
    })
}

fn names<'a>() -> Kind<'a, Vec<String>> {
    let name = text().with("pattern", "^[a-z0-9-]+$").check(|reader, node, name| {
        let good = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !good {
            let help = "write full names; patterns are for the `match` of rules and routes";
            reader.expected(node, "the name of a namespace", Some(help));
        }
        good
    });
    list("a list of namespaces", name)
}
