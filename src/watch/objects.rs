//! Slim types: of each kind just the fields that signals need.
//!
//! Every field is optional and enums are strings, because one undecodable item would otherwise
//! spoil a whole list. What still does not decode becomes [`Slim::Bad`], with its metadata where
//! that can be read, so that one bad object never stops a watch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::DynamicResourceScope;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Values of annotations longer than this are not kept: nobody matches on them, and
/// `last-applied-configuration` alone would double the size of every object.
const MAX_ANNOTATION: usize = 512;

/// What a slim type is called at the API server.
pub trait Kinded {
    /// `Pod`
    const KIND: &'static str;
    /// `pods`
    const PLURAL: &'static str;
    /// `apps`, or empty for core
    const GROUP: &'static str;
    /// Ask for metadata only (`PartialObjectMetadata`).
    const METADATA_ONLY: bool = false;
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;
    /// The same, to change.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
}

/// An object that decoded, or what is known of one that did not.
#[derive(Debug, Clone)]
pub enum Slim<T> {
    /// The object.
    Good(T),
    /// It did not decode into the slim type.
    Bad {
        /// Its metadata as far as it could be read.
        metadata: Box<ObjectMeta>,
        /// What was wrong with it.
        error: String,
    },
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Slim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        Ok(Self::parse(raw.get()))
    }
}

impl<T: DeserializeOwned> Slim<T> {
    /// Decodes one JSON document that is known to be well-formed.
    #[must_use]
    pub fn parse(json: &str) -> Self {
        match serde_json::from_str::<T>(json) {
            Ok(object) => Self::Good(object),
            Err(error) => Self::Bad { metadata: Box::new(bare_metadata(json)), error: error.to_string() },
        }
    }
}

/// What can be read of the metadata of an object that does not decode, field by field.
fn bare_metadata(json: &str) -> ObjectMeta {
    let object: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let text =
        |name: &str| object.pointer(&format!("/metadata/{name}")).and_then(|v| v.as_str()).map(str::to_owned);
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
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
            #[serde(deserialize_with = "metadata")]
            pub metadata: ObjectMeta,
            $($(#[$fdoc])* #[serde(deserialize_with = "nullable")] pub $field: $ty,)*
        }
        impl Kinded for $kind {
            const KIND: &'static str = stringify!($kind);
            const PLURAL: &'static str = $plural;
            const GROUP: &'static str = $group;
            const METADATA_ONLY: bool = $meta_only;
            fn meta(&self) -> &ObjectMeta { &self.metadata }
            fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
        }
    )+};
}

slim! {
    /// core/v1 Pod
    Pod, "pods", "", false {
        /// `spec`
        spec: PodSpec,
        /// `status`
        status: PodStatus,
    }
    /// core/v1 Node
    Node, "nodes", "", false {
        /// `spec`
        spec: NodeSpec,
        /// `status`
        status: NodeStatus,
    }
    /// core/v1 Namespace
    Namespace, "namespaces", "", false {
        /// `spec`
        spec: NamespaceSpec,
        /// `status`
        status: NamespaceStatus,
    }
    /// apps/v1 Deployment
    Deployment, "deployments", "apps", false {
        /// `spec`
        spec: WorkloadSpec,
        /// `status`
        status: WorkloadStatus,
    }
    /// apps/v1 ReplicaSet
    ReplicaSet, "replicasets", "apps", true {}
    /// apps/v1 StatefulSet
    StatefulSet, "statefulsets", "apps", false {
        /// `spec`
        spec: WorkloadSpec,
        /// `status`
        status: WorkloadStatus,
    }
    /// apps/v1 DaemonSet
    DaemonSet, "daemonsets", "apps", false {
        /// `spec`
        spec: WorkloadSpec,
        /// `status`
        status: WorkloadStatus,
    }
    /// batch/v1 Job
    Job, "jobs", "batch", false {
        /// `spec`
        spec: JobSpec,
        /// `status`
        status: JobStatus,
    }
    /// batch/v1 CronJob
    CronJob, "cronjobs", "batch", false {
        /// `spec`
        spec: CronJobSpec,
        /// `status`
        status: CronJobStatus,
    }
    /// core/v1 PersistentVolumeClaim
    PersistentVolumeClaim, "persistentvolumeclaims", "", false {
        /// `spec`
        spec: ClaimSpec,
        /// `status`
        status: ClaimStatus,
    }
    /// core/v1 Event
    Event, "events", "", false {
        /// What it is about.
        involved_object: Involved,
        /// The raw reason.
        reason: String,
        /// The text.
        message: String,
        /// `Normal` or `Warning`; any string is possible.
        r#type: String,
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
        /// Legacy reporter.
        source: EventSource,
        /// New reporter.
        reporting_component: String,
    }
}

