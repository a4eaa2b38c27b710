//! From the JSON text of one object to an [`Object`](super::Object), whatever brought the text.
//!
//! Slim types hold just the fields of a kind that signals need. Every field is optional and enums are
//! strings, because one undecodable item would otherwise spoil a whole list. What still does not decode
//! becomes a [`BadObject`], with its metadata where that can be read, so that one bad object never stops
//! a watch.

pub mod fields;
pub(super) mod metadata;

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicResourceScope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use self::fields::{LABEL, NAME, Text};
pub use super::kinds::decode;
use super::{Change, Kind, Object};
use crate::signal::text;

/// The longest text kept of what is wrong with an object, in bytes: it repeats what it found.
const MAX_ERROR: usize = 300;

/// A slim type: what its kind is called at the API server, and what all objects have.
pub trait SlimObject: DeserializeOwned + Clone + Debug + Send + Sync + 'static {
    const KIND: Kind;
    const PLURAL: &'static str;
    /// `apps`, or empty for core
    const GROUP: &'static str;
    /// Ask for metadata only (`PartialObjectMetadata`).
    const METADATA_ONLY: bool;
    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    /// How many of its texts and lists were cut.
    fn cut(&self) -> u32;
    fn set_cut(&mut self, cut: u32);
    fn into_object(self) -> Object;
}

/// An object that does not have the shape its kind should have.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind} {}/{} does not decode: {error}", self.namespace(), self.name())]
pub struct BadObject {
    /// What it says it is.
    pub kind: Kind,
    /// Its metadata as far as they could be read.
    pub metadata: Box<ObjectMeta>,
    /// What is wrong with it.
    pub error: String,
}

impl BadObject {
    /// Empty if cluster-scoped or unreadable.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The object as one with nothing but its metadata: enough to say that it is gone.
    pub fn hollow(&self) -> Option<Object> {
        let json = serde_json::json!({ "metadata": self.metadata }).to_string();
        decode(self.kind, &json).ok()
    }
}

impl From<&BadObject> for Change {
    fn from(bad: &BadObject) -> Self {
        Self::Undecodable {
            kind: bad.kind,
            namespace: bad.namespace().to_owned(),
            name: bad.name().to_owned(),
            uid: bad.uid().to_owned(),
        }
    }
}

/// One object as kube passes it on: an object that does not decode is an item like any other.
#[derive(Debug, Clone)]
pub(super) struct Slim<T>(pub Result<T, BadObject>);

impl<'de, T: SlimObject> Deserialize<'de> for Slim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        Ok(Self(parse(raw.get())))
    }
}

/// Decodes one JSON document that is known to be well-formed.
pub(super) fn parse<T: SlimObject>(json: &str) -> Result<T, BadObject> {
    match fields::counted(|| serde_json::from_str::<T>(json)) {
        (Ok(mut object), cut) => {
            object.set_cut(cut);
            Ok(object)
        }
        (Err(error), _) => {
            let error = text::cut(&text::clean(&error.to_string()), MAX_ERROR).into_owned();
            Err(BadObject { kind: T::KIND, metadata: Box::new(bare_metadata(json)), error })
        }
    }
}

/// What can be read of the metadata of an object that does not decode, field by field.
fn bare_metadata(json: &str) -> ObjectMeta {
    /// A field is missing where it is no string, whatever else it is.
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Bare {
        #[serde(deserialize_with = "lenient")]
        name: Option<Text<NAME>>,
        #[serde(deserialize_with = "lenient")]
        namespace: Option<Text<LABEL>>,
        #[serde(deserialize_with = "lenient")]
        uid: Option<Text<NAME>>,
        #[serde(deserialize_with = "lenient")]
        resource_version: Option<String>,
    }
    fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Option<T>, D::Error> {
        let raw: &RawValue = Deserialize::deserialize(d)?;
        Ok(serde_json::from_str(raw.get()).ok())
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Object {
        metadata: Bare,
    }
    let Object { metadata } = serde_json::from_str(json).unwrap_or_default();
    ObjectMeta {
        name: metadata.name.map(Text::into_string),
        namespace: metadata.namespace.map(Text::into_string),
        uid: metadata.uid.map(Text::into_string),
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    }
}

impl<T: SlimObject> Resource for Slim<T> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::KIND.as_str().into()
    }
    fn group((): &()) -> Cow<'_, str> {
        T::GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        T::PLURAL.into()
    }
    fn metadata_api() -> bool {
        T::METADATA_ONLY
    }
    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.metadata(),
            Err(bad) => &bad.metadata,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.metadata_mut(),
            Err(bad) => &mut bad.metadata,
        }
    }
}

