//! Rows that wait: for something to be added to them, and through a clock that was set.
//!
//! A row that is held is committed with the decision, with a `not_before`, and goes as it is if nothing comes.
//! Only a row that was never attempted is touched: what a receiver may have seen under a key stays what that
//! key means.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Call, Store, StoreError, limits};
use crate::message::Notification;

pub(super) trait Waits {
    /// By key and body.
    fn amend(&mut self, bodies: &[(String, String)]) -> Result<usize, StoreError>;
    fn release(&mut self, keys: &[String]) -> Result<usize, StoreError>;
    fn release_all(&mut self) -> Result<usize, StoreError>;
    fn move_waits(&mut self, by: SignedDuration, now: Timestamp, longest: Duration)
    -> Result<(), StoreError>;
    fn cap_waits(&mut self, latest: Timestamp) -> Result<(), StoreError>;
}

impl Store {
    /// Replaces the contents of rows (by key) that were not attempted yet, and lets them go. Returns
    /// how many there were; the others are as they were.
    pub fn amend(&self, notifications: &[Notification]) -> Call<usize> {
        let bodies: Result<Vec<(String, String)>, StoreError> = notifications
            .iter()
            .map(|n| Ok((n.key.clone(), limits::notification(n, self.cuts())?)))
            .collect();
        match bodies {
            Ok(bodies) => self.write("amend rows", move |s| s.amend(&bodies)),
            Err(error) => Call::failed(self, error),
        }
    }

    /// Lets rows go that were held for nothing. Returns how many there were.
    pub fn release(&self, keys: Vec<String>) -> Call<usize> {
        self.write("release rows", move |s| s.release(&keys))
    }

    /// Lets all rows go that an earlier process held: it will not add to them any more. To be called
    /// before the first decision.
    pub fn release_all(&self) -> Call<usize> {
        self.write("release rows", |s| s.release_all())
    }

    /// The clock was set by `by` and shows `now`: what waits in the outbox waits for as long as it would
    /// have, and is given up as late, and so do receivers that asked for a pause or refuse. All of them look
    /// again. No wait is ever longer than `longest`: what would be was written by the clock as it is now.
    pub fn move_waits(&self, by: SignedDuration, now: Timestamp, longest: Duration) -> Call<()> {
        self.write("move waits", move |s| s.move_waits(by, now, longest))
    }

    /// Nothing waits for longer than `longest` from `now`: what does was written by a clock that was ahead
    /// of this one. To be called at the start.
    pub fn cap_waits(&self, now: Timestamp, longest: Duration) -> Call<()> {
        let latest = crate::clock::after(now, longest);
        self.write("cap waits", move |s| s.cap_waits(latest))
    }
}

#[cfg(test)]
mod tests;
