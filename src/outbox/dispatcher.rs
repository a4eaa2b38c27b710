//! One task per receiver: the I/O around [`super::protocol`].

mod asserting;
mod folding;
mod lanes;
mod outage;
mod refusing;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::asserting::Asserting;
use self::lanes::Lanes;
pub(super) use self::lanes::Limiters;
use self::outage::Counted;
use self::refusing::Refusing;
use super::protocol::{self, Rules, Step};
use super::{Counters, Outbox, Policy, ReceiverSpec, ReceiverState, StopMode, Vital};
use crate::clock::Clock;
use crate::notify::{Attempt, Deliver, Outcome};
use crate::store::{Call, Claim, ClaimNext, HeadRow, Interrupted, Point, Settle, Settled, Store, StoreError};

/// The longest sleep before looking again: the wall clock may have been set meanwhile.
const MAX_NAP: Duration = Duration::from_secs(60);
/// Between tries of a store that fails (a full disk, most likely).
const STORE_NAP: Duration = Duration::from_secs(1);
/// Who has nothing to send for so long closes what it keeps open.
const REST_AFTER: Duration = Duration::from_secs(3);

/// Delivers what one receiver is owed.
pub struct Dispatcher<D> {
    name: Arc<str>,
    deliver: D,
    store: Store,
    clock: Clock,
    policy: Policy,
    rules: Rules,
    lanes: Lanes,
    fold: bool,
    rng: fastrand::Rng,
    counters: Arc<Counters>,
    wake: Arc<Notify>,
    state: ReceiverState,
    stop_mode: StopMode,
    refusing: Refusing,
    asserting: Asserting,
    counted: Counted,
    vital: Vital,
}

/// May a row for `recipient` go to a receiver that knows these? One that knows none has rows for none.
fn is_for(known: &[Arc<str>], recipient: &Arc<str>) -> bool {
    if known.is_empty() { recipient.is_empty() } else { known.contains(recipient) }
}

/// Whether the dispatcher goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

impl<D: Deliver> Dispatcher<D> {
    pub(super) fn new(outbox: &Outbox, spec: ReceiverSpec, deliver: D, state: ReceiverState) -> Self {
        Self {
            wake: outbox.store.wakeups(&spec.name),
            rules: Rules::of(&spec, outbox.policy.backoff),
            lanes: Lanes::new(spec.limit, deliver.recipients()),
            fold: spec.fold,
            rng: outbox.policy.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            store: outbox.store.clone(),
            clock: outbox.clock.clone(),
            policy: outbox.policy,
            name: spec.name,
            deliver,
            counters: Arc::clone(&state.counters),
            state,
            stop_mode: StopMode::default(),
            refusing: Refusing::default(),
            asserting: Asserting::default(),
            counted: Counted::default(),
            vital: Arc::clone(&outbox.vital),
        }
    }

    /// Runs until `stop`; an attempt under way may then go on for [`Policy::drain`]. Ends early only
    /// when the store is gone: without it nothing may be sent, because nothing could be recorded.
    /// Ends earlier where `stop_mode` says so.
    pub async fn run(mut self, stop_mode: StopMode, stop: CancellationToken) -> Result<(), StoreError> {
        self.stop_mode = stop_mode;
        let turn = Arc::clone(&self.state.turn);
        // Each of the three comes once, and who is to end has no use for the turn.
        let _turn = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = self.stop_mode.hand_over.cancelled() => return Ok(()),
            turn = turn.acquire_owned() => turn.map_err(|_| StoreError::Stopped)?,
        };
        self.take_limiter();
        let done = self.serve(&stop).await;
        self.leave_limiter();
        debug!(receiver = %self.name, "dispatcher stopped");
        done
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        if self.recover(stop).await? == Flow::Stop {
            return Ok(());
        }
        let done = loop {
            if self.stop_mode.hand_over.is_cancelled() {
                break Ok(());
            }
            match self.step(stop).await {
                Ok(Flow::On) => {}
                Ok(Flow::Stop) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.deliver.rest().await;
        done
    }

    /// A change of the receiver is no reason for a burst: the limit goes on where it was.
    fn take_limiter(&mut self) {
        let kept = self.state.limiters.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept {
            self.lanes.take_over(kept);
        }
    }

    fn leave_limiter(&mut self) {
        *self.state.limiters.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.lanes.leave());
    }

