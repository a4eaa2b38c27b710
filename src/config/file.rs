//! The configuration file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::annotations::annotations;
use super::engine::{engine, storm};
use super::heartbeat::{HeartbeatConfig, heartbeat};
use super::http::http;
use super::log_tail;
use super::mute_times::mute_times;
use super::overrides::{OverrideDraft, overrides};
use super::read::fields::{Fields, Head, section, without_keys};
use super::read::kind::{Kind, list, path, span_within, text};
use super::read::node::Value;
use super::receiver::{Receiver, receivers};
use super::redact::redact;
use super::routes::routes;
use super::silences::silences;
use super::store::{StoreConfig, store};
use super::watch::{WatchConfig, watch};
use crate::engine::Settings;
use crate::message::CommandLine;
use crate::notify::Secret;
use crate::outbox;
use crate::rule::{Routes, RuleSet};
use crate::signal::redact::Redactor;

/// Of `receiver_trouble_after`. Shorter, a restart of the other side would be news.
const TROUBLE_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));

#[derive(Debug, Clone)]
pub struct Config {
    /// Shown in every message; empty if not configured.
    pub cluster: Arc<str>,
    pub watch: WatchConfig,
    /// Who can be told; empty: the terminal.
    pub receivers: Vec<Receiver>,
    /// A receiver whose attempts have failed for so long is in trouble.
    pub trouble_after: Duration,
    /// Who is told what.
    pub routes: Routes,
    /// Also those of rule files, and the shipped ones.
    pub rules: RuleSet,
    /// How incidents behave where a rule does not say.
    pub engine: Settings,
    /// Where state is kept.
    pub store: StoreConfig,
    /// The address of health, metrics and API; `None`: no HTTP server.
    pub http: Option<std::net::SocketAddr>,
    /// What requests to change something must name; `None`: nothing can be changed over HTTP.
    pub api_token: Option<Secret>,
    /// How the commands in messages call kubeherald; `None`: messages have none that change something.
    pub command: Option<CommandLine>,
    /// A directory of templates that replace the shipped ones by name.
    pub templates: Option<PathBuf>,
    /// What is masked in text from the cluster besides what is always masked.
    pub redact: Redactor,
    /// At most so long a message waits for the log that its rule asks for; then it goes without.
    pub log_timeout: Duration,
    /// Requests to a dead man's switch; `None`: none.
    pub heartbeat: Option<HeartbeatConfig>,
}

#[derive(Debug)]
pub struct File {
    /// `rules` is empty until the files and directories below are read.
    pub config: Config,
    /// Files and directories, as the key `rules` names them.
    pub rules: Vec<PathBuf>,
    pub overrides: Vec<OverrideDraft>,
}

impl Default for File {
    fn default() -> Self {
        without_keys(|fields| read(fields, Timestamp::MIN))
    }
}

/// The configuration file. Of silences that are over at `now` a warning is given.
pub fn file<'a>(now: Timestamp) -> Kind<'a, File> {
    let head =
        Head::new("file", "a configuration", "The configuration of kubeherald.").place("the configuration");
    section(head, move |fields| Some(read(fields, now)))
}

