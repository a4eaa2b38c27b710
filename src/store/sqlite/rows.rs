//! Rows of the outbox: queued, claimed, settled.

use std::sync::Arc;

use jiff::Timestamp;

use super::fallback;
use super::session::Session;
use super::value::{count, limit, micros, time, time_opt};
use crate::store::commit::NewRow;
use crate::store::refusals::Refusals;
use crate::store::rows::Rows;
use crate::store::{Claim, Gate, HeadRow, Heads, Interrupted, MAX_NOTIFICATION, Settle, StoreError};

/// What became of a new row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    Queued,
    /// The same message was committed under this key before.
    Replay,
    /// Another message has the key: this one was not queued.
    KeyTaken,
}

/// So many rows are given out in one transaction, at most.
const MAX_AT_ONCE: usize = 200;
/// The largest body that is read to be sent; twice what is written, for rows of earlier versions.
const MAX_CLAIMED: usize = 2 * MAX_NOTIFICATION;

/// What a row tells. Rows of several recipients share it. One that is too large to be read, which an
/// earlier version wrote, is as good as empty.
pub(super) const BODY: &str = "CASE WHEN octet_length(body) > 4194304 THEN ''
     WHEN octet_length(body) > 0 OR recipient = '' THEN body ELSE
     coalesce((SELECT b.body FROM bodies b
         WHERE b.key = substr(outbox.key, 1, length(outbox.key) - length(outbox.recipient) - 1)), '') END";

/// Every recipient with an open head, one step in the index for each.
const RECIPIENTS: &str = "WITH RECURSIVE r (x) AS (
         SELECT min(recipient) FROM outbox WHERE receiver = ?1 AND state = 'queued' AND head = 1
         UNION ALL
         SELECT (SELECT min(recipient) FROM outbox
             WHERE receiver = ?1 AND recipient > x AND state = 'queued' AND head = 1)
         FROM r WHERE x IS NOT NULL)
     SELECT x FROM r WHERE x IS NOT NULL";

pub(super) const DUE: &str =
    "SELECT seq, key, attempts, queued_at, reason, inside, NOT (alone OR summary OR stays = 2), stays = 2 FROM outbox
     WHERE receiver = ?1 AND state = 'queued' AND head = 1 AND not_before <= ?2 AND recipient = ?3
     ORDER BY seq LIMIT 1";

const PROBE: &str = "SELECT seq, key, attempts, queued_at, reason, inside, NOT (alone OR summary OR stays = 2), stays = 2 FROM outbox
     WHERE receiver = ?1 AND state = 'queued' AND head = 1 AND not_before <= ?2 AND recipient = ?3
     ORDER BY attempts, seq LIMIT 1";

