//! The only reader of the system clock.

use jiff::Timestamp;

/// The time now. Everything between `watch` and `store` gets it passed in.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
