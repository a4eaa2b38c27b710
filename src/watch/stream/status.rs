//! How the watches are doing, for `/readyz`, metrics and the announcements of blindness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::{self, Clock};
use crate::watch::Kind;

/// What a watch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchState {
    /// The list is not complete.
    Listing,
    Watching,
    /// The kind may not be read, or could not be for `watch.blind_after`; what is known of it is old.
    Blind,
    /// The last request failed, or watches end as soon as they begin; retried soon.
    Failing,
}

impl WatchState {
    /// The name used in metrics and in `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::Blind => "blind",
            Self::Failing => "failing",
        }
    }
}

/// The watch of one kind at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindStatus {
    pub kind: Kind,
    /// What it is doing.
    pub state: WatchState,
    /// When the server last showed that it is there: a header, an object, a bookmark, a clean end. A watch
    /// that ends at once and brings nothing shows nothing.
    pub last_activity: Option<Timestamp>,
    /// Blind because the server forbids it or does not know the kind: no restart changes that.
    pub forbidden: bool,
    pub requests: u64,
    /// Those of them that had to wait, because too many came before or because watches ended at once.
    pub delayed: u64,
    /// How many lists were completed.
    pub lists: u64,
    /// How often the watch was started anew for a reason other than being forbidden.
    pub restarts: u64,
    /// How many times an object came that did not decode.
    pub bad_objects: u64,
    /// The last failure, cut; never with credentials. Kept after it is over.
    pub last_error: Option<String>,
}

/// What the API server's clock showed.
#[derive(Debug, Clone, Copy)]
pub struct ServerTime {
    /// The `Date` of an answer, in whole seconds.
    pub date: Timestamp,
    /// When the request went out; the clock was read after it.
    pub asked: Instant,
    /// When the answer began; the clock was read before it.
    pub answered: Instant,
}

/// The newest reading; shared by all watches.
type Server = Arc<Mutex<Option<ServerTime>>>;

/// All watches. Cheap to read; the watches hold its locks for an assignment only.
#[derive(Debug)]
pub struct WatchStatus {
    entries: BTreeMap<Kind, Arc<Entry>>,
    server: Server,
}

impl WatchStatus {
    /// The status of watches that have not begun, by the system's clock.
    pub fn new(kinds: &[Kind]) -> Arc<Self> {
        Self::with_clock(kinds, &Clock::System)
    }

    /// The same by another clock, which must be the one that readers of the times compare with.
    pub fn with_clock(kinds: &[Kind], clock: &Clock) -> Arc<Self> {
        let server = Server::default();
        let entry = |&kind: &Kind| (kind, Arc::new(Entry::new(kind, clock.clone(), Arc::clone(&server))));
        let entries = kinds.iter().map(entry).collect();
        Arc::new(Self { entries, server })
    }

    /// Every kind, in the order of [`Kind::ALL`].
    pub fn snapshot(&self) -> Vec<KindStatus> {
        self.entries.values().map(|entry| entry.shown()).collect()
    }

    /// One kind, if it is watched.
    pub fn of(&self, kind: Kind) -> Option<KindStatus> {
        Some(self.entries.get(&kind)?.shown())
    }

    /// Every kind was listed completely once, or is known to be unreadable: what the others say can
    /// be acted upon.
    pub fn ready(&self) -> bool {
        self.entries.values().all(|entry| {
            let inner = entry.lock();
            inner.shown.lists > 0 || inner.shown.state == WatchState::Blind
        })
    }

    /// The newest reading of the API server's clock. It is older than whatever came with its answer.
    pub fn server_time(&self) -> Option<ServerTime> {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entry(&self, kind: Kind) -> Option<Arc<Entry>> {
        self.entries.get(&kind).cloned()
    }
}

#[derive(Debug)]
struct Inner {
    shown: KindStatus,
    /// The last sign of life; also the end of a delay of our own.
    alive: Instant,
    /// The last sign of life of the server. Kept as a moment of the runtime: the wall clock may be set.
    active: Option<Instant>,
    /// The last object or bookmark.
    last_line: Instant,
    /// Up to when everything was received, by the newest bytes of a watch or the beginning of a list.
    contact: Option<Instant>,
    /// The same by the bytes before those: what they held has been passed on when newer ones are read.
    contact_before: Option<Instant>,
    /// The last moment at which the watch was in order, as far as is known.
    good: Instant,
    /// When a watch last proved to be one: by a line, or by lasting.
    proof: Option<Instant>,
    /// The server asked for patience until then.
    not_before: Option<Instant>,
}

/// What is known of one watch; shared by its supervisor and its connections.
#[derive(Debug)]
pub(super) struct Entry {
    clock: Clock,
    server: Server,
    inner: Mutex<Inner>,
    /// Called when `contact` or `proof` changes.
    pub news: Notify,
}

impl Entry {
    fn new(kind: Kind, clock: Clock, server: Server) -> Self {
        let now = Instant::now();
        let inner = Mutex::new(Inner {
            shown: KindStatus {
                kind,
                state: WatchState::Listing,
                last_activity: None,
                forbidden: false,
                requests: 0,
                delayed: 0,
                lists: 0,
                restarts: 0,
                bad_objects: 0,
                last_error: None,
            },
            alive: now,
            active: None,
            last_line: now,
            contact: None,
            contact_before: None,
            good: now,
            proof: None,
            not_before: None,
        });
        Self { clock, server, inner, news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing is left half-done by a panic in between.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> KindStatus {
        let inner = self.lock();
        let when = |at: Instant| clock::before(self.clock.now(), at.elapsed());
        KindStatus { last_activity: inner.active.map(when), ..inner.shown.clone() }
    }

    /// An answer names the server's time.
    pub fn server_time(&self, time: ServerTime) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    /// The server is there.
    pub fn alive(&self) {
        let mut inner = self.lock();
        inner.alive = Instant::now();
        inner.active = Some(Instant::now());
    }

    /// A complete line of a watch came.
    pub fn line_came(&self) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.alive = now;
        inner.last_line = now;
        inner.good = now;
        inner.proof = Some(now);
        inner.contact_before = inner.contact.replace(now);
        inner.active = Some(Instant::now());
        drop(inner);
        self.news.notify_one();
    }

    /// A watch that was opened then has lasted for long enough to count as one.
    pub fn lasts(&self, opened: Instant) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.alive = inner.alive.max(opened);
        inner.good = now;
        inner.proof = Some(now);
        inner.active = Some(Instant::now());
        drop(inner);
        self.news.notify_one();
    }

