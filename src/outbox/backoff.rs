//! How long to wait after a failed attempt.

use std::time::Duration;

/// Exponential, with full jitter: after a common failure everybody comes back at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure; doubles with each further one.
    pub base: Duration,
    /// The longest wait of all.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(5 * 60) }
    }
}

impl Backoff {
    /// The wait after attempt `number` (from 1) failed: anything from a tenth of `base` (full jitter
    /// alone would sometimes not wait at all) up to the ceiling of that attempt.
    pub fn delay(&self, number: u32, rng: &mut fastrand::Rng) -> Duration {
        let doublings = number.saturating_sub(1).min(31);
        let ceiling = self.base.saturating_mul(1_u32 << doublings).min(self.cap);
        let floor = (self.base / 10).min(ceiling);
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(rng.u64(micros(floor)..=micros(ceiling)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_the_cap_and_stays_within_bounds() {
        let backoff = Backoff::default();
        let mut rng = fastrand::Rng::with_seed(7);
        for number in 1..100 {
            let ceiling = (1_u64 << (number - 1).min(20)).min(300);
            let mut longest = Duration::ZERO;
            for _ in 0..200 {
                let delay = backoff.delay(number, &mut rng);
                assert!(delay >= Duration::from_millis(100), "{delay:?}");
                assert!(delay <= Duration::from_secs(ceiling), "{number}: {delay:?}");
                longest = longest.max(delay);
            }
            assert!(longest > Duration::from_secs(ceiling) / 2, "{number}: {longest:?}");
        }
    }

    #[test]
    fn a_seed_repeats_it_and_strange_values_do_no_harm() {
        let run = || {
            let mut rng = fastrand::Rng::with_seed(1);
            (1..10).map(|n| Backoff::default().delay(n, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        let mut rng = fastrand::Rng::with_seed(1);
        for (base, cap) in [(Duration::ZERO, Duration::ZERO), (Duration::MAX, Duration::MAX)] {
            assert!(Backoff { base, cap }.delay(u32::MAX, &mut rng) <= cap);
        }
        let odd = Backoff { base: Duration::from_secs(60), cap: Duration::from_secs(1) };
        assert!(odd.delay(1, &mut rng) <= Duration::from_secs(1));
    }
}
