//! Time for deadlines: the wall clock, but for its steps.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Clock, STEP, after, before};

/// Shows the wall clock as of the last [`Self::look`] plus the monotonic time since. A step of the wall
/// clock is therefore not seen between two looks: whoever keeps deadlines moves them first.
#[derive(Debug)]
pub struct Steady {
    clock: Clock,
    wall: Timestamp,
    at: Instant,
}

impl Steady {
    /// Shows what `clock` shows.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { wall: clock.now(), at: clock.monotonic(), clock }
    }

    /// The clock that it follows.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        after(self.wall, self.clock.monotonic().saturating_duration_since(self.at))
    }

    /// What this clock showed at a moment of the runtime's time.
    #[must_use]
    pub fn at(&self, moment: Instant) -> Timestamp {
        let ago = self.clock.unscaled(Instant::now().saturating_duration_since(moment));
        before(self.now(), ago)
    }

    /// Follows the wall clock. `Some`: it was set by so much since the last look, or the machine slept so
    /// long; deadlines are to be moved by that, so that what remains until them stays.
    pub fn look(&mut self) -> Option<SignedDuration> {
        let (expected, shown) = (self.now(), self.clock.now());
        let by = shown.duration_since(expected);
        (self.wall, self.at) = (shown, self.clock.monotonic());
        (by.abs() >= STEP).then_some(by)
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
        let mut steady = Steady::new(Clock::Simulated(Arc::clone(&simulated)));
        let second = Duration::from_secs(1);
        simulated.drift(200);
        for _ in 0..100_000 {
            tokio::time::advance(second).await;
            assert_eq!(steady.look(), None);
        }
        simulated.drift(0);
        assert_eq!(steady.now(), at(101_020));
        simulated.step(SignedDuration::from_secs(-7_200));
        assert_eq!(steady.now(), at(101_020), "not before it was looked at");
        tokio::time::advance(second).await;
        assert_eq!(steady.look(), Some(SignedDuration::from_secs(-7_200)));
        assert_eq!((steady.now(), steady.look()), (at(93_821), None));
        simulated.step(SignedDuration::from_hours(30));
        assert_eq!(steady.look(), Some(SignedDuration::from_hours(30)));
        simulated.step(SignedDuration::from_secs(4));
        assert_eq!((steady.look(), steady.now()), (None, at(93_825 + 30 * 3_600)));
    }
}
