//! A simulated world for the whole bot: API server, disk, receivers and clock are simulated and driven by one
//! seed; pipeline, engine, store with SQLite, outbox and notifiers are the real ones. See docs/simulation.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that stumbles fails"
)]

mod api;
mod arguments;
mod chance;
mod checks;
mod cluster;
mod coverage;
mod director;
mod disk;
mod generate;
mod hostile;
mod life;
mod mail;
mod plan;
mod proof;
mod receivers;
mod record;
mod run;
mod settings;
mod shrink;
mod stories;
mod words;
mod work;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::parse(std::env::args().skip(1)) {
        Ok(Some(wanted)) => work::work(&wanted),
        // Runners list tests before they run them; there is nothing to list here.
        Ok(None) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{wrong}\n{}", arguments::USAGE);
            ExitCode::from(2)
        }
    }
}
