//! One change at a time: facts before, facts after, signals.

use std::sync::Arc;

use jiff::Timestamp;

use super::MIRROR;
use super::{Entry, Key, Memory, PodEntry, ReplicaSetFacts, key};
use crate::signal::facts::{Identity, JobFacts, NodeFacts, PodFacts, State, WorkloadFacts};
use crate::signal::finding::Finding;
use crate::signal::{Cause, Phase, Signal, Source, job, node, pod, workload};
use crate::watch::{Kind, Object, convert};

impl Memory {
    pub(super) fn object(&mut self, now: Timestamp, object: Object, out: &mut Vec<Signal>) {
        match object {
            Object::Pod(slim) => {
                let facts = convert::pod(*slim, &mut self.interner);
                self.pod(now, facts, out);
            }
            Object::Event(event) => self.event(now, *event, false, out),
            Object::Node(slim) => {
                let facts = convert::node(*slim, &mut self.interner);
                self.node(now, facts, out);
            }
            Object::Namespace(slim) => {
                let list = self.list_of(Kind::Namespace);
                let facts = convert::namespace(*slim, &mut self.interner);
                let name = self.interner.text(&facts.id.object.name);
                let (after, id) = (facts.id.annotations.clone(), facts.id.clone());
                let before = self.namespaces.remove(&name);
                self.notice_namespace(&name, before.as_ref().map(|e| &e.facts), after.as_ref());
                if let Some(old) = before.filter(|old| old.facts.id.object.uid != id.object.uid) {
                    self.namespace_gone(now, &old.facts.id, out);
                }
                self.namespaces.insert(Arc::clone(&name), Entry { facts, list });
                self.namespace_terminates(now, &name, out);
            }
            Object::ReplicaSet(slim) => {
                let list = self.list_of(Kind::ReplicaSet);
                let id = convert::identity("ReplicaSet", slim.metadata, &mut self.interner);
                self.replica_sets
                    .insert(key(&id), Entry { facts: ReplicaSetFacts { owner: id.owner }, list });
            }
            Object::Deployment(slim) => {
                let facts = convert::workload(
                    "Deployment",
                    slim.metadata,
                    &slim.spec,
                    &slim.status,
                    &mut self.interner,
                );
                self.workload(now, Kind::Deployment, facts, out);
            }
            Object::StatefulSet(slim) => {
                let facts = convert::workload(
                    "StatefulSet",
                    slim.metadata,
                    &slim.spec,
                    &slim.status,
                    &mut self.interner,
                );
                self.workload(now, Kind::StatefulSet, facts, out);
            }
            Object::DaemonSet(slim) => {
                let facts = convert::workload(
                    "DaemonSet",
                    slim.metadata,
                    &slim.spec,
                    &slim.status,
                    &mut self.interner,
                );
                self.workload(now, Kind::DaemonSet, facts, out);
            }
            Object::Job(slim) => {
                let facts = convert::job(*slim, &mut self.interner);
                self.job(now, facts, out);
            }
            Object::CronJob(slim) => {
                let list = self.list_of(Kind::CronJob);
                let mut facts = convert::cron_job(*slim, &mut self.interner);
                let key = key(&facts.id);
                let known =
                    self.cron_jobs.get(&key).filter(|old| old.facts.id.object.uid == facts.id.object.uid);
                if let Some(old) = known {
                    facts.failed = old.facts.failed;
                    facts.succeeded = facts.succeeded.max(old.facts.succeeded);
                }
                let before = self.cron_jobs.remove(&key);
                self.notice(before.as_ref().map(|e| &e.facts.id), Some(&facts.id));
                self.cron_jobs.insert(key, Entry { facts, list });
            }
            Object::PersistentVolumeClaim(slim) => {
                let list = self.list_of(Kind::PersistentVolumeClaim);
                let facts = convert::claim(*slim, &mut self.interner);
                let key = key(&facts.id);
                let before = self.claims.remove(&key);
                self.notice(before.as_ref().map(|e| &e.facts.id), Some(&facts.id));
                let before = self.same_object(now, &facts.id, before, |claim| &claim.id, out);
                if self.ready() && facts.bound && before.is_some_and(|old| !old.facts.bound) {
                    let finding =
                        Finding::new(Cause::ProvisioningFailed, Phase::Cleared, &Arc::from("Bound"));
                    out.push(self.plain_signal(now, &facts.id, finding, Source::Status));
                }
                self.claims.insert(key, Entry { facts, list });
            }
        }
    }

