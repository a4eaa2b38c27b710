//! Where the file lives: one process at a time, and file systems that cannot share memory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::disk::{self, Disk, Held, LockError};
use crate::store::StoreError;

/// Takes `PATH.lock`, which is held for as long as the store is open. A file beside the database and
/// not the database itself: SQLite has its own locks on that one, and a query from the command line
/// may read while the bot runs.
pub(super) fn lock(disk: &dyn Disk, path: &Path) -> Result<Held, StoreError> {
    let lock = disk::beside(path, ".lock");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let holder = format!("process {} on {}", std::process::id(), host.trim());
    disk.lock(&lock, &holder).map_err(|error| match error {
        LockError::Held(holder) => StoreError::InUse {
            path: path.to_path_buf(),
            holder: if holder.is_empty() { "unknown process".to_owned() } else { holder },
        },
        LockError::Io(error) => match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path: path.to_path_buf() },
            io::ErrorKind::StorageFull => StoreError::Full { path: path.to_path_buf() },
            _ => StoreError::Open {
                path: path.to_path_buf(),
                why: format!("{}: {error}", lock.display()),
                help: "check that its directory exists and that this user may write to it",
            },
        },
    })
}

/// Only the bot's own user reads what it keeps: messages, and the names of everything that failed.
pub(super) const PRIVATE: u32 = 0o600;

/// Makes the database file, if it is not there, and takes it and its log from everybody else, whatever
/// the umask was when they were made. SQLite gives new files beside it the mode of the database.
pub(super) fn prepare(path: &Path) -> io::Result<()> {
    File::options().create(true).truncate(false).write(true).mode(PRIVATE).open(path)?;
    for suffix in ["", "-wal", "-shm", "-journal"] {
        private(&disk::beside(path, suffix));
    }
    Ok(())
}

/// A file that belongs to somebody else stays as it is, and that is said.
pub(super) fn private(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let others = metadata.permissions().mode() & 0o077;
    if others == 0 {
        return;
    }
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)) {
        tracing::warn!(path = %path.display(), %error, "others can read this file, and that cannot be changed");
    }
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

/// What [`Disk::is_network`] asks, by the mounts of this machine.
pub(super) fn is_network(path: &Path) -> bool {
    let Ok(dir) = disk::directory(path).canonicalize() else { return false };
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
        let mode =
            |suffix: &str| fs::metadata(disk::beside(&path, suffix)).unwrap().permissions().mode() & 0o777;
        // Files that an earlier version made.
        for suffix in ["", "-wal", ".lock"] {
            fs::write(disk::beside(&path, suffix), b"").unwrap();
            fs::set_permissions(disk::beside(&path, suffix), fs::Permissions::from_mode(0o664)).unwrap();
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