    /// Queues again what an earlier process left under way.
    async fn recover(&mut self, stop: &CancellationToken) -> Result<Flow, StoreError> {
        let resume = || self.store.resume_outage(&self.name);
        let Some(outage) = self.insist(stop, "resume after an outage", resume).await? else {
            return Ok(Flow::Stop);
        };
        self.state.set_acceptance(outage.into());
        let Some(rows) = self.insist(stop, "recover rows", || self.store.recover(&self.name)).await? else {
            return Ok(Flow::Stop);
        };
        let mut summaries = BTreeSet::new();
        for Interrupted { key, attempts, inside } in rows {
            // One attempt for all rows of a summary.
            if inside.as_ref().is_some_and(|summary| !summaries.insert(summary.clone())) {
                continue;
            }
            count(&self.counters.interrupted);
            warn!(
                receiver = %self.name, key = %inside.unwrap_or(key), attempts,
                "the last attempt was cut off and may have arrived; it is made again with the same key"
            );
        }
        Ok(Flow::On)
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<Flow, StoreError> {
        if self.store.is_stopped() {
            return Err(StoreError::Stopped);
        }
        if self.refusing.credentials_changed(&self.deliver) {
            let resume = || self.store.resume_outage(&self.name);
            if self.insist(stop, "resume after an outage", resume).await?.is_none() {
                return Ok(Flow::Stop);
            }
            info!(receiver = %self.name, "a secret of the receiver changed; it is tried again");
        }
        if self.look_at_outage(stop).await? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        let (held, free_in) = self.lanes.held();
        let look = || self.store.heads(&self.name, &self.rules.gate, held.clone(), self.now());
        let Some(heads) = self.insist(stop, "look for the next row", look).await? else {
            return Ok(Flow::Stop);
        };
        if stop.is_cancelled() {
            return Ok(Flow::Stop);
        }
        if let Some(flow) = self.assert_open(&heads, stop).await? {
            return Ok(flow);
        }
        if let Some(row) = &heads.due
            && let Some(flow) = self.address(row, stop).await?
        {
            return Ok(flow);
        }
        let now = self.now();
        let recipient = heads.due.as_ref().map_or_else(|| Arc::from(""), |row| Arc::clone(&row.recipient));
        let mut limited = false;
        let limit = || self.lanes.check(&recipient).inspect_err(|_| limited = true);
        let step = protocol::next(&heads, now, &self.rules, limit);
        match step {
            Step::Attempt(row) => {
                self.store.faults().at(Point::Chosen, "dispatch");
                let waited = self.lanes.take_waited(&recipient);
                // Also where the receiver does without summaries by now: this one may have arrived.
                if let Some(key) = &row.inside {
                    return self.fold_again(&row, key, stop).await;
                }
                if waited
                    && self.fold
                    && row.foldable
                    && let Some(flow) = self.fold(&row.recipient, stop).await?
                {
                    return Ok(flow);
                }
                self.attempt(row, stop).await
            }
            Step::Bury { row, reason } => self.settle(&row, Settle::Dead { reason }, stop).await,
            // Another recipient may be free.
            Step::Wait(_) if limited && self.lanes.several() => Ok(Flow::On),
            Step::Wait(wait) => Ok(self.nap(wait.min(free_in.unwrap_or(wait)), stop).await),
            Step::Idle if free_in.is_some() => Ok(self.nap(free_in.unwrap_or_default(), stop).await),
            // No row waits and none is under way.
            Step::Idle if self.stop_mode.drain.is_cancelled() => Ok(Flow::Stop),
            Step::Idle => Ok(self.nap(MAX_NAP, stop).await),
        }
    }

    /// Makes sure that a row is for a recipient that the notifier knows, or for none where it knows none.
    /// `None`: it is.
    async fn address(&self, row: &HeadRow, stop: &CancellationToken) -> Result<Option<Flow>, StoreError> {
        let known = self.deliver.recipients();
        if row.recipient.is_empty() && !known.is_empty() {
            let give = || self.store.give_out(&self.name, known, self.now());
            let given = self.insist(stop, "give rows out to recipients", give).await?;
            return Ok(Some(if given.is_some() { Flow::On } else { Flow::Stop }));
        }
        if is_for(known, &row.recipient) || row.recipient.is_empty() {
            return Ok(None);
        }
        let reason = format!("{} is no recipient of this receiver any more", row.recipient);
        self.settle(row, Settle::Dead { reason }, stop).await.map(Some)
    }

    /// Statements 3 to 6, and on with the rows that were claimed along with statement 6.
    async fn attempt(&mut self, row: HeadRow, stop: &CancellationToken) -> Result<Flow, StoreError> {
        let claim = || self.store.claim(row.seq, self.now());
        let Some(claim) = self.insist(stop, "claim a row", claim).await? else { return Ok(Flow::Stop) };
        let mut next = Some((row, claim));
        while let Some((row, claim)) = next.take() {
            let (mut notification, handle, number) = match claim {
                Claim::Claimed { notification, handle, attempt } => (notification, handle, attempt),
                Claim::Unreadable { why } => {
                    let reason = format!("this version cannot read it: {why}");
                    return self.settle(&row, Settle::Dead { reason }, stop).await;
                }
                Claim::Gone => return Ok(Flow::On),
            };
            self.store.faults().at(Point::Claimed, "dispatch");
            notification.attempted(self.now());
            let attempt = Attempt {
                notification: &notification,
                handle: handle.as_deref(),
                recipient: some(&row.recipient),
                number,
            };
            let Some(outcome) = self.limited(self.deliver.deliver(attempt), stop).await else {
                count(&self.counters.interrupted);
                warn!(
                    receiver = %self.name, key = %row.key,
                    "shutdown cut an attempt off; it is made again with the same key at the next start"
                );
                return Ok(Flow::Stop);
            };
            self.store.faults().at(Point::Attempted, "dispatch");
            let outcome = self.refusing.judge(&row, outcome);
            let answered = outcome.is_answer();
            if self.keep_alerts(&notification, &outcome, stop).await? == Flow::Stop {
                self.unsettled(&row);
                return Ok(Flow::Stop);
            }
            let queued_at = if row.probe { self.now() } else { row.queued_at };
            let settle = self.after(outcome, queued_at, number);
            let refused = matches!(settle, Settle::Refused { .. });
            // What comes next may be for the fallback.
            let held_up = refused || self.state.fallback().is_some();
            let free = if held_up || stop.is_cancelled() || self.stop_mode.hand_over.is_cancelled() {
                Vec::new()
            } else {
                self.lanes.take_free()
            };
            if free.is_empty() {
                if self.settle(&row, settle, stop).await? == Flow::Stop {
                    return Ok(Flow::Stop);
                }
            } else {
                let settled = self.settle_and_claim(&row, settle, free.clone(), stop).await?;
                let Some(settled) = settled else { return Ok(Flow::Stop) };
                next = settled.next;
                self.lanes.put_back(&free, next.as_ref().map(|(row, _)| &row.recipient));
            }
            if answered && self.takes_messages(stop).await? == Flow::Stop {
                // What was claimed along is queued again at the next start.
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    /// What an outcome means for its row.
    fn after(&mut self, outcome: Outcome, queued_at: Timestamp, number: u32) -> Settle {
        if matches!(outcome, Outcome::Refused { .. }) {
            self.refusing.refused_with(self.deliver.credentials());
        }
        let refused = self.state.refusal().map_or(0, |refusal| refusal.attempts);
        protocol::after(outcome, queued_at, (number, refused), self.now(), &self.rules, &mut self.rng)
    }

    /// Statement 6 with 2 and 3 of the next row. `None`: shutdown came while the store failed.
    async fn settle_and_claim(
        &self,
        row: &HeadRow,
        what: Settle,
        free: Vec<Arc<str>>,
        stop: &CancellationToken,
    ) -> Result<Option<Settled>, StoreError> {
        let record = || {
            let (now, rules) = (self.now(), self.rules.clone());
            let known = self.deliver.recipients().to_vec();
            let ahead = ClaimNext {
                receiver: Arc::clone(&self.name),
                gate: Arc::clone(&rules.gate),
                held: self.lanes.all_but(&free),
                // Its place in the rate limit is taken already. A summary is claimed as a whole.
                choose: Box::new(move |heads| match protocol::next(heads, now, &rules, || Ok(())) {
                    // A row without a recipient is split into one row for each first.
                    Step::Attempt(row) if row.inside.is_none() && is_for(&known, &row.recipient) => Some(row),
                    _ => None,
                }),
            };
            self.store.settle_and_claim(row.seq, what.clone(), ahead, now)
        };
        let settled = self.insist(stop, "record an outcome", record).await?;
        match &settled {
            Some(settled) => self.settled(row, what, settled.changed),
            None => self.unsettled(row),
        }
        Ok(settled)
    }

    /// `None`: cut off by shutdown.
    async fn limited(
        &self,
        sending: impl Future<Output = Outcome> + Send,
        stop: &CancellationToken,
    ) -> Option<Outcome> {
        let limit = self.deliver.time_limit() + self.policy.attempt_grace;
        let cut_off = async {
            stop.cancelled().await;
            sleep(self.policy.drain).await;
        };
        tokio::select! {
            biased;
            outcome = timeout(limit, sending) => {
                Some(outcome.unwrap_or_else(|_| Outcome::Retry {
                    after: None,
                    reason: format!("the attempt did not end within {} s", limit.as_secs()),
                }))
            }
            () = cut_off => None,
        }
    }

    /// Statement 6, until it is on disk: an outcome that is forgotten is a message sent twice.
    async fn settle(
        &self,
        row: &HeadRow,
        what: Settle,
        stop: &CancellationToken,
    ) -> Result<Flow, StoreError> {
        let record = || self.store.settle(row.seq, what.clone(), self.now());
        let Some(changed) = self.insist(stop, "record an outcome", record).await? else {
            self.unsettled(row);
            return Ok(Flow::Stop);
        };
        self.settled(row, what, changed);
        Ok(Flow::On)
    }

    fn unsettled(&self, row: &HeadRow) {
        count(&self.counters.interrupted);
        warn!(receiver = %self.name, key = %row.key, "the outcome of an attempt could not be recorded");
    }

    fn settled(&self, row: &HeadRow, what: Settle, changed: bool) {
        self.store.faults().at(Point::Settled, "dispatch");
        if !changed {
            debug!(receiver = %self.name, key = %row.key, "the row was settled by someone else");
            return;
        }
        match what {
            Settle::Delivered { .. } => {
                count(&self.counters.delivered);
                debug!(receiver = %self.name, key = %row.key, "delivered");
            }
            Settle::Retry { not_before, reason, .. } => {
                count(&self.counters.retried);
                self.failed(&row.key, &reason, not_before);
            }
            Settle::Refused { until, reason } => self.refused(&row.key, &reason, until),
            Settle::Dead { reason } => {
                count(&self.counters.dead);
                error!(receiver = %self.name, key = %row.key, %reason, "delivery failed permanently");
            }
        }
    }

    /// Asks the store until it answers. `None`: shutdown came while it did not.
    async fn insist<T: Send + 'static>(
        &self,
        stop: &CancellationToken,
        doing: &'static str,
        call: impl Fn() -> Call<T>,
    ) -> Result<Option<T>, StoreError> {
        loop {
            match call().await {
                Ok(value) => return Ok(Some(value)),
                Err(StoreError::Stopped) => return Err(StoreError::Stopped),
                Err(error) => {
                    error!(receiver = %self.name, doing, %error, "the store failed; trying again");
                }
            }
            // Shutdown comes once; the sleep is bounded.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                () = sleep(STORE_NAP) => {}
            }
        }
    }

    async fn nap(&self, wait: Duration, stop: &CancellationToken) -> Flow {
        let looks = [self.refusing.look_again_in(), self.assertion_in()];
        let at_most = looks.into_iter().flatten().fold(wait.min(MAX_NAP), Duration::min);
        if at_most >= REST_AFTER {
            self.deliver.rest().await;
        }
        let draining = self.stop_mode.drain.is_cancelled();
        // Whichever ends the nap, the next step looks at all of them again: none can starve another.
        tokio::select! {
            biased;
            () = stop.cancelled() => Flow::Stop,
            () = self.stop_mode.hand_over.cancelled() => Flow::Stop,
            // To be asked once more whether anything is owed.
            () = self.stop_mode.drain.cancelled(), if !draining => Flow::On,
            () = self.wake.notified() => Flow::On,
            () = sleep(at_most) => Flow::On,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// `None` where the receiver is one destination.
fn some(recipient: &str) -> Option<&str> {
    (!recipient.is_empty()).then_some(recipient)
}

fn count(counter: &AtomicU64) {
    count_many(counter, 1);
}

fn count_many(counter: &AtomicU64, n: usize) {
    counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl<D> fmt::Debug for Dispatcher<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("receiver", &self.name).finish_non_exhaustive()
    }
}
