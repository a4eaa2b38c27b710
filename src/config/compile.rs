//! Compiles the configuration file; [`rules`] compiles rule files.

pub mod cases;
pub mod log_tail;
pub mod matching;
pub mod rules;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::annotations;
use super::error::At;
use super::raw::{Node, Value};
use super::read::Reader;
use super::receiver::{self, Receiver};
use super::silences;
use super::{HeartbeatConfig, StoreConfig, WatchConfig, heartbeat, secret};
use crate::engine::Settings;
use crate::notify::Secret;
use crate::rule::Route;
use crate::signal::redact::{self, Redactor};
use matching::Scope;

/// A configuration file by itself; names that rule files define are looked up later.
#[derive(Debug, Default)]
pub struct ConfigDraft {
    pub cluster: Arc<str>,
    pub watch: WatchConfig,
    /// The names of all receivers, also of those with errors, with their places.
    pub names: Vec<(Arc<str>, At)>,
    pub receivers: Vec<Receiver>,
    /// `routes:`; `None`: not given.
    pub routes: Option<Vec<RouteDraft>>,
    pub engine: Settings,
    pub store: StoreConfig,
    pub http: Option<SocketAddr>,
    pub api_token: Option<Secret>,
    pub rules: Vec<PathBuf>,
    pub templates: Option<PathBuf>,
    pub redact: Redactor,
    pub log_timeout: Option<Duration>,
    pub heartbeat: Option<HeartbeatConfig>,
    /// The rules that silences, mute times and annotations name.
    pub silenced: Vec<(String, At)>,
}

/// A route whose names are to be looked up.
#[derive(Debug)]
pub struct RouteDraft {
    pub route: Route,
    /// The receivers it names.
    pub receivers: Vec<(Arc<str>, At)>,
    /// The rules it names.
    pub rules: Vec<(String, At)>,
}

/// Sections that later versions bring. They must not be taken for typing errors, and must
/// not be ignored either: somebody would rely on what does not exist.
const LATER: &[&str] = &["inhibit"];

fn store(reader: &mut Reader, node: &Node, directory: &Path, store: &mut StoreConfig) {
    let Some(mut map) = reader.map(node, "`{path}`") else { return };
    store.path = map.require(reader, "path", |r, n| secret::path(r, n, directory));
    if let Some(size) = map.get(reader, "max_bytes", |r, n| r.bytes(n, StoreConfig::BOUNDS)) {
        store.max_bytes = size;
    }
    map.finish(reader, "`store`");
}

/// Reads a configuration file.
pub fn read(reader: &mut Reader, root: &Node, directory: &Path) -> ConfigDraft {
    let mut draft = ConfigDraft::default();
    let Some(mut map) = reader.map(root, "a configuration") else { return draft };
    draft.cluster = map.get(reader, "cluster", |r, n| r.text(n).map(Arc::from)).unwrap_or_default();
    draft.watch = map.get(reader, "watch", watch).unwrap_or_default();
    if let Some(node) = map.take("receivers") {
        if let Value::Map(entries) = &node.value {
            draft.names = entries
                .iter()
                .filter_map(|(key, _)| match &key.value {
                    Value::Text { text, .. } => Some((Arc::from(text.as_str()), reader.at(key.span))),
                    _ => None,
                })
                .collect();
        }
        draft.receivers = receiver::read_all(reader, node, &draft.cluster, directory);
    }
    draft.routes = map.get(reader, "routes", routes);
    if let Some(node) = map.take("engine") {
        engine(reader, node, &mut draft.engine);
    }
    if let Some(node) = map.take("storm") {
        storm(reader, node, &mut draft.engine);
    }
    draft.engine.digests = draft.receivers.iter().filter_map(|receiver| receiver.digest.clone()).collect();
    if let Some(node) = map.take("store") {
        store(reader, node, directory, &mut draft.store);
    }
    draft.http = map.get(reader, "http", |reader, node| {
        let mut map = reader.map(node, "`{listen}`")?;
        let listen = map.require(reader, "listen", listen);
        draft.api_token = map.get(reader, "token", |r, n| secret::read(r, n, directory));
        map.finish(reader, "`http`");
        listen
    });
    draft.rules = map.get(reader, "rules", |r, n| rule_paths(r, n, directory)).unwrap_or_default();
    draft.templates = map.get(reader, "templates", |reader, node| {
        let mut map = reader.map(node, "`{dir}`")?;
        let dir = map.require(reader, "dir", |r, n| secret::path(r, n, directory));
        map.finish(reader, "`templates`");
        dir
    });
    draft.redact = map.get(reader, "redact", patterns).unwrap_or_default();
    let named = &mut draft.silenced;
    let silences = map.get(reader, "silences", |r, n| silences::silences(r, n, named));
    draft.engine.silences = silences.unwrap_or_default().into();
    let mute_times = map.get(reader, "mute_times", |r, n| silences::mute_times(r, n, named));
    draft.engine.mute_times = mute_times.unwrap_or_default().into();
    let annotations = map.get(reader, "annotations", |r, n| annotations::read(r, n, named));
    draft.engine.annotations = annotations.unwrap_or_default();
    draft.log_timeout = map.get(reader, "log_tail", log_tail::timeout);
    draft.heartbeat = map.get(reader, "heartbeat", |r, n| heartbeat::read(r, n, directory));
    for key in LATER {
        if let Some(span) = map.key_span(key) {
            let _ = map.take(key);
            let help = "remove it; it comes with a later version";
            reader.error(span, format!("`{key}` is not supported yet"), "", Some(help));
        }
    }
    map.finish(reader, "the configuration");
    draft
}

