//! How far annotations may silence: what the configuration allows, and for how long from when each was first
//! seen. Tenants write annotations; how long they hold back a problem is the administrators' decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Effects, Engine, Incident, Member};
use crate::clock;
use crate::rule::AnnotationRules;
use crate::signal::silence::{self, SilenceSeen};

/// At most so many annotations in one namespace are known; one more silences nothing.
const MAX_OF_NAMESPACE: usize = 500;
/// At most so many in all.
const MAX_SEEN: usize = 20_000;

/// What an annotation stands on, and its name.
pub type AnnotationKey = (Arc<str>, &'static str);

/// An annotation as it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its value, cut; another value is another annotation.
    pub value: Arc<str>,
    /// Since when it is known.
    pub since: Timestamp,
    /// It was there since kubeherald started.
    confirmed: bool,
}

/// Which annotations were seen, and since when.
#[derive(Debug, Default)]
pub(super) struct SeenAnnotations {
    all: BTreeMap<AnnotationKey, Seen>,
    of_namespace: BTreeMap<Arc<str>, usize>,
}

impl SeenAnnotations {
    fn insert(&mut self, key: AnnotationKey, seen: Seen) -> bool {
        if let Some(known) = self.all.get_mut(&key) {
            *known = seen;
            return true;
        }
        let count = self.of_namespace.entry(namespace_of(&key.0)).or_default();
        if *count >= MAX_OF_NAMESPACE || self.all.len() >= MAX_SEEN {
            return false;
        }
        *count += 1;
        self.all.insert(key, seen);
        true
    }

    /// The clock was set by `by` and shows `now`. How long they silence goes by the wall clock.
    pub(super) fn clock_set(&mut self, by: SignedDuration, now: Timestamp, out: &mut Effects) {
        for (key, seen) in &mut self.all {
            seen.since = clock::past(seen.since, by, now);
            out.annotations.insert(key.clone());
        }
    }

    fn remove(&mut self, key: &AnnotationKey) -> bool {
        let known = self.all.remove(key).is_some();
        if known {
            let namespace = namespace_of(&key.0);
            if let Some(count) = self.of_namespace.get_mut(&namespace) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_namespace.remove(&namespace);
                }
            }
        }
        known
    }
}

/// `shop` of `Deployment/shop/checkout`, of `pods of Deployment/shop/checkout` and of `Namespace/shop`; empty
/// for other cluster-scoped objects.
fn namespace_of(place: &str) -> Arc<str> {
    let object = place.strip_prefix(silence::PODS_OF).unwrap_or(place);
    let mut parts = object.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (_, Some(namespace), Some(_)) | (Some("Namespace"), Some(namespace), None) => Arc::from(namespace),
        _ => Arc::from(""),
    }
}

impl Engine {
    /// Takes in what was stored, before the first signal.
    pub fn restore_annotations(
        &mut self,
        kept: impl IntoIterator<Item = (String, String, String, Timestamp)>,
    ) {
        for (place, key, value, since) in kept {
            if let Some(key) = silence::KEYS.iter().find(|known| **known == key) {
                let seen = Seen { value: Arc::from(value), since, confirmed: false };
                self.annotations.insert((Arc::from(place), key), seen);
            }
        }
    }

    /// What annotations may silence.
    pub const fn annotation_rules(&self) -> &AnnotationRules {
        &self.settings.annotations
    }

    /// All annotations that are known, by place.
    pub fn annotations(&self) -> impl Iterator<Item = (&AnnotationKey, &Seen)> {
        self.annotations.all.iter()
    }

    /// When an annotation was first seen with the value it has.
    pub fn annotation_seen(&self, key: &AnnotationKey) -> Option<&Seen> {
        self.annotations.all.get(key)
    }

    /// The live state shows these annotations of an object, or none any more.
    pub fn annotations_seen(&mut self, now: Timestamp, seen: &SilenceSeen, out: &mut Effects) {
        for (key, value) in silence::KEYS.into_iter().zip(&seen.values) {
            let key = (Arc::clone(&seen.place), key);
            match value {
                Some(value) => self.see(now, key, value, !seen.of_pods, out),
                // That one of several pods has none says nothing about the others.
                None if seen.of_pods && !seen.gone => {}
                None => {
                    if self.annotations.remove(&key) {
                        out.annotations.insert(key);
                    }
                }
            }
        }
    }

    /// `renews`: another value than before begins anew.
    fn see(&mut self, now: Timestamp, key: AnnotationKey, value: &Arc<str>, renews: bool, out: &mut Effects) {
        if let Some(known) = self.annotations.all.get_mut(&key) {
            known.confirmed = true;
            if !renews || known.value == *value {
                return;
            }
        }
        let seen = Seen { value: Arc::clone(value), since: now, confirmed: true };
        if self.annotations.insert(key.clone(), seen) {
            out.annotations.insert(key);
        }
    }

    /// The first picture of the cluster is complete: what it did not show is not there any more.
    pub(super) fn forget_annotations(&mut self, out: &mut Effects) {
        let all = self.annotations.all.iter();
        let gone: Vec<AnnotationKey> =
            all.filter(|(_, seen)| !seen.confirmed).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.annotations.remove(&key);
            out.annotations.insert(key);
        }
    }

    /// Counts the annotations of those who have the problem from now on, as far as they are not known yet: not
    /// every world shows them before a problem does.
    pub(super) fn see_annotations_of(
        &mut self,
        members: &[([String; 3], silence::Layers)],
        now: Timestamp,
        out: &mut Effects,
    ) {
        for (places, layers) in members {
            for (place, layer) in places.iter().zip(layers) {
                for key in silence::KEYS {
                    if let Some(value) = layer.as_ref().and_then(|map| map.get(key)) {
                        self.see(now, (Arc::from(place.as_str()), key), &silence::shown(value), false, out);
                    }
                }
            }
        }
    }

    /// Until when an annotation may silence; `None`: it may not at all.
    pub(super) fn annotation_counts_until(
        &self,
        incident: &Incident,
        member: &Member,
        (layer, key): (usize, &'static str),
        now: Timestamp,
    ) -> Option<Timestamp> {
        if layer == 0 && &*member.object.kind == "Node" && !self.settings.annotations.nodes {
            return None;
        }
        let place = places(incident, member).into_iter().nth(layer)?;
        self.annotation_until(&(Arc::from(place), key), now)
    }

    /// Until when an annotation that is known, or could become so, counts.
    pub fn annotation_until(&self, key: &AnnotationKey, now: Timestamp) -> Option<Timestamp> {
        let since = match self.annotations.all.get(key) {
            Some(seen) => seen.since,
            None => {
                let of_namespace = self.annotations.of_namespace.get(&namespace_of(&key.0));
                let full = self.annotations.all.len() >= MAX_SEEN
                    || of_namespace.is_some_and(|count| *count >= MAX_OF_NAMESPACE);
                Some(now).filter(|_| !full)?
            }
        };
        Some(clock::after(since, self.settings.annotations.max))
    }
}

/// What the annotations of a member stand on, by layer.
pub(super) fn places(incident: &Incident, member: &Member) -> [String; 3] {
    let object = &member.object;
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let workload = &incident.signal.workload;
    [
        silence::counted_for(object, workload),
        silence::workload_place(namespace, workload),
        format!("Namespace/{namespace}"),
    ]
}
