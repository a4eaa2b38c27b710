//! The simulated world.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    dead_code,
    reason = "a test that stumbles fails"
)]

mod chance;
mod cluster;
mod plan;
mod settings;
mod stories;

fn main() {}
