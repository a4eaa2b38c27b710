//! The simulated disk as the store sees it.

use std::io;
use std::path::Path;

use kubeherald::store::{Disk, Held, LockError};
use simdisk::{Error, SimDisk};

/// A [`SimDisk`]; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Simulated(pub SimDisk);

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Full => io::ErrorKind::StorageFull.into(),
        Error::Missing => io::ErrorKind::NotFound.into(),
        Error::Busy => io::ErrorKind::WouldBlock.into(),
        Error::Io => io::Error::other("the simulated disk failed"),
    }
}

impl Disk for Simulated {
    fn vfs(&self) -> Option<&str> {
        Some(self.0.vfs())
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Held, LockError> {
        match self.0.lock(name(path), holder) {
            Ok(Ok(held)) => Ok(Box::new(held)),
            Ok(Err(other)) => Err(LockError::Held(other)),
            Err(error) => Err(LockError::Io(io_error(error))),
        }
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.0.size(name(path)).map_err(io_error)
    }

    fn free(&self, _path: &Path) -> io::Result<u64> {
        self.0.free().map_err(io_error)
    }

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.0.allocate(name(path), bytes).map_err(io_error)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(name(from), name(to)).map_err(io_error)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(name(path)).map_err(io_error)
    }

    /// It has no memory shared among connections.
    fn is_network(&self, _path: &Path) -> bool {
        true
    }
}
