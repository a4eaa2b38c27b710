//! Where the file lives: one process at a time, and file systems that cannot share memory.

use std::fs;
use std::io;
use std::path::Path;

use super::StoreError;
use super::disk::{self, Disk, Held, LockError};

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

/// What [`Disk::is_network`] asks, by the mounts of this machine.
pub(super) fn is_network(path: &Path) -> bool {
    let Ok(dir) = disk::directory(path).canonicalize() else { return false };
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    kind_of(&mounts, &dir).is_some_and(|kind| {
        ["nfs", "cifs", "smb", "ceph", "9p", "gluster", "lustre", "afs", "fuse.", "virtiofs"]
            .iter()
            .any(|n| kind.starts_with(n))
    })
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
