//! The one transaction of the pipeline: engine delta, notifications and history together.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::amend::Holds;
use super::explain::{self, ObjectRow};
use super::history::{self, HistoryRow};
use super::limits::{self, Cuts, MAX_INCIDENT, MAX_PART};
use super::outbox_rows::{self, NewRow};
use super::silences::{self, SilenceRow};
use super::value::{limit, micros};
use super::worker::Session;
use super::{Call, Store, StoreError};
use crate::message::Notification;

/// Everything one step of the engine decided. It is kept whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// New or changed incidents.
    pub incidents: Vec<IncidentRow>,
    /// Ids of incidents to forget; ids not known are fine.
    pub removed: Vec<String>,
    /// Small facts, by name; the last value wins.
    pub marks: Vec<(String, String)>,
    /// What receivers are owed. One whose key is known already is not inserted again, so replaying
    /// input after a crash repeats nothing.
    pub notifications: Vec<Notification>,
    /// Of these, the ones that wait for something to be added ([`Store::amend`]), and until when.
    pub holds: Holds,
    /// What was decided, said or not.
    pub history: Vec<HistoryRow>,
    /// New or changed silences.
    pub silences: Vec<SilenceRow>,
    /// Ids of silences to forget; ids not known are fine.
    pub silences_removed: Vec<String>,
    /// What was told of several incidents at once, and of which.
    pub summaries: Vec<(HistoryRow, Vec<Arc<str>>)>,
    /// Incidents that are not told, new or changed; not among those that are loaded at a start.
    pub pending: Vec<IncidentRow>,
    /// Ids of incidents that do not wait any more; ids not known are fine.
    pub settled: Vec<String>,
    /// Which objects are part of which incidents; known ones are fine.
    pub objects: Vec<ObjectRow>,
    /// Parts of digests to come, changed or (without a body) to be forgotten.
    pub digests: Vec<DigestRow>,
}

impl Commit {
    /// Is there nothing to keep?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.incidents.is_empty()
            && self.removed.is_empty()
            && self.marks.is_empty()
            && self.notifications.is_empty()
            && self.history.is_empty()
            && self.silences.is_empty()
            && self.silences_removed.is_empty()
            && self.summaries.is_empty()
            && self.pending.is_empty()
            && self.settled.is_empty()
            && self.objects.is_empty()
            && self.digests.is_empty()
    }
}

/// A part of what a receiver is owed at its next digest; the store does not look into `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRow {
    /// Whose.
    pub receiver: Arc<str>,
    /// About which incident; `None`: not about a single one.
    pub incident: Option<Arc<str>>,
    /// JSON; `None`: to be forgotten.
    pub body: Option<String>,
}

/// An incident as the engine wrote it; the store does not look into `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRow {
    /// Its id.
    pub id: String,
    /// The rule that speaks, for queries.
    pub rule: Arc<str>,
    /// `pending`, `firing`, `resolved`, …, for queries.
    pub state: Arc<str>,
    /// JSON.
    pub body: String,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Store {
    /// Keeps all of it in one transaction. Receivers with new rows are woken once it is on disk.
    pub fn commit(&self, mut commit: Commit) -> Call<()> {
        limits::bound(&mut commit, self.cuts());
        // Written out here and not in the store's one thread, which all wait for.
        let rows: Result<Vec<NewRow>, StoreError> =
            commit.notifications.iter().map(|n| NewRow::of(n, &commit.holds, self.cuts())).collect();
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return Call::failed(self, error),
        };
        let Commit {
            incidents,
            removed,
            marks,
            notifications: _,
            holds: _,
            history,
            silences,
            silences_removed,
            summaries,
            pending,
            settled,
            objects,
            digests,
        } = commit;
        self.write("commit", move |s| {
            put_incidents(s, &incidents, &removed)?;
            put_marks(s, &marks)?;
            silences::put(s, &silences, &silences_removed)?;
            put_digests(s, &digests)?;
            for row in &rows {
                outbox_rows::insert(s, row)?;
            }
            history::insert(s, &history)?;
            history::insert_summaries(s, &summaries)?;
            explain::put_pending(s, &pending)?;
            explain::put_objects(s, &objects)?;
            explain::settle_pending(s, &settled)
        })
    }

    /// Every incident as `(id, body)`, by id. Those that are too large are left where they are, and
    /// named in the log.
    pub fn load_incidents(&self) -> Call<Vec<(String, String)>> {
        let cuts = Arc::clone(self.cuts());
        self.read("load incidents", move |s| {
            limits::unread(s, "incidents", MAX_INCIDENT, &cuts)?;
            let sql = format!(
                "SELECT id, body FROM incidents WHERE octet_length(body) <= {MAX_INCIDENT} ORDER BY id"
            );
            pairs(s, &sql)
        })
    }

    /// Every mark as `(name, value)`, by name.
    pub fn load_marks(&self) -> Call<Vec<(String, String)>> {
        self.read("load marks", |s| pairs(s, "SELECT name, value FROM marks ORDER BY name"))
    }

    /// Every part of a digest to come that has a body, by receiver; what is not about a single incident
    /// comes first.
    pub fn load_digests(&self) -> Call<Vec<DigestRow>> {
        let cuts = Arc::clone(self.cuts());
        self.read("load digests", move |s| {
            limits::unread(s, "digests", MAX_PART, &cuts)?;
            let row = |r: &rusqlite::Row<'_>| {
                let (receiver, incident): (String, String) = (r.get(0)?, r.get(1)?);
                let incident = (!incident.is_empty()).then(|| Arc::from(incident));
                Ok(DigestRow { receiver: Arc::from(receiver), incident, body: r.get(2)? })
            };
            s.conn
                .prepare_cached(
                    "SELECT receiver, incident, body FROM digests WHERE octet_length(body) <= ?1
                     ORDER BY receiver, incident",
                )
                .and_then(|mut q| q.query_map([limit(MAX_PART)], row)?.collect())
                .map_err(s.error("load digests"))
        })
    }

    /// One mark.
    pub fn mark(&self, name: &str) -> Call<Option<String>> {
        let name = name.to_owned();
        self.read("read a mark", move |s| {
            let failed = s.error("read a mark");
            s.conn
                .prepare_cached("SELECT value FROM marks WHERE name = ?1")
                .and_then(|mut q| q.query_row([name], |r| r.get(0)).optional())
                .map_err(failed)
        })
    }

    /// Can a commit be kept right now? Makes a real one, so a full disk or a file system that was
    /// remounted read-only is found; for readiness checks, every few seconds at most.
    pub fn writable(&self) -> Call<()> {
        self.write("check that it can write", |s| {
            // A value that differs each time, or SQLite would have nothing to write.
            s.conn
                .prepare_cached(
                    "INSERT INTO marks (name, value) VALUES ('store.probe', '1')
                     ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)",
                )
                .and_then(|mut q| q.execute([]))
                .map_err(s.error("check that it can write"))?;
            Ok(())
        })
    }
}

