//! What the store needs now and then, and what is done while its disk fails.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::store::{Commit, Committed, Retention, Store, StoreError};

/// Old history and delivered rows are removed this often…
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// …and while there is more to remove than one step does.
const PRUNE_AGAIN: Duration = Duration::from_secs(1);
/// While things are kept in memory only, the disk is tried this often at first…
const MEND_EVERY: Duration = Duration::from_secs(5);
/// …and, waiting twice as long each time, this often in the end: each try writes everything.
const MEND_AT_LEAST: Duration = Duration::from_secs(60);
/// A commit that can be kept nowhere is tried again this often.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// Looks after the store between decisions.
#[derive(Debug)]
pub(super) struct Upkeep {
    store: Store,
    next_prune: Timestamp,
    next_mend: Timestamp,
    mend_wait: Duration,
}

impl Upkeep {
    pub(super) fn new(store: Store, now: Timestamp) -> Self {
        let next_prune = clock::after(now, PRUNE_EVERY);
        Self { store, next_prune, next_mend: now, mend_wait: MEND_EVERY }
    }

    /// Does what is due. Fails only when the store is gone.
    pub(super) async fn tick(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.store.health().in_memory.is_none() {
            self.mend_wait = MEND_EVERY;
            self.next_mend = clock::after(now, MEND_EVERY);
        } else if is_due(self.next_mend, now, MEND_AT_LEAST) {
            self.store.mend().await?;
            self.next_mend = clock::after(now, self.mend_wait);
            self.mend_wait = self.mend_wait.saturating_mul(2).min(MEND_AT_LEAST);
        }
        if is_due(self.next_prune, now, PRUNE_EVERY) {
            let again = match self.store.prune(Retention::default(), now).await {
                Ok(pruned) => pruned.is_full(),
                Err(error) if error.is_disk() => {
                    tracing::warn!(%error, "old history cannot be removed");
                    false
                }
                Err(error) => return Err(error),
            };
            self.next_prune = clock::after(now, if again { PRUNE_AGAIN } else { PRUNE_EVERY });
        }
        Ok(())
    }
}

/// Also where the clock was set back since.
fn is_due(at: Timestamp, now: Timestamp, at_most: Duration) -> bool {
    now >= at || clock::between(now, at) > at_most
}

/// Stores a commit, however long that takes: what was decided is never dropped because neither the disk nor
/// memory has room for it. `round` is called between two tries. Gives up, with the error, once `stop` is
/// cancelled.
pub(super) async fn keep(
    store: &Store,
    commit: Commit,
    clock: &Clock,
    stop: &CancellationToken,
    round: impl Fn(),
) -> Result<Committed, StoreError> {
    let commit = Arc::new(commit);
    loop {
        match store.commit(Arc::clone(&commit)).await {
            Err(error) if error.is_disk() && !stop.is_cancelled() => {
                tracing::error!(%error, "decisions can be kept neither on disk nor in memory: trying again, nothing new is taken in");
            }
            done => return done,
        }
        round();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = clock.sleep(KEEP_AGAIN) => {}
        }
        // What is in memory makes room once it is on disk.
        store.mend().await?;
    }
}