/// Declares the slim type of a kind.
macro_rules! slim {
    ($kind:ident, $plural:literal, $group:literal, $metadata_only:literal
        { $($(#[$doc:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $kind {
            /// Metadata without `managedFields`, foreign owners and long annotations.
            #[serde(deserialize_with = "crate::watch::decode::metadata::slim")]
            pub metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            #[serde(skip)]
            cut: u32,
            $($(#[$doc])* #[serde(deserialize_with = "crate::watch::decode::nullable")] pub $field: $ty,)*
        }
        impl crate::watch::decode::SlimObject for $kind {
            const KIND: crate::watch::Kind = crate::watch::Kind::$kind;
            const PLURAL: &'static str = $plural;
            const GROUP: &'static str = $group;
            const METADATA_ONLY: bool = $metadata_only;
            fn metadata(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn metadata_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
            fn cut(&self) -> u32 {
                self.cut
            }
            fn set_cut(&mut self, cut: u32) {
                self.cut = cut;
            }
            fn into_object(self) -> crate::watch::Object {
                crate::watch::Object::$kind(Box::new(self))
            }
        }
    };
}

/// Declares parts of slim types.
macro_rules! part {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name {
            $($(#[$fdoc])* #[serde(deserialize_with = "crate::watch::decode::nullable")] pub $field: $ty,)*
        }
    )+};
}

pub(super) use {part, slim};

/// `null` where the API says "absent" is as good as absent.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_missing_fields_are_fine_and_bulk_is_left_out() {
        let json = r#"{"kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u","managedFields":[{"x":1}],
            "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","a":"b"},"labels":null,
            "ownerReferences":[{"apiVersion":"v1","kind":"X","name":"x","uid":"1"},
                               {"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"2","controller":true}]},
            "spec":{"containers":null},"status":{"containerStatuses":[{"name":"c","state":null}]}}"#;
        let Object::Pod(pod) = decode(Kind::Pod, json).unwrap() else { panic!("a pod") };
        assert_eq!(pod.metadata.annotations.unwrap().len(), 1);
        assert_eq!(pod.metadata.owner_references.unwrap()[0].name, "r");
        assert!(pod.metadata.managed_fields.is_none());
        assert_eq!(pod.status.container_statuses[0].name, "c");
    }

    #[test]
    fn a_bad_object_keeps_its_metadata() {
        let json = r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"7"},"status":{"phase":{"no":1}}}"#;
        let bad = decode(Kind::Pod, json).unwrap_err();
        assert_eq!(bad.metadata.resource_version.as_deref(), Some("7"));
        assert!(bad.error.contains("expected a string"), "{bad}");
    }

    #[test]
    fn every_kind_decodes_from_nothing_but_metadata() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
            let object = decode(kind, r#"{"metadata":{"name":"a"}}"#).unwrap();
            assert_eq!(object.kind(), kind);
        }
    }

    #[test]
    fn a_bad_object_says_what_it_is_and_can_be_told_gone() {
        let json = r#"{"metadata":{"name":"a","namespace":"n","uid":"u"},"status":{"phase":{}}}"#;
        let bad = decode(Kind::Pod, json).unwrap_err();
        assert!(bad.to_string().starts_with("Pod n/a does not decode: invalid type: map"), "{bad}");
        let Some(Object::Pod(pod)) = bad.hollow() else { panic!("hollow") };
        assert_eq!(pod.metadata.uid.as_deref(), Some("u"));
    }
}