impl Rows for Session {
    fn heads(
        &mut self,
        receiver: &str,
        gate: &str,
        held: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Heads, StoreError> {
        let doing = "look for the next row";
        let (asked, refused, times): (_, Option<Timestamp>, Option<u32>) = self.one(
            doing,
            "SELECT (SELECT not_before FROM receiver_state WHERE receiver = ?1),
                 (SELECT not_before FROM refusals WHERE receiver = ?2),
                 (SELECT attempts FROM refusals WHERE receiver = ?2)",
            [gate, receiver],
            |r| Ok((time_opt(r, 0)?, time_opt(r, 1)?, r.get(2)?)),
        )?;
        // A receiver that refuses is tried with another row each time: it may be the row after all.
        let sql = if refused.is_some() { PROBE } else { DUE };
        let recipients: Vec<Arc<str>> =
            self.all(doing, RECIPIENTS, [receiver], |r| Ok(Arc::from(r.get::<_, String>(0)?)))?;
        let mut heads = Heads { gate: asked.max(refused), refused: times.unwrap_or(0), ..Heads::default() };
        for recipient in recipients.iter().filter(|recipient| !held.contains(recipient)) {
            let due = self.first(doing, sql, (receiver, micros(now), &**recipient), |r| {
                Ok(HeadRow {
                    seq: r.get(0)?,
                    key: r.get(1)?,
                    recipient: Arc::clone(recipient),
                    attempts: r.get(2)?,
                    queued_at: time(r, 3)?,
                    reason: r.get(4)?,
                    inside: r.get(5)?,
                    foldable: r.get(6)?,
                    probe: r.get(7)?,
                })
            })?;
            if let Some(due) = due {
                let place = |row: &HeadRow| (refused.map(|_| row.attempts), row.seq);
                if heads.due.as_ref().is_none_or(|lowest| place(&due) < place(lowest)) {
                    heads.due = Some(due);
                }
                continue;
            }
            let at: Option<i64> = self.one(
                doing,
                "SELECT min(not_before) FROM outbox
                 WHERE receiver = ?1 AND recipient = ?2 AND state = 'queued' AND head = 1",
                [receiver, recipient],
                |r| r.get(0),
            )?;
            let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
            heads.next_at = heads.next_at.into_iter().chain(at).min();
        }
        if heads.due.is_some() {
            heads.next_at = None;
        }
        Ok(heads)
    }

    fn claim(&mut self, seq: i64, now: Timestamp) -> Result<Claim, StoreError> {
        let doing = "claim a row";
        let too_large = drop_too_large(self, seq)?;
        let row: Option<(u32, String, String, String, bool)> = self.first(
            doing,
            "UPDATE outbox SET state = 'sending', attempts = attempts + 1, claimed_at = ?2
             WHERE seq = ?1 AND state = 'queued' AND head = 1
             RETURNING attempts, receiver, recipient, thread, summary",
            (seq, micros(now)),
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)),
        )?;
        let Some((attempt, receiver, recipient, thread, summary)) = row else { return Ok(Claim::Gone) };
        if let Some(bytes) = too_large {
            return Ok(Claim::Unreadable { why: format!("its {bytes} bytes are more than can be sent") });
        }
        let sql = format!("SELECT {BODY} FROM outbox WHERE seq = ?1");
        let body: String = self.one(doing, &sql, [seq], |r| r.get(0))?;
        let handle = if summary {
            None
        } else {
            // Threads from before there were rows for recipients have one handle for all of them.
            self.first(
                doing,
                "SELECT handle FROM handles WHERE receiver IN (?1, ?2) AND thread = ?3
                 ORDER BY length(receiver) DESC LIMIT 1",
                (holder(&receiver, &recipient), &receiver, &thread),
                |r| r.get(0),
            )?
        };
        Ok(match serde_json::from_str(&body) {
            Ok(notification) => Claim::Claimed { notification: Box::new(notification), handle, attempt },
            Err(error) => Claim::Unreadable { why: error.to_string() },
        })
    }

    fn settle(&mut self, seq: i64, what: &Settle, now: Timestamp) -> Result<bool, StoreError> {
        let doing = "settle a row";
        match what {
            Settle::Delivered { handle } => {
                // The body has served: the history keeps what was said.
                let Some(row) = end(self, seq, "delivered", "", now)? else { return Ok(false) };
                if !row.summary {
                    let holder = holder(&row.receiver, &row.recipient);
                    keep_handle(self, &holder, &row.thread, handle.as_deref(), now)?;
                }
                fallback::told_itself(self, &row.receiver, &row.thread)?;
                advance(self, &row.receiver, &row.recipient, &row.thread)?;
                Ok(true)
            }
            Settle::Dead { reason } => {
                let Some(row) = end(self, seq, "dead", reason, now)? else { return Ok(false) };
                dissolve(self, row.inside.as_deref())?;
                advance(self, &row.receiver, &row.recipient, &row.thread)?;
                Ok(true)
            }
            Settle::Retry { not_before, reason, gate } => {
                let receiver: Option<String> = self.first(
                    doing,
                    "UPDATE outbox SET state = 'queued', not_before = ?2, reason = ?3
                     WHERE seq = ?1 AND state = 'sending' RETURNING receiver",
                    (seq, micros(*not_before), reason),
                    |r| r.get(0),
                )?;
                keep_gate(self, gate.as_ref(), reason)?;
                let Some(receiver) = receiver else { return Ok(false) };
                self.keep_failure(&receiver, reason, now)?;
                Ok(true)
            }
            Settle::Refused { until, reason } => {
                let receiver: Option<String> = self.first(
                    doing,
                    "UPDATE outbox SET state = 'queued', not_before = 0, reason = ?2
                     WHERE seq = ?1 AND state = 'sending' RETURNING receiver",
                    (seq, reason),
                    |r| r.get(0),
                )?;
                let Some(receiver) = receiver else { return Ok(false) };
                self.keep_refusal(&receiver, *until, reason, now)?;
                Ok(true)
            }
        }
    }

    fn recover(&mut self, receiver: &str) -> Result<Vec<Interrupted>, StoreError> {
        self.all(
            "recover rows",
            "UPDATE outbox SET state = 'queued', alone = alone OR inside IS NULL
             WHERE receiver = ?1 AND state = 'sending'
             RETURNING key, attempts, inside",
            [receiver],
            |r| Ok(Interrupted { key: r.get(0)?, attempts: r.get(1)?, inside: r.get(2)? }),
        )
    }

    fn bury_unknown(&mut self, known: &[Arc<str>], now: Timestamp) -> Result<usize, StoreError> {
        let doing = "bury rows of unknown receivers";
        let unknown = |doing: &'static str, sql: &str| -> Result<Vec<String>, StoreError> {
            let owners: Vec<String> = self.all(doing, sql, [], |r| r.get(0))?;
            Ok(owners.into_iter().filter(|owner| !known.iter().any(|k| **k == **owner)).collect())
        };
        // Nothing is repeated to receivers that are gone, and how they did is no news.
        let forget = "forget unknown receivers";
        for table in ["open_alerts", "failures", "refusals"] {
            for owner in unknown(forget, &format!("SELECT DISTINCT receiver FROM {table}"))? {
                self.change(forget, &format!("DELETE FROM {table} WHERE receiver = ?1"), [owner])?;
            }
        }
        let mut buried = 0;
        let open = "SELECT DISTINCT receiver FROM outbox WHERE state IN ('queued', 'sending')";
        for owner in unknown(doing, open)? {
            buried += self.change(
                doing,
                "UPDATE outbox SET state = 'dead', head = 0, ended_at = ?2, inside = NULL,
                     reason = 'the receiver is not configured any more'
                 WHERE receiver = ?1 AND state IN ('queued', 'sending')",
                (owner, micros(now)),
            )?;
        }
        Ok(buried)
    }

    fn give_out(
        &mut self,
        receiver: &str,
        recipients: &[Arc<str>],
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        if recipients.is_empty() {
            return Ok(0);
        }
        let due = self.all(
            GIVE_OUT,
            "SELECT seq, key, thread, body FROM outbox
             WHERE receiver = ?1 AND recipient = '' AND state = 'queued' AND head = 1 AND not_before <= ?2
             ORDER BY seq LIMIT ?3",
            (receiver, micros(now), limit(MAX_AT_ONCE)),
            |r| Ok(Due { seq: r.get(0)?, key: r.get(1)?, thread: r.get(2)?, body: r.get(3)? }),
        )?;
        for row in &due {
            give_out_row(self, row, recipients)?;
            advance(self, receiver, "", &row.thread)?;
        }
        Ok(due.len())
    }
}

