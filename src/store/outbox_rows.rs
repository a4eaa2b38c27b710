//! The rows of the outbox and their moves. When to move is [`crate::outbox`]'s business.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::limits::MAX_NOTIFICATION;
use super::value::{count, limit, micros, time, time_opt};
use super::worker::Session;
use super::{Call, Store, StoreError, alerts, refusals};
use crate::message::Notification;

/// A notification on its way into the table.
pub(super) struct NewRow {
    pub key: String,
    pub receiver: Arc<str>,
    /// Empty: not given out to the receiver's recipients, or it has none.
    pub recipient: String,
    pub thread: String,
    pub summary: bool,
    pub at: Timestamp,
    /// It waits for something to be added to it.
    pub not_before: Option<Timestamp>,
    pub body: String,
    /// SHA-256 of the body that was first committed under the key; `None`: an older version did not keep it.
    pub content: Option<String>,
}

/// What became of a new row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    Queued,
    /// The same message was committed under this key before.
    Replay,
    /// Another message has the key: this one was not queued.
    KeyTaken,
}

/// The oldest open row of its thread, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRow {
    /// Its place in the order of insertion.
    pub seq: i64,
    pub key: String,
    /// Whom of the receiver it is for; empty where the receiver is one destination, or where the row has
    /// not been given out to recipients yet ([`Store::give_out`]).
    pub recipient: Arc<str>,
    /// Attempts begun so far.
    pub attempts: u32,
    /// What `max_age` counts from.
    pub queued_at: Timestamp,
    /// Why the last attempt failed; empty if none was made.
    pub reason: String,
    /// The summary it is to be told in, where that was claimed before.
    pub inside: Option<String>,
    /// May it be told inside a summary at all? Not if it is one, nor if its own attempt was cut
    /// off, nor if it is sent again after a summary with it was refused.
    pub foldable: bool,
}

/// What a dispatcher must know to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heads {
    /// The lowest row that may go now, of the recipients asked for.
    pub due: Option<HeadRow>,
    /// Where nothing is due: when the next row will be.
    pub next_at: Option<Timestamp>,
    /// Nothing is sent before: the receiver (or its credential) asked to wait, or refuses every message.
    pub gate: Option<Timestamp>,
    /// How often in a row the receiver refused; 0: it does not.
    pub refused: u32,
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// It is `sending` now.
    Claimed {
        notification: Box<Notification>,
        /// What the first delivery of the thread returned.
        handle: Option<String>,
        attempt: u32,
    },
    /// It is `sending` now, but what is kept cannot be read by this version.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// It is not there to be claimed any more.
    Gone,
}

/// Until when nobody may be bothered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The receiver's or the credential's name.
    pub name: Arc<str>,
    pub until: Timestamp,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settle {
    Delivered {
        /// Kept if it is the first of its thread.
        handle: Option<String>,
    },
    /// Back to the queue.
    Retry {
        not_before: Timestamp,
        reason: String,
        /// The other side asked for peace.
        gate: Option<Gate>,
    },
    /// Back to the queue: the receiver as such refuses ([`crate::notify::Outcome::Refused`]). The row may
    /// go again at once; the receiver is left alone.
    Refused {
        /// Nothing is sent to the receiver before this.
        until: Timestamp,
        reason: String,
    },
    Dead {
        reason: String,
    },
}

/// Which row to claim once another is settled.
pub struct ClaimNext {
    pub receiver: Arc<str>,
    /// Where its Retry-After is kept.
    pub gate: Arc<str>,
    /// Recipients whose rows are not to be claimed.
    pub held: Vec<Arc<str>>,
    /// May the due row be claimed?
    pub choose: ChooseRow,
}

/// Chooses the row to claim of what is due, or none.
pub type ChooseRow = Box<dyn FnOnce(&Heads) -> Option<HeadRow> + Send>;

impl ClaimNext {
    fn claim(self, s: &Session, now: Timestamp) -> Result<Option<(HeadRow, Claim)>, StoreError> {
        let heads = heads(s, &self.receiver, &self.gate, &self.held, now)?;
        let Some(row) = (self.choose)(&heads) else { return Ok(None) };
        let claim = claim(s, row.seq, now)?;
        Ok(Some((row, claim)))
    }
}

