//! How the watches are doing, for `/readyz`, metrics and the announcements of blindness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::watch::Kind;

/// What a watch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchState {
    /// The list is not complete.
    Listing,
    /// Changes are followed.
    Watching,
    /// The kind may not be read, or could not be for minutes; what is known of it is old.
    Blind,
    /// The last request failed; retried soon.
    Failing,
}

impl WatchState {
    /// The name used in metrics and in `/readyz`.
    #[must_use]
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
    /// Which kind.
    pub kind: Kind,
    /// What it is doing.
    pub state: WatchState,
    /// When the server last showed that it is there: a header, an object, a bookmark, a clean end.
    pub last_activity: Option<Timestamp>,
    /// How many lists were completed.
    pub lists: u64,
    /// How often the watch was started anew for a reason other than being forbidden.
    pub restarts: u64,
    /// How many times an object came that did not decode.
    pub bad_objects: u64,
    /// The last failure, cut; never with credentials. Kept after it is over.
    pub last_error: Option<String>,
}

/// All watches. Cheap to read; the watches hold its locks for an assignment only.
#[derive(Debug)]
pub struct WatchStatus {
    entries: BTreeMap<Kind, Arc<Entry>>,
}

impl WatchStatus {
    /// The status of watches that have not begun, by the system's clock.
    #[must_use]
    pub fn new(kinds: &[Kind]) -> Arc<Self> {
        Self::with_clock(kinds, &Clock::System)
    }

    /// The same by another clock, which must be the one that readers of the times compare with.
    #[must_use]
    pub fn with_clock(kinds: &[Kind], clock: &Clock) -> Arc<Self> {
        let entry = |&kind: &Kind| (kind, Arc::new(Entry::new(kind, clock.clone())));
        let entries = kinds.iter().map(entry).collect();
        Arc::new(Self { entries })
    }

    /// Every kind, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<KindStatus> {
        self.entries.values().map(|entry| entry.lock().shown.clone()).collect()
    }

    /// One kind, if it is watched.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<KindStatus> {
        Some(self.entries.get(&kind)?.lock().shown.clone())
    }

    /// Every kind was listed completely once, or is known to be unreadable: what the others say can
    /// be acted upon.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.entries.values().all(|entry| {
            let inner = entry.lock();
            inner.shown.lists > 0 || inner.shown.state == WatchState::Blind
        })
    }

    pub(super) fn entry(&self, kind: Kind) -> Option<Arc<Entry>> {
        self.entries.get(&kind).cloned()
    }
}

#[derive(Debug)]
struct Inner {
    shown: KindStatus,
    /// The last sign of life.
    alive: Instant,
    /// The last object or bookmark.
    told: Instant,
    /// The server asked for patience until then.
    not_before: Option<Instant>,
}

/// What is known of one watch; shared by its supervisor and its connections.
#[derive(Debug)]
pub(super) struct Entry {
    clock: Clock,
    inner: Mutex<Inner>,
}

impl Entry {
    fn new(kind: Kind, clock: Clock) -> Self {
        let now = Instant::now();
        let inner = Mutex::new(Inner {
            shown: KindStatus {
                kind,
                state: WatchState::Listing,
                last_activity: None,
                lists: 0,
                restarts: 0,
                bad_objects: 0,
                last_error: None,
            },
            alive: now,
            told: now,
            not_before: None,
        });
        Self { clock, inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing is left half-done by a panic in between.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server is there.
    pub fn alive(&self) {
        let mut inner = self.lock();
        inner.alive = Instant::now();
        inner.shown.last_activity = Some(self.clock.now());
    }

    /// The server said something about objects.
    pub fn told(&self) {
        let mut inner = self.lock();
        inner.alive = Instant::now();
        inner.told = inner.alive;
        inner.shown.last_activity = Some(self.clock.now());
    }

    /// Silence up to now was ours, not the server's.
    pub fn excuse(&self) {
        self.lock().alive = Instant::now();
    }

    /// A new start, or a delay of our own: nothing to complain about yet.
    pub fn begin(&self) {
        let mut inner = self.lock();
        inner.alive = Instant::now();
        inner.told = inner.alive;
    }

    /// When patience ends, should nothing come before.
    pub fn due(&self, stale_after: Duration, quiet_after: Duration) -> Instant {
        let inner = self.lock();
        (inner.alive + stale_after).min(inner.told + quiet_after)
    }

    /// The server asks not to be asked again before so long.
    pub fn wait(&self, patience: Duration) {
        self.lock().not_before = Some(Instant::now() + patience);
    }

    /// How long it still wants to be left alone; asked once.
    pub fn take_wait(&self) -> Duration {
        let until = self.lock().not_before.take();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    pub fn state(&self) -> WatchState {
        self.lock().shown.state
    }

    pub fn set_state(&self, state: WatchState) {
        self.lock().shown.state = state;
    }

    pub fn listed(&self) {
        let mut inner = self.lock();
        inner.shown.lists += 1;
        inner.shown.state = WatchState::Watching;
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
