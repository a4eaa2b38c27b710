use super::WatchedKind;
use super::common::Condition;
use crate::watch::decode::fields::{CONDITIONS, FINALIZERS, KEY, List, Text};
use crate::watch::decode::{part, slim};

slim! { Namespace, "namespaces", "", false {
    spec: NamespaceSpec,
    status: NamespaceStatus,
} }

part! {
    NamespaceSpec { finalizers: List<Text<KEY>, FINALIZERS> }
    NamespaceStatus { conditions: List<Condition, CONDITIONS> }
}

impl WatchedKind for Namespace {
    fn namespace(&self) -> Option<&str> {
        self.metadata.name.as_deref()
    }
}
