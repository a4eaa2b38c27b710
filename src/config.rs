//! Configuration: [`raw`] is what people write, with positions; [`compile`] resolves, compiles and
//! reports every error at once; [`Config`] is the result, frozen.

pub mod annotations;
pub mod bytes;
pub mod check;
pub mod compile;
pub mod digest;
pub mod duration;
pub mod error;
pub mod heartbeat;
pub mod load;
mod mask;
pub mod raw;
pub mod read;
pub mod receiver;
pub mod schema;
pub mod secret;
pub mod shipped;
pub mod silences;
pub mod suggest;
pub mod templates;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use compile::cases::{Expect, Given, RuleTest, TestInput};
pub use error::{Diagnostic, Diagnostics, Level};
pub use heartbeat::{HeartbeatConfig, HeartbeatMethod};
pub use load::{Attempt, Loaded, attempt, load, load_shipped};
pub use receiver::Receiver;

use crate::engine::Settings;
use crate::notify::Secret;
use crate::rule::{Routes, RuleSet};
use crate::signal::redact::Redactor;

/// May this name a rule or a receiver? Names are metric labels, parts of keys and of addresses.
fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

const NAME_HELP: &str = "use at most 63 letters, digits, `-`, `_` and `.`, a letter or digit first";

#[derive(Debug, Clone)]
pub struct Config {
    /// Shown in every message; empty if not configured.
    pub cluster: Arc<str>,
    pub watch: WatchConfig,
    /// Who can be told; empty: the terminal.
    pub receivers: Vec<Receiver>,
    /// Who is told what.
    pub routes: Routes,
    pub rules: RuleSet,
    /// How incidents behave where a rule does not say.
    pub engine: Settings,
    /// Where state is kept.
    pub store: StoreConfig,
    /// The address of health, metrics and API; `None`: no HTTP server.
    pub http: Option<std::net::SocketAddr>,
    /// What requests to change something must name; `None`: nothing can be changed over HTTP.
    pub api_token: Option<Secret>,
    /// A directory of templates that replace the shipped ones by name.
    pub templates: Option<PathBuf>,
    /// What is masked in text from the cluster besides what is always masked.
    pub redact: Redactor,
    /// At most so long a message waits for the log that its rule asks for; then it goes without.
    pub log_timeout: Duration,
    /// Requests to a dead man's switch; `None`: none.
    pub heartbeat: Option<HeartbeatConfig>,
}

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
    #[must_use]
    pub fn wants(&self, namespace: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|n| n == namespace))
            && !self.exclude.iter().any(|n| n == namespace)
    }
}

#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The SQLite file; `None`: in memory, gone at exit.
    pub path: Option<PathBuf>,
    /// Bytes that the file, its log and its reserve may take together.
    pub max_bytes: u64,
}

impl StoreConfig {
    /// The least and the most that may be asked for.
    pub const BOUNDS: (u64, u64) = (64 << 20, 1 << 40);
}

impl Default for StoreConfig {
    /// Fits the shipped volume of 1 GiB, of which the file system keeps some for itself.
    fn default() -> Self {
        Self { path: None, max_bytes: 768 << 20 }
    }
}
