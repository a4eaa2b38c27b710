//! From when on what happened is news, for each kind.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::watch::Kind;

/// What ended before these moments was told already, or is too old to be news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewsSince {
    others: Timestamp,
    kinds: BTreeMap<Kind, Timestamp>,
}

impl NewsSince {
    /// `others`: of kinds that are not among `kinds`.
    pub const fn new(others: Timestamp, kinds: BTreeMap<Kind, Timestamp>) -> Self {
        Self { others, kinds }
    }

    /// The moment of one kind.
    pub fn of(&self, kind: Kind) -> Timestamp {
        self.kinds.get(&kind).copied().unwrap_or(self.others)
    }

    /// The same moments, all of them earlier.
    pub fn before(mut self, span: Duration) -> Self {
        self.others = clock::before(self.others, span);
        for at in self.kinds.values_mut() {
            *at = clock::before(*at, span);
        }
        self
    }
}

impl From<Timestamp> for NewsSince {
    /// One moment for all kinds.
    fn from(at: Timestamp) -> Self {
        Self::new(at, BTreeMap::new())
    }
}
