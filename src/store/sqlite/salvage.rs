//! A damaged file is set aside, and what can be read of it goes on in a new one.
//!
//! Carried over is what a later step depends on: incidents, marks, the outbox with its handles and
//! pauses, silences, digests to come, and every other table that is not history. History is not: it is
//! most of a file, and can still be looked at where it is. Each table is read from its beginning until
//! reading fails, and then from its end.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::disk::{self, Disk};
use super::trouble;
use crate::store::{SetAside, StoreError};

/// What is left behind.
const LEFT: &[&str] =
    &["migrations", "history", "history_incidents", "incident_objects", "pending", "sqlite_sequence"];
/// What a database consists of beside its main file.
const PARTS: &[&str] = &["", "-wal", "-shm"];

/// Renames the file to `PATH.damaged-TIME`.
pub(super) fn set_aside(disk: &dyn Disk, path: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let failed = |error: std::io::Error| StoreError::Open {
        path: path.to_path_buf(),
        why: format!("it is damaged and cannot be set aside: {error}"),
        help: "move it away, or restore it from a backup",
    };
    let aside = disk::beside(path, &format!(".damaged-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    for part in PARTS {
        let (from, to) = (disk::beside(path, part), disk::beside(&aside, part));
        match disk.size(&from).map_err(failed)? {
            // Memory that processes share: made anew.
            Some(_) if *part == "-shm" => disk.remove(&from).map_err(failed)?,
            Some(_) => disk.rename(&from, &to).map_err(failed)?,
            None => {}
        }
    }
    let suspect = trouble::suspect(path);
    if disk.size(&suspect).map_err(failed)?.is_some() {
        disk.remove(&suspect).map_err(failed)?;
    }
    Ok(aside)
}

/// Copies what can be read of `damaged` into `new`, which is empty.
pub(super) fn carry_over(damaged: &Connection, new: &Connection, path: &Path, why: &str) -> SetAside {
    let mut aside = SetAside::unread(path.to_path_buf(), why);
    let tables: Vec<String> = new
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
        .and_then(|mut q| q.query_map([], |r| r.get(0))?.collect())
        .unwrap_or_default();
    for table in tables.iter().filter(|table| !LEFT.contains(&table.as_str())) {
        let (rows, complete) = copy(damaged, new, table);
        aside.kept.insert(table.clone(), rows);
        if !complete {
            aside.incomplete.push(table.clone());
        }
    }
    // The oldest open row of a thread that could be read is the one that may go.
    new.execute_batch(
        "UPDATE outbox SET head = (seq = (SELECT min(o.seq) FROM outbox o
             WHERE o.receiver = outbox.receiver AND o.thread = outbox.thread
                 AND o.recipient = outbox.recipient
                 AND o.state IN ('queued', 'sending')))
         WHERE state IN ('queued', 'sending')",
    )
    .ok();
    aside
}

/// How many rows could be read, and whether that were all.
fn copy(damaged: &Connection, new: &Connection, table: &str) -> (u64, bool) {
    let columns = |conn: &Connection| -> Vec<String> {
        conn.prepare("SELECT name FROM pragma_table_info(?1)")
            .and_then(|mut q| q.query_map([table], |r| r.get(0))?.collect())
            .unwrap_or_default()
    };
    let theirs = columns(damaged);
    let shared: Vec<String> = columns(new).into_iter().filter(|column| theirs.contains(column)).collect();
    if shared.is_empty() {
        return (0, false);
    }
    let key: Vec<String> = new
        .prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")
        .and_then(|mut q| q.query_map([table], |r| r.get(0))?.collect())
        .unwrap_or_default();
    let mut kept = 0;
    for order in ["ASC", "DESC"] {
        let by: Vec<String> = key.iter().map(|column| format!("{column} {order}")).collect();
        let by = if by.is_empty() { format!("rowid {order}") } else { by.join(", ") };
        let list = shared.join(", ");
        let (rows, complete) = copy_in_order(damaged, new, table, &list, shared.len(), &by);
        kept += rows;
        if complete {
            return (kept, true);
        }
    }
    (kept, false)
}

fn copy_in_order(
    damaged: &Connection,
    new: &Connection,
    table: &str,
    list: &str,
    columns: usize,
    by: &str,
) -> (u64, bool) {
    let places = vec!["?"; columns].join(", ");
    let Ok(mut insert) = new.prepare(&format!("INSERT OR IGNORE INTO {table} ({list}) VALUES ({places})"))
    else {
        return (0, false);
    };
    let Ok(mut select) = damaged.prepare(&format!("SELECT {list} FROM {table} ORDER BY {by}")) else {
        return (0, false);
    };
    let Ok(mut rows) = select.query([]) else { return (0, false) };
    let mut kept = 0;
    loop {
        match rows.next() {
            Ok(None) => return (kept, true),
            Err(_) => return (kept, false),
            Ok(Some(row)) => {
                let values: rusqlite::Result<Vec<Value>> = (0..columns).map(|i| row.get(i)).collect();
                let Ok(values) = values else { continue };
                // What breaks the rules of the table is damage, too.
                kept += insert.execute(rusqlite::params_from_iter(values)).map_or(0, |n| n as u64);
            }
        }
    }
}