impl std::fmt::Debug for ClaimNext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimNext").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

/// What became of a row, and which one is next.
#[derive(Debug)]
pub struct Settled {
    /// `false`: the row was not open any more, nothing was changed.
    pub changed: bool,
    /// The row that was claimed.
    pub next: Option<(HeadRow, Claim)>,
}

/// A row whose attempt was cut off by the end of the process: it may have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    pub key: String,
    pub attempts: u32,
    /// The summary it was told in.
    pub inside: Option<String>,
}

impl Store {
    /// What the dispatcher of `receiver` may do at `now`. `gate` is where its Retry-After is kept.
    pub fn heads(&self, receiver: &Arc<str>, gate: &Arc<str>, now: Timestamp) -> Call<Heads> {
        self.heads_without(receiver, gate, Vec::new(), now)
    }

    /// The same, without the rows of the recipients `held`.
    pub fn heads_without(
        &self,
        receiver: &Arc<str>,
        gate: &Arc<str>,
        held: Vec<Arc<str>>,
        now: Timestamp,
    ) -> Call<Heads> {
        let (receiver, gate) = (Arc::clone(receiver), Arc::clone(gate));
        self.read("look for the next row", move |s| heads(s, &receiver, &gate, &held, now))
    }

    /// Marks a row as `sending` and hands out what to send.
    pub fn claim(&self, seq: i64, now: Timestamp) -> Call<Claim> {
        self.write("claim a row", move |s| claim(s, seq, now))
    }

    /// Records how a row fared. `false`: it is not open any more, nothing was changed.
    pub fn settle(&self, seq: i64, what: Settle, now: Timestamp) -> Call<bool> {
        self.write("settle a row", move |s| settle(s, seq, &what, now))
    }

    /// Records how a row fared and, in the same transaction, claims the row that `ahead` chooses of
    /// what is due then. One flush to the disk for both, and one way to the store's thread.
    pub fn settle_and_claim(
        &self,
        seq: i64,
        what: Settle,
        ahead: ClaimNext,
        now: Timestamp,
    ) -> Call<Settled> {
        let mut ahead = Some(ahead);
        self.write("settle a row", move |s| {
            let changed = settle(s, seq, &what, now)?;
            // The choice is made once; where the transaction is run again, the row alone is settled.
            let next = match ahead.take().filter(|_| changed) {
                Some(ahead) => ahead.claim(s, now)?,
                None => None,
            };
            Ok(Settled { changed, next })
        })
    }

    /// Queues the rows of a receiver again whose attempt was cut off. To be called before its
    /// dispatcher's first claim. Each keeps its key: a row that was told by itself is not told
    /// inside a summary, a row of a summary only inside that one.
    pub fn recover(&self, receiver: &Arc<str>) -> Call<Vec<Interrupted>> {
        let receiver = Arc::clone(receiver);
        self.write("recover rows", move |s| {
            s.conn
                .prepare_cached(
                    "UPDATE outbox SET state = 'queued', alone = alone OR inside IS NULL
                     WHERE receiver = ?1 AND state = 'sending'
                     RETURNING key, attempts, inside",
                )
                .and_then(|mut q| {
                    q.query_map([&*receiver], |r| {
                        Ok(Interrupted { key: r.get(0)?, attempts: r.get(1)?, inside: r.get(2)? })
                    })?
                    .collect()
                })
                .map_err(s.error("recover rows"))
        })
    }