/// `not_before` starts at 0 and not at the time of the decision: a clock that was set back must not
/// hold back what was never tried. A row that waits for something to be added to it is released by
/// whoever adds it, in any case; the time is for when that one is gone.
///
/// A notification that was given out to recipients is known by the keys of their rows, which begin with
/// its own.
pub(super) fn insert(s: &mut Session, row: &NewRow) -> Result<Inserted, StoreError> {
    let inserted = s.change(
        "keep a notification",
        "INSERT INTO outbox
             (key, receiver, recipient, thread, summary, state, head, not_before, created_at, queued_at,
              body, content)
         SELECT ?1, ?2, ?9, ?3, ?4, 'queued',
             NOT EXISTS (SELECT 1 FROM outbox
                 WHERE receiver = ?2 AND thread = ?3 AND recipient = ?9 AND state IN ('queued', 'sending')),
             ?7, ?5, ?5, ?6, ?8
         WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE key >= ?1 || '/' AND key < ?1 || '0')
         ON CONFLICT (key) DO NOTHING",
        (
            &row.key,
            &*row.receiver,
            &row.thread,
            row.summary,
            micros(row.at),
            &row.body,
            row.not_before.map_or(0, micros),
            &row.content,
            &row.recipient,
        ),
    )?;
    if inserted > 0 {
        s.woken.insert(Arc::clone(&row.receiver));
        return Ok(Inserted::Queued);
    }
    Ok(if is_replay(s, row)? { Inserted::Replay } else { Inserted::KeyTaken })
}

