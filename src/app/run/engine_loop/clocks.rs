//! Two clocks: that of this machine, which may be set, and the API server's, which may differ from it.

use jiff::{SignedDuration, Timestamp};

use super::EngineLoop;
use crate::clock;
use crate::outbox::protocol::MAX_RETRY_AFTER;
use crate::store::{Commit, Store, StoreError};

impl EngineLoop {
    /// Deadlines move with the wall clock when it is set, so that what remains until them stays.
    pub(super) async fn follow_the_clock(&mut self) -> Result<(), StoreError> {
        let Some(by) = self.clock.step() else { return Ok(()) };
        let now = clock::moved(self.clock.now(), by);
        tracing::warn!(
            seconds = by.as_secs(),
            "the clock was set, or the machine slept: deadlines are moved"
        );
        let counter =
            if by.is_negative() { &mut self.clock_steps.back } else { &mut self.clock_steps.forward };
        *counter += 1;
        for at in [&mut self.last_flush, &mut self.last_mark, &mut self.last_upkeep, &mut self.last_stats] {
            *at = clock::moved(*at, by);
        }
        self.move_deadlines(by, now).await?;
        // The dispatchers see the new time after their rows have it.
        self.clock.follow();
        cap_waits(&self.store, now).await
    }

    /// Compares this machine's clock with the newest reading of the API server's. Readings are older than what
    /// came with them, so this comes before changes are taken in.
    pub(super) async fn follow_the_server(&mut self) -> Result<(), StoreError> {
        let Some(server) = self.watches.server_time() else { return Ok(()) };
        let known = self.pipeline.memory().clock_ahead();
        let span = (self.clock.at(server.asked), self.clock.at(server.answered));
        let ahead = clock::ahead(known, server.date, span);
        let first = !std::mem::replace(&mut self.compared, true);
        let by = ahead.saturating_sub(known);
        if by != SignedDuration::ZERO {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the clock differs from the API server's: so far it is ahead"
            );
        }
        if first && by != SignedDuration::ZERO && self.seen.stored_ahead().is_some() {
            // It was set after the process before this one ended.
            self.move_deadlines(by, self.clock.now()).await?;
        }
        self.pipeline.set_clock_ahead(ahead);
        if first {
            self.seen.first_reading(ahead);
            let started = self.pipeline.memory().server_time(self.seen.started());
            self.pipeline.set_news_since(self.seen.news_since(), started);
        }
        Ok(())
    }

    async fn move_deadlines(&mut self, by: SignedDuration, now: Timestamp) -> Result<(), StoreError> {
        self.pipeline.clock_set(by, now, &mut self.out);
        self.announcer.clock_set(by, now);
        self.outbox.clock_set(by);
        move_waits(&self.store, by, now).await
    }

    /// To be stored with the times that were moved because of it.
    pub(super) fn put_ahead(&mut self, commit: &mut Commit) {
        if self.compared {
            self.seen.put_ahead(self.pipeline.memory().clock_ahead(), commit);
        }
    }
}

/// A disk that fails is no reason to end: what waits by the old time is sent late, or sooner.
pub(super) async fn move_waits(store: &Store, by: SignedDuration, now: Timestamp) -> Result<(), StoreError> {
    on_disk(store.move_waits(by, now, MAX_RETRY_AFTER).await)
}

pub(super) async fn cap_waits(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    on_disk(store.cap_waits(now, MAX_RETRY_AFTER).await)
}

fn on_disk(done: Result<(), StoreError>) -> Result<(), StoreError> {
    match done {
        Err(error) if error.is_disk() => {
            tracing::warn!(%error, "what waits in the outbox could not be moved to the new time");
            Ok(())
        }
        done => done,
    }
}
