//! Black-box tests. A crate root looks for its modules beside itself, hence the paths.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that stumbles fails"
)]

#[path = "it/apiserver.rs"]
mod apiserver;
#[path = "it/protocol.rs"]
mod protocol;
#[path = "it/recordings.rs"]
mod recordings;
#[path = "it/scenarios.rs"]
mod scenarios;
