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
pub fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// `time` − `span`, stopping at the beginning of representable time.
pub fn before(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// How long from `earlier` to `later`; zero if it is the other way round.
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or(Duration::ZERO)
}

/// A smaller difference between wall clock and monotonic time is drift or an adjustment in passing, and no
/// step.
const STEP: SignedDuration = SignedDuration::from_secs(5);

/// How the time of something that has happened is to be read after the clock was set by `by`, to `now`. A
/// time before now is left as it is: a clock that was put right does not change when things happened. A
/// time to come was told by the clock before it was set back.
pub fn past(at: Timestamp, by: SignedDuration, now: Timestamp) -> Timestamp {
    if at > now { moved(at, by).min(now) } else { at }
}

/// `at` + `by`, stopping at the ends of representable time.
pub fn moved(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// How far this clock is ahead of another one, of which it is known that it showed `date`, cut to whole seconds,
/// at some moment from `asked` to `answered` by this clock. `known` is kept while it can be right, give or take
/// what counts as no step, so that jitter changes nothing.
pub fn ahead(
    known: SignedDuration,
    date: Timestamp,
    (asked, answered): (Timestamp, Timestamp),
) -> SignedDuration {
    let least = asked.duration_since(date).saturating_sub(SignedDuration::from_secs(1));
    let most = answered.duration_since(date);
    if known >= least.saturating_sub(STEP) && known <= most.saturating_add(STEP) {
        return known;
    }
    let middle = least.saturating_add(most.saturating_sub(least) / 2);
    if middle.abs() < STEP { SignedDuration::ZERO } else { middle }
}

/// A date as HTTP writes it (<https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>).
pub fn http_date(value: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(value.trim()).ok()?).ok()
}

/// The step that a clock made between two processes, if the later one shows a time before what the earlier
/// one stored last.
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

    #[test]
    fn a_difference_of_clocks_is_known_once_it_cannot_be_jitter() {
        let seconds = SignedDuration::from_secs;
        let known = |known, date, asked, answered| {
            ahead(seconds(known), at(date), (at(asked), at(answered))).as_secs_f64()
        };
        for (before, date, asked, answered, now) in [
            (0, 1_000, 1_000, 1_000, 0.0),
            (0, 1_000, 1_005, 1_006, 0.0),
            (0, 1_000, 1_600, 1_601, 600.0),
            (0, 1_000, 400, 400, -600.5),
            // What is in force is kept while it can be right.
            (600, 1_000, 1_596, 1_597, 600.0),
            // An answer that took long says little.
            (0, 1_000, 1_002, 1_015, 0.0),
            // The clock was put right.
            (600, 1_000, 1_000, 1_000, 0.0),
        ] {
            let found = known(before, date, asked, answered);
            assert!((found - now).abs() < 1e-9, "{found} for {before} and {date} {asked} {answered}");
        }
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(at(784_111_777)));
    }
}