fn patterns(reader: &mut Reader, node: &Node) -> Option<Redactor> {
    let mut map = reader.map(node, "`{patterns}`")?;
    let patterns = map.require(reader, "patterns", |reader, node| {
        let items = reader.list(node, "a list of regular expressions")?;
        if items.len() > redact::MAX_PATTERNS {
            let message = format!("more than {} patterns", redact::MAX_PATTERNS);
            reader.error(node.span, message, "", Some("join some with `|`"));
            return None;
        }
        let mut patterns = Vec::new();
        for item in items {
            let Some(text) = reader.text(item) else { continue };
            match redact::compile(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(wrong) => {
                    let shown = reader.show(item);
                    let message = format!("{shown} is no pattern for secrets");
                    reader.error(item.span, message, &wrong.to_string(), None);
                }
            }
        }
        Some(patterns)
    });
    map.finish(reader, "`redact`");
    patterns.map(Redactor::new)
}

fn watch(reader: &mut Reader, node: &Node) -> Option<WatchConfig> {
    let mut map = reader.map(node, "`{namespaces, blind_after}`")?;
    let mut config = WatchConfig::default();
    map.get(reader, "namespaces", |reader, node| {
        let mut map = reader.map(node, "`{include, exclude}`")?;
        config.include = map.get(reader, "include", namespaces).unwrap_or_default();
        config.exclude = map.get(reader, "exclude", namespaces).unwrap_or_default();
        map.finish(reader, "`namespaces`");
        Some(())
    });
    if let Some(after) = map.get(reader, "blind_after", blind_after) {
        config.blind_after = after;
    }
    map.finish(reader, "`watch`");
    Some(config)
}

fn blind_after(reader: &mut Reader, node: &Node) -> Option<Duration> {
    let after = reader.span_of_time(node)?;
    if !(WatchConfig::MIN_BLIND_AFTER..=WatchConfig::MAX_BLIND_AFTER).contains(&after) {
        let help = "shorter, each restart of the API server is announced; longer, Events expire unseen";
        reader.expected(node, "a duration from `10s` to `1h`", Some(help));
        return None;
    }
    Some(after)
}

fn namespaces(reader: &mut Reader, node: &Node) -> Option<Vec<String>> {
    let items = reader.list(node, "a list of namespaces")?;
    let mut names = Vec::new();
    for item in items {
        let Some(name) = reader.text(item) else { continue };
        if name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            names.push(name.to_owned());
        } else {
            let help = "write full names; patterns are for the `match` of rules and routes";
            reader.expected(item, "the name of a namespace", Some(help));
        }
    }
    Some(names)
}

