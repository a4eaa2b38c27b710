//! Annotations by which the owners of an object, a workload or a namespace keep kubeherald quiet.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Labels, ObjectRef, Workload, text};

/// Nothing is told until this moment (RFC 3339).
pub const SILENCE_UNTIL: &str = "kubeherald.io/silence-until";
/// `"true"`: nothing is told while it stands. `"false"`: what stands further out does not count.
pub const MUTE: &str = "kubeherald.io/mute";

pub const KEYS: [&str; 2] = [SILENCE_UNTIL, MUTE];
/// What the keys of all annotations for kubeherald begin with.
pub const PREFIX: &str = "kubeherald.io/";
/// Its value is the runbook of whatever goes wrong with the object, or in the namespace.
pub const RUNBOOK: &str = "kubeherald.io/runbook";
/// All of them.
pub const KNOWN_KEYS: [&str; 3] = [SILENCE_UNTIL, MUTE, RUNBOOK];
/// What the place of annotations of pods begins with.
pub const PODS_OF: &str = "pods of ";
/// The longest value of an annotation that is kept, in bytes.
const MAX_VALUE: usize = 60;

/// The annotations about silence that an object has since it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceSeen {
    /// What they are counted for: see [`counted_for`].
    pub place: Arc<str>,
    /// That is all pods of a workload.
    pub of_pods: bool,
    /// The object, or of pods their workload, is gone.
    pub gone: bool,
    /// The values of [`KEYS`].
    pub values: [Option<Arc<str>>; 2],
}

impl SilenceSeen {
    /// Of an object of this workload; `annotations`: `None` where it is gone or has none.
    pub fn of(object: &ObjectRef, workload: &Workload, annotations: Option<&Labels>) -> Self {
        let place: Arc<str> = Arc::from(counted_for(object, workload));
        let of_pods = place.starts_with(PODS_OF);
        let values = KEYS.map(|key| annotations.and_then(|map| map.get(key)).map(|value| shown(value)));
        Self { place, of_pods, gone: false, values }
    }
}

/// What an object's annotations are counted for: the object, and of pods that are made by a workload that
/// workload, because each of them is soon replaced by another.
pub fn counted_for(object: &ObjectRef, workload: &Workload) -> String {
    if &*object.kind != "Pod" || *workload == Workload::of(object) {
        return object.to_string();
    }
    let namespace = object.namespace.as_deref().unwrap_or_default();
    format!("{PODS_OF}{}", workload_place(namespace, workload))
}

/// `Deployment/shop/checkout` of the workload `Deployment/checkout`.
pub fn workload_place(namespace: &str, workload: &Workload) -> String {
    format!("{}/{namespace}/{}", workload.kind(), workload.name())
}

/// The layers of annotations: of the object, of its workload, of its namespace.
pub type Layers = [Option<Labels>; 3];

/// What keeps an object quiet, and in which layer it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationSilence {
    /// [`SILENCE_UNTIL`] with a moment to come.
    Until(Timestamp, usize),
    /// [`MUTE`].
    Mute(usize),
}

/// What the annotations ask for at `now`. The latest moment of all layers counts; of [`MUTE`] the
/// innermost one that has a value. A value that cannot be read is as good as none: see [`bad`].
pub fn silenced_by(layers: &Layers, now: Timestamp) -> Option<AnnotationSilence> {
    silenced_within(layers, now, |_, _| Some(Timestamp::MAX))
}

