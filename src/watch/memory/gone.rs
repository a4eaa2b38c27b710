//! Objects that are no longer there: deleted, or absent from a complete list.

use std::sync::Arc;

use jiff::Timestamp;

use super::MIRROR;
use super::{Entry, Key, MAX_TOMBSTONES, Memory, Tombstone};
use crate::signal::facts::Identity;
use crate::signal::finding::Finding;
use crate::signal::{Cause, ObjectRef, Phase, Signal, Source};
use crate::watch::{Kind, Object};

impl Memory {
    pub(super) fn deleted(&mut self, now: Timestamp, object: &Object, out: &mut Vec<Signal>) {
        let meta = object.metadata();
        // Expired after an hour, in bursts: no sign of anything.
        if object.kind() == Kind::Event {
            if let Some(uid) = &meta.uid {
                self.counts.remove(uid.as_str());
            }
            return;
        }
        let uid = meta.uid.clone().unwrap_or_default();
        let name: Arc<str> = Arc::from(meta.name.clone().unwrap_or_default());
        let key: Key = (Arc::from(meta.namespace.clone().unwrap_or_default()), Arc::clone(&name));
        match object.kind() {
            Kind::Pod => self.pod_gone(now, &uid, out),
            Kind::Node => {
                if let Some(entry) = self.nodes.remove(&name) {
                    self.told_boot.remove(&name);
                    self.gone(now, &entry.facts.id, out);
                }
            }
            Kind::Namespace => {
                if let Some(entry) = self.namespaces.remove(&name) {
                    self.notice_namespace(&name, Some(&entry.facts), None);
                    self.namespace_gone(now, &entry.facts.id, out);
                }
            }
            Kind::ReplicaSet => {
                self.replica_sets.remove(&key);
            }
            Kind::Job => {
                if let Some(entry) = self.jobs.remove(&key) {
                    self.gone(now, &entry.facts.id, out);
                }
            }
            Kind::CronJob => {
                if let Some(entry) = self.cron_jobs.remove(&key) {
                    self.gone(now, &entry.facts.id, out);
                }
            }
            Kind::PersistentVolumeClaim => {
                if let Some(entry) = self.claims.remove(&key) {
                    self.gone(now, &entry.facts.id, out);
                }
            }
            kind => {
                if let Some(entry) = self.workloads.remove(&(kind, key)) {
                    self.gone(now, &entry.facts.id, out);
                    self.health_changed(now, &entry.facts.id, out);
                }
            }
        }
    }

    /// An object that is there but cannot be read: what was known of it stays.
    pub(super) fn still_there(&mut self, kind: Kind, namespace: &str, name: &str, uid: &str) {
        let list = self.list_of(kind);
        if name.is_empty() {
            self.unreliable.insert(kind);
            return;
        }
        let key: Key = (Arc::from(namespace), Arc::from(name));
        match kind {
            Kind::Pod => {
                if let Some(entry) = self.pods.get_mut(uid) {
                    entry.list = list;
                }
            }
            Kind::Node => touch(&mut self.nodes, &key.1, list),
            Kind::Namespace => touch(&mut self.namespaces, &key.1, list),
            Kind::ReplicaSet => touch(&mut self.replica_sets, &key, list),
            Kind::Job => touch(&mut self.jobs, &key, list),
            Kind::CronJob => touch(&mut self.cron_jobs, &key, list),
            Kind::PersistentVolumeClaim => touch(&mut self.claims, &key, list),
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {
                touch(&mut self.workloads, &(kind, key), list);
            }
            Kind::Event => {}
        }
    }

    pub(super) fn gone(&mut self, now: Timestamp, id: &Identity, out: &mut Vec<Signal>) {
        self.notice(Some(id), None);
        self.notice_gone(id);
        if self.ready() {
            let finding = Finding::new(Cause::Event, Phase::Gone, &Arc::from("Deleted"));
            out.push(self.plain_signal(now, id, finding, Source::Status));
        }
    }

    /// Who is told of a change of its annotations is the caller's matter.
    pub(super) fn namespace_gone(&mut self, now: Timestamp, id: &Identity, out: &mut Vec<Signal>) {
        self.namespace_terminated(&id.object.name);
        if self.ready() {
            let finding = Finding::new(Cause::Event, Phase::Gone, &Arc::from("Deleted"));
            out.push(self.plain_signal(now, id, finding, Source::Status));
        }
    }

