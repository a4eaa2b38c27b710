//! The rate limit of each recipient: what one has used up does not hold the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::outbox::limit::{Limit, Limiter};

/// The limits as a dispatcher leaves them to the next one of its name.
pub(in crate::outbox) type Limiters = (Limit, BTreeMap<Arc<str>, Limiter>);

/// By recipient; the empty one where the receiver is one destination.
pub(super) struct Lanes {
    limit: Limit,
    lanes: BTreeMap<Arc<str>, Lane>,
}

struct Lane {
    limiter: Limiter,
    /// No place is free before.
    free_at: Option<Instant>,
    /// The limit held something back since the last message: what has piled up goes together.
    waited: bool,
}

impl Lane {
    fn new(limiter: Limiter) -> Self {
        Self { limiter, free_at: None, waited: false }
    }
}

impl Lanes {
    pub fn new(limit: Limit, recipients: &[Arc<str>]) -> Self {
        let lane = |name: &Arc<str>| (Arc::clone(name), Lane::new(Limiter::new(limit)));
        let nobody = [Arc::from("")];
        let names = if recipients.is_empty() { &nobody } else { recipients };
        Self { limit, lanes: names.iter().map(lane).collect() }
    }

    /// Is there more than one recipient?
    pub fn several(&self) -> bool {
        self.lanes.len() > 1
    }

    /// Goes on where the dispatcher before stopped: a change of the receiver is no reason for a burst.
    pub fn take_over(&mut self, (limit, limiters): Limiters) {
        if limit != self.limit {
            return;
        }
        for (name, limiter) in limiters {
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.limiter = limiter;
            }
        }
    }

    pub fn leave(&mut self) -> Limiters {
        let lanes = std::mem::take(&mut self.lanes);
        (self.limit, lanes.into_iter().map(|(name, lane)| (name, lane.limiter)).collect())
    }

    /// Recipients whose limit is used up, and when the first of them is free again.
    pub fn held(&self) -> (Vec<Arc<str>>, Option<Duration>) {
        let now = Instant::now();
        let mut names = Vec::new();
        let mut first: Option<Duration> = None;
        for (name, lane) in &self.lanes {
            let left = lane.free_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            if !left.is_zero() {
                names.push(Arc::clone(name));
                first = Some(first.map_or(left, |first| first.min(left)));
            }
        }
        (names, first)
    }

    /// Takes a place; where none is free, says how long it will take.
    pub fn check(&mut self, recipient: &str) -> Result<(), Duration> {
        let Some(lane) = self.lanes.get_mut(recipient) else { return Ok(()) };
        lane.limiter.check().inspect_err(|wait| {
            lane.waited = true;
            lane.free_at = Some(Instant::now() + *wait);
        })
    }

    /// Did the limit hold something back since the last message? Asked right before a message.
    pub fn take_waited(&mut self, recipient: &str) -> bool {
        self.lanes.get_mut(recipient).is_some_and(|lane| std::mem::take(&mut lane.waited))
    }

    /// Takes a place for every recipient that has one and for whom nothing has piled up.
    pub fn take_free(&mut self) -> Vec<Arc<str>> {
        let free = self.lanes.iter_mut().filter_map(|(name, lane)| {
            let taken = !lane.waited && lane.limiter.check().is_ok();
            taken.then(|| Arc::clone(name))
        });
        free.collect()
    }

    /// Gives the places back, but for the one that was used.
    pub fn put_back(&mut self, taken: &[Arc<str>], used: Option<&Arc<str>>) {
        for name in taken.iter().filter(|name| Some(*name) != used) {
            if let Some(lane) = self.lanes.get_mut(name) {
                lane.limiter.put_back();
            }
        }
    }

    pub fn all_but(&self, free: &[Arc<str>]) -> Vec<Arc<str>> {
        self.lanes.keys().filter(|name| !free.contains(name)).cloned().collect()
    }
}
