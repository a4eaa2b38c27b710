//! Stories of failures and of normal life that were not recorded, and what is said about them under
//! the shipped rules.

#[path = "scenarios/crash.rs"]
mod crash;
#[path = "scenarios/evict.rs"]
mod evict;
#[path = "scenarios/memory.rs"]
mod memory;
#[path = "scenarios/scheduling.rs"]
mod scheduling;
#[path = "scenarios/script.rs"]
mod script;
#[path = "scenarios/start.rs"]
mod start;
