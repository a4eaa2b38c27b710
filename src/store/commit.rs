//! The one transaction of the pipeline: engine delta, notifications and history together.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use sha2::{Digest, Sha256};

use super::amend::DelayedRows;
use super::annotations::{self, AnnotationRow};
use super::explain::{self, ObjectRow};
use super::history::{self, HistoryRow};
use super::limits::{self, Cuts, MAX_INCIDENT, MAX_PART};
use super::outbox_rows::{self, Inserted, NewRow};
use super::silences::{self, SilenceRow};
use super::value::{limit, micros};
use super::worker::Session;
use super::{Call, Store, StoreError};
use crate::message::{Detail, Notification, Reason};

/// Everything one step of the engine decided. It is kept whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// New or changed incidents.
    pub incidents: Vec<IncidentRow>,
    /// Ids of incidents to forget; ids not known are fine.
    pub removed: Vec<String>,
    /// Small facts, by name; the last value wins.
    pub marks: Vec<(String, String)>,
    /// What receivers are owed. One whose key is known already is not inserted again: committing the same
    /// thing twice repeats nothing. One with the key of another message is reported ([`Committed`]).
    pub notifications: Vec<Notification>,
    /// Of these, the ones that wait for something to be added ([`Store::amend`]), and until when.
    pub holds: DelayedRows,
    /// What was decided, said or not.
    pub history: Vec<HistoryRow>,
    /// New or changed silences.
    pub silences: Vec<SilenceRow>,
    /// Ids of silences to forget; ids not known are fine.
    pub silences_removed: Vec<String>,
    /// Annotations that were seen, changed or (without a value) went.
    pub annotations: Vec<AnnotationRow>,
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

/// What a commit kept otherwise than it was asked to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Notifications that were not queued.
    pub not_queued: Vec<NotQueued>,
}

/// A notification that was not queued because another message has its key. Recorded in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotQueued {
    pub key: String,
    /// Who is not told.
    pub receiver: Arc<str>,
    /// What it says, in one line.
    pub title: String,
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
            && self.annotations.is_empty()
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
    pub receiver: Arc<str>,
    /// About which incident; `None`: not about a single one.
    pub incident: Option<Arc<str>>,
    /// JSON; `None`: to be forgotten.
    pub body: Option<String>,
}

/// An incident as the engine wrote it; the store does not look into `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRow {
    pub id: String,
    /// The rule that speaks, for queries.
    pub rule: Arc<str>,
    /// `pending`, `firing`, `resolved`, …, for queries.
    pub state: Arc<str>,
    pub body: String,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Store {
    /// Keeps all of it in one transaction. Receivers with new rows are woken once it is on disk.
    pub fn commit(&self, commit: impl Into<Arc<Commit>>) -> Call<Committed> {
        let mut commit: Arc<Commit> = commit.into();
        if limits::exceeded(&commit) {
            limits::bound(Arc::make_mut(&mut commit), self.cuts());
        }
        // Written out here and not in the store's one thread, which all wait for.
        let rows: Result<Vec<NewRow>, StoreError> =
            commit.notifications.iter().map(|n| NewRow::of(n, &commit.holds, self.cuts())).collect();
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return Call::failed(self, error),
        };
        self.write("commit", move |s| {
            put_incidents(s, &commit.incidents, &commit.removed)?;
            put_marks(s, &commit.marks)?;
            silences::put(s, &commit.silences, &commit.silences_removed)?;
            annotations::put(s, &commit.annotations)?;
            put_digests(s, &commit.digests)?;
            let mut not_queued = Vec::new();
            for (row, notification) in rows.iter().zip(&commit.notifications) {
                if outbox_rows::insert(s, row)? == Inserted::KeyTaken {
                    not_queued.push(notification);
                }
            }
            history::insert(s, &commit.history)?;
            let lost: Vec<HistoryRow> = not_queued.iter().map(|n| HistoryRow::not_queued(n)).collect();
            history::insert(s, &lost)?;
            history::insert_summaries(s, &commit.summaries)?;
            explain::put_pending(s, &commit.pending)?;
            explain::put_objects(s, &commit.objects)?;
            explain::settle_pending(s, &commit.settled)?;
            let of = |n: &&Notification| NotQueued {
                key: n.key.clone(),
                receiver: Arc::clone(&n.receiver),
                title: n.title.clone(),
            };
            Ok(Committed { not_queued: not_queued.iter().map(of).collect() })
        })
    }

    /// Every incident as `(id, body)`, by id. Those that are too large are left where they are, and
    /// named in the log.
    pub fn load_incidents(&self) -> Call<Vec<(String, String)>> {
        let cuts = Arc::clone(self.cuts());
        self.read("load incidents", move |s| {
            limits::unread(s, "incidents", MAX_INCIDENT, &cuts)?;
            // In memory there are the bodies of those that changed since.
            let sql = if s.health.is_in_memory() {
                format!(
                    "SELECT id, iif(i.body = '', m.body, i.body) FROM incidents i
                         LEFT JOIN main.incidents m USING (id)
                     WHERE octet_length(iif(i.body = '', m.body, i.body)) <= {MAX_INCIDENT} ORDER BY id"
                )
            } else {
                format!(
                    "SELECT id, body FROM incidents WHERE octet_length(body) <= {MAX_INCIDENT} ORDER BY id"
                )
            };
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

    pub fn mark(&self, name: &str) -> Call<Option<String>> {
        let name = name.to_owned();
        self.read("read a mark", move |s| {
            let failed = s.error("read a mark");
            s.conn
                .prepare_cached("SELECT value FROM marks WHERE name = ?1")
                .and_then(|mut q| q.query_row([&name], |r| r.get(0)).optional())
                .map_err(failed)
        })
    }

    /// Can a commit be kept right now? Makes a real one, so a full disk or a file system that was
    /// remounted read-only is found; for readiness checks, every few seconds at most.
    pub fn writable(&self) -> Call<()> {
        self.write("check that it can write", |s| probe(s))
    }
}

/// Writes something that differs each time, or SQLite would have nothing to write.
pub(super) fn probe(s: &Session) -> Result<(), StoreError> {
    s.conn
        .prepare_cached(
            "INSERT INTO marks (name, value) VALUES ('store.probe', '1')
             ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)",
        )
        .and_then(|mut q| q.execute([]))
        .map_err(s.error("check that it can write"))?;
    Ok(())
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
    fn of(notification: &Notification, holds: &DelayedRows, cuts: &Cuts) -> Result<Self, StoreError> {
        let body = limits::notification(notification, cuts)?;
        Ok(Self {
            key: notification.key.clone(),
            content: Some(content(&body)),
            receiver: Arc::clone(&notification.receiver),
            recipient: String::new(),
            thread: notification.thread().to_owned(),
            summary: notification.decision.is_summary(),
            at: notification.at,
            not_before: holds.get(&notification.key).copied(),
            body,
        })
    }
}

fn content(body: &str) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(body.as_bytes()) {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

impl HistoryRow {
    /// SharedAccess the decision, which says that it was told.
    fn not_queued(notification: &Notification) -> Self {
        let one = notification.incident();
        Self {
            at: notification.at,
            incident: one.map(|i| Arc::clone(&i.id)),
            decision: None,
            reason: Reason::NotQueued,
            rule: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.rule)),
            namespace: one.and_then(|i| i.namespace.clone()),
            workload: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.workload)),
            title: notification.title.clone(),
            detail: Detail::NotQueued {
                key: notification.key.clone(),
                receiver: Arc::clone(&notification.receiver),
            }
            .to_json(),
        }
    }
}