/// The same, where each annotation counts no longer than `bound` says of its layer and key; `None`: not at
/// all. Of a mute that has run out, the next layer's counts.
pub fn silenced_within(
    layers: &Layers,
    now: Timestamp,
    bound: impl Fn(usize, &'static str) -> Option<Timestamp>,
) -> Option<AnnotationSilence> {
    let until = each(layers, SILENCE_UNTIL)
        .filter_map(|(layer, value)| Some((moment(value)?.min(bound(layer, SILENCE_UNTIL)?), layer)));
    let latest = until.filter(|(until, _)| now < *until).max_by_key(|(until, layer)| (*until, 3 - layer));
    if let Some((until, layer)) = latest {
        return Some(AnnotationSilence::Until(until, layer));
    }
    let mut mute = each(layers, MUTE).filter_map(|(layer, value)| Some((switch(value)?, layer)));
    let counts = |layer| bound(layer, MUTE).is_some_and(|until| now < until);
    mute.find(|(on, layer)| !on || counts(*layer))
        .filter(|(on, _)| *on)
        .map(|(_, layer)| AnnotationSilence::Mute(layer))
}

/// Values that cannot be read: layer, key and value.
pub fn bad(layers: &Layers) -> impl Iterator<Item = (usize, &'static str, Arc<str>)> {
    let until = each(layers, SILENCE_UNTIL).filter(|(_, value)| moment(value).is_none());
    let mute = each(layers, MUTE).filter(|(_, value)| switch(value).is_none());
    let until = until.map(|(layer, value)| (layer, SILENCE_UNTIL, shown(value)));
    until.chain(mute.map(|(layer, value)| (layer, MUTE, shown(value))))
}

/// Do these annotations say something else about silence than those?
pub fn differ(one: Option<&Labels>, other: Option<&Labels>) -> bool {
    if let (Some(one), Some(other)) = (one, other)
        && Arc::ptr_eq(one, other)
    {
        return false;
    }
    [SILENCE_UNTIL, MUTE].iter().any(|key| one.and_then(|a| a.get(*key)) != other.and_then(|a| a.get(*key)))
}

fn each<'a>(layers: &'a Layers, key: &'static str) -> impl Iterator<Item = (usize, &'a str)> {
    let layers = layers.iter().enumerate();
    layers.filter_map(move |(layer, map)| Some((layer, map.as_ref()?.get(key)?.as_str())))
}

fn moment(value: &str) -> Option<Timestamp> {
    value.trim().parse().ok()
}

