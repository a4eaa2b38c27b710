use std::collections::BTreeSet;

use jiff::Timestamp;

use super::rows::{self, BODY};
use super::session::Session;
use super::value::{limit, micros, time};
use super::{fallback, history};
use crate::message::Notification;
use crate::store::folds::Folds;
use crate::store::refusals::Refusals;
use crate::store::{FoldClaim, FoldQuery, FoldRow, HistoryRow, Settle, StoreError};

/// So many rows of one thread are looked at, at most; what is behind them waits.
const MAX_ROWS_OF_A_THREAD: usize = 50;
/// Bytes of the bodies that are read at a time to be told together.
const MAX_BYTES: usize = 16 << 20;

const FOLDABLE: &str = "SELECT thread FROM outbox
     WHERE receiver = ?1 AND recipient = ?5 AND state = 'queued' AND head = 1 AND not_before <= ?2
         AND queued_at > ?3 AND summary = 0 AND alone = 0 AND inside IS NULL AND stays < 2
     ORDER BY seq LIMIT ?4";

impl Folds for Session {
    fn foldable(&mut self, query: &FoldQuery) -> Result<Vec<FoldRow>, StoreError> {
        let doing = "look for rows to fold";
        let (receiver, recipient) = (&*query.receiver, &*query.recipient);
        let (now, after) = (micros(query.now), micros(query.queued_after));
        let threads: Vec<String> =
            self.all(doing, FOLDABLE, (receiver, now, after, limit(query.threads), recipient), |r| r.get(0))?;
        let of_thread = format!(
            "SELECT seq, {BODY}, state = 'queued' AND alone = 0 AND inside IS NULL FROM outbox
             WHERE receiver = ?1 AND thread = ?2 AND recipient = ?4 AND state IN ('queued', 'sending')
             ORDER BY seq LIMIT ?3"
        );
        let mut rows = Vec::new();
        let mut bytes = 0;
        for thread in threads {
            // What is left for later is told later: it is at the head of its thread then, as it is now.
            if bytes > MAX_BYTES {
                break;
            }
            let params = (receiver, &thread, limit(MAX_ROWS_OF_A_THREAD), recipient);
            let found: Vec<(i64, String, bool)> =
                self.all(doing, &of_thread, params, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
            bytes += found.iter().map(|(_, body, _)| body.len()).sum::<usize>();
            // Up to the first that cannot be folded: what is behind it must not overtake it.
            let readable = found.into_iter().map_while(|(seq, body, free)| read(seq, &body).filter(|_| free));
            rows.extend(readable);
        }
        Ok(rows)
    }

    fn folded(&mut self, receiver: &str, key: &str) -> Result<Option<Vec<FoldRow>>, StoreError> {
        let sql = format!(
            "SELECT seq, {BODY} FROM outbox
             WHERE inside = ?2 AND receiver = ?1 AND state = 'queued' ORDER BY seq"
        );
        let found: Vec<(i64, String)> =
            self.all("read the rows of a summary", &sql, (receiver, key), |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(found.into_iter().map(|(seq, body)| read(seq, &body)).collect())
    }

    fn claim_fold(
        &mut self,
        key: &str,
        seqs: &[i64],
        now: Timestamp,
    ) -> Result<Option<FoldClaim>, StoreError> {
        self.batch(CLAIM, "SAVEPOINT fold")?;
        let claimed = claim_each(self, key, seqs, now);
        let end = match claimed {
            Ok(Some(_)) => "RELEASE fold",
            Ok(None) | Err(_) => "ROLLBACK TO fold; RELEASE fold",
        };
        // Where the statement made SQLite give up the transaction, the savepoint went with it.
        if !self.conn.is_autocommit() {
            self.batch(CLAIM, end)?;
        }
        claimed
    }

    fn unfold(&mut self, receiver: &str, key: &str) -> Result<usize, StoreError> {
        self.change(
            "take a summary apart",
            "UPDATE outbox SET inside = NULL, alone = 1
             WHERE inside = ?2 AND receiver = ?1 AND state = 'queued'",
            (receiver, key),
        )
    }

    fn settle_fold(
        &mut self,
        receiver: &str,
        key: &str,
        what: &Settle,
        told: Option<&HistoryRow>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        match what {
            Settle::Delivered { .. } => {
                let ended = end_all(self, receiver, key, "delivered", "", now)?;
                for (recipient, thread) in &ended {
                    let holder = rows::holder(receiver, recipient);
                    rows::keep_handle(self, &holder, thread, None, now)?;
                    fallback::told_itself(self, receiver, thread)?;
                }
                advance_all(self, receiver, &ended)?;
                history::insert(self, told)?;
                Ok(ended.len())
            }
            Settle::Retry { not_before, reason, gate } => {
                let changed = queue_again(self, receiver, key, *not_before, reason)?;
                rows::keep_gate(self, gate.as_ref(), reason)?;
                if changed > 0 {
                    self.keep_failure(receiver, reason, now)?;
                }
                Ok(changed)
            }
            Settle::Refused { until, reason } => {
                let changed = queue_again(self, receiver, key, Timestamp::UNIX_EPOCH, reason)?;
                if changed > 0 {
                    self.keep_refusal(receiver, *until, reason, now)?;
                }
                Ok(changed)
            }
            Settle::Dead { reason } => {
                let ended = end_all(self, receiver, key, "dead", reason, now)?;
                advance_all(self, receiver, &ended)?;
                Ok(ended.len())
            }
        }
    }
}

/// A summary lists incidents, so a row without one cannot be told inside it.
fn read(seq: i64, body: &str) -> Option<FoldRow> {
    let notification: Box<Notification> = serde_json::from_str(body).ok()?;
    notification.incident()?;
    Some(FoldRow { seq, notification })
}

const CLAIM: &str = "claim a summary";
const SETTLE: &str = "settle a summary";

fn claim_each(s: &Session, key: &str, seqs: &[i64], now: Timestamp) -> Result<Option<FoldClaim>, StoreError> {
    let mut claim: Option<FoldClaim> = None;
    for seq in seqs {
        let row = s.first(
            CLAIM,
            "UPDATE outbox SET state = 'sending', attempts = attempts + 1, claimed_at = ?2, inside = ?3
             WHERE seq = ?1 AND state = 'queued' AND (inside IS NULL OR inside = ?3)
             RETURNING attempts, queued_at",
            (seq, micros(now), key),
            |r| Ok(FoldClaim { attempt: r.get(0)?, queued_at: time(r, 1)? }),
        )?;
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

/// The recipient and the thread of a row.
type Ended = (String, String);

fn end_all(
    s: &Session,
    receiver: &str,
    key: &str,
    state: &str,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<Ended>, StoreError> {
    s.all(
        SETTLE,
        "UPDATE outbox SET state = ?4, head = 0, reason = ?5, ended_at = ?3,
             body = CASE WHEN ?4 = 'delivered' THEN '' ELSE body END
         WHERE inside = ?2 AND receiver = ?1 AND state = 'sending'
         RETURNING recipient, thread",
        (receiver, key, micros(now), state, reason),
        |r| Ok((r.get(0)?, r.get(1)?)),
    )
}

fn queue_again(
    s: &Session,
    receiver: &str,
    key: &str,
    not_before: Timestamp,
    reason: &str,
) -> Result<usize, StoreError> {
    s.change(
        SETTLE,
        "UPDATE outbox SET state = 'queued', not_before = ?3, reason = ?4
         WHERE inside = ?2 AND receiver = ?1 AND state = 'sending'",
        (receiver, key, micros(not_before), reason),
    )
}

fn advance_all(s: &Session, receiver: &str, ended: &[Ended]) -> Result<(), StoreError> {
    for (recipient, thread) in ended.iter().collect::<BTreeSet<_>>() {
        rows::advance(s, receiver, recipient, thread)?;
    }
    Ok(())
}
