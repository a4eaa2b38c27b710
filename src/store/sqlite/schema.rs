//! Numbered migrations, all in one transaction; what was applied is remembered by checksum.

use std::fmt::Write as _;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::session::store_error;
use crate::store::StoreError;

/// `khld`: tells our files from other SQLite databases.
const APPLICATION_ID: i32 = 0x6b68_6c64;

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    pub version: u32,
    pub name: &'static str,
    pub sql: &'static str,
}

/// Every step, by version, from 1.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "init", sql: include_str!("schema/0001_init.sql") },
    Migration { version: 2, name: "folds", sql: include_str!("schema/0002_folds.sql") },
    Migration { version: 3, name: "silences", sql: include_str!("schema/0003_silences.sql") },
    Migration { version: 4, name: "explain", sql: include_str!("schema/0004_explain.sql") },
    Migration { version: 5, name: "digests", sql: include_str!("schema/0005_digests.sql") },
    Migration { version: 6, name: "content", sql: include_str!("schema/0006_content.sql") },
    Migration { version: 7, name: "annotations", sql: include_str!("schema/0007_annotations.sql") },
    Migration { version: 8, name: "delivery", sql: include_str!("schema/0008_delivery.sql") },
    Migration { version: 9, name: "fallback", sql: include_str!("schema/0009_fallback.sql") },
];

impl Migration {
    /// SHA-256, cut to 128 bits: it tells a changed file, it does not defend against anybody.
    fn checksum(&self) -> String {
        let mut text = String::with_capacity(32);
        for byte in Sha256::digest(self.sql.as_bytes()).iter().take(16) {
            write!(text, "{byte:02x}").ok();
        }
        text
    }
}

/// Refuses files that are not ours, before anything is written to them.
pub(super) fn recognise(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| store_error("read the header", path, error);
    let id: i32 = conn.query_row("PRAGMA application_id", [], |r| r.get(0)).map_err(failed)?;
    let tables: u32 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(failed)?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        Ok(())
    } else {
        Err(StoreError::Foreign { path: path.to_path_buf() })
    }
}

/// Refuses files of another version, without bringing them anywhere.
pub(super) fn is_current(conn: &Connection, path: &Path, steps: &[Migration]) -> Result<(), StoreError> {
    let failed = |error| store_error("read the header", path, error);
    let found: u32 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(failed)?;
    let known = steps.last().map_or(0, |m| m.version);
    let path = path.to_path_buf();
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::Newer { path, found, known }),
        std::cmp::Ordering::Less => Err(StoreError::Older { path, found, known }),
    }
}

/// Brings the file to the last of `steps`, or changes nothing.
pub(super) fn migrate(conn: &Connection, path: &Path, steps: &[Migration]) -> Result<(), StoreError> {
    let failed = |error| store_error("migrate the schema", path, error);
    conn.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let result = apply(conn, path, steps);
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = conn.execute_batch(end).map_err(failed);
    result.and(ended)
}

fn apply(conn: &Connection, path: &Path, steps: &[Migration]) -> Result<(), StoreError> {
    let failed = |error| store_error("migrate the schema", path, error);
    let found: u32 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(failed)?;
    let known = steps.last().map_or(0, |m| m.version);
    if found > known {
        return Err(StoreError::Newer { path: path.to_path_buf(), found, known });
    }
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (
             version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL
         ) STRICT",
    )
    .map_err(failed)?;
    for step in steps {
        let expected = step.checksum();
        if step.version <= found {
            let kept: Option<String> = conn
                .query_row("SELECT checksum FROM migrations WHERE version = ?1", [step.version], |r| r.get(0))
                .optional()
                .map_err(failed)?;
            if kept.as_ref() != Some(&expected) {
                return Err(StoreError::Tampered {
                    path: path.to_path_buf(),
                    version: step.version,
                    found: kept.unwrap_or_else(|| "none".to_owned()),
                    expected,
                });
            }
            continue;
        }
        conn.execute_batch(step.sql).map_err(failed)?;
        conn.execute("INSERT INTO migrations VALUES (?1, ?2, ?3)", (step.version, step.name, &expected))
            .map_err(failed)?;
    }
    if found < known {
        // PRAGMAs take no parameters; both are numbers of ours.
        conn.execute_batch(&format!(
            "PRAGMA user_version = {known}; PRAGMA application_id = {APPLICATION_ID}"
        ))
        .map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { version: 1, name: "one", sql: "CREATE TABLE a (x)" };
    const TWO: Migration = Migration { version: 2, name: "two", sql: "CREATE TABLE b (x)" };
    const BAD: Migration =
        Migration { version: 2, name: "bad", sql: "CREATE TABLE b (x); CREATE TABLE a (x)" };

    fn version(conn: &Connection) -> u32 {
        conn.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap()
    }

    #[test]
    fn fresh_again_and_forward() {
        let conn = Connection::open_in_memory().unwrap();
        let path = Path::new("x.db");
        recognise(&conn, path).unwrap();
        migrate(&conn, path, &[ONE]).unwrap();
        migrate(&conn, path, &[ONE]).unwrap();
        recognise(&conn, path).unwrap();
        migrate(&conn, path, &[ONE, TWO]).unwrap();
        assert_eq!(version(&conn), 2);
        conn.execute_batch("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)").unwrap();
    }

    #[test]
    fn a_failing_step_changes_nothing() {
        let conn = Connection::open_in_memory().unwrap();
        let path = Path::new("x.db");
        migrate(&conn, path, &[ONE]).unwrap();
        migrate(&conn, path, &[ONE, BAD]).unwrap_err();
        assert_eq!(version(&conn), 1);
        migrate(&conn, path, &[ONE, TWO]).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let conn = Connection::open_in_memory().unwrap();
        let path = Path::new("x.db");
        migrate(&conn, path, &[ONE, TWO]).unwrap();
        let error = migrate(&conn, path, &[ONE]).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn a_changed_step_is_refused() {
        let conn = Connection::open_in_memory().unwrap();
        let path = Path::new("x.db");
        migrate(&conn, path, &[ONE]).unwrap();
        let changed = Migration { sql: "CREATE TABLE a (y)", ..ONE };
        let error = migrate(&conn, path, &[changed]).unwrap_err();
        assert!(matches!(error, StoreError::Tampered { version: 1, .. }), "{error}");
    }

    #[test]
    fn a_foreign_database_is_left_alone() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
        let error = recognise(&conn, Path::new("x.db")).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    }

    #[test]
    fn versions_are_numbered_from_one() {
        for (step, expected) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(step.version, expected);
        }
    }
}