    /// Makes dead letters of all open rows whose receiver is not among `known`, and forgets their open
    /// alerts: nobody would ever send them, and a queue nobody serves is a hidden loss. Returns how many.
    pub fn bury_unknown(&self, known: &[Arc<str>], now: Timestamp) -> Call<usize> {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        self.write("bury rows of unknown receivers", move |s| {
            let failed = s.error("bury rows of unknown receivers");
            let owners: Vec<String> = s
                .conn
                .prepare_cached("SELECT DISTINCT receiver FROM outbox WHERE state IN ('queued', 'sending')")
                .and_then(|mut q| q.query_map([], |r| r.get(0))?.collect())
                .map_err(&failed)?;
            alerts::forget(s, &known)?;
            let mut buried = 0;
            for owner in owners.iter().filter(|o| !known.contains(o)) {
                buried += s
                    .conn
                    .prepare_cached(
                        "UPDATE outbox SET state = 'dead', head = 0, ended_at = ?2, inside = NULL,
                             reason = 'the receiver is not configured any more'
                         WHERE receiver = ?1 AND state IN ('queued', 'sending')",
                    )
                    .and_then(|mut q| q.execute((owner, micros(now))))
                    .map_err(&failed)?;
            }
            Ok(buried)
        })
    }
}

/// `not_before` starts at 0 and not at the time of the decision: a clock that was set back must not
/// hold back what was never tried. A row that waits for something to be added to it is released by
/// whoever adds it, in any case; the time is for when that one is gone.
///
/// A notification that was given out to recipients is known by the keys of their rows, which begin with
/// its own.
pub(super) fn insert(s: &mut Session, row: &NewRow) -> Result<Inserted, StoreError> {
    let inserted = s
        .conn
        .prepare_cached(
            "INSERT INTO outbox
                 (key, receiver, recipient, thread, summary, state, head, not_before, created_at, queued_at,
                  body, content)
             SELECT ?1, ?2, ?9, ?3, ?4, 'queued',
                 NOT EXISTS (SELECT 1 FROM outbox
                     WHERE receiver = ?2 AND thread = ?3 AND recipient = ?9 AND state IN ('queued', 'sending')),
                 ?7, ?5, ?5, ?6, ?8
             WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE key >= ?1 || '/' AND key < ?1 || '0')
             ON CONFLICT (key) DO NOTHING",
        )
        .and_then(|mut q| {
            let not_before = row.not_before.map_or(0, micros);
            let at = micros(row.at);
            q.execute((
                &row.key,
                &*row.receiver,
                &row.thread,
                row.summary,
                at,
                &row.body,
                not_before,
                &row.content,
                &row.recipient,
            ))
        })
        .map_err(s.error("keep a notification"))?;
    if inserted > 0 {
        s.woken.insert(Arc::clone(&row.receiver));
        return Ok(Inserted::Queued);
    }
    Ok(if is_replay(s, row)? { Inserted::Replay } else { Inserted::KeyTaken })
}

/// Is the row that has this key the same message?
fn is_replay(s: &Session, row: &NewRow) -> Result<bool, StoreError> {
    let found: Option<(String, Option<String>, String, i64)> = s
        .conn
        .prepare_cached(&format!(
            "SELECT receiver, content, {BODY}, created_at FROM outbox
             WHERE key = ?1 OR (key >= ?1 || '/' AND key < ?1 || '0') ORDER BY key LIMIT 1"
        ))
        .and_then(|mut q| {
            q.query_row([&row.key], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))).optional()
        })
        .map_err(s.error("compare a notification with the row that has its key"))?;
    // While things are kept in memory, what is delivered or dead is only in the file.
    let Some((receiver, content, body, at)) = found else { return Ok(true) };
    let same = match (&content, &row.content) {
        (Some(content), Some(new)) => content == new,
        // Of a row of an older version the body is known until it is delivered, and then only its time.
        _ => body == row.body || body.is_empty() && at == micros(row.at),
    };
    Ok(same && *receiver == *row.receiver)
}

/// Every recipient with an open head, one step in the index for each.
const RECIPIENTS: &str = "WITH RECURSIVE r (x) AS (
         SELECT min(recipient) FROM outbox WHERE receiver = ?1 AND state = 'queued' AND head = 1
         UNION ALL
         SELECT (SELECT min(recipient) FROM outbox
             WHERE receiver = ?1 AND recipient > x AND state = 'queued' AND head = 1)
         FROM r WHERE x IS NOT NULL)
     SELECT x FROM r WHERE x IS NOT NULL";

