//! Stories of failures and of normal life that were not recorded, and what is said about them under
//! the shipped rules.

#[path = "scenarios/annotations.rs"]
mod annotations;
#[path = "scenarios/bare.rs"]
mod bare;
#[path = "scenarios/crash.rs"]
mod crash;
#[path = "scenarios/digests.rs"]
mod digests;
#[path = "scenarios/events.rs"]
mod events;
#[path = "scenarios/evict.rs"]
mod evict;
#[path = "scenarios/forged.rs"]
mod forged;
#[path = "scenarios/group.rs"]
mod group;
#[path = "scenarios/headlines.rs"]
mod headlines;
#[path = "scenarios/life.rs"]
mod life;
#[path = "scenarios/memory.rs"]
mod memory;
#[path = "scenarios/nodes.rs"]
mod nodes;
#[path = "scenarios/probes.rs"]
mod probes;
#[path = "scenarios/reload.rs"]
mod reload;
#[path = "scenarios/restart.rs"]
mod restart;
#[path = "scenarios/room.rs"]
mod room;
#[path = "scenarios/scheduling.rs"]
mod scheduling;
#[path = "scenarios/script.rs"]
mod script;
#[path = "scenarios/silences.rs"]
mod silences;
#[path = "scenarios/start.rs"]
mod start;
#[path = "scenarios/terminating.rs"]
mod terminating;
#[path = "scenarios/workloads.rs"]
mod workloads;
