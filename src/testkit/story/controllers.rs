//! Deployments, StatefulSets and DaemonSets: what their controllers write, and rollouts.

use serde_json::{Value, json};

use super::Story;
use super::cluster::{Fate, Key, key};
use super::objects::{Meta, Owner, Pod, Template};

/// So many ReplicaSets of a Deployment are kept (`revisionHistoryLimit`, and the current one).
const HISTORY: usize = 11;

/// A Deployment, StatefulSet or DaemonSet.
#[derive(Debug, Clone)]
pub struct Workload {
    pub kind: &'static str,
    pub meta: Meta,
    pub replicas: usize,
    pub template: Template,
    /// `maxSurge`: so many pods more than wanted during a rollout.
    pub surge: usize,
    /// Where its pods may run; empty: anywhere.
    pub nodes: &'static [&'static str],
    /// ReplicaSets of a Deployment, oldest first. Others have one, which is no object.
    pub sets: Vec<Set>,
    /// Counts rollouts: one that is overtaken gives up.
    pub rollout: u32,
    /// Is there no rollout under way?
    pub settled: bool,
    /// The last status written.
    pub status: Value,
}

#[derive(Debug, Clone)]
pub struct Set {
    pub meta: Meta,
    pub hash: String,
    pub template: Template,
    pub wanted: usize,
    pub revision: u32,
    pub status: Value,
}

/// How the pods of a set are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    all: usize,
    ready: usize,
}

impl Workload {
    pub fn key(&self) -> Key {
        key(&self.meta.namespace, &self.meta.name)
    }
}

impl Story {
    /// Which workload a pod belongs to.
    pub(super) fn workload_of(&self, pod: &Pod) -> Option<Key> {
        let owner = pod.meta.owner.as_ref()?;
        let namespace = &pod.meta.namespace;
        let direct = key(namespace, &owner.name);
        if owner.kind != "ReplicaSet" {
            return self.workloads.contains_key(&direct).then_some(direct);
        }
        let (name, _) = owner.name.rsplit_once('-')?;
        Some(key(namespace, name))
    }