/// Is the row that has this key the same message?
fn is_replay(s: &Session, row: &NewRow) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT receiver, content, {BODY}, created_at FROM outbox
         WHERE key = ?1 OR (key >= ?1 || '/' AND key < ?1 || '0') ORDER BY key LIMIT 1"
    );
    let found: Option<(String, Option<String>, String, i64)> =
        s.first("compare a notification with the row that has its key", &sql, [&row.key], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        })?;
    // While things are kept in memory, what is delivered or dead is only in the file.
    let Some((receiver, content, body, at)) = found else { return Ok(true) };
    let same = match (&content, &row.content) {
        // The content names the receiver; the row may have gone to its fallback.
        (Some(content), Some(new)) => return Ok(content == new),
        // Of a row of an older version the body is known until it is delivered, and then only its time.
        _ => body == row.body || body.is_empty() && at == micros(row.at),
    };
    Ok(same && *receiver == *row.receiver)
}

/// Takes the body of a row away that is too large to be read. The old contents are not read for that,
/// since no index and no other column needs them. Returns how many bytes it had.
fn drop_too_large(s: &Session, seq: i64) -> Result<Option<u64>, StoreError> {
    let doing = "look at the size of a row";
    let sql = "SELECT octet_length(body) FROM outbox WHERE seq = ?1 AND octet_length(body) > ?2";
    let bytes = s.first(doing, sql, (seq, limit(MAX_CLAIMED)), |r| count(r, 0))?;
    if bytes.is_some() {
        s.change(doing, "UPDATE outbox SET body = '' WHERE seq = ?1", [seq])?;
    }
    Ok(bytes)
}

const GIVE_OUT: &str = "give rows out to recipients";

/// A row that is due and names no recipient.
struct Due {
    seq: i64,
    key: String,
    thread: String,
    body: String,
}

fn give_out_row(s: &Session, row: &Due, recipients: &[Arc<str>]) -> Result<(), StoreError> {
    let shared = recipients.len() > 1;
    if shared {
        let sql = "INSERT INTO bodies (key, body) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";
        s.change(GIVE_OUT, sql, (&row.key, &row.body))?;
    }
    for recipient in recipients {
        // A row of an earlier version may have been attempted: what is known of that goes along. It may
        // also have been part of a summary for all recipients, which there is no more.
        s.change(
            GIVE_OUT,
            "INSERT INTO outbox (key, receiver, recipient, thread, summary, state, head, attempts,
                 not_before, created_at, queued_at, claimed_at, reason, body, alone, content)
             SELECT key || '/' || ?2, receiver, ?2, thread, summary, 'queued',
                 NOT EXISTS (SELECT 1 FROM outbox o
                     WHERE o.receiver = outbox.receiver AND o.thread = outbox.thread
                         AND o.recipient = ?2 AND o.state IN ('queued', 'sending')),
                 attempts, not_before, created_at, queued_at, claimed_at, reason, ?3, alone, content
             FROM outbox WHERE seq = ?1
             ON CONFLICT (key) DO NOTHING",
            (row.seq, &**recipient, if shared { "" } else { row.body.as_str() }),
        )?;
    }
    s.change(GIVE_OUT, "DELETE FROM outbox WHERE seq = ?1", [row.seq])?;
    Ok(())
}

