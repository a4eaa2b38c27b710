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
//! What is kept and asked for is named here and in the files beside this one, with typed inputs and
//! answers. The database under it is behind `backend`: SQL is in `sqlite` and nowhere else.

mod alerts;
mod backend;
mod call;
mod commit;
mod error;
mod explain;
mod fallback;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod folds;
mod health;
mod history;
mod inline;
mod limits;
mod listing;
mod refusals;
mod rows;
mod sqlite;
mod upkeep;
mod waits;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;

pub use self::alerts::OpenAlert;
pub use self::call::{Call, Pending};
pub use self::commit::{
    AnnotationRow, Commit, Committed, DelayedRows, DigestRow, IncidentRow, NotQueued, SilenceRow,
};
pub use self::error::StoreError;
pub use self::explain::{Delivery, IncidentMatch, IncidentRecord, KnownObject, ObjectQuery, ObjectRow};
pub use self::fallback::{Fallback, TakenOver};
pub use self::fault::{Faults, Point};
pub use self::folds::{FoldClaim, FoldQuery, FoldRow};
pub use self::health::{Dropped, SetAside, StoreHealth};
pub use self::history::{HistoryEntry, HistoryRow};
pub use self::limits::{MAX_DETAIL, MAX_INCIDENT, MAX_NOTIFICATION, MAX_PART, MAX_TITLE};
pub use self::listing::{OutboxEntry, OutboxItem, OutboxQuery, OutboxStates};
pub use self::refusals::{Outage, ReceiverOutage, Throttle};
pub use self::rows::{ChooseRow, Claim, ClaimNext, Gate, HeadRow, Heads, Interrupted, Settle, Settled};
pub use self::sqlite::{Budget, Disk, Held, LockError, RealDisk};
pub use self::upkeep::{Pruned, ReceiverSize, Retention, Sizes};

use self::backend::{Backend, Opened};
use self::call::Lane;
use self::inline::Inline;
use self::worker::{Queue, Workers};
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
    workers: Workers,
    faults: Faults,
    cuts: Arc<limits::Cuts>,
}

/// What a store beside the bot is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedAccess {
    /// To look at it; never writes, also where it could.
    Reading,
    /// To change dead letters.
    Writing,
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
        Self::over(options, sqlite::open(options)?)
    }

    /// Opens a file that is there, whether or not a bot has it open. What needs the writer fails
    /// with [`StoreError::Stopped`] where it is opened for reading.
    pub fn open_shared(path: &Path, access: SharedAccess) -> Result<Self, StoreError> {
        let options = Options { path: Some(path.to_path_buf()), ..Options::default() };
        Self::over(&options, sqlite::open_shared(path, access)?)
    }

    fn over(options: &Options, opened: Opened) -> Result<Self, StoreError> {
        let path = options.path.as_deref().unwrap_or(Path::new(":memory:"));
        let inner = Inner {
            path: options.path.clone(),
            workers: Workers::start(opened, options.driver, &options.faults, path)?,
            faults: options.faults.clone(),
            cuts: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Told whenever rows of this receiver became ready: new ones, and dead letters sent again.
    /// Told once for many rows; it may be told without need.
    pub fn wakeups(&self, receiver: &Arc<str>) -> Arc<Notify> {
        self.inner.workers.wakers.of(receiver)
    }

    /// Has the writer ended? Then nothing can be kept any more, and nothing may be sent.
    pub fn is_stopped(&self) -> bool {
        self.inner.workers.is_stopped()
    }

    /// How it keeps things right now.
    pub fn health(&self) -> StoreHealth {
        self.inner.workers.health.get()
    }

    /// The hook of crash tests.
    pub(crate) fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    fn cuts(&self) -> &Arc<limits::Cuts> {
        &self.inner.cuts
    }

    fn inline(&self) -> Option<Arc<Inline>> {
        self.inner.workers.inline.clone()
    }

    fn lane(&self, lane: Lane) -> Option<&Queue> {
        self.inner.workers.lane(lane)
    }

    fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut dyn Backend) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Write, name, false, work)
    }

    /// For what manages its transactions itself.
    fn write_alone<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut dyn Backend) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Write, name, true, work)
    }

    fn read<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut dyn Backend) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        Call::new(self, Lane::Read, name, false, work)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
