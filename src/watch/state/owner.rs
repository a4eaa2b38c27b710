//! From a pod to the top owner a person would name, without asking the API server.

use std::sync::Arc;

use super::{ClusterState, NamespacedName, named};
use crate::signal::Workload;
use crate::signal::facts::{Identity, Owner};

/// What is appended to the name of a ReplicaSet, a DaemonSet or a Job to name a pod: so many of these
/// (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/rand/rand.go>).
const RANDOM: usize = 5;
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The label a Deployment's ReplicaSets and pods carry.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The same of Argo Rollouts.
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";
/// The label of StatefulSet and DaemonSet pods.
const REVISION_HASH: &str = "controller-revision-hash";

impl ClusterState {
    /// The top owner of a pod.
    pub(in crate::watch) fn workload_of(&mut self, id: &Identity, node: Option<&str>) -> Workload {
        let workload = self.top_owner(id, node);
        Workload::from(self.interner.text(&workload))
    }

    fn top_owner(&self, id: &Identity, node: Option<&str>) -> Workload {
        let Some(owner) = &id.owner else { return Workload::of(&id.object) };
        let owner_key = named(id, Arc::clone(&owner.name));
        match &*owner.kind {
            // The mirror of a static pod: the kubelet appends the node's name.
            "Node" => {
                let name = &*id.object.name;
                let base = node.and_then(|n| name.strip_suffix(n)).and_then(|n| n.strip_suffix('-'));
                Workload::new("Pod", base.unwrap_or(name))
            }
            "ReplicaSet" => self.replica_set_owner(id, owner, &owner_key),
            "Job" => match self.objects.jobs.get(&owner_key) {
                Some(job) => match &job.id.owner {
                    Some(cron) => Workload::new(&cron.kind, &cron.name),
                    None => Workload::new("Job", &owner.name),
                },
                None => scheduled_name(&owner.name)
                    .map_or_else(|| Workload::new("Job", &owner.name), |cron| Workload::new("CronJob", cron)),
            },
            kind => Workload::new(kind, &owner.name),
        }
    }

    fn replica_set_owner(&self, id: &Identity, owner: &Owner, key: &NamespacedName) -> Workload {
        if let Some(set) = self.objects.replica_sets.get(key) {
            return match set {
                Some(top) => Workload::new(&top.kind, &top.name),
                None => Workload::new("ReplicaSet", &owner.name),
            };
        }
        let label = |name: &str| id.labels.as_ref().and_then(|labels| labels.get(name));
        for (hash, kind) in [(ROLLOUT_HASH, "Rollout"), (TEMPLATE_HASH, "Deployment")] {
            if let Some(base) = label(hash).and_then(|hash| owner.name.strip_suffix(hash.as_str()))
                && let Some(base) = base.strip_suffix('-')
            {
                return Workload::new(kind, base);
            }
        }
        Workload::new("ReplicaSet", &owner.name)
    }
}

impl ClusterState {
    /// The top owner of a pod that is gone, of which only the name is known: of the one
    /// workload that is still there and names its pods like that, or else the pod itself. Long names
    /// are cut when pods are named after them; then nothing fits, and nothing is guessed.
    pub(super) fn former_workload(&mut self, id: &Identity) -> Workload {
        let found = self.named_after(id).unwrap_or_else(|| Workload::of(&id.object));
        Workload::from(self.interner.text(&found))
    }

    fn named_after(&self, id: &Identity) -> Option<Workload> {
        let (base, suffix) = id.object.name.rsplit_once('-')?;
        id.object.namespace.as_ref()?;
        let key = named(id, base);
        let ordinal = !suffix.is_empty() && suffix.bytes().all(|b| b.is_ascii_digit());
        if ordinal && self.objects.stateful_sets.contains_key(&key) {
            return Some(Workload::new("StatefulSet", base));
        }
        if suffix.len() != RANDOM || !suffix.bytes().all(|b| ALPHABET.contains(&b)) {
            return None;
        }
        let set = self.objects.replica_sets.get(&key).map(|set| match set {
            Some(top) => Workload::new(&top.kind, &top.name),
            None => Workload::new("ReplicaSet", base),
        });
        let daemons = self.objects.daemon_sets.contains_key(&key).then(|| Workload::new("DaemonSet", base));
        let job = self.objects.jobs.get(&key).map(|job| match &job.id.owner {
            Some(cron) => Workload::new(&cron.kind, &cron.name),
            None => Workload::new("Job", base),
        });
        let mut all = [set, daemons, job].into_iter().flatten();
        // Two of one name: it could be either's.
        all.next().filter(|_| all.next().is_none())
    }
}

/// Which revision of its workload a pod belongs to.
pub(super) fn revision(id: &Identity) -> Option<Arc<str>> {
    let labels = id.labels.as_ref()?;
    [ROLLOUT_HASH, TEMPLATE_HASH, REVISION_HASH]
        .iter()
        .find_map(|name| labels.get(*name))
        .map(|hash| Arc::from(hash.as_str()))
}

/// `report-29920806` → `report`: the CronJob controller appends the scheduled time in minutes
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/cronjob/utils.go>). Only
/// used while the Job itself is unknown.
fn scheduled_name(job: &str) -> Option<&str> {
    let (base, minutes) = job.rsplit_once('-')?;
    (minutes.len() == 8 && minutes.bytes().all(|b| b.is_ascii_digit()) && base.len() <= 52).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::scheduled_name;

    #[test]
    fn only_scheduled_jobs_are_taken_for_a_cron_jobs() {
        assert_eq!(scheduled_name("report-29920806"), Some("report"));
        assert_eq!(scheduled_name("report-2992080"), None);
        assert_eq!(scheduled_name("report"), None);
    }
}
