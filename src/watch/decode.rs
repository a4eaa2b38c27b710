//! From the JSON text of one object to an [`Object`], whatever brought the text.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use super::objects::{
    CronJob, DaemonSet, Deployment, Event, Job, Kinded, Namespace, Node, PersistentVolumeClaim, Pod,
    ReplicaSet, Slim, StatefulSet,
};
use super::{Change, Kind, Object};

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
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The object as one with nothing but its metadata: enough to say that it is gone.
    #[must_use]
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

/// A slim type and its place among the kinds watched.
pub trait Watched: Kinded + DeserializeOwned {
    /// Which kind it is.
    const WATCHED: Kind;
    /// As one of the objects of any kind.
    fn into_object(self) -> Object;
}

macro_rules! watched {
    ($($kind:ident => $object:expr),+ $(,)?) => {
        $(impl Watched for $kind {
            const WATCHED: Kind = Kind::$kind;
            fn into_object(self) -> Object {
                $object(self)
            }
        })+

        /// Decodes one object of a known kind.
        pub fn decode(kind: Kind, json: &str) -> Result<Object, BadObject> {
            match kind {
                $(Kind::$kind => finish(Slim::<$kind>::parse(json)),)+
            }
        }
    };
}

watched! {
    Namespace => Object::Namespace,
    Node => |o| Object::Node(Box::new(o)),
    Deployment => |o| Object::Deployment(Box::new(o)),
    ReplicaSet => Object::ReplicaSet,
    StatefulSet => |o| Object::StatefulSet(Box::new(o)),
    DaemonSet => |o| Object::DaemonSet(Box::new(o)),
    CronJob => |o| Object::CronJob(Box::new(o)),
    Job => |o| Object::Job(Box::new(o)),
    PersistentVolumeClaim => |o| Object::PersistentVolumeClaim(Box::new(o)),
    Pod => |o| Object::Pod(Box::new(o)),
    Event => |o| Object::Event(Box::new(o)),
}

/// The object, or what is known of it.
pub fn finish<T: Watched>(slim: Slim<T>) -> Result<Object, BadObject> {
    match slim {
        Slim::Good(object) => Ok(object.into_object()),
        Slim::Bad { metadata, error } => Err(BadObject { kind: T::WATCHED, metadata, error }),
    }
}

impl Object {
    /// How many of its texts and lists were cut.
    #[must_use]
    pub const fn cut(&self) -> u32 {
        match self {
            Self::Namespace(o) => o.cut,
            Self::Node(o) => o.cut,
            Self::Deployment(o) => o.cut,
            Self::ReplicaSet(o) => o.cut,
            Self::StatefulSet(o) => o.cut,
            Self::DaemonSet(o) => o.cut,
            Self::CronJob(o) => o.cut,
            Self::Job(o) => o.cut,
            Self::PersistentVolumeClaim(o) => o.cut,
            Self::Pod(o) => o.cut,
            Self::Event(o) => o.cut,
        }
    }

    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(o) => &o.metadata,
            Self::Node(o) => &o.metadata,
            Self::Deployment(o) => &o.metadata,
            Self::ReplicaSet(o) => &o.metadata,
            Self::StatefulSet(o) => &o.metadata,
            Self::DaemonSet(o) => &o.metadata,
            Self::CronJob(o) => &o.metadata,
            Self::Job(o) => &o.metadata,
            Self::PersistentVolumeClaim(o) => &o.metadata,
            Self::Pod(o) => &o.metadata,
            Self::Event(o) => &o.metadata,
        }
    }
}

impl Kind {
    /// The kind objects spell like this.
    #[must_use]
    pub fn parse(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
