//! Rows that are told together, inside one summary.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::history::{self, HistoryRow};
use super::limits::MAX_FOLDED;
use super::outbox_rows::{self, BODY, Settle};
use super::value::{limit, micros, time};
use super::worker::Session;
use super::{Call, Store, StoreError, refusals};
use crate::message::Notification;

/// So many rows of one thread are looked at, at most; what is behind them waits.
const MAX_ROWS_OF_A_THREAD: usize = 50;

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

impl Store {
    /// The rows that could be told together now: of each thread whose oldest row is due, all that
    /// wait, in order. Threads with a row that this version cannot read are left out.
    pub fn foldable(&self, query: FoldQuery) -> Call<Vec<FoldRow>> {
        self.read("look for rows to fold", move |s| foldable(s, &query))
    }

    /// The waiting rows of a summary that was claimed before. `None`: this version cannot read all.
    pub fn folded(&self, receiver: &Arc<str>, key: &str) -> Call<Option<Vec<FoldRow>>> {
        let (receiver, key) = (Arc::clone(receiver), key.to_owned());
        self.read("read the rows of a summary", move |s| folded(s, &receiver, &key))
    }

    /// Marks all of `seqs` as `sending` inside the summary `key`, or none: `None` if one of them is
    /// not there to be claimed any more.
    pub fn claim_fold(&self, key: &str, seqs: Vec<i64>, now: Timestamp) -> Call<Option<FoldClaim>> {
        let key = key.to_owned();
        self.write("claim a summary", move |s| claim(s, &key, &seqs, now))
    }

    /// Queues the rows of a summary each for itself.
    pub fn unfold(&self, receiver: &Arc<str>, key: &str) -> Call<usize> {
        let (receiver, key) = (Arc::clone(receiver), key.to_owned());
        self.write("take a summary apart", move |s| {
            s.conn
                .prepare_cached(
                    "UPDATE outbox SET inside = NULL, alone = 1
                     WHERE inside = ?2 AND receiver = ?1 AND state = 'queued'",
                )
                .and_then(|mut q| q.execute((&*receiver, &key)))
                .map_err(s.error("take a summary apart"))
        })
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
        self.write("settle a summary", move |s| settle(s, &receiver, &key, &what, told.as_ref(), now))
    }
}

pub(super) const FOLDABLE: &str = "SELECT thread FROM outbox
     WHERE receiver = ?1 AND recipient = ?5 AND state = 'queued' AND head = 1 AND not_before <= ?2
         AND queued_at > ?3 AND summary = 0 AND alone = 0 AND inside IS NULL
     ORDER BY seq LIMIT ?4";

fn foldable(s: &Session, query: &FoldQuery) -> Result<Vec<FoldRow>, StoreError> {
    let failed = s.error("look for rows to fold");
    let threads: Vec<String> = s
        .conn
        .prepare_cached(FOLDABLE)
        .and_then(|mut q| {
            q.query_map(
                (
                    &*query.receiver,
                    micros(query.now),
                    micros(query.queued_after),
                    limit(query.threads),
                    &*query.recipient,
                ),
                |r| r.get(0),
            )?
            .collect()
        })
        .map_err(&failed)?;
    let mut rows = Vec::new();
    let mut bytes = 0;
    let mut of_thread = s
        .conn
        .prepare_cached(&format!(
            "SELECT seq, {BODY}, state = 'queued' AND alone = 0 AND inside IS NULL FROM outbox
             WHERE receiver = ?1 AND thread = ?2 AND recipient = ?4 AND state IN ('queued', 'sending')
             ORDER BY seq LIMIT ?3"
        ))
        .map_err(&failed)?;
    for thread in threads {
        // What is left for later is told later: it is at the head of its thread then, as it is now.
        if bytes > MAX_FOLDED {
            break;
        }
        let found: Vec<(i64, String, bool)> = of_thread
            .query_map((&*query.receiver, &thread, limit(MAX_ROWS_OF_A_THREAD), &*query.recipient), |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?))
            })
            .and_then(Iterator::collect)
            .map_err(&failed)?;
        bytes += found.iter().map(|(_, body, _)| body.len()).sum::<usize>();
        // Up to the first that cannot be folded: what is behind it must not overtake it.
        let readable = found.into_iter().map_while(|(seq, body, free)| read(seq, &body).filter(|_| free));
        rows.extend(readable);
    }
    Ok(rows)
}

