//! Rows that are told together, inside one summary.

use std::sync::Arc;

use jiff::Timestamp;

use super::history::HistoryRow;
use super::rows::Settle;
use super::{Call, Store, StoreError};
use crate::message::Notification;

/// Which rows may be told together.
#[derive(Debug, Clone)]
pub struct FoldQuery {
    pub receiver: Arc<str>,
    /// A summary is for one recipient.
    pub recipient: Arc<str>,
    pub now: Timestamp,
    /// Queued after this: what is too old is given up, not told.
    pub queued_after: Timestamp,
    /// At most so many threads, oldest first.
    pub threads: usize,
}

/// A row to be told inside a summary.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldRow {
    /// Its place in the order of insertion.
    pub seq: i64,
    pub notification: Box<Notification>,
}

/// The rows of a summary are `sending` now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldClaim {
    pub attempt: u32,
    /// When the oldest of them was queued.
    pub queued_at: Timestamp,
}

pub(super) trait Folds {
    fn foldable(&mut self, query: &FoldQuery) -> Result<Vec<FoldRow>, StoreError>;
    fn folded(&mut self, receiver: &str, key: &str) -> Result<Option<Vec<FoldRow>>, StoreError>;
    fn claim_fold(
        &mut self,
        key: &str,
        seqs: &[i64],
        now: Timestamp,
    ) -> Result<Option<FoldClaim>, StoreError>;
    fn unfold(&mut self, receiver: &str, key: &str) -> Result<usize, StoreError>;
    fn settle_fold(
        &mut self,
        receiver: &str,
        key: &str,
        what: &Settle,
        told: Option<&HistoryRow>,
        now: Timestamp,
    ) -> Result<usize, StoreError>;
}

impl Store {
    /// The rows that could be told together now: of each thread whose oldest row is due, all that
    /// wait, in order. Threads with a row that this version cannot read are left out.
    pub fn foldable(&self, query: FoldQuery) -> Call<Vec<FoldRow>> {
        self.read("look for rows to fold", move |s| s.foldable(&query))
    }

    /// The waiting rows of a summary that was claimed before. `None`: this version cannot read all.
    pub fn folded(&self, receiver: &Arc<str>, key: &str) -> Call<Option<Vec<FoldRow>>> {
        let (receiver, key) = (Arc::clone(receiver), key.to_owned());
        self.read("read the rows of a summary", move |s| s.folded(&receiver, &key))
    }

    /// Marks all of `seqs` as `sending` inside the summary `key`, or none: `None` if one of them is
    /// not there to be claimed any more.
    pub fn claim_fold(&self, key: &str, seqs: Vec<i64>, now: Timestamp) -> Call<Option<FoldClaim>> {
        let key = key.to_owned();
        self.write("claim a summary", move |s| s.claim_fold(&key, &seqs, now))
    }

    /// Queues the rows of a summary each for itself.
    pub fn unfold(&self, receiver: &Arc<str>, key: &str) -> Call<usize> {
        let (receiver, key) = (Arc::clone(receiver), key.to_owned());
        self.write("take a summary apart", move |s| s.unfold(&receiver, &key))
    }

    /// Records how a summary fared, for all its rows at once. Returns how many rows changed.
    pub fn settle_fold(
        &self,
        receiver: &Arc<str>,
        key: &str,
        what: Settle,
        told: Option<HistoryRow>,
        now: Timestamp,
    ) -> Call<usize> {
        let (receiver, key) = (Arc::clone(receiver), key.to_owned());
        self.write("settle a summary", move |s| s.settle_fold(&receiver, &key, &what, told.as_ref(), now))
    }
}
