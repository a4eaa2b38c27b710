//! A configuration that was loaded, put in force step by step.
//!
//! ```text
//!  1. dispatchers of new and changed receivers start   (so that nothing is queued for nobody)
//!  2. the engine's loop: stores what was decided before, changes, stores what follows
//!  3. dispatchers of receivers that are gone drain     (nothing is queued for them any more)
//! ```
//!
//! A crash after any of these steps is a restart under the new configuration: what is queued for
//! receivers that are gone becomes dead letters then.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use super::engine_loop::EngineCommand;
use super::senders::Senders;
use crate::app::heartbeat::Wanted;
use crate::app::notice::Broken;
use crate::app::reload::{Ready, Refused, Update};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::ConfigStats;

/// A step that is under way.
struct InFlight {
    known: Option<Vec<Arc<str>>>,
    notes: Vec<String>,
    done: oneshot::Sender<Vec<String>>,
    applied: oneshot::Receiver<()>,
}

/// Puts one configuration after the other in force.
pub(super) struct Applier {
    /// As it was at the start: some things stay so.
    begun: Arc<Config>,
    stats: Arc<ArcSwap<ConfigStats>>,
    commands: mpsc::Sender<EngineCommand>,
    wanted: watch::Sender<Wanted>,
    clock: Clock,
    in_flight: Option<InFlight>,
}

impl Applier {
    pub(super) const fn new(
        begun: Arc<Config>,
        stats: Arc<ArcSwap<ConfigStats>>,
        commands: mpsc::Sender<EngineCommand>,
        wanted: watch::Sender<Wanted>,
        clock: Clock,
    ) -> Self {
        Self { begun, stats, commands, wanted, clock, in_flight: None }
    }

    /// May another one begin?
    pub(super) const fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Step 1, and asks for step 2.
    pub(super) async fn begin(&mut self, update: Update, senders: &mut Senders) {
        let Update { outcome, done } = update;
        let (tell, applied) = oneshot::channel();
        let (command, known, notes) = match outcome {
            Ok(ready) => {
                let Ready { loaded, built, names, .. } = ready;
                for (spec, notifier) in built {
                    senders.start(spec, notifier);
                }
                self.wanted.send_replace(Wanted::of(&loaded.config));
                let notes = needs_restart(&self.begun, &loaded.config);
                for note in &notes {
                    tracing::warn!("{note}");
                }
                self.succeeded(loaded.hash);
                (EngineCommand::Reload { config: loaded.config, done: tell }, Some(names), notes)
            }
            Err(Refused { broken, .. }) => {
                self.failed(&broken);
                (EngineCommand::Broken { broken, done: tell }, None, Vec::new())
            }
        };
        self.in_flight = Some(InFlight { known, notes, done, applied });
        // A loop that is gone ends the process; that is seen elsewhere.
        self.commands.send(command).await.ok();
    }

    /// Waits for step 2. Never ends while nothing is under way.
    pub(super) async fn applied(&mut self) {
        match &mut self.in_flight {
            Some(under) => (&mut under.applied).await.unwrap_or_default(),
            None => std::future::pending().await,
        }
    }

    pub(super) fn finish(&mut self, senders: &mut Senders) {
        let Some(under) = self.in_flight.take() else { return };
        if let Some(known) = &under.known {
            senders.retire(known);
        }
        under.done.send(under.notes).ok();
    }

    fn succeeded(&self, hash: String) {
        let mut stats = ConfigStats::clone(&self.stats.load());
        stats.hash = hash;
        stats.succeeded += 1;
        stats.last_success = self.clock.now();
        stats.error = None;
        self.stats.store(Arc::new(stats));
    }

    fn failed(&self, broken: &Broken) {
        let mut stats = ConfigStats::clone(&self.stats.load());
        stats.failed += 1;
        stats.error = Some(broken.lines.first().cloned().unwrap_or_default());
        self.stats.store(Arc::new(stats));
    }
}

/// What stays as it was at the start, although it is written differently now.
fn needs_restart(begun: &Config, now: &Config) -> Vec<String> {
    let names = |namespaces: &[String]| {
        let mut sorted = namespaces.to_vec();
        sorted.sort();
        sorted
    };
    let same_watch = names(&begun.watch.include) == names(&now.watch.include)
        && names(&begun.watch.exclude) == names(&now.watch.exclude);
    [
        (begun.store.path == now.store.path, "store.path"),
        (begun.store.max_bytes == now.store.max_bytes, "store.max_bytes"),
        (begun.http == now.http, "http.listen"),
        (begun.api_token == now.api_token, "http.token"),
        (begun.command == now.command, "http.command"),
        (same_watch, "watch.namespaces"),
        (names(&begun.watch.exclude_kinds) == names(&now.watch.exclude_kinds), "watch.kinds"),
    ]
    .into_iter()
    .filter(|(same, _)| !same)
    .map(|(_, key)| format!("`{key}` was changed: that takes a restart; the rest is in force"))
    .collect()
}
