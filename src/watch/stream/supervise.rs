//! The life of one kind's watch.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::runtime::watcher::{self, watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Tuning;
use super::page::{PageSize, TooLarge};
use super::status::{Entry, WatchState};
use crate::config::WatchConfig;
use crate::signal::text;
use crate::watch::decode::{BadObject, Watched, finish};
use crate::watch::objects::Slim;
use crate::watch::{Change, Kind, Object, scope};

/// How often an answered request may fail before the watch is started anew.
const FAILURES: u32 = 3;
/// How many undecodable objects are remembered so as not to warn of them again.
const WARNED: usize = 1000;
/// The longest error text kept, in bytes.
const MAX_ERROR: usize = 300;

pub(super) struct Supervisor {
    pub kind: Kind,
    pub client: kube::Client,
    pub wanted: WatchConfig,
    pub tx: mpsc::Sender<Change>,
    pub entry: Arc<Entry>,
    pub cancel: CancellationToken,
    pub tuning: Tuning,
}

/// The receiver is gone or the watch was cancelled.
struct Stop;

/// What outlives one watcher.
struct Memory {
    pauses: Backoff,
    blind_pauses: Backoff,
    /// Since when nothing worked.
    failing_since: Option<Instant>,
    page: PageSize,
    warned: HashSet<String>,
    rng: fastrand::Rng,
}

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// kube goes on where it was.
    Resume,
    /// The same, unless it happens again and again: the version asked for may be what is wrong.
    ResumeAtFirst,
    /// A new start.
    Rebuild,
    /// The kind may not be read: announced at once, tried again slowly.
    Blind,
}

