//! core/v1 Events, as the old recorder (kubelet, controllers) and the new one (scheduler) write
//! them.

use serde_json::{Value, json};

use super::meta::{Meta, with_meta};

/// An Event under construction.
#[derive(Debug, Clone)]
pub struct Event {
    pub(super) meta: Meta,
    kind: String,
    name: String,
    object_namespace: Option<String>,
    object_uid: Option<String>,
    field_path: Option<String>,
    normal: bool,
    reason: String,
    message: String,
    count: i64,
    first: String,
    last: String,
    reporter: String,
    /// Written by the new recorder.
    new_style: bool,
}

with_meta!(Event);

/// A Warning of the kubelet about `Kind/name`, seen once, now.
pub fn event(about: &str, reason: &str, message: &str) -> Event {
    let (kind, name) = about.split_once('/').unwrap_or(("Pod", about));
    let cluster_scoped = matches!(kind, "Node" | "Namespace");
    let mut meta = Meta::new("Event", &format!("{name}.{}", reason.to_lowercase()));
    if cluster_scoped {
        meta.namespace = Some(String::from("default"));
    }
    Event {
        meta,
        kind: kind.to_owned(),
        name: name.to_owned(),
        object_namespace: (!cluster_scoped).then(|| super::NAMESPACE.to_owned()),
        object_uid: None,
        field_path: None,
        normal: false,
        reason: reason.to_owned(),
        message: message.to_owned(),
        count: 1,
        first: String::from("-0s"),
        last: String::from("-0s"),
        reporter: String::from("kubelet"),
        new_style: false,
    }
    .created("-0s")
}

impl Event {
    pub const fn normal(mut self) -> Self {
        self.normal = true;
        self
    }

    /// The namespace of the Event and of its object.
    pub fn within(mut self, namespace: &str) -> Self {
        self.meta.namespace = Some(namespace.to_owned());
        self.object_namespace = Some(namespace.to_owned());
        self
    }

    /// Written in this namespace, whatever it says it is about.
    pub fn written_in(mut self, namespace: &str) -> Self {
        self.meta.namespace = Some(namespace.to_owned());
        self
    }

    pub fn container(mut self, name: &str) -> Self {
        self.field_path = Some(format!("spec.containers{{{name}}}"));
        self
    }

    /// About an init container.
    pub fn init(mut self, name: &str) -> Self {
        self.field_path = Some(format!("spec.initContainers{{{name}}}"));
        self
    }

    /// The UID of its object as the reporter has it.
    pub fn object_uid(mut self, uid: &str) -> Self {
        self.object_uid = Some(uid.to_owned());
        self
    }

    /// So often, since then.
    pub fn count(mut self, count: i64, first: &str) -> Self {
        self.count = count;
        first.clone_into(&mut self.first);
        self
    }

    pub fn last_seen(mut self, at: &str) -> Self {
        at.clone_into(&mut self.last);
        self
    }

    pub fn from(mut self, reporter: &str) -> Self {
        reporter.clone_into(&mut self.reporter);
        self
    }

    /// By the new recorder, as the scheduler does.
    pub fn new_style(mut self, reporter: &str) -> Self {
        self.new_style = true;
        self.from(reporter)
    }

    pub fn json(&self) -> Value {
        let uid = self.object_uid.clone().unwrap_or_else(|| match self.object_namespace.as_deref() {
            // The kubelet leaves the UID of its node empty.
            None => String::new(),
            Some(ns) => format!("{}-{ns}-{}", self.kind.to_lowercase(), self.name),
        });
        let mut json = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": self.meta.json(),
            "involvedObject": { "kind": self.kind, "namespace": self.object_namespace, "name": self.name,
                "uid": uid, "fieldPath": self.field_path },
            "type": if self.normal { "Normal" } else { "Warning" },
            "reason": self.reason, "message": self.message,
        });
        let rest = if self.new_style {
            let series =
                (self.count > 1).then(|| json!({ "count": self.count, "lastObservedTime": self.last }));
            json!({ "eventTime": self.first, "firstTimestamp": null, "lastTimestamp": null, "source": {},
                "reportingComponent": self.reporter, "reportingInstance": "x", "action": "Scheduling",
                "series": series })
        } else {
            json!({ "eventTime": null, "firstTimestamp": self.first, "lastTimestamp": self.last,
                "count": self.count, "source": { "component": self.reporter, "host": "worker-1" },
                "reportingComponent": self.reporter, "reportingInstance": "worker-1" })
        };
        if let (Value::Object(json), Value::Object(rest)) = (&mut json, rest) {
            json.extend(rest);
        }
        json
    }
}
