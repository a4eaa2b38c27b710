//! Configuration: `read` walks YAML with positions and reports every error at once; each section is a file
//! that names its keys once, from which the reader and the JSON Schema both follow; `load` looks up
//! names across files. [`Config`] is the result, frozen.

mod annotations;
pub mod check;
mod digest;
mod engine;
mod file;
mod heartbeat;
mod http;
mod load;
mod log_tail;
mod matching;
mod mute_times;
mod overrides;
mod read;
mod receiver;
mod redact;
mod routes;
mod rule_checks;
mod rule_tests;
mod rules;
pub mod schema;
mod secret;
mod shipped;
pub mod silences;
mod store;
pub mod templates;
#[cfg(test)]
mod tests;
mod watch;
mod written;

pub use file::Config;
pub use heartbeat::{HeartbeatConfig, HeartbeatMethod};
pub use load::{Attempt, Loaded, attempt, load, load_shipped};
pub use read::error::{Diagnostic, Diagnostics, Level};
pub use read::{bytes, duration, error, suggest};
pub use receiver::Receiver;
pub use rule_tests::{Expect, Given, RuleTest, TestInput};
pub use store::StoreConfig;
pub use watch::{KINDS, WatchConfig};
