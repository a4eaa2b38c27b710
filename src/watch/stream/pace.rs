//! How often the API server is asked for one kind, whatever it answers.
//!
//! Failures are followed by growing pauses ([`Backoff`]). They cannot cover every answer: a watch that
//! brings an object and ends, a list with an endless row of short pages, or whatever a proxy invents is
//! no failure. [`Pacer`] therefore counts requests and nothing else.

use std::time::Duration;

use tokio::time::Instant;

/// An upper bound for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// So many may follow each other at once.
    pub burst: u32,
    /// After those, one in each such span.
    pub every: Duration,
}

impl Pace {
    /// The most requests in any 60 seconds.
    pub const fn per_minute(self) -> u64 {
        let every = if self.every.is_zero() { 1 } else { self.every.as_nanos() };
        // At most 60e9 for a pace of one nanosecond.
        #[allow(clippy::cast_possible_truncation, reason = "60e9 fits")]
        let steady = (60_000_000_000 / every) as u64;
        self.burst as u64 + steady
    }
}

/// Says how long the next request has to wait: the generic cell rate algorithm.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    /// When every request so far has been paid for; `None`: there was none.
    paid: Option<Instant>,
}

impl Pacer {
    pub const fn new(pace: Pace) -> Self {
        Self { pace, paid: None }
    }

    /// Counts a request that is ready to go out `now`, and gives how long it has to wait.
    pub fn next(&mut self, now: Instant) -> Duration {
        let paid = self.paid.map_or(now, |paid| paid.max(now));
        let backlog = paid.saturating_duration_since(now);
        self.paid = paid.checked_add(self.pace.every).or(Some(paid));
        backlog.saturating_sub(self.pace.every.saturating_mul(self.pace.burst.saturating_sub(1)))
    }
}

/// Doubling pauses with jitter. Unlike kube's own, it outlives the watcher, or a watch that fails
/// right after each list would list without end.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    reset_after: Duration,
    next: Duration,
    last: Option<Instant>,
}

impl Backoff {
    pub const fn new(min: Duration, max: Duration, reset_after: Duration) -> Self {
        Self { min, max, reset_after, next: min, last: None }
    }

    pub const fn reset(&mut self) {
        self.next = self.min;
    }

    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        if self.last.is_some_and(|last| last.elapsed() >= self.reset_after) {
            self.reset();
        }
        let pause = self.next.mul_f64(0.5 + rng.f64() / 2.0);
        self.next = self.next.saturating_mul(2).min(self.max);
        self.last = Instant::now().checked_add(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_than_the_bound_and_a_few_at_once_do_not_wait() {
        let pace = Pace { burst: 20, every: Duration::from_secs(2) };
        assert_eq!(pace.per_minute(), 50);
        let mut rng = fastrand::Rng::with_seed(7);
        for most in [0, 10, 3_000, 20_000] {
            let mut pacer = Pacer::new(pace);
            let mut now = Instant::now();
            let mut sent = Vec::new();
            for n in 0..2_000 {
                let wait = pacer.next(now);
                assert!(n >= 20 || wait.is_zero(), "{n}: {wait:?}");
                now += wait;
                sent.push(now);
                now += Duration::from_millis(rng.u64(0..=most));
            }
            for (n, first) in sent.iter().enumerate() {
                let minute = sent[n..].iter().take_while(|at| **at - *first < Duration::from_secs(60));
                assert!(minute.count() <= 50, "from {n}, up to {most} ms apart");
            }
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pauses = Backoff::new(ms(100), ms(350), Duration::MAX);
        for longest in [100, 200, 350, 350] {
            let pause = pauses.next(&mut rng);
            assert!(pause >= ms(longest / 2) && pause <= ms(longest), "{pause:?} of {longest}");
        }
        pauses.reset();
        assert!(pauses.next(&mut rng) <= ms(100));
    }
}
