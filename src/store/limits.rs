//! How large a row may be. What is decoded is bounded already; these are for what adds up: a thousand
//! members of an incident, five hundred incidents of a summary.
//!
//! Rows are cut where they are made. What is found in a file that an earlier version wrote, and is
//! larger, is left there unread: it must not take the memory at every start that it took when it was
//! written.

use std::sync::atomic::{AtomicU64, Ordering};

use super::history::HistoryRow;
use super::value::{self, json};
use super::worker::Session;
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
/// Bytes of the bodies that are read at a time to be told together.
pub(super) const MAX_FOLDED: usize = 16 << 20;
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

/// Rows of `table`, which has a text key and a body, whose body is too large to be read: counted, and
/// named in the log. `octet_length` asks the header of a row, not its contents.
pub(super) fn unread(s: &Session, table: &'static str, max: usize, cuts: &Cuts) -> Result<(), StoreError> {
    let key = if table == "digests" { "receiver || ' ' || incident" } else { "id" };
    let sql = format!("SELECT {key}, octet_length(body) FROM {table} WHERE octet_length(body) > ?1");
    let found: Vec<(String, u64)> = s
        .conn
        .prepare_cached(&sql)
        .and_then(|mut q| {
            q.query_map([value::limit(max)], |r| Ok((r.get(0)?, value::count(r, 1)?)))?.collect()
        })
        .map_err(s.error("look for rows that are too large"))?;
    cuts.unread.fetch_add(u64::try_from(found.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
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
    Ok(())
}
