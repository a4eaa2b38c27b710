//! From a row on disk to a receiver that knows: every notification is delivered at least once, in
//! order, or kept as a dead letter with its reason.
//!
//! # States
//!
//! ```text
//!            claim             Delivered
//!  queued ──────────▶ sending ───────────▶ delivered   (key kept for a while: replays repeat nothing)
//!    ▲ ▲                │  │
//!    │ └──── Retry ─────┘  └─── Reject ──▶ dead ──▶ dropped by a person
//!    │                                    ▲ │
//!    └─────────── sent again ─────────────┼─┘
//!  queued ─────────── max_age ────────────┘
//! ```
//!
//! # Statements
//!
//! 1. The engine's commit inserts the row as `queued`, in one transaction with the state that says
//!    it was decided. A key that is known already is not inserted again.
//! 2. The receiver's dispatcher looks for its next row ([`protocol::next`]).
//! 3. It claims the row: `sending` and one more attempt counted, on disk.
//! 4. It makes one attempt.
//! 5. The attempt ends with an outcome, in memory.
//! 6. It settles the row ([`protocol::after`]): `delivered` with the thread's handle, `queued` with
//!    `not_before` and the receiver's Retry-After, or `dead`. One transaction, on disk. Where the
//!    rate limit has a place free, the same transaction does 2 and 3 for the next row: one flush to
//!    the disk a notification, not two.
//!
//! # Folding
//!
//! Where the rate limit made the receiver wait, and at least [`Policy::fold_from`] incidents are due
//! when it next allows a message, all of them are told in one summary ([`fold`]): of each thread
//! whose oldest row is due, every row that waits, as many threads as the medium can list
//! ([`Deliver::lists`]). Nothing is dropped; the end of an incident replaces its beginning in the
//! list. What is a summary already is never folded. A receiver that has to know each incident by itself
//! ([`ReceiverSpec::fold`]) is told one after the other, as the rate limit allows.
//!
//! The rows of a summary share its fate: one claim marks them all `sending` and writes the
//! summary's key into each (`inside`), one attempt is made, one transaction settles them all. A
//! summary that failed or was cut off is repeated with the same rows, the same bytes and the same
//! key, whatever else has come meanwhile; refused, its rows are dead letters, and are sent again
//! each by itself. Only when a row of it grows too old to be told, the others are free again. So the
//! table below holds for a summary as it does for a row. A thread that was folded has no handle of
//! that message: its next one stands by itself.
//!
//! # Crashes
//!
//! | after | on disk | after the restart |
//! |---|---|---|
//! | before 1 is committed | nothing | the input is seen again and decided again, with the same key |
//! | 1, 2 | `queued` | sent |
//! | 3 | `sending` | queued again, sent |
//! | 4, 5 | `sending` | queued again, sent **twice**: the one ambiguous point |
//! | 6 | as settled, perhaps the next row `sending` | goes on from there |
//!
//! From outside, a crash after 3 cannot be told from one after 4, so [`Dispatcher::run`] queues
//! every `sending` row again and logs it. The second message carries the same idempotency key; a
//! receiver that knows keys shows it once. Nothing else is ever sent twice. That is also why a row
//! whose attempt was cut off is not folded any more: a summary would tell it under another key.
//!
//! # Order
//!
//! By order of insertion for each (thread, receiver): a row waits until all earlier ones of its
//! thread are delivered or dead. Threads do not wait for each other, receivers neither. A dead
//! letter sent again comes last in its thread.
//!
//! # Time
//!
//! `not_before` of a row holds that row (and its thread); Retry-After holds the receiver, or all
//! receivers that share a credential, and is kept in the store under [`ReceiverSpec::gate`], so a
//! restart does not forget it. A row older than `max_age` when its turn comes is a dead letter. The
//! rate limit is in memory and full at start; Retry-After is what protects the other side.
//!
//! # Fallback
//!
//! While a receiver does not work and [`Outbox::set_fallbacks`] names a fallback for it, its own dispatcher hands
//! over, before each step, what the receiver is owed ([`Store::take_over`]): the rows change their receiver and keep
//! their keys and their order. Some stay: digests; the end of a thread that the receiver was told itself; and one
//! notice that is tried again and again, never grows too old, and whose delivery shows that the receiver works again.
//! An end follows its thread: it goes to every place that was told something of it (table `diverted`).
//!
//! Whether a receiver works is on disk (`refusals`, `failures`), and so is what was announced; a restart goes on from
//! there. An attempt at the receiver that was cut off, or failed without an answer, may have arrived before its row
//! is handed over: then both were told, which is the ambiguous point of the table above.
//!
//! # Changes of the configuration
//!
//! A dispatcher obeys its [`StopMode`]. Of a receiver that changed it *hands over*: the attempt under way
//! ends, and the next dispatcher of that name goes on with the next row, under the same rate limit
//! where that did not change. Of a receiver that is gone it *drains*: it goes on until nothing is
//! owed any more, and ends. A crash before that leaves rows whose receiver is unknown at the next
//! start: these become dead letters ([`Store::bury_unknown`]).

