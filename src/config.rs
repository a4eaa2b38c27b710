//! Configuration: [`raw`] is what people write, with positions; [`compile`] resolves, compiles and
//! reports every error at once; [`Config`] is the result, frozen.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::rule::{Routes, RuleSet};

/// A compiled configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Shown in every message; empty if not configured.
    pub cluster: Arc<str>,
    /// What is watched.
    pub watch: WatchConfig,
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Who is told what.
    pub routes: Routes,
    /// What is told.
    pub rules: RuleSet,
    /// How incidents behave where a rule does not say.
    pub engine: EngineConfig,
    /// Where state is kept.
    pub store: StoreConfig,
    /// The address of health, metrics and API; `None`: no HTTP server.
    pub http: Option<std::net::SocketAddr>,
}

/// `watch:`
#[derive(Debug, Clone, Default)]
pub struct WatchConfig {
    /// Only these namespaces; empty: all.
    pub include: Vec<String>,
    /// Never these.
    pub exclude: Vec<String>,
}

impl WatchConfig {
    /// Is this namespace watched?
    #[must_use]
    pub fn wants(&self, namespace: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|n| n == namespace))
            && !self.exclude.iter().any(|n| n == namespace)
    }
}

/// `engine:` and `storm:`
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Default `group_wait`.
    pub group_wait: Duration,
    /// How many members make `grew` break through: 1, 5, 20, 100, …
    pub growth_steps: Vec<u32>,
    /// At most this many open incidents.
    pub max_incidents: usize,
    /// At most this many members of one incident are kept by name.
    pub max_members: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            group_wait: Duration::from_secs(5),
            growth_steps: vec![1, 5, 20, 100, 500, 2000, 10_000],
            max_incidents: 10_000,
            max_members: 1_000,
        }
    }
}

/// `store:`
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The SQLite file; `None`: in memory, gone at exit.
    pub path: Option<PathBuf>,
}

/// One receiver.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Unique.
    pub name: Arc<str>,
    /// At most this many messages.
    pub rate_limit: RateLimit,
    /// A notification older than this is a dead letter.
    pub max_age: Duration,
    /// Also tell ends.
    pub send_resolved: bool,
}

/// `rate_limit: {per: 1s, messages: 1, burst: 5}`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The span.
    pub per: Duration,
    /// Messages in it.
    pub messages: u32,
    /// How many may go at once.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per: Duration::from_secs(1), messages: 1, burst: 5 }
    }
}
