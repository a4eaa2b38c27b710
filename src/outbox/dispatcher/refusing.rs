//! Pauses a receiver that refuses every message, and ends the pause when one of its secrets changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Dispatcher, Flow, count};
use crate::notify::{Credentials, Deliver, Outcome};
use crate::outbox::Acceptance;
use crate::store::{HeadRow, Outage, StoreError};

/// How often the secrets of a receiver that refuses are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Of so many rows it is remembered that they were refused, at most.
const MAX_REMEMBERED: usize = 1_000;

/// What a dispatcher remembers of refusals.
#[derive(Debug, Default)]
pub(super) struct Refusing {
    /// The secrets that were refused last; `None`: nothing is refused, or there are no secrets.
    with: Option<Credentials>,
    /// So many messages were taken or rejected one by one since the start.
    answers: u64,
    /// Rows that were refused, and `answers` then.
    rows: BTreeMap<i64, u64>,
}

impl Refusing {
    /// One message must not stop the receiver for ever because it is answered like a wrong password (a
    /// filter in between that dislikes a word): refused a second time after others were taken, it is a dead
    /// letter.
    pub fn judge(&mut self, row: &HeadRow, outcome: Outcome) -> Outcome {
        self.judge_row(row.seq, outcome)
    }

    pub fn judge_row(&mut self, seq: i64, outcome: Outcome) -> Outcome {
        let Outcome::Refused { reason } = outcome else {
            self.rows.remove(&seq);
            if outcome.is_answer() {
                self.answers += 1;
            }
            return outcome;
        };
        match self.rows.get(&seq) {
            Some(before) if *before < self.answers => {
                self.rows.remove(&seq);
                Outcome::Reject { reason: format!("{reason} (other messages were taken meanwhile)") }
            }
            Some(_) => Outcome::Refused { reason },
            None => {
                if self.rows.len() >= MAX_REMEMBERED {
                    self.rows.pop_first();
                }
                self.rows.insert(seq, self.answers);
                Outcome::Refused { reason }
            }
        }
    }

    /// These secrets were refused.
    pub const fn refused_with(&mut self, credentials: Option<Credentials>) {
        self.with = credentials;
    }

    /// Are the secrets others than those that were refused? Asked once for each change.
    pub fn credentials_changed(&mut self, deliver: &impl Deliver) -> bool {
        if self.with.is_none() {
            return false;
        }
        let changed = deliver.credentials() != self.with;
        if changed {
            self.with = None;
        }
        changed
    }

    /// How long to wait, at most, until secrets are looked at.
    pub fn look_again_in(&self) -> Option<Duration> {
        self.with.map(|_| LOOK_EVERY)
    }
}

impl<D: Deliver> Dispatcher<D> {
    /// The receiver refused: what is known of that, on disk already.
    pub(super) fn refused(&self, key: &str, reason: &str, until: Timestamp) {
        count(&self.counters.refused);
        let refusal = self.state.refusal();
        let attempts = refusal.as_ref().map_or(0, |refusal| refusal.attempts).saturating_add(1);
        let waiting = self.state.acceptance().outage().map_or(1, |outage| outage.waiting);
        if attempts == 1 {
            warn!(receiver = %self.name, key, reason, %until, "the receiver refuses every message: paused; check its credentials and address");
        } else {
            info!(receiver = %self.name, key, reason, attempts, %until, "the receiver still refuses");
        }
        let since = refusal.map_or_else(|| self.now(), |refusal| refusal.since);
        let outage = Outage { since, attempts, reason: reason.to_owned(), waiting };
        self.state.set_acceptance(Acceptance::Refusing(outage));
    }

    /// The receiver answered about a message: it does not refuse (any more).
    pub(super) async fn takes_messages(&mut self, stop: &CancellationToken) -> Result<Flow, StoreError> {
        let acceptance = self.state.acceptance();
        let Some(outage) = acceptance.outage() else { return Ok(Flow::On) };
        let end = || self.store.end_outage(&self.name);
        if self.insist(stop, "end an outage", end).await?.is_none() {
            return Ok(Flow::Stop);
        }
        self.state.set_acceptance(Acceptance::Taking);
        self.refusing.refused_with(None);
        info!(receiver = %self.name, since = %outage.since, "the receiver takes messages again");
        Ok(Flow::On)
    }
}
