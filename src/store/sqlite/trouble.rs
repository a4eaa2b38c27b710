//! What is done when the disk fails, in the order in which it is tried.

use std::path::PathBuf;
use std::sync::Arc;

use super::disk::{self, Disk};
use super::room::Budget;
use super::session::Session;
use super::{memory, room};
use crate::store::StoreError;
use crate::store::error::Trouble;

/// What a writer needs to go on when the disk fails.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    pub disk: Arc<dyn Disk>,
    pub file: PathBuf,
    pub budget: Budget,
}

impl Keeper {
    /// Room that is given back when there is no other.
    pub fn reserve(&self) -> PathBuf {
        disk::beside(&self.file, ".reserve")
    }
}

/// Says that the file was found damaged; the next start reads it through, whatever its size.
pub(super) fn suspect(file: &std::path::Path) -> PathBuf {
    disk::beside(file, ".suspect")
}

/// What was tried for one transaction; each remedy once.
#[derive(Debug, Default)]
pub(super) struct Tried {
    again: bool,
    reserve: bool,
    history: bool,
    memory: bool,
}

fn first(tried: &mut bool) -> bool {
    !std::mem::replace(tried, true)
}

impl Session {
    /// Does something about `error`. `true`: what failed may succeed now.
    pub fn remedy(&mut self, error: &StoreError, tried: &mut Tried) -> bool {
        let Some(trouble) = error.trouble() else { return false };
        self.note_damage(error);
        if self.keeper.is_none() {
            return false;
        }
        self.health.update(|health| *health.failures.entry(error.label()).or_default() += 1);
        match trouble {
            Trouble::Damage => false,
            _ if self.health.is_in_memory() => {
                first(&mut tried.history) && memory::drop_history(self).is_ok_and(|rows| rows > 0)
            }
            Trouble::Space => {
                (first(&mut tried.reserve) && room::free_reserve(self))
                    || (first(&mut tried.history) && room::drop_history(self) > 0)
                    || (first(&mut tried.memory) && self.go_on_in_memory(error))
            }
            Trouble::Device => {
                // One failure may be the only one.
                first(&mut tried.again) || (first(&mut tried.memory) && self.go_on_in_memory(error))
            }
        }
    }

    fn go_on_in_memory(&mut self, error: &StoreError) -> bool {
        match memory::enter(self) {
            Ok(()) => {
                tracing::error!(%error,
                    "nothing can be written to the disk; it goes on, and keeps what it decides in memory");
                let max = self.keeper.as_ref().map_or(0, |keeper| keeper.budget.memory_bytes);
                self.health.update(|health| {
                    health.in_memory = Some(error.to_string());
                    health.memory_max = max;
                });
                self.measure_memory();
                true
            }
            Err(cause) => {
                tracing::error!(%error, %cause, "the store can neither write nor go on in memory");
                false
            }
        }
    }

    /// Writes what is only in memory to the file. `true`: it is on disk now.
    pub fn leave_memory(&mut self) -> bool {
        if !self.health.is_in_memory() {
            return true;
        }
        let mut done = memory::leave(self);
        if matches!(&done, Err(error) if error.trouble() == Some(Trouble::Space)) {
            // Without the reserve, old history is what may be given up.
            if room::free_reserve(self) || room::drop_history(self) > 0 {
                done = memory::leave(self);
            }
        }
        match done {
            Ok(()) => {
                self.health.update(|health| {
                    health.in_memory = None;
                    health.memory_bytes = 0;
                });
                tracing::warn!("the store is on disk again, with everything that was kept in memory");
                true
            }
            Err(error) => {
                self.note_damage(&error);
                tracing::warn!(%error, "the store is still kept in memory");
                self.health.update(|health| health.in_memory = Some(error.to_string()));
                false
            }
        }
    }

    /// Remembers, also for the next start, that the file is damaged.
    pub fn note_damage(&self, error: &StoreError) {
        if error.trouble() != Some(Trouble::Damage) || !self.health.set_damaged() {
            return;
        }
        tracing::error!(%error, "the store is damaged: the process ends, and the next start sets the file aside");
        if let Some(keeper) = &self.keeper {
            keeper.disk.allocate(&suspect(&keeper.file), 0).ok();
        }
    }

    /// Publishes how much is kept in memory only.
    pub fn measure_memory(&self) {
        if self.health.is_in_memory()
            && let Ok(bytes) = memory::bytes(self)
        {
            self.health.update(|health| health.memory_bytes = bytes);
        }
    }
}
