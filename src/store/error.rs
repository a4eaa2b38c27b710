//! What can go wrong with the store, in words that say what, where and what to do.

use std::path::PathBuf;
use std::sync::Arc;

/// A failure of the store. Cheap to clone: one failed transaction is told to everyone in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process (or another handle of this one) has the file.
    #[error(
        "the store {path} is in use by another kubeherald ({holder}): stop it, or give this one its own `store.path`",
        path = path.display()
    )]
    InUse {
        path: PathBuf,
        /// Who holds it, as far as it said so.
        holder: String,
    },
    /// The file cannot be opened or created.
    #[error("cannot open the store {path}: {why}; {help}", path = path.display())]
    Open {
        path: PathBuf,
        /// What the system said.
        why: String,
        help: &'static str,
    },
    /// The file or its file system cannot be written.
    #[error(
        "the store {path} is read-only: kubeherald must write to it and to its directory; check owner, mode and `readOnly` of the mount",
        path = path.display()
    )]
    ReadOnly { path: PathBuf },
    /// The file system is full.
    #[error("no space left for the store {path}: free some, or enlarge the volume", path = path.display())]
    Full { path: PathBuf },
    /// The disk failed to read or write.
    #[error("the disk of the store {path} failed to {doing}: {why}; look at the volume", path = path.display())]
    Disk { path: PathBuf, doing: &'static str, why: String },
    /// The file is damaged, or no SQLite database.
    #[error(
        "the store {path} is damaged or no database ({why}): restore it from a backup, or move it away to start with an empty one",
        path = path.display()
    )]
    Corrupt { path: PathBuf, why: String },
    /// A database, but not one of ours.
    #[error(
        "{path} is a database of another program: nothing was changed; give `store.path` a file of its own",
        path = path.display()
    )]
    Foreign { path: PathBuf },
    /// Written by a later version.
    #[error(
        "the store {path} has schema {found}, this kubeherald knows up to {known}: run the newer version, or restore the backup from before the upgrade",
        path = path.display()
    )]
    Newer {
        path: PathBuf,
        found: u32,
        /// The last schema this binary knows.
        known: u32,
    },
    /// Written by an earlier version, and not to be changed now.
    #[error(
        "the store {path} has schema {found}, this kubeherald needs {known}: start the bot with this version once, it brings the file up to date",
        path = path.display()
    )]
    Older {
        path: PathBuf,
        found: u32,
        /// The schema of this binary.
        known: u32,
    },
    /// A migration that was applied is not the one this binary has.
    #[error(
        "schema {version} of the store {path} is not the one this kubeherald has (checksum {found}, expected {expected}): it was made by a changed build; use that build, or move the file away",
        path = path.display()
    )]
    Tampered {
        path: PathBuf,
        version: u32,
        /// The checksum kept in the file.
        found: String,
        /// The checksum of the binary's own.
        expected: String,
    },
    /// Any other failure of a statement.
    #[error("the store failed to {doing}: {source}")]
    Statement { doing: &'static str, source: Arc<dyn std::error::Error + Send + Sync> },
    /// A value that cannot be written to or read from the store.
    #[error("the store holds or was given an unreadable {what}: {why}")]
    Value {
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The store's thread is gone: nothing can be kept any more.
    #[error("the store has stopped")]
    Stopped,
}

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Space,
    /// It fails, or may not be written.
    Device,
    /// What was read is no database.
    Damage,
}

impl StoreError {
    /// A short name, for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in_use",
            Self::Open { .. } => "open",
            Self::ReadOnly { .. } => "read_only",
            Self::Full { .. } => "full",
            Self::Disk { .. } => "disk",
            Self::Corrupt { .. } => "corrupt",
            Self::Foreign { .. } => "foreign",
            Self::Newer { .. } => "newer",
            Self::Older { .. } => "older",
            Self::Tampered { .. } => "tampered",
            Self::Statement { .. } => "sqlite",
            Self::Value { .. } => "value",
            Self::Stopped => "stopped",
        }
    }

    /// Is it the disk that has no room, fails, or may not be written? Then it may succeed later.
    pub const fn is_disk(&self) -> bool {
        matches!(self.trouble(), Some(Trouble::Space | Trouble::Device))
    }

    /// What is wrong with the disk, if that is what it says.
    pub(super) const fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Full { .. } => Some(Trouble::Space),
            Self::Disk { .. } | Self::ReadOnly { .. } | Self::Open { .. } => Some(Trouble::Device),
            Self::Corrupt { .. } => Some(Trouble::Damage),
            _ => None,
        }
    }
}
