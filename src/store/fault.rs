//! Named places where a test may stop the process, so that every gap of the protocol can be crashed.

use std::fmt;
use std::sync::Arc;

/// A gap between two statements of the protocol in [`crate::outbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// A job's statements ran, inside the open transaction.
    Applied,
    /// All jobs of a group ran; `COMMIT` comes next.
    Committing,
    /// `COMMIT` returned; nobody was told yet.
    Committed,
    /// The dispatcher knows which row is next.
    Chosen,
    /// The row is `sending` on disk; the attempt comes next.
    Claimed,
    /// The attempt ended; its outcome is not on disk: the one ambiguous point.
    Attempted,
    /// The outcome is on disk.
    Settled,
}

impl Point {
    pub const ALL: &'static [Self] = &[
        Self::Applied,
        Self::Committing,
        Self::Committed,
        Self::Chosen,
        Self::Claimed,
        Self::Attempted,
        Self::Settled,
    ];
}

/// What is called at each [`Point`] with the name of the operation; nothing by default.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Hook>>);

type Hook = dyn Fn(Point, &'static str) + Send + Sync;

impl Faults {
    /// Calls `hook` at each point. It may abort the process, or panic to end the thread or task.
    pub fn new(hook: impl Fn(Point, &'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// This point was reached.
    pub(crate) fn at(&self, point: Point, operation: &'static str) {
        if let Some(hook) = &self.0 {
            hook(point, operation);
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Faults(on)" } else { "Faults(off)" })
    }
}
