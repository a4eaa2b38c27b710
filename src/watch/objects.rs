//! Slim types: of each kind just the fields that signals need.
//!
//! Every field is optional and enums are strings, because one undecodable item would otherwise
//! spoil a whole list. What still does not decode becomes [`Slim::Bad`], with its metadata where
//! that can be read, so that one bad object never stops a watch.

mod metadata;

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::DynamicResourceScope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::bounded::{
    self, CONDITIONS, CONTAINERS, FIELD_PATH, FINALIZERS, IMAGE, KEY, KIND, LABEL, List, Message, NAME,
    REASON, Text, WORD,
};
use crate::signal::text;

/// The annotation of a static pod's mirror: the hash that the kubelet's Events name it by.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// The longest text kept of what is wrong with an object, in bytes: it repeats what it found.
const MAX_ERROR: usize = 300;

/// What a slim type is called at the API server.
pub trait Kinded {
    const KIND: &'static str;
    const PLURAL: &'static str;
    /// `apps`, or empty for core
    const GROUP: &'static str;
    /// Ask for metadata only (`PartialObjectMetadata`).
    const METADATA_ONLY: bool = false;
    fn meta(&self) -> &ObjectMeta;
    /// The same, to change.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Notes how many of its texts and lists were cut.
    fn set_cut(&mut self, cut: u32);
}

/// An object that decoded, or what is known of one that did not.
#[derive(Debug, Clone)]
pub enum Slim<T> {
    Good(T),
    /// It did not decode into the slim type.
    Bad {
        /// Its metadata as far as it could be read.
        metadata: Box<ObjectMeta>,
        /// What was wrong with it.
        error: String,
    },
}

impl<'de, T: Kinded + DeserializeOwned> Deserialize<'de> for Slim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        Ok(Self::parse(raw.get()))
    }
}

