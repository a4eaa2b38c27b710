//! The configurations that the bot runs under, and what their rules promise. Spans are a fraction of
//! the shipped ones, so that half an hour holds whole stories.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kubeherald::config::{Config, Loaded, load};

use super::plan::{MINUTE, Ms, SECOND};

/// A rule of the simulated configuration.
#[derive(Debug, Clone, Copy)]
pub struct RuleSpec {
    pub name: &'static str,
    pub cause: &'static str,
    /// Further conditions, as YAML.
    matching: &'static str,
    severity: &'static str,
    /// A problem that lasts for so long has to be told.
    pub hold: Ms,
    stable_for: Ms,
    resolve_after: Ms,
    /// Further lines, as YAML.
    more: &'static str,
}

const fn rule(
    name: &'static str,
    cause: &'static str,
    hold: Ms,
    stable_for: Ms,
    resolve_after: Ms,
) -> RuleSpec {
    RuleSpec { name, cause, matching: "", severity: "warning", hold, stable_for, resolve_after, more: "" }
}

/// Every rule that a story is told by. Shipped rules of other names stay in force behind them.
pub const RULES: [RuleSpec; 13] = [
    RuleSpec {
        severity: "critical",
        more: "    log_tail: true\n",
        ..rule("crash-loop", "CrashLoopBackOff", 0, MINUTE, 4 * MINUTE)
    },
    RuleSpec {
        matching: ", workload: {not_regex: \"^(Job|CronJob)/\"}",
        ..rule("oom-killed", "OOMKilled", 0, 2 * MINUTE, 3 * MINUTE)
    },
    RuleSpec {
        more: "    group_by: [cause, namespace, workload]\n",
        ..rule("image-pull", "ImagePullBackOff", 30 * SECOND, 30 * SECOND, 4 * MINUTE)
    },
    rule("container-config", "CreateContainerConfigError", 30 * SECOND, 30 * SECOND, 4 * MINUTE),
    rule("evicted", "Evicted", 15 * SECOND, 30 * SECOND, 3 * MINUTE),
    RuleSpec {
        severity: "critical",
        more: "    group_by: [cause, node]\n",
        ..rule("node-not-ready", "NodeNotReady", 15 * SECOND, MINUTE, 4 * MINUTE)
    },
    rule("unschedulable", "FailedScheduling", MINUTE, 30 * SECOND, 4 * MINUTE),
    rule("failed-mount", "FailedMount", 45 * SECOND, 30 * SECOND, 4 * MINUTE),
    rule("job-failed", "JobFailed", 0, 30 * SECOND, 2880 * MINUTE),
    rule("rollout-stuck", "RolloutStuck", 30 * SECOND, 30 * SECOND, 4 * MINUTE),
    rule("failed-create", "FailedCreate", MINUTE, 30 * SECOND, 3 * MINUTE),
    RuleSpec {
        matching: ", reason: {regex: \"^SimNote\"}",
        ..rule("note", "Event", 0, 30 * SECOND, 3 * MINUTE)
    },
    rule("container-stuck", "ContainerStuck", 5 * MINUTE, 30 * SECOND, 4 * MINUTE),
];

/// Members of an incident gather for so long before it is told.
pub const GROUP_WAIT: Ms = 5 * SECOND;
/// The namespace that has a mute time, and when that is on, each day.
pub const MUTED: (&str, Ms, Ms) = ("media", 5 * MINUTE, 11 * MINUTE);
/// An incident is forgotten so long after its end.
pub const WINDOW: Ms = 3 * MINUTE;
/// The longest span after the end of a problem until everybody is told that it is over, when all goes
/// well: a workload that proved unsteady has to be well for longer.
pub const OVER_WITHIN: Ms = 9 * MINUTE;

pub const HOOK: &str = "hook";
pub const ALERTS: &str = "alerts";
pub const CHAT: &str = "chat";
pub const MAIL: &str = "mail";
/// Receivers of every notification.
pub const RECEIVERS: [&str; 4] = [HOOK, ALERTS, CHAT, MAIL];
/// Recipients of the mails.
pub const RECIPIENTS: [&str; 4] =
    ["ann@example.com", "bob@example.com", "cas@example.com", "dee@example.com"];
