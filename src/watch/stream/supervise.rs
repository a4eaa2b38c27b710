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
use super::group::Member;
use super::missing::Missing;
use super::pace::Backoff;
use super::remedy::{Remedy, describe, remedy};
use super::status::{Entry, WatchState};
use crate::config::WatchConfig;
use crate::signal::text;
use crate::watch::decode::{Slim, SlimObject};
use crate::watch::{Change, Kind, Object};

/// How often an answered request may fail before the watch is started anew.
const FAILURES: u32 = 3;
/// How many undecodable objects are remembered so as not to warn of them again.
const WARNED: usize = 1000;
/// At most this often the receiver hears up to when everything was passed on. Less than the ten seconds
/// after which it stores that.
const CONTACT_EVERY: Duration = Duration::from_secs(5);
/// So many failures of another sort in a row make a forbidden kind one that fails.
const OTHER_FAILURES: u32 = 2;

pub(in crate::watch) struct Supervisor {
    pub(super) kind: Kind,
    pub(super) client: kube::Client,
    pub(super) wanted: WatchConfig,
    pub(super) tx: mpsc::Sender<Change>,
    pub(super) entry: Arc<Entry>,
    pub(super) cancel: CancellationToken,
    pub(super) tuning: Tuning,
    /// The namespace that it watches; `None`: all of the kind.
    pub(super) member: Option<Member>,
    /// It is no news that the kind may not be read.
    pub(super) optional: bool,
}

/// The receiver is gone or the watch was cancelled.
struct Stop;

/// What outlives one watcher.
struct Progress {
    pauses: Backoff,
    blind_pauses: Backoff,
    /// The last moment at which the watch was in order, if it is not in order now.
    unseen: Option<Instant>,
    /// The last failure, for people.
    why: String,
    last_failure: Option<Instant>,
    /// Failures in a row that do not forbid the kind.
    other_failures: u32,
    /// No watch has lasted since lists began to be all that can be had.
    by_lists: bool,
    /// What the receiver heard last of [`Entry::contact`], and when it may hear more.
    contact: Option<Instant>,
    next_contact: Instant,
    /// Pages of lists are so many times smaller, because one was too large.
    page_share: u32,
    warned: HashSet<String>,
    rng: fastrand::Rng,
}

impl Progress {
    /// When the kind is to be announced as blind.
    fn blind_at(&self, blind_after: Duration) -> Option<Instant> {
        self.unseen.and_then(|since| since.checked_add(blind_after))
    }
}

/// Which silence has lasted for too long.
enum Silence {
    /// No sign of life: the connection is dead.
    Dead,
    /// The server is there, and tells nothing.
    Quiet,
}

impl Supervisor {
    pub async fn run<T: SlimObject>(self) {
        let tuning = &self.tuning;
        let mut progress = Progress {
            pauses: Backoff::new(tuning.backoff_min, tuning.backoff_max, tuning.backoff_reset),
            // Reset by success only.
            blind_pauses: Backoff::new(tuning.blind_min, tuning.blind_max, Duration::MAX),
            unseen: None,
            why: String::new(),
            last_failure: None,
            other_failures: 0,
            by_lists: false,
            contact: None,
            next_contact: Instant::now(),
            page_share: 1,
            warned: HashSet::new(),
            // Each watch draws for itself, or which of two watches fails first would decide for both.
            rng: tuning.seed.map_or_else(fastrand::Rng::new, |seed| {
                fastrand::Rng::with_seed(seed.wrapping_add(self.entry.salt()))
            }),
        };
        loop {
            match self.watch::<T>(&mut progress).await {
                Ok(why) => {
                    if !self.entry.is_forbidden() {
                        tracing::info!(kind = %self.kind, why, "watch starts anew");
                        self.entry.restarted();
                    }
                }
                Err(Stop) => return,
            }
        }
    }

    fn api<T: SlimObject>(&self) -> Api<Slim<T>> {
        match &self.member {
            Some(member) => Api::namespaced_with(self.client.clone(), &member.namespace, &()),
            None => Api::all(self.client.clone()),
        }
    }

