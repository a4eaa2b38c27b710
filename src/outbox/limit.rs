//! How often a receiver may be told something.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// `messages` in each `per`, up to `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The span.
    pub per: Duration,
    /// Messages in it; 0 counts as 1.
    pub messages: u32,
    /// How many may go at once; 0 counts as 1.
    pub burst: u32,
}

impl Limit {
    fn quota(self) -> Option<Quota> {
        let messages = self.messages.max(1);
        // `None` where the period is zero: then there is nothing to limit.
        let quota = Quota::with_period(self.per / messages)?;
        Some(quota.allow_burst(NonZeroU32::new(self.burst).unwrap_or(NonZeroU32::MIN)))
    }
}

/// A limit at work. Only asked, never waited on: who waits must also hear of shutdown and new rows.
pub(super) struct Limiter<C: Clock = DefaultClock> {
    inner: Option<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    clock: C,
}

impl Limiter {
    pub fn new(limit: Limit) -> Self {
        Self::with_clock(limit, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(limit: Limit, clock: C) -> Self {
        let inner = limit.quota().map(|q| RateLimiter::direct_with_clock(q, clock.clone()));
        Self { inner, clock }
    }

    /// Takes a place; where none is free, says how long it will take.
    pub fn check(&self) -> Result<(), Duration> {
        let Some(inner) = &self.inner else { return Ok(()) };
        inner.check().map_err(|not_until| not_until.wait_time_from(self.clock.now()))
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
        let limiter = Limiter::with_clock(limit, clock.clone());
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
    fn asking_in_vain_costs_nothing() {
        let clock = FakeRelativeClock::default();
        let limit = Limit { per: Duration::from_secs(10), messages: 1, burst: 1 };
        let limiter = Limiter::with_clock(limit, clock.clone());
        limiter.check().unwrap();
        for _ in 0..10 {
            clock.advance(Duration::from_secs(1) - Duration::from_millis(1));
            limiter.check().unwrap_err();
        }
        clock.advance(Duration::from_millis(10));
        limiter.check().unwrap();
    }

    #[test]
    fn zeros_do_no_harm() {
        let limit = Limit { per: Duration::from_secs(1), messages: 0, burst: 0 };
        Limiter::new(limit).check().unwrap();
        let limiter = Limiter::new(Limit { per: Duration::ZERO, messages: 0, burst: 0 });
        for _ in 0..100 {
            limiter.check().unwrap();
        }
    }
}
