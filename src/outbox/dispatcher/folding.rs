//! Statements 2 to 6 for the rows of a summary.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{Dispatcher, Flow, count, count_many, some};
use crate::message::Notification;
use crate::notify::{Attempt, Deliver};
use crate::outbox::fold;
use crate::store::{FoldQuery, FoldRow, HeadRow, Point, Settle, StoreError};

impl<D: Deliver> Dispatcher<D> {
    /// Tells all that is due in one summary. `None`: so few are due that each is told by itself.
    pub(super) async fn fold(
        &mut self,
        recipient: &Arc<str>,
        stop: &CancellationToken,
    ) -> Result<Option<Flow>, StoreError> {
        let now = self.now();
        let query = FoldQuery {
            receiver: Arc::clone(&self.name),
            recipient: Arc::clone(recipient),
            now,
            queued_after: self.rules.born_after(now),
            threads: self.deliver.lists().clamp(1, Notification::MAX_INCIDENTS),
        };
        let look = || self.store.foldable(query.clone());
        let Some(rows) = self.insist(stop, "look for rows to fold", look).await? else {
            return Ok(Some(Flow::Stop));
        };
        let key = fold::key(&self.name, recipient, &rows);
        let summary = fold::summary(&key, &self.name, &rows);
        let Some(summary) = summary.filter(|s| s.incidents.len() >= self.policy.fold_from.max(2)) else {
            return Ok(None);
        };
        self.tell_together(summary, recipient, &rows, stop).await.map(Some)
    }

    /// Tells a summary again that was claimed before: the same rows under the same key.
    pub(super) async fn fold_again(
        &mut self,
        head: &HeadRow,
        key: &str,
        stop: &CancellationToken,
    ) -> Result<Flow, StoreError> {
        let look = || self.store.folded(&self.name, key);
        let Some(rows) = self.insist(stop, "read the rows of a summary", look).await? else {
            return Ok(Flow::Stop);
        };
        let rows = rows.unwrap_or_default();
        match fold::summary(key, &self.name, &rows) {
            Some(summary) => self.tell_together(summary, &head.recipient, &rows, stop).await,
            // Another version made it. By itself each row that can be read is told.
            None => {
                warn!(receiver = %self.name, key, row = %head.key, "not all of this summary can be read");
                let apart = || self.store.unfold(&self.name, key);
                let apart = self.insist(stop, "take a summary apart", apart).await?;
                Ok(if apart.is_some() { Flow::On } else { Flow::Stop })
            }
        }
    }

    async fn tell_together(
        &mut self,
        mut summary: Notification,
        recipient: &str,
        rows: &[FoldRow],
        stop: &CancellationToken,
    ) -> Result<Flow, StoreError> {
        summary.attempted(self.now());
        let summary = &summary;
        let key = summary.key.as_str();
        let claim = || self.store.claim_fold(key, rows.iter().map(|r| r.seq).collect(), self.now());
        let Some(claim) = self.insist(stop, "claim a summary", claim).await? else { return Ok(Flow::Stop) };
        let Some(claim) = claim else {
            debug!(receiver = %self.name, key, "the rows of a summary were settled by someone else");
            return Ok(Flow::On);
        };
        self.store.faults().at(Point::Claimed, "dispatch");
        let attempt = Attempt {
            notification: summary,
            handle: None,
            recipient: some(recipient),
            number: claim.attempt,
        };
        let Some(outcome) = self.limited(self.deliver.deliver(attempt), stop).await else {
            count(&self.counters.interrupted);
            warn!(
                receiver = %self.name, key,
                "shutdown cut an attempt off; it is made again with the same key at the next start"
            );
            return Ok(Flow::Stop);
        };
        self.store.faults().at(Point::Attempted, "dispatch");
        let outcome = match rows.first() {
            Some(first) => self.refusing.judge_row(first.seq, outcome),
            None => outcome,
        };
        let answered = outcome.is_answer();
        if self.keep_alerts(summary, &outcome, stop).await? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        let settle = self.after(outcome, claim.queued_at, claim.attempt);
        let flow = self.settle_together(summary, rows, settle, stop).await?;
        if answered && flow == Flow::On { self.takes_messages(stop).await } else { Ok(flow) }
    }

    async fn settle_together(
        &self,
        summary: &Notification,
        rows: &[FoldRow],
        what: Settle,
        stop: &CancellationToken,
    ) -> Result<Flow, StoreError> {
        let key = summary.key.as_str();
        let history =
            matches!(what, Settle::Delivered { .. }).then(|| fold::summary_row(summary, rows, self.now()));
        let record = || self.store.settle_fold(&self.name, key, what.clone(), history.clone(), self.now());
        let Some(rows) = self.insist(stop, "record the outcome of a summary", record).await? else {
            count(&self.counters.interrupted);
            warn!(receiver = %self.name, key, "the outcome of an attempt could not be recorded");
            return Ok(Flow::Stop);
        };
        self.store.faults().at(Point::Settled, "dispatch");
        match what {
            Settle::Delivered { .. } => {
                count_many(&self.counters.delivered, rows);
                count_many(&self.counters.folded, rows);
                debug!(receiver = %self.name, key, rows, "delivered inside a summary");
            }
            Settle::Retry { not_before, reason, .. } => {
                count(&self.counters.retried);
                self.failed(key, &reason, not_before);
            }
            Settle::Refused { until, reason } => self.refused(key, &reason, until),
            Settle::Dead { reason } => {
                count_many(&self.counters.dead, rows);
                error!(receiver = %self.name, key, rows, %reason, "delivery of a summary failed permanently");
            }
        }
        Ok(Flow::On)
    }
}
