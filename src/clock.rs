//! The only reader of the system clock; schedules, which only calculate.

pub mod cron;
pub mod schedule;

use std::time::{Duration, Instant};

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

/// The clock that the parts with I/O are given.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// A recording or a story, played faster than it happened.
    Played {
        /// When playing began.
        began: Instant,
        /// The time it was then.
        from: Timestamp,
        /// How much faster than the system's clock it goes.
        speed: u32,
    },
}

impl Clock {
    /// A clock that shows `from` now and goes `speed` times as fast as the system's.
    #[must_use]
    pub fn played(from: Timestamp, speed: u32) -> Self {
        Self::Played { began: Instant::now(), from, speed: speed.max(1) }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => now(),
            Self::Played { began, from, speed } => after(*from, began.elapsed().saturating_mul(*speed)),
        }
    }

    /// What this clock showed, or will show, at a moment of the runtime's time, as far as it can be told
    /// from what it shows now.
    #[must_use]
    pub fn wall(&self, at: tokio::time::Instant) -> Timestamp {
        let ago = tokio::time::Instant::now().saturating_duration_since(at);
        let speed = match self {
            Self::Played { speed, .. } => *speed,
            Self::System => 1,
        };
        before(self.now(), ago.saturating_mul(speed))
    }

    /// How long to sleep for `span` of this clock to pass.
    #[must_use]
    pub fn sleep(&self, span: Duration) -> Duration {
        match self {
            Self::System => span,
            Self::Played { speed, .. } => span / *speed,
        }
    }
}
