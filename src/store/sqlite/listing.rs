use std::sync::Arc;

use jiff::Timestamp;

use super::rows::{self, BODY};
use super::session::Session;
use super::value::{limit, time, time_opt};
use crate::store::commit::NewRow;
use crate::store::listing::Listing;
use crate::store::{OutboxEntry, OutboxItem, OutboxQuery, OutboxStates, StoreError};

// A body no version can read must not fail the list of all others.
const COLUMNS: &str = "seq, key, receiver, thread, state, attempts, created_at, not_before, ended_at, reason,
     inside, CASE WHEN json_valid(said) THEN coalesce(json_extract(said, '$.title'), '') ELSE '' END,
     recipient, said";

/// The first rows of the outbox, by `order`, that meet `condition`. The
/// columns are those of [`entry`], then what the row says, then `more`.
pub(super) fn select(condition: &str, order: &str, limit: &str, more: &str) -> String {
    format!(
        "SELECT {COLUMNS}{more}
         FROM (SELECT *, {BODY} AS said FROM outbox WHERE {condition} ORDER BY {order} LIMIT {limit})
         ORDER BY {order}"
    )
}

pub(super) fn entry(r: &rusqlite::Row<'_>) -> rusqlite::Result<OutboxEntry> {
    let not_before: i64 = r.get(7)?;
    Ok(OutboxEntry {
        seq: r.get(0)?,
        key: r.get(1)?,
        receiver: r.get(2)?,
        thread: r.get(3)?,
        state: r.get(4)?,
        attempts: r.get(5)?,
        created_at: time(r, 6)?,
        not_before: if not_before == 0 { None } else { time_opt(r, 7)? },
        ended_at: time_opt(r, 8)?,
        reason: r.get(9)?,
        inside: r.get(10)?,
        title: r.get(11)?,
        recipient: r.get(12)?,
    })
}

impl Listing for Session {
    fn outbox(&mut self, query: &OutboxQuery) -> Result<Vec<OutboxEntry>, StoreError> {
        let states = match query.states {
            OutboxStates::Undelivered => "state <> 'delivered'",
            OutboxStates::Dead => "state = 'dead'",
            OutboxStates::All => "1",
        };
        let sql = select(
            &format!(
                "seq > ?1 AND {states} AND (?2 IS NULL OR receiver = ?2) AND (?3 IS NULL OR inside = ?3)"
            ),
            "seq",
            "?4",
            "",
        );
        let params = (query.after, &query.receiver, &query.inside, limit(query.limit));
        self.all("list the outbox", &sql, params, entry)
    }

    fn outbox_find(&mut self, key: &str, at_most: usize) -> Result<Vec<OutboxItem>, StoreError> {
        // A range and not LIKE: keys may hold `_` and `%`, and the index on keys serves it.
        let sql = select("key >= ?1 AND key < ?1 || char(1114111)", "key", "?2", "");
        let found: Vec<(OutboxEntry, String)> =
            self.all("look for a key", &sql, (key, limit(at_most)), |r| Ok((entry(r)?, r.get(13)?)))?;
        let mut items: Vec<OutboxItem> = found
            .into_iter()
            .map(|(entry, body)| OutboxItem {
                entry,
                notification: (!body.is_empty())
                    .then(|| serde_json::from_str(&body).map(Box::new).map_err(|e| e.to_string())),
            })
            .collect();
        if items.first().is_some_and(|first| first.entry.key == key) {
            items.truncate(1);
        }
        Ok(items)
    }

    fn resend_dead(&mut self, key: &str, now: Timestamp) -> Result<bool, StoreError> {
        let doing = "send a dead letter again";
        let sql = format!(
            "SELECT receiver, recipient, thread, summary, created_at, {BODY}, inside IS NOT NULL, content
             FROM outbox WHERE key = ?1 AND state = 'dead'"
        );
        let row = self.first(doing, &sql, [key], |r| {
            let row = NewRow {
                key: key.to_owned(),
                receiver: Arc::from(r.get::<_, String>(0)?),
                recipient: r.get(1)?,
                thread: r.get(2)?,
                summary: r.get(3)?,
                at: now,
                not_before: None,
                body: r.get(5)?,
                content: r.get(7)?,
            };
            Ok((row, r.get::<_, i64>(4)?, r.get::<_, bool>(6)?))
        })?;
        let Some((row, created, alone)) = row else { return Ok(false) };
        self.change(doing, "DELETE FROM outbox WHERE key = ?1", [key])?;
        rows::insert(self, &row)?;
        let sql = "UPDATE outbox SET created_at = ?2, alone = ?3 WHERE key = ?1";
        self.change(doing, sql, (key, created, alone))?;
        Ok(true)
    }

    fn drop_dead(&mut self, key: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM outbox WHERE key = ?1 AND state = 'dead'";
        Ok(self.change("drop a dead letter", sql, [key])? > 0)
    }
}