pub mod backoff;
pub mod dispatcher;
pub mod fold;
pub mod limit;
pub mod protocol;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::backoff::Backoff;
pub use self::dispatcher::Dispatcher;
use self::dispatcher::Limiters;
pub use self::limit::Limit;

use crate::clock::{self, Clock};
use crate::notify::Deliver;
use crate::store::{Fallback, Outage, ReceiverOutage, Store};

/// Says whether the bot sees the cluster, decides, and keeps what it decides.
pub type Vital = Arc<dyn Fn() -> bool + Send + Sync>;

/// One receiver, as the outbox sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverSpec {
    /// Its name in the outbox's rows.
    pub name: Arc<str>,
    /// At most this many messages.
    pub limit: Limit,
    /// A notification that waited longer than this is a dead letter.
    pub max_age: Duration,
    /// A name for the credential it uses, where it shares one: a Retry-After told to one of those
    /// that share it holds all of them. Never the credential itself: it is stored.
    pub credential: Option<Arc<str>>,
    /// May what waits be told together? Not to a receiver that opens and closes something for each
    /// incident.
    pub fold: bool,
    /// Who is sent its messages while it does not work.
    pub fallback: Option<Arc<str>>,
}

impl ReceiverSpec {
    /// Under which name its Retry-After is kept.
    pub fn gate(&self) -> Arc<str> {
        // The prefix keeps a credential apart from a receiver that happens to have its name.
        match &self.credential {
            Some(credential) => Arc::from(format!("credential {credential}")),
            None => Arc::clone(&self.name),
        }
    }
}

/// What holds for all receivers.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How long to wait after a failed attempt.
    pub backoff: Backoff,
    /// An attempt that takes longer than the notifier's own limit ([`Deliver::time_limit`]) and this has
    /// failed. It only keeps a mistake in a notifier from stopping the receiver for ever.
    pub attempt_grace: Duration,
    /// How long an attempt under way may go on after shutdown was asked for.
    pub drain: Duration,
    /// So many incidents that wait when the rate limit next allows a message are told in one
    /// summary; 0 and 1 count as 2.
    pub fold_from: usize,
    /// Where jitter starts from; `None`: somewhere else each time.
    pub seed: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            attempt_grace: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            fold_from: 3,
            seed: None,
        }
    }
}

/// What happened at one receiver since the start; read at scrape time.
#[derive(Debug, Default)]
pub struct Counters {
    pub delivered: AtomicU64,
    /// Those of them that were told inside a summary.
    pub folded: AtomicU64,
    /// Attempts that failed and will be repeated.
    pub retried: AtomicU64,
    /// Attempts that ended because the receiver refuses every message.
    pub refused: AtomicU64,
    pub dead: AtomicU64,
    /// Open alerts sent again.
    pub asserted: AtomicU64,
    /// Requests with open alerts that failed.
    pub assertions_failed: AtomicU64,
    /// Messages handed over to the fallback.
    pub handed_over: AtomicU64,
    /// Attempts cut off by the end of a process, found at start or left at shutdown.
    pub interrupted: AtomicU64,
}

