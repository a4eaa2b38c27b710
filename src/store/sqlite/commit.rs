//! A commit, and what is loaded at a start.

use std::sync::Arc;

use rusqlite::Params;

use super::rows::{self, Inserted};
use super::session::Session;
use super::value::{count, limit, micros, time};
use super::{fallback, history, trail};
use crate::message::Notification;
use crate::store::commit::{Commits, NewRow};
use crate::store::limits::{Cuts, MAX_INCIDENT, MAX_PART};
use crate::store::{
    AnnotationRow, Commit, Committed, DigestRow, HistoryRow, IncidentRow, NotQueued, SilenceRow, StoreError,
};

impl Commits for Session {
    fn commit(&mut self, commit: &Commit, rows: &[NewRow]) -> Result<Committed, StoreError> {
        put_incidents(self, "incidents", &commit.incidents)?;
        delete_each(self, "keep incidents", "DELETE FROM incidents WHERE id = ?1", &commit.removed)?;
        put_marks(self, &commit.marks)?;
        put_silences(self, &commit.silences)?;
        delete_each(self, "keep silences", "DELETE FROM silences WHERE id = ?1", &commit.silences_removed)?;
        put_annotations(self, &commit.annotations)?;
        put_digests(self, &commit.digests)?;
        let (mut not_queued, mut ends) = (Vec::new(), Vec::new());
        for (row, notification) in rows.iter().zip(&commit.notifications) {
            match rows::insert(self, row)? {
                Inserted::KeyTaken => not_queued.push(notification),
                Inserted::Queued if notification.is_end() => ends.push(row),
                Inserted::Queued | Inserted::Replay => {}
            }
        }
        // Once all rows are there: a fallback may have an end of its own.
        for row in ends {
            fallback::place_end(self, row)?;
        }
        history::insert(self, &commit.history)?;
        let lost: Vec<HistoryRow> = not_queued.iter().map(|n| HistoryRow::not_queued(n)).collect();
        history::insert(self, &lost)?;
        history::insert_summaries(self, &commit.summaries)?;
        put_incidents(self, "pending", &commit.pending)?;
        trail::put_objects(self, &commit.objects)?;
        trail::settle_pending(self, &commit.settled)?;
        let of = |n: &&Notification| NotQueued {
            key: n.key.clone(),
            receiver: Arc::clone(&n.receiver),
            title: n.title.clone(),
        };
        Ok(Committed { not_queued: not_queued.iter().map(of).collect() })
    }

    fn load_incidents(&mut self, cuts: &Cuts) -> Result<Vec<(String, String)>, StoreError> {
        unread(self, "incidents", MAX_INCIDENT, cuts)?;
        // In memory there are the bodies of those that changed since.
        let sql = if self.health.is_in_memory() {
            "SELECT id, iif(i.body = '', m.body, i.body) FROM incidents i
                 LEFT JOIN main.incidents m USING (id)
             WHERE octet_length(iif(i.body = '', m.body, i.body)) <= ?1 ORDER BY id"
        } else {
            "SELECT id, body FROM incidents WHERE octet_length(body) <= ?1 ORDER BY id"
        };
        pairs(self, sql, [limit(MAX_INCIDENT)])
    }

    fn load_marks(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        pairs(self, "SELECT name, value FROM marks ORDER BY name", [])
    }

    fn load_digests(&mut self, cuts: &Cuts) -> Result<Vec<DigestRow>, StoreError> {
        unread(self, "digests", MAX_PART, cuts)?;
        self.all(
            "load digests",
            "SELECT receiver, incident, body FROM digests WHERE octet_length(body) <= ?1
             ORDER BY receiver, incident",
            [limit(MAX_PART)],
            |r| {
                let (receiver, incident): (String, String) = (r.get(0)?, r.get(1)?);
                let incident = (!incident.is_empty()).then(|| Arc::from(incident));
                Ok(DigestRow { receiver: Arc::from(receiver), incident, body: r.get(2)? })
            },
        )
    }

    fn load_silences(&mut self, cuts: &Cuts) -> Result<Vec<(String, String)>, StoreError> {
        unread(self, "silences", MAX_PART, cuts)?;
        let sql = "SELECT id, body FROM silences WHERE octet_length(body) <= ?1 ORDER BY id";
        pairs(self, sql, [limit(MAX_PART)])
    }

