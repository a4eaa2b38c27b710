//! Matchers, indexed so that a signal is compared with the few that could match it.
//!
//! They are filed by cause, then by *shape*: which fields they compare with exact texts. All matchers
//! of one shape share one hash table over the texts of these fields, so ten thousand team rules
//! `{cause: CrashLoopBackOff, namespace: team-N}` cost one look-up. There are as many look-ups as
//! shapes, and people write few shapes. Matchers without any exact field (regexes only) are compared
//! one by one.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::matcher::{Field, Matcher, TextMatch};
use crate::signal::{Cause, Signal};

/// A matcher with lists in several exact fields is filed once for each combination, up to this many;
/// past it the longest lists are left to the matcher.
const MAX_ENTRIES: usize = 4096;

/// Places of matchers, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// In the order of [`Cause::ALL`], which is the order of the discriminants.
    causes: Vec<Vec<Shape>>,
    hasher: RandomState,
}

/// A field that has an exact text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(Field),
    Label(String),
    Annotation(String),
}

impl Key {
    fn of<'a>(&self, signal: &'a Signal) -> Option<&'a str> {
        match self {
            Self::Text(field) => field.of(signal),
            Self::Label(key) => signal.label(key),
            Self::Annotation(key) => signal.annotation(key),
        }
    }
}

/// All matchers of one cause that compare the same fields with exact texts.
#[derive(Debug, Clone)]
struct Shape {
    keys: Vec<Key>,
    /// From the hash of the texts to places, ascending. Two combinations with
    /// one hash are harmless: the matcher has the last word.
    table: HashMap<u64, Vec<usize>>,
}

impl Index {
    /// Files the matchers under the causes for which `wants` holds. Places count from zero.
    pub fn new<'m>(
        matchers: impl IntoIterator<Item = &'m Matcher>,
        wants: impl Fn(&Matcher, Cause) -> bool,
    ) -> Self {
        let mut index = Self { causes: vec![Vec::new(); Cause::ALL.len()], ..Self::default() };
        for (place, matcher) in matchers.into_iter().enumerate() {
            let exact = exact_fields(matcher);
            let keys: Vec<Key> = exact.iter().map(|(key, _)| key.clone()).collect();
            let hashes = combinations(&index.hasher, &exact);
            for (cause, shapes) in Cause::ALL.iter().zip(&mut index.causes) {
                if wants(matcher, *cause) {
                    file(shapes, &keys, &hashes, place);
                }
            }
        }
        index
    }

    /// The first place at which `matches` holds. Only places that could match are asked.
    pub fn first(&self, signal: &Signal, mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut best: Option<usize> = None;
        for places in self.candidates(signal) {
            for &place in places {
                if best.is_some_and(|found| found < place) {
                    break;
                }
                if matches(place) {
                    best = Some(place);
                    break;
                }
            }
        }
        best
    }

    /// Every place at which `matches` holds, ascending. Only places that could match are asked.
    pub fn all(&self, signal: &Signal, matches: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> =
            self.candidates(signal).flatten().copied().filter(|place| matches(*place)).collect();
        found.sort_unstable();
        found
    }

    /// How many combinations of texts are filed, over all causes.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.causes.iter().flatten().map(|shape| shape.table.len()).sum()
    }

    fn candidates<'a>(&'a self, signal: &'a Signal) -> impl Iterator<Item = &'a Vec<usize>> {
        let shapes = self.causes.get(signal.cause as usize).map_or(&[][..], Vec::as_slice);
        shapes.iter().filter_map(|shape| shape.table.get(&shape.hash(&self.hasher, signal)?))
    }
}

impl Shape {
    /// The hash of the signal's texts in this shape's fields; `None` where one is absent, because
    /// then no matcher of this shape matches.
    fn hash(&self, hasher: &RandomState, signal: &Signal) -> Option<u64> {
        let mut state = hasher.build_hasher();
        for key in &self.keys {
            key.of(signal)?.hash(&mut state);
        }
        Some(state.finish())
    }
}

/// The fields that a matcher compares with exact texts, in a canonical order.
fn exact_fields(matcher: &Matcher) -> Vec<(Key, &[String])> {
    let pick = |key: Key, text: &'_ TextMatch| (!text.any_of.is_empty()).then_some(key);
    let mut exact: Vec<(Key, &[String])> = Vec::new();
    for (field, text) in &matcher.texts {
        exact.extend(pick(Key::Text(*field), text).map(|key| (key, text.any_of.as_slice())));
    }
    for (label, text) in &matcher.labels {
        exact.extend(pick(Key::Label(label.clone()), text).map(|key| (key, text.any_of.as_slice())));
    }
    for (annotation, text) in &matcher.annotations {
        exact
            .extend(pick(Key::Annotation(annotation.clone()), text).map(|key| (key, text.any_of.as_slice())));
    }
    exact.sort_by(|(a, _), (b, _)| a.cmp(b));
    // A field given twice is an AND of both lists; the first narrows enough.
    exact.dedup_by(|(a, _), (b, _)| a == b);
    while exact.len() > 1
        && exact.iter().fold(1_usize, |n, (_, list)| n.saturating_mul(list.len())) > MAX_ENTRIES
    {
        if let Some(longest) =
            (0..exact.len()).max_by_key(|i| exact.get(*i).map_or(0, |(_, list)| list.len()))
        {
            exact.remove(longest);
        }
    }
    exact
}

/// The hash of each combination of texts, hashed as [`Shape::hash`] does.
fn combinations(hasher: &RandomState, exact: &[(Key, &[String])]) -> Vec<u64> {
    let mut states = vec![hasher.build_hasher()];
    for (_, texts) in exact {
        states = states
            .iter()
            .flat_map(|state| {
                texts.iter().map(|text| {
                    let mut state = state.clone();
                    text.as_str().hash(&mut state);
                    state
                })
            })
            .collect();
    }
    states.iter().map(Hasher::finish).collect()
}

fn file(shapes: &mut Vec<Shape>, keys: &[Key], hashes: &[u64], place: usize) {
    let found = shapes.iter().position(|shape| shape.keys == keys);
    let index = found.unwrap_or_else(|| {
        shapes.push(Shape { keys: keys.to_vec(), table: HashMap::new() });
        shapes.len() - 1
    });
    let Some(shape) = shapes.get_mut(index) else { return };
    for hash in hashes {
        let places = shape.table.entry(*hash).or_default();
        if places.last() != Some(&place) {
            places.push(place);
        }
    }
}