#[derive(Clone)]
pub struct Outbox {
    store: Store,
    clock: Clock,
    policy: Policy,
    vital: Vital,
    states: Arc<Mutex<BTreeMap<Arc<str>, ReceiverState>>>,
    /// In milliseconds.
    trouble_after: Arc<AtomicU64>,
}

/// Default of `receiver_trouble_after`.
pub const TROUBLE_AFTER: Duration = Duration::from_secs(5 * 60);

/// What is one per receiver name, also over reloads.
#[derive(Clone)]
struct ReceiverState {
    counters: Arc<Counters>,
    /// One permit: two dispatchers of one receiver would take each other's rows for interrupted.
    turn: Arc<Semaphore>,
    /// The rate limits as the last dispatcher left them.
    limiters: Arc<Mutex<Option<Limiters>>>,
    /// As in the store.
    acceptance: Arc<Mutex<Acceptance>>,
    /// Who takes over what it is owed.
    fallback: Arc<Mutex<Option<Fallback>>>,
}

/// Does a receiver take messages?
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Acceptance {
    /// No dispatcher has looked into the store yet.
    #[default]
    Unknown,
    /// It refuses nothing, as far as is known.
    Taking,
    /// Attempts fail since the last that was answered; a single one is enough.
    Failing(Outage),
    /// It refuses every message.
    Refusing(Outage),
}

impl Acceptance {
    /// `None` where the receiver is not known to fail or refuse.
    pub const fn outage(&self) -> Option<&Outage> {
        match self {
            Self::Unknown | Self::Taking => None,
            Self::Failing(outage) | Self::Refusing(outage) => Some(outage),
        }
    }

    fn outage_mut(&mut self) -> Option<&mut Outage> {
        match self {
            Self::Unknown | Self::Taking => None,
            Self::Failing(outage) | Self::Refusing(outage) => Some(outage),
        }
    }

    /// A refusal is one at once, failed attempts once they go on for `after`.
    fn is_trouble(&self, now: Timestamp, after: Duration) -> bool {
        match self {
            Self::Unknown | Self::Taking => false,
            Self::Failing(outage) => clock::between(outage.since, now) >= after,
            Self::Refusing(_) => true,
        }
    }
}

impl From<Option<ReceiverOutage>> for Acceptance {
    fn from(kept: Option<ReceiverOutage>) -> Self {
        match kept {
            None => Self::Taking,
            Some(kept) if kept.refusing => Self::Refusing(kept.outage),
            Some(kept) => Self::Failing(kept.outage),
        }
    }
}

/// A receiver that does not work, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub outage: Outage,
    /// It refuses every message, rather than not being reached.
    pub refusing: bool,
    /// Who takes over what it is owed.
    pub fallback: Option<Arc<str>>,
}

pub type Acceptances = BTreeMap<Arc<str>, Acceptance>;

impl ReceiverState {
    fn acceptance(&self) -> Acceptance {
        self.acceptance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refusal(&self) -> Option<Outage> {
        match self.acceptance() {
            Acceptance::Refusing(refusal) => Some(refusal),
            Acceptance::Unknown | Acceptance::Taking | Acceptance::Failing(_) => None,
        }
    }

    fn set_acceptance(&self, acceptance: Acceptance) {
        *self.acceptance.lock().unwrap_or_else(PoisonError::into_inner) = acceptance;
    }

    fn change_outage(&self, change: impl FnOnce(&mut Outage)) {
        let mut acceptance = self.acceptance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outage) = acceptance.outage_mut() {
            change(outage);
        }
    }

    /// Who takes over what the receiver is owed right now.
    fn fallback(&self) -> Option<Fallback> {
        let fallback = self.fallback.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fallback.filter(|_| self.acceptance().outage().is_some())
    }
}

/// How a dispatcher is told to end before the process does.
#[derive(Debug, Clone, Default)]
pub struct StopMode {
    hand_over: CancellationToken,
    drain: CancellationToken,
}

