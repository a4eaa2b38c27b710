//! Going on without the disk.
//!
//! SQLite looks for a table among the temporary ones first, and those are in memory. So a temporary
//! table of the same name takes the place of the file's in every statement, and nothing else has to
//! know. What is copied is what further steps depend on: open rows of the outbox, the handles of
//! their threads, marks, silences, and in general every table that is not named here. History and
//! trail begin empty. Of incidents only the ids are copied, to know which are forgotten later.
//!
//! A row whose key the file knows as delivered or dead is not inserted here either. A row that is given
//! out to recipients here is still in the file afterwards, and is given out once more: to nobody, since
//! the rows of the recipients are known by then.

use rusqlite::Connection;

use super::session::Session;
use crate::store::StoreError;

/// So many numbers of rows are left to those who may write to the file meanwhile (a command beside the
/// bot that queues a dead letter again).
const GAP: i64 = 1_000_000;

/// How a table is taken into memory and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All of it; replaces the file's content.
    Whole,
    /// These rows; they are written over the file's, other rows stay.
    Part(&'static str),
    /// Without bodies; rows that get one are written back, rows that go are deleted.
    Incidents,
    /// Nothing; new rows are added to the file's.
    New,
}

fn way(table: &str) -> Way {
    match table {
        "outbox" => Way::Part("state NOT IN ('delivered', 'dead')"),
        "bodies" => Way::Part(
            "EXISTS (SELECT 1 FROM main.outbox o WHERE o.key >= bodies.key || '/' AND o.key < bodies.key || '0'
                 AND o.state NOT IN ('delivered', 'dead'))",
        ),
        "handles" => Way::Part(
            "thread IN (SELECT id FROM main.incidents)
             OR thread IN (SELECT thread FROM main.outbox WHERE state NOT IN ('delivered', 'dead'))",
        ),
        "incidents" => Way::Incidents,
        "history" | "history_incidents" | "incident_objects" => Way::New,
        _ => Way::Whole,
    }
}

/// The tables of the file, in the order in which they were made.
fn tables(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    conn.prepare(
        "SELECT name, sql FROM main.sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'migrations' ORDER BY rowid",
    )?
    .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
    .collect()
}

