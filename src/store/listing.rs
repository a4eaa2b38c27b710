//! The outbox as people look at it, and what they do about dead letters.

use jiff::Timestamp;

use super::{Call, Store, StoreError};
use crate::message::Notification;

/// A row of the outbox, in whatever state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its place in the order of insertion; pages go by it.
    pub seq: i64,
    /// The idempotency key: names it everywhere.
    pub key: String,
    /// Who is to be told.
    pub receiver: String,
    /// Whom of the receiver; empty where it is one destination, or where the row has not been given out to
    /// recipients yet.
    pub recipient: String,
    /// The incident, or `summary`.
    pub thread: String,
    /// `queued`, `sending`, `delivered` or `dead`.
    pub state: String,
    pub attempts: u32,
    /// When it was decided.
    pub created_at: Timestamp,
    /// Not tried before this; `None` if it was never held.
    pub not_before: Option<Timestamp>,
    /// When it was delivered or given up.
    pub ended_at: Option<Timestamp>,
    /// Why the last attempt failed, or why it was given up.
    pub reason: String,
    /// The key of the summary it was (or is to be) told in.
    pub inside: Option<String>,
    /// Its one line; empty if it cannot be read, or is not kept any more.
    pub title: String,
}

/// Rows of which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutboxStates {
    /// What is owed, and what was given up.
    #[default]
    Undelivered,
    /// What was given up.
    Dead,
    /// All that is kept, also what was delivered.
    All,
}

/// Which rows, oldest first.
#[derive(Debug, Clone, Default)]
pub struct OutboxQuery {
    /// Only of this receiver.
    pub receiver: Option<String>,
    /// Only in these states.
    pub states: OutboxStates,
    /// Only those told inside this summary.
    pub inside: Option<String>,
    /// Newer than this row: the last `seq` of the page before.
    pub after: i64,
    /// At most this many.
    pub limit: usize,
}

/// A row with what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxItem {
    pub entry: OutboxEntry,
    /// What it says: `None` once it was delivered; `Err`: this version cannot read it, and why.
    pub notification: Option<Result<Box<Notification>, String>>,
}

pub(super) trait Listing {
    fn outbox(&mut self, query: &OutboxQuery) -> Result<Vec<OutboxEntry>, StoreError>;
    fn outbox_find(&mut self, key: &str, at_most: usize) -> Result<Vec<OutboxItem>, StoreError>;
    fn resend_dead(&mut self, key: &str, now: Timestamp) -> Result<bool, StoreError>;
    fn drop_dead(&mut self, key: &str) -> Result<bool, StoreError>;
}

impl Store {
    /// Rows of the outbox, oldest first.
    pub fn outbox(&self, query: OutboxQuery) -> Call<Vec<OutboxEntry>> {
        self.read("list the outbox", move |s| s.outbox(&query))
    }

    /// The rows whose key begins so, at most `at_most` of them, by key; an exact key stands alone.
    pub fn outbox_find(&self, key: &str, at_most: usize) -> Call<Vec<OutboxItem>> {
        let key = key.to_owned();
        self.read("look for a key", move |s| s.outbox_find(&key, at_most))
    }

    /// Queues a dead letter again, as the last of its thread and with its age counted anew: what
    /// came after it has been told meanwhile. If it was refused inside a summary, it is told by
    /// itself now: the same summary would be refused again. `false`: there is no such dead letter.
    pub fn resend_dead(&self, key: &str, now: Timestamp) -> Call<bool> {
        let key = key.to_owned();
        self.write("send a dead letter again", move |s| s.resend_dead(&key, now))
    }

    /// Forgets a dead letter. `false`: there is no such dead letter.
    pub fn drop_dead(&self, key: &str) -> Call<bool> {
        let key = key.to_owned();
        self.write("drop a dead letter", move |s| s.drop_dead(&key))
    }
}
