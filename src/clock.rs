//! The only reader of the system clock; schedules, which only calculate.

pub mod cron;
pub mod schedule;
mod source;

use std::time::Duration;

use jiff::Timestamp;

pub use self::source::{Clock, Simulated, now};

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
