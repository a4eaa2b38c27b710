//! What one object knows about the problem of another: the pods of a rollout that hangs, the pod of a Job
//! that ran out of time, the Event before a container ended.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Key, Memory, PodEntry, owner};
use crate::signal::event::EventFacts;
use crate::signal::facts::{Identity, PodFacts, State};
use crate::signal::finding::Finding;
use crate::signal::{Cause, Phase, Signal, Source, Standing, pod, text};
use crate::watch::Kind;

/// The longest text that one object says about another, in bytes.
const MAX_SAID: usize = 300;

impl Memory {
    /// `ReplicaSet "x" has timed out progressing.` names no reason; the pods of the new revision may.
    pub(super) fn explain_rollout(&self, id: &Identity, findings: &mut [Finding]) {
        for finding in findings {
            if finding.cause == Cause::RolloutStuck
                && finding.phase == Phase::Raised
                && let Some(said) = self.rollout_waits_for(id)
            {
                finding.message = Arc::from(format!("{} {said}", finding.message));
            }
        }
    }

    fn rollout_waits_for(&self, id: &Identity) -> Option<String> {
        let namespace = id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
        let workload = Arc::from(format!("{}/{}", id.object.kind, id.object.name));
        let mut pods: Vec<&PodEntry> = self
            .by_workload
            .get(&(namespace, workload))
            .into_iter()
            .flatten()
            .filter_map(|uid| self.pods.get(uid).map(AsRef::as_ref))
            .filter(|entry| !entry.facts.leaving() && !entry.facts.finished())
            .collect();
        if pods.is_empty() && self.absent(Kind::Pod) == Standing::Gone {
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

    /// A pod of a Job says what it waits for; one that runs takes that back.
    pub(super) fn job_waits_for(&mut self, facts: &PodFacts) {
        let Some(owner) = facts.id.owner.as_ref().filter(|owner| &*owner.kind == "Job") else { return };
        if facts.leaving() {
            return;
        }
        let namespace = facts.id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
        let key: Key = (namespace, Arc::clone(&owner.name));
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let name = format!("pod {}: ", facts.id.object.name);
        match pod::problems(facts).first() {
            Some(finding) => {
                let said = format!("{name}{}", say(finding));
                job.facts.waits_for = Some(Arc::from(text::cut(&said, MAX_SAID)));
            }
            None => job.facts.waits_for = job.facts.waits_for.take().filter(|said| !said.starts_with(&name)),
        }
    }

    /// An Event tells why the kubelet ended a run. Where the status was here first, the problem that it
    /// showed is explained by it.
    pub(super) fn run_ended_by(
        &mut self,
        now: Timestamp,
        uid: &str,
        event: &EventFacts<'_>,
        out: &mut Vec<Signal>,
    ) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        let Some(container) = pod::note_kill(&mut entry.facts, event) else { return };
        let Some(entry) = self.pods.get(uid) else { return };
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
