//! Room on the volume: how it is shared out, and what is given up when there is none.
//!
//! ```text
//!  max_bytes ─┬─ reserve   a file that is deleted when nothing else helps
//!             ├─ log       the write-ahead log, truncated to this after each checkpoint
//!             └─ pages     the database; pruned at 9/10 of it, refused by SQLite beyond all of it
//!                  └─ dead letters: 1/8 of it at most
//! ```

use jiff::Timestamp;
use rusqlite::Connection;

use super::session::Session;
use super::upkeep;
use super::value::limit;
use crate::store::commit::Commits;
use crate::store::error::Trouble;
use crate::store::{Pruned, Retention, StoreError};

/// How large the store may grow, on disk and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Database, log and reserve together.
    pub max_bytes: u64,
    /// What may be kept in memory while the disk fails; what does not fit any more fails.
    pub memory_bytes: u64,
}

const MIB: u64 = 1 << 20;

impl Default for Budget {
    /// Fits a volume of 1 GiB, of which a file system keeps some for itself.
    fn default() -> Self {
        Self { max_bytes: 768 * MIB, memory_bytes: 32 * MIB }
    }
}

impl Budget {
    /// The least that it can do with.
    pub const MIN_BYTES: u64 = 16 * MIB;

    /// At most `max_bytes` on disk.
    pub fn of(max_bytes: u64) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Bytes of the reserve file.
    pub fn reserve(&self) -> u64 {
        (self.max_bytes / 32).min(16 * MIB)
    }

    /// Bytes of the write-ahead log, between checkpoints. A transaction that is larger exceeds it for a
    /// moment.
    pub fn log(&self) -> u64 {
        (self.max_bytes / 8).min(32 * MIB)
    }

    /// Bytes of the database.
    pub fn pages(&self) -> u64 {
        self.max_bytes.saturating_sub(self.reserve()).saturating_sub(self.log())
    }

    /// From so many bytes on, the oldest history is dropped.
    pub fn pruned_at(&self) -> u64 {
        self.pages() / 10 * 9
    }

    /// Bytes of dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.pages() / 8
    }
}

/// SQLite's own choice of when the log is written back, as the largest.
const CHECKPOINT_PAGES: u64 = 1_000;
/// History rows that one step of [`drop_history`] deletes: a few hundred pages of the log.
const STEP: usize = 500;
/// Steps of one [`drop_history`].
const STEPS: usize = 20;
/// Steps of [`upkeep::prune`] at a start, before anything else needs room.
const PRUNE_STEPS: usize = 200;

/// Settings that follow from the budget, once the file is open.
pub(super) fn configure(s: &Session) -> Result<(), StoreError> {
    let Some(keeper) = &s.keeper else { return Ok(()) };
    let failed = s.error("configure");
    let log = i64::try_from(keeper.budget.log()).unwrap_or(i64::MAX);
    s.conn.query_row(&format!("PRAGMA journal_size_limit = {log}"), [], |_| Ok(())).map_err(&failed)?;
    // At half of it, so that the transaction that reaches it fits.
    let size = pragma(&s.conn, "page_size").map_err(&failed)?;
    let pages = (keeper.budget.log() / 2 / size.max(1)).clamp(16, CHECKPOINT_PAGES);
    s.conn.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(())).map_err(&failed)?;
    limit_pages(s, keeper.budget.pages())
}

fn limit_pages(s: &Session, bytes: u64) -> Result<(), StoreError> {
    let failed = s.error("configure");
    let size = pragma(&s.conn, "page_size").map_err(&failed)?;
    let pages = (bytes / size.max(1)).max(1);
    // A file that is larger already stays so until it is pruned.
    s.conn.query_row(&format!("PRAGMA main.max_page_count = {pages}"), [], |_| Ok(())).map_err(&failed)
}

fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<u64> {
    let value: i64 = conn.query_row(&format!("PRAGMA main.{name}"), [], |r| r.get(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

/// Bytes of pages that hold something.
pub(super) fn used(s: &Session) -> Result<u64, StoreError> {
    let read = |name: &str| pragma(&s.conn, name).map_err(s.error("measure"));
    Ok(read("page_count")?.saturating_sub(read("freelist_count")?).saturating_mul(read("page_size")?))
}

/// At a start, before anything needs room: prunes, makes the reserve, and tries whether a commit can
/// be kept. Where it cannot, everything goes on in memory.
pub(super) fn prepare(s: &mut Session, now: Timestamp) -> Result<(), StoreError> {
    if s.keeper.is_none() {
        return Ok(());
    }
    configure(s)?;
    let retention = Retention::default();
    for _ in 0..PRUNE_STEPS {
        match s.insist(|s| upkeep::prune(s, &retention, now)) {
            Ok(pruned) if pruned.is_full() => {}
            Ok(_) => break,
            Err(error) if error.trouble() == Some(Trouble::Damage) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "old history cannot be removed");
                break;
            }
        }
    }
    s.insist(|s| s.in_transaction(Session::probe))
}

/// Makes the reserve file if it is missing and there is room for twice as much: what is reserved must
/// not be what makes the volume full.
pub(super) fn keep_reserve(s: &mut Session) {
    let Some(keeper) = s.keeper.clone() else { return };
    let (path, bytes) = (keeper.reserve(), keeper.budget.reserve());
    let there = keeper.disk.size(&path).ok().flatten() == Some(bytes);
    let made = there
        || (keeper.disk.free(&path).is_ok_and(|free| free / 2 >= bytes)
            && keeper.disk.allocate(&path, bytes).is_ok());
    if made && s.health.get().reserve == Some(false) {
        tracing::info!(path = %path.display(), bytes, "the reserve is there again");
    }
    if made && limit_pages(s, keeper.budget.pages()).is_err() {
        return;
    }
    s.health.update(|health| health.reserve = Some(made));
}

/// Gives the reserve up. `true`: there was one.
pub(super) fn free_reserve(s: &mut Session) -> bool {
    let Some(keeper) = s.keeper.clone() else { return false };
    let path = keeper.reserve();
    // The database may have its part of the budget, too.
    let raised = limit_pages(s, keeper.budget.pages() + keeper.budget.reserve()).is_ok();
    let freed = matches!(keeper.disk.size(&path), Ok(Some(_))) && keeper.disk.remove(&path).is_ok();
    let had = freed || (raised && s.health.get().reserve == Some(true));
    s.health.update(|health| health.reserve = Some(false));
    if had {
        tracing::warn!(path = %path.display(), "no room for the store: the reserve was given up for it");
    }
    had
}

/// Drops the oldest history, in steps whose own writes need little room. How many rows went.
pub(super) fn drop_history(s: &mut Session) -> u64 {
    let mut dropped = 0;
    for _ in 0..STEPS {
        let step = s.in_transaction(|s| delete_oldest_history(s, STEP));
        let Ok(rows) = step else { break };
        dropped += rows;
        // The log begins anew, and what became free goes back to the volume.
        s.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).ok();
        give_pages_back(s).ok();
        s.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).ok();
        if rows < STEP as u64 {
            break;
        }
    }
    if dropped > 0 {
        tracing::warn!(rows = dropped, "no room for the store: the oldest history was dropped");
        s.health.update(|health| health.dropped.history += dropped);
    }
    dropped
}

fn delete_oldest_history(s: &mut Session, at_most: usize) -> Result<u64, StoreError> {
    let sql = "DELETE FROM main.history WHERE id IN (SELECT id FROM main.history ORDER BY id LIMIT ?1)";
    let rows = s.change("drop history", sql, [limit(at_most)])?;
    Ok(u64::try_from(rows).unwrap_or(u64::MAX))
}

/// What the budget has no room for, at most [`Retention::STEP`] rows of a kind.
pub(super) fn prune_by_bytes(s: &mut Session, pruned: &mut Pruned) -> Result<(), StoreError> {
    let Some(keeper) = &s.keeper else { return Ok(()) };
    let (pages, dead) = (keeper.budget.pruned_at(), keeper.budget.dead_letters());
    let letters = prune_dead_letters(s, dead)?;
    let mut history = 0;
    let used = used(s)?;
    if used > pages {
        history = delete_oldest_history(s, Retention::STEP)?;
    }
    let over = used > pages && history == 0;
    if over && !s.health.get().over_budget {
        tracing::warn!(
            used,
            budget = pages,
            "the store needs more room than `store.max_bytes` gives it, and nothing is left that may be dropped"
        );
    }
    if letters > 0 {
        tracing::warn!(
            dead_letters = letters,
            bytes = dead,
            "the oldest dead letters were dropped: they have no more room than this"
        );
    }
    s.health.update(|health| {
        health.over_budget = over;
        health.dropped.history += history;
        health.dropped.dead_letters += letters;
    });
    pruned.history += usize::try_from(history).unwrap_or(usize::MAX);
    pruned.dead += usize::try_from(letters).unwrap_or(usize::MAX);
    Ok(())
}

/// Drops the oldest dead letters beyond `bytes`.
fn prune_dead_letters(s: &mut Session, bytes: u64) -> Result<u64, StoreError> {
    // Of a long text SQLite knows the length without reading it.
    let sql = "DELETE FROM main.outbox WHERE seq IN (
                   SELECT seq FROM (
                       SELECT seq, sum(octet_length(body) + coalesce((
                           SELECT octet_length(b.body) FROM main.bodies b
                           WHERE o.recipient <> ''
                               AND b.key = substr(o.key, 1, length(o.key) - length(o.recipient) - 1)), 0))
                           OVER (ORDER BY seq DESC) AS newer
                       FROM main.outbox o WHERE state = 'dead')
                   WHERE newer > ?1 ORDER BY seq LIMIT ?2)";
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let rows = s.change("drop dead letters", sql, (bytes, limit(Retention::STEP)))?;
    Ok(u64::try_from(rows).unwrap_or(u64::MAX))
}

/// Gives free pages back to the volume, at most so many at a time.
pub(super) fn give_pages_back(s: &Session) -> Result<(), StoreError> {
    s.all("give pages back", "PRAGMA incremental_vacuum(1000)", [], |_| Ok(())).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up_and_none_is_nothing() {
        for bytes in [Budget::MIN_BYTES, 64 * MIB, Budget::default().max_bytes, 64 << 30] {
            let budget = Budget::of(bytes);
            assert_eq!(budget.reserve() + budget.log() + budget.pages(), bytes);
            assert!(budget.reserve() >= MIB / 2 && budget.log() >= MIB && budget.pages() > bytes / 2);
            assert!(budget.dead_letters() < budget.pruned_at() && budget.pruned_at() < budget.pages());
        }
    }
}