    pub(super) fn pod_gone(&mut self, now: Timestamp, uid: &str, out: &mut Vec<Signal>) {
        let Some(entry) = self.pods.remove(uid) else { return };
        self.pod_terminated(now, &entry.facts.id.object);
        self.unindex(&entry.facts.id, &entry.workload);
        self.notice_gone(&entry.facts.id);
        if let Some(mirror) = entry.facts.id.annotations.as_ref().and_then(|a| a.get(MIRROR)) {
            let namespace = entry.facts.id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
            self.mirrors.remove(&(namespace, Arc::from(mirror.as_str())));
        }
        if self.ready() {
            let finding = Finding::new(Cause::Event, Phase::Gone, &Arc::from("Deleted"));
            out.push(self.pod_signal(now, &entry.facts, &entry.workload, finding, Source::Status));
        }
        while self.tomb_order.len() >= MAX_TOMBSTONES {
            if let Some(oldest) = self.tomb_order.pop_front() {
                self.tombstones.remove(&oldest);
            }
        }
        let uid = Arc::clone(&entry.facts.id.object.uid);
        self.tomb_order.push_back(Arc::clone(&uid));
        self.tombstones.insert(uid, Tombstone { facts: entry.facts, workload: entry.workload });
    }

    pub(super) fn unindex(&mut self, id: &Identity, workload: &Arc<str>) {
        let ns = id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
        let key = (ns, Arc::clone(workload));
        if let Some(uids) = self.by_workload.get_mut(&key) {
            uids.retain(|uid| *uid != id.object.uid);
            if uids.is_empty() {
                self.by_workload.remove(&key);
            }
        }
    }

    /// A list is complete: what it did not contain is gone, in the order of names. What is decided about
    /// it depends on the order, and the order of a hash map is another one in each process.
    pub(super) fn sweep(&mut self, now: Timestamp, kind: Kind, out: &mut Vec<Signal>) {
        let list = self.list_of(kind);
        match kind {
            Kind::Pod => {
                let stale = self.pods.values().filter(|entry| entry.list != list);
                let mut stale: Vec<ObjectRef> = stale.map(|entry| entry.facts.id.object.clone()).collect();
                stale.sort();
                for object in stale {
                    self.pod_gone(now, &object.uid, out);
                }
            }
            Kind::Node => {
                let mut stale: Vec<Identity> =
                    self.nodes.values().filter(|e| e.list != list).map(|e| e.facts.id.clone()).collect();
                stale.sort_by(|a, b| a.object.cmp(&b.object));
                for id in stale {
                    self.nodes.remove(&id.object.name);
                    self.gone(now, &id, out);
                }
            }
            Kind::Namespace => {
                let gone = self.namespaces.extract_if(|_, entry| entry.list != list);
                let mut gone: Vec<_> = gone.collect();
                gone.sort_by(|(a, _), (b, _)| a.cmp(b));
                for (name, entry) in gone {
                    self.notice_namespace(&name, Some(&entry.facts), None);
                    self.namespace_gone(now, &entry.facts.id, out);
                }
            }
            Kind::ReplicaSet => self.replica_sets.retain(|_, entry| entry.list == list),
            Kind::Event => {}
            Kind::Job => {
                let stale = stale_keys(&self.jobs, list, |facts| &facts.id);
                self.sweep_keys(now, stale, out, |memory, key| {
                    memory.jobs.remove(key);
                });
            }
            Kind::CronJob => {
                let stale = stale_keys(&self.cron_jobs, list, |facts| &facts.id);
                self.sweep_keys(now, stale, out, |memory, key| {
                    memory.cron_jobs.remove(key);
                });
            }
            Kind::PersistentVolumeClaim => {
                let stale = stale_keys(&self.claims, list, |facts| &facts.id);
                self.sweep_keys(now, stale, out, |memory, key| {
                    memory.claims.remove(key);
                });
            }
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {
                let mut stale: Vec<(Key, Identity)> = self
                    .workloads
                    .iter()
                    .filter(|((k, _), entry)| *k == kind && entry.list != list)
                    .map(|((_, key), entry)| (key.clone(), entry.facts.id.clone()))
                    .collect();
                stale.sort_by(|(a, _), (b, _)| a.cmp(b));
                let ids: Vec<Identity> = stale.iter().map(|(_, id)| id.clone()).collect();
                self.sweep_keys(now, stale, out, |memory, key| {
                    memory.workloads.remove(&(kind, key.clone()));
                });
                for id in ids {
                    self.health_changed(now, &id, out);
                }
            }
        }
    }

    fn sweep_keys(
        &mut self,
        now: Timestamp,
        stale: Vec<(Key, Identity)>,
        out: &mut Vec<Signal>,
        remove: impl Fn(&mut Self, &Key),
    ) {
        for (key, id) in stale {
            remove(self, &key);
            self.gone(now, &id, out);
        }
    }
}

fn stale_keys<T>(
    map: &std::collections::HashMap<Key, Entry<T>>,
    list: u32,
    id: impl Fn(&T) -> &Identity,
) -> Vec<(Key, Identity)> {
    let stale = map.iter().filter(|(_, entry)| entry.list != list);
    let mut stale: Vec<_> = stale.map(|(key, entry)| (key.clone(), id(&entry.facts).clone())).collect();
    stale.sort_by(|(a, _), (b, _)| a.cmp(b));
    stale
}

fn touch<K: std::hash::Hash + Eq, T>(map: &mut std::collections::HashMap<K, Entry<T>>, key: &K, list: u32) {
    if let Some(entry) = map.get_mut(key) {
        entry.list = list;
    }
}