pub(super) const DUE: &str =
    "SELECT seq, key, attempts, queued_at, reason, inside, NOT (alone OR summary) FROM outbox
     WHERE receiver = ?1 AND state = 'queued' AND head = 1 AND not_before <= ?2 AND recipient = ?3
     ORDER BY seq LIMIT 1";

const PROBE: &str = "SELECT seq, key, attempts, queued_at, reason, inside, NOT (alone OR summary) FROM outbox
     WHERE receiver = ?1 AND state = 'queued' AND head = 1 AND not_before <= ?2 AND recipient = ?3
     ORDER BY attempts, seq LIMIT 1";

fn heads(
    s: &Session,
    receiver: &str,
    gate: &str,
    held: &[Arc<str>],
    now: Timestamp,
) -> Result<Heads, StoreError> {
    let failed = s.error("look for the next row");
    let (asked, refused, times): (_, Option<Timestamp>, Option<u32>) = s
        .conn
        .prepare_cached(
            "SELECT (SELECT not_before FROM receiver_state WHERE receiver = ?1),
                 (SELECT not_before FROM refusals WHERE receiver = ?2),
                 (SELECT attempts FROM refusals WHERE receiver = ?2)",
        )
        .and_then(|mut q| {
            q.query_row([gate, receiver], |r| Ok((time_opt(r, 0)?, time_opt(r, 1)?, r.get(2)?)))
        })
        .map_err(&failed)?;
    // A receiver that refuses is tried with another row each time: it may be the row after all.
    let sql = if refused.is_some() { PROBE } else { DUE };
    let recipients: Vec<Arc<str>> = s
        .conn
        .prepare_cached(RECIPIENTS)
        .and_then(|mut q| q.query_map([receiver], |r| Ok(Arc::from(r.get::<_, String>(0)?)))?.collect())
        .map_err(&failed)?;
    let mut heads = Heads { gate: asked.max(refused), refused: times.unwrap_or(0), ..Heads::default() };
    for recipient in recipients.iter().filter(|recipient| !held.contains(recipient)) {
        let due = s
            .conn
            .prepare_cached(sql)
            .and_then(|mut q| {
                q.query_row((receiver, micros(now), &**recipient), |r| {
                    Ok(HeadRow {
                        seq: r.get(0)?,
                        key: r.get(1)?,
                        recipient: Arc::clone(recipient),
                        attempts: r.get(2)?,
                        queued_at: time(r, 3)?,
                        reason: r.get(4)?,
                        inside: r.get(5)?,
                        foldable: r.get(6)?,
                    })
                })
                .optional()
            })
            .map_err(&failed)?;
        if let Some(due) = due {
            let place = |row: &HeadRow| (refused.map(|_| row.attempts), row.seq);
            if heads.due.as_ref().is_none_or(|lowest| place(&due) < place(lowest)) {
                heads.due = Some(due);
            }
            continue;
        }
        let at: Option<i64> = s
            .conn
            .prepare_cached(
                "SELECT min(not_before) FROM outbox
                 WHERE receiver = ?1 AND recipient = ?2 AND state = 'queued' AND head = 1",
            )
            .and_then(|mut q| q.query_row([receiver, recipient], |r| r.get(0)))
            .map_err(&failed)?;
        let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
        heads.next_at = heads.next_at.into_iter().chain(at).min();
    }
    if heads.due.is_some() {
        heads.next_at = None;
    }
    Ok(heads)
}

/// The largest body that is read to be sent; twice what is written, for rows of earlier versions.
const MAX_CLAIMED: usize = 2 * MAX_NOTIFICATION;

/// Takes the body of a row away that is too large to be read. The old contents are not read for that,
/// since no index and no other column needs them. Returns how many bytes it had.
fn drop_too_large(s: &Session, seq: i64) -> Result<Option<u64>, StoreError> {
    let failed = s.error("look at the size of a row");
    let bytes: Option<u64> = s
        .conn
        .prepare_cached("SELECT octet_length(body) FROM outbox WHERE seq = ?1 AND octet_length(body) > ?2")
        .and_then(|mut q| q.query_row((seq, limit(MAX_CLAIMED)), |r| count(r, 0)).optional())
        .map_err(&failed)?;
    if bytes.is_some() {
        s.conn
            .prepare_cached("UPDATE outbox SET body = '' WHERE seq = ?1")
            .and_then(|mut q| q.execute([seq]))
            .map_err(&failed)?;
    }
    Ok(bytes)
}

