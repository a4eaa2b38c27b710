//! Where the time comes from: the one file that reads the system clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Steady, after};

/// The system's wall clock. For commands that print and exit; everything that runs is given a [`Clock`].
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The clock that the parts with I/O are given. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// A recording or a story, played faster than it happened.
    Played {
        began: Instant,
        /// The time it was then.
        from: Timestamp,
        /// How much faster than the system's clock it goes; at least 1.
        speed: u32,
    },
    /// The runtime's time plus an error that a test controls.
    Simulated(Arc<Simulated>),
    /// Always the same time.
    Fixed(Timestamp),
    /// A clock whose steps are shown when the engine's loop has moved all deadlines.
    Steady(Arc<Steady>),
}

impl Clock {
    /// A clock that shows `from` now and goes `speed` times as fast as the system's.
    pub fn played(from: Timestamp, speed: u32) -> Self {
        Self::Played { began: Instant::now(), from, speed: speed.max(1) }
    }

    /// The wall clock. It can be set back or forward at any time; spans are measured with
    /// [`Self::monotonic`].
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => now(),
            Self::Played { began, from, speed } => after(*from, began.elapsed().saturating_mul(*speed)),
            Self::Simulated(simulated) => simulated.now(),
            Self::Fixed(at) => *at,
            Self::Steady(steady) => steady.now(),
        }
    }

    /// A reading that no step of the wall clock changes, at the speed of [`Self::now`]. Like the system's
    /// monotonic clock it stands still while the machine sleeps.
    pub fn monotonic(&self) -> Instant {
        let now = Instant::now();
        match self {
            Self::Played { began, speed, .. } => {
                let played = now.saturating_duration_since(*began).saturating_mul(*speed);
                began.checked_add(played).unwrap_or(now)
            }
            Self::System | Self::Simulated(_) | Self::Fixed(_) => now,
            Self::Steady(steady) => steady.clock().monotonic(),
        }
    }

    /// `span` of the runtime's time by this clock: longer where a story is played faster.
    pub fn unscaled(&self, span: Duration) -> Duration {
        match self {
            Self::Played { speed, .. } => span.saturating_mul(*speed),
            Self::System | Self::Simulated(_) | Self::Fixed(_) => span,
            Self::Steady(steady) => steady.clock().unscaled(span),
        }
    }

    /// Sleeps until `span` of this clock's monotonic time has passed.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(self.scaled(span)).await;
    }

    /// `span` of this clock in the runtime's time: shorter where a story is played faster.
    pub fn scaled(&self, span: Duration) -> Duration {
        match self {
            Self::Played { speed, .. } => span / (*speed).max(1),
            Self::System | Self::Simulated(_) | Self::Fixed(_) => span,
            Self::Steady(steady) => steady.clock().scaled(span),
        }
    }

    /// The clock of the machine that the process runs on. Health and metrics are about the process, not
    /// about the story it is shown, so they do not go faster with a played one.
    pub fn machine(&self) -> Self {
        match self {
            Self::Simulated(simulated) => Self::Simulated(Arc::clone(simulated)),
            Self::System | Self::Played { .. } | Self::Fixed(_) => Self::System,
            Self::Steady(steady) => steady.clock().machine(),
        }
    }
}

/// A wall clock of its own: true time is `base` plus what the runtime has measured since, and the clock is
/// off from it by what [`Self::step`] and [`Self::drift`] have added up to.
///
/// Under paused time all of it is deterministic. Read it inside the runtime it was made in: elsewhere the
/// runtime's time is not known.
#[derive(Debug)]
pub struct Simulated {
    began: Instant,
    base: Timestamp,
    skew: Mutex<Skew>,
}

/// How far the clock is off.
#[derive(Debug, Clone, Copy, Default)]
struct Skew {
    offset: SignedDuration,
    /// What drift adds, in parts per million of the time that passes.
    ppm: i32,
    /// Since the clock was made.
    since: Duration,
}

impl Skew {
    /// How far it is off when `elapsed` has passed.
    fn at(self, elapsed: Duration) -> SignedDuration {
        let passed = i128::try_from(elapsed.saturating_sub(self.since).as_nanos()).unwrap_or(i128::MAX);
        let drifted = passed.saturating_mul(i128::from(self.ppm)) / 1_000_000;
        let drifted = SignedDuration::from_nanos(i64::try_from(drifted).unwrap_or(0));
        self.offset.saturating_add(drifted)
    }
}

impl Simulated {
    /// A clock that shows `base` now and goes right.
    pub fn new(base: Timestamp) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), base, skew: Mutex::default() })
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        let shown = self.truth().checked_add(self.offset());
        shown.unwrap_or(if self.offset().is_negative() { Timestamp::MIN } else { Timestamp::MAX })
    }

    /// What it would show if it had never been off.
    pub fn truth(&self) -> Timestamp {
        after(self.base, self.began.elapsed())
    }

    /// How far it is off. A clock that takes over from this one starts at [`Self::truth`] with this step.
    pub fn offset(&self) -> SignedDuration {
        let elapsed = self.began.elapsed();
        self.skew.lock().unwrap_or_else(PoisonError::into_inner).at(elapsed)
    }

    /// Sets the clock by `by`, forward or back, at once.
    pub fn step(&self, by: SignedDuration) {
        self.change(|skew| skew.offset = skew.offset.saturating_add(by));
    }

    /// From now on gains so many parts per million; negative: loses.
    pub fn drift(&self, ppm: i32) {
        self.change(|skew| skew.ppm = ppm);
    }

    fn change(&self, change: impl FnOnce(&mut Skew)) {
        let elapsed = self.began.elapsed();
        let mut skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        skew.offset = skew.at(elapsed);
        skew.since = elapsed;
        change(&mut skew);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_steps_both_ways_and_its_monotonic_time_does_not() {
        let simulated = Simulated::new(at(1000));
        let clock = Clock::Simulated(Arc::clone(&simulated));
        let begun = clock.monotonic();
        clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), at(1010));
        simulated.step(SignedDuration::from_secs(3600));
        assert_eq!((clock.now(), simulated.truth()), (at(4610), at(1010)));
        simulated.step(SignedDuration::from_secs(-7200));
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(clock.now(), at(1011 - 3600));
        assert_eq!(clock.monotonic() - begun, Duration::from_secs(11));
        assert_eq!(clock.machine().now(), clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn drift_adds_up_and_what_has_added_up_stays() {
        let simulated = Simulated::new(at(0));
        simulated.drift(100_000);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(simulated.now(), at(110));
        simulated.drift(-50_000);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(simulated.now(), at(205));
        simulated.drift(0);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!((simulated.now(), simulated.offset()), (at(305), SignedDuration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_time_is_no_panic() {
        let simulated = Simulated::new(at(0));
        simulated.step(SignedDuration::MAX);
        simulated.step(SignedDuration::MAX);
        assert_eq!(simulated.now(), Timestamp::MAX);
        simulated.step(SignedDuration::MIN);
        simulated.step(SignedDuration::MIN);
        assert_eq!(simulated.now(), Timestamp::MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_played_clock_goes_faster_in_all_its_readings() {
        let clock = Clock::played(at(0), 60);
        let begun = clock.monotonic();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), at(120));
        assert_eq!(clock.monotonic() - begun, Duration::from_secs(120));
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(clock.now(), at(180));
    }
}