impl Supervisor {
    pub async fn run<T: Watched + Clone + Send + Sync + std::fmt::Debug + 'static>(self) {
        let tuning = &self.tuning;
        let mut memory = Memory {
            pauses: Backoff::new(tuning.backoff_min, tuning.backoff_max, tuning.backoff_reset),
            // Reset by success only.
            blind_pauses: Backoff::new(tuning.blind_min, tuning.blind_max, Duration::MAX),
            failing_since: None,
            page: PageSize::new(tuning.page_size(self.kind)),
            warned: HashSet::new(),
            // Each kind draws for itself, or which of two watches fails first would decide for both.
            rng: tuning.seed.map_or_else(fastrand::Rng::new, |seed| {
                fastrand::Rng::with_seed(seed.wrapping_add(self.kind as u64))
            }),
        };
        loop {
            match self.watch::<T>(&mut memory).await {
                Ok(why) => {
                    if self.entry.state() != WatchState::Blind {
                        tracing::info!(kind = %self.kind, why, "watch starts anew");
                        self.entry.restarted();
                    }
                }
                Err(Stop) => return,
            }
        }
    }

    /// From one list to the moment when another is needed.
    async fn watch<T: Watched + Clone + Send + Sync + std::fmt::Debug + 'static>(
        &self,
        memory: &mut Memory,
    ) -> Result<&'static str, Stop> {
        let tuning = &self.tuning;
        let seconds = u32::try_from(tuning.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let config = watcher::Config::default().timeout(seconds).page_size(memory.page.objects());
        let mut events = pin!(watcher(Api::<Slim<T>>::all(self.client.clone()), config));
        let relist_at = Instant::now() + tuning.relist.mul_f64(0.75 + memory.rng.f64() / 2.0);
        let mut relist = pin!(tokio::time::sleep_until(relist_at));
        // `Init` only says that a list is about to be tried. The receiver hears of it when the list
        // is there, so that a kind it cannot read stays blind in between.
        let mut announced = false;
        let mut failures = 0;
        self.entry.begin();
        loop {
            let event = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Stop),
                () = self.tx.closed() => return Err(Stop),
                () = &mut relist => return Ok("it is time for a new list"),
                event = events.next() => event,
                () = self.silence() => return Ok("the server has been silent"),
            };
            let event = match event {
                Some(Ok(event)) => event,
                None => return Ok("the watcher ended"),
                Some(Err(error)) => {
                    let remedy = remedy(&error);
                    if cause::<TooLarge>(&error) {
                        memory.page.shrink();
                        tracing::warn!(kind = %self.kind, objects = memory.page.objects(),
                            "objects are too large for the usual pages of a list");
                        self.fail(&error, Remedy::Rebuild, memory).await?;
                        return Ok("its pages were too large");
                    }
                    failures += u32::from(remedy == Remedy::ResumeAtFirst);
                    self.fail(&error, remedy, memory).await?;
                    if remedy == Remedy::Rebuild || failures >= FAILURES {
                        return Ok("its version may be of no use");
                    }
                    if self.entry.state() == WatchState::Blind {
                        return Ok("it was blind");
                    }
                    continue;
                }
            };
            if matches!(event, watcher::Event::Init) {
                announced = false;
                continue;
            }
            // Something came.
            failures = 0;
            memory.failing_since = None;
            memory.blind_pauses.reset();
            if !announced && matches!(event, watcher::Event::InitApply(_) | watcher::Event::InitDone) {
                announced = true;
                self.entry.set_state(WatchState::Listing);
                self.send(Change::Listing(self.kind)).await?;
            } else if self.entry.state() == WatchState::Failing {
                self.entry.set_state(WatchState::Watching);
            }
            let change = match event {
                watcher::Event::Init => None,
                watcher::Event::InitDone => {
                    self.entry.listed();
                    self.entry.told();
                    memory.page.grow();
                    Some(Change::Listed(self.kind))
                }
                watcher::Event::InitApply(slim) => self.object(slim, memory, Change::Initial),
                watcher::Event::Apply(slim) => self.object(slim, memory, Change::Applied),
                watcher::Event::Delete(slim) => match finish(slim) {
                    Ok(object) => self.wants(&object).then_some(Change::Deleted(object)),
                    Err(bad) => self.wants_bad(&bad).then(|| bad.hollow().map(Change::Deleted)).flatten(),
                },
            };
            if let Some(change) = change {
                self.send(change).await?;
            }
        }
    }

    /// Ends when there has been no sign of life, or nothing told, for too long.
    async fn silence(&self) {
        loop {
            let due = self.entry.due(self.tuning.stale_after, self.tuning.quiet_after);
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    fn object<T: Watched>(
        &self,
        slim: Slim<T>,
        memory: &mut Memory,
        change: fn(Object) -> Change,
    ) -> Option<Change> {
        match finish(slim) {
            Ok(object) => self.wants(&object).then(|| change(object)),
            Err(bad) => {
                self.entry.bad_object();
                if memory.warned.len() < WARNED && memory.warned.insert(bad.uid().to_owned()) {
                    let error = text::clean(&bad.to_string());
                    tracing::warn!(kind = %self.kind, uid = bad.uid(), %error, "object skipped");
                }
                self.wants_bad(&bad).then(|| Change::from(&bad))
            }
        }
    }

    /// Cluster-scoped objects always pass.
    fn wants(&self, object: &Object) -> bool {
        match object {
            Object::Event(event) => scope::wanted(event, &self.wanted),
            object => object.metadata().namespace.as_deref().is_none_or(|ns| self.wanted.wants(ns)),
        }
    }

    fn wants_bad(&self, bad: &BadObject) -> bool {
        bad.namespace().is_empty() || self.wanted.wants(bad.namespace())
    }

    async fn send(&self, change: Change) -> Result<(), Stop> {
        let sent = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Stop),
            sent = self.tx.send(change) => sent,
        };
        // While the channel was full nothing was read, and a long list tells something all along.
        self.entry.begin();
        sent.map_err(|_| Stop)
    }

    /// Notes a failure, announces it if it must be, and waits.
    async fn fail(&self, error: &watcher::Error, remedy: Remedy, memory: &mut Memory) -> Result<(), Stop> {
        let text = describe(error);
        self.entry.failed(text.clone());
        let since = *memory.failing_since.get_or_insert_with(Instant::now);
        let blind = remedy == Remedy::Blind || since.elapsed() >= self.tuning.blind_after;
        let was_blind = self.entry.state() == WatchState::Blind;
        if blind && !was_blind {
            tracing::warn!(kind = %self.kind, error = text, "cannot be read");
            self.entry.set_state(WatchState::Blind);
            self.send(Change::Blind(self.kind, text)).await?;
        } else if !was_blind {
            tracing::info!(kind = %self.kind, error = text, "watch failed");
            self.entry.set_state(WatchState::Failing);
        }
        let pauses = if remedy == Remedy::Blind { &mut memory.blind_pauses } else { &mut memory.pauses };
        let pause = pauses.next(&mut memory.rng).max(self.entry.take_wait());
        // Whoever ends the watch is looked at first; the pause is bounded.
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Stop),
            () = self.tx.closed() => return Err(Stop),
            () = tokio::time::sleep(pause) => {}
        }
        self.entry.excuse();
        Ok(())
    }
}

