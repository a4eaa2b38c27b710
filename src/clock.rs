//! The only reader of the system clock; schedules, which only calculate.

pub mod cron;
pub mod schedule;
mod source;
mod steady;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use self::source::{Clock, Simulated, now};
pub use self::steady::Steady;

/// `time` + `span`, stopping at the end of representable time.
#[must_use]
pub fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// `time` − `span`, stopping at the beginning of representable time.
#[must_use]
pub fn before(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// How long from `earlier` to `later`; zero if it is the other way round.
#[must_use]
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or(Duration::ZERO)
}

/// A smaller difference between wall clock and monotonic time is drift or an adjustment in passing, and no
/// step.
const STEP: SignedDuration = SignedDuration::from_secs(5);

/// How the time of something that has happened is to be read after the clock was set by `by`, to `now`. A
/// time before now is left as it is: a clock that was put right does not change when things happened. A
/// time to come was told by the clock before it was set back.
#[must_use]
pub fn past(at: Timestamp, by: SignedDuration, now: Timestamp) -> Timestamp {
    if at > now { moved(at, by).min(now) } else { at }
}

/// `at` + `by`, stopping at the ends of representable time.
#[must_use]
pub fn moved(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// The step that a clock made between two processes, if the later one shows a time before what the earlier
/// one stored last.
#[must_use]
pub fn set_back(stored: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let by = now.duration_since(stored);
    (by <= -STEP).then_some(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_has_happened_is_never_to_come() {
        let back = SignedDuration::from_secs(-100);
        assert_eq!(past(at(950), back, at(900)), at(850));
        assert_eq!(past(at(850), back, at(900)), at(850));
        assert_eq!(past(at(5_000), back, at(900)), at(900));
        assert_eq!(past(at(850), SignedDuration::from_secs(100), at(1_100)), at(850));
        assert_eq!(set_back(at(1_000), at(996)), None);
        assert_eq!(set_back(at(1_000), at(900)), Some(back));
        assert_eq!(set_back(at(1_000), at(5_000)), None, "nobody was running");
    }
}
