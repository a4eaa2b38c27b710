//! Builders of API objects as the API server sends them: JSON, with honest status.
//!
//! Times are written as offsets and become RFC 3339 in [`at`]: `-20s` and `+5m` count from the
//! moment the object is seen, `T+30s` from the beginning of the story. A test, `demo` and a bench
//! can so tell the same story from any moment on.
//!
//! ```
//! use kubeherald::testkit::builders::{at, pod};
//!
//! let crashing = pod("checkout-688988776f-lgmp4")
//!     .owned_by_rs("checkout-688988776f")
//!     .node("worker-1")
//!     .last(3, "Error", "-12s", "-10s")
//!     .waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
//!     .restarts(3)
//!     .json();
//! let start = "2026-11-21T08:00:00Z".parse().unwrap_or_default();
//! assert_eq!(at(crashing, start, start)["status"]["phase"], "Running");
//! ```

mod batch;
mod event;
mod meta;
mod node;
mod pod;
mod workload;

use jiff::Timestamp;
use serde_json::Value;

use crate::clock;
use crate::config::duration;
use crate::signal::silence::SILENCE_UNTIL;

pub use batch::{Claim, CronJob, Job, claim, cron_job, job};
pub use event::{Event, event};
pub use meta::Meta;
pub use node::{Node, node};
pub use pod::{Pod, pod};
pub use workload::{Workload, daemon_set, deployment, namespace, replica_set, stateful_set};

/// The namespace of everything that does not say otherwise.
pub const NAMESPACE: &str = "shop";

/// Turns the offsets in an object's time fields into times: seen at `now`, in a story that began at
/// `start`. What is no offset stays as it is.
pub fn at(mut object: Value, start: Timestamp, now: Timestamp) -> Value {
    resolve(&mut object, start, now);
    object
}

fn resolve(value: &mut Value, start: Timestamp, now: Timestamp) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if is_time(key) => {
                        if let Some(time) = moment(text, start, now) {
                            *text = time.to_string();
                        }
                    }
                    value => resolve(value, start, now),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| resolve(value, start, now)),
        _ => {}
    }
}

fn is_time(key: &str) -> bool {
    key.ends_with("Time")
        || key.ends_with("Timestamp")
        || matches!(key, "startedAt" | "finishedAt" | SILENCE_UNTIL)
}

fn moment(text: &str, start: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let (base, offset) = match text.strip_prefix('T') {
        Some(rest) => (start, rest),
        None => (now, text),
    };
    if let Some(span) = offset.strip_prefix('+') {
        return Some(clock::after(base, duration::parse(span).ok()?));
    }
    Some(clock::before(base, duration::parse(offset.strip_prefix('-')?).ok()?))
}
