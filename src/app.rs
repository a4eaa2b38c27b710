//! Builds every part from a compiled configuration and runs them.

pub mod command;
pub(crate) mod commit;
pub mod heartbeat;
pub mod logs;
pub mod notice;
pub mod pipeline;
pub mod rbac;
pub mod receivers;
pub mod record;
pub mod reload;
pub mod rule_test;
pub mod run;
mod silences;
