//! What keeps the file bounded, and how large things are.

use std::time::Duration;

use jiff::Timestamp;

use super::session::Session;
use super::value::{count, limit, micros, time_opt};
use super::{room, trail};
use crate::store::upkeep::Upkeep;
use crate::store::{Pruned, ReceiverSize, Retention, Sizes, StoreError};

impl Upkeep for Session {
    fn prune(&mut self, keep: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        let pruned = prune(self, keep, now)?;
        room::keep_reserve(self);
        Ok(pruned)
    }

    fn mend(&mut self) -> bool {
        self.leave_memory()
    }

    fn sizes(&mut self) -> Result<Sizes, StoreError> {
        let doing = "read sizes";
        let mut sizes = Sizes::default();
        let rows = self.all(
            doing,
            "SELECT receiver, state, count(*), min(queued_at) FROM outbox
             WHERE state <> 'delivered' GROUP BY receiver, state ORDER BY receiver",
            [],
            |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, count(r, 2)?, time_opt(r, 3)?)),
        )?;
        for (receiver, state, n, oldest) in rows {
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
        let one = |sql: &str| self.one(doing, sql, [], |r| count(r, 0));
        sizes.incidents = one("SELECT count(*) FROM incidents")?;
        sizes.history = one("SELECT coalesce(max(id) - min(id) + 1, 0) FROM history")?;
        sizes.bytes = one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?;
        Ok(sizes)
    }
}

/// Removes rows by age and by the budget, and gives free pages back.
pub(super) fn prune(s: &mut Session, keep: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
    // What is removed in memory would be missing when it is written back.
    if s.health.is_in_memory() {
        return Ok(Pruned::default());
    }
    s.in_transaction(|s| {
        let mut pruned = prune_by_age(s, keep, now)?;
        room::prune_by_bytes(s, &mut pruned)?;
        prune_bodies(s, Retention::STEP)?;
        room::give_pages_back(s)?;
        Ok(pruned)
    })
}

fn prune_by_age(s: &Session, keep: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
    let before = |age: Duration| micros(now.checked_sub(age).unwrap_or(Timestamp::MIN));
    let delete = |sql: &str, bound: i64| s.change("prune", sql, (bound, limit(Retention::STEP)));
    // The newest row that is one too many.
    let sql = "SELECT max(id) - ?1 FROM history";
    let surplus: Option<i64> = s.one("prune", sql, [limit(keep.history_rows)], |r| r.get(0))?;
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
    // Their ends forget them; of what had none they are forgotten with the history.
    s.change("prune", "DELETE FROM diverted WHERE at < ?1", [before(keep.history_age)])?;
    pruned.objects = trail::prune_objects(s, before(keep.history_age), keep.history_rows, Retention::STEP)?;
    Ok(pruned)
}

/// Removes bodies that no row needs any more, at most so many.
fn prune_bodies(s: &Session, at_most: usize) -> Result<usize, StoreError> {
    s.change(
        "prune shared texts",
        "DELETE FROM bodies WHERE key IN (SELECT key FROM bodies b
             WHERE NOT EXISTS (SELECT 1 FROM outbox o
                 WHERE o.key >= b.key || '/' AND o.key < b.key || '0' AND o.state <> 'delivered')
             LIMIT ?1)",
        [limit(at_most)],
    )
}
