//! Time for deadlines: the wall clock, but for its steps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Clock, STEP, after, before};

/// Shows the wall clock as of the last [`Self::step`] plus the monotonic time since. A step of the wall clock
/// is not shown before [`Self::follow`]: the keeper of deadlines moves them first.
#[derive(Debug)]
pub struct Steady {
    clock: Clock,
    base: Mutex<Base>,
}

/// What was shown then, wall and monotonic.
#[derive(Debug, Clone, Copy)]
struct Base {
    wall: Timestamp,
    at: Instant,
}

impl Base {
    fn of(clock: &Clock) -> Self {
        Self { wall: clock.now(), at: clock.monotonic() }
    }
}

impl Steady {
    /// Shows what `clock` shows.
    pub fn new(clock: Clock) -> Self {
        Self { base: Mutex::new(Base::of(&clock)), clock }
    }

    /// The clock that it follows.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        let base = *self.base();
        after(base.wall, self.clock.monotonic().saturating_duration_since(base.at))
    }

    /// What this clock showed at a moment of the runtime's time.
    pub fn at(&self, moment: Instant) -> Timestamp {
        let ago = self.clock.unscaled(Instant::now().saturating_duration_since(moment));
        before(self.now(), ago)
    }

    /// `Some`: the wall clock was set by so much, or the machine slept so long. Deadlines are to be moved by
    /// that, so that what remains until them stays, and then [`Self::follow`] is to be called. Drift is
    /// followed at once.
    pub fn step(&self) -> Option<SignedDuration> {
        let by = self.clock.now().duration_since(self.now());
        if by.abs() >= STEP {
            return Some(by);
        }
        self.follow();
        None
    }

    /// From here on it shows what the wall clock shows.
    pub fn follow(&self) {
        *self.base() = Base::of(&self.clock);
    }

    fn base(&self) -> MutexGuard<'_, Base> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::Simulated;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_is_seen_once_and_drift_is_followed() {
        let simulated = Simulated::new(at(1_000));
        let steady = Arc::new(Steady::new(Clock::Simulated(Arc::clone(&simulated))));
        let shared = Clock::Steady(Arc::clone(&steady));
        let second = Duration::from_secs(1);
        simulated.drift(200);
        for _ in 0..100_000 {
            tokio::time::advance(second).await;
            assert_eq!(steady.step(), None);
        }
        simulated.drift(0);
        assert_eq!(steady.now(), at(101_020));
        let back = SignedDuration::from_secs(-7_200);
        simulated.step(back);
        tokio::time::advance(second).await;
        assert_eq!((steady.step(), shared.now()), (Some(back), at(101_021)));
        tokio::time::advance(second).await;
        assert_eq!((steady.step(), shared.now()), (Some(back), at(101_022)), "until it is followed");
        steady.follow();
        assert_eq!((steady.step(), shared.now()), (None, at(93_822)));
        simulated.step(SignedDuration::from_secs(4));
        assert_eq!((steady.step(), steady.now()), (None, at(93_826)));
    }
}
