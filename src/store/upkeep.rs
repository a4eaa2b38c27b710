//! What keeps the file bounded, and how large things are.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::value::{count, limit, micros, time_opt};
use super::worker::Session;
use super::{Call, Store, StoreError, room};
use super::{explain, recipients};

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
    #[must_use]
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

impl Store {
    /// Removes what is older than `keep` says or beyond the budget, at most [`Retention::STEP`] rows of a
    /// kind, gives free pages back, and makes the reserve if it is missing. Nothing while things are kept
    /// in memory only. To be called every minute, and again while [`Pruned::is_full`].
    pub fn prune(&self, keep: Retention, now: Timestamp) -> Call<Pruned> {
        self.write_alone("prune", move |s| {
            let pruned = prune(s, &keep, now)?;
            room::keep_reserve(s);
            Ok(pruned)
        })
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
            Ok(Sizes { cut, unread, ..sizes(s)? })
        })
    }
}

pub(super) fn prune(s: &mut Session, keep: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
    // What is removed in memory would be missing when it is written back.
    if s.health.is_in_memory() {
        return Ok(Pruned::default());
    }
    s.transaction(|s| {
        let mut pruned = prune_by_age(s, keep, now)?;
        room::prune_by_bytes(s, &mut pruned)?;
        recipients::prune_bodies(s, Retention::STEP)?;
        room::give_pages_back(s)?;
        Ok(pruned)
    })
}

fn prune_by_age(s: &mut Session, keep: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
    let before = |age: Duration| micros(now.checked_sub(age).unwrap_or(Timestamp::MIN));
    let delete = |sql: &str, bound: i64| -> Result<usize, StoreError> {
        s.conn
            .prepare_cached(sql)
            .and_then(|mut q| q.execute((bound, limit(Retention::STEP))))
            .map_err(s.error("prune"))
    };
    // The newest row that is one too many.
    let surplus: Option<i64> = s
        .conn
        .prepare_cached("SELECT max(id) - ?1 FROM history")
        .and_then(|mut q| q.query_row([limit(keep.history_rows)], |r| r.get(0)).optional())
        .map_err(s.error("prune"))?
        .flatten();
    let mut pruned = Pruned {
        history: delete(
            "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE at < ?1 ORDER BY at LIMIT ?2)",
            before(keep.history_age),
        )?,
        delivered: delete(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox
                 WHERE state = 'delivered' AND ended_at < ?1 ORDER BY ended_at LIMIT ?2)",
            before(keep.delivered_age),
        )?,
        dead: delete(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox
                 WHERE state = 'dead' AND ended_at < ?1 ORDER BY seq LIMIT ?2)",
            before(keep.dead_age),
        )?,
        handles: delete(
            "DELETE FROM handles WHERE (receiver, thread) IN (SELECT receiver, thread FROM handles
                 WHERE used_at < ?1 ORDER BY used_at LIMIT ?2)",
            before(keep.handle_age),
        )?,
        objects: 0,
    };
    if let Some(surplus) = surplus {
        pruned.history += delete(
            "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE id <= ?1 ORDER BY id LIMIT ?2)",
            surplus,
        )?;
    }
    pruned.objects = explain::prune_objects(s, before(keep.history_age), keep.history_rows, Retention::STEP)?;
    Ok(pruned)
}

fn sizes(s: &mut Session) -> Result<Sizes, StoreError> {
    let failed = s.error("read sizes");
    let mut sizes = Sizes::default();
    let mut rows = s
        .conn
        .prepare_cached(
            "SELECT receiver, state, count(*), min(queued_at) FROM outbox
             WHERE state <> 'delivered' GROUP BY receiver, state ORDER BY receiver",
        )
        .map_err(&failed)?;
    let rows = rows
        .query_map([], |r| {
            Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, count(r, 2)?, time_opt(r, 3)?))
        })
        .map_err(&failed)?;
    for row in rows {
        let (receiver, state, n, oldest) = row.map_err(&failed)?;
        if sizes.receivers.last().is_none_or(|last| last.receiver != receiver) {
            sizes.receivers.push(ReceiverSize { receiver, ..ReceiverSize::default() });
        }
        let Some(size) = sizes.receivers.last_mut() else { continue };
        match state.as_str() {
            "dead" => size.dead = n,
            "sending" => size.sending = n,
            _ => size.queued = n,
        }
        if state != "dead" {
            size.oldest = [size.oldest, oldest].into_iter().flatten().min();
        }
    }
    let one = |sql: &str| {
        s.conn.prepare_cached(sql).and_then(|mut q| q.query_row([], |r| count(r, 0))).map_err(&failed)
    };
    sizes.incidents = one("SELECT count(*) FROM incidents")?;
    sizes.history = one("SELECT coalesce(max(id) - min(id) + 1, 0) FROM history")?;
    sizes.bytes = one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?;
    Ok(sizes)
}
