//! Waits of the outbox when the clock was set.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::value::micros;
use super::worker::Session;
use super::{Call, Store, StoreError};

impl Store {
    /// The clock was set by `by` and shows `now`: what waits in the outbox waits for as long as it would
    /// have, and is given up as late, and so do receivers that asked to be left alone or refuse. All of them look
    /// again. No wait is ever longer than `longest`: what would be was written by the clock as it is now.
    pub fn move_waits(&self, by: SignedDuration, now: Timestamp, longest: Duration) -> Call<()> {
        let before = crate::clock::moved(now, -by);
        // A wait that was over is over by the clock that was set back, too.
        let (from, to) = (micros(before.min(now)), micros(crate::clock::after(before, longest)));
        // What was queued by the clock that was ahead would otherwise have been queued in the future.
        let queued_from = if by.is_negative() { micros(now) } else { i64::MIN };
        let by = i64::try_from(by.as_micros()).unwrap_or(if by.is_negative() { i64::MIN } else { i64::MAX });
        self.write("move waits", move |s| {
            let failed = s.error("move waits");
            // 0: due since ever.
            for sql in [
                "UPDATE outbox SET not_before = max(1, not_before + ?1)
                 WHERE state = 'queued' AND not_before > ?2 AND not_before <= ?3",
                "UPDATE receiver_state SET not_before = max(1, not_before + ?1)
                 WHERE not_before > ?2 AND not_before <= ?3",
                "UPDATE refusals SET not_before = max(1, not_before + ?1)
                 WHERE not_before > ?2 AND not_before <= ?3",
            ] {
                s.conn.prepare_cached(sql).and_then(|mut q| q.execute((by, from, to))).map_err(&failed)?;
            }
            s.conn
                .prepare_cached(
                    "UPDATE outbox SET queued_at = queued_at + ?1
                     WHERE state IN ('queued', 'sending') AND queued_at > ?2 AND queued_at <= ?3",
                )
                .and_then(|mut q| q.execute((by, queued_from, micros(before))))
                .map_err(&failed)?;
            wake_all(s)
        })
    }

    /// Nothing waits for longer than `longest` from `now`: what does was written by a clock that was ahead
    /// of this one. To be called at the start.
    pub fn cap_waits(&self, now: Timestamp, longest: Duration) -> Call<()> {
        let latest = micros(crate::clock::after(now, longest));
        self.write("cap waits", move |s| {
            let failed = s.error("cap waits");
            for sql in [
                "UPDATE outbox SET not_before = ?1 WHERE state = 'queued' AND not_before > ?1",
                "UPDATE receiver_state SET not_before = ?1 WHERE not_before > ?1",
                "UPDATE refusals SET not_before = ?1 WHERE not_before > ?1",
            ] {
                s.conn.prepare_cached(sql).and_then(|mut q| q.execute([latest])).map_err(&failed)?;
            }
            wake_all(s)
        })
    }
}

fn wake_all(s: &mut Session) -> Result<(), StoreError> {
    let receivers: Vec<String> = s
        .conn
        .prepare_cached("SELECT DISTINCT receiver FROM outbox WHERE state = 'queued'")
        .and_then(|mut q| q.query_map([], |r| r.get(0))?.collect())
        .map_err(s.error("move waits"))?;
    s.woken.extend(receivers.into_iter().map(Arc::from));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, note};
    use super::super::{Commit, Gate, Settle};
    use super::*;

    #[test]
    fn what_was_waited_for_is_over_by_a_clock_that_was_set_back() {
        let store = Store::memory().unwrap();
        let name: Arc<str> = Arc::from("x");
        let owe = |key, now| {
            let notifications = vec![note(key, "x", key, now)];
            store.commit(Commit { notifications, ..Commit::default() }).wait().unwrap();
            store.heads(&name, &name, now).wait().unwrap().due
        };
        let first = owe("first", at(0)).unwrap().seq;
        store.claim(first, at(0)).wait().unwrap();
        let gate = Some(Gate { name: Arc::clone(&name), until: at(20) });
        let retry = Settle::Retry { not_before: at(20), reason: "429".into(), gate };
        assert!(store.settle(first, retry, at(0)).wait().unwrap());
        store.claim(first, at(30)).wait().unwrap();
        assert!(store.settle(first, Settle::Delivered { handle: None }, at(30)).wait().unwrap());
        let by = SignedDuration::from_hours(-2);
        let now = crate::clock::moved(at(300), by);
        store.move_waits(by, now, Duration::from_secs(3_600)).wait().unwrap();
        assert!(owe("second", now).is_some());
    }
}