macro_rules! part {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        #[allow(missing_docs, reason = "fields are named as in the Kubernetes API reference")]
        pub struct $name { $($(#[$fmeta])* #[serde(deserialize_with = "nullable")] pub $field: $ty,)* }
    )+};
}

part! {
    /// core/v1 NamespaceSpec
    NamespaceSpec { finalizers: Vec<String> }
    /// core/v1 NamespaceStatus
    NamespaceStatus { conditions: Vec<Condition> }
    /// core/v1 PodSpec
    PodSpec {
        node_name: Option<String>, restart_policy: Option<String>, containers: Vec<Container>,
        init_containers: Vec<Container>, active_deadline_seconds: Option<i64>,
    }
    /// core/v1 Container
    Container { name: String, image: Option<String>, restart_policy: Option<String>, resources: Resources }
    /// core/v1 ResourceRequirements
    Resources { limits: Limits }
    /// The limits that messages name.
    Limits { memory: Option<String> }
    /// core/v1 PodStatus
    PodStatus {
        phase: Option<String>, reason: Option<String>, message: Option<String>,
        nominated_node_name: Option<String>, start_time: Option<Time>, conditions: Vec<Condition>,
        container_statuses: Vec<ContainerStatus>, init_container_statuses: Vec<ContainerStatus>,
    }
    /// A condition of any kind.
    Condition {
        r#type: String, status: String, reason: Option<String>, message: Option<String>,
        last_transition_time: Option<Time>,
    }
    /// core/v1 ContainerStatus
    ContainerStatus {
        name: String, image: String, ready: bool, restart_count: i64, state: ContainerState,
        last_state: ContainerState, started: Option<bool>,
    }
    /// core/v1 ContainerState
    ContainerState {
        waiting: Option<Waiting>, running: Option<Running>, terminated: Option<Terminated>,
    }
    /// core/v1 ContainerStateWaiting
    Waiting { reason: Option<String>, message: Option<String> }
    /// core/v1 ContainerStateRunning
    Running { started_at: Option<Time> }
    /// core/v1 ContainerStateTerminated
    Terminated {
        exit_code: i32, reason: Option<String>, message: Option<String>, started_at: Option<Time>,
        finished_at: Option<Time>,
    }
    /// core/v1 NodeSpec
    NodeSpec { unschedulable: bool, taints: Vec<Taint> }
    /// core/v1 Taint
    Taint { key: String, effect: Option<String> }
    /// core/v1 NodeStatus
    NodeStatus { conditions: Vec<Condition>, node_info: NodeInfo }
    /// core/v1 NodeSystemInfo
    NodeInfo { #[serde(rename = "bootID")] boot_id: Option<String> }
    /// The spec fields that Deployments, StatefulSets and DaemonSets share.
    WorkloadSpec { replicas: Option<i64>, paused: bool }
    /// The status fields of Deployments, StatefulSets and DaemonSets.
    WorkloadStatus {
        observed_generation: i64, replicas: i64, updated_replicas: i64, ready_replicas: i64,
        available_replicas: Option<i64>, unavailable_replicas: i64, conditions: Vec<Condition>,
        desired_number_scheduled: i64, updated_number_scheduled: i64, number_ready: i64,
        number_available: i64, number_unavailable: i64, current_revision: Option<String>,
        update_revision: Option<String>,
    }
    /// batch/v1 JobSpec
    JobSpec { backoff_limit: Option<i64>, suspend: bool, active_deadline_seconds: Option<i64> }
    /// batch/v1 JobStatus
    JobStatus {
        conditions: Vec<Condition>, failed: i64, succeeded: i64, active: i64, start_time: Option<Time>,
        completion_time: Option<Time>, failed_indexes: Option<String>,
    }
    /// batch/v1 CronJobSpec
    CronJobSpec { suspend: bool }
    /// batch/v1 CronJobStatus
    CronJobStatus { last_successful_time: Option<Time>, last_schedule_time: Option<Time> }
    /// core/v1 PersistentVolumeClaimSpec
    ClaimSpec { storage_class_name: Option<String> }
    /// core/v1 PersistentVolumeClaimStatus
    ClaimStatus { phase: Option<String> }
    /// core/v1 ObjectReference
    Involved {
        kind: String, namespace: Option<String>, name: String, uid: Option<String>,
        field_path: Option<String>,
    }
    /// core/v1 EventSeries
    Series { count: i64, last_observed_time: Option<Time> }
    /// core/v1 EventSource
    EventSource { component: String, host: Option<String> }
}

/// `null` where the API says "absent" is as good as absent.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Reads metadata and leaves out what nobody needs before it takes memory.
fn metadata<'de, D: Deserializer<'de>>(d: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct SlimMeta {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        generation: Option<i64>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        deletion_grace_period_seconds: Option<i64>,
        finalizers: Option<Vec<String>>,
        labels: Option<BTreeMap<String, String>>,
        #[serde(deserialize_with = "annotations")]
        annotations: Option<BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let meta = Option::<SlimMeta>::deserialize(d)?.unwrap_or_default();
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp,
        // Nobody asks for finalizers before somebody deletes the object.
        finalizers: meta.finalizers.filter(|_| meta.deletion_timestamp.is_some()),
        deletion_timestamp: meta.deletion_timestamp,
        deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
        labels: meta.labels,
        annotations: meta.annotations,
        owner_references: meta.owner_references.map(|mut owners| {
            owners.retain(|owner| owner.controller == Some(true));
            owners
        }),
        ..ObjectMeta::default()
    })
}

fn annotations<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    struct Short;
    impl<'de> Visitor<'de> for Short {
        type Value = Option<BTreeMap<String, String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of strings")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if key == "kubectl.kubernetes.io/last-applied-configuration" {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                let value = map.next_value::<String>()?;
                if value.len() <= MAX_ANNOTATION {
                    out.insert(key, value);
                }
            }
            Ok(Some(out))
        }
    }
    d.deserialize_any(Short)
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

    /// Who reported it.
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
