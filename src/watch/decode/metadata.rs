//! Metadata of objects: what is needed of it, bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::fields::{self, FINALIZERS, KEY, KIND, LABEL, List, NAME, Text};
use crate::signal::silence;
use crate::watch::state::MIRROR;

/// Values of annotations longer than this are not kept: nobody matches on them, and
/// `last-applied-configuration` alone would double the size of every object.
const MAX_ANNOTATION: usize = 512;
/// Bytes of keys and values of all labels kept of an object, and likewise of its annotations. The
/// API server allows 256 KiB of annotations; a signal carries those of three objects.
const MAX_LABELS: usize = 8 * 1024;
/// What an entry of a map takes beside its texts, in bytes.
const ENTRY: usize = 64;
/// Reads metadata and leaves out what nobody needs before it takes memory.
pub(in crate::watch) fn slim<'de, D: Deserializer<'de>>(d: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct SlimMeta {
        name: Option<Text<NAME>>,
        namespace: Option<Text<LABEL>>,
        uid: Option<Text<NAME>>,
        // The server's own: a watch goes on from it, to the letter.
        resource_version: Option<String>,
        generation: Option<i64>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        deletion_grace_period_seconds: Option<i64>,
        finalizers: Option<List<Text<KEY>, FINALIZERS>>,
        #[serde(deserialize_with = "labels")]
        labels: Option<BTreeMap<String, String>>,
        #[serde(deserialize_with = "annotations")]
        annotations: Option<BTreeMap<String, String>>,
        #[serde(deserialize_with = "controller")]
        owner_references: Option<OwnerReference>,
    }
    let meta = Option::<SlimMeta>::deserialize(d)?.unwrap_or_default();
    Ok(ObjectMeta {
        name: meta.name.map(Text::into_string),
        namespace: meta.namespace.map(Text::into_string),
        uid: meta.uid.map(Text::into_string),
        resource_version: meta.resource_version,
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp,
        // Nobody asks for finalizers before somebody deletes the object.
        finalizers: meta
            .finalizers
            .filter(|_| meta.deletion_timestamp.is_some())
            .map(|names| names.iter().map(ToString::to_string).collect()),
        deletion_timestamp: meta.deletion_timestamp,
        deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
        labels: meta.labels,
        annotations: meta.annotations,
        owner_references: meta.owner_references.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    })
}

/// The owner that controls the object; the API server allows one. Of the others nothing is kept.
fn controller<'de, D: Deserializer<'de>>(d: D) -> Result<Option<OwnerReference>, D::Error> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Owner {
        kind: Text<KIND>,
        name: Text<NAME>,
        controller: Option<bool>,
    }
    struct Controller;
    impl<'de> Visitor<'de> for Controller {
        type Value = Option<OwnerReference>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of owners")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(owner) = list.next_element::<Owner>()? {
                if found.is_none() && owner.controller == Some(true) {
                    found = Some(OwnerReference {
                        kind: owner.kind.into_string(),
                        name: owner.name.into_string(),
                        controller: Some(true),
                        ..OwnerReference::default()
                    });
                }
            }
            Ok(found)
        }
    }
    d.deserialize_any(Controller)
}

/// A map of keys to values of at most `VALUE` bytes.
struct Pairs<V> {
    /// Of this key nothing is kept.
    skip: &'static str,
    /// Values that are longer in the object are left out whole.
    longest: usize,
    value: PhantomData<V>,
}

/// Read by kubeherald itself, so kept however much else there is.
fn always_kept(key: &str) -> bool {
    [silence::MUTE, silence::SILENCE_UNTIL, MIRROR].contains(&key)
}

impl<'de, const VALUE: usize> Visitor<'de> for Pairs<Text<VALUE>> {
    type Value = Option<BTreeMap<String, String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = BTreeMap::new();
        let mut size = 0_usize;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == self.skip {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            // What has no room is not looked at, however much of it there is.
            if size + ENTRY > MAX_LABELS && !always_kept(&key) {
                map.next_value::<IgnoredAny>()?;
                fields::cut();
                continue;
            }
            let value = map.next_value::<Cow<'_, str>>()?;
            if value.len() > self.longest {
                continue;
            }
            let (key, value) = (Text::<KEY>::new(&key), Text::<VALUE>::new(&value));
            let needs = key.len() + value.len() + ENTRY;
            if size + needs > MAX_LABELS && !always_kept(&key) {
                fields::cut();
                continue;
            }
            size += needs;
            out.insert(key.into_string(), value.into_string());
        }
        Ok(Some(out))
    }
}

fn labels<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    d.deserialize_any(Pairs::<Text<LABEL>> { skip: "", longest: usize::MAX, value: PhantomData })
}

fn annotations<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    d.deserialize_any(Pairs::<Text<MAX_ANNOTATION>> {
        skip: "kubectl.kubernetes.io/last-applied-configuration",
        longest: MAX_ANNOTATION,
        value: PhantomData,
    })
}
