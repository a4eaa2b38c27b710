//! A disk that lives in memory: SQLite uses it through a VFS, and tests decide what it does.
//!
//! A [`SimDisk`] is passive and outlives whoever uses it. Every operation has a number and may be
//! given a [`Fault`] by a hook: an error, a short write, a flush that fails with or without having
//! happened, or the end of the process before or after it. At that end the disk is *frozen*: what
//! destructors still do fails and changes nothing. [`SimDisk::restart`] decides what of the writes
//! that were not flushed survived, and serves the next life.
//!
//! What is modelled: contents survive a crash for certain once flushed (`sync`), and wholly, partly
//! or not at all otherwise, in units of [`SECTOR`] bytes; a file that was never flushed may vanish
//! with a crash; deleting and renaming survive at once. There is no shared memory between connections, so a
//! write-ahead log needs `locking_mode = EXCLUSIVE`, as on a network file system.
//!
//! SQLite's own random numbers (salts of the log) come from one generator for the process and are
//! not part of the simulation: they change bytes, never the sequence of operations.

mod disk;
mod vfs;

pub use disk::{Error, Fault, Held, Kind, Loss, Operation, SECTOR, SimDisk};
