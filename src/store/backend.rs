//! The seam between the store and the database under it.
//!
//! A database is one folder that implements [`Backend`] and one function that opens it. What is here and beside
//! it knows no SQL: typed inputs and answers, the queue, the threads, group commit. A trait object and not an
//! enum of databases, which would repeat every operation in a `match`; and one trait for each group of
//! operations, so that an implementation can be as many files, and each reads beside its types.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::StoreError;
use super::alerts::Alerts;
use super::commit::Commits;
use super::explain::Trail;
use super::fallback::Fallbacks;
use super::folds::Folds;
use super::health::Health;
use super::listing::Listing;
use super::refusals::Refusals;
use super::rows::Rows;
use super::upkeep::Upkeep;
use super::waits::Waits;

/// What runs inside a transaction.
pub(super) type Work<'a> = dyn FnMut(&mut dyn Backend) -> Result<(), StoreError> + 'a;

/// Receivers that have new rows once a transaction is on disk.
pub(super) type Woken = BTreeSet<Arc<str>>;

/// One connection to a database, used by one thread.
pub(super) trait Backend:
    Commits + Rows + Waits + Folds + Refusals + Fallbacks + Alerts + Listing + Trail + Upkeep + Send
{
    /// Runs `work` in one transaction that is on disk afterwards. Where the database can do something about a
    /// failure, it runs `work` again.
    fn transaction(&mut self, work: &mut Work<'_>) -> Result<Woken, StoreError>;

    /// Inside a transaction: an error of `work` undoes `work` alone, and is for `work` to report. `Err`: the
    /// transaction as a whole has failed.
    fn nested(&mut self, work: &mut Work<'_>) -> Result<(), StoreError>;

    /// Runs `work`, which manages its transactions itself, and runs it again as [`Self::transaction`] does.
    fn alone(&mut self, work: &mut Work<'_>) -> Result<(), StoreError>;

    /// Runs queries that see one state.
    fn snapshot(&mut self, work: &mut Work<'_>) -> Result<(), StoreError>;

    /// What is to be done before the connection is dropped.
    fn close(&mut self);
}

/// An opened database.
pub(super) struct Opened {
    /// `None`: only for reading.
    pub writer: Option<Box<dyn Backend>>,
    /// Empty: queries take their turn with the writes.
    pub readers: Vec<Box<dyn Backend>>,
    pub health: Arc<Health>,
}
