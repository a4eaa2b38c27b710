//! `watch`: which namespaces, and when a kind that cannot be seen is announced.

use std::time::Duration;

use super::read::fields::{Head, section};
use super::read::kind::{Kind, choice, list, span_within, text};

#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Only these namespaces; empty: all.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Never these kinds, as objects spell them.
    pub exclude_kinds: Vec<String>,
    /// A kind of which nothing could be seen for so long is announced, and `/readyz` fails.
    pub blind_after: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        let none = Vec::new;
        let blind_after = Duration::from_secs(60);
        Self { include: none(), exclude: none(), exclude_kinds: none(), blind_after }
    }
}

impl WatchConfig {
    /// The shortest `blind_after`: a restart of the API server takes as long and loses nothing.
    pub const MIN_BLIND_AFTER: Duration = Duration::from_secs(10);
    /// The longest `blind_after`: Events are kept for an hour, and what they tell is gone then.
    pub const MAX_BLIND_AFTER: Duration = Duration::from_secs(3600);

    /// So many namespaces are listed one by one, at most: each is a connection for each kind.
    pub const MAX_ONE_BY_ONE: usize = 100;

    /// The namespaces that are listed one by one, so that a Role in each is enough; none: the whole cluster is
    /// listed.
    pub fn one_by_one(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.include.iter().map(String::as_str).filter(|name| self.wants(name)).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > Self::MAX_ONE_BY_ONE {
            names.clear();
        }
        names
    }

    /// Is this kind watched?
    pub fn wants_kind(&self, kind: &str) -> bool {
        !self.exclude_kinds.iter().any(|name| name == kind)
    }

    /// Is this namespace watched?
    pub fn wants(&self, namespace: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|n| n == namespace))
            && !self.exclude.iter().any(|n| n == namespace)
    }
}

pub fn watch<'a>() -> Kind<'a, WatchConfig> {
    let head = Head::new("watch", "`{namespaces, kinds, blind_after}`", "What is watched.");
    section(head, |fields| {
        let given = fields.get("namespaces", "Which namespaces.", namespaces());
        let (include, exclude) = given.unwrap_or_default();
        let exclude_kinds = fields.get("kinds", "Which kinds.", kinds()).unwrap_or_default();
        let bounds = (WatchConfig::MIN_BLIND_AFTER, WatchConfig::MAX_BLIND_AFTER);
        let help = "shorter, each restart of the API server is announced; longer, Events expire unseen";
        let blind_after = fields.or(
            "blind_after",
            "A kind that could not be seen for so long is announced, and /readyz fails; `10s` to `1h`.",
            span_within(bounds, "a duration from `10s` to `1h`", Some(help)),
            WatchConfig::default().blind_after,
        );
        Some(WatchConfig { include, exclude, exclude_kinds, blind_after })
    })
}

fn namespaces<'a>() -> Kind<'a, (Vec<String>, Vec<String>)> {
    let head = Head::new("namespaces", "`{include, exclude}`", "Which namespaces, by full name.");
    section(head, |fields| {
        let doc = "Only these, listed one by one: a Role in each is enough. Empty: all.";
        let include = fields.get("include", doc, names());
        let many = include.as_ref().is_some_and(|names| names.len() > WatchConfig::MAX_ONE_BY_ONE);
        if let Some(span) = fields.key("include").filter(|_| many) {
            let help = "give kubeherald a ClusterRole (`kubeherald rbac` prints it), or run several";
            let message = "more than 100 namespaces: the whole cluster is listed instead";
            fields.warn(span, message, "a Role in each is not enough", Some(help));
        }
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

/// The kinds that can be left out. That these are all that are watched is a test of `watch`.
pub const KINDS: [&str; 11] = [
    "Namespace",
    "Node",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "Job",
    "PersistentVolumeClaim",
    "Pod",
    "Event",
];

fn kinds<'a>() -> Kind<'a, Vec<String>> {
    let head = Head::new("kinds", "`{exclude}`", "Which kinds of objects.");
    section(head, |fields| {
        let kind = choice("a kind that is watched", KINDS.map(|kind| (kind, kind))).map(str::to_owned);
        let doc =
            "Never these: no permission is needed for them, and problems that only they show are not seen.";
        fields.get("exclude", doc, list("a list of kinds", kind))
    })
}
