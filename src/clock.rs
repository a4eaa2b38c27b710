//! The only reader of the system clock.

use std::time::Duration;

use jiff::Timestamp;

/// The time now. Everything between `watch` and `store` gets it passed in.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

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