impl StopMode {
    /// End after the attempt under way, which is not cut off: another dispatcher takes over.
    pub fn hand_over(&self) {
        self.hand_over.cancel();
    }

    /// Go on until nothing is owed any more, then end.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Was it told to hand over or to drain?
    pub fn is_leaving(&self) -> bool {
        self.hand_over.is_cancelled() || self.drain.is_cancelled()
    }
}

impl Outbox {
    /// An outbox over `store`.
    pub fn new(store: Store, clock: Clock, policy: Policy) -> Self {
        let outbox = Self {
            store,
            clock,
            policy,
            vital: Arc::new(|| true),
            states: Arc::default(),
            trouble_after: Arc::default(),
        };
        outbox.set_trouble_after(TROUBLE_AFTER);
        outbox
    }

    /// With somebody who knows whether the whole bot is well: only then receivers are told so.
    pub fn with_vital(self, vital: Vital) -> Self {
        Self { vital, ..self }
    }

    /// The dispatcher of one receiver; nothing happens until it runs. A second one for the same
    /// name (after a reload) waits until the first has returned.
    pub fn dispatcher<D: Deliver>(&self, spec: ReceiverSpec, deliver: D) -> Dispatcher<D> {
        let state = self.state(&spec.name);
        Dispatcher::new(self, spec, deliver, state)
    }

    /// The counters of every receiver that ever had a dispatcher, by name.
    pub fn counters(&self) -> Vec<(Arc<str>, Arc<Counters>)> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().map(|(name, state)| (Arc::clone(name), Arc::clone(&state.counters))).collect()
    }

    /// The receivers that refuse every message, by name.
    pub fn refusals(&self) -> BTreeMap<Arc<str>, Outage> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().filter_map(|(name, state)| Some((Arc::clone(name), state.refusal()?))).collect()
    }

    /// The receivers that refuse every message, or whose attempts have failed for so long that it is news
    /// ([`Self::set_trouble_after`]), by name.
    pub fn troubles(&self) -> BTreeMap<Arc<str>, Trouble> {
        let after = Duration::from_millis(self.trouble_after.load(Ordering::Relaxed));
        let now = self.clock.now();
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let troubles = states.iter().filter_map(|(name, state)| {
            let acceptance = state.acceptance();
            let outage = acceptance.outage().filter(|_| acceptance.is_trouble(now, after))?.clone();
            let refusing = matches!(acceptance, Acceptance::Refusing(_));
            let fallback = state.fallback().map(|fallback| fallback.name);
            Some((Arc::clone(name), Trouble { outage, refusing, fallback }))
        });
        troubles.collect()
    }

    /// For how long attempts must have failed before it is news.
    pub fn set_trouble_after(&self, after: Duration) {
        self.trouble_after.store(u64::try_from(after.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Who takes over from whom from now on. To be called when the announcement is on disk.
    pub fn set_fallbacks(&self, fallbacks: &BTreeMap<Arc<str>, Fallback>) {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, state) in states.iter() {
            let mut fallback = state.fallback.lock().unwrap_or_else(PoisonError::into_inner);
            if fallback.as_ref() != fallbacks.get(name) {
                *fallback = fallbacks.get(name).cloned();
                self.store.wakeups(name).notify_one();
            }
        }
    }

    /// The clock was set by `by`: outages have lasted for as long as they had.
    pub fn clock_set(&self, by: SignedDuration) {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for state in states.values() {
            state.change_outage(|outage| outage.since = clock::moved(outage.since, by));
        }
    }

    /// Every receiver that ever had a dispatcher, by name.
    pub fn acceptances(&self) -> Acceptances {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().map(|(name, state)| (Arc::clone(name), state.acceptance())).collect()
    }

    fn state(&self, name: &Arc<str>) -> ReceiverState {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || ReceiverState {
            counters: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
            limiters: Arc::default(),
            acceptance: Arc::default(),
            fallback: Arc::default(),
        };
        states.entry(Arc::clone(name)).or_insert_with(new).clone()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
