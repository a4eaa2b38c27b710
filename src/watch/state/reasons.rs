//! What one object knows about the problem of another: the pods of a rollout that hangs, the pod of a Job
//! that ran out of time, the Event before a container ended.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ClusterState, PodEntry, named, owner};
use crate::signal::event::EventFacts;
use crate::signal::facts::{Identity, PodFacts, State};
use crate::signal::finding::Finding;
use crate::signal::{Cause, Phase, Signal, Source, Standing, Workload, pod, text};
use crate::watch::Kind;

/// The longest text that one object says about another, in bytes.
const MAX_SAID: usize = 300;

impl ClusterState {
    /// `ReplicaSet "x" has timed out progressing.` names no reason; the pods of the new revision may.
    pub(in crate::watch) fn explain_rollout(&self, id: &Identity, finding: &mut Finding) {
        if finding.cause == Cause::RolloutStuck
            && finding.phase == Phase::Raised
            && let Some(said) = self.rollout_waits_for(id)
        {
            finding.message = Arc::from(format!("{} {said}", finding.message));
        }
    }

    fn rollout_waits_for(&self, id: &Identity) -> Option<String> {
        let workload = Workload::of(&id.object);
        let mut pods: Vec<&PodEntry> = self
            .pods_of(id.object.namespace.as_deref(), &workload)
            .filter(|entry| !entry.facts.leaving() && !entry.facts.finished())
            .collect();
        if pods.is_empty() && self.absent(Kind::Pod, id.object.namespace.as_deref()) == Standing::Gone {
            return Some(String::from("It has no pods."));
        }
        let newest = pods.iter().max_by_key(|entry| (entry.facts.id.created, &entry.facts.id.object.name))?;
        let revision = owner::revision(&newest.facts.id);
        pods.retain(|entry| owner::revision(&entry.facts.id) == revision);
        pods.sort_by(|a, b| a.facts.id.object.name.cmp(&b.facts.id.object.name));
        pods.iter().find_map(|entry| {
            let said = lacks(&entry.facts)?;
            Some(format!("Pod {}: {said}", entry.facts.id.object.name))
        })
    }

    /// A Job's message tells how the last of its pods failed.
    pub(in crate::watch) fn job_exit(&mut self, facts: &PodFacts) {
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
        if let Some(job) = self.objects.jobs.get_mut(&named(&facts.id, Arc::clone(&owner.name))) {
            job.last_exit = Some(exit);
        }
    }

    /// A pod of a Job says what it waits for; one that runs takes that back.
    pub(in crate::watch) fn job_waits_for(&mut self, facts: &PodFacts) {
        let Some(owner) = facts.id.owner.as_ref().filter(|owner| &*owner.kind == "Job") else { return };
        if facts.leaving() {
            return;
        }
        let Some(job) = self.objects.jobs.get_mut(&named(&facts.id, Arc::clone(&owner.name))) else { return };
        let name = format!("pod {}: ", facts.id.object.name);
        match pod::problems(facts).first() {
            Some(finding) => {
                let said = format!("{name}{}", say(finding));
                job.waits_for = Some(Arc::from(text::cut(&said, MAX_SAID)));
            }
            None => job.waits_for = job.waits_for.take().filter(|said| !said.starts_with(&name)),
        }
    }

    /// An Event tells why the kubelet ended a run. Where the status was here first, the problem that it
    /// showed is explained by it.
    pub(super) fn run_ended_by(
        &mut self,
        now: Timestamp,
        uid: &Arc<str>,
        event: &EventFacts<'_>,
        out: &mut Vec<Signal>,
    ) {
        let Some(entry) = self.objects.pods.get_mut(uid) else { return };
        let Some(container) = pod::note_kill(&mut entry.facts, event) else { return };
        let Some(entry) = self.objects.pods.get(uid) else { return };
        let problem = pod::problems(&entry.facts).into_iter().find(|finding| {
            finding.cause == Cause::CrashLoopBackOff && finding.container.as_ref() == Some(&container)
        });
        if let Some(problem) = problem.filter(|_| self.ready()) {
            let detail = Finding { phase: Phase::Detail, count: 0, ..problem };
            out.push(self.pod_signal(now, &entry.facts, &entry.workload, detail, Source::Event));
        }
    }
}

/// What a pod lacks to count as available.
fn lacks(pod: &PodFacts) -> Option<String> {
    if let Some(finding) = pod::problems(pod).first() {
        return Some(say(finding));
    }
    let unready = pod.containers.iter().find(|c| matches!(c.state, State::Running(_)) && !c.ready);
    if let Some(container) = unready {
        return Some(format!("container {} runs but is not ready", container.name));
    }
    pod.gate.as_ref().map(ToString::to_string)
}

fn say(finding: &Finding) -> String {
    let line = finding.message.lines().next().unwrap_or_default();
    text::cut(&format!("{}: {line}", finding.cause), MAX_SAID).into_owned()
}
