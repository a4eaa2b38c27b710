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
//!
//! The crate is a program; the library is public only to its tests and benches.

#[doc(hidden)]
pub mod app;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod message;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod notify;
#[doc(hidden)]
pub mod outbox;
#[doc(hidden)]
pub mod recording;
#[doc(hidden)]
pub mod rule;
#[doc(hidden)]
pub mod signal;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod telemetry;
#[doc(hidden)]
pub mod template;
#[cfg(feature = "demo")]
#[doc(hidden)]
pub mod testkit;
#[doc(hidden)]
pub mod watch;
#[doc(hidden)]
pub mod web;
