//! What must survive: incidents, small facts, the outbox, and the history of decisions.
//!
//! A [`Store`] is a handle; the SQLite connection belongs to one writer thread, which takes jobs
//! from a bounded queue and commits what is waiting in one transaction (group commit). Queries go
//! to reader threads with connections of their own. Every method returns a [`Call`]: `.await` it,
//! or [`Call::wait`] for it where there is no runtime. A call that returned `Ok` is on disk, unless
//! [`StoreHealth::in_memory`] says otherwise.
//!
//! # When the disk fails
//!
//! With a [`Budget`], a transaction that fails for want of room is tried again after the reserve file
//! was given up, and again after the oldest history was dropped; one that fails otherwise is tried
//! again once. If that does not help, the tables that are needed are copied into temporary tables of
//! the same names in memory, which hide those of the file from every statement (`memory`): everything
//! goes on as before, up to [`Budget::memory_bytes`], and is written to the file in one transaction as
//! soon as that succeeds ([`Store::mend`]). A crash before loses what was decided meanwhile; it is then
//! decided again, and may be sent twice.
//!
//! A file that is found damaged ends the store, and with it the process; the next start sets the file
//! aside and carries over what can be read (`salvage`).
//!
//! All SQL is in this module and below. Nothing outside may know that it is SQLite.

mod alerts;
mod amend;
mod annotations;
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
mod health;
mod history;
mod inline;
mod limits;
mod listing;
mod memory;
mod outbox_rows;
mod place;
mod recipients;
mod refusals;
mod room;
mod salvage;
mod schema;
mod shared_access;
mod silences;
mod sqlite;
mod trouble;
mod upkeep;
mod value;
mod waits;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::Notify;

pub use self::alerts::OpenAlert;
pub use self::amend::DelayedRows;
pub use self::annotations::AnnotationRow;
pub use self::call::{Call, Pending};
pub use self::commit::{Commit, Committed, DigestRow, IncidentRow, NotQueued};
pub use self::dead::{DeadLetter, DeadLetterBody};
pub use self::disk::{Disk, Held, LockError, RealDisk};
pub use self::error::StoreError;
pub use self::explain::{
    Delivery, IncidentMatch, IncidentRecord, KnownObject, ObjectQuery, ObjectRow, Throttle,
};
pub use self::fault::{Faults, Point};
pub use self::folds::{FoldClaim, FoldQuery, FoldRow};
pub use self::health::{Dropped, SetAside, StoreHealth};
pub use self::history::{HistoryEntry, HistoryQuery, HistoryRow};
pub use self::limits::{MAX_DETAIL, MAX_INCIDENT, MAX_NOTIFICATION, MAX_PART, MAX_TITLE};
pub use self::listing::{OutboxEntry, OutboxItem, OutboxQuery, OutboxStates};
pub use self::outbox_rows::{
    ChooseRow, Claim, ClaimNext, Gate, HeadRow, Heads, Interrupted, Settle, Settled,
};
pub use self::refusals::Refusal;
pub use self::room::Budget;
pub use self::shared_access::SharedAccess;
pub use self::silences::SilenceRow;
pub use self::upkeep::{Pruned, ReceiverSize, Retention, Sizes};

use self::call::Lane;
use self::health::Health;
use self::inline::Inline;
use self::sqlite::{Opened, Queue};
use self::worker::{Session, Wakers};
use crate::clock;

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
    /// How large it may grow, and what it may do to go on when the disk fails; `None`: as large as
    /// the disk lets it, and errors of the disk are returned.
    pub budget: Option<Budget>,
    /// The time at opening.
    pub now: Timestamp,
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
            budget: None,
            now: clock::now(),
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
    health: Arc<Health>,
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

    pub fn open_with(options: &Options) -> Result<Self, StoreError> {
        let wakers = Arc::new(Wakers::default());
        let opened = sqlite::open(options, &wakers)?;
        Ok(Self::over(options.clone(), wakers, opened))
    }

    fn over(options: Options, wakers: Arc<Wakers>, opened: Opened) -> Self {
        let Opened { writer, reader, write_thread, read_threads, inline, health } = opened;
        Self {
            inner: Arc::new(Inner {
                path: options.path,
                writer,
                reader,
                write_thread: Mutex::new(write_thread),
                read_threads: Mutex::new(read_threads),
                inline,
                health,
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
        self.inner.health.is_damaged() || self.inner.writer.as_ref().is_none_or(Queue::is_closed)
    }

    /// How it keeps things right now.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.inner.health.get()
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
        if self.inner.health.is_damaged() {
            return None;
        }
        match lane {
            // What is kept in memory only its owner sees.
            Lane::Read if self.inner.health.is_in_memory() => self.inner.writer.as_ref(),
            Lane::Read => self.inner.reader.as_ref().or(self.inner.writer.as_ref()),
            Lane::Write => self.inner.writer.as_ref(),
        }
    }

    fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Write, name, false, work)
    }

    /// For what manages its transactions itself.
    fn write_alone<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Write, name, true, work)
    }

    fn read<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Read, name, false, work)
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
