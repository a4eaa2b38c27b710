//! Strings and label sets that many objects share are kept once.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::signal::Labels;

/// A pool of shared strings and label sets. What nobody else holds is swept out now and then.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Labels>,
    adds: usize,
}

/// Sweep after so many additions.
const SWEEP_AFTER: usize = 50_000;

impl Interner {
    /// The shared copy of `text`.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        self.added();
        new
    }

    /// The shared copy of a label set; `None` for an empty one.
    pub fn labels(&mut self, labels: Option<BTreeMap<String, String>>) -> Option<Labels> {
        let labels = labels.filter(|map| !map.is_empty())?;
        if let Some(known) = self.labels.get(&labels) {
            return Some(Arc::clone(known));
        }
        let new = Arc::new(labels);
        self.labels.insert(Arc::clone(&new));
        self.added();
        Some(new)
    }

    fn added(&mut self) {
        self.adds += 1;
        if self.adds >= SWEEP_AFTER {
            self.adds = 0;
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.labels.retain(|labels| Arc::strong_count(labels) > 1);
        }
    }

    /// How many strings and label sets are kept.
    pub fn len(&self) -> usize {
        self.texts.len() + self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
