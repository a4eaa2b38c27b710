//! Where an Event may speak, and about what.
//!
//! Whoever may create Events in a namespace writes what they like into `involvedObject`: since the
//! newer recorder (`eventTime` is set) the API server no longer requires that it names the Event's own
//! namespace
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go>). Only
//! `metadata.namespace` is what the author was allowed to write to, so it alone is believed.

use super::Kind;
use super::kinds::Event;

/// Where the kubelet and the controllers write Events about objects without a namespace
/// (`default`), and where the API server allows them beside that (`kube-system`). Both belong to the
/// administrators of a cluster.
const CLUSTER_NAMESPACES: [&str; 2] = ["default", "kube-system"];

/// Built-in kinds without a namespace that recorders write Events about.
const CLUSTER_KINDS: [&str; 22] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "DeviceClass",
    "FlowSchema",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ResourceSlice",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

/// What an Event speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// An object of this namespace, the Event's own.
    Namespace(&'a str),
    /// An object without a namespace.
    Cluster,
}

/// Why an Event is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forged {
    /// It names an object of a namespace that is not its own.
    OtherNamespace,
    /// It names an object without a namespace, and is not where those Events are written.
    ClusterObject,
    /// It names a pod by the UID of one of another namespace.
    OtherPod,
}

impl Forged {
    pub const ALL: [Self; 3] = [Self::OtherNamespace, Self::ClusterObject, Self::OtherPod];

    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherNamespace => "other_namespace",
            Self::ClusterObject => "cluster_object",
            Self::OtherPod => "other_pod",
        }
    }
}

/// What an Event speaks about, if it may.
pub fn of(event: &Event) -> Result<Scope<'_>, Forged> {
    let own = event.metadata.namespace.as_deref().unwrap_or_default();
    let named = event.involved_object.namespace.as_deref().unwrap_or_default();
    let by_administrators = CLUSTER_NAMESPACES.contains(&own);
    if CLUSTER_KINDS.contains(&&*event.involved_object.kind) {
        return if by_administrators { Ok(Scope::Cluster) } else { Err(Forged::ClusterObject) };
    }
    match named {
        // Of a kind that is not watched: it may have no namespace.
        "" if by_administrators && Kind::parse(&event.involved_object.kind).is_none() => Ok(Scope::Cluster),
        "" => Ok(Scope::Namespace(own)),
        named if named == own => Ok(Scope::Namespace(own)),
        _ => Err(Forged::OtherNamespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WatchConfig;
    use crate::watch::Change;
    use crate::watch::decode::{SlimObject, parse};
    use serde_json::json;

    fn event(own: &str, kind: &str, named: Option<&str>) -> Event {
        let json = json!({"metadata": {"name": "e", "namespace": own},
            "involvedObject": {"kind": kind, "namespace": named, "name": "x"}});
        parse(&json.to_string()).unwrap()
    }

    #[test]
    fn an_event_speaks_about_its_own_namespace_or_from_where_administrators_write() {
        use Scope::{Cluster, Namespace};
        for (own, kind, named, expected) in [
            ("team", "Pod", Some("team"), Ok(Namespace("team"))),
            ("team", "Pod", None, Ok(Namespace("team"))),
            ("team", "Pod", Some("bank"), Err(Forged::OtherNamespace)),
            ("default", "Pod", Some("bank"), Err(Forged::OtherNamespace)),
            ("kube-system", "Deployment", Some("bank"), Err(Forged::OtherNamespace)),
            ("default", "Node", None, Ok(Cluster)),
            ("kube-system", "Node", None, Ok(Cluster)),
            ("team", "Node", None, Err(Forged::ClusterObject)),
            // The namespace does not make a node one of the team's objects.
            ("team", "Node", Some("team"), Err(Forged::ClusterObject)),
            ("default", "Node", Some("default"), Ok(Cluster)),
            ("team", "PersistentVolume", None, Err(Forged::ClusterObject)),
            ("default", "Pod", None, Ok(Namespace("default"))),
            ("default", "NodeClaim", None, Ok(Cluster)),
            ("team", "NodeClaim", None, Ok(Namespace("team"))),
        ] {
            assert_eq!(of(&event(own, kind, named)), expected, "{own} {kind} {named:?}");
        }
    }

    #[test]
    fn an_excluded_namespace_is_excluded_whatever_its_events_name() {
        let filter = WatchConfig { exclude: vec!["team".into()], ..WatchConfig::default() };
        for (own, kind, named, expected) in [
            ("team", "Pod", Some("team"), false),
            ("team", "Pod", Some("bank"), false),
            ("team", "Pod", None, false),
            ("team", "Node", None, false),
            ("bank", "Pod", Some("bank"), true),
            ("default", "Node", None, true),
        ] {
            let change = Change::Applied(event(own, kind, named).into_object());
            assert_eq!(change.wanted(&filter), expected, "{own} {kind} {named:?}");
        }
    }
}
