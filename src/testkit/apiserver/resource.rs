//! The resources the simulated API server knows.

#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    pub plural: &'static str,
    pub kind: &'static str,
    /// `apps`; empty for core. Every resource here is served as `v1` of its group.
    pub group: &'static str,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// Served from the watch cache. Events are not: their watches go to etcd, with another wording
    /// of "too old" and without periodic bookmarks.
    pub cached: bool,
}

const fn resource(plural: &'static str, kind: &'static str, group: &'static str) -> Resource {
    Resource { plural, kind, group, namespaced: true, cached: true }
}

pub static RESOURCES: [Resource; 11] = [
    Resource { namespaced: false, ..resource("namespaces", "Namespace", "") },
    Resource { namespaced: false, ..resource("nodes", "Node", "") },
    resource("deployments", "Deployment", "apps"),
    resource("replicasets", "ReplicaSet", "apps"),
    resource("statefulsets", "StatefulSet", "apps"),
    resource("daemonsets", "DaemonSet", "apps"),
    resource("cronjobs", "CronJob", "batch"),
    resource("jobs", "Job", "batch"),
    resource("persistentvolumeclaims", "PersistentVolumeClaim", ""),
    resource("pods", "Pod", ""),
    Resource { cached: false, ..resource("events", "Event", "") },
];

impl Resource {
    /// The resource with this path segment in this group.
    #[must_use]
    pub fn by_plural(group: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|r| r.group == group && r.plural == plural)
    }

    /// The resource of objects of this kind.
    #[must_use]
    pub fn by_kind(kind: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|r| r.kind == kind)
    }

    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { String::from("v1") } else { format!("{}/v1", self.group) }
    }
}
