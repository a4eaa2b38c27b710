//! Open alerts, sent again and again to receivers that end what is not repeated.
//!
//! An assertion is no row: it is made from what is open at that moment, so an outage leaves nothing behind to
//! catch up with. One batch is sent between two rows, in one attempt at a time like everything else, so that
//! nothing is asserted after the message that ended it.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Dispatcher, Flow, count, count_many};
use crate::clock;
use crate::message::Notification;
use crate::notify::{Deliver, Outcome};
use crate::outbox::protocol;
use crate::store::{Heads, OpenAlert, StoreError};

/// Alerts in one request, at most…
const MAX_ALERTS: usize = 50;
/// … and as many bytes of what is stored of them, but for the first: some proxies take a megabyte.
const MAX_BYTES: usize = 256 * 1024;
/// After an assertion failed, unless the other side asked for more.
const AGAIN: Duration = Duration::from_secs(30);

/// How far the assertions of a dispatcher are.
#[derive(Debug, Default)]
pub(super) struct Asserting {
    next: Option<Instant>,
    /// Until then the receiver may not be asked, as of the last look at its rows.
    held: Option<Instant>,
    /// Up to which thread the round has come.
    after: String,
    /// The round has begun.
    begun: bool,
    failing: bool,
}

impl Asserting {
    /// How long until something is to be asserted.
    pub fn due_in(&self) -> Duration {
        let from = self.next.max(self.held);
        from.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    fn wait(&mut self, span: Duration) {
        self.next = Some(Instant::now() + span);
    }
}

impl<D: Deliver> Dispatcher<D> {
    /// How long until something is to be asserted; `None`: never.
    pub(super) fn assertion_in(&self) -> Option<Duration> {
        self.deliver.reasserts().filter(|_| !self.stop_mode.is_leaving()).map(|_| self.asserting.due_in())
    }

    /// Sends the next batch where one is due. `None`: none is.
    pub(super) async fn assert_open(
        &mut self,
        heads: &Heads,
        stop: &CancellationToken,
    ) -> Result<Option<Flow>, StoreError> {
        let Some(every) = self.deliver.reasserts() else { return Ok(None) };
        // While the receiver may not be asked nothing is due, or the loop would go round without rest.
        self.asserting.held = protocol::held(heads, self.now()).map(|wait| Instant::now() + wait);
        if self.assertion_in().is_none_or(|wait| !wait.is_zero()) {
            return Ok(None);
        }
        if !self.asserting.begun {
            let prune = || self.store.prune_alerts(&self.name);
            if self.insist(stop, "forget alerts that are over", prune).await?.is_none() {
                return Ok(Some(Flow::Stop));
            }
            if (self.vital)() {
                let sent = self.limited(self.deliver.watchdog(), stop).await;
                if let Some(flow) = self.asserted(sent, 0, stop).await? {
                    return Ok(Some(flow));
                }
            }
            self.asserting.begun = true;
        }
        let after = self.asserting.after.clone();
        let look = || self.store.open_alerts(&self.name, &after, MAX_ALERTS);
        let Some(open) = self.insist(stop, "read open alerts", look).await? else {
            return Ok(Some(Flow::Stop));
        };
        let batch = batch(open);
        let Some(last) = batch.last().map(|alert| alert.thread.clone()) else {
            self.asserting = Asserting { failing: self.asserting.failing, ..Asserting::default() };
            self.asserting.wait(every);
            return Ok(Some(Flow::On));
        };
        let alerts: Vec<Notification> = batch.into_iter().map(|alert| *alert.notification).collect();
        let sent = self.limited(self.deliver.reassert(&alerts), stop).await;
        let flow = self.asserted(sent, alerts.len(), stop).await?;
        if flow.is_none() {
            self.asserting.after = last;
        }
        Ok(Some(flow.unwrap_or(Flow::On)))
    }

    /// What an assertion came to; the outcome is `None` where shutdown cut it off. Returns `None` where the
    /// round goes on.
    async fn asserted(
        &mut self,
        outcome: Option<Outcome>,
        alerts: usize,
        stop: &CancellationToken,
    ) -> Result<Option<Flow>, StoreError> {
        let Some(outcome) = outcome else { return Ok(Some(Flow::Stop)) };
        let answered = outcome.is_answer();
        match outcome {
            Outcome::Delivered { .. } => {
                count_many(&self.counters.asserted, alerts);
                if std::mem::take(&mut self.asserting.failing) {
                    info!(receiver = %self.name, "open alerts are repeated again");
                }
            }
            Outcome::Retry { after, reason } => {
                self.assertion_failed(&reason);
                let keep = || self.store.keep_failure(&self.name, &reason, self.now());
                if self.insist(stop, "keep a failure", keep).await?.is_none() {
                    return Ok(Some(Flow::Stop));
                }
                self.failed("open alerts", &reason, clock::after(self.now(), after.unwrap_or(AGAIN)));
                self.asserting.wait(after.unwrap_or(AGAIN));
                return Ok(Some(Flow::On));
            }
            Outcome::Refused { reason } => {
                self.assertion_failed(&reason);
                let before = self.state.refusal().map_or(0, |refusal| refusal.attempts);
                self.refusing.refused_with(self.deliver.credentials());
                let until = clock::after(self.now(), protocol::pause(before));
                let keep = || self.store.keep_refusal(&self.name, until, &reason, self.now());
                if self.insist(stop, "keep a refusal", keep).await?.is_none() {
                    return Ok(Some(Flow::Stop));
                }
                self.refused("open alerts", &reason, until);
                return Ok(Some(Flow::On));
            }
            // Alertmanager takes the valid ones of a request and rejects it for the others.
            Outcome::Reject { reason } => self.assertion_failed(&reason),
        }
        if answered && self.takes_messages(stop).await? == Flow::Stop {
            return Ok(Some(Flow::Stop));
        }
        Ok(None)
    }

    /// Counted each time, logged the first time.
    fn assertion_failed(&mut self, reason: &str) {
        count(&self.counters.assertions_failed);
        if !std::mem::replace(&mut self.asserting.failing, true) {
            warn!(receiver = %self.name, reason, "open alerts could not be repeated; they end by themselves if this lasts");
        }
    }

    /// Before a delivery is recorded: what it opened is to be repeated from now on, what it ended is not.
    pub(super) async fn keep_alerts(
        &self,
        n: &Notification,
        outcome: &Outcome,
        stop: &CancellationToken,
    ) -> Result<Flow, StoreError> {
        if self.deliver.reasserts().is_none() || !outcome.is_answer() || n.digest.is_some() {
            return Ok(Flow::On);
        }
        let taken = matches!(outcome, Outcome::Delivered { .. });
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        for mut one in n.apart() {
            if one.is_end() {
                ended.push(one.thread().to_owned());
            } else if taken {
                // What it was before is ended once.
                one.incidents.iter_mut().for_each(|incident| incident.was = None);
                opened.push(one);
            }
        }
        let keep = || self.store.keep_alerts(&self.name, &opened, ended.clone());
        let kept = self.insist(stop, "keep open alerts", keep).await?;
        Ok(if kept.is_some() { Flow::On } else { Flow::Stop })
    }
}

/// As many as one request may carry.
fn batch(open: Vec<OpenAlert>) -> Vec<OpenAlert> {
    let mut bytes = 0;
    let mut batch = Vec::new();
    for alert in open {
        bytes += alert.bytes;
        if bytes > MAX_BYTES && !batch.is_empty() {
            break;
        }
        batch.push(alert);
    }
    batch
}
