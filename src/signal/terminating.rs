//! Deletions that do not come to an end: pods past their grace period, and namespaces.

use std::sync::Arc;

use jiff::Timestamp;

use super::facts::{Deletion, NamespaceFacts, PodFacts, State};
use super::finding::{Finding, weight};
use super::{Cause, Phase};

/// What is known of the node that a pod is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// The pod is bound to none, or nodes cannot be read.
    Unknown,
    Ready,
    /// Its kubelet does not; the text of the `Ready` condition.
    NotReady(&'a str),
    /// The node object does not exist.
    Missing,
}

/// A pod that is still there after its grace period. `since`: when that was over.
pub fn pod(pod: &PodFacts, deletion: &Deletion, host: Host<'_>, since: Timestamp) -> Finding {
    let node = pod.node.as_deref().unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    let mut reason = "";
    match host {
        Host::NotReady(text) => {
            reason = "NodeNotReady";
            lines.push(format!("node {node} does not answer: {text}"));
        }
        Host::Missing => {
            reason = "NodeMissing";
            lines.push(format!("node {node} does not exist any more"));
        }
        Host::Ready | Host::Unknown => {}
    }
    let runs = |state: &State| matches!(state, State::Running(_));
    let running: Vec<&str> =
        pod.containers.iter().filter(|c| runs(&c.state)).map(|c| &*c.name).take(SHOWN).collect();
    if lines.is_empty() && !running.is_empty() {
        reason = "ContainersRunning";
        let them = plural("container", running.len());
        let still = if running.len() == 1 { "still runs" } else { "still run" };
        lines.push(format!("{them} {} {still} on node {node} after the grace period", running.join(", ")));
    }
    if let Some(text) = finalizers(deletion) {
        reason = if reason.is_empty() { "FinalizersRemain" } else { reason };
        lines.push(text);
    }
    if lines.is_empty() {
        reason = "NotConfirmed";
        lines.push(if node.is_empty() {
            String::from("the pod was never bound to a node, and nothing removes it")
        } else {
            format!("its containers have ended, but the kubelet of node {node} has not cleaned up after them")
        });
    }
    finding(reason, &lines, since)
}

/// A namespace that is still there long after it was deleted.
pub fn namespace(facts: &NamespaceFacts, deletion: &Deletion, since: Timestamp) -> Finding {
    let mut conditions: Vec<_> = facts.conditions.iter().collect();
    conditions.sort_by_key(|condition| depth(&condition.kind, &condition.message));
    let mut lines: Vec<String> =
        conditions.iter().filter(|c| !c.message.is_empty()).map(|c| c.message.to_string()).collect();
    let mut reason = conditions.first().map_or("", |condition| &*condition.kind);
    if let Some(text) = finalizers(deletion) {
        reason = if reason.is_empty() { "FinalizersRemain" } else { reason };
        lines.push(text);
    }
    if lines.is_empty() {
        reason = "Terminating";
        lines.push(String::from("the namespace controller has not reported what is left"));
    }
    finding(reason, &lines, since)
}

/// How near a condition is to the cause: while discovery fails nothing can be said about what is left, and
/// what is left is there because something holds it
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/namespace/deletion/status_condition_utils.go>).
fn depth(kind: &str, message: &str) -> u8 {
    match kind {
        "NamespaceDeletionDiscoveryFailure" => 0,
        "NamespaceDeletionGroupVersionParsingFailure" => 1,
        // Says no more than that something remains.
        "NamespaceDeletionContentFailure" if message.contains("unexpected items still remain") => 5,
        "NamespaceDeletionContentFailure" => 2,
        "NamespaceFinalizersRemaining" => 3,
        "NamespaceContentRemaining" => 4,
        _ => 6,
    }
}

fn finding(reason: &str, lines: &[String], since: Timestamp) -> Finding {
    Finding::new(Cause::StuckTerminating, Phase::Raised, &Arc::from(reason))
        .text(super::text::clean(&lines.join("\n")), weight::STATUS)
        .since(Some(since))
}

/// So many containers are named.
const SHOWN: usize = 5;

fn finalizers(deletion: &Deletion) -> Option<String> {
    let all = deletion.finalizers.join(", ");
    match deletion.finalizers.len() {
        0 => None,
        1 => Some(format!("finalizer {all} has not been removed")),
        _ => Some(format!("finalizers {all} have not been removed")),
    }
}

fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