fn claim(s: &Session, seq: i64, now: Timestamp) -> Result<Claim, StoreError> {
    let failed = s.error("claim a row");
    let too_large = drop_too_large(s, seq)?;
    let row: Option<(u32, String, String, String, bool)> = s
        .conn
        .prepare_cached(
            "UPDATE outbox SET state = 'sending', attempts = attempts + 1, claimed_at = ?2
             WHERE seq = ?1 AND state = 'queued' AND head = 1
             RETURNING attempts, receiver, recipient, thread, summary",
        )
        .and_then(|mut q| {
            q.query_row((seq, micros(now)), |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))
                .optional()
        })
        .map_err(&failed)?;
    let Some((attempt, receiver, recipient, thread, summary)) = row else { return Ok(Claim::Gone) };
    if let Some(bytes) = too_large {
        return Ok(Claim::Unreadable { why: format!("its {bytes} bytes are more than can be sent") });
    }
    let body: String = s
        .conn
        .prepare_cached(&format!("SELECT {BODY} FROM outbox WHERE seq = ?1"))
        .and_then(|mut q| q.query_row([seq], |r| r.get(0)))
        .map_err(&failed)?;
    let handle = if summary {
        None
    } else {
        // Threads from before there were rows for recipients have one handle for all of them.
        s.conn
            .prepare_cached(
                "SELECT handle FROM handles WHERE receiver IN (?1, ?2) AND thread = ?3
                 ORDER BY length(receiver) DESC LIMIT 1",
            )
            .and_then(|mut q| {
                q.query_row((holder(&receiver, &recipient), &receiver, &thread), |r| r.get(0)).optional()
            })
            .map_err(&failed)?
    };
    Ok(match serde_json::from_str(&body) {
        Ok(notification) => Claim::Claimed { notification: Box::new(notification), handle, attempt },
        Err(error) => Claim::Unreadable { why: error.to_string() },
    })
}

/// What a row tells. Rows of several recipients share it. One that is too large to be read, which an
/// earlier version wrote, is as good as empty.
pub(super) const BODY: &str = "CASE WHEN octet_length(body) > 4194304 THEN ''
     WHEN octet_length(body) > 0 OR recipient = '' THEN body ELSE
     coalesce((SELECT b.body FROM bodies b
         WHERE b.key = substr(outbox.key, 1, length(outbox.key) - length(outbox.recipient) - 1)), '') END";

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

fn settle(s: &Session, seq: i64, what: &Settle, now: Timestamp) -> Result<bool, StoreError> {
    let failed = s.error("settle a row");
    match what {
        Settle::Delivered { handle } => {
            // The body has served: the history keeps what was said.
            let Some(row) = end(s, seq, "delivered", "", now)? else { return Ok(false) };
            if !row.summary {
                let holder = holder(&row.receiver, &row.recipient);
                keep_handle(s, &holder, &row.thread, handle.as_deref(), now)?;
            }
            advance(s, &row.receiver, &row.recipient, &row.thread)?;
            Ok(true)
        }
        Settle::Dead { reason } => {
            let Some(row) = end(s, seq, "dead", reason, now)? else { return Ok(false) };
            dissolve(s, row.inside.as_deref())?;
            advance(s, &row.receiver, &row.recipient, &row.thread)?;
            Ok(true)
        }
        Settle::Retry { not_before, reason, gate } => {
            let changed = s
                .conn
                .prepare_cached(
                    "UPDATE outbox SET state = 'queued', not_before = ?2, reason = ?3
                     WHERE seq = ?1 AND state = 'sending'",
                )
                .and_then(|mut q| q.execute((seq, micros(*not_before), reason)))
                .map_err(&failed)?;
            keep_gate(s, gate.as_ref(), reason)?;
            Ok(changed > 0)
        }
        Settle::Refused { until, reason } => {
            let receiver: Option<String> = s
                .conn
                .prepare_cached(
                    "UPDATE outbox SET state = 'queued', not_before = 0, reason = ?2
                     WHERE seq = ?1 AND state = 'sending' RETURNING receiver",
                )
                .and_then(|mut q| q.query_row((seq, reason), |r| r.get(0)).optional())
                .map_err(&failed)?;
            let Some(receiver) = receiver else { return Ok(false) };
            refusals::keep(s, &receiver, *until, reason, now)?;
            Ok(true)
        }
    }
}