    fn load_annotations(&mut self) -> Result<Vec<AnnotationRow>, StoreError> {
        let sql = "SELECT place, key, value, since FROM annotations ORDER BY place, key";
        self.all("load annotations", sql, [], |r| {
            let seen = Some((r.get(2)?, time(r, 3)?));
            Ok(AnnotationRow { place: r.get(0)?, key: r.get(1)?, seen })
        })
    }

    fn mark(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        self.first("read a mark", "SELECT value FROM marks WHERE name = ?1", [name], |r| r.get(0))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        // The same value again would be nothing to write.
        self.change(
            "check that it can write",
            "INSERT INTO marks (name, value) VALUES ('store.probe', '1')
             ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)",
            [],
        )?;
        Ok(())
    }
}

fn pairs(s: &Session, sql: &str, params: impl Params) -> Result<Vec<(String, String)>, StoreError> {
    s.all("load", sql, params, |r| Ok((r.get(0)?, r.get(1)?)))
}

/// Finds rows of `table`, which has a text key and a body, whose body is too large to be read.
/// `octet_length` asks the header of a row, not its contents.
fn unread(s: &Session, table: &'static str, max: usize, cuts: &Cuts) -> Result<(), StoreError> {
    let key = if table == "digests" { "receiver || ' ' || incident" } else { "id" };
    let sql = format!("SELECT {key}, octet_length(body) FROM {table} WHERE octet_length(body) > ?1");
    let found =
        s.all("look for rows that are too large", &sql, [limit(max)], |r| Ok((r.get(0)?, count(r, 1)?)))?;
    cuts.unread(table, &found);
    Ok(())
}

fn delete_each(s: &Session, doing: &'static str, sql: &str, ids: &[String]) -> Result<(), StoreError> {
    ids.iter().try_for_each(|id| s.change(doing, sql, [id]).map(|_| ()))
}

/// `incidents` and `pending` have the same columns.
fn put_incidents(s: &Session, table: &str, rows: &[IncidentRow]) -> Result<(), StoreError> {
    let doing = if table == "pending" { "keep what waits" } else { "keep incidents" };
    let sql = format!(
        "INSERT INTO {table} (id, rule, state, body, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET rule = excluded.rule, state = excluded.state,
             body = excluded.body, updated_at = excluded.updated_at"
    );
    for row in rows {
        s.change(doing, &sql, (&row.id, &*row.rule, &*row.state, &row.body, micros(row.updated_at)))?;
    }
    Ok(())
}

fn put_digests(s: &Session, rows: &[DigestRow]) -> Result<(), StoreError> {
    for row in rows {
        let incident = row.incident.as_deref().unwrap_or_default();
        match &row.body {
            Some(body) => s.change(
                "keep digests",
                "INSERT INTO digests (receiver, incident, body) VALUES (?1, ?2, ?3)
                 ON CONFLICT (receiver, incident) DO UPDATE SET body = excluded.body",
                (&*row.receiver, incident, body),
            ),
            None => s.change(
                "keep digests",
                "DELETE FROM digests WHERE receiver = ?1 AND incident = ?2",
                (&*row.receiver, incident),
            ),
        }?;
    }
    Ok(())
}

fn put_marks(s: &Session, marks: &[(String, String)]) -> Result<(), StoreError> {
    for (name, value) in marks {
        s.change(
            "keep marks",
            "INSERT INTO marks (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )?;
    }
    Ok(())
}

fn put_silences(s: &Session, rows: &[SilenceRow]) -> Result<(), StoreError> {
    for row in rows {
        s.change(
            "keep silences",
            "INSERT INTO silences (id, until, body) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET until = excluded.until, body = excluded.body",
            (&row.id, micros(row.until), &row.body),
        )?;
    }
    Ok(())
}

fn put_annotations(s: &Session, rows: &[AnnotationRow]) -> Result<(), StoreError> {
    for row in rows {
        match &row.seen {
            Some((value, since)) => s.change(
                "keep annotations",
                "INSERT INTO annotations (place, key, value, since) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (place, key) DO UPDATE SET value = excluded.value, since = excluded.since",
                (&row.place, &row.key, value, micros(*since)),
            ),
            None => s.change(
                "keep annotations",
                "DELETE FROM annotations WHERE place = ?1 AND key = ?2",
                (&row.place, &row.key),
            ),
        }?;
    }
    Ok(())
}
