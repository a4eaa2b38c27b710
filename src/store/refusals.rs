//! Receivers that refuse every message, and for how long each is left alone.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::value::{micros, time};
use super::worker::Session;
use super::{Call, Store, StoreError};

/// A receiver that refuses every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When it first did.
    pub since: Timestamp,
    /// How often in a row.
    pub attempts: u32,
    /// What it answered last; for people.
    pub reason: String,
}

impl Store {
    /// The refusal that an earlier dispatcher of this receiver left, if any. Its pause ends now: the
    /// configuration or a credential may have been mended meanwhile, so one attempt is made at once.
    pub fn resume_refusal(&self, receiver: &Arc<str>) -> Call<Option<Refusal>> {
        let receiver = Arc::clone(receiver);
        self.write("resume after a refusal", move |s| {
            s.conn
                .prepare_cached(
                    "UPDATE refusals SET not_before = 0 WHERE receiver = ?1
                     RETURNING since, attempts, reason",
                )
                .and_then(|mut q| {
                    q.query_row([&*receiver], |r| {
                        Ok(Refusal { since: time(r, 0)?, attempts: r.get(1)?, reason: r.get(2)? })
                    })
                    .optional()
                })
                .map_err(s.error("resume after a refusal"))
        })
    }

    /// The receiver refused something that is no row.
    pub fn keep_refusal(
        &self,
        receiver: &Arc<str>,
        until: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Call<()> {
        let (receiver, reason) = (Arc::clone(receiver), reason.to_owned());
        self.write("keep a refusal", move |s| keep(s, &receiver, until, &reason, now))
    }

    /// The receiver takes messages again.
    pub fn end_refusal(&self, receiver: &Arc<str>) -> Call<()> {
        let receiver = Arc::clone(receiver);
        self.write("end a refusal", move |s| {
            s.conn
                .prepare_cached("DELETE FROM refusals WHERE receiver = ?1")
                .and_then(|mut q| q.execute([&*receiver]))
                .map_err(s.error("end a refusal"))?;
            Ok(())
        })
    }
}

pub(super) fn keep(
    s: &Session,
    receiver: &str,
    until: Timestamp,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    s.conn
        .prepare_cached(
            "INSERT INTO refusals (receiver, since, attempts, not_before, reason) VALUES (?1, ?2, 1, ?3, ?4)
             ON CONFLICT (receiver) DO UPDATE SET attempts = attempts + 1,
                 not_before = excluded.not_before, reason = excluded.reason",
        )
        .and_then(|mut q| q.execute((receiver, micros(now), micros(until), reason)))
        .map_err(s.error("keep a refusal"))?;
    Ok(())
}