    /// From one list to the moment when another is needed.
    async fn watch<T: SlimObject>(&self, progress: &mut Progress) -> Result<&'static str, Stop> {
        let tuning = &self.tuning;
        let seconds = u32::try_from(tuning.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let page = (tuning.page_size(self.kind) / progress.page_share).max(1);
        let config = watcher::Config::default().timeout(seconds).page_size(page);
        let mut events = pin!(watcher(self.api::<T>(), config));
        let relist_at = Instant::now() + tuning.relist.mul_f64(0.75 + progress.rng.f64() / 2.0);
        let mut relist = pin!(tokio::time::sleep_until(relist_at));
        // `Init` only says that a list is about to be tried. The receiver hears of it when the list
        // is there, so that a kind it cannot read stays blind in between.
        let mut announced = false;
        let mut listing = Instant::now();
        let mut listed = false;
        let mut failures = 0;
        self.entry.begin();
        loop {
            let blind_at = self.blind_at(progress);
            let event = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Stop),
                () = self.tx.closed() => return Err(Stop),
                () = &mut relist => {
                    if progress.unseen.is_none() {
                        self.entry.still_good();
                    }
                    return Ok("it is time for a new list");
                }
                event = events.next() => event,
                // After the events: all that has come was passed on.
                () = self.news(progress), if listed => {
                    self.in_contact(true, progress).await?;
                    continue;
                }
                () = sleep_until(blind_at) => {
                    self.announce(false, progress).await?;
                    // A list that is under way shows more than one that would begin now.
                    if listed {
                        return Ok("it could not be watched for too long");
                    }
                    continue;
                }
                silence = self.silence() => {
                    if let Silence::Dead = silence {
                        self.dead(progress).await?;
                        return Ok("there was no sign of life");
                    }
                    return Ok("the server has been silent");
                }
            };
            let event = match event {
                Some(Ok(event)) => event,
                None => return Ok("the watcher ended"),
                Some(Err(error)) => {
                    let remedy = remedy(&error);
                    failures += u32::from(remedy == Remedy::ResumeAtFirst);
                    self.fail(&error, remedy, progress).await?;
                    let rebuild = matches!(remedy, Remedy::Rebuild | Remedy::ByLists | Remedy::SmallerPages);
                    if rebuild || failures >= FAILURES {
                        return Ok("its version may be of no use");
                    }
                    if self.entry.state() == WatchState::Blind {
                        return Ok("it was blind");
                    }
                    continue;
                }
            };
            let change = match event {
                watcher::Event::Init => {
                    announced = false;
                    listed = false;
                    listing = Instant::now();
                    continue;
                }
                watcher::Event::InitDone => {
                    failures = 0;
                    self.begin_list(&mut announced, progress).await?;
                    listed = true;
                    progress.unseen = None;
                    progress.blind_pauses.reset();
                    self.entry.listed(listing, progress.by_lists);
                    self.listed().await?;
                    None
                }
                // A list that was read in part has told nothing that can be relied upon.
                watcher::Event::InitApply(slim) => {
                    self.begin_list(&mut announced, progress).await?;
                    Some(self.object(slim, progress, Change::Initial))
                }
                watcher::Event::Apply(slim) => {
                    failures = 0;
                    self.recovered(progress);
                    Some(self.object(slim, progress, Change::Applied))
                }
                watcher::Event::Delete(slim) => {
                    failures = 0;
                    self.recovered(progress);
                    slim.0
                        .map_or_else(|bad| bad.hollow(), |object| Some(object.into_object()))
                        .map(Change::Deleted)
                }
            };
            if let Some(change) = change.filter(|change| change.wanted(&self.wanted)) {
                self.send(change).await?;
            }
            // Where changes never pause, what came before the last bytes has been passed on.
            if listed && progress.next_contact <= Instant::now() {
                self.in_contact(false, progress).await?;
            }
        }
    }

    /// When the kind is to be announced as blind; `None`: it was, or is in order.
    fn blind_at(&self, progress: &Progress) -> Option<Instant> {
        progress.blind_at(self.wanted.blind_after).filter(|_| self.entry.state() != WatchState::Blind)
    }

    async fn begin_list(&self, announced: &mut bool, progress: &Progress) -> Result<(), Stop> {
        if std::mem::replace(announced, true) {
            return Ok(());
        }
        if progress.unseen.is_none() && !progress.by_lists {
            self.entry.set_state(WatchState::Listing);
        }
        self.send(match &self.member {
            Some(member) => Change::ListingIn(self.kind, Arc::clone(&member.namespace)),
            None => Change::Listing(self.kind),
        })
        .await
    }

    /// A list is complete.
    async fn listed(&self) -> Result<(), Stop> {
        let Some(member) = &self.member else { return self.send(Change::Listed(self.kind)).await };
        self.send(Change::ListedIn(self.kind, Arc::clone(&member.namespace))).await?;
        self.settle(member, false).await
    }

    /// A namespace was listed, or cannot be read: with the last of them the kind is known as far as it can be.
    async fn settle(&self, member: &Member, forbidden: bool) -> Result<(), Stop> {
        if member.settle(forbidden) {
            self.send(Change::Listed(self.kind)).await?;
        }
        Ok(())
    }

    /// Waits for something that [`Self::in_contact`] would pass on, and until that may be.
    async fn news(&self, progress: &Progress) {
        let recovers = progress.unseen.is_some() || progress.by_lists;
        let due = || match recovers {
            true => self.entry.proved_after(progress.last_failure),
            false => self.entry.contact(true) > progress.contact,
        };
        while !due() {
            self.entry.news.notified().await;
        }
        if !recovers {
            tokio::time::sleep_until(progress.next_contact).await;
        }
    }

    /// Says up to when everything was passed on. `read`: all that has come was.
    async fn in_contact(&self, read: bool, progress: &mut Progress) -> Result<(), Stop> {
        let mut again = false;
        if progress.unseen.is_some() || progress.by_lists {
            if !self.entry.proved_after(progress.last_failure) {
                return Ok(());
            }
            self.recovered(progress);
            again = true;
        }
        let contact = self.entry.contact(read);
        if contact > progress.contact || again {
            progress.contact = progress.contact.max(contact);
            progress.next_contact = Instant::now() + CONTACT_EVERY;
            let at = progress.contact.and_then(|at| match &self.member {
                Some(member) => member.contact(at),
                None => Some(at),
            });
            if let Some(at) = at {
                self.send(Change::Contact(self.kind, at)).await?;
            }
        }
        Ok(())
    }

    /// A watch proved to be one.
    fn recovered(&self, progress: &mut Progress) {
        if progress.unseen.is_some() || progress.by_lists {
            self.entry.set_state(WatchState::Watching);
        }
        progress.unseen = None;
        progress.by_lists = false;
        progress.other_failures = 0;
        progress.blind_pauses.reset();
    }

    /// Ends when there has been no sign of life, or nothing told, for too long.
    async fn silence(&self) -> Silence {
        loop {
            let (dead, quiet) = self.entry.due(self.tuning.stale_after, self.tuning.quiet_after);
            match Instant::now() {
                now if dead <= now => return Silence::Dead,
                now if quiet <= now => return Silence::Quiet,
                _ => tokio::time::sleep_until(dead.min(quiet)).await,
            }
        }
    }

    fn object<T: SlimObject>(
        &self,
        slim: Slim<T>,
        progress: &mut Progress,
        change: fn(Object) -> Change,
    ) -> Change {
        match slim.0 {
            Ok(object) => change(object.into_object()),
            Err(bad) => {
                self.entry.bad_object();
                if progress.warned.len() < WARNED && progress.warned.insert(bad.uid().to_owned()) {
                    let error = text::clean(&bad.to_string());
                    tracing::warn!(kind = %self.kind, uid = bad.uid(), %error, "object skipped");
                }
                match (Change::from(&bad), &self.member) {
                    (Change::Undecodable { kind, name, uid, .. }, Some(member)) => {
                        Change::Undecodable { kind, namespace: member.namespace.to_string(), name, uid }
                    }
                    (change, _) => change,
                }
            }
        }
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
    async fn fail(
        &self,
        error: &watcher::Error,
        remedy: Remedy,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        progress.last_failure = Some(Instant::now());
        progress.by_lists |= remedy == Remedy::ByLists;
        if remedy == Remedy::SmallerPages {
            progress.page_share = progress.page_share.saturating_mul(2);
        }
        let forbidden = remedy == Remedy::Blind;
        progress.other_failures = if forbidden { 0 } else { progress.other_failures.saturating_add(1) };
        if forbidden && self.optional {
            progress.why = describe(error);
            self.entry.failed(progress.why.clone());
        } else {
            self.unseen(self.entry.good(), describe(error), progress).await?;
        }
        let state = self.entry.state();
        if forbidden && !self.entry.is_forbidden() {
            self.name_missing(error);
            self.announce(true, progress).await?;
        } else if self.entry.is_forbidden() && progress.other_failures >= OTHER_FAILURES {
            self.announce(false, progress).await?;
        } else if state != WatchState::Blind {
            tracing::info!(kind = %self.kind, error = progress.why, "watch failed");
            self.entry.set_state(WatchState::Failing);
        }
        let pauses = if forbidden { &mut progress.blind_pauses } else { &mut progress.pauses };
        let until = Instant::now() + pauses.next(&mut progress.rng).max(self.entry.take_wait());
        loop {
            let blind_at = self.blind_at(progress);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Stop),
                () = self.tx.closed() => return Err(Stop),
                () = sleep_until(blind_at) => self.announce(false, progress).await?,
                () = tokio::time::sleep_until(until) => break,
            }
        }
        self.entry.excuse();
        Ok(())
    }

    /// The connection has shown no sign of life for too long. Nobody knows since when it is dead.
    async fn dead(&self, progress: &mut Progress) -> Result<(), Stop> {
        progress.last_failure = Some(Instant::now());
        let since = self.entry.last_alive();
        let why = format!("no sign of life for {} s", since.elapsed().as_secs());
        self.unseen(since, why, progress).await?;
        if self.blind_at(progress).is_some_and(|at| at <= Instant::now()) {
            self.announce(false, progress).await?;
        } else if self.entry.state() != WatchState::Blind {
            self.entry.set_state(WatchState::Failing);
        }
        Ok(())
    }

    /// Notes why the kind cannot be seen, and says since when if that is news.
    async fn unseen(&self, since: Instant, why: String, progress: &mut Progress) -> Result<(), Stop> {
        let why = match &self.member {
            Some(member) => format!("namespace {}: {why}", member.namespace),
            None => why,
        };
        self.entry.failed(why.clone());
        progress.why.clone_from(&why);
        if progress.unseen.is_none() {
            progress.unseen = Some(since);
            self.send(Change::Failing { kind: self.kind, since, why }).await?;
        }
        Ok(())
    }

    async fn announce(&self, forbidden: bool, progress: &Progress) -> Result<(), Stop> {
        self.entry.blind(forbidden);
        let why = progress.why.clone();
        if forbidden && self.optional {
            self.entry.not_permitted();
            return match &self.member {
                Some(member) => self.settle(member, true).await,
                None => self.send(Change::NotPermitted(self.kind, why)).await,
            };
        }
        tracing::warn!(kind = %self.kind, error = why, "cannot be read");
        let Some(member) = &self.member else { return self.send(Change::Blind(self.kind, why)).await };
        self.send(Change::BlindIn(self.kind, Arc::clone(&member.namespace), why)).await?;
        self.settle(member, forbidden).await
    }

    /// Names the permission that is missing, once for each kind, and the command that grants it.
    fn name_missing(&self, error: &watcher::Error) {
        let Some(missing) = Missing::of(self.kind, self.member.as_ref(), error) else { return };
        match &self.member {
            Some(_) if self.optional => tracing::info!("Events about nodes are not seen: {missing}"),
            Some(member) if !member.first_to_be_named() => tracing::info!("{missing}"),
            None if self.optional => tracing::warn!("{}s are not watched: {missing}", self.kind),
            _ => tracing::warn!("{missing}"),
        }
    }
}

/// Never ends without a time.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
