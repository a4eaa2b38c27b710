//! A receiver whose attempts fail: since when, how much waits, and what goes to its fallback.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Dispatcher, Flow, count_many};
use crate::notify::Deliver;
use crate::outbox::Acceptance;
use crate::store::{Outage, StoreError};

/// What waits for a receiver that does not work is counted this often, at most.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// When it was last counted what waits.
#[derive(Debug, Default)]
pub(super) struct Counted(Option<Instant>);

impl Counted {
    fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= COUNT_EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

impl<D: Deliver> Dispatcher<D> {
    /// An attempt failed and will be repeated; that is on disk already. A receiver that refused before is still
    /// one that refuses.
    pub(super) fn failed(&self, key: &str, reason: &str, not_before: Timestamp) {
        match self.state.acceptance() {
            Acceptance::Unknown | Acceptance::Taking => {
                warn!(receiver = %self.name, key, reason, %not_before, "an attempt failed; it is repeated");
                let outage = Outage { since: self.now(), attempts: 1, reason: reason.to_owned(), waiting: 1 };
                self.state.set_acceptance(Acceptance::Failing(outage));
            }
            Acceptance::Failing(before) => {
                let attempts = before.attempts.saturating_add(1);
                info!(receiver = %self.name, key, reason, attempts, %not_before, "another attempt failed");
                let outage = Outage { attempts, reason: reason.to_owned(), ..before };
                self.state.set_acceptance(Acceptance::Failing(outage));
            }
            Acceptance::Refusing(_) => {
                info!(receiver = %self.name, key, reason, %not_before, "another attempt failed");
            }
        }
    }

    /// While the receiver does not work: hands over what the fallback takes, and counts what waits.
    pub(super) async fn look_at_outage(&mut self, stop: &CancellationToken) -> Result<Flow, StoreError> {
        if self.state.acceptance().outage().is_none() {
            return Ok(Flow::On);
        }
        while let Some(fallback) = self.state.fallback().filter(|_| !self.stop_mode.is_leaving()) {
            let hand_over = || self.store.take_over(&self.name, fallback.clone(), self.now());
            let Some(taken) = self.insist(stop, "hand messages over to the fallback", hand_over).await?
            else {
                return Ok(Flow::Stop);
            };
            count_many(&self.counters.handed_over, taken.handed_over);
            if taken.looked_at == 0 {
                break;
            }
        }
        if self.counted.is_due() {
            let look = || self.store.waiting(&self.name);
            let Some(waiting) = self.insist(stop, "count what waits", look).await? else {
                return Ok(Flow::Stop);
            };
            self.state.change_outage(|outage| outage.waiting = waiting);
        }
        Ok(Flow::On)
    }
}
