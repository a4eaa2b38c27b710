//! What is done to files, and what can go wrong.

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    Size,
    Delete,
    Exists,
    Lock,
    /// Takes a lock file.
    LockFile,
    /// Makes a file of a given size.
    Allocate,
    Rename,
    /// Asks how much can still be written.
    Free,
}

impl Kind {
    /// Can it change what a later life finds?
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(
            self,
            Self::Open
                | Self::Write
                | Self::Truncate
                | Self::Sync
                | Self::Delete
                | Self::Allocate
                | Self::Rename
        )
    }
}

/// One operation, before it happens.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Counts from 1 over the life of the disk, restarts included.
    pub number: u64,
    /// What is done.
    pub kind: Kind,
    /// To which file.
    pub file: &'a str,
    /// Where in the file; 0 where that means nothing.
    pub offset: u64,
    /// How many bytes; 0 where that means nothing.
    pub len: usize,
}

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Error {
    /// No space left (ENOSPC).
    Full,
    /// The device failed (EIO), or the process that asks is dead.
    Io,
    /// There is no such file (ENOENT).
    Missing,
    /// Somebody else holds a lock.
    Busy,
}

/// What happens at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It is done.
    None,
    /// It fails and changes nothing. A failed flush leaves what was written for the next one.
    Error(Error),
    /// Of a write, only the first bytes reach the file; other operations fail.
    Short(usize, Error),
    /// A flush reaches the disk and fails all the same: whether it happened is not known to who asked.
    Synced,
    /// A flush fails, and what was written since the last one is not flushed by later ones either,
    /// although it can be read until the next crash (what Linux does after a failed write-back).
    SyncDropped,
    /// The process ends before it.
    KillBefore,
    /// The process ends after it.
    KillAfter,
}

/// What a crash leaves of the writes that were not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of them: the process ended, the machine did not.
    Nothing,
    /// None of them.
    Everything,
    /// The first ones, the last of these torn.
    Tail(u64),
    /// Any sectors of any of them.
    Sectors(u64),
}
