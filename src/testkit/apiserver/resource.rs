//! The resources the simulated API server knows.

use std::sync::LazyLock;

use crate::watch::Kind;

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

/// Those that are watched.
pub static RESOURCES: LazyLock<[Resource; Kind::ALL.len()]> = LazyLock::new(|| {
    Kind::ALL.map(|kind| Resource {
        plural: kind.plural(),
        kind: kind.as_str(),
        group: kind.group(),
        namespaced: kind.is_namespaced(),
        cached: kind != Kind::Event,
    })
});

impl Resource {
    /// The resource with this path segment in this group.
    pub fn by_plural(group: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|r| r.group == group && r.plural == plural)
    }

    /// The resource of objects of this kind.
    pub fn by_kind(kind: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|r| r.kind == kind)
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { String::from("v1") } else { format!("{}/v1", self.group) }
    }
}
