//! The one transaction of the pipeline: engine delta, notifications and history together.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::explain::ObjectRow;
use super::history::HistoryRow;
use super::limits::{self, Cuts};
use super::{Call, Store, StoreError};
use crate::message::{Detail, Notification, Reason};

/// Until when new rows are held, by key.
pub type DelayedRows = HashMap<String, Timestamp>;

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

/// A silence as the app wrote it; the store does not look into `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceRow {
    pub id: String,
    /// The first moment after it.
    pub until: Timestamp,
    pub body: String,
}

/// An annotation that silences; the store does not look into its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationRow {
    /// What it stands on.
    pub place: String,
    pub key: String,
    /// Its value, and when it was first seen with it; `None`: to be forgotten.
    pub seen: Option<(String, Timestamp)>,
}

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

pub(super) trait Commits {
    /// `rows` are the notifications of the commit.
    fn commit(&mut self, commit: &Commit, rows: &[NewRow]) -> Result<Committed, StoreError>;
    fn load_incidents(&mut self, cuts: &Cuts) -> Result<Vec<(String, String)>, StoreError>;
    fn load_marks(&mut self) -> Result<Vec<(String, String)>, StoreError>;
    fn load_digests(&mut self, cuts: &Cuts) -> Result<Vec<DigestRow>, StoreError>;
    fn load_silences(&mut self, cuts: &Cuts) -> Result<Vec<(String, String)>, StoreError>;
    fn load_annotations(&mut self) -> Result<Vec<AnnotationRow>, StoreError>;
    fn mark(&mut self, name: &str) -> Result<Option<String>, StoreError>;
    /// Writes something that differs each time.
    fn probe(&mut self) -> Result<(), StoreError>;
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
        match rows {
            Ok(rows) => self.write("commit", move |s| s.commit(&commit, &rows)),
            Err(error) => Call::failed(self, error),
        }
    }

    /// Every incident as `(id, body)`, by id. Those that are too large are left where they are, and
    /// named in the log.
    pub fn load_incidents(&self) -> Call<Vec<(String, String)>> {
        let cuts = Arc::clone(self.cuts());
        self.read("load incidents", move |s| s.load_incidents(&cuts))
    }

    /// Every mark as `(name, value)`, by name.
    pub fn load_marks(&self) -> Call<Vec<(String, String)>> {
        self.read("load marks", |s| s.load_marks())
    }

    /// Every part of a digest to come that has a body, by receiver; what is not about a single incident
    /// comes first.
    pub fn load_digests(&self) -> Call<Vec<DigestRow>> {
        let cuts = Arc::clone(self.cuts());
        self.read("load digests", move |s| s.load_digests(&cuts))
    }

    /// Every silence as `(id, body)`, by id.
    pub fn load_silences(&self) -> Call<Vec<(String, String)>> {
        let cuts = Arc::clone(self.cuts());
        self.read("load silences", move |s| s.load_silences(&cuts))
    }

    /// Every annotation, by place.
    pub fn load_annotations(&self) -> Call<Vec<AnnotationRow>> {
        self.read("load annotations", |s| s.load_annotations())
    }

    pub fn mark(&self, name: &str) -> Call<Option<String>> {
        let name = name.to_owned();
        self.read("read a mark", move |s| s.mark(&name))
    }

    /// Can a commit be kept right now? Makes a real one, so a full disk or a file system that was
    /// remounted read-only is found; for readiness checks, every few seconds at most.
    pub fn writable(&self) -> Call<()> {
        self.write("check that it can write", |s| s.probe())
    }
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
    /// Stands beside the decision, which says that the receiver was notified.
    pub(super) fn not_queued(notification: &Notification) -> Self {
        let one = notification.incident();
        Self {
            at: notification.at,
            incident: one.map(|i| Arc::clone(&i.id)),
            decision: None,
            reason: Reason::NotQueued,
            rule: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.rule)),
            namespace: one.and_then(|i| i.namespace.clone()),
            workload: one.map(|i| i.workload.clone()).unwrap_or_default(),
            title: notification.title.clone(),
            detail: Detail::NotQueued {
                key: notification.key.clone(),
                receiver: Arc::clone(&notification.receiver),
            }
            .to_json(),
        }
    }
}
