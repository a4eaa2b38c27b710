//! Rows of a receiver with several recipients: one for each of them.
//!
//! The commit knows receivers only. Right before its first attempt the dispatcher gives a row out to the
//! recipients of that moment; from then on each row has a fate of its own. The rows share one body.

use std::sync::Arc;

use jiff::Timestamp;

use super::outbox_rows;
use super::value::{limit, micros};
use super::worker::Session;
use super::{Call, Store, StoreError};

/// So many rows are given out in one transaction, at most.
const MAX_AT_ONCE: usize = 200;

/// A row that is due and names no recipient.
struct Due {
    seq: i64,
    key: String,
    thread: String,
    body: String,
}

impl Store {
    /// Makes a row for each of `recipients` of every due row of the receiver that names none. Returns how
    /// many rows there were, at most 200: then there may be more.
    pub fn give_out(&self, receiver: &Arc<str>, recipients: &[Arc<str>], now: Timestamp) -> Call<usize> {
        let (receiver, recipients) = (Arc::clone(receiver), recipients.to_vec());
        self.write("give rows out to recipients", move |s| give_out(s, &receiver, &recipients, now))
    }
}

fn give_out(
    s: &Session,
    receiver: &str,
    recipients: &[Arc<str>],
    now: Timestamp,
) -> Result<usize, StoreError> {
    if recipients.is_empty() {
        return Ok(0);
    }
    let failed = s.error("give rows out to recipients");
    let due: Vec<Due> = s
        .conn
        .prepare_cached(
            "SELECT seq, key, thread, body FROM outbox
             WHERE receiver = ?1 AND recipient = '' AND state = 'queued' AND head = 1 AND not_before <= ?2
             ORDER BY seq LIMIT ?3",
        )
        .and_then(|mut q| {
            q.query_map((receiver, micros(now), limit(MAX_AT_ONCE)), |r| {
                Ok(Due { seq: r.get(0)?, key: r.get(1)?, thread: r.get(2)?, body: r.get(3)? })
            })?
            .collect()
        })
        .map_err(&failed)?;
    for row in &due {
        let shared = recipients.len() > 1;
        if shared {
            s.conn
                .prepare_cached("INSERT INTO bodies (key, body) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING")
                .and_then(|mut q| q.execute((&row.key, &row.body)))
                .map_err(&failed)?;
        }
        for recipient in recipients {
            // A row of an earlier version may have been attempted: what is known of that goes along. It may
            // also have been part of a summary for all recipients, which there is no more.
            s.conn
                .prepare_cached(
                    "INSERT INTO outbox (key, receiver, recipient, thread, summary, state, head, attempts,
                         not_before, created_at, queued_at, claimed_at, reason, body, alone, content)
                     SELECT key || '/' || ?2, receiver, ?2, thread, summary, 'queued',
                         NOT EXISTS (SELECT 1 FROM outbox o
                             WHERE o.receiver = outbox.receiver AND o.thread = outbox.thread
                                 AND o.recipient = ?2 AND o.state IN ('queued', 'sending')),
                         attempts, not_before, created_at, queued_at, claimed_at, reason, ?3, alone, content
                     FROM outbox WHERE seq = ?1
                     ON CONFLICT (key) DO NOTHING",
                )
                .and_then(|mut q| {
                    q.execute((row.seq, &**recipient, if shared { "" } else { row.body.as_str() }))
                })
                .map_err(&failed)?;
        }
        s.conn
            .prepare_cached("DELETE FROM outbox WHERE seq = ?1")
            .and_then(|mut q| q.execute([row.seq]))
            .map_err(&failed)?;
        outbox_rows::advance(s, receiver, "", &row.thread)?;
    }
    Ok(due.len())
}

/// Removes bodies that no row needs any more, at most so many.
pub(super) fn prune_bodies(s: &Session, at_most: usize) -> Result<usize, StoreError> {
    s.conn
        .prepare_cached(
            "DELETE FROM bodies WHERE key IN (SELECT key FROM bodies b
                 WHERE NOT EXISTS (SELECT 1 FROM outbox o
                     WHERE o.key >= b.key || '/' AND o.key < b.key || '0' AND o.state <> 'delivered')
                 LIMIT ?1)",
        )
        .and_then(|mut q| q.execute([limit(at_most)]))
        .map_err(s.error("prune shared texts"))
}

#[cfg(test)]
impl Store {
    /// How many bodies are shared.
    pub(crate) fn bodies(&self) -> Call<u64> {
        self.read("count bodies", |s| {
            s.conn
                .query_row("SELECT count(*) FROM bodies", [], |r| super::value::count(r, 0))
                .map_err(s.error("count bodies"))
        })
    }
}