    fn pod(&mut self, now: Timestamp, mut facts: PodFacts, out: &mut Vec<Signal>) {
        let list = self.list_of(Kind::Pod);
        let uid = Arc::clone(&facts.id.object.uid);
        let workload = self.workload_of(&facts.id, facts.node.as_deref());
        self.forget_namesake(now, &facts, &workload, out);
        let before = self.pods.remove(&uid);
        self.notice(before.as_ref().map(|p| &p.facts.id), Some(&facts.id));
        self.notice_pod(&facts.id, &workload);
        if let Some(before) = &before {
            pod::carry(&before.facts, &mut facts, now);
        } else if let Some(mirror) = facts.id.annotations.as_ref().and_then(|a| a.get(MIRROR)) {
            let namespace = facts.id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
            self.mirrors.insert((namespace, Arc::from(mirror.as_str())), Arc::clone(&uid));
        }
        self.job_exit(&facts);
        self.job_waits_for(&facts);
        let findings = if self.ready() {
            pod::findings(before.as_ref().map(|b| &b.facts), &facts, self.news_since.of(Kind::Pod))
        } else {
            Vec::new()
        };
        if before.as_ref().is_none_or(|b| b.workload != workload) {
            if let Some(old) = &before {
                self.unindex(&old.facts.id, &old.workload);
            }
            let ns = facts.id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
            self.by_workload.entry((ns, Arc::clone(&workload))).or_default().push(Arc::clone(&uid));
        }
        for finding in findings {
            facts.evicted |= finding.cause == Cause::Evicted;
            out.push(self.pod_signal(now, &facts, &workload, finding, Source::Status));
        }
        let deleting = facts.id.deleting();
        self.pods.insert(Arc::clone(&uid), Box::new(PodEntry { facts, workload, list }));
        if deleting {
            self.pod_terminates(now, &uid, out);
        }
        if self.ready() && before.is_none() {
            self.adopt_orphans(now, &uid, out);
        }
    }

    /// A StatefulSet's pod comes back under its old name: if its deletion was not seen (a gap), the
    /// new UID tells of it.
    fn forget_namesake(
        &mut self,
        now: Timestamp,
        facts: &PodFacts,
        workload: &Arc<str>,
        out: &mut Vec<Signal>,
    ) {
        let object = &facts.id.object;
        if self.pods.contains_key(&object.uid) {
            return;
        }
        let ns = object.namespace.clone().unwrap_or_else(|| Arc::from(""));
        let namesake = self.by_workload.get(&(ns, Arc::clone(workload))).and_then(|uids| {
            uids.iter()
                .find(|uid| self.pods.get(*uid).is_some_and(|p| p.facts.id.object.name == object.name))
                .cloned()
        });
        if let Some(uid) = namesake {
            self.pod_gone(now, &uid, out);
        }
    }

    /// A Job's message tells how the last of its pods failed.
    fn job_exit(&mut self, facts: &PodFacts) {
        let Some(owner) = facts.id.owner.as_ref().filter(|o| &*o.kind == "Job") else { return };
        let runs = facts.containers.iter().flat_map(|c| {
            let current = match &c.state {
                State::Terminated(run) => Some(run),
                _ => None,
            };
            current.into_iter().chain(&c.last)
        });
        let failed = runs.map(|run| &run.exit).filter(|exit| exit.code != 0);
        let Some(exit) = failed.max_by_key(|exit| exit.finished_at) else { return };
        let mut exit = exit.clone();
        exit.ended_by = exit.ended_by.or_else(|| pod::ended_with(facts));
        let key: Key =
            (facts.id.object.namespace.clone().unwrap_or_else(|| Arc::from("")), Arc::clone(&owner.name));
        if let Some(job) = self.jobs.get_mut(&key) {
            job.facts.last_exit = Some(exit);
        }
    }

    fn node(&mut self, now: Timestamp, mut facts: NodeFacts, out: &mut Vec<Signal>) {
        let list = self.list_of(Kind::Node);
        let name = self.interner.text(&facts.id.object.name);
        let before = self.nodes.remove(&name);
        self.notice(before.as_ref().map(|e| &e.facts.id), Some(&facts.id));
        let before = self.same_object(now, &facts.id, before, |node| &node.id, out);
        if before.is_none() {
            self.told_boot.remove(&name);
        }
        if let Some(before) = &before {
            facts.was_ready |= before.facts.was_ready;
        }
        if self.ready() {
            for finding in node::findings(before.as_ref().map(|b| &b.facts), &facts) {
                if finding.cause == Cause::Rebooted
                    && let Some(boot) = &facts.boot_id
                    && self.told_boot.insert(Arc::clone(&name), Arc::clone(boot)).as_ref() == Some(boot)
                {
                    continue;
                }
                out.push(self.node_signal(now, &facts.id, finding, Source::Status));
            }
        }
        let returned = facts.not_ready.is_none() && before.is_some_and(|b| b.facts.not_ready.is_some());
        self.nodes.insert(Arc::clone(&name), Entry { facts, list });
        if returned {
            self.node_returned(now, &name, out);
        }
    }

