//! Rows that change their receiver. All of it is updates in place: a row that is deleted while things are kept in
//! memory would be in the file afterwards.

use std::sync::Arc;

use jiff::Timestamp;

use super::rows::{self, BODY};
use super::session::Session;
use super::value::{limit, micros};
use crate::message::{Notification, Reason};
use crate::store::commit::NewRow;
use crate::store::fallback::Fallbacks;
use crate::store::limits;
use crate::store::{Fallback, StoreError, TakenOver};

const TAKE_OVER: &str = "hand messages over to a fallback";
const PLACE_END: &str = "send an end where its beginning went";
/// So many rows are handed over in one transaction, at most.
const MAX_AT_ONCE: usize = 50;
/// The longest chain of fallbacks that an end follows; the configuration allows no circle.
const MAX_CHAIN: usize = 8;

/// For its own receiver, whatever a fallback takes over…
const STAYS: i64 = 1;
/// … and never too old.
const PROBES: i64 = 2;

/// A row that its receiver waits for.
struct Owed {
    seq: i64,
    key: String,
    receiver: String,
    recipient: String,
    thread: String,
    body: String,
}

impl Fallbacks for Session {
    fn take_over(&mut self, from: &str, to: &Fallback, now: Timestamp) -> Result<TakenOver, StoreError> {
        let rows = owed(self, "receiver = ?1 AND state = 'queued' AND stays = 0", from)?;
        let mut handed_over = 0;
        for row in &rows {
            let Ok(n) = serde_json::from_str::<Notification>(&row.body) else {
                stays(self, row.seq, STAYS)?;
                continue;
            };
            if n.reason == Reason::HandedOver {
                stays(self, row.seq, PROBES)?;
            } else if n.digest.is_some() {
                stays(self, row.seq, STAYS)?;
            } else if n.is_end() {
                // Where nothing of it was handed over the receiver itself was told the beginning.
                stays(self, row.seq, STAYS)?;
                place(self, row, now, 0)?;
            } else {
                hand_over(self, row, &n, to, now)?;
                handed_over += 1;
            }
        }
        Ok(TakenOver { looked_at: rows.len(), handed_over })
    }
}

fn owed(s: &Session, condition: &str, value: &str) -> Result<Vec<Owed>, StoreError> {
    let sql = format!(
        "SELECT seq, key, receiver, recipient, thread, {BODY} FROM outbox WHERE {condition} ORDER BY seq LIMIT ?2"
    );
    s.all(TAKE_OVER, &sql, (value, limit(MAX_AT_ONCE)), |r| {
        Ok(Owed {
            seq: r.get(0)?,
            key: r.get(1)?,
            receiver: r.get(2)?,
            recipient: r.get(3)?,
            thread: r.get(4)?,
            body: r.get(5)?,
        })
    })
}

fn stays(s: &Session, seq: i64, how: i64) -> Result<(), StoreError> {
    s.change(TAKE_OVER, "UPDATE outbox SET stays = ?2 WHERE seq = ?1", (seq, how))?;
    Ok(())
}

/// The receiver was told something of the thread itself: it is to be told the end.
pub(super) fn told_itself(s: &Session, receiver: &str, thread: &str) -> Result<(), StoreError> {
    let sql = "UPDATE diverted SET own = 1 WHERE receiver = ?1 AND thread = ?2";
    s.change("remember where a thread was told", sql, (receiver, thread))?;
    Ok(())
}

/// A new end: it goes where the thread was told. The thread is forgotten with it.
pub(super) fn place_end(s: &mut Session, row: &NewRow) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM diverted WHERE receiver = ?1 AND thread = ?2 LIMIT 1";
    if s.first(PLACE_END, sql, (&*row.receiver, &row.thread), |_| Ok(()))?.is_none() {
        return Ok(());
    }
    for end in &owed(s, "key = ?1 AND state = 'queued'", &row.key)? {
        place(s, end, row.at, 0)?;
    }
    let sql = "DELETE FROM diverted WHERE receiver = ?1 AND thread = ?2";
    s.change(PLACE_END, sql, (&*row.receiver, &row.thread))?;
    Ok(())
}