fn read(fields: &mut Fields<'_, '_>, now: Timestamp) -> File {
    let cluster: Arc<str> =
        fields.get("cluster", "Shown in every message.", text()).unwrap_or_default().into();
    let watch = fields.get("watch", "What is watched.", watch()).unwrap_or_default();
    let doc = "Who can be told, by name; without any: the terminal.";
    let receivers = fields.get("receivers", doc, receivers(&cluster)).unwrap_or_default();
    let doc =
        "Other receivers are told once attempts at one have failed for so long, and its fallback takes over.";
    let within = span_within(TROUBLE_BOUNDS, "a duration from `1m` to `1d`", None);
    let trouble_after = fields.or("receiver_trouble_after", doc, within, outbox::TROUBLE_AFTER);
    let doc = "Who is told what: the first that matches, and on where it says `continue`.";
    let routes = Routes { routes: fields.get("routes", doc, routes()).unwrap_or_default() };
    let engine = settings(fields, &receivers);
    let doc = "Where state is kept; without it: in memory, gone at exit.";
    let store = fields.get("store", doc, store()).unwrap_or_default();
    let http = fields.get("http", "Health, metrics and API.", http()).unwrap_or_default();
    let rule_files = fields.get("rules", "Rules beside the shipped ones.", rule_files());
    let doc = "Changes of rules, also of shipped ones, for a part of what they match; the later wins.";
    let overrides = fields.get("overrides", doc, overrides()).unwrap_or_default();
    let templates = fields.get("templates", "Templates in place of the shipped ones.", templates());
    let doc = "Further secrets to mask in text from the cluster.";
    let redact = fields.get("redact", doc, redact()).unwrap_or_default();
    let engine = held_back(fields, engine, now);
    let doc = "Log tails, where rules ask for them.";
    let log_timeout = fields.get("log_tail", doc, log_tail::timeout()).unwrap_or(log_tail::TIMEOUT);
    let doc = "Requests to a dead man's switch outside of the cluster.";
    let heartbeat = fields.get("heartbeat", doc, heartbeat());
    // It must not be taken for a typing error, and must not be ignored either: somebody would rely on it.
    fields.refuse("inhibit", "`inhibit` is not supported yet", "remove it; it comes with a later version");
    let rules = RuleSet::default();
    let config = Config {
        cluster,
        watch,
        receivers,
        trouble_after,
        routes,
        rules,
        engine,
        store,
        http: http.listen,
        api_token: http.token,
        command: http.command.map(|program| CommandLine { program, config: None }),
        templates,
        redact,
        log_timeout,
        heartbeat,
    };
    File { config, rules: rule_files.unwrap_or_default(), overrides }
}

fn settings(fields: &mut Fields<'_, '_>, receivers: &[Receiver]) -> Settings {
    let doc = "How incidents behave where a rule does not say.";
    let settings = fields.get("engine", doc, engine()).unwrap_or_default();
    let doc = "When single messages give way to one summary.";
    let settings = fields.get("storm", doc, storm(&settings)).unwrap_or(settings);
    let digests = receivers.iter().filter_map(|receiver| receiver.digest.clone()).collect();
    Settings { digests, ..settings }
}

fn held_back(fields: &mut Fields<'_, '_>, settings: Settings, now: Timestamp) -> Settings {
    let silences = fields.get("silences", "What is not told until a moment.", silences(now));
    let doc = "What is not told at some hours of the week.";
    let mute_times = fields.get("mute_times", doc, mute_times());
    let doc = "What annotations of objects, workloads and namespaces may silence.";
    let annotations = fields.get("annotations", doc, annotations());
    Settings {
        silences: silences.unwrap_or_default().into(),
        mute_times: mute_times.unwrap_or_default().into(),
        annotations: annotations.unwrap_or_default(),
        ..settings
    }
}

fn rule_files<'a>() -> Kind<'a, Vec<PathBuf>> {
    const HEAD: Head = Head::new("rule_files", "`{dir}` or `{paths}`", "Where rules are.").place("`rules`");
    let read = section(HEAD, rule_paths);
    let schema = section(HEAD, rule_paths);
    Kind::new(
        move |reader, node| {
            if matches!(node.value, Value::List(_)) {
                let help =
                    "rules are written in files of their own: `rules: {dir: rules}` or `{paths: [own.yaml]}`";
                reader.expected(node, "where rules are", Some(help));
                return None;
            }
            read.read(reader, node)
        },
        move |all| schema.schema(all),
    )
}

fn rule_paths(fields: &mut Fields<'_, '_>) -> Option<Vec<PathBuf>> {
    let dir = fields.get("dir", "A path, relative to this file.", path());
    let paths = fields.get("paths", "Files and directories.", list("a list of paths", path()));
    Some(dir.into_iter().chain(paths.unwrap_or_default()).collect())
}

fn templates<'a>() -> Kind<'a, PathBuf> {
    let head = Head::new("templates", "`{dir}`", "A directory of templates.");
    section(head, |fields| fields.require("dir", "A path, relative to this file.", path()))
}