    /// A new workload without pods.
    pub(super) fn make_workload(
        &mut self,
        kind: &'static str,
        namespace: &str,
        name: &str,
        template: Template,
        nodes: &'static [&'static str],
    ) -> Key {
        let mut meta = self.meta(namespace, name.to_owned(), None);
        meta.labels = vec![("app", name.to_owned())];
        let hash = self.letters(10);
        let mut workload = Workload {
            kind,
            meta,
            replicas: 0,
            template,
            surge: 1,
            nodes,
            sets: Vec::new(),
            rollout: 0,
            settled: false,
            status: Value::Null,
        };
        let set = self.make_set(&workload, hash);
        workload.sets.push(set);
        let made = workload.key();
        self.workloads.insert(made.clone(), workload);
        made
    }

    fn make_set(&mut self, workload: &Workload, hash: String) -> Set {
        let of = &workload.meta;
        let owner = Owner { kind: workload.kind, name: of.name.clone(), uid: of.uid.clone() };
        let name = format!("{}-{hash}", workload.meta.name);
        let mut meta = self.meta(&workload.meta.namespace, name, Some(owner));
        meta.labels = vec![("app", workload.meta.name.clone()), ("pod-template-hash", hash.clone())];
        let revision = u32::try_from(workload.sets.len()).unwrap_or(0) + 1;
        Set { meta, hash, template: workload.template.clone(), wanted: 0, revision, status: Value::Null }
    }

    /// Writes workload and ReplicaSets where their status is not what the pods show any more.
    pub(super) fn sync_workload(&mut self, workload_key: &Key) {
        let Some(mut workload) = self.workloads.remove(workload_key) else { return };
        let mut total = Tally::default();
        let mut newest = Tally::default();
        for set in &mut workload.sets {
            let tally = self.tally(&workload.meta, &set.hash);
            total.all += tally.all;
            total.ready += tally.ready;
            newest = tally;
            if workload.kind == "Deployment" {
                let status = json!({ "replicas": tally.all, "fullyLabeledReplicas": tally.all,
                    "readyReplicas": tally.ready, "availableReplicas": tally.ready,
                    "observedGeneration": set.meta.generation });
                if set.status != status {
                    set.status = status;
                    self.apply(set_json(set));
                }
            }
        }
        let status = match workload.kind {
            "Deployment" => self.deployment_status(&workload, total, newest),
            "StatefulSet" => json!({ "observedGeneration": workload.meta.generation, "replicas": total.all,
                "readyReplicas": total.ready, "availableReplicas": total.ready, "currentReplicas": total.all,
                "updatedReplicas": total.all }),
            _ => {
                json!({ "observedGeneration": workload.meta.generation, "desiredNumberScheduled": workload.replicas,
                "currentNumberScheduled": total.all, "updatedNumberScheduled": total.all,
                "numberReady": total.ready, "numberAvailable": total.ready,
                "numberUnavailable": workload.replicas.saturating_sub(total.ready), "numberMisscheduled": 0 })
            }
        };
        if workload.status != status {
            workload.status = status;
            self.apply(workload_json(&workload));
        }
        self.workloads.insert(workload_key.clone(), workload);
    }

    fn deployment_status(&self, workload: &Workload, total: Tally, newest: Tally) -> Value {
        let wanted = workload.replicas;
        let available = total.ready >= wanted.saturating_sub(wanted / 4);
        let before = |kind: &str, status: &str| {
            let conditions = workload.status.get("conditions")?.as_array()?;
            let same = conditions.iter().find(|c| {
                c.get("type").is_some_and(|t| t == kind) && c.get("status").is_some_and(|s| s == status)
            })?;
            same.get("lastTransitionTime")?.as_str().map(ToOwned::to_owned)
        };
        let since = |kind: &str, status: &str| before(kind, status).unwrap_or_else(|| self.time());
        let (status, reason, message) = if available {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        let done = workload.settled && newest.ready >= wanted;
        let set = workload.sets.last().map(|s| s.meta.name.as_str()).unwrap_or_default();
        let (progress, said) = if done || (workload.settled && workload.status != Value::Null) {
            ("NewReplicaSetAvailable", format!("ReplicaSet \"{set}\" has successfully progressed."))
        } else {
            ("ReplicaSetUpdated", format!("ReplicaSet \"{set}\" is progressing."))
        };
        json!({ "observedGeneration": workload.meta.generation, "replicas": total.all, "updatedReplicas": newest.all,
            "readyReplicas": total.ready, "availableReplicas": total.ready,
            "unavailableReplicas": wanted.saturating_sub(total.ready),
            "conditions": [
                { "type": "Available", "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": since("Available", status), "lastUpdateTime": since("Available", status) },
                { "type": "Progressing", "status": "True", "reason": progress, "message": said,
                    "lastTransitionTime": since("Progressing", "True"), "lastUpdateTime": since("Progressing", "True") }] })
    }

    fn tally(&self, of: &Meta, hash: &str) -> Tally {
        let mut tally = Tally::default();
        let prefix = format!("{}-", of.name);
        for pod in self.pods_of(&of.namespace, &prefix) {
            let own = pod.meta.labels.iter().any(|(k, v)| *k == "app" && *v == of.name)
                && pod.meta.labels.iter().all(|(k, v)| *k != "pod-template-hash" || v == hash);
            if own && pod.alive() {
                tally.all += 1;
                tally.ready += usize::from(pod.available());
            }
        }
        tally
    }

    fn pods_of<'a>(&'a self, namespace: &str, prefix: &'a str) -> impl Iterator<Item = &'a Pod> {
        let from = key(namespace, prefix);
        let namespace = namespace.to_owned();
        self.pods
            .range(from..)
            .take_while(move |((ns, name), _)| *ns == namespace && name.starts_with(prefix))
            .map(|(_, pod)| pod)
    }

    /// The living pods of one revision, oldest first.
    pub(super) fn pods_of_set(&self, workload: &Key, hash: &str) -> Vec<Key> {
        let prefix = format!("{}-{hash}-", workload.1);
        let mut pods: Vec<&Pod> = self.pods_of(&workload.0, &prefix).filter(|p| p.alive()).collect();
        pods.sort_by(|a, b| a.meta.created.cmp(&b.meta.created));
        pods.iter().map(|p| key(&p.meta.namespace, &p.meta.name)).collect()
    }

    /// One more pod of the newest revision.
    pub(super) fn add_pod(&mut self, workload_key: &Key, fate: Fate) {
        let Some(mut workload) = self.workloads.get(workload_key).cloned() else { return };
        let Some(set) = workload.sets.last_mut() else { return };
        let (owner_kind, owner_meta) = match workload.kind {
            "Deployment" => ("ReplicaSet", set.meta.clone()),
            kind => (kind, workload.meta.clone()),
        };
        let existing = self.tally(&workload.meta, &set.hash).all;
        let name = match workload.kind {
            "Deployment" => format!("{}-{}", set.meta.name, self.letters(5)),
            "StatefulSet" => format!("{}-{existing}", workload.meta.name),
            _ => format!("{}-{}", workload.meta.name, self.letters(5)),
        };
        let owner = Owner { kind: owner_kind, name: owner_meta.name.clone(), uid: owner_meta.uid.clone() };
        let mut meta = self.meta(&workload_key.0, name.clone(), Some(owner));
        let revision_label =
            if workload.kind == "Deployment" { "pod-template-hash" } else { "controller-revision-hash" };
        meta.labels = vec![("app", workload.meta.name.clone()), (revision_label, set.hash.clone())];
        workload.template = set.template.clone();
        if workload.kind == "DaemonSet" {
            workload.nodes = Self::daemon_node(existing);
        }
        self.create_pod(meta, &workload, fate);
        let component = match workload.kind {
            "Deployment" => "replicaset-controller",
            "StatefulSet" => "statefulset-controller",
            _ => "daemonset-controller",
        };
        let text = format!("Created pod: {name}");
        self.controller_event(owner_kind, &owner_meta, component, "SuccessfulCreate", text);
        self.sync_workload(workload_key);
    }

    /// `kubectl scale`, or an autoscaler.
    pub(super) fn scale(&mut self, workload_key: &Key, replicas: usize) {
        let Some(workload) = self.workloads.get_mut(workload_key) else { return };
        let from = std::mem::replace(&mut workload.replicas, replicas);
        workload.meta.generation += 1;
        let meta = workload.meta.clone();
        let Some(set) = workload.sets.last_mut() else { return };
        set.wanted = replicas;
        set.meta.generation += 1;
        let (name, hash) = (set.meta.name.clone(), set.hash.clone());
        let how = if replicas > from { "up" } else { "down" };
        let text = format!("Scaled {how} replica set {name} from {from} to {replicas}");
        self.controller_event("Deployment", &meta, "deployment-controller", "ScalingReplicaSet", text);
        for _ in from..replicas {
            self.add_pod(workload_key, Fate::Runs(6));
        }
        let pods = self.pods_of_set(workload_key, &hash);
        for pod in pods.iter().rev().take(from.saturating_sub(replicas)) {
            self.delete_pod(pod);
        }
        self.sync_workload(workload_key);
    }

    /// Another image: a new ReplicaSet, or the old one that had it, pod by pod. It hangs where the
    /// new pods do not become ready, until the next rollout.
    pub(super) fn roll_out(&mut self, workload_key: &Key, image: &str, fate: Fate) {
        let Some(mut workload) = self.workloads.get(workload_key).cloned() else { return };
        image.clone_into(&mut workload.template.image);
        workload.meta.generation += 1;
        workload.rollout += 1;
        workload.settled = false;
        let set = if let Some(place) = workload.sets.iter().position(|s| s.template.image == image) {
            workload.sets.remove(place)
        } else {
            let hash = self.letters(10);
            self.make_set(&workload, hash)
        };
        workload.sets.push(set);
        let rollout = workload.rollout;
        if workload.sets.len() > HISTORY {
            let oldest = workload.sets.remove(0);
            self.remove("ReplicaSet", &oldest.meta.namespace, &oldest.meta.name);
        }
        self.workloads.insert(workload_key.clone(), workload);
        self.sync_workload(workload_key);
        let workload_key = workload_key.clone();
        self.after(0.1, move |s| s.roll_on(&workload_key, rollout, fate));
    }

    /// At most `maxSurge` pods more than wanted, never fewer ready ones: what `maxUnavailable` of
    /// 25 % means for small Deployments.
    fn roll_on(&mut self, workload_key: &Key, rollout: u32, fate: Fate) {
        let Some(workload) = self.workloads.get(workload_key) else { return };
        if workload.rollout != rollout {
            return;
        }
        let (wanted, surge) = (workload.replicas, workload.surge);
        let Some((newest, older)) = workload.sets.split_last() else { return };
        let new = self.pods_of_set(workload_key, &newest.hash);
        let old: Vec<Key> = older.iter().flat_map(|s| self.pods_of_set(workload_key, &s.hash)).collect();
        let available = |p: &&Key| self.pods.get(*p).is_some_and(Pod::available);
        let ready = new.iter().chain(&old).filter(available).count();
        let idle = old.iter().find(|p| !available(p)).cloned();
        if new.len() < wanted && new.len() + old.len() < wanted + surge {
            let more = (wanted - new.len()).min(wanted + surge - new.len() - old.len());
            self.resize(workload_key, new.len() + more, true);
            for _ in 0..more {
                self.add_pod(workload_key, fate);
            }
        } else if let Some(pod) = idle.or_else(|| old.first().filter(|_| ready > wanted).cloned()) {
            self.resize(workload_key, old.len() - 1, false);
            self.delete_pod(&pod);
        } else if old.is_empty() && new.len() == wanted && ready >= wanted {
            if let Some(workload) = self.workloads.get_mut(workload_key) {
                workload.settled = true;
            }
            self.sync_workload(workload_key);
            return;
        }
        let workload_key = workload_key.clone();
        self.after(0.5, move |s| s.roll_on(&workload_key, rollout, fate));
    }

    /// What the Deployment controller writes when it changes the size of a ReplicaSet.
    fn resize(&mut self, workload_key: &Key, size: usize, newest: bool) {
        let Some(workload) = self.workloads.get_mut(workload_key) else { return };
        let meta = workload.meta.clone();
        let set = if newest {
            workload.sets.last_mut()
        } else {
            let older = workload.sets.split_last_mut().map(|(_, older)| older).unwrap_or_default();
            older.iter_mut().rev().find(|s| s.wanted > 0)
        };
        let Some(set) = set else { return };
        let from = std::mem::replace(&mut set.wanted, size);
        if from == size {
            return;
        }
        set.meta.generation += 1;
        let how = if size > from { "up" } else { "down" };
        let text = format!("Scaled {how} replica set {} from {from} to {size}", set.meta.name);
        let object = set_json(set);
        self.apply(object);
        self.controller_event("Deployment", &meta, "deployment-controller", "ScalingReplicaSet", text);
    }
}

fn set_json(set: &Set) -> Value {
    let mut metadata = set.meta.json();
    if let Some(map) = metadata.as_object_mut() {
        let revision = set.revision.to_string();
        map.insert("annotations".into(), json!({ "deployment.kubernetes.io/revision": revision }));
    }
    json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata,
        "spec": { "replicas": set.wanted, "selector": { "matchLabels": { "pod-template-hash": set.hash } },
            "template": { "spec": set.template.spec(None) } },
        "status": set.status })
}

fn workload_json(workload: &Workload) -> Value {
    let mut spec = json!({ "selector": { "matchLabels": { "app": workload.meta.name } },
        "template": { "metadata": { "labels": { "app": workload.meta.name } }, "spec": workload.template.spec(None) } });
    if let Some(map) = spec.as_object_mut() {
        if workload.kind != "DaemonSet" {
            map.insert("replicas".into(), workload.replicas.into());
        }
        if workload.kind == "Deployment" {
            map.insert("progressDeadlineSeconds".into(), 600.into());
            map.insert(
                "strategy".into(),
                json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": workload.surge } }),
            );
        }
    }
    json!({ "apiVersion": "apps/v1", "kind": workload.kind, "metadata": workload.meta.json(), "spec": spec,
        "status": workload.status })
}
