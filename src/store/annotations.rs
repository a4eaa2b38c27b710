//! When annotations that silence were first seen.

use jiff::Timestamp;

use super::value::{micros, time};
use super::worker::Session;
use super::{Call, Store, StoreError};

/// An annotation; the store does not look into its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationRow {
    /// What it stands on.
    pub place: String,
    pub key: String,
    /// Its value, and when it was first seen with it; `None`: to be forgotten.
    pub seen: Option<(String, Timestamp)>,
}

impl Store {
    /// Every annotation, by place.
    pub fn load_annotations(&self) -> Call<Vec<AnnotationRow>> {
        self.read("load annotations", |s| {
            let row = |r: &rusqlite::Row<'_>| {
                let seen = Some((r.get(2)?, time(r, 3)?));
                Ok(AnnotationRow { place: r.get(0)?, key: r.get(1)?, seen })
            };
            s.conn
                .prepare_cached("SELECT place, key, value, since FROM annotations ORDER BY place, key")
                .and_then(|mut q| q.query_map([], row)?.collect())
                .map_err(s.error("load annotations"))
        })
    }
}

pub(super) fn put(s: &Session, rows: &[AnnotationRow]) -> Result<(), StoreError> {
    for row in rows {
        match &row.seen {
            Some((value, since)) => s
                .conn
                .prepare_cached(
                    "INSERT INTO annotations (place, key, value, since) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (place, key) DO UPDATE SET value = excluded.value, since = excluded.since",
                )
                .and_then(|mut q| q.execute((&row.place, &row.key, value, micros(*since)))),
            None => s
                .conn
                .prepare_cached("DELETE FROM annotations WHERE place = ?1 AND key = ?2")
                .and_then(|mut q| q.execute((&row.place, &row.key))),
        }
        .map_err(s.error("keep annotations"))?;
    }
    Ok(())
}
