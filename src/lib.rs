//! kubeherald watches a Kubernetes cluster and tells the right people, once and in the right place,
//! when something needs them.
//!
//! ```text
//!  API server ─watch─▶ watch ─▶ signal ─▶ rule ─▶ engine ─effects─▶ store (ONE transaction:
//!    (or recording,      slim      pure      compiled   pure, no I/O,      engine delta + outbox rows + history)
//!     or simulator)     objects  before/     matchers   clock passed in        │
//!                                after                                          ▼
//!                                              templates ─▶ outbox dispatcher ─▶ notify: slack │ webhook │ smtp
//! ```

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod message;
pub mod metrics;
pub mod notify;
pub mod outbox;
pub mod rule;
pub mod signal;
pub mod store;
pub mod telemetry;
pub mod template;
pub mod testkit;
pub mod watch;
pub mod web;
