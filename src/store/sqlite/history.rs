use std::sync::Arc;

use super::session::Session;
use super::value::{micros, time};
use crate::message::Decision;
use crate::store::{HistoryEntry, HistoryRow, StoreError};

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
            let sql = "INSERT OR IGNORE INTO history_incidents (incident, history) VALUES (?1, ?2)";
            s.change("keep history", sql, (&**incident, id))?;
        }
    }
    Ok(())
}

fn insert_one(s: &Session, row: &HistoryRow) -> Result<(), StoreError> {
    s.change(
        "keep history",
        "INSERT INTO history (at, incident, decision, reason, rule, namespace, workload, title, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            micros(row.at),
            row.incident.as_deref(),
            row.decision.map(Decision::as_str),
            row.reason.as_str(),
            &*row.rule,
            row.namespace.as_deref(),
            &*row.workload,
            &row.title,
            &row.detail,
        ),
    )?;
    Ok(())
}
