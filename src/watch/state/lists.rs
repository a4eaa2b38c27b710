//! Which kinds are listed at present, and which cannot be read: as a whole, or of single namespaces.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::watch::Kind;

/// Kinds of which something holds: for all of their objects, or for those of some namespaces.
#[derive(Debug, Default)]
pub(in crate::watch) struct Kinds(BTreeMap<Kind, Part>);

#[derive(Debug, Default)]
struct Part {
    all: bool,
    namespaces: BTreeSet<Arc<str>>,
}

impl Kinds {
    pub fn insert(&mut self, kind: Kind, namespace: Option<&Arc<str>>) {
        let part = self.0.entry(kind).or_default();
        match namespace {
            Some(namespace) => part.namespaces.insert(Arc::clone(namespace)),
            None => !std::mem::replace(&mut part.all, true),
        };
    }

    /// Whether it held.
    pub fn remove(&mut self, kind: Kind, namespace: Option<&Arc<str>>) -> bool {
        let Some(part) = self.0.get_mut(&kind) else { return false };
        let held = match namespace {
            Some(namespace) => part.namespaces.remove(namespace),
            None => std::mem::take(&mut part.all),
        };
        if !part.all && part.namespaces.is_empty() {
            self.0.remove(&kind);
        }
        held
    }

    /// Does it hold for the objects of the kind in this namespace? Without one: for all of the kind, as objects
    /// without a namespace are listed.
    pub fn contains(&self, kind: Kind, namespace: Option<&str>) -> bool {
        self.0.get(&kind).is_some_and(|part| {
            part.all || namespace.is_some_and(|namespace| part.namespaces.contains(namespace))
        })
    }

    /// Kinds of which it holds for anything.
    pub fn iter(&self) -> impl Iterator<Item = Kind> {
        self.0.keys().copied()
    }
}

/// When lists began: of a kind as a whole, or of one namespace.
#[derive(Debug, Default)]
pub(super) struct ListTimes(HashMap<(Kind, Option<Arc<str>>), Times>);

#[derive(Debug)]
struct Times {
    /// Of the last list that is complete.
    complete: Option<Timestamp>,
    /// Of the list that is under way, or was last.
    begun: Timestamp,
}

impl ListTimes {
    fn of(&mut self, kind: Kind, namespace: Option<&Arc<str>>, now: Timestamp) -> &mut Times {
        let new = || Times { complete: None, begun: now };
        self.0.entry((kind, namespace.cloned())).or_insert_with(new)
    }

    pub fn begin(&mut self, kind: Kind, namespace: Option<&Arc<str>>, now: Timestamp) {
        self.of(kind, namespace, now).begun = now;
    }

    pub fn complete(&mut self, kind: Kind, namespace: Option<&Arc<str>>, now: Timestamp) {
        let times = self.of(kind, namespace, now);
        times.complete = Some(times.begun);
    }

    /// When the last complete list began that would have shown the objects of a namespace.
    pub fn last(&self, kind: Kind, namespace: Option<&str>) -> Option<Timestamp> {
        let own = namespace.and_then(|name| self.0.get(&(kind, Some(Arc::from(name)))));
        own.or_else(|| self.0.get(&(kind, None)))?.complete
    }
}
