//! Silences that requests to the running bot brought.

use std::sync::Arc;

use jiff::Timestamp;

use super::limits::{self, MAX_PART};
use super::value::micros;
use super::worker::Session;
use super::{Call, Store, StoreError};

/// A silence as the app wrote it; the store does not look into `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceRow {
    pub id: String,
    /// The first moment after it.
    pub until: Timestamp,
    pub body: String,
}

impl Store {
    /// Every silence as `(id, body)`, by id.
    pub fn load_silences(&self) -> Call<Vec<(String, String)>> {
        let cuts = Arc::clone(self.cuts());
        self.read("load silences", move |s| {
            limits::unread(s, "silences", MAX_PART, &cuts)?;
            let sql =
                format!("SELECT id, body FROM silences WHERE octet_length(body) <= {MAX_PART} ORDER BY id");
            super::commit::pairs(s, &sql)
        })
    }
}

pub(super) fn put(s: &Session, rows: &[SilenceRow], removed: &[String]) -> Result<(), StoreError> {
    let failed = s.error("keep silences");
    for row in rows {
        s.conn
            .prepare_cached(
                "INSERT INTO silences (id, until, body) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET until = excluded.until, body = excluded.body",
            )
            .and_then(|mut q| q.execute((&row.id, micros(row.until), &row.body)))
            .map_err(&failed)?;
    }
    for id in removed {
        s.conn
            .prepare_cached("DELETE FROM silences WHERE id = ?1")
            .and_then(|mut q| q.execute([id]))
            .map_err(&failed)?;
    }
    Ok(())
}
