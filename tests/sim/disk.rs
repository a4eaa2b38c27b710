//! The store's disk: every operation that can change it is one at a seam.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kubeherald::store;
use simdisk::{Error, Fault, Kind, SimDisk};

use super::plan::{DiskFault, Loss, Seam};
use super::world::World;

/// Connects the disk with the world: faults and kills.
pub fn connect(disk: &SimDisk, world: &Arc<World>) {
    let world = Arc::downgrade(world);
    disk.on_operation(move |operation| {
        let Some(world) = world.upgrade() else { return Fault::None };
        if !operation.kind.changes() || operation.kind == Kind::Open || world.is_dead() {
            return Fault::None;
        }
        let Some(begun) = world.begin(Seam::Disk) else { return Fault::KillBefore };
        if !world.end(begun) {
            return Fault::KillAfter;
        }
        let Some(fault) = world.disk_fault() else { return Fault::None };
        let done = match (fault, operation.kind) {
            (DiskFault::WriteError, Kind::Write) => Fault::Error(Error::Io),
            (DiskFault::FlushError, Kind::Sync) => Fault::SyncDropped,
            (DiskFault::FlushLies, Kind::Sync) => Fault::Synced,
            // The capacity decides it.
            (DiskFault::Full, Kind::Write | Kind::Allocate) => {
                world.met_disk();
                return Fault::None;
            }
            _ => return Fault::None,
        };
        world.met_disk();
        done
    });
}

pub const fn loss(loss: Loss, seed: u64) -> simdisk::Loss {
    match loss {
        Loss::Process => simdisk::Loss::Nothing,
        Loss::Power => simdisk::Loss::Everything,
        Loss::Torn => simdisk::Loss::Tail(seed),
        Loss::Scattered => simdisk::Loss::Sectors(seed),
    }
}

/// What the store does beside SQLite, on the simulated disk.
#[derive(Debug)]
pub struct OnSimDisk(pub SimDisk);

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn failed(error: Error) -> io::Error {
    match error {
        Error::Full => io::ErrorKind::StorageFull.into(),
        Error::Missing => io::ErrorKind::NotFound.into(),
        Error::Busy => io::ErrorKind::ResourceBusy.into(),
        Error::Io => io::Error::other("input/output error"),
    }
}

impl store::Disk for OnSimDisk {
    fn vfs(&self) -> Option<&str> {
        Some(self.0.vfs())
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<store::Held, store::LockError> {
        match self.0.lock(&name(path), holder) {
            Ok(Ok(held)) => Ok(Box::new(held)),
            Ok(Err(other)) => Err(store::LockError::Held(other)),
            Err(error) => Err(store::LockError::Io(failed(error))),
        }
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.0.size(&name(path)).map_err(failed)
    }

    fn free(&self, _path: &Path) -> io::Result<u64> {
        self.0.free().map_err(failed)
    }

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.0.allocate(&name(path), bytes).map_err(failed)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(&name(from), &name(to)).map_err(failed)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(&name(path)).map_err(failed)
    }

    fn is_network(&self, _path: &Path) -> bool {
        // One connection: the simulated disk has no memory that connections share.
        true
    }
}
