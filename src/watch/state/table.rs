//! The objects of one kind: taken in, removed, and swept when a list is complete.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;

use super::ClusterState;
use crate::signal::facts::Identity;
use crate::signal::finding::Finding;
use crate::signal::{Cause, ObjectRef, Phase, Signal, Source};
use crate::watch::kinds::Remembered;

/// What is remembered of each object of one kind.
#[derive(Debug)]
pub(in crate::watch) struct Table<K, F> {
    facts: HashMap<K, F>,
    /// While a list is under way: what was known before it began and has not come yet.
    unseen: HashSet<K>,
}

impl<K, F> Default for Table<K, F> {
    fn default() -> Self {
        Self { facts: HashMap::new(), unseen: HashSet::new() }
    }
}

impl<K, F> Deref for Table<K, F> {
    type Target = HashMap<K, F>;

    fn deref(&self) -> &HashMap<K, F> {
        &self.facts
    }
}

impl<K: Hash + Eq + Clone, F> Table<K, F> {
    pub fn get_mut(&mut self, key: &K) -> Option<&mut F> {
        self.facts.get_mut(key)
    }

    pub fn insert(&mut self, key: K, facts: F) {
        self.still_there(&key);
        self.facts.insert(key, facts);
    }

    pub fn remove(&mut self, key: &K) -> Option<F> {
        self.facts.remove(key)
    }

    /// A list begins of the objects for which `listed` holds.
    pub fn begin_list(&mut self, listed: impl Fn(&K, &F) -> bool) {
        let known = self.facts.iter().filter(|(key, facts)| listed(key, facts));
        self.unseen.extend(known.map(|(key, _)| key.clone()));
    }

    pub fn still_there(&mut self, key: &K) {
        if !self.unseen.is_empty() {
            self.unseen.remove(key);
        }
    }

    /// Such a list is over; gives what did not come.
    pub fn end_list(&mut self, listed: impl Fn(&K, &F) -> bool) -> HashSet<K> {
        let Self { facts, unseen } = self;
        unseen.extract_if(|key| facts.get(key).is_none_or(|of| listed(key, of))).collect()
    }
}

impl ClusterState {
    /// Remembers an object in place of what was known of it. Under another UID the old object is gone: it was
    /// deleted and made anew while nobody looked.
    pub(in crate::watch) fn remember<K: Remembered>(
        &mut self,
        now: Timestamp,
        key: &K::Key,
        mut facts: K::Facts,
        out: &mut Vec<Signal>,
    ) {
        fn uid<K: Remembered>(facts: &K::Facts) -> Option<&Arc<str>> {
            K::identity(facts).map(|id| &id.object.uid)
        }
        let mut before = K::table_mut(&mut self.objects).remove(key);
        if let Some(old) = before.take_if(|old| uid::<K>(old) != uid::<K>(&facts)) {
            K::gone(self, now, old, out);
        }
        self.notice(before.as_ref().and_then(K::identity), K::identity(&facts));
        if let Some(before) = &before {
            K::carry(before, &mut facts);
        }
        K::table_mut(&mut self.objects).insert(key.clone(), facts);
        K::changed(self, now, key, before.as_ref(), out);
    }

    /// Signals of what a change means.
    pub(in crate::watch) fn emit<K: Remembered>(
        &self,
        now: Timestamp,
        key: &K::Key,
        before: Option<&K::Facts>,
        out: &mut Vec<Signal>,
    ) {
        let Some(after) = K::table(&self.objects).get(key) else { return };
        for finding in K::findings(before, after) {
            out.extend(K::identity(after).map(|id| K::signal(self, now, id, finding)));
        }
    }

    pub(in crate::watch) fn remove<K: Remembered>(
        &mut self,
        now: Timestamp,
        key: &K::Key,
        out: &mut Vec<Signal>,
    ) {
        if let Some(facts) = K::table_mut(&mut self.objects).remove(key) {
            K::gone(self, now, facts, out);
        }
    }

    /// What a complete list did not contain is gone, in the order of names. What is decided about it
    /// depends on the order, and the order of a hash map is another one in each process.
    pub(in crate::watch) fn sweep_table<K: Remembered>(
        &mut self,
        now: Timestamp,
        namespace: Option<&str>,
        out: &mut Vec<Signal>,
    ) {
        let object = |table: &Table<K::Key, K::Facts>, key: &K::Key| {
            table.get(key).and_then(K::identity).map(|id| id.object.clone())
        };
        let stale = K::table_mut(&mut self.objects).end_list(|key, facts| K::is_in(key, facts, namespace));
        let table = K::table(&self.objects);
        let mut stale: Vec<(Option<ObjectRef>, K::Key)> =
            stale.into_iter().map(|key| (object(table, &key), key)).collect();
        stale.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (_, key) in stale {
            self.remove::<K>(now, &key, out);
        }
    }

    /// An object is no longer there: its annotations count no more, and its problems are over.
    pub(in crate::watch) fn gone(&mut self, now: Timestamp, id: &Identity, out: &mut Vec<Signal>) {
        self.notice(Some(id), None);
        self.notice_gone(id);
        if self.ready() {
            out.push(self.plain_signal(now, id, deleted(), Source::Status));
        }
    }
}

pub(in crate::watch) fn deleted() -> Finding {
    Finding::new(Cause::Event, Phase::Gone, &Arc::from("Deleted"))
}
