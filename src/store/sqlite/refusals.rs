use jiff::Timestamp;

use super::session::Session;
use super::value::{micros, time};
use crate::store::refusals::Refusals;
use crate::store::{Refusal, StoreError, Throttle};

impl Refusals for Session {
    fn resume_refusal(&mut self, receiver: &str) -> Result<Option<Refusal>, StoreError> {
        self.first(
            "resume after a refusal",
            "UPDATE refusals SET not_before = 0 WHERE receiver = ?1 RETURNING since, attempts, reason",
            [receiver],
            |r| Ok(Refusal { since: time(r, 0)?, attempts: r.get(1)?, reason: r.get(2)? }),
        )
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

    fn end_refusal(&mut self, receiver: &str) -> Result<(), StoreError> {
        self.change("end a refusal", "DELETE FROM refusals WHERE receiver = ?1", [receiver])?;
        Ok(())
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