/// Sends an end to the fallbacks that were told something of its thread, and leaves it to its receiver where
/// that was, too.
fn place(s: &mut Session, row: &Owed, now: Timestamp, depth: usize) -> Result<(), StoreError> {
    let sql = "SELECT fallback, own FROM diverted WHERE receiver = ?1 AND thread = ?2 ORDER BY at, fallback";
    let told: Vec<(String, bool)> =
        s.all(PLACE_END, sql, (&row.receiver, &row.thread), |r| Ok((r.get(0)?, r.get(1)?)))?;
    let own = told.iter().any(|(_, own)| *own);
    for (place_in_line, (fallback, _)) in told.iter().enumerate() {
        let whole = !own && place_in_line == 0;
        let key = match (has_it(s, row, fallback)?, whole) {
            (true, true) => {
                told_elsewhere(s, row, fallback, now)?;
                continue;
            }
            (true, false) => continue,
            (false, true) => {
                redirect(s, row, fallback, now)?;
                row.key.clone()
            }
            (false, false) => copy(s, row, fallback, now)?,
        };
        // The fallback may have handed the thread over in its turn.
        if depth < MAX_CHAIN {
            for next in &owed(s, "key = ?1 AND state = 'queued'", &key)? {
                place(s, next, now, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// Hands over what is no end.
fn hand_over(
    s: &mut Session,
    row: &Owed,
    n: &Notification,
    to: &Fallback,
    now: Timestamp,
) -> Result<(), StoreError> {
    if has_it(s, row, &to.name)? {
        return told_elsewhere(s, row, &to.name, now);
    }
    if to.apart && n.decision.is_summary() {
        for one in n.apart() {
            let body = limits::json("a notification", &one)?;
            divert(s, row, (one.thread(), one.seq), &to.name, now)?;
            let single = NewRow {
                key: one.key.clone(),
                receiver: Arc::clone(&to.name),
                recipient: String::new(),
                thread: one.thread().to_owned(),
                summary: false,
                at: now,
                not_before: None,
                body,
                content: None,
            };
            rows::insert(s, &single)?;
        }
        return told_elsewhere(s, row, &to.name, now);
    }
    if n.incidents.is_empty() {
        divert(s, row, (&row.thread, n.seq), &to.name, now)?;
    }
    for incident in &n.incidents {
        divert(s, row, (&incident.id, incident.seq), &to.name, now)?;
    }
    redirect(s, row, &to.name, now)
}

/// Remembers that the fallback is told of a thread. Of a later message than the first the receiver is taken to
/// have been told the beginning: better one end too many than an alert that stays open.
fn divert(
    s: &Session,
    row: &Owed,
    (thread, seq): (&str, u64),
    fallback: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    s.change(
        TAKE_OVER,
        "INSERT INTO diverted (receiver, thread, fallback, own, at)
         VALUES (?1, ?2, ?3, ?4 AND NOT EXISTS (SELECT 1 FROM diverted WHERE receiver = ?1 AND thread = ?2), ?5)
         ON CONFLICT DO NOTHING",
        (&row.receiver, thread, fallback, seq > 1, micros(now)),
    )?;
    Ok(())
}

/// The row goes to another receiver, as if it had been its own.
fn redirect(s: &mut Session, row: &Owed, to: &str, now: Timestamp) -> Result<(), StoreError> {
    // What waits for its log goes on waiting for it. The age is counted anew: the fallback had no chance yet.
    s.change(
        TAKE_OVER,
        "UPDATE outbox SET receiver = ?2, recipient = '', head = 0, stays = 0,
             not_before = iif(attempts = 0, not_before, 0), attempts = 0, queued_at = ?3, reason = '',
             body = ?4, inside = NULL, alone = 0
         WHERE seq = ?1 AND state = 'queued'",
        (row.seq, to, micros(now), &row.body),
    )?;
    rows::advance(s, &row.receiver, &row.recipient, &row.thread)?;
    // It may be older than what the fallback is owed of that thread.
    s.change(
        TAKE_OVER,
        "UPDATE outbox SET head = (seq = (SELECT min(o.seq) FROM outbox o WHERE o.receiver = ?1
             AND o.thread = ?2 AND o.recipient = '' AND o.state IN ('queued', 'sending')))
         WHERE receiver = ?1 AND thread = ?2 AND recipient = '' AND state IN ('queued', 'sending')",
        (to, &row.thread),
    )?;
    s.woken.insert(Arc::from(to));
    Ok(())
}

/// The other receiver is told the same by a row of its own.
fn told_elsewhere(s: &Session, row: &Owed, by: &str, now: Timestamp) -> Result<(), StoreError> {
    s.change(
        TAKE_OVER,
        "UPDATE outbox SET state = 'delivered', receiver = ?2, head = 0, reason = '', ended_at = ?3, body = ''
         WHERE seq = ?1 AND state = 'queued'",
        (row.seq, by, micros(now)),
    )?;
    rows::advance(s, &row.receiver, &row.recipient, &row.thread)
}

/// The key of a row without its recipient.
fn key_of_all(row: &Owed) -> &str {
    row.key
        .strip_suffix(row.recipient.as_str())
        .and_then(|key| key.strip_suffix('/'))
        .filter(|_| !row.recipient.is_empty())
        .unwrap_or(&row.key)
}

fn copied(row: &Owed, to: &str) -> String {
    format!("{}@{to}", key_of_all(row))
}

/// Is the other receiver told the same anyway: by its own route, or because the row of another recipient was
/// handed over before?
fn has_it(s: &Session, row: &Owed, other: &str) -> Result<bool, StoreError> {
    let base = key_of_all(row);
    let own = base.strip_suffix(row.receiver.as_str()).map(|key| format!("{key}{other}"));
    let copy = copied(row, other);
    for key in [Some(base), own.as_deref(), Some(copy.as_str())].into_iter().flatten() {
        let sql = "SELECT 1 FROM outbox
             WHERE (key = ?1 OR (key >= ?1 || '/' AND key < ?1 || '0')) AND receiver = ?2 LIMIT 1";
        if s.first(TAKE_OVER, sql, (key, other), |_| Ok(()))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Queues the same for another receiver. Returns the new row's key.
fn copy(s: &mut Session, row: &Owed, to: &str, now: Timestamp) -> Result<String, StoreError> {
    let key = copied(row, to);
    let new = NewRow {
        key: key.clone(),
        receiver: Arc::from(to),
        recipient: String::new(),
        thread: row.thread.clone(),
        summary: false,
        at: now,
        not_before: None,
        body: row.body.clone(),
        content: None,
    };
    rows::insert(s, &new)?;
    Ok(key)
}
