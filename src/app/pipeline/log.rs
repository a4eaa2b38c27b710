//! Whose log a message should carry, and the message with it.

use std::sync::Arc;
use std::time::Duration;

use super::{Message, Pipeline};
use crate::engine::{Decided, Incident, Log, Member};
use crate::message::text;
use crate::signal::{Cause, ObjectRef};
use crate::watch::logs::{LogRequest, WhichRun};

/// The log that a message waits for.
#[derive(Debug, Clone)]
pub struct LogWanted {
    /// Whose, and how much of it.
    pub request: LogRequest,
    /// What is written above it, where the message leaves open whose it is.
    pub from: Option<Arc<str>>,
    /// No longer than this.
    pub timeout: Duration,
}

impl Pipeline {
    /// The log that a decision is to be told with, if its rule asks for one: that of the member that
    /// had the problem last.
    pub(super) fn log_wanted(&self, decided: &Decided) -> Option<Box<LogWanted>> {
        let view = decided.incidents.first().filter(|_| text::tells_log(decided.decision))?;
        let incident = self.engine.incident(&view.id).filter(|i| i.cause.has_log())?;
        let tail = self.engine.rule_of(incident)?.log_tail?;
        let member = latest(incident)?;
        let (pod, container, several) = match incident.cause {
            Cause::JobFailed => {
                let (pod, container, alone) = self.memory.failed_pod(&member.object)?;
                (pod, container, !alone)
            }
            _ if &*member.object.kind == "Pod" => (
                member.object.clone(),
                member.part.clone()?,
                incident.container.is_none() && incident.several_parts,
            ),
            _ => return None,
        };
        let named = view.members.contains(&pod.name) && view.members_total <= 1;
        let from = match (named, several) {
            (true, false) => None,
            (_, false) => Some(Arc::clone(&pod.name)),
            (_, true) => Some(Arc::from(format!("{}, container {container}", pod.name))),
        };
        let run = match incident.cause {
            Cause::OOMKilled => WhichRun::Killed,
            Cause::JobFailed => WhichRun::Failed,
            // A probe may fail for long before its container is killed for it.
            Cause::Unhealthy => WhichRun::EndedAfter(member.since),
            _ => WhichRun::Last,
        };
        let ObjectRef { namespace, name, uid, .. } = pod;
        let request = LogRequest {
            namespace: namespace?,
            pod: name,
            uid,
            container,
            run,
            tail,
            redactor: self.redactor.clone(),
        };
        Some(Box::new(LogWanted { request, from, timeout: self.log_timeout }))
    }

    /// Later messages about the incident carry its log, too.
    pub fn put_log(&mut self, incident: &Arc<str>, log: Log, out: &mut super::Output) {
        if self.engine.put_log(incident, log) {
            out.effects.dirty.insert(Arc::clone(incident));
        }
    }
}

fn latest(incident: &Incident) -> Option<&Member> {
    let raised = incident.raised().next().is_some();
    let members = incident.members.values().filter(|member| member.raised || !raised);
    // Of several at the same moment the first by name: which one must not depend on chance.
    members.min_by_key(|m| (std::cmp::Reverse(m.last), Arc::clone(&m.object.name), m.part.clone()))
}

impl Message {
    /// Puts a log into it.
    pub fn put_log(&mut self, log: &Log) {
        let decided = &mut self.decided;
        let Some(view) = decided.incidents.first_mut().filter(|_| !decided.decision.is_summary()) else {
            return;
        };
        view.log_tail = Some(Arc::clone(&log.text));
        view.log_from.clone_from(&log.from);
        self.text = text::text(&self.cluster, decided.decision, decided.reason, view, decided.at);
    }
}
