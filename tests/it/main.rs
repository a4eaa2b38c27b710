//! Black-box tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that stumbles fails"
)]

mod alertmanager;
mod apiserver;
mod asks;
mod chart;
mod cli;
mod clock;
mod crash;
mod demo;
mod dependencies;
mod deploy;
mod digests;
mod disk;
mod dispatching;
mod explain;
mod fallback;
mod flood;
mod flow;
mod hostile;
mod layering;
mod lives;
mod logs;
mod matrix;
mod mistakes;
mod namespaced;
mod notify;
mod order;
mod outbox;
mod overrides;
mod protocol;
mod rbac;
mod recipients;
mod record;
mod recordings;
mod reload;
mod room;
mod run;
mod scenarios;
mod security;
mod silences;
#[path = "../support/disk.rs"]
mod sim_disk;
mod ten_minutes;
mod terminating;
mod test_command;
mod watches;
mod web;
mod world;
