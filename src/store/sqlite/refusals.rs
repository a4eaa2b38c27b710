use jiff::Timestamp;

use super::session::Session;
use super::value::{count, micros, time};
use crate::store::refusals::Refusals;
use crate::store::{Outage, ReceiverOutage, StoreError, Throttle};

impl Refusals for Session {
    fn resume_outage(&mut self, receiver: &str) -> Result<Option<ReceiverOutage>, StoreError> {
        let doing = "resume after an outage";
        self.change(doing, "UPDATE refusals SET not_before = 0 WHERE receiver = ?1", [receiver])?;
        Ok(self.outages()?.into_iter().find(|outage| outage.receiver == receiver))
    }

    fn keep_refusal(
        &mut self,
        receiver: &str,
        until: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(
            "keep a refusal",
            "INSERT INTO refusals (receiver, since, attempts, not_before, reason) VALUES (?1, ?2, 1, ?3, ?4)
             ON CONFLICT (receiver) DO UPDATE SET attempts = attempts + 1,
                 not_before = excluded.not_before, reason = excluded.reason",
            (receiver, micros(now), micros(until), reason),
        )?;
        Ok(())
    }

    fn keep_failure(&mut self, receiver: &str, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        self.change(
            "keep a failure",
            "INSERT INTO failures (receiver, since, attempts, reason) VALUES (?1, ?2, 1, ?3)
             ON CONFLICT (receiver) DO UPDATE SET attempts = attempts + 1, reason = excluded.reason",
            (receiver, micros(now), reason),
        )?;
        Ok(())
    }

    fn end_outage(&mut self, receiver: &str) -> Result<(), StoreError> {
        self.change("end an outage", "DELETE FROM refusals WHERE receiver = ?1", [receiver])?;
        self.change("end an outage", "DELETE FROM failures WHERE receiver = ?1", [receiver])?;
        Ok(())
    }

    fn outages(&mut self) -> Result<Vec<ReceiverOutage>, StoreError> {
        // A receiver that refuses may also have failed before: then the refusal is what is shown.
        self.all(
            "read the outages of receivers",
            "SELECT receiver, since, attempts, reason, refusing,
                 (SELECT count(*) FROM outbox o
                     WHERE o.receiver = found.receiver AND o.state IN ('queued', 'sending'))
             FROM (SELECT receiver, since, attempts, reason, 1 AS refusing FROM refusals
                   UNION ALL
                   SELECT receiver, since, attempts, reason, 0 FROM failures
                       WHERE receiver NOT IN (SELECT receiver FROM refusals)) found
             ORDER BY receiver",
            [],
            |r| {
                let outage = Outage {
                    since: time(r, 1)?,
                    attempts: r.get(2)?,
                    reason: r.get(3)?,
                    waiting: count(r, 5)?,
                };
                Ok(ReceiverOutage { receiver: r.get(0)?, outage, refusing: r.get(4)? })
            },
        )
    }

    fn waiting(&mut self, receiver: &str) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM outbox WHERE receiver = ?1 AND state IN ('queued', 'sending')";
        self.one("count what waits", sql, [receiver], |r| count(r, 0))
    }

    fn throttles(&mut self, now: Timestamp) -> Result<Vec<Throttle>, StoreError> {
        self.all(
            "read the pauses of receivers",
            "SELECT receiver, not_before, reason FROM receiver_state WHERE not_before > ?1
             UNION ALL
             SELECT receiver, not_before, reason FROM refusals WHERE not_before > ?1",
            [micros(now)],
            |r| Ok(Throttle { name: r.get(0)?, until: time(r, 1)?, reason: r.get(2)? }),
        )
    }
}