/// A table's columns and those of its key.
fn columns(conn: &Connection, table: &str) -> rusqlite::Result<(Vec<String>, Vec<String>)> {
    let all: Vec<(String, bool)> = conn
        .prepare("SELECT name, pk > 0 FROM pragma_table_info(?1, 'main')")?
        .query_map([table], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let key = all.iter().filter(|(_, is_key)| *is_key).map(|(name, _)| name.clone()).collect();
    Ok((all.into_iter().map(|(name, _)| name).collect(), key))
}

/// From now on everything is kept in memory. Changes nothing if it fails. No transaction is open.
pub(super) fn enter(s: &mut Session) -> Result<(), StoreError> {
    let max = s.keeper.as_ref().map_or(0, |keeper| keeper.budget.memory_bytes);
    let failed = s.error("go on in memory");
    // Rows of the outbox that are not copied may be what copied rows refer to.
    s.conn.execute_batch("PRAGMA foreign_keys = OFF; BEGIN").map_err(&failed)?;
    let entered = shadow(&s.conn, max).and_then(|()| s.conn.execute_batch("COMMIT"));
    if entered.is_err() && !s.conn.is_autocommit() {
        s.conn.execute_batch("ROLLBACK").ok();
    }
    s.conn.execute_batch("PRAGMA foreign_keys = ON").ok();
    entered.map_err(&failed)
}

fn shadow(conn: &Connection, max: u64) -> rusqlite::Result<()> {
    let tables = tables(conn)?;
    for (table, sql) in &tables {
        let rest = sql.strip_prefix("CREATE TABLE ").unwrap_or(sql);
        conn.execute_batch(&format!("CREATE TEMP TABLE {rest}"))?;
        limit_pages(conn, max)?;
        let (columns, _) = columns(conn, table)?;
        let list = columns.join(", ");
        let copy = match way(table) {
            Way::New => continue,
            Way::Whole => format!("INSERT INTO temp.{table} ({list}) SELECT {list} FROM main.{table}"),
            Way::Part(which) => {
                format!("INSERT INTO temp.{table} ({list}) SELECT {list} FROM main.{table} WHERE {which}")
            }
            Way::Incidents => {
                let values: Vec<&str> = columns
                    .iter()
                    .map(|column| if column == "body" { "''" } else { column.as_str() })
                    .collect();
                let values = values.join(", ");
                format!("INSERT INTO temp.{table} ({list}) SELECT {values} FROM main.{table}")
            }
        };
        conn.execute_batch(&copy)?;
    }
    let indexes: Vec<String> = conn
        .prepare("SELECT sql FROM main.sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")?
        .query_map([], |r| r.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for sql in indexes {
        conn.execute_batch(&sql.replacen("INDEX ", "INDEX temp.", 1))?;
    }
    conn.execute_batch(&format!(
        "DELETE FROM temp.sqlite_sequence;
         INSERT INTO temp.sqlite_sequence (name, seq)
             SELECT name, seq + iif(name = 'outbox', {GAP}, 0) FROM main.sqlite_sequence;
         CREATE TEMP TRIGGER known_key BEFORE INSERT ON temp.outbox
             WHEN EXISTS (SELECT 1 FROM main.outbox
                 WHERE (key = NEW.key OR (key >= NEW.key || '/' AND key < NEW.key || '0'))
                     AND state IN ('delivered', 'dead'))
             BEGIN SELECT RAISE(IGNORE); END"
    ))
}

/// At most so many bytes. Once there is a table: before, there is nothing to set the limit of.
fn limit_pages(conn: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let size: i64 = conn.query_row("PRAGMA temp.page_size", [], |r| r.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / size.max(1);
    conn.query_row(&format!("PRAGMA temp.max_page_count = {}", pages.max(1)), [], |_| Ok(()))
}

/// Writes everything to the file in one transaction, and gives the memory back. Changes nothing if
/// that fails; repeated, it writes the same again.
pub(super) fn leave(s: &mut Session) -> Result<(), StoreError> {
    let failed = s.error("write what was kept in memory");
    s.conn.flush_prepared_statement_cache();
    s.conn.execute_batch("BEGIN IMMEDIATE").map_err(&failed)?;
    let written = merge(&s.conn).and_then(|()| s.conn.execute_batch("COMMIT"));
    if written.is_err() && !s.conn.is_autocommit() {
        s.conn.execute_batch("ROLLBACK").ok();
    }
    written.map_err(&failed)?;
    s.conn.flush_prepared_statement_cache();
    let tables = tables(&s.conn).map_err(&failed)?;
    for (table, _) in tables {
        s.conn.execute_batch(&format!("DROP TABLE IF EXISTS temp.{table}")).map_err(&failed)?;
    }
    s.conn.execute_batch("PRAGMA shrink_memory").ok();
    Ok(())
}

fn merge(conn: &Connection) -> rusqlite::Result<()> {
    let tables = tables(conn)?;
    // What refers to another table was made after it.
    for (table, _) in tables.iter().rev().filter(|(table, _)| way(table) == Way::Whole) {
        conn.execute_batch(&format!("DELETE FROM main.{table}"))?;
    }
    for (table, _) in &tables {
        let (columns, key) = columns(conn, table)?;
        let list = columns.join(", ");
        let sql = match way(table) {
            Way::Whole => format!("INSERT INTO main.{table} ({list}) SELECT {list} FROM temp.{table}"),
            Way::New => {
                format!("INSERT OR IGNORE INTO main.{table} ({list}) SELECT {list} FROM temp.{table}")
            }
            Way::Part(_) => {
                format!(
                    "INSERT INTO main.{table} ({list}) SELECT {list} FROM temp.{table} WHERE true {}",
                    overwrite(&columns, &key)
                )
            }
            Way::Incidents => format!(
                "DELETE FROM main.{table} WHERE id NOT IN (SELECT id FROM temp.{table});
                 INSERT INTO main.{table} ({list}) SELECT {list} FROM temp.{table} WHERE body <> '' {}",
                overwrite(&columns, &key)
            ),
        };
        conn.execute_batch(&sql)?;
    }
    Ok(())
}

fn overwrite(columns: &[String], key: &[String]) -> String {
    let set: Vec<String> = columns
        .iter()
        .filter(|column| !key.contains(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    format!("ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "))
}

/// Makes room in memory: what was decided can be told without its history.
pub(super) fn drop_history(s: &mut Session) -> Result<u64, StoreError> {
    let rows = s.in_transaction(|s| {
        let failed = s.error("drop history");
        let rows = s.conn.execute("DELETE FROM temp.history", []).map_err(&failed)?;
        let objects = s.conn.execute("DELETE FROM temp.incident_objects", []).map_err(&failed)?;
        Ok(u64::try_from(rows.saturating_add(objects)).unwrap_or(u64::MAX))
    })?;
    s.health.update(|health| health.dropped.history += rows);
    Ok(rows)
}

pub(super) fn bytes(s: &Session) -> Result<u64, StoreError> {
    let failed = s.error("measure");
    let one = |sql: &str| s.conn.query_row(sql, [], |r| r.get::<_, i64>(0)).map_err(&failed);
    let used = one("PRAGMA temp.page_count")? - one("PRAGMA temp.freelist_count")?;
    Ok(u64::try_from(used.saturating_mul(one("PRAGMA temp.page_size")?)).unwrap_or(0))
}