fn folded(s: &Session, receiver: &str, key: &str) -> Result<Option<Vec<FoldRow>>, StoreError> {
    let found: Vec<(i64, String)> = s
        .conn
        .prepare_cached(&format!(
            "SELECT seq, {BODY} FROM outbox
             WHERE inside = ?2 AND receiver = ?1 AND state = 'queued' ORDER BY seq"
        ))
        .and_then(|mut q| q.query_map((receiver, key), |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(s.error("read the rows of a summary"))?;
    Ok(found.into_iter().map(|(seq, body)| read(seq, &body)).collect())
}

/// A summary lists incidents, so a row without one cannot be told inside it.
fn read(seq: i64, body: &str) -> Option<FoldRow> {
    let notification: Box<Notification> = serde_json::from_str(body).ok()?;
    notification.incident()?;
    Some(FoldRow { seq, notification })
}

fn claim(s: &Session, key: &str, seqs: &[i64], now: Timestamp) -> Result<Option<FoldClaim>, StoreError> {
    let failed = s.error("claim a summary");
    s.conn.execute_batch("SAVEPOINT fold").map_err(&failed)?;
    let claimed = claim_each(s, key, seqs, now);
    let end = match claimed {
        Ok(Some(_)) => "RELEASE fold",
        Ok(None) | Err(_) => "ROLLBACK TO fold; RELEASE fold",
    };
    // Where the statement made SQLite give up the transaction, the savepoint went with it.
    if !s.conn.is_autocommit() {
        s.conn.execute_batch(end).map_err(&failed)?;
    }
    claimed
}

fn claim_each(s: &Session, key: &str, seqs: &[i64], now: Timestamp) -> Result<Option<FoldClaim>, StoreError> {
    let failed = s.error("claim a summary");
    let mut update = s
        .conn
        .prepare_cached(
            "UPDATE outbox SET state = 'sending', attempts = attempts + 1, claimed_at = ?2, inside = ?3
             WHERE seq = ?1 AND state = 'queued' AND (inside IS NULL OR inside = ?3)
             RETURNING attempts, queued_at",
        )
        .map_err(&failed)?;
    let mut claim: Option<FoldClaim> = None;
    for seq in seqs {
        let row = update
            .query_map((seq, micros(now), key), |r| {
                Ok(FoldClaim { attempt: r.get(0)?, queued_at: time(r, 1)? })
            })
            .and_then(|mut rows| rows.next().transpose())
            .map_err(&failed)?;
        let Some(row) = row else { return Ok(None) };
        claim = Some(match claim {
            None => row,
            // The least: rows may have been attempted by themselves before.
            Some(c) => {
                FoldClaim { attempt: c.attempt.min(row.attempt), queued_at: c.queued_at.min(row.queued_at) }
            }
        });
    }
    Ok(claim)
}

fn settle(
    s: &Session,
    receiver: &str,
    key: &str,
    what: &Settle,
    told: Option<&HistoryRow>,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let failed = s.error("settle a summary");
    match what {
        Settle::Delivered { .. } => {
            let sql = "UPDATE outbox SET state = 'delivered', head = 0, reason = '', ended_at = ?3, body = ''
                 WHERE inside = ?2 AND receiver = ?1 AND state = 'sending'
                 RETURNING recipient, thread";
            let ended: Vec<Ended> = s
                .conn
                .prepare_cached(sql)
                .and_then(|mut q| q.query_map((receiver, key, micros(now)), ended)?.collect())
                .map_err(&failed)?;
            for (recipient, thread) in &ended {
                let holder = outbox_rows::holder(receiver, recipient);
                outbox_rows::keep_handle(s, &holder, thread, None, now)?;
            }
            advance_all(s, receiver, &ended)?;
            history::insert(s, told)?;
            Ok(ended.len())
        }
        Settle::Retry { not_before, reason, gate } => {
            let changed = queue_again(s, receiver, key, *not_before, reason)?;
            outbox_rows::keep_gate(s, gate.as_ref(), reason)?;
            Ok(changed)
        }
        Settle::Refused { until, reason } => {
            let changed = queue_again(s, receiver, key, Timestamp::UNIX_EPOCH, reason)?;
            if changed > 0 {
                refusals::keep(s, receiver, *until, reason, now)?;
            }
            Ok(changed)
        }
        Settle::Dead { reason } => {
            let sql = "UPDATE outbox SET state = 'dead', head = 0, reason = ?4, ended_at = ?3
                 WHERE inside = ?2 AND receiver = ?1 AND state = 'sending'
                 RETURNING recipient, thread";
            let ended: Vec<Ended> = s
                .conn
                .prepare_cached(sql)
                .and_then(|mut q| q.query_map((receiver, key, micros(now), reason), ended)?.collect())
                .map_err(&failed)?;
            advance_all(s, receiver, &ended)?;
            Ok(ended.len())
        }
    }
}

/// The recipient and the thread of a row.
type Ended = (String, String);

fn ended(r: &rusqlite::Row<'_>) -> rusqlite::Result<Ended> {
    Ok((r.get(0)?, r.get(1)?))
}

fn queue_again(
    s: &Session,
    receiver: &str,
    key: &str,
    not_before: Timestamp,
    reason: &str,
) -> Result<usize, StoreError> {
    s.conn
        .prepare_cached(
            "UPDATE outbox SET state = 'queued', not_before = ?3, reason = ?4
             WHERE inside = ?2 AND receiver = ?1 AND state = 'sending'",
        )
        .and_then(|mut q| q.execute((receiver, key, micros(not_before), reason)))
        .map_err(s.error("settle a summary"))
}

fn advance_all(s: &Session, receiver: &str, ended: &[Ended]) -> Result<(), StoreError> {
    for (recipient, thread) in ended.iter().collect::<BTreeSet<_>>() {
        outbox_rows::advance(s, receiver, recipient, thread)?;
    }
    Ok(())
}
