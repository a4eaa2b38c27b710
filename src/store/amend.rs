//! Rows that wait a moment for something to be added to them.
//!
//! A row is committed with the decision, held by `not_before`, and goes as it is if nothing comes. Only
//! a row that was never attempted is touched: what a receiver may have seen under a key stays what
//! that key means.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::limits;
use super::worker::Session;
use super::{Call, Store, StoreError};
use crate::message::Notification;

/// Until when new rows are held, by key.
pub type DelayedRows = HashMap<String, Timestamp>;

impl Store {
    /// Replaces the contents of rows (by key) that were not attempted yet, and lets them go. Returns
    /// how many there were; the others are as they were.
    pub fn amend(&self, notifications: &[Notification]) -> Call<usize> {
        let bodies: Result<Vec<(String, String)>, StoreError> = notifications
            .iter()
            .map(|n| Ok((n.key.clone(), limits::notification(n, self.cuts())?)))
            .collect();
        let bodies = match bodies {
            Ok(bodies) => bodies,
            Err(error) => return Call::failed(self, error),
        };
        self.write("amend rows", move |s| {
            let mut amended = 0;
            for (key, body) in &bodies {
                let sql = "UPDATE outbox SET body = ?2, not_before = 0
                     WHERE key = ?1 AND state = 'queued' AND attempts = 0 RETURNING receiver";
                amended += free(s, sql, &[key, body])?;
            }
            Ok(amended)
        })
    }

    /// Lets rows go that were held for nothing. Returns how many there were.
    pub fn release(&self, keys: Vec<String>) -> Call<usize> {
        self.write("release rows", move |s| {
            let mut released = 0;
            for key in &keys {
                let sql = "UPDATE outbox SET not_before = 0
                     WHERE key = ?1 AND state = 'queued' AND attempts = 0 RETURNING receiver";
                released += free(s, sql, &[key])?;
            }
            Ok(released)
        })
    }

    /// Lets all rows go that an earlier process held: it will not add to them any more. To be called
    /// before the first decision.
    pub fn release_all(&self) -> Call<usize> {
        self.write("release rows", |s| {
            let sql = "UPDATE outbox SET not_before = 0
                 WHERE state = 'queued' AND attempts = 0 AND not_before > 0 RETURNING receiver";
            free(s, sql, &[])
        })
    }
}

/// Runs a statement that frees rows, and wakes their receivers.
fn free(s: &mut Session, sql: &str, values: &[&String]) -> Result<usize, StoreError> {
    let receivers: Vec<String> = s
        .conn
        .prepare_cached(sql)
        .and_then(|mut q| q.query_map(rusqlite::params_from_iter(values), |r| r.get(0))?.collect())
        .map_err(s.error("free rows"))?;
    let freed = receivers.len();
    s.woken.extend(receivers.into_iter().map(Arc::from));
    Ok(freed)
}

#[cfg(test)]
mod tests;