/// What an error asks for.
fn remedy(error: &watcher::Error) -> Remedy {
    use watcher::Error as E;
    let (code, source) = match error {
        E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => match error {
            kube::Error::Api(status) => (status.code, Some(error)),
            // A line that is no watch event. Which object it was about is unknown, so it is missed.
            kube::Error::SerdeError(_) => return Remedy::Rebuild,
            _ => (0, Some(error)),
        },
        E::WatchError(status) => (status.code, None),
        E::NoResourceVersion => return Remedy::Rebuild,
    };
    match code {
        401 | 403 | 404 | 405 => Remedy::Blind,
        410 | 504 => Remedy::Rebuild,
        // Overload: a new list is the last thing the server needs.
        429 | 503 => Remedy::Resume,
        // No connection, or a broken one: a restart of the API server must not make every kind
        // list anew. That version and server no longer fit is found out by the other means.
        0 if source.is_some_and(|error| cause::<std::io::Error>(error)) => Remedy::Resume,
        _ => Remedy::ResumeAtFirst,
    }
}

/// Is there such an error among the causes?
fn cause<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    // A bound, should a chain be a circle.
    std::iter::successors(Some(error), |e| e.source()).take(16).any(<dyn std::error::Error>::is::<E>)
}

/// An error for people: what the server said, or the chain of causes. kube's errors hold no
/// credentials, and addresses are no secrets here.
fn describe(error: &watcher::Error) -> String {
    use watcher::Error as E;
    let status = match error {
        E::InitialListFailed(kube::Error::Api(status))
        | E::WatchStartFailed(kube::Error::Api(status))
        | E::WatchFailed(kube::Error::Api(status))
        | E::WatchError(status) => Some(status),
        _ => None,
    };
    let said = status.map_or_else(
        || {
            let mut parts: Vec<String> = Vec::new();
            for part in std::iter::successors(Some::<&dyn std::error::Error>(error), |e| e.source()).take(16)
            {
                // Some errors repeat what caused them.
                let part = part.to_string();
                if !parts.iter().any(|seen| seen.contains(&part)) {
                    parts.push(part);
                }
            }
            parts.join(": ")
        },
        |status| format!("{}: {}", status.code, status.message),
    );
    text::cut(&text::clean(&said), MAX_ERROR).into_owned()
}

/// Doubling pauses with jitter. Unlike kube's own, it outlives the watcher, or a watch that fails
/// right after each list would list without end.
#[derive(Debug)]
struct Backoff {
    min: Duration,
    max: Duration,
    reset_after: Duration,
    next: Duration,
    last: Option<Instant>,
}

impl Backoff {
    const fn new(min: Duration, max: Duration, reset_after: Duration) -> Self {
        Self { min, max, reset_after, next: min, last: None }
    }

    const fn reset(&mut self) {
        self.next = self.min;
    }

    fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        if self.last.is_some_and(|last| last.elapsed() >= self.reset_after) {
            self.reset();
        }
        let pause = self.next.mul_f64(0.5 + rng.f64() / 2.0);
        self.next = self.next.saturating_mul(2).min(self.max);
        self.last = Instant::now().checked_add(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn status(code: u16) -> Box<Status> {
        Box::new(Status::failure("said", "Reason").with_code(code))
    }

    #[test]
    fn each_failure_has_its_remedy() {
        let start = |code| watcher::Error::WatchStartFailed(kube::Error::Api(status(code)));
        assert_eq!(remedy(&start(403)), Remedy::Blind);
        assert_eq!(remedy(&start(410)), Remedy::Rebuild);
        assert_eq!(remedy(&start(429)), Remedy::Resume);
        assert_eq!(remedy(&start(500)), Remedy::ResumeAtFirst);
        assert_eq!(remedy(&watcher::Error::WatchError(status(504))), Remedy::Rebuild);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(
            remedy(&watcher::Error::WatchStartFailed(kube::Error::Service(refused.into()))),
            Remedy::Resume
        );
        assert_eq!(describe(&start(403)), "403: said");
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pauses = Backoff::new(ms(100), ms(350), Duration::MAX);
        for longest in [100, 200, 350, 350] {
            let pause = pauses.next(&mut rng);
            assert!(pause >= ms(longest / 2) && pause <= ms(longest), "{pause:?} of {longest}");
        }
        pauses.reset();
        assert!(pauses.next(&mut rng) <= ms(100));
    }
}
