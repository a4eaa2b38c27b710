//! One connection at work: transactions, and short ways to run a statement.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};

use super::disk::Held;
use super::trouble::{Keeper, Tried};
use crate::store::StoreError;
use crate::store::backend::{Backend, Woken, Work};
use crate::store::health::Health;

/// More than there are different statements.
const STATEMENTS: usize = 64;

pub(super) struct Session {
    pub conn: Connection,
    pub path: PathBuf,
    /// Receivers that have new rows once this transaction is on disk.
    pub woken: Woken,
    /// What is done when the disk fails; `None`: errors are returned.
    pub keeper: Option<Keeper>,
    /// Shared with the readers of the store.
    pub health: Arc<Health>,
    /// Dropped after the connection: the file is free for its next owner once it is closed.
    pub lock: Option<Held>,
}

impl Session {
    pub fn new(conn: Connection, path: PathBuf, health: &Arc<Health>) -> Self {
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        Self { conn, path, woken: BTreeSet::new(), keeper: None, health: Arc::clone(health), lock: None }
    }

    /// Turns an error of a statement into ours.
    pub fn error(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |error| store_error(doing, &path, error)
    }

    /// All rows of a query.
    pub fn all<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut q| q.query_map(params, read)?.collect())
            .map_err(|error| store_error(doing, &self.path, error))
    }

    /// The first row of a query.
    pub fn first<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut q| q.query_row(params, read).optional())
            .map_err(|error| store_error(doing, &self.path, error))
    }

    /// The row of a query that has one.
    pub fn one<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut q| q.query_row(params, read))
            .map_err(|error| store_error(doing, &self.path, error))
    }

    /// How many rows a statement changed.
    pub fn change(&self, doing: &'static str, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut q| q.execute(params))
            .map_err(|error| store_error(doing, &self.path, error))
    }

    /// Statements without parameters and rows.
    pub fn batch(&self, doing: &'static str, sql: &str) -> Result<(), StoreError> {
        self.conn.execute_batch(sql).map_err(|error| store_error(doing, &self.path, error))
    }

    /// Runs `work` in a transaction of its own.
    pub fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // While changes are kept in memory only, nothing is to be written to the file.
        let begin = if self.health.is_in_memory() { "BEGIN" } else { "BEGIN IMMEDIATE" };
        self.batch("begin a transaction", begin)?;
        let result = work(self).and_then(|value| {
            self.batch("commit", "COMMIT")?;
            Ok(value)
        });
        self.roll_back_unless_done();
        result
    }

    fn roll_back_unless_done(&self) {
        if !self.conn.is_autocommit() {
            // It failed already; if this fails too, the next BEGIN will say so.
            self.conn.execute_batch("ROLLBACK").ok();
        }
    }

    /// Runs `work` again as long as something can be done about the disk trouble that it met.
    pub fn insist<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tried = Tried::default();
        loop {
            match work(self) {
                Err(error) if self.remedy(&error, &mut tried) => {}
                done => return done,
            }
        }
    }
}

impl Backend for Session {
    fn transaction(&mut self, work: &mut Work<'_>) -> Result<Woken, StoreError> {
        let done = self.insist(|s| {
            s.woken.clear();
            s.in_transaction(|s| work(s))
        });
        self.measure_memory();
        done.map(|()| std::mem::take(&mut self.woken))
    }

    fn nested(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        self.batch("begin a savepoint", "SAVEPOINT job")?;
        let result = work(self);
        // SQLite gave up the transaction.
        if self.conn.is_autocommit() {
            return Err(result.err().unwrap_or(StoreError::Stopped));
        }
        if let Err(error) = &result
            && error.trouble().is_some()
        {
            return Err(error.clone());
        }
        let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        self.batch("end a savepoint", end)
    }

    fn alone(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        let done = self.insist(|s| work(s));
        self.roll_back_unless_done();
        self.measure_memory();
        done
    }

    fn snapshot(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        let done = self.batch("begin to read", "BEGIN DEFERRED").and_then(|()| work(self));
        self.roll_back_unless_done();
        if let Err(error) = &done {
            self.note_damage(error);
        }
        done
    }

    fn close(&mut self) {
        if self.health.is_in_memory() {
            // The last chance for what is only in memory.
            self.leave_memory();
        }
        self.conn.execute_batch("PRAGMA optimize").ok();
    }
}

/// Names the kinds of failure that people can do something about.
pub(super) fn store_error(doing: &'static str, path: &std::path::Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path },
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::SystemIoFailure) => StoreError::Disk { path, doing, why: error.to_string() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt { path, why: error.to_string() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => StoreError::Open {
            path,
            why: error.to_string(),
            help: "check that its directory exists and that this user may write to it",
        },
        _ => StoreError::Statement { doing, source: Arc::new(error) },
    }
}