impl<T: Kinded + DeserializeOwned> Slim<T> {
    /// Decodes one JSON document that is known to be well-formed.
    #[must_use]
    pub fn parse(json: &str) -> Self {
        match bounded::counted(|| serde_json::from_str::<T>(json)) {
            (Ok(mut object), cut) => {
                object.set_cut(cut);
                Self::Good(object)
            }
            (Err(error), _) => {
                let error = text::cut(&text::clean(&error.to_string()), MAX_ERROR).into_owned();
                Self::Bad { metadata: Box::new(bare_metadata(json)), error }
            }
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

impl<T: Kinded> Resource for Slim<T> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::KIND.into()
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
        match self {
            Self::Good(object) => object.meta(),
            Self::Bad { metadata, .. } => metadata,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Bad { metadata, .. } => metadata,
            Self::Good(object) => object.meta_mut(),
        }
    }
}

macro_rules! slim {
    ($($(#[$doc:meta])* $kind:ident, $plural:literal, $group:literal, $meta_only:literal
        { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $kind {
            /// Metadata without `managedFields`, foreign owners and long annotations.
            #[serde(deserialize_with = "metadata::slim")]
            pub metadata: ObjectMeta,
            /// How many of its texts and lists were cut.
            #[serde(skip)]
            pub cut: u32,
            $($(#[$fdoc])* #[serde(deserialize_with = "nullable")] pub $field: $ty,)*
        }
        impl Kinded for $kind {
            const KIND: &'static str = stringify!($kind);
            const PLURAL: &'static str = $plural;
            const GROUP: &'static str = $group;
            const METADATA_ONLY: bool = $meta_only;
            fn meta(&self) -> &ObjectMeta { &self.metadata }
            fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
            fn set_cut(&mut self, cut: u32) { self.cut = cut; }
        }
    )+};
}

slim! {
    Pod, "pods", "", false {
        spec: PodSpec,
        status: PodStatus,
    }
    Node, "nodes", "", false {
        spec: NodeSpec,
        status: NodeStatus,
    }
    Namespace, "namespaces", "", false {
        spec: NamespaceSpec,
        status: NamespaceStatus,
    }
    Deployment, "deployments", "apps", false {
        spec: WorkloadSpec,
        status: WorkloadStatus,
    }
    ReplicaSet, "replicasets", "apps", true {}
    StatefulSet, "statefulsets", "apps", false {
        spec: WorkloadSpec,
        status: WorkloadStatus,
    }
    DaemonSet, "daemonsets", "apps", false {
        spec: WorkloadSpec,
        status: WorkloadStatus,
    }
    Job, "jobs", "batch", false {
        spec: JobSpec,
        status: JobStatus,
    }
    CronJob, "cronjobs", "batch", false {
        spec: CronJobSpec,
        status: CronJobStatus,
    }
    PersistentVolumeClaim, "persistentvolumeclaims", "", false {
        spec: ClaimSpec,
        status: ClaimStatus,
    }
    Event, "events", "", false {
        /// What it is about.
        involved_object: Involved,
        reason: Text<REASON>,
        message: Message,
        /// `Normal` or `Warning`; any string is possible.
        r#type: Text<WORD>,
        /// How often, legacy recorder.
        count: Option<i64>,
        /// How often, new recorder.
        series: Option<Series>,
        /// First occurrence, legacy recorder.
        first_timestamp: Option<Time>,
        /// Last occurrence, legacy recorder.
        last_timestamp: Option<Time>,
        /// First occurrence, new recorder.
        event_time: Option<Time>,
        source: EventSource,
        reporting_component: Text<REASON>,
    }
}

macro_rules! part {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name { $($(#[$fmeta])* #[serde(deserialize_with = "nullable")] pub $field: $ty,)* }
    )+};
}

part! {
    NamespaceSpec { finalizers: List<Text<KEY>, FINALIZERS> }
    NamespaceStatus { conditions: List<Condition, CONDITIONS> }
    PodSpec {
        node_name: Option<Text<NAME>>, restart_policy: Option<Text<WORD>>,
        containers: List<Container, CONTAINERS>, init_containers: List<Container, CONTAINERS>,
        active_deadline_seconds: Option<i64>,
    }
    Container {
        name: Text<NAME>, image: Option<Text<IMAGE>>, restart_policy: Option<Text<WORD>>, resources: Resources,
    }
    Resources { limits: Limits }
    /// The limits that messages name.
    Limits { memory: Option<Text<WORD>> }
    PodStatus {
        phase: Option<Text<WORD>>, reason: Option<Text<REASON>>, message: Option<Message>,
        nominated_node_name: Option<Text<NAME>>, start_time: Option<Time>,
        conditions: List<Condition, CONDITIONS>,
        container_statuses: List<ContainerStatus, CONTAINERS>,
        init_container_statuses: List<ContainerStatus, CONTAINERS>,
    }
    /// A condition of any kind.
    Condition {
        r#type: Text<KEY>, status: Text<WORD>, reason: Option<Text<REASON>>, message: Option<Message>,
        last_transition_time: Option<Time>,
    }
    ContainerStatus {
        name: Text<NAME>, image: Text<IMAGE>, ready: bool, restart_count: i64, state: ContainerState,
        last_state: ContainerState, started: Option<bool>,
    }
    ContainerState {
        waiting: Option<Waiting>, running: Option<Running>, terminated: Option<Terminated>,
    }
    Waiting { reason: Option<Text<REASON>>, message: Option<Message> }
    Running { started_at: Option<Time> }
    Terminated {
        exit_code: i32, reason: Option<Text<REASON>>, message: Option<Message>, started_at: Option<Time>,
        finished_at: Option<Time>,
    }
    NodeSpec { unschedulable: bool, taints: List<Taint, CONDITIONS> }
    Taint { key: Text<KEY>, effect: Option<Text<WORD>> }
    NodeStatus { conditions: List<Condition, CONDITIONS>, node_info: NodeInfo }
    NodeInfo { #[serde(rename = "bootID")] boot_id: Option<Text<REASON>> }
    /// The spec fields that Deployments, StatefulSets and DaemonSets share.
    WorkloadSpec { replicas: Option<i64>, paused: bool }
    /// The status fields of Deployments, StatefulSets and DaemonSets.
    WorkloadStatus {
        observed_generation: i64, replicas: i64, updated_replicas: i64, ready_replicas: i64,
        available_replicas: Option<i64>, unavailable_replicas: i64,
        conditions: List<Condition, CONDITIONS>,
        desired_number_scheduled: i64, updated_number_scheduled: i64, number_ready: i64,
        number_available: i64, number_unavailable: i64, current_revision: Option<Text<NAME>>,
        update_revision: Option<Text<NAME>>,
    }
    JobSpec { backoff_limit: Option<i64>, suspend: bool, active_deadline_seconds: Option<i64> }
    JobStatus {
        conditions: List<Condition, CONDITIONS>, failed: i64, succeeded: i64, active: i64, start_time: Option<Time>,
        completion_time: Option<Time>, failed_indexes: Option<Text<NAME>>,
    }
    CronJobSpec { suspend: bool }
    CronJobStatus { last_successful_time: Option<Time>, last_schedule_time: Option<Time> }
    ClaimSpec { storage_class_name: Option<Text<NAME>> }
    ClaimStatus { phase: Option<Text<WORD>> }
    Involved {
        kind: Text<KIND>, namespace: Option<Text<LABEL>>, name: Text<NAME>, uid: Option<Text<NAME>>,
        field_path: Option<Text<FIELD_PATH>>,
    }
    Series { count: i64, last_observed_time: Option<Time> }
    EventSource { component: Text<REASON>, host: Option<Text<NAME>> }
}

/// `null` where the API says "absent" is as good as absent.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

impl Event {
    /// When it last happened; the order of fields is kubectl's
    /// (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubectl/pkg/cmd/events/events.go>).
    #[must_use]
    pub fn last_seen(&self) -> Option<Timestamp> {
        let time = |t: &Option<Time>| t.as_ref().map(|t| t.0);
        self.series
            .as_ref()
            .and_then(|s| time(&s.last_observed_time))
            .or_else(|| time(&self.last_timestamp))
            .or_else(|| time(&self.event_time))
            .or_else(|| time(&self.first_timestamp))
            .or_else(|| time(&self.metadata.creation_timestamp))
    }

    /// When it first happened.
    #[must_use]
    pub fn first_seen(&self) -> Option<Timestamp> {
        let time = |t: &Option<Time>| t.as_ref().map(|t| t.0);
        time(&self.first_timestamp)
            .or_else(|| time(&self.event_time))
            .or_else(|| time(&self.metadata.creation_timestamp))
    }

    /// How often it happened in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        let count = self.series.as_ref().map(|s| s.count).or(self.count).unwrap_or(1);
        u64::try_from(count).unwrap_or(1).max(1)
    }

    #[must_use]
    pub fn reporter(&self) -> &str {
        if self.source.component.is_empty() { &self.reporting_component } else { &self.source.component }
    }
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
        let Slim::<Pod>::Good(pod) = Slim::parse(json) else { panic!("decodes") };
        assert_eq!(pod.metadata.annotations.unwrap().len(), 1);
        assert_eq!(pod.metadata.owner_references.unwrap()[0].name, "r");
        assert!(pod.metadata.managed_fields.is_none());
        assert_eq!(pod.status.container_statuses[0].name, "c");
    }

    #[test]
    fn a_bad_object_keeps_its_metadata() {
        let json = r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"7"},"status":{"phase":{"no":1}}}"#;
        let bad = Slim::<Pod>::parse(json);
        assert_eq!(bad.meta().resource_version.as_deref(), Some("7"));
        assert!(matches!(bad, Slim::Bad { error, .. } if error.contains("expected a string")));
    }
}
