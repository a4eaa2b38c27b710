use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::WatchedKind;
use crate::signal::facts::Identity;
use crate::signal::{ObjectRef, Signal};
use crate::watch::decode::fields::{FIELD_PATH, KIND, LABEL, Message, NAME, REASON, Text, WORD};
use crate::watch::decode::{part, slim};
use crate::watch::scope::{self, Scope};
use crate::watch::state::ClusterState;

slim! { Event, "events", "", false {
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
} }

part! {
    Involved {
        kind: Text<KIND>, namespace: Option<Text<LABEL>>, name: Text<NAME>, uid: Option<Text<NAME>>,
        field_path: Option<Text<FIELD_PATH>>,
    }
    Series { count: i64, last_observed_time: Option<Time> }
    EventSource { component: Text<REASON>, host: Option<Text<NAME>> }
}

impl WatchedKind for Event {
    type Key = Arc<str>;
    /// The count last seen.
    type Facts = u64;
    /// Events expire after an hour, in bursts: no sign of anything.
    const SWEPT: bool = false;

    fn key(object: &ObjectRef) -> Arc<str> {
        Arc::clone(&object.uid)
    }

    fn identity(_: &u64) -> Option<&Identity> {
        None
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, listed: bool, out: &mut Vec<Signal>) {
        state.event(now, self, listed, out);
    }

    fn namespace(&self) -> Option<&str> {
        match scope::of(self) {
            Ok(Scope::Cluster) => None,
            Ok(Scope::Namespace(_)) | Err(_) => self.metadata.namespace.as_deref(),
        }
    }
}

impl Event {
    /// When it last happened; the order of fields is kubectl's
    /// (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubectl/pkg/cmd/events/events.go>).
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
    pub fn first_seen(&self) -> Option<Timestamp> {
        let time = |t: &Option<Time>| t.as_ref().map(|t| t.0);
        time(&self.first_timestamp)
            .or_else(|| time(&self.event_time))
            .or_else(|| time(&self.metadata.creation_timestamp))
    }

    /// How often it happened in all.
    pub fn total(&self) -> u64 {
        let count = self.series.as_ref().map(|s| s.count).or(self.count).unwrap_or(1);
        u64::try_from(count).unwrap_or(1).max(1)
    }

    pub fn reporter(&self) -> &str {
        if self.source.component.is_empty() { &self.reporting_component } else { &self.source.component }
    }
}
