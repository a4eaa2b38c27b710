//! What must survive: incidents, small facts, the outbox, and the history of decisions.
//!
//! A [`Store`] is a handle; the SQLite connection belongs to one writer thread, which takes jobs
//! from a bounded queue and commits what is waiting in one transaction (group commit). Queries go
//! to reader threads with connections of their own. Every method returns a [`Call`]: `.await` it,
//! or [`Call::wait`] for it where there is no runtime. A call that returned `Ok` is on disk.
//!
//! All SQL is in this module and below. Nothing outside may know that it is SQLite.

mod amend;
mod beside;
mod call;
mod commit;
mod dead;
mod disk;
mod error;
mod explain;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod folds;
mod history;
mod inline;
mod limits;
mod listing;
mod outbox_rows;
mod place;
mod schema;
mod silences;
mod sqlite;
mod upkeep;
mod value;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::Notify;

pub use self::amend::Holds;
pub use self::beside::Beside;
pub use self::call::{Call, Pending};
pub use self::commit::{Commit, DigestRow, IncidentRow};
pub use self::dead::{DeadLetter, DeadLetterBody};
pub use self::disk::{Disk, Held, LockError, RealDisk};
pub use self::error::StoreError;
pub use self::explain::{Concerned, Delivery, IncidentRecord, KnownObject, ObjectQuery, ObjectRow, Peace};
pub use self::fault::{Faults, Point};
pub use self::folds::{FoldClaim, FoldQuery, FoldRow};
pub use self::history::{HistoryEntry, HistoryQuery, HistoryRow};
pub use self::limits::{MAX_DETAIL, MAX_INCIDENT, MAX_NOTIFICATION, MAX_PART, MAX_TITLE};
pub use self::listing::{OutboxEntry, OutboxItem, OutboxQuery, OutboxStates};
pub use self::outbox_rows::{Ahead, Choose, Claim, Gate, HeadRow, Heads, Interrupted, Settle, Settled};
pub use self::silences::SilenceRow;
pub use self::upkeep::{Pruned, ReceiverSize, Retention, Sizes};

use self::call::Lane;
use self::inline::Inline;
use self::sqlite::{Opened, Queue};
use self::worker::{Session, Wakers};

/// What a finished write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Loss of power: each group of commits is flushed to the disk.
    #[default]
    Power,
    /// The end of the process, however it ends, but not of the machine. For tests.
    Process,
}

/// Who runs the statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// Threads of the store's own.
    #[default]
    Threads,
    /// A task of the runtime in which it is opened, and one connection. For simulations: nothing
    /// happens beside the runtime's own thread.
    Inline,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file, made if missing (its directory is not); `None`: in memory, gone at exit.
    pub path: Option<PathBuf>,
    /// What a finished write survives.
    pub durability: Durability,
    /// Use one connection only, even on a local file system. Chosen by itself on network ones.
    pub exclusive: bool,
    /// Who runs the statements.
    pub driver: Driver,
    /// Where the file is.
    pub disk: Arc<dyn Disk>,
    /// For tests.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: None,
            durability: Durability::default(),
            exclusive: false,
            driver: Driver::default(),
            disk: Arc::new(RealDisk),
            faults: Faults::default(),
        }
    }
}

/// A handle to the store; clones share it. When the last handle is dropped, what was submitted is
/// finished and the file is closed before `drop` returns.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: Option<PathBuf>,
    writer: Option<Queue>,
    reader: Option<Queue>,
    write_thread: Mutex<Option<JoinHandle<()>>>,
    read_threads: Mutex<Vec<JoinHandle<()>>>,
    inline: Option<Arc<Inline>>,
    wakers: Arc<Wakers>,
    faults: Faults,
    cuts: Arc<limits::Cuts>,
}

impl Store {
    /// Opens or makes the file, for this process alone. Blocks: it may read and migrate the file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(&Options { path: Some(path.to_path_buf()), ..Options::default() })
    }

    /// A store that is gone when its last handle is.
    pub fn memory() -> Result<Self, StoreError> {
        Self::open_with(&Options::default())
    }

    /// Opens a store.
    pub fn open_with(options: &Options) -> Result<Self, StoreError> {
        let wakers = Arc::new(Wakers::default());
        let opened = sqlite::open(options, &wakers)?;
        Ok(Self::over(options.clone(), wakers, opened))
    }

    fn over(options: Options, wakers: Arc<Wakers>, opened: Opened) -> Self {
        let Opened { writer, reader, write_thread, read_threads, inline } = opened;
        Self {
            inner: Arc::new(Inner {
                path: options.path,
                writer,
                reader,
                write_thread: Mutex::new(write_thread),
                read_threads: Mutex::new(read_threads),
                inline,
                wakers,
                faults: options.faults,
                cuts: Arc::default(),
            }),
        }
    }

    /// The database file; `None` if in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// Told whenever rows of this receiver became ready: new ones, and dead letters sent again.
    /// Told once for many rows; it may be told without need.
    #[must_use]
    pub fn wakeups(&self, receiver: &Arc<str>) -> Arc<Notify> {
        self.inner.wakers.of(receiver)
    }

    /// Has the writer ended? Then nothing can be kept any more, and nothing may be sent.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.inner.writer.as_ref().is_none_or(Queue::is_closed)
    }

    /// The hook of crash tests.
    pub(crate) fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    fn cuts(&self) -> &Arc<limits::Cuts> {
        &self.inner.cuts
    }

    fn inline(&self) -> Option<Arc<Inline>> {
        self.inner.inline.clone()
    }

    fn lane(&self, lane: Lane) -> Option<&Queue> {
        match lane {
            Lane::Read => self.inner.reader.as_ref().or(self.inner.writer.as_ref()),
            Lane::Write => self.inner.writer.as_ref(),
        }
    }

    fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Write, name, work)
    }

    fn read<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Read, name, work)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Readers first: the last connection to close folds the write-ahead log into the file, and
        // only the writer can. A thread that panicked has nothing left to finish.
        drop(self.reader.take());
        for thread in self.read_threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            thread.join().ok();
        }
        drop(self.writer.take());
        if let Some(inline) = self.inline.take() {
            inline.finish();
        }
        let writer = self.write_thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = writer {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests;