    /// A watch that had proved to be one is over.
    pub fn ended(&self, clean: bool) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.good = now;
        if !clean {
            return;
        }
        inner.alive = now;
        inner.active = Some(Instant::now());
        // The server sends what it has before it ends a watch. Of the other kinds bookmarks say the same,
        // and more: a watch from a version that was taken back ends as cleanly, and has none.
        if inner.shown.kind == Kind::Event {
            inner.contact_before = inner.contact.replace(now);
            drop(inner);
            self.news.notify_one();
        }
    }

    /// A request is about to go out; `delayed`: after a wait.
    pub fn asked(&self, delayed: bool) {
        let mut inner = self.lock();
        inner.shown.requests += 1;
        inner.shown.delayed += u64::from(delayed);
    }

    /// Up to when everything was received. `read`: all of it was passed on, also what came last.
    pub fn contact(&self, read: bool) -> Option<Instant> {
        let inner = self.lock();
        if read { inner.contact } else { inner.contact_before }
    }

    /// Whether a watch proved to be one after `failure`.
    pub fn proved_after(&self, failure: Option<Instant>) -> bool {
        self.lock().proof.is_some_and(|proof| failure.is_none_or(|failure| proof > failure))
    }

    /// The last moment at which the watch was in order.
    pub fn good(&self) -> Instant {
        self.lock().good
    }

    /// The watch is in order and ends because another list is wanted.
    pub fn still_good(&self) {
        self.lock().good = Instant::now();
    }

    /// The last sign of life.
    pub fn last_alive(&self) -> Instant {
        self.lock().alive
    }

    /// Silence up to now was ours, not the server's.
    pub fn excuse(&self) {
        self.lock().alive = Instant::now();
    }

    /// A new start, or a delay of our own: nothing to complain about yet.
    pub fn begin(&self) {
        let mut inner = self.lock();
        inner.alive = Instant::now();
        inner.last_line = inner.alive;
    }

    /// When the connection counts as dead and when the server as too quiet, should nothing come before.
    pub fn due(&self, stale_after: Duration, quiet_after: Duration) -> (Instant, Instant) {
        let inner = self.lock();
        (inner.alive + stale_after, inner.last_line + quiet_after)
    }

    /// The server asks not to be asked again before so long.
    pub fn wait(&self, patience: Duration) {
        self.lock().not_before = Some(Instant::now() + patience);
    }

    /// How long it asks to be paused; asked once.
    pub fn take_wait(&self) -> Duration {
        let until = self.lock().not_before.take();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    pub fn kind(&self) -> Kind {
        self.lock().shown.kind
    }

    pub fn state(&self) -> WatchState {
        self.lock().shown.state
    }

    pub fn set_state(&self, state: WatchState) {
        self.lock().shown.state = state;
    }

    /// A list that began then is complete. `by_lists`: lists are all that can be had at present.
    pub fn listed(&self, began: Instant, by_lists: bool) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.alive = now;
        inner.last_line = now;
        inner.good = now;
        inner.active = Some(Instant::now());
        inner.contact = inner.contact.max(Some(began));
        inner.contact_before = inner.contact;
        inner.shown.lists += 1;
        inner.shown.forbidden = false;
        inner.shown.state = if by_lists { WatchState::Failing } else { WatchState::Watching };
    }

    pub fn is_forbidden(&self) -> bool {
        self.lock().shown.forbidden
    }

    pub fn blind(&self, forbidden: bool) {
        let mut inner = self.lock();
        inner.shown.state = WatchState::Blind;
        inner.shown.forbidden = forbidden;
    }

    pub fn restarted(&self) {
        self.lock().shown.restarts += 1;
    }

    pub fn failed(&self, error: String) {
        self.lock().shown.last_error = Some(error);
    }

    pub fn bad_object(&self) {
        self.lock().shown.bad_objects += 1;
    }
}

#[cfg(test)]
impl WatchStatus {
    /// A kind was listed, is watched, and was heard of right now.
    pub(crate) fn follows(&self, kind: Kind) {
        let entry = self.entry(kind).unwrap();
        entry.listed(Instant::now(), false);
        entry.set_state(WatchState::Watching);
        entry.alive();
    }

    /// A kind cannot be seen, for longer than `watch.blind_after` or because it may not be read.
    pub(crate) fn loses(&self, kind: Kind, forbidden: bool) {
        self.entry(kind).unwrap().blind(forbidden);
    }
}
