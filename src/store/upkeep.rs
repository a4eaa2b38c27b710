//! What keeps the store bounded, and how large things are.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::{Call, Store, StoreError};

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// History rows younger than this…
    pub history_age: Duration,
    /// …and at most this many.
    pub history_rows: usize,
    /// Keys of delivered notifications, which keep a replay from repeating them.
    pub delivered_age: Duration,
    pub dead_age: Duration,
    /// What a thread's first delivery returned, after its last delivery.
    pub handle_age: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Retention {
    fn default() -> Self {
        Self {
            history_age: DAY.saturating_mul(30),
            history_rows: 1_000_000,
            delivered_age: DAY.saturating_mul(7),
            dead_age: DAY.saturating_mul(90),
            handle_age: DAY.saturating_mul(90),
        }
    }
}

impl Retention {
    /// How many rows of a kind one call removes at most: other writes wait meanwhile.
    pub const STEP: usize = 2_000;
}

/// What one call removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    pub history: usize,
    pub delivered: usize,
    pub dead: usize,
    pub handles: usize,
    /// Objects of incidents of which nothing else is kept.
    pub objects: usize,
}

impl Pruned {
    /// Is there probably more to remove? Then call again soon.
    pub fn is_full(&self) -> bool {
        let all = [self.history, self.delivered, self.dead, self.handles, self.objects];
        all.iter().any(|n| *n >= Retention::STEP)
    }
}

/// What one receiver is owed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceiverSize {
    pub receiver: String,
    pub queued: u64,
    /// Rows under way (at most one while its dispatcher runs).
    pub sending: u64,
    pub dead: u64,
    /// Since when the oldest open row waits.
    pub oldest: Option<Timestamp>,
}

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sizes {
    /// By receiver, those without open rows and dead letters left out.
    pub receivers: Vec<ReceiverSize>,
    pub incidents: u64,
    /// History rows (an upper bound: removed rows in between are not looked for).
    pub history: u64,
    /// Bytes of the database, without its log.
    pub bytes: u64,
    /// Rows that were shortened because they were too large, since the file was opened.
    pub cut: u64,
    /// Rows found too large to be read, since the file was opened.
    pub unread: u64,
}

pub(super) trait Upkeep {
    fn prune(&mut self, keep: &Retention, now: Timestamp) -> Result<Pruned, StoreError>;
    fn mend(&mut self) -> bool;
    /// Without [`Sizes::cut`] and [`Sizes::unread`].
    fn sizes(&mut self) -> Result<Sizes, StoreError>;
}

impl Store {
    /// Removes what is older than `keep` says or beyond the budget, at most [`Retention::STEP`] rows of a
    /// kind, gives free pages back, and makes the reserve if it is missing. Nothing while things are kept
    /// in memory only. To be called every minute, and again while [`Pruned::is_full`].
    pub fn prune(&self, keep: Retention, now: Timestamp) -> Call<Pruned> {
        self.write_alone("prune", move |s| s.prune(&keep, now))
    }

    /// While things are kept in memory only: tries to write them to the file. `true`: everything is on
    /// disk. To be called every few seconds, and less often while it fails: it writes everything anew.
    pub fn mend(&self) -> Call<bool> {
        self.write_alone("go back to the disk", |s| Ok(s.mend()))
    }

    /// How much is kept: for metrics, at scrape time.
    pub fn sizes(&self) -> Call<Sizes> {
        let cuts = Arc::clone(self.cuts());
        self.read("read sizes", move |s| {
            let (cut, unread) = (cuts.cut.load(Ordering::Relaxed), cuts.unread.load(Ordering::Relaxed));
            Ok(Sizes { cut, unread, ..s.sizes()? })
        })
    }
}