pub(super) fn pairs(s: &Session, sql: &str) -> Result<Vec<(String, String)>, StoreError> {
    s.conn
        .prepare_cached(sql)
        .and_then(|mut q| q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(s.error("load"))
}

fn put_incidents(s: &Session, rows: &[IncidentRow], removed: &[String]) -> Result<(), StoreError> {
    let failed = s.error("keep incidents");
    for row in rows {
        s.conn
            .prepare_cached(
                "INSERT INTO incidents (id, rule, state, body, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET rule = excluded.rule, state = excluded.state,
                     body = excluded.body, updated_at = excluded.updated_at",
            )
            .and_then(|mut q| {
                q.execute((&row.id, &*row.rule, &*row.state, &row.body, micros(row.updated_at)))
            })
            .map_err(&failed)?;
    }
    for id in removed {
        s.conn
            .prepare_cached("DELETE FROM incidents WHERE id = ?1")
            .and_then(|mut q| q.execute([id]))
            .map_err(&failed)?;
    }
    Ok(())
}

fn put_digests(s: &Session, rows: &[DigestRow]) -> Result<(), StoreError> {
    let failed = s.error("keep digests");
    for row in rows {
        let incident = row.incident.as_deref().unwrap_or_default();
        match &row.body {
            Some(body) => s
                .conn
                .prepare_cached(
                    "INSERT INTO digests (receiver, incident, body) VALUES (?1, ?2, ?3)
                     ON CONFLICT (receiver, incident) DO UPDATE SET body = excluded.body",
                )
                .and_then(|mut q| q.execute((&*row.receiver, incident, body))),
            None => s
                .conn
                .prepare_cached("DELETE FROM digests WHERE receiver = ?1 AND incident = ?2")
                .and_then(|mut q| q.execute((&*row.receiver, incident))),
        }
        .map_err(&failed)?;
    }
    Ok(())
}

fn put_marks(s: &Session, marks: &[(String, String)]) -> Result<(), StoreError> {
    for (name, value) in marks {
        s.conn
            .prepare_cached(
                "INSERT INTO marks (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .and_then(|mut q| q.execute((name, value)))
            .map_err(s.error("keep marks"))?;
    }
    Ok(())
}

impl NewRow {
    fn of(notification: &Notification, holds: &Holds, cuts: &Cuts) -> Result<Self, StoreError> {
        Ok(Self {
            key: notification.key.clone(),
            receiver: Arc::clone(&notification.receiver),
            thread: notification.thread().to_owned(),
            summary: notification.decision.is_summary(),
            at: notification.at,
            not_before: holds.get(&notification.key).copied(),
            body: limits::notification(notification, cuts)?,
        })
    }
}
