//! Where the file lives: one process at a time, and file systems that cannot share memory.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;

/// Held for as long as the store is open. A lock of the operating system: a process that dies,
/// however it dies, leaves none behind.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes `PATH.lock`. A file beside the database and not the database itself: SQLite has its own
    /// locks on that one, and a query from the command line may read while the bot runs.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let lock = lock_path(path);
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path: path.to_path_buf() },
            std::io::ErrorKind::StorageFull => StoreError::Full { path: path.to_path_buf() },
            _ => StoreError::Open {
                path: path.to_path_buf(),
                why: format!("{}: {error}", lock.display()),
                help: "check that its directory exists and that this user may write to it",
            },
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(PRIVATE)
            .open(&lock)
            .map_err(failed)?;
        private(&lock);
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                (&mut file).take(200).read_to_string(&mut text).ok();
                let holder = if text.trim().is_empty() { "unknown process" } else { text.trim() };
                return Err(StoreError::InUse { path: path.to_path_buf(), holder: holder.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Only for the message of the one refused: failing to write it must not fail the start.
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        file.set_len(0).ok();
        file.rewind().ok();
        write!(file, "process {} on {}", std::process::id(), host.trim()).ok();
        Ok(Self { _file: file })
    }
}

/// Only the bot's own user reads what it keeps: messages, and the names of everything that failed.
const PRIVATE: u32 = 0o600;

/// Makes the database file, if it is not there, and takes it and its log from everybody else, whatever
/// the umask was when they were made. SQLite gives new files beside it the mode of the database.
pub(super) fn prepare(path: &Path) -> std::io::Result<()> {
    File::options().create(true).truncate(false).write(true).mode(PRIVATE).open(path)?;
    for suffix in ["", "-wal", "-shm", "-journal"] {
        private(&beside(path, suffix));
    }
    Ok(())
}

/// A file that belongs to somebody else stays as it is, and that is said.
fn private(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.permissions().mode() & 0o077 == 0 {
        return;
    }
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)) {
        tracing::warn!(path = %path.display(), %error, "others can read this file, and that cannot be changed");
    }
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

fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Types of file systems, as `/proc/self/mountinfo` names them, that several machines may have mounted
/// at a time, or that a program serves which may. Each stands for all types that begin like it: `nfs4`,
/// `smb3`, `fuse.gcsfuse`, `ceph-fuse`.
const SHARED: [&str; 23] = [
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "gfs", "gluster", "gpfs",
    "lustre", "nfs", "ocfs2", "orangefs", "panfs", "prl_fs", "smb", "vboxsf", "virtiofs", "vmhgfs", "wekafs",
];
/// Begins like one of them, and is a disk of this machine.
const LOCAL: &str = "fuseblk";

/// Is the file on a file system that several machines share? SQLite's write-ahead log needs memory
/// shared among the readers of one machine, which those do not promise; there the store does
/// without (one connection, exclusive locking). Unknown counts as local.
pub(super) fn is_network(path: &Path) -> bool {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(dir) = dir.canonicalize() else { return false };
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    kind_of(&mounts, &dir).is_some_and(is_shared)
}

fn is_shared(kind: &str) -> bool {
    kind != LOCAL && SHARED.iter().any(|shared| kind.starts_with(shared))
}

/// The type of the mount that holds `dir`: the longest prefix, the last one where several are equal
/// (the later mount covers the earlier).
fn kind_of<'a>(mountinfo: &'a str, dir: &Path) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        let point = point.replace("\\040", " ");
        if dir.starts_with(&point) && best.is_none_or(|(len, _)| point.len() >= len) {
            best = Some((point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_several_machines_are_known_by_their_type() {
        for kind in [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "9p",
            "ceph",
            "lustre",
            "gpfs",
            "afs",
            "beegfs",
            "gfs2",
            "ocfs2",
            "virtiofs",
            "vboxsf",
            "fuse",
            "fuse.s3fs",
            "fuse.gcsfuse",
            "fuse.glusterfs",
            "fuse.juicefs",
            "fuse.ceph-fuse",
            "fuse.mount-s3",
        ] {
            assert!(is_shared(kind), "{kind}");
        }
        for kind in ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "f2fs", "bcachefs", "fuseblk"] {
            assert!(!is_shared(kind), "{kind}");
        }
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mode = |suffix: &str| fs::metadata(beside(&path, suffix)).unwrap().permissions().mode() & 0o777;
        // Files that an earlier version made.
        for suffix in ["", "-wal", ".lock"] {
            fs::write(beside(&path, suffix), b"").unwrap();
            fs::set_permissions(beside(&path, suffix), fs::Permissions::from_mode(0o664)).unwrap();
        }
        let store = crate::store::Store::open(&path).unwrap();
        store.writable().wait().unwrap();
        for suffix in ["", "-wal", "-shm", ".lock"] {
            assert_eq!(mode(suffix), 0o600, "{suffix}");
        }
    }

    #[test]
    fn the_longest_mount_wins() {
        let info = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
                    2 1 0:9 / /var/lib rw shared:3 - nfs4 host:/x rw\n\
                    3 1 8:2 / /var/lib/my\\040data rw - xfs /dev/b rw\n";
        assert_eq!(kind_of(info, Path::new("/etc")), Some("ext4"));
        assert_eq!(kind_of(info, Path::new("/var/lib/bot")), Some("nfs4"));
        assert_eq!(kind_of(info, Path::new("/var/library")), Some("ext4"));
        assert_eq!(kind_of(info, Path::new("/var/lib/my data/x")), Some("xfs"));
    }
}
