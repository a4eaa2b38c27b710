//! What tests, benches and `demo` share: a simulated Kubernetes API server and a reader of
//! recorded watch streams. Fakes sit at the wire, so the real clients and the real pipeline run.

pub mod apiserver;
pub mod builders;
pub mod recording;

pub use apiserver::{ApiServer, Fault, Verb, What};
