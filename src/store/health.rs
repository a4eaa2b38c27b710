//! How the store keeps things right now, for everybody who asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// How the store keeps things right now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreHealth {
    /// Set while changes are kept in memory only, because the disk fails or is full: how it failed.
    pub in_memory: Option<String>,
    /// Bytes of what is kept in memory only.
    pub memory_bytes: u64,
    /// At most this many; what does not fit any more fails.
    pub memory_max: u64,
    /// Is the reserve file there? `None`: there is to be none.
    pub reserve: Option<bool>,
    /// More bytes are used than the budget allows, and nothing is left that may be dropped.
    pub over_budget: bool,
    /// Transactions that failed because of the disk, by [`super::StoreError::label`].
    pub failures: BTreeMap<&'static str, u64>,
    /// What was dropped for want of room.
    pub dropped: Dropped,
    /// A damaged file that was found at the start.
    pub set_aside: Option<SetAside>,
}

/// What was dropped for want of room, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    pub history: u64,
    pub dead_letters: u64,
}

/// A damaged file that was replaced by a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    pub why: String,
    /// Rows that could be read and were carried over, by table.
    pub kept: BTreeMap<String, u64>,
    /// Tables of which not everything could be read.
    pub incomplete: Vec<String>,
}

impl SetAside {
    /// Nothing of it was carried over yet.
    pub(super) fn unread(path: PathBuf, why: &str) -> Self {
        Self { path, why: why.to_owned(), kept: BTreeMap::new(), incomplete: Vec::new() }
    }
}

/// Shared by the writer, which sets it, and everybody else.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<StoreHealth>,
    in_memory: AtomicBool,
    damaged: AtomicBool,
}

impl Health {
    pub fn get(&self) -> StoreHealth {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn update(&self, change: impl FnOnce(&mut StoreHealth)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        self.in_memory.store(state.in_memory.is_some(), Ordering::Release);
    }

    pub fn is_in_memory(&self) -> bool {
        self.in_memory.load(Ordering::Acquire)
    }

    /// Was the file found damaged? Then the store has ended.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// `false`: that was known.
    pub fn set_damaged(&self) -> bool {
        !self.damaged.swap(true, Ordering::AcqRel)
    }
}
