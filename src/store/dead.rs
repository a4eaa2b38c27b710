//! Dead letters: kept, listed, sent again or dropped by people.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::outbox_rows::{self, BODY, NewRow};
use super::value::{limit, time, time_opt};
use super::worker::Session;
use super::{Call, Store, StoreError};
use crate::message::Notification;

/// A notification that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the order of insertion; pages go by it.
    pub seq: i64,
    /// The idempotency key: names it everywhere.
    pub key: String,
    /// Who was to be told.
    pub receiver: String,
    /// Whom of the receiver; empty where it is one destination.
    pub recipient: String,
    /// The incident, or `summary`.
    pub thread: String,
    pub attempts: u32,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it was given up.
    pub dead_at: Option<Timestamp>,
    /// Why it was given up.
    pub reason: String,
    /// Its one line; empty if it cannot be read.
    pub title: String,
}

/// A dead letter with what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterBody {
    pub letter: DeadLetter,
    /// What it says; `Err`: this version cannot read it, and why.
    pub notification: Result<Box<Notification>, String>,
}

// A body no version can read must not fail the list of all others.
const COLUMNS: &str = "seq, key, receiver, thread, attempts, created_at, ended_at, reason,
     CASE WHEN json_valid(said) THEN coalesce(json_extract(said, '$.title'), '') ELSE '' END, recipient, said";

/// The rows that meet `condition`, by `seq`, with what they say.
fn rows(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM (SELECT *, {BODY} AS said FROM outbox WHERE {condition}) ORDER BY seq")
}

fn letter(r: &rusqlite::Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        seq: r.get(0)?,
        key: r.get(1)?,
        receiver: r.get(2)?,
        thread: r.get(3)?,
        attempts: r.get(4)?,
        created_at: time(r, 5)?,
        dead_at: time_opt(r, 6)?,
        reason: r.get(7)?,
        title: r.get(8)?,
        recipient: r.get(9)?,
    })
}

impl Store {
    /// Dead letters, oldest first, after row `after` (0: from the start), of one receiver or of all.
    pub fn dead_letters(&self, receiver: Option<&str>, after: i64, at_most: usize) -> Call<Vec<DeadLetter>> {
        let receiver = receiver.map(str::to_owned);
        self.read("list dead letters", move |s| {
            let sql =
                rows("state = 'dead' AND seq > ?1 AND (?2 IS NULL OR receiver = ?2) ORDER BY seq LIMIT ?3");
            s.conn
                .prepare_cached(&sql)
                .and_then(|mut q| q.query_map((after, &receiver, limit(at_most)), letter)?.collect())
                .map_err(s.error("list dead letters"))
        })
    }

    /// One dead letter with what it says.
    pub fn dead_letter(&self, key: &str) -> Call<Option<DeadLetterBody>> {
        let key = key.to_owned();
        self.read("read a dead letter", move |s| {
            let sql = rows("key = ?1 AND state = 'dead'");
            let row = s
                .conn
                .prepare_cached(&sql)
                .and_then(|mut q| {
                    q.query_row([&key], |r| Ok((letter(r)?, r.get::<_, String>(10)?))).optional()
                })
                .map_err(s.error("read a dead letter"))?;
            Ok(row.map(|(letter, body)| DeadLetterBody {
                letter,
                notification: serde_json::from_str(&body).map(Box::new).map_err(|e| e.to_string()),
            }))
        })
    }

    /// Queues a dead letter again, as the last of its thread and with its age counted anew: what
    /// came after it has been told meanwhile. If it was refused inside a summary, it is told by
    /// itself now: the same summary would be refused again. `false`: there is no such dead letter.
    pub fn resend_dead(&self, key: &str, now: Timestamp) -> Call<bool> {
        let key = key.to_owned();
        self.write("send a dead letter again", move |s| resend(s, &key, now))
    }

    /// Forgets a dead letter. `false`: there is no such dead letter.
    pub fn drop_dead(&self, key: &str) -> Call<bool> {
        let key = key.to_owned();
        self.write("drop a dead letter", move |s| {
            s.conn
                .prepare_cached("DELETE FROM outbox WHERE key = ?1 AND state = 'dead'")
                .and_then(|mut q| q.execute([&key]))
                .map(|n| n > 0)
                .map_err(s.error("drop a dead letter"))
        })
    }
}

fn resend(s: &mut Session, key: &str, now: Timestamp) -> Result<bool, StoreError> {
    let failed = s.error("send a dead letter again");
    let row = s
        .conn
        .prepare_cached(&format!(
            "SELECT receiver, recipient, thread, summary, created_at, {BODY}, inside IS NOT NULL, content
             FROM outbox WHERE key = ?1 AND state = 'dead'"
        ))
        .and_then(|mut q| {
            q.query_row([key], |r| {
                let receiver: String = r.get(0)?;
                let created: i64 = r.get(4)?;
                let row = NewRow {
                    key: key.to_owned(),
                    receiver: Arc::from(receiver),
                    recipient: r.get(1)?,
                    thread: r.get(2)?,
                    summary: r.get(3)?,
                    at: now,
                    not_before: None,
                    body: r.get(5)?,
                    content: r.get(7)?,
                };
                Ok((row, created, r.get::<_, bool>(6)?))
            })
            .optional()
        })
        .map_err(&failed)?;
    let Some((row, created, alone)) = row else { return Ok(false) };
    s.conn
        .prepare_cached("DELETE FROM outbox WHERE key = ?1")
        .and_then(|mut q| q.execute([key]))
        .map_err(&failed)?;
    outbox_rows::insert(s, &row)?;
    s.conn
        .prepare_cached("UPDATE outbox SET created_at = ?2, alone = ?3 WHERE key = ?1")
        .and_then(|mut q| q.execute((key, created, alone)))
        .map_err(&failed)?;
    Ok(true)
}
