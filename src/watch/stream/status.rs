//! How the watches are doing, for `/readyz`, metrics and the announcements of blindness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::group::Member;
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

impl WatchState {
    /// Of the watches of several namespaces the one with the highest rank is shown.
    const fn rank(self) -> u8 {
        match self {
            Self::Watching => 0,
            Self::Listing => 1,
            Self::Failing => 2,
            Self::Blind => 3,
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
    /// Nobody expects that it may be read: see [`Change::NotPermitted`](crate::watch::Change::NotPermitted).
    pub not_permitted: bool,
    /// How many namespaces are watched one by one; 0: all of the kind at once.
    pub namespaces: usize,
    /// How many of these cannot be read.
    pub blind_namespaces: usize,
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
    entries: BTreeMap<Kind, Watches>,
    clock: Clock,
    server: Server,
}

/// The watches of one kind.
#[derive(Debug)]
struct Watches {
    /// Of all of its objects.
    whole: Arc<Entry>,
    /// Of single namespaces: where there are any, these count.
    parts: Mutex<Vec<Arc<Entry>>>,
}

impl WatchStatus {
    /// The status of watches that have not begun, by the system's clock.
    pub fn new(kinds: &[Kind]) -> Arc<Self> {
        Self::with_clock(kinds, &Clock::System)
    }

    /// The same by another clock, which must be the one that readers of the times compare with.
    pub fn with_clock(kinds: &[Kind], clock: &Clock) -> Arc<Self> {
        let server = Server::default();
        let watches = |&kind: &Kind| {
            let whole = Arc::new(Entry::new(kind, None, clock.clone(), Arc::clone(&server)));
            (kind, Watches { whole, parts: Mutex::default() })
        };
        let entries = kinds.iter().map(watches).collect();
        Arc::new(Self { entries, clock: clock.clone(), server })
    }

    /// Every kind, in the order of [`Kind::ALL`].
    pub fn snapshot(&self) -> Vec<KindStatus> {
        self.entries.values().map(Watches::shown).collect()
    }

    /// One kind, if it is watched.
    pub fn of(&self, kind: Kind) -> Option<KindStatus> {
        Some(self.entries.get(&kind)?.shown())
    }

    /// Every kind was listed completely once, or is known to be unreadable: what the others say can
    /// be acted upon.
    pub fn ready(&self) -> bool {
        self.entries.values().all(|watches| watches.each().iter().all(|entry| entry.lock().is_known()))
    }

    /// The newest reading of the API server's clock. It is older than whatever came with its answer.
    pub fn server_time(&self) -> Option<ServerTime> {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch of a kind, or of one namespace of it, which begins with this.
    pub(super) fn entry(&self, kind: Kind, member: Option<&Member>) -> Option<Arc<Entry>> {
        let watches = self.entries.get(&kind)?;
        let Some(member) = member else { return Some(Arc::clone(&watches.whole)) };
        let entry = Entry::new(kind, Some(member.clone()), self.clock.clone(), Arc::clone(&self.server));
        let entry = Arc::new(entry);
        watches.lock().push(Arc::clone(&entry));
        Some(entry)
    }
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self) -> Vec<Arc<Entry>> {
        let parts = self.lock();
        if parts.is_empty() { vec![Arc::clone(&self.whole)] } else { parts.clone() }
    }

    /// Of several the worst: metrics and `/readyz` have no room for each namespace.
    fn shown(&self) -> KindStatus {
        let mut parts: Vec<KindStatus> = self.lock().iter().map(|entry| entry.shown()).collect();
        parts.retain(|part| !part.not_permitted);
        let Some(worst) = parts.iter().max_by_key(|part| part.state.rank()) else {
            return self.whole.shown();
        };
        let sum = |of: fn(&KindStatus) -> u64| parts.iter().map(of).sum();
        let blind: Vec<&KindStatus> = parts.iter().filter(|part| part.state == WatchState::Blind).collect();
        // The one that was heard of last says nothing of the others; what cannot be read is silent anyhow.
        let seen = parts.iter().filter(|part| part.state != WatchState::Blind);
        let oldest = seen.map(|part| part.last_activity).min();
        let newest = parts.iter().filter_map(|part| part.last_activity).max();
        // Not listed while one of those that can be read is not.
        let known = parts.iter().all(|part| part.lists > 0 || part.state == WatchState::Blind);
        KindStatus {
            kind: worst.kind,
            state: worst.state,
            last_activity: oldest.unwrap_or(newest),
            forbidden: !blind.is_empty() && blind.iter().all(|part| part.forbidden),
            requests: sum(|part| part.requests),
            delayed: sum(|part| part.delayed),
            lists: if known { sum(|part| part.lists) } else { 0 },
            restarts: sum(|part| part.restarts),
            bad_objects: sum(|part| part.bad_objects),
            last_error: worst.last_error.clone(),
            not_permitted: false,
            namespaces: parts.len(),
            blind_namespaces: blind.len(),
        }
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

impl Inner {
    fn is_known(&self) -> bool {
        self.shown.lists > 0 || self.shown.state == WatchState::Blind
    }
}

/// What is known of one watch; shared by its supervisor and its connections.
#[derive(Debug)]
pub(super) struct Entry {
    clock: Clock,
    server: Server,
    /// `None`: of all objects of the kind.
    member: Option<Member>,
    inner: Mutex<Inner>,
    /// Called when `contact` or `proof` changes.
    pub news: Notify,
}

impl Entry {
    fn new(kind: Kind, member: Option<Member>, clock: Clock, server: Server) -> Self {
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
                not_permitted: false,
                namespaces: 0,
                blind_namespaces: 0,
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
        Self { clock, server, member, inner, news: Notify::new() }
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

    /// Differs between all watches.
    pub fn salt(&self) -> u64 {
        self.lock().shown.kind as u64 + self.member.as_ref().map_or(0, Member::salt)
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
        inner.shown.not_permitted = false;
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

    /// The kind is forbidden, and nobody expects otherwise.
    pub fn not_permitted(&self) {
        self.lock().shown.not_permitted = true;
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
        let entry = self.entry(kind, None).unwrap();
        entry.listed(Instant::now(), false);
        entry.set_state(WatchState::Watching);
        entry.alive();
    }

    /// A kind cannot be seen, for longer than `watch.blind_after` or because it may not be read.
    pub(crate) fn loses(&self, kind: Kind, forbidden: bool) {
        self.entry(kind, None).unwrap().blind(forbidden);
    }
}