fn switch(value: &str) -> Option<bool> {
    match value.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Can it be a value of [`SILENCE_UNTIL`]?
pub fn is_moment(value: &str) -> bool {
    moment(value).is_some()
}

/// Can it be a value of [`MUTE`]?
pub fn is_switch(value: &str) -> bool {
    switch(value).is_some()
}

/// A value, cut and cleaned.
pub fn shown(value: &str) -> Arc<str> {
    Arc::from(text::cut(&text::clean(value), MAX_VALUE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(pairs: &[(&str, &str)]) -> Option<Labels> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Some(Arc::new(map))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-21T08:00:00Z";

    #[test]
    fn the_latest_moment_of_all_layers_counts() {
        let layers = [
            layer(&[(SILENCE_UNTIL, "2026-11-21T09:00:00Z")]),
            None,
            layer(&[(SILENCE_UNTIL, " 2026-11-21T11:00:00+01:00 ")]),
        ];
        assert_eq!(
            silenced_by(&layers, at(NOW)),
            Some(AnnotationSilence::Until(at("2026-11-21T10:00:00Z"), 2))
        );
        assert_eq!(silenced_by(&layers, at("2026-11-21T09:59:59Z")), silenced_by(&layers, at(NOW)));
        assert_eq!(silenced_by(&layers, at("2026-11-21T10:00:00Z")), None, "the moment itself is after it");
    }

    #[test]
    fn the_innermost_mute_counts_and_a_moment_before_it() {
        let namespace = layer(&[(MUTE, "true")]);
        assert_eq!(silenced_by(&[None, None, namespace.clone()], at(NOW)), Some(AnnotationSilence::Mute(2)));
        assert_eq!(silenced_by(&[None, layer(&[(MUTE, "false")]), namespace.clone()], at(NOW)), None);
        assert_eq!(
            silenced_by(&[layer(&[(MUTE, "nein")]), None, namespace.clone()], at(NOW)),
            Some(AnnotationSilence::Mute(2))
        );
        let both = layer(&[(MUTE, "false"), (SILENCE_UNTIL, "2026-11-21T09:00:00Z")]);
        assert_eq!(
            silenced_by(&[both, None, namespace], at(NOW)),
            Some(AnnotationSilence::Until(at("2026-11-21T09:00:00Z"), 0))
        );
        assert_eq!(silenced_by(&[None, None, None], at(NOW)), None);
    }

    #[test]
    fn an_annotation_counts_no_longer_than_its_bound() {
        let until = layer(&[(SILENCE_UNTIL, "2999-01-01T00:00:00Z")]);
        let bound = at("2026-11-21T12:00:00Z");
        let within = |layers: &Layers, now: &str| silenced_within(layers, at(now), |_, _| Some(bound));
        let layers = [until, None, None];
        assert_eq!(within(&layers, NOW), Some(AnnotationSilence::Until(bound, 0)));
        assert_eq!(within(&layers, "2026-11-21T12:00:00Z"), None);
        let mute = [layer(&[(MUTE, "true")]), None, layer(&[(MUTE, "true")])];
        assert_eq!(within(&mute, NOW), Some(AnnotationSilence::Mute(0)));
        assert_eq!(within(&mute, "2026-11-21T12:00:00Z"), None);
        // The innermost has run out or is not allowed: the next one counts.
        let outer = silenced_within(&mute, at(NOW), |layer, _| (layer > 0).then_some(bound));
        assert_eq!(outer, Some(AnnotationSilence::Mute(2)));
        let off = [layer(&[(MUTE, "false")]), None, layer(&[(MUTE, "true")])];
        assert_eq!(within(&off, NOW), None);
    }

    #[test]
    fn pods_are_counted_for_their_workload() {
        let object = |kind: &str, namespace: Option<&str>, name: &str| ObjectRef {
            kind: kind.into(),
            namespace: namespace.map(Arc::from),
            name: name.into(),
            uid: "u".into(),
        };
        let pod = object("Pod", Some("shop"), "checkout-1");
        assert_eq!(counted_for(&pod, &"Deployment/checkout".into()), "pods of Deployment/shop/checkout");
        assert_eq!(counted_for(&pod, &"Pod/checkout-1".into()), "Pod/shop/checkout-1");
        let node = object("Node", None, "n1");
        assert_eq!(counted_for(&node, &"Node/n1".into()), "Node/n1");
        assert_eq!(workload_place("shop", &"Deployment/checkout".into()), "Deployment/shop/checkout");
    }

    #[test]
    fn what_cannot_be_read_is_never_a_silence() {
        for value in ["", "tomorrow", "2026-11-22", "2026-11-22T08:00:00", "2h", "true"] {
            let layers = [None, layer(&[(SILENCE_UNTIL, value)]), None];
            assert_eq!(silenced_by(&layers, at(NOW)), None, "{value}");
            let found: Vec<_> = bad(&layers).collect();
            assert_eq!(found, [(1, SILENCE_UNTIL, Arc::from(value))]);
        }
        for value in ["", "yes", "True", "1", "on"] {
            let layers = [layer(&[(MUTE, value)]), None, None];
            assert_eq!(silenced_by(&layers, at(NOW)), None, "{value}");
            assert_eq!(bad(&layers).collect::<Vec<_>>(), [(0, MUTE, Arc::from(value))]);
        }
        assert_eq!(bad(&[layer(&[(MUTE, "true"), (SILENCE_UNTIL, NOW)]), None, None]).count(), 0);
    }

    #[test]
    fn only_what_is_about_silence_differs() {
        let (plain, other) = (layer(&[("a", "b")]), layer(&[("a", "c")]));
        let muted = layer(&[("a", "b"), (MUTE, "true")]);
        assert!(!differ(plain.as_ref(), other.as_ref()) && !differ(None, plain.as_ref()));
        assert!(differ(plain.as_ref(), muted.as_ref()) && differ(muted.as_ref(), None));
        assert!(!differ(muted.as_ref(), muted.as_ref()));
    }
}
