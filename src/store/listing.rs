//! The outbox as people look at it.

use jiff::Timestamp;

use super::outbox_rows::BODY;
use super::value::{limit, time, time_opt};
use super::worker::Session;
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

// A body no version can read must not fail the list of all others.
const COLUMNS: &str = "seq, key, receiver, thread, state, attempts, created_at, not_before, ended_at, reason,
     inside, CASE WHEN json_valid(said) THEN coalesce(json_extract(said, '$.title'), '') ELSE '' END,
     recipient, said";

/// The first rows of the outbox, by `order`, that meet `condition`. The
/// columns are those of [`entry`], then what the row says, then `more`.
pub(super) fn rows(condition: &str, order: &str, limit: &str, more: &str) -> String {
    format!(
        "SELECT {COLUMNS}{more}
         FROM (SELECT *, {BODY} AS said FROM outbox WHERE {condition} ORDER BY {order} LIMIT {limit})
         ORDER BY {order}"
    )
}

pub(super) fn entry(r: &rusqlite::Row<'_>) -> rusqlite::Result<OutboxEntry> {
    let not_before: i64 = r.get(7)?;
    Ok(OutboxEntry {
        seq: r.get(0)?,
        key: r.get(1)?,
        receiver: r.get(2)?,
        thread: r.get(3)?,
        state: r.get(4)?,
        attempts: r.get(5)?,
        created_at: time(r, 6)?,
        not_before: if not_before == 0 { None } else { time_opt(r, 7)? },
        ended_at: time_opt(r, 8)?,
        reason: r.get(9)?,
        inside: r.get(10)?,
        title: r.get(11)?,
        recipient: r.get(12)?,
    })
}

impl Store {
    /// Rows of the outbox, oldest first.
    pub fn outbox(&self, query: OutboxQuery) -> Call<Vec<OutboxEntry>> {
        self.read("list the outbox", move |s| list(s, &query))
    }

    /// The rows whose key begins so, at most `at_most` of them, by key; an exact key stands alone.
    pub fn outbox_find(&self, key: &str, at_most: usize) -> Call<Vec<OutboxItem>> {
        let key = key.to_owned();
        self.read("look for a key", move |s| find(s, &key, at_most))
    }
}

fn list(s: &Session, query: &OutboxQuery) -> Result<Vec<OutboxEntry>, StoreError> {
    let states = match query.states {
        OutboxStates::Undelivered => "state <> 'delivered'",
        OutboxStates::Dead => "state = 'dead'",
        OutboxStates::All => "1",
    };
    let sql = rows(
        &format!("seq > ?1 AND {states} AND (?2 IS NULL OR receiver = ?2) AND (?3 IS NULL OR inside = ?3)"),
        "seq",
        "?4",
        "",
    );
    s.conn
        .prepare_cached(&sql)
        .and_then(|mut q| {
            q.query_map((query.after, &query.receiver, &query.inside, limit(query.limit)), entry)?.collect()
        })
        .map_err(s.error("list the outbox"))
}

fn find(s: &Session, key: &str, at_most: usize) -> Result<Vec<OutboxItem>, StoreError> {
    // A range and not LIKE: keys may hold `_` and `%`, and the index on keys serves it.
    let sql = rows("key >= ?1 AND key < ?1 || char(1114111)", "key", "?2", "");
    let found: Vec<(OutboxEntry, String)> = s
        .conn
        .prepare_cached(&sql)
        .and_then(|mut q| q.query_map((key, limit(at_most)), |r| Ok((entry(r)?, r.get(13)?)))?.collect())
        .map_err(s.error("look for a key"))?;
    let mut items: Vec<OutboxItem> = found
        .into_iter()
        .map(|(entry, body)| OutboxItem {
            entry,
            notification: (!body.is_empty())
                .then(|| serde_json::from_str(&body).map(Box::new).map_err(|e| e.to_string())),
        })
        .collect();
    if items.first().is_some_and(|first| first.entry.key == key) {
        items.truncate(1);
    }
    Ok(items)
}
