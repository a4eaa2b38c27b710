//! How large a row may be. What is decoded is bounded already; these are for what adds up: a thousand
//! members of an incident, five hundred incidents of a summary.
//!
//! Rows are cut where they are made. What is found in a file that an earlier version wrote, and is
//! larger, is left there unread: it must not take the memory at every start that it took when it was
//! written.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::history::HistoryRow;
use super::{Commit, StoreError};
use crate::message::Notification;
use crate::signal::text;

/// Bytes of an incident as JSON. One with a thousand members of usual names has 0.4 MiB.
pub const MAX_INCIDENT: usize = 1 << 20;
/// Bytes of a notification as JSON. A summary of five hundred incidents has about 1 MiB.
pub const MAX_NOTIFICATION: usize = 2 << 20;
/// Bytes of a part of a digest to come, and of a silence.
pub const MAX_PART: usize = 1 << 20;
/// Bytes of what explains a row of the history.
pub const MAX_DETAIL: usize = 64 * 1024;
/// Bytes of one line for people.
pub const MAX_TITLE: usize = 1200;
/// Of what is too large so many rows are named in the log.
const NAMED: usize = 20;

/// What was cut, or left unread, since the file was opened.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// Rows that were shortened when they were made.
    pub cut: AtomicU64,
    /// Rows that are too large to be read.
    pub unread: AtomicU64,
}

impl Cuts {
    fn count(&self, what: &'static str, id: &str, bytes: usize) {
        self.cut.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(what, id, bytes, "too large to be kept whole: it was shortened");
    }

    /// Rows of `table`, by id and size, that are too large to be read: counted, and named in the log.
    pub fn unread(&self, table: &'static str, found: &[(String, u64)]) {
        self.unread.fetch_add(u64::try_from(found.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        for (id, bytes) in found.iter().take(NAMED) {
            tracing::error!(
                table,
                id,
                bytes,
                "a stored row is too large to be read and is left aside: what it was about is forgotten"
            );
        }
        if found.len() > NAMED {
            tracing::error!(table, rows = found.len(), "so many stored rows are too large to be read");
        }
    }
}

/// The notification as JSON, shortened where it is too large.
pub(super) fn notification(n: &Notification, cuts: &Cuts) -> Result<String, StoreError> {
    let body = json("notification", n)?;
    if body.len() <= MAX_NOTIFICATION {
        return Ok(body);
    }
    cuts.count("notification", &n.key, body.len());
    let mut short = n.clone();
    short.fit(MAX_NOTIFICATION, body.len(), |n| json("notification", n).map(|body| body.len()))?;
    json("notification", &short)
}

/// Is anything in a commit too large?
pub(super) fn exceeded(commit: &Commit) -> bool {
    let history = |row: &HistoryRow| row.title.len() > MAX_TITLE || row.detail.len() > MAX_DETAIL;
    commit.incidents.iter().chain(&commit.pending).any(|row| row.body.len() > MAX_INCIDENT)
        || commit.silences.iter().any(|row| row.body.len() > MAX_PART)
        || commit.digests.iter().any(|row| row.body.as_ref().is_some_and(|body| body.len() > MAX_PART))
        || commit.history.iter().any(history)
        || commit.summaries.iter().any(|(row, _)| history(row))
}

/// Cuts what is too large in a commit. Incidents and parts of digests are JSON of others: one that was
/// not cut there is left out, and what is known of it stays as it was.
pub(super) fn bound(commit: &mut Commit, cuts: &Cuts) {
    let fits = |what: &'static str, id: &str, body: &str, max: usize| {
        if body.len() > max {
            cuts.cut.fetch_add(1, Ordering::Relaxed);
            tracing::error!(what, id, bytes = body.len(), "too large to be kept: it is left out");
        }
        body.len() <= max
    };
    commit.incidents.retain(|row| fits("incident", &row.id, &row.body, MAX_INCIDENT));
    commit.pending.retain(|row| fits("pending incident", &row.id, &row.body, MAX_INCIDENT));
    commit.silences.retain(|row| fits("silence", &row.id, &row.body, MAX_PART));
    commit.digests.retain(|row| {
        row.body.as_ref().is_none_or(|body| fits("part of a digest", &row.receiver, body, MAX_PART))
    });
    commit.history.iter_mut().for_each(|row| history(row, cuts));
    commit.summaries.iter_mut().for_each(|(row, _)| history(row, cuts));
}

/// Cuts a row of the history.
pub(super) fn history(row: &mut HistoryRow, cuts: &Cuts) {
    let id = row.incident.as_deref().unwrap_or_default();
    if row.title.len() > MAX_TITLE {
        cuts.count("title", id, row.title.len());
        row.title = text::cut(&row.title, MAX_TITLE).into_owned();
    }
    if row.detail.len() > MAX_DETAIL {
        cuts.count("detail", id, row.detail.len());
        row.detail = String::from("{}");
    }
}

pub(super) fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Value { what, why: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{at, note, store};
    use crate::store::{Claim, DigestRow, IncidentRow};
    use std::sync::Arc;

    fn incident(id: &str, bytes: usize) -> IncidentRow {
        IncidentRow {
            id: id.to_owned(),
            rule: Arc::from("r"),
            state: Arc::from("firing"),
            body: "x".repeat(bytes),
            updated_at: at(0),
        }
    }

    #[test]
    fn what_is_too_large_is_cut_or_left_out_when_rows_are_made() {
        let store = store();
        let mut large = note("k-1-r", "r", "k", at(0));
        large.text = "t".repeat(5 << 20);
        large.title = "t".repeat(3000);
        let view = large.incidents[0].clone();
        let members: Vec<Arc<str>> = (0..200).map(|n| Arc::from(format!("{n:0200}"))).collect();
        large.decision = crate::message::Decision::Storm;
        large.incidents = vec![crate::message::IncidentView { members, ..view }; 500];
        let history = HistoryRow {
            at: at(0),
            incident: None,
            decision: None,
            reason: crate::message::Reason::NoRule,
            rule: Arc::from(""),
            namespace: None,
            workload: "Pod/x".into(),
            title: "t".repeat(100_000),
            detail: format!("{{\"x\":\"{}\"}}", "d".repeat(100_000)),
        };
        let commit = Commit {
            incidents: vec![incident("large", MAX_INCIDENT + 1), incident("fits", MAX_INCIDENT)],
            digests: vec![DigestRow {
                receiver: Arc::from("r"),
                incident: None,
                body: Some("x".repeat(MAX_PART + 1)),
            }],
            notifications: vec![large],
            history: vec![history],
            ..Commit::default()
        };
        store.commit(commit).wait().unwrap();
        let kept = store.load_incidents().wait().unwrap();
        assert_eq!(kept.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["fits"]);
        assert!(store.load_digests().wait().unwrap().is_empty());
        let row = &store.history(None).wait().unwrap()[0];
        assert!(row.title.len() <= MAX_TITLE && row.title.ends_with(text::CUT));
        assert_eq!(row.detail, "{}");
        let Claim::Claimed { notification, .. } = store.claim(1, at(1)).wait().unwrap() else {
            panic!("claimed")
        };
        assert!(serde_json::to_string(&notification).unwrap().len() <= MAX_NOTIFICATION);
        assert!(notification.incidents.len() > 100, "{} of 500 incidents", notification.incidents.len());
        assert_eq!(store.sizes().wait().unwrap().cut, 5);
    }
}
