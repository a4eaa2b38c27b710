//! What every object has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub struct Meta {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) created: String,
    pub(super) deleting: Option<String>,
    pub(super) grace: Option<i64>,
    pub(super) finalizers: Vec<String>,
    pub(super) generation: Option<i64>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner: Option<(String, String)>,
}

impl Meta {
    pub(super) fn new(kind: &'static str, name: &str) -> Self {
        let cluster_scoped = matches!(kind, "Node" | "Namespace");
        Self {
            kind,
            name: name.to_owned(),
            namespace: (!cluster_scoped).then(|| super::NAMESPACE.to_owned()),
            uid: None,
            created: String::from("T-1h"),
            deleting: None,
            grace: None,
            finalizers: Vec::new(),
            generation: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            owner: None,
        }
    }

    /// The UID: given, or made of the names, so that the same name is the same object.
    pub fn uid(&self) -> String {
        self.uid.clone().unwrap_or_else(|| {
            format!(
                "{}-{}-{}",
                self.kind.to_lowercase(),
                self.namespace.as_deref().unwrap_or("cluster"),
                self.name
            )
        })
    }

    pub(super) fn json(&self) -> Value {
        let mut meta = json!({
            "name": self.name,
            "uid": self.uid(),
            "resourceVersion": "1",
            "creationTimestamp": self.created,
            "labels": self.labels,
            "annotations": self.annotations,
        });
        let mut put = |key: &str, value: Option<Value>| {
            if let (Some(value), Some(map)) = (value, meta.as_object_mut()) {
                map.insert(key.to_owned(), value);
            }
        };
        put("namespace", self.namespace.as_ref().map(|ns| json!(ns)));
        put("deletionTimestamp", self.deleting.as_ref().map(|at| json!(at)));
        put("deletionGracePeriodSeconds", self.grace.map(|secs| json!(secs)));
        put("finalizers", (!self.finalizers.is_empty()).then(|| json!(self.finalizers)));
        put("generation", self.generation.map(|n| json!(n)));
        put(
            "ownerReferences",
            self.owner.as_ref().map(|(kind, name)| {
                json!([{ "apiVersion": "v1", "kind": kind, "name": name, "uid": format!("uid-of-{name}"),
                         "controller": true, "blockOwnerDeletion": true }])
            }),
        );
        meta
    }
}

/// The methods that every builder with a `meta` field has.
macro_rules! with_meta {
    ($($builder:ident),+ $(,)?) => {$(
        impl $builder {
            pub fn namespace(mut self, namespace: &str) -> Self {
                self.meta.namespace = Some(namespace.to_owned());
                self
            }

            /// Sets the UID: another object under the same name.
            pub fn uid(mut self, uid: &str) -> Self {
                self.meta.uid = Some(uid.to_owned());
                self
            }

            /// Sets when it was created (`T+5m`).
            pub fn created(mut self, at: &str) -> Self {
                self.meta.created = at.to_owned();
                self
            }

            /// Somebody has deleted it; it is still there.
            pub fn deleting(mut self, at: &str) -> Self {
                self.meta.deleting = Some(at.to_owned());
                self
            }

            /// `deletionGracePeriodSeconds`; `deletionTimestamp` of a pod is that much after its deletion.
            pub fn grace(mut self, seconds: i64) -> Self {
                self.meta.grace = Some(seconds);
                self
            }

            pub fn finalizer(mut self, name: &str) -> Self {
                self.meta.finalizers.push(name.to_owned());
                self
            }

            pub fn label(mut self, key: &str, value: &str) -> Self {
                self.meta.labels.insert(key.to_owned(), value.to_owned());
                self
            }

            pub fn annotation(mut self, key: &str, value: &str) -> Self {
                self.meta.annotations.insert(key.to_owned(), value.to_owned());
                self
            }

            /// Sets the controlling owner.
            pub fn owned_by(mut self, kind: &str, name: &str) -> Self {
                self.meta.owner = Some((kind.to_owned(), name.to_owned()));
                self
            }
        }

        impl From<$builder> for serde_json::Value {
            fn from(builder: $builder) -> Self {
                builder.json()
            }
        }
    )+};
}

pub(super) use with_meta;
