//! What the store does with files beside SQLite. A trait, so that a simulated disk can stand in for all of it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place;

/// A lock file that is held for as long as this lives.
pub type Held = Box<dyn Send>;

/// Why a lock file was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Somebody has it; what they wrote into it.
    Held(String),
    /// The file cannot be opened or locked.
    Io(io::Error),
}

pub trait Disk: fmt::Debug + Send + Sync {
    /// The name of the SQLite VFS that serves the same files; `None`: SQLite's own.
    fn vfs(&self) -> Option<&str> {
        None
    }

    /// Takes a lock file, making it if it is missing, and writes `holder` into it. A process that
    /// dies, however it dies, holds no lock.
    fn lock(&self, path: &Path, holder: &str) -> Result<Held, LockError>;

    /// Makes a database file, if it is missing, and lets nobody but its owner read it and the files
    /// beside it. A file system without owners has nothing to do.
    fn keep_private(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Ok(())
    }

    /// Bytes of a file; `None`: there is no such file.
    fn size(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Bytes that can still be written where `path` is.
    fn free(&self, path: &Path) -> io::Result<u64>;

    /// Makes a file whose `bytes` are really there, not only promised. Changes nothing if there is
    /// no room.
    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Gives a file another name in the same directory; afterwards that survives a crash.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Is it a file system that several machines share? SQLite's write-ahead log needs memory
    /// shared among connections, which those do not promise; there the store uses one connection
    /// with exclusive locking. Unknown counts as local.
    fn is_network(&self, path: &Path) -> bool;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    /// A lock of the operating system.
    fn lock(&self, path: &Path, holder: &str) -> Result<Held, LockError> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(place::PRIVATE)
            .open(path)
            .map_err(LockError::Io)?;
        place::private(path);
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                (&mut file).take(200).read_to_string(&mut text).ok();
                return Err(LockError::Held(text.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        // Only for the message of the one refused: failing to write it must not fail the start.
        file.set_len(0).ok();
        file.rewind().ok();
        file.write_all(holder.as_bytes()).ok();
        Ok(Box::new(file))
    }

    fn keep_private(&self, path: &Path) -> io::Result<()> {
        place::prepare(path)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(directory(path))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = File::options().create(true).truncate(true).write(true).mode(place::PRIVATE).open(path)?;
        let done = reserve(&file, bytes).and_then(|()| file.sync_all());
        if done.is_err() {
            fs::remove_file(path).ok();
        }
        done
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        File::open(directory(to))?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn is_network(&self, path: &Path) -> bool {
        place::is_network(path)
    }
}

fn reserve(mut file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    // A file system that cannot promise room gets something to store.
    let zeros = vec![0_u8; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..part).unwrap_or_default())?;
        left -= part as u64;
    }
    Ok(())
}

/// Another process that this one is just starting holds every open file, this lock of an earlier
/// store included, for the moment between fork and exec.
fn patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
    file.try_lock()
}

/// The directory that a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `path` with `suffix` behind its whole name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocated_file_has_its_bytes_and_one_without_room_is_not_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        RealDisk.allocate(&path, 1 << 20).unwrap();
        assert_eq!(RealDisk.size(&path).unwrap(), Some(1 << 20));
        assert!(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap()) * 512 >= 1 << 20);
        let free = RealDisk.free(&path).unwrap();
        assert!(free > 0);
        RealDisk.remove(&path).unwrap();
        assert_eq!(RealDisk.size(&path).unwrap(), None);
        assert!(RealDisk.allocate(&path, u64::try_from(i64::MAX).unwrap()).is_err());
        assert_eq!(RealDisk.size(&path).unwrap(), None);
    }

    #[test]
    fn a_renamed_file_has_its_new_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&from, "x").unwrap();
        RealDisk.rename(&from, &to).unwrap();
        assert_eq!((RealDisk.size(&from).unwrap(), RealDisk.size(&to).unwrap()), (None, Some(1)));
    }
}
