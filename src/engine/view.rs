//! An incident as a message shows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Engine, Incident};
use crate::message::text::LOOPING;
use crate::message::{Held, IncidentView};
use crate::signal::{Cause, Exit, World, headline, text};

impl Engine {
    /// How an incident looks now.
    pub fn view(&self, id: &str, now: Timestamp, world: &dyn World) -> Option<IncidentView> {
        let incident = self.incidents.get(id)?;
        let rule = self.rule_of(incident);
        let names: BTreeSet<&Arc<str>> = incident.members.values().map(|m| &m.object.name).collect();
        let nodes: BTreeSet<&Arc<str>> = incident.members.values().filter_map(|m| m.node.as_ref()).collect();
        let node = match (nodes.len(), nodes.first()) {
            (1, Some(node)) => Some(Arc::clone(node)),
            (0, _) => incident.signal.node.clone().filter(|_| incident.peak <= 1),
            _ => None,
        };
        let namespace = incident.namespace.as_deref();
        let object = &incident.signal.object;
        let members_total =
            if incident.members.is_empty() { incident.peak.max(1) } else { incident.affected() };
        let mut members: Vec<Arc<str>> =
            names.into_iter().take(IncidentView::MAX_MEMBERS).map(Arc::clone).collect();
        if members.is_empty() {
            members.clone_from(&incident.departed.left_names);
            members.sort();
        }
        if members.is_empty() && incident.peak <= 1 {
            members.push(Arc::clone(&object.name));
        }
        Some(IncidentView {
            id: Arc::clone(&incident.id),
            rule: Arc::clone(&incident.rule),
            cause: incident.cause,
            severity: incident.severity,
            was: incident
                .notified()
                .map(|notified| notified.severity)
                .filter(|told| incident.seq > 1 && *told < incident.severity),
            seq: incident.seq,
            namespace: incident.namespace.clone(),
            team: incident.signal.label("team").filter(|team| !team.is_empty()).map(Arc::from),
            workload: incident.workload.clone(),
            container: incident.container.clone().or_else(|| common_part(incident)),
            image: incident.signal.image.clone(),
            member_kind: Arc::clone(&object.kind),
            members,
            members_total,
            // Of pods that come and go more than are wanted can have had the problem.
            replicas: (&*object.kind == "Pod" && !incident.cause.is_point())
                .then(|| world.replicas(namespace, &incident.workload))
                .flatten(),
            occurrences: incident.occurrences.max(u64::from(members_total)),
            occurrences_new: incident.untold(),
            since: incident.since,
            last_seen: incident.last_seen,
            ended_at: incident
                .is_ended()
                .then(|| incident.departed.over_at.or(incident.departed.empty_since).unwrap_or(now)),
            reason_raw: Arc::clone(&incident.signal.reason),
            why: why(incident),
            exit: exit_text(incident),
            deeper: self.deeper(incident),
            flaps: incident.flaps,
            held: self.held(incident),
            pods_on_node: (incident.cause == Cause::NodeNotReady)
                .then(|| node.as_deref().map(|node| world.pods_on_node(node)))
                .flatten(),
            runbook: rule.and_then(|rule| rule.runbook.clone()),
            command: command(incident),
            log_tail: incident.log.as_ref().map(|log| Arc::clone(&log.text)),
            log_from: incident.log.as_ref().and_then(|log| log.from.clone()),
            title: String::new(),
            node,
        })
    }

    fn held(&self, incident: &Incident) -> Vec<Held> {
        let mut held: Vec<Held> = self
            .incidents
            .held_by(&incident.id)
            .map(|other| Held {
                cause: other.cause,
                namespace: other.namespace.clone(),
                workload: other.workload.clone(),
                members: other.affected(),
            })
            .collect();
        held.sort_by(|a, b| (&a.namespace, &a.workload, a.cause).cmp(&(&b.namespace, &b.workload, b.cause)));
        held.truncate(IncidentView::MAX_MEMBERS);
        held
    }

    /// The deeper cause among what tells of the same container.
    fn deeper(&self, incident: &Incident) -> Arc<str> {
        let oom_exit =
            |i: &Incident| i.exit.as_ref().is_some_and(|exit| exit.reason.as_deref() == Some("OOMKilled"));
        let same = |other: &&Incident| other.cause.is_run() && incident.cause.is_run();
        let held = || self.incidents.held_by(&incident.id).filter(same);
        if incident.cause != Cause::OOMKilled {
            if let Some(oom) = held().find(|o| o.cause == Cause::OOMKilled) {
                return Arc::clone(&oom.why);
            }
            if oom_exit(incident) {
                return Arc::from("OOM-killed");
            }
        }
        if matches!(incident.cause, Cause::NodeCondition | Cause::NodePressure) {
            return conditions(incident);
        }
        if let Some(cause) = incident.exit.as_ref().and_then(run_ended_by) {
            return cause;
        }
        if incident.cause == Cause::CrashLoopBackOff
            && let Some(probe) = held().find(|o| o.cause == Cause::Unhealthy)
        {
            return Arc::clone(&probe.why);
        }
        let looping =
            incident.cause != Cause::CrashLoopBackOff && held().any(|o| o.cause == Cause::CrashLoopBackOff);
        Arc::from(if looping { LOOPING } else { "" })
    }
}