/// A receiver of HTTP is known by the name of its host.
pub const DOMAIN: &str = ".sim.invalid";
/// For requests that change something.
pub const TOKEN: &str = "sim-api-token";

const RECEIVERS_YAML: &str = r##"cluster: sim
receivers:
  hook:
    webhook: {url: "http://hook.sim.invalid/notify"}
    rate_limit: {per: 1s, messages: 50, burst: 50}
    fold: false
  alerts:
    webhook: {url: "http://alerts.sim.invalid/api/v2/alerts", preset: alertmanager}
    rate_limit: {per: 1s, messages: 50, burst: 50}
  chat:
    slack: {token: {file: slack-token}, channel: "#alerts", api_url: "http://chat.sim.invalid/api"}
    rate_limit: {per: 1s, messages: 1, burst: 4}
  mail:
    email:
      from: kubeherald@example.com
      to: [ann@example.com, bob@example.com, cas@example.com, dee@example.com]
      smtp: {host: mail.sim.invalid, port: 25, tls: none}
    rate_limit: {per: 10s, messages: 10, burst: 10}
routes:
  - {receivers: [hook, alerts, chat, mail]}
storm: {incidents: 500, window: 60s}
mute_times:
  - {name: maintenance, match: {namespace: media}, from: "08:05", to: "08:11"}
engine: {group_wait: 5s}
http: {listen: "127.0.0.1:0", token: {file: api-token}}
rules: {dir: rules}
store: {path: state.db}
"##;

fn span(ms: Ms) -> String {
    format!("{}s", ms / SECOND)
}

fn rules_yaml(without: &[String]) -> String {
    let mut out = String::from("rules:\n");
    for spec in &RULES {
        let RuleSpec { name, cause, matching, severity, more, .. } = spec;
        if without.iter().any(|gone| gone == name) {
            // The one that is not shipped is simply not there.
            if *cause == "Event" {
                continue;
            }
            writeln!(out, "  - {{name: {name}, enabled: false}}").unwrap();
            continue;
        }
        writeln!(
            out,
            "  - name: {name}\n    match: {{cause: {cause}{matching}}}\n    severity: {severity}\n    for: {}\n    \
             stable_for: {}\n    resolve_after: {}\n    window: {}\n    max_window: 30m\n{more}",
            span(spec.hold),
            span(spec.stable_for),
            span(spec.resolve_after),
            span(WINDOW)
        )
        .unwrap();
    }
    out
}

/// The configuration without these rules. Loaded once a process for each set: loading costs more than
/// many a run.
pub fn loaded(without: &[String]) -> Arc<Loaded> {
    type Known = Mutex<BTreeMap<Vec<String>, Arc<Loaded>>>;
    static KNOWN: OnceLock<Known> = OnceLock::new();
    let known = KNOWN.get_or_init(Known::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let mut without = without.to_vec();
    without.sort();
    if let Some(loaded) = known.get(&without) {
        return Arc::clone(loaded);
    }
    let dir = directory();
    let rules = dir.join("rules");
    std::fs::create_dir_all(&rules).expect("a directory for rules");
    std::fs::write(dir.join("kubeherald.yaml"), RECEIVERS_YAML).expect("a configuration");
    std::fs::write(dir.join("slack-token"), "xoxb-sim").expect("a token");
    std::fs::write(dir.join("api-token"), TOKEN).expect("a token");
    std::fs::write(rules.join("sim.yaml"), rules_yaml(&without)).expect("rules");
    let loaded = match load(Some(&dir.join("kubeherald.yaml")), &[]) {
        Ok(loaded) => Arc::new(loaded),
        Err(found) => panic!("the simulated configuration cannot be used:\n{found}"),
    };
    known.insert(without, Arc::clone(&loaded));
    loaded
}

pub fn config(without: &[String]) -> Arc<Config> {
    Arc::clone(&loaded(without).config)
}

/// Where the files of the configuration are; its secrets are read at every use.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIRECTORY.get_or_init(|| tempfile::tempdir().expect("a directory")).path()
}

/// The rule that a cause is told by.
pub fn rule_of(cause: &str) -> Option<&'static RuleSpec> {
    RULES.iter().find(|rule| rule.cause == cause)
}
