//! Is the bot doing its work? What a heartbeat says to the outside, and what readiness says to the cluster, are
//! judged by the same rules; only of the engine's loop less patience is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::{Check, Health, WRITABLE, first_lists, watch_checks};
use crate::clock::{self, Clock};
use crate::metrics::EngineStats;
use crate::store::Store;
use crate::watch::stream::WatchStatus;

/// The engine's loop goes round every second.
const ROUND: Duration = Duration::from_secs(30);

/// Where it is seen whether the bot is well.
#[derive(Clone)]
pub struct Vitals {
    pub watch: Arc<WatchStatus>,
    /// Published by the engine's loop.
    pub engine: Arc<ArcSwap<EngineStats>>,
    /// When the engine's loop went round last, in milliseconds.
    pub heartbeat: Arc<AtomicI64>,
    pub store: Store,
    pub clock: Clock,
    /// When the process started.
    pub started: Timestamp,
}

impl Vitals {
    /// Does the bot see the cluster, decide, and keep what it decides? The error says what it does not.
    pub async fn check(&self) -> Result<(), String> {
        let watches = self.watch.snapshot();
        let now = self.clock.now();
        let mut checks = vec![first_lists(self.engine.load().synced, &watches)];
        checks.extend(watch_checks(&watches, self.started, now));
        if let Some(Check { name, detail, .. }) =
            checks.into_iter().find(|check| check.status == Health::Failed)
        {
            return Err(format!("{name}: {detail}"));
        }
        let round = Timestamp::from_millisecond(self.heartbeat.load(Ordering::Relaxed)).unwrap_or_default();
        let silent = clock::between(round, now);
        if silent >= ROUND {
            return Err(format!("the engine's loop has been silent for {} s", silent.as_secs()));
        }
        match tokio::time::timeout(WRITABLE, self.store.writable().into_future()).await {
            Ok(Ok(())) => match self.store.health().in_memory {
                Some(why) => Err(format!("store: kept in memory only: {why}")),
                None => Ok(()),
            },
            Ok(Err(error)) => Err(format!("store: {error}")),
            Err(_) => Err(format!("store: no commit within {} s", WRITABLE.as_secs())),
        }
    }
}