/// The explaining text. A Job's verdict says nothing of what its last pod said at its end.
fn why(incident: &Incident) -> Arc<str> {
    let last_words = incident.exit.as_ref().and_then(|exit| exit.message.as_ref());
    match last_words.filter(|_| incident.cause == Cause::JobFailed) {
        Some(said) if !said.is_empty() => {
            Arc::from(text::cut(&format!("{}\n{said}", incident.why), text::MAX_TEXT))
        }
        _ => Arc::clone(&incident.why),
    }
}

/// Which conditions of a node it is. Of pressure the texts say which; several have one incident.
fn conditions(incident: &Incident) -> Arc<str> {
    let parts = incident.members.values().filter_map(|member| member.part.as_deref());
    let mut kinds: BTreeSet<&str> = parts.collect();
    if kinds.is_empty() {
        kinds.extend(incident.signal.container.as_deref());
    }
    if incident.cause == Cause::NodePressure && kinds.len() < 2 {
        return Arc::from("");
    }
    Arc::from(kinds.into_iter().collect::<Vec<_>>().join(", "))
}

/// What ended a run, where its exit code is only the consequence.
fn run_ended_by(exit: &Exit) -> Option<Arc<str>> {
    if exit.ended_by.is_some() {
        return exit.ended_by.clone();
    }
    // The runtime puts its error where a program's last words stand, and makes the code up.
    let never_ran = matches!(exit.reason.as_deref(), Some("StartError" | "ContainerCannotRun"));
    let message = exit.message.as_deref().filter(|message| never_ran && !message.is_empty())?;
    Some(Arc::from(format!("cannot be started: {}", headline::runtime(message))))
}

/// The one container that all members name, where the group does not.
fn common_part(incident: &Incident) -> Option<Arc<str>> {
    incident.signal.container.clone().filter(|_| !incident.several_parts && !incident.cause.is_node())
}

/// "exit code 137 (SIGKILL)", "OOM-killed, exit code 137 (SIGKILL)"
fn exit_text(incident: &Incident) -> Arc<str> {
    let Some(Exit { code, reason, .. }) = &incident.exit else { return Arc::from("") };
    let signal = text::signal_name(*code).map(|name| format!(" ({name})")).unwrap_or_default();
    let oom = if reason.as_deref() == Some("OOMKilled") { "OOM-killed, " } else { "" };
    Arc::from(format!("{oom}exit code {code}{signal}"))
}

/// A command to look further. Names from the API server are DNS labels; whatever else stands there
/// is not put into a line that people paste into a shell.
fn command(incident: &Incident) -> Arc<str> {
    let object = &incident.signal.object;
    let namespace = incident.namespace.as_deref();
    let member = incident.raised().next().or_else(|| incident.members.values().next());
    let name = member.map_or(&object.name, |m| &m.object.name);
    let safe = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    if !safe(name) || !namespace.is_none_or(safe) || !incident.container.as_deref().is_none_or(safe) {
        return Arc::from("");
    }
    let ns = namespace.filter(|_| &*object.kind != "Namespace");
    let ns = ns.map(|ns| format!(" -n {ns}")).unwrap_or_default();
    let container = incident.container.as_deref().map(|c| format!(" -c {c}")).unwrap_or_default();
    let line = match (incident.cause, &*object.kind) {
        // In back-off the log of the run that crashed is the current one, and the previous one often
        // removed already. A container that was OOM-killed once runs again.
        (Cause::CrashLoopBackOff, "Pod") => format!("kubectl{ns} logs {name}{container} --tail=50"),
        (Cause::PodFailed, "Pod") if incident.container.is_some() => {
            format!("kubectl{ns} logs {name}{container} --tail=50")
        }
        (Cause::OOMKilled, "Pod") => format!("kubectl{ns} logs {name}{container} --previous --tail=50"),
        (Cause::RolloutStuck, _) => format!("kubectl{ns} rollout status {}", kind_name(&object.kind, name)),
        (_, kind) if kind.bytes().all(|b| b.is_ascii_alphabetic()) => {
            format!("kubectl{ns} describe {}", kind_name(kind, name))
        }
        _ => String::new(),
    };
    Arc::from(line)
}

fn kind_name(kind: &str, name: &str) -> String {
    format!("{}/{name}", kind.to_ascii_lowercase())
}
