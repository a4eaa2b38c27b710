//! What tests, benches and `demo` share: a simulated Kubernetes API server, a story to play on it, and
//! receivers. Fakes sit at the wire, strict both ways, so the real clients and the real pipeline run.

pub mod apiserver;
pub mod builders;
pub mod receivers;
pub mod story;

pub use apiserver::{ApiServer, Fault, Verb, What};