/// Under which name the handles of a thread are kept.
pub(super) fn holder(receiver: &str, recipient: &str) -> String {
    if recipient.is_empty() { receiver.to_owned() } else { format!("{receiver}/{recipient}") }
}

/// Whose row it was, for what follows from its end.
struct Ended {
    receiver: String,
    recipient: String,
    thread: String,
    summary: bool,
    inside: Option<String>,
}

fn end(
    s: &Session,
    seq: i64,
    state: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Ended>, StoreError> {
    s.first(
        "settle a row",
        "UPDATE outbox SET state = ?2, head = 0, reason = ?3, ended_at = ?4,
             body = CASE WHEN ?2 = 'delivered' THEN '' ELSE body END
         WHERE seq = ?1 AND state IN ('queued', 'sending')
         RETURNING receiver, recipient, thread, summary, inside",
        (seq, state, reason, micros(now)),
        |r| {
            Ok(Ended {
                receiver: r.get(0)?,
                recipient: r.get(1)?,
                thread: r.get(2)?,
                summary: r.get(3)?,
                inside: r.get(4)?,
            })
        },
    )
}

/// The next row of the thread may go.
pub(super) fn advance(s: &Session, receiver: &str, recipient: &str, thread: &str) -> Result<(), StoreError> {
    s.change(
        "advance a thread",
        "UPDATE outbox SET head = 1 WHERE head = 0 AND seq = (SELECT min(seq) FROM outbox
             WHERE receiver = ?1 AND thread = ?2 AND recipient = ?3 AND state IN ('queued', 'sending'))",
        (receiver, thread, recipient),
    )?;
    Ok(())
}

/// A summary that lost a row is not that summary any more: the others go on without it.
fn dissolve(s: &Session, inside: Option<&str>) -> Result<(), StoreError> {
    let Some(inside) = inside else { return Ok(()) };
    let sql = "UPDATE outbox SET inside = NULL WHERE inside = ?1 AND state = 'queued'";
    s.change("dissolve a summary", sql, [inside])?;
    Ok(())
}

/// The other side asked for a pause. Never shortened: of two answers under way the longer wait counts.
pub(super) fn keep_gate(s: &Session, gate: Option<&Gate>, reason: &str) -> Result<(), StoreError> {
    let Some(gate) = gate else { return Ok(()) };
    s.change(
        "keep a Retry-After",
        "INSERT INTO receiver_state (receiver, not_before, reason) VALUES (?1, ?2, ?3)
         ON CONFLICT (receiver) DO UPDATE
             SET not_before = excluded.not_before, reason = excluded.reason
             WHERE excluded.not_before > not_before",
        (&*gate.name, micros(gate.until), reason),
    )?;
    Ok(())
}

/// The first handle of a thread stays; a later one only shows that the thread is alive. `receiver` is a
/// [`holder`].
pub(super) fn keep_handle(
    s: &Session,
    receiver: &str,
    thread: &str,
    handle: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let at = micros(now);
    match handle {
        Some(handle) => s.change(
            "keep a handle",
            "INSERT INTO handles (receiver, thread, handle, used_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (receiver, thread) DO UPDATE SET used_at = excluded.used_at",
            (receiver, thread, handle, at),
        ),
        None => s.change(
            "keep a handle",
            "UPDATE handles SET used_at = ?3 WHERE receiver = ?1 AND thread = ?2",
            (receiver, thread, at),
        ),
    }?;
    Ok(())
}