    fn workload(&mut self, now: Timestamp, kind: Kind, facts: WorkloadFacts, out: &mut Vec<Signal>) {
        let list = self.list_of(kind);
        let key = key(&facts.id);
        let before = self.workloads.remove(&(kind, key.clone()));
        self.notice(before.as_ref().map(|e| &e.facts.id), Some(&facts.id));
        let before = self.same_object(now, &facts.id, before, |workload| &workload.id, out);
        let before = before.as_ref().map(|b| &b.facts);
        let health = |facts: &WorkloadFacts| (facts.healthy, facts.wanted == 0 || facts.id.deleting());
        let changed = before.map(health) != Some(health(&facts));
        let id = facts.id.clone();
        let mut findings = if self.ready() { workload::findings(before, &facts) } else { Vec::new() };
        self.explain_rollout(&facts.id, &mut findings);
        self.workloads.insert((kind, key), Entry { facts, list });
        for finding in findings {
            out.push(self.plain_signal(now, &id, finding, Source::Status));
        }
        if changed {
            self.health_changed(now, &id, out);
        }
    }

    /// What waits for the health of a workload is to look at it again.
    pub(super) fn health_changed(&self, now: Timestamp, id: &Identity, out: &mut Vec<Signal>) {
        if self.ready() {
            let finding = Finding::new(Cause::Event, Phase::Health, &Arc::from("Health"));
            out.push(self.plain_signal(now, id, finding, Source::Status));
        }
    }

    /// What was known under a name, if it was this object. One that was deleted and made anew while
    /// nobody looked is gone.
    fn same_object<T>(
        &mut self,
        now: Timestamp,
        id: &Identity,
        before: Option<Entry<T>>,
        who: impl Fn(&T) -> &Identity,
        out: &mut Vec<Signal>,
    ) -> Option<Entry<T>> {
        let before = before?;
        if who(&before.facts).object.uid == id.object.uid {
            return Some(before);
        }
        self.gone(now, who(&before.facts), out);
        None
    }

    fn job(&mut self, now: Timestamp, mut facts: JobFacts, out: &mut Vec<Signal>) {
        let list = self.list_of(Kind::Job);
        let key = key(&facts.id);
        let before = self.jobs.remove(&key);
        self.notice(before.as_ref().map(|e| &e.facts.id), Some(&facts.id));
        let before = self.same_object(now, &facts.id, before, |job| &job.id, out).map(|entry| entry.facts);
        if let Some(old) = &before {
            facts.last_exit.clone_from(&old.last_exit);
            facts.waits_for.clone_from(&old.waits_for);
        }
        self.jobs.insert(key, Entry { facts: facts.clone(), list });
        if self.ready() {
            self.job_verdict(now, before.as_ref(), &facts, out);
        }
    }

    pub(super) fn job_verdict(
        &mut self,
        now: Timestamp,
        before: Option<&JobFacts>,
        facts: &JobFacts,
        out: &mut Vec<Signal>,
    ) {
        let namespace = facts.id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
        let cron = facts.id.owner.as_ref().filter(|o| &*o.kind == "CronJob").map(|o| Arc::clone(&o.name));
        for finding in job::findings(before, facts, cron.is_some()) {
            let Some(cron) = &cron else {
                out.push(self.plain_signal(now, &facts.id, finding, Source::Status));
                continue;
            };
            let cron_key = (Arc::clone(&namespace), Arc::clone(cron));
            let Some(entry) = self.cron_jobs.get_mut(&cron_key) else {
                // The CronJob itself cannot be read: the Job's failure still counts.
                if finding.phase == Phase::Raised {
                    out.push(self.plain_signal(now, &facts.id, finding, Source::Status));
                }
                continue;
            };
            let when = finding.at.unwrap_or(now);
            if finding.phase == Phase::Raised {
                entry.facts.failed = entry.facts.failed.max(Some(when));
            } else {
                entry.facts.succeeded = entry.facts.succeeded.max(Some(when));
            }
            let id = entry.facts.id.clone();
            out.push(self.plain_signal(now, &id, finding, Source::Status));
        }
    }
}
