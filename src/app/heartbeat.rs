//! Who watches the watcher: requests to a dead man's switch outside of the cluster, and to whom else the bot
//! says that it is well.
//!
//! Nothing is sent while the bot is not well: the other side raises an alarm when requests stay away, so a
//! request that says too much is worse than none.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, HeartbeatConfig, HeartbeatMethod};
use crate::metrics::HeartbeatStats;
use crate::notify::Network;
use crate::notify::http::{Class, Client, HttpError, Tls, class};
use crate::outbox::Vital;
use crate::web::health::vital::Vitals;

/// How often it is looked whether the bot is well. Also the wait after a request that failed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What was seen then is believed for so long: longer than a look takes, and than it is until the next one.
const BELIEVED: Duration = Duration::from_secs(30);

/// When the bot was last seen to be well.
#[derive(Debug, Clone, Default)]
pub struct Wellness(Arc<Mutex<Option<Instant>>>);

impl Wellness {
    /// Was it seen to be well a moment ago?
    pub fn is_well(&self) -> bool {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_some_and(|at| at.elapsed() < BELIEVED)
    }

    pub fn vital(&self) -> Vital {
        let this = self.clone();
        Arc::new(move || this.is_well())
    }

    fn seen(&self, well: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = well.then(Instant::now);
    }
}

/// Who is told that the bot is well.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The dead man's switch.
    pub heartbeat: Option<HeartbeatConfig>,
    pub watchdog: bool,
}

impl Wanted {
    /// As it is configured.
    pub fn of(config: &Config) -> Self {
        let watchdog = config.receivers.iter().any(|receiver| receiver.notifier.reassert().is_some());
        Self { heartbeat: config.heartbeat.clone(), watchdog }
    }
}

/// Looks whether the bot is well, and sends heartbeats while it is.
pub struct Heartbeat {
    vitals: Vitals,
    wellness: Wellness,
    stats: Arc<HeartbeatStats>,
    wanted: watch::Receiver<Wanted>,
    client: Client,
    /// Withheld or failing, and why: logged when it begins and when it ends.
    trouble: Option<&'static str>,
    /// When the next request is due.
    due: Instant,
}

impl Heartbeat {
    /// Nothing happens until it runs.
    pub fn new(
        vitals: Vitals,
        wellness: Wellness,
        stats: Arc<HeartbeatStats>,
        wanted: watch::Receiver<Wanted>,
        network: &Network,
    ) -> Result<Self, HttpError> {
        let client = Client::new(&Tls::default(), network)?;
        Ok(Self { vitals, wellness, stats, wanted, client, trouble: None, due: Instant::now() })
    }

    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = self.round() => next,
            };
            // A changed configuration is looked at with the next round.
            if !unless(&stop, sleep_until(next)).await {
                return;
            }
        }
    }

    /// Looks, and sends where it is time to. Returns when to look again.
    async fn round(&mut self) -> Instant {
        let Wanted { heartbeat, watchdog } = self.wanted.borrow_and_update().clone();
        self.stats.configured.store(heartbeat.is_some(), Ordering::Relaxed);
        // To look makes a commit: not where nobody asks.
        if heartbeat.is_none() && !watchdog {
            self.wellness.seen(false);
            return Instant::now() + LOOK_EVERY;
        }
        let well = self.vitals.check().await;
        self.wellness.seen(well.is_ok());
        let now = Instant::now();
        let look = now + LOOK_EVERY;
        let Some(config) = heartbeat else {
            self.due = now;
            return look;
        };
        if self.due > now {
            return look.min(self.due);
        }
        match well {
            Err(why) => {
                self.stats.withheld.fetch_add(1, Ordering::Relaxed);
                self.is_in_trouble("withheld", &why);
                // As soon as the bot is well again.
                return look;
            }
            Ok(()) => match self.send(&config).await {
                Ok(()) => {
                    self.stats.sent.fetch_add(1, Ordering::Relaxed);
                    if let Some(was) = self.trouble.take() {
                        tracing::info!(was, "the heartbeat is sent again");
                    }
                    // From when it was due, so that the time a request takes does not add up.
                    self.due = (self.due + config.every).max(now);
                }
                Err(why) => {
                    self.stats.failed.fetch_add(1, Ordering::Relaxed);
                    self.is_in_trouble("failed", &why);
                    self.due = now + config.every.min(LOOK_EVERY);
                }
            },
        }
        look.min(self.due)
    }

    fn is_in_trouble(&mut self, what: &'static str, why: &str) {
        if self.trouble.replace(what) != Some(what) {
            tracing::warn!(why, "the heartbeat is {what}");
        }
    }

    /// An error is for people and without the address.
    async fn send(&self, config: &HeartbeatConfig) -> Result<(), String> {
        let url = config.url.resolve().map_err(|error| format!("no address: {error}"))?;
        let address = url.expose_secret().trim();
        if !address.starts_with("https://") && !address.starts_with("http://") {
            return Err(format!("{} holds no http(s) URL", config.url));
        }
        let request = match config.method {
            HeartbeatMethod::Get => self.client.get(address),
            HeartbeatMethod::Post => self.client.post(address),
        };
        let answer = self.client.exchange(request, self.vitals.clock.now()).await?;
        if class(answer.status) == Class::Taken {
            Ok(())
        } else {
            Err(format!("the other side answered {}", answer.status))
        }
    }
}

/// `false`: `stop` came first.
async fn unless(stop: &CancellationToken, done: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = done => true,
    }
}

#[cfg(test)]
mod tests;
