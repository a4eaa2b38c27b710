use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::session::Session;
use super::value::micros;
use crate::store::StoreError;
use crate::store::waits::Waits;

impl Waits for Session {
    fn amend(&mut self, bodies: &[(String, String)]) -> Result<usize, StoreError> {
        let mut amended = 0;
        for (key, body) in bodies {
            let sql = "UPDATE outbox SET body = ?2, not_before = 0
                 WHERE key = ?1 AND state = 'queued' AND attempts = 0 RETURNING receiver";
            amended += free(self, sql, &[key, body])?;
        }
        Ok(amended)
    }

    fn release(&mut self, keys: &[String]) -> Result<usize, StoreError> {
        let mut released = 0;
        for key in keys {
            let sql = "UPDATE outbox SET not_before = 0
                 WHERE key = ?1 AND state = 'queued' AND attempts = 0 RETURNING receiver";
            released += free(self, sql, &[key])?;
        }
        Ok(released)
    }

    fn release_all(&mut self) -> Result<usize, StoreError> {
        let sql = "UPDATE outbox SET not_before = 0
             WHERE state = 'queued' AND attempts = 0 AND not_before > 0 RETURNING receiver";
        free(self, sql, &[])
    }

    fn move_waits(
        &mut self,
        by: SignedDuration,
        now: Timestamp,
        longest: Duration,
    ) -> Result<(), StoreError> {
        let before = crate::clock::moved(now, -by);
        // A wait that was over is over by the clock that was set back, too.
        let (from, to) = (micros(before.min(now)), micros(crate::clock::after(before, longest)));
        // What was queued by the clock that was ahead would otherwise have been queued in the future.
        let queued_from = if by.is_negative() { micros(now) } else { i64::MIN };
        let by = i64::try_from(by.as_micros()).unwrap_or(if by.is_negative() { i64::MIN } else { i64::MAX });
        // 0: due since ever.
        for sql in [
            "UPDATE outbox SET not_before = max(1, not_before + ?1)
             WHERE state = 'queued' AND not_before > ?2 AND not_before <= ?3",
            "UPDATE receiver_state SET not_before = max(1, not_before + ?1)
             WHERE not_before > ?2 AND not_before <= ?3",
            "UPDATE refusals SET not_before = max(1, not_before + ?1)
             WHERE not_before > ?2 AND not_before <= ?3",
        ] {
            self.change("move waits", sql, (by, from, to))?;
        }
        let sql = "UPDATE failures SET since = since + ?1 WHERE since > ?2 AND since <= ?3";
        self.change("move waits", sql, (by, queued_from, micros(before)))?;
        self.change(
            "move waits",
            "UPDATE outbox SET queued_at = queued_at + ?1
             WHERE state IN ('queued', 'sending') AND queued_at > ?2 AND queued_at <= ?3",
            (by, queued_from, micros(before)),
        )?;
        wake_all(self)
    }

    fn cap_waits(&mut self, latest: Timestamp) -> Result<(), StoreError> {
        for sql in [
            "UPDATE outbox SET not_before = ?1 WHERE state = 'queued' AND not_before > ?1",
            "UPDATE receiver_state SET not_before = ?1 WHERE not_before > ?1",
            "UPDATE refusals SET not_before = ?1 WHERE not_before > ?1",
        ] {
            self.change("cap waits", sql, [micros(latest)])?;
        }
        wake_all(self)
    }
}

/// Runs a statement that frees rows, and wakes their receivers.
fn free(s: &mut Session, sql: &str, values: &[&String]) -> Result<usize, StoreError> {
    let freed: Vec<String> = s.all("free rows", sql, rusqlite::params_from_iter(values), |r| r.get(0))?;
    let count = freed.len();
    s.woken.extend(freed.into_iter().map(Arc::from));
    Ok(count)
}

fn wake_all(s: &mut Session) -> Result<(), StoreError> {
    let sql = "SELECT DISTINCT receiver FROM outbox WHERE state = 'queued'";
    let receivers: Vec<String> = s.all("move waits", sql, [], |r| r.get(0))?;
    s.woken.extend(receivers.into_iter().map(Arc::from));
    Ok(())
}
