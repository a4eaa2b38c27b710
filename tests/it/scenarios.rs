//! Stories of failures and of normal life that were not recorded, and what is said about them under
//! the shipped rules.

mod annotations;
mod bare;
mod blind;
mod collection;
mod crash;
mod digests;
mod events;
mod evict;
mod forged;
mod group;
mod headlines;
mod life;
mod memory;
mod messages;
mod nodes;
mod probes;
mod reload;
mod restart;
mod room;
mod scheduling;
mod script;
mod silences;
mod start;
mod terminating;
mod workloads;
