//! The silences of the configuration and of the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::engine::Effects;
use crate::rule::Silence;
use crate::rule::silence::short_id;

/// At most so many silences from the API that are not over.
pub const MAX_SILENCES: usize = 1000;
/// At most so many that are over are kept…
pub const MAX_EXPIRED: usize = 1000;
/// …and none for longer than this.
pub const KEEP_EXPIRED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a silence cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {MAX_SILENCES} silences already; expire some, or match more with one")]
pub struct TooMany;

#[derive(Debug, Default)]
pub struct Silences {
    configured: Arc<[Silence]>,
    api: BTreeMap<Arc<str>, Silence>,
    /// Something that held incidents back may have ended before its time.
    pub(super) review: bool,
}

impl Silences {
    pub(in crate::engine) fn new(configured: Arc<[Silence]>) -> Self {
        Self { configured, ..Self::default() }
    }

    pub(in crate::engine) fn configure(&mut self, configured: Arc<[Silence]>) {
        self.configured = configured;
        self.review = true;
    }

    /// Takes in silences that were kept, before the first signal.
    pub fn restore(&mut self, silences: impl IntoIterator<Item = Silence>) {
        self.api.extend(silences.into_iter().map(|silence| (Arc::clone(&silence.id), silence)));
    }

    /// Adds a silence that a request asked for. Its id may change if it is taken.
    pub fn add(
        &mut self,
        mut silence: Silence,
        now: Timestamp,
        out: &mut Effects,
    ) -> Result<Arc<str>, TooMany> {
        if self.api.values().filter(|silence| now < silence.until).count() >= MAX_SILENCES {
            return Err(TooMany);
        }
        while self.get(&silence.id).is_some() {
            silence.id = short_id(&[&silence.id, "again"]);
        }
        let id = Arc::clone(&silence.id);
        out.silences.insert(Arc::clone(&id));
        self.api.insert(Arc::clone(&id), silence);
        self.prune(now, out);
        Ok(id)
    }

    /// Ends a silence of the API now. False: there is none with this id that is not over.
    pub fn expire(&mut self, id: &str, now: Timestamp, out: &mut Effects) -> bool {
        let Some(silence) = self.api.get_mut(id).filter(|silence| now < silence.until) else {
            return false;
        };
        silence.until = now;
        silence.from = silence.from.min(now);
        out.silences.insert(Arc::clone(&silence.id));
        self.review = true;
        true
    }

    /// Forgets silences of the API that have been over for long enough.
    pub fn prune(&mut self, now: Timestamp, out: &mut Effects) {
        let over = self.api.values().filter(|silence| silence.until <= now);
        let mut over: Vec<(Timestamp, Arc<str>)> =
            over.map(|silence| (silence.until, Arc::clone(&silence.id))).collect();
        over.sort();
        let surplus = over.len().saturating_sub(MAX_EXPIRED);
        let old = clock::before(now, KEEP_EXPIRED);
        for (place, (until, id)) in over.into_iter().enumerate() {
            if place < surplus || until < old {
                self.api.remove(&id);
                out.silences.remove(&id);
                out.silences_removed.push(id);
            }
        }
    }

    /// The configuration's in its order, then those of the API by id.
    pub fn all(&self) -> impl Iterator<Item = &Silence> {
        self.configured.iter().chain(self.api.values())
    }

    /// By its id, or by the name that the configuration gives it.
    pub fn get(&self, id: &str) -> Option<&Silence> {
        let named = |silence: &&Silence| &*silence.id == id || silence.name.as_deref() == Some(id);
        self.api.get(id).or_else(|| self.configured.iter().find(named))
    }
}
