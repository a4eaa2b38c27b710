//! Black-box tests. A crate root looks for its modules beside itself, hence the paths.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test that stumbles fails"
)]

#[path = "it/alertmanager.rs"]
mod alertmanager;
#[path = "it/apiserver.rs"]
mod apiserver;
#[path = "it/asks.rs"]
mod asks;
#[path = "it/cli.rs"]
mod cli;
#[path = "it/clock.rs"]
mod clock;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/demo.rs"]
mod demo;
#[path = "it/dependencies.rs"]
mod dependencies;
#[path = "it/deploy.rs"]
mod deploy;
#[path = "it/digests.rs"]
mod digests;
#[path = "it/disk.rs"]
mod disk;
#[path = "it/dispatching.rs"]
mod dispatching;
#[path = "it/explain.rs"]
mod explain;
#[path = "it/flood.rs"]
mod flood;
#[path = "it/flow.rs"]
mod flow;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/layering.rs"]
mod layering;
#[path = "it/lives.rs"]
mod lives;
#[path = "it/logs.rs"]
mod logs;
#[path = "it/matrix.rs"]
mod matrix;
#[path = "it/notify.rs"]
mod notify;
#[path = "it/order.rs"]
mod order;
#[path = "it/outbox.rs"]
mod outbox;
#[path = "it/protocol.rs"]
mod protocol;
#[path = "it/recipients.rs"]
mod recipients;
#[path = "it/recordings.rs"]
mod recordings;
#[path = "it/reload.rs"]
mod reload;
#[path = "it/room.rs"]
mod room;
#[path = "it/run.rs"]
mod run;
#[path = "it/scenarios.rs"]
mod scenarios;
#[path = "it/security.rs"]
mod security;
#[path = "it/silences.rs"]
mod silences;
#[path = "support/disk.rs"]
mod sim_disk;
#[path = "it/terminating.rs"]
mod terminating;
#[path = "it/test_command.rs"]
mod test_command;
#[path = "it/watches.rs"]
mod watches;
#[path = "it/web.rs"]
mod web;
#[path = "it/world.rs"]
mod world;
