//! How often a receiver may be told something.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// `messages` in each `per`, up to `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub per: Duration,
    /// Messages in it; 0 counts as 1.
    pub messages: u32,
    /// How many may go at once; 0 counts as 1.
    pub burst: u32,
}

impl Default for Limit {
    /// What Slack allows: one message a second, and short bursts.
    fn default() -> Self {
        Self { per: Duration::from_secs(1), messages: 1, burst: 5 }
    }
}

impl Limit {
    /// How long it takes until everything that was taken has come back.
    fn refill(self) -> Duration {
        (self.per / self.messages.max(1)).saturating_mul(self.burst.max(1))
    }

    fn quota(self) -> Option<Quota> {
        let messages = self.messages.max(1);
        // `None` where the period is zero: then there is nothing to limit.
        let quota = Quota::with_period(self.per / messages)?;
        Some(quota.allow_burst(NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN)))
    }
}

/// The runtime's monotonic time, so that the limit and the sleeps between attempts measure the same time.
#[derive(Debug, Clone)]
pub(super) struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    /// Since the clock was made.
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A limit at work. Only asked, never waited on: who waits must also hear of shutdown and new rows.
pub(super) struct Limiter<C: Clock = RuntimeClock> {
    inner: Option<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    clock: C,
    refill: Duration,
    /// A place that was taken and not used, and when it was given back.
    spare: Option<C::Instant>,
}

impl Limiter {
    pub fn new(limit: Limit) -> Self {
        Self::with_clock(limit, RuntimeClock(Instant::now()))
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(limit: Limit, clock: C) -> Self {
        let inner = limit.quota().map(|q| RateLimiter::direct_with_clock(q, clock.clone()));
        Self { inner, clock, refill: limit.refill(), spare: None }
    }

    /// Takes a place; where none is free, says how long it will take.
    pub fn check(&mut self) -> Result<(), Duration> {
        let Some(inner) = &self.inner else { return Ok(()) };
        // Once all places have come back by themselves, a spare one would be one more than there are.
        if self
            .spare
            .take()
            .is_some_and(|at| Duration::from(self.clock.now().duration_since(at)) < self.refill)
        {
            return Ok(());
        }
        inner.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

impl<C: Clock> Limiter<C> {
    /// The place that was taken last was not used.
    pub fn put_back(&mut self) {
        self.spare = self.inner.is_some().then(|| self.clock.now());
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let clock = FakeRelativeClock::default();
        let limit = Limit { per: Duration::from_secs(1), messages: 1, burst: 5 };
        let mut limiter = Limiter::with_clock(limit, clock.clone());
        for _ in 0..5 {
            limiter.check().unwrap();
        }
        let wait = limiter.check().unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
        clock.advance(wait);
        limiter.check().unwrap();
        assert!(limiter.check().is_err());
    }

    #[test]
    fn a_place_that_was_put_back_is_there_again_and_never_one_too_many() {
        let clock = FakeRelativeClock::default();
        let limit = Limit { per: Duration::from_secs(1), messages: 1, burst: 2 };
        let mut limiter = Limiter::with_clock(limit, clock.clone());
        limiter.check().unwrap();
        limiter.check().unwrap();
        limiter.put_back();
        limiter.check().unwrap();
        assert!(limiter.check().is_err());
        clock.advance(Duration::from_secs(1));
        limiter.check().unwrap();
        limiter.put_back();
        clock.advance(Duration::from_secs(9));
        assert_eq!((0..9).filter(|_| limiter.check().is_ok()).count(), 2);
    }

    #[test]
    fn asking_in_vain_costs_nothing() {
        let clock = FakeRelativeClock::default();
        let limit = Limit { per: Duration::from_secs(10), messages: 1, burst: 1 };
        let mut limiter = Limiter::with_clock(limit, clock.clone());
        limiter.check().unwrap();
        for _ in 0..10 {
            clock.advance(Duration::from_secs(1) - Duration::from_millis(1));
            limiter.check().unwrap_err();
        }
        clock.advance(Duration::from_millis(10));
        limiter.check().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_measured_in_the_time_that_sleeps_pass() {
        let mut limiter = Limiter::new(Limit { per: Duration::from_secs(60), messages: 1, burst: 1 });
        limiter.check().unwrap();
        let wait = limiter.check().unwrap_err();
        assert_eq!(wait, Duration::from_secs(60));
        tokio::time::sleep(wait).await;
        limiter.check().unwrap();
    }

    #[test]
    fn zeros_do_no_harm() {
        let limit = Limit { per: Duration::from_secs(1), messages: 0, burst: 0 };
        Limiter::new(limit).check().unwrap();
        let mut limiter = Limiter::new(Limit { per: Duration::ZERO, messages: 0, burst: 0 });
        for _ in 0..100 {
            limiter.check().unwrap();
        }
    }
}