fn routes(reader: &mut Reader, node: &Node) -> Option<Vec<RouteDraft>> {
    let items = reader.list(node, "a list of routes")?;
    let mut drafts = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let Some(mut map) = reader.map(item, "a route") else { continue };
        let given = map.get(reader, "match", |r, n| matching::read(r, n, Scope::Route));
        let everything = !map.has("match") || given.as_ref().is_some_and(|found| found.is_empty);
        let found = given.unwrap_or_default();
        let receivers = map.require(reader, "receivers", rules::receivers).unwrap_or_default();
        let continue_matching = map.get(reader, "continue", Reader::boolean).unwrap_or(false);
        if everything && !continue_matching && place + 1 < items.len() {
            let help = "put it last, or add `continue: true`";
            reader.warn(
                map.head(),
                "the routes after this one are never asked",
                "it takes everything",
                Some(help),
            );
        }
        map.finish(reader, "a route");
        let route = Route {
            matcher: found.matcher,
            severity: found.severity,
            rule: found.rule,
            receivers: receivers.iter().map(|(name, _)| name.clone()).collect(),
            continue_matching,
        };
        drafts.push(RouteDraft { route, receivers, rules: found.rules });
    }
    Some(drafts)
}

fn engine(reader: &mut Reader, node: &Node, config: &mut Settings) {
    let Some(mut map) = reader.map(node, "engine settings") else { return };
    if let Some(wait) = map.get(reader, "group_wait", Reader::duration) {
        config.group_wait = wait;
    }
    if let Some(steps) = map.get(reader, "growth_steps", |reader, node| {
        let items = reader.list(node, "a list of numbers")?;
        let steps: Vec<u32> = items.iter().filter_map(|item| reader.count(item, 1_000_000)).collect();
        if steps.windows(2).any(|pair| matches!(pair, [a, b] if a >= b)) {
            reader.error(node.span, "growth steps must grow", "", Some("for example `[1, 5, 20, 100]`"));
        }
        Some(steps)
    }) {
        config.growth_steps = steps;
    }
    let mut cap = |key, value: &mut usize| {
        let given = map.get(reader, key, |r, n| r.count(n, 1_000_000)).and_then(|n| usize::try_from(n).ok());
        *value = given.unwrap_or(*value);
    };
    cap("max_incidents", &mut config.max_incidents);
    cap("max_members", &mut config.max_members);
    map.finish(reader, "`engine`");
}

fn storm(reader: &mut Reader, node: &Node, config: &mut Settings) {
    let Some(mut map) = reader.map(node, "`{incidents, window}`") else { return };
    let incidents = map.get(reader, "incidents", |r, n| r.count(n, 1_000_000));
    config.storm_incidents = incidents.unwrap_or(config.storm_incidents);
    config.storm_window = map.get(reader, "window", Reader::span_of_time).unwrap_or(config.storm_window);
    map.finish(reader, "`storm`");
}

fn listen(reader: &mut Reader, node: &Node) -> Option<SocketAddr> {
    let text = reader.text(node)?;
    let Ok(address) = text.parse() else {
        let help = if text.starts_with(':') {
            format!("write `0.0.0.0{text}`")
        } else {
            "write `0.0.0.0:8080`".into()
        };
        reader.expected(node, "an address and a port", Some(&help));
        return None;
    };
    Some(address)
}

fn rule_paths(reader: &mut Reader, node: &Node, directory: &Path) -> Option<Vec<PathBuf>> {
    let mut map = reader.map(node, "`{dir}` or `{paths}`")?;
    let dir = map.get(reader, "dir", |r, n| secret::path(r, n, directory));
    let paths = map.get(reader, "paths", |reader, node| {
        let items = reader.list(node, "a list of paths")?;
        Some(items.iter().filter_map(|item| secret::path(reader, item, directory)).collect::<Vec<_>>())
    });
    map.finish(reader, "`rules`");
    Some(dir.into_iter().chain(paths.unwrap_or_default()).collect())
}