fn end(
    s: &Session,
    seq: i64,
    state: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Ended>, StoreError> {
    s.conn
        .prepare_cached(
            "UPDATE outbox SET state = ?2, head = 0, reason = ?3, ended_at = ?4,
                 body = CASE WHEN ?2 = 'delivered' THEN '' ELSE body END
             WHERE seq = ?1 AND state IN ('queued', 'sending')
             RETURNING receiver, recipient, thread, summary, inside",
        )
        .and_then(|mut q| {
            q.query_row((seq, state, reason, micros(now)), |r| {
                Ok(Ended {
                    receiver: r.get(0)?,
                    recipient: r.get(1)?,
                    thread: r.get(2)?,
                    summary: r.get(3)?,
                    inside: r.get(4)?,
                })
            })
            .optional()
        })
        .map_err(s.error("settle a row"))
}

/// The next row of the thread may go.
pub(super) fn advance(s: &Session, receiver: &str, recipient: &str, thread: &str) -> Result<(), StoreError> {
    s.conn
        .prepare_cached(
            "UPDATE outbox SET head = 1 WHERE head = 0 AND seq = (SELECT min(seq) FROM outbox
                 WHERE receiver = ?1 AND thread = ?2 AND recipient = ?3 AND state IN ('queued', 'sending'))",
        )
        .and_then(|mut q| q.execute((receiver, thread, recipient)))
        .map_err(s.error("advance a thread"))?;
    Ok(())
}

/// A summary that lost a row is not that summary any more: the others go on without it.
fn dissolve(s: &Session, inside: Option<&str>) -> Result<(), StoreError> {
    let Some(inside) = inside else { return Ok(()) };
    s.conn
        .prepare_cached("UPDATE outbox SET inside = NULL WHERE inside = ?1 AND state = 'queued'")
        .and_then(|mut q| q.execute([inside]))
        .map_err(s.error("dissolve a summary"))?;
    Ok(())
}

/// The other side asked for peace. Never shortened: of two answers under way the longer wait counts.
pub(super) fn keep_gate(s: &Session, gate: Option<&Gate>, reason: &str) -> Result<(), StoreError> {
    let Some(gate) = gate else { return Ok(()) };
    s.conn
        .prepare_cached(
            "INSERT INTO receiver_state (receiver, not_before, reason) VALUES (?1, ?2, ?3)
             ON CONFLICT (receiver) DO UPDATE
                 SET not_before = excluded.not_before, reason = excluded.reason
                 WHERE excluded.not_before > not_before",
        )
        .and_then(|mut q| q.execute((&*gate.name, micros(gate.until), reason)))
        .map_err(s.error("keep a Retry-After"))?;
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
    let failed = s.error("keep a handle");
    let at = micros(now);
    match handle {
        Some(handle) => s
            .conn
            .prepare_cached(
                "INSERT INTO handles (receiver, thread, handle, used_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (receiver, thread) DO UPDATE SET used_at = excluded.used_at",
            )
            .and_then(|mut q| q.execute((receiver, thread, handle, at)))
            .map_err(failed)?,
        None => s
            .conn
            .prepare_cached("UPDATE handles SET used_at = ?3 WHERE receiver = ?1 AND thread = ?2")
            .and_then(|mut q| q.execute((receiver, thread, at)))
            .map_err(failed)?,
    };
    Ok(())
}
