//! Each decision, those to say nothing too: what the pages, `explain` and digests read.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::named_params;

use super::value::{limit, micros, time};
use super::worker::Session;
use super::{Call, Store, StoreError};
use crate::message::{Decision, Reason};

/// A decision to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    pub at: Timestamp,
    /// About which incident; `None` for summaries and for what became none.
    pub incident: Option<Arc<str>>,
    /// What was said; `None`: nothing.
    pub decision: Option<Decision>,
    /// Why, or why not.
    pub reason: Reason,
    /// The rule; empty where none is meant.
    pub rule: Arc<str>,
    /// Where; `None` for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    pub workload: crate::signal::Workload,
    /// One line for people.
    pub title: String,
    /// JSON: whatever else explains it.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Grows with each row; pages go by it.
    pub id: i64,
    pub at: Timestamp,
    pub incident: Option<String>,
    /// The contract name of what was said; `None`: nothing. Text, so that rows of later versions
    /// can still be listed.
    pub decision: Option<String>,
    /// The contract name of why.
    pub reason: String,
    pub rule: String,
    pub namespace: Option<String>,
    pub workload: String,
    /// One line for people.
    pub title: String,
    pub detail: String,
}

/// Which rows; newest first.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only of this incident.
    pub incident: Option<String>,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Only of this workload.
    pub workload: Option<String>,
    /// Only those that something was said (`true`) or nothing was said (`false`) for.
    pub told: Option<bool>,
    /// From this time on.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Older than this row: the last id of the page before.
    pub before: Option<i64>,
    /// At most this many; 0 and more than [`HistoryQuery::MAX_ROWS`] mean that maximum.
    pub limit: usize,
}

impl HistoryQuery {
    pub const MAX_ROWS: usize = 1_000;
}

impl Store {
    /// Remembered decisions, newest first.
    pub fn history(&self, query: HistoryQuery) -> Call<Vec<HistoryEntry>> {
        self.read("read history", move |s| select(s, &query))
    }
}

pub(super) const COLUMNS: &str =
    "id, at, incident, decision, reason, rule, namespace, workload, title, detail";

pub(super) fn entry(r: &rusqlite::Row<'_>) -> rusqlite::Result<HistoryEntry> {
    Ok(HistoryEntry {
        id: r.get(0)?,
        at: time(r, 1)?,
        incident: r.get(2)?,
        decision: r.get(3)?,
        reason: r.get(4)?,
        rule: r.get(5)?,
        namespace: r.get(6)?,
        workload: r.get(7)?,
        title: r.get(8)?,
        detail: r.get(9)?,
    })
}

fn select(s: &Session, query: &HistoryQuery) -> Result<Vec<HistoryEntry>, StoreError> {
    let rows = match query.limit {
        0 => HistoryQuery::MAX_ROWS,
        n => n.min(HistoryQuery::MAX_ROWS),
    };
    // One index leads each query, so an incident's page does not walk everything that happened since.
    let by_incident = query.incident.is_some();
    let sql = format!(
        "SELECT {COLUMNS} FROM history
         WHERE {incident}
           AND (:rule IS NULL OR rule = :rule)
           AND (:namespace IS NULL OR namespace = :namespace)
           AND (:workload IS NULL OR workload = :workload)
           AND (:told IS NULL OR (decision IS NOT NULL) = :told)
           AND at >= :since AND at < :until AND id < :before
         ORDER BY id DESC LIMIT :limit",
        incident = if by_incident { "incident = :incident" } else { ":incident IS NULL" },
    );
    s.conn
        .prepare_cached(&sql)
        .and_then(|mut q| {
            q.query_map(
                named_params! {
                    ":incident": query.incident,
                    ":rule": query.rule,
                    ":namespace": query.namespace,
                    ":workload": query.workload,
                    ":told": query.told,
                    ":since": query.since.map_or(i64::MIN, micros),
                    ":until": query.until.map_or(i64::MAX, micros),
                    ":before": query.before.unwrap_or(i64::MAX),
                    ":limit": limit(rows),
                },
                entry,
            )?
            .collect()
        })
        .map_err(s.error("read history"))
}

pub(super) fn insert<'a>(
    s: &Session,
    rows: impl IntoIterator<Item = &'a HistoryRow>,
) -> Result<(), StoreError> {
    rows.into_iter().try_for_each(|row| insert_one(s, row))
}

/// A summary, and which incidents it told.
pub(super) fn insert_summaries(
    s: &Session,
    summaries: &[(HistoryRow, Vec<Arc<str>>)],
) -> Result<(), StoreError> {
    for (row, incidents) in summaries {
        insert_one(s, row)?;
        let id = s.conn.last_insert_rowid();
        for incident in incidents {
            s.conn
                .prepare_cached("INSERT OR IGNORE INTO history_incidents (incident, history) VALUES (?1, ?2)")
                .and_then(|mut q| q.execute((&**incident, id)))
                .map_err(s.error("keep history"))?;
        }
    }
    Ok(())
}

fn insert_one(s: &Session, row: &HistoryRow) -> Result<(), StoreError> {
    s.conn
        .prepare_cached(
            "INSERT INTO history
                     (at, incident, decision, reason, rule, namespace, workload, title, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .and_then(|mut q| {
            q.execute((
                micros(row.at),
                row.incident.as_deref(),
                row.decision.map(Decision::as_str),
                row.reason.as_str(),
                &*row.rule,
                row.namespace.as_deref(),
                &*row.workload,
                &row.title,
                &row.detail,
            ))
        })
        .map_err(s.error("keep history"))?;
    Ok(())
}
