//! An incident as a message shows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::next_step::next_step;
use super::{Engine, Incident, Member, silence};
use crate::message::text::{LOOPING, link};
use crate::message::{Held, IncidentView, Reason};
use crate::signal::{Cause, Exit, Standing, World, headline, text};

/// The annotation of an object, a workload or a namespace that names its runbook.
pub const RUNBOOK: &str = "kubeherald.io/runbook";
/// So many members are asked whether they still exist.
const MAX_ASKED: usize = IncidentView::MAX_MEMBERS;

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
        let is_gone = |member: &Member| is_gone(incident, member, world);
        let gone = gone(incident, &members, &is_gone);
        let end_reason = incident.life().end().map(|end| end.reason);
        let left_behind = end_reason == Some(Reason::ObjectsGone);
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
            restarts: restarts(incident),
            since: incident.since,
            since_at_least: incident.since_at_least,
            last_seen: incident.last_seen,
            ended_at: incident
                .is_ended()
                .then(|| incident.departed.over_at.or(incident.departed.empty_since).unwrap_or(now)),
            end_reason: end_reason.filter(|_| incident.is_ended()),
            left_behind: left_behind.then(|| world.health(namespace, &incident.workload)),
            gone,
            reason_raw: Arc::clone(&incident.signal.reason),
            why: why(incident),
            exit: exit_text(incident),
            deeper: self.deeper(incident),
            flaps: incident.flaps,
            held: self.held(incident),
            pods_on_node: (incident.cause == Cause::NodeNotReady)
                .then(|| node.as_deref().map(|node| world.pods_on_node(node)))
                .flatten(),
            runbook: own_runbook(incident, world).or_else(|| rule.and_then(|rule| rule.runbook.clone())),
            command: next_step(incident, &is_gone),
            silence: None,
            log_tail: incident.log.as_ref().map(|log| Arc::clone(&log.text)),
            log_from: incident.log.as_ref().and_then(|log| log.from.clone()),
            title: String::new(),
            first: incident.first.clone(),
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

/// Does the object of a member no longer exist? What is not known counts as there.
fn is_gone(incident: &Incident, member: &Member, world: &dyn World) -> bool {
    // The state of a node or a Job that is gone is asked for by the same name.
    world.standing(&member.object, member.part.as_deref(), incident.cause) == Standing::Gone
}

/// Which of the names shown are of objects that no longer exist.
fn gone(incident: &Incident, shown: &[Arc<str>], is_gone: &dyn Fn(&Member) -> bool) -> Vec<Arc<str>> {
    if incident.members.is_empty() {
        let removed = &incident.departed.gone_names;
        return shown.iter().filter(|name| removed.contains(name)).cloned().collect();
    }
    let asked = incident.members.values().take(MAX_ASKED).filter(|member| is_gone(member));
    let names: BTreeSet<&Arc<str>> = asked.map(|member| &member.object.name).collect();
    shown.iter().filter(|name| names.contains(name)).cloned().collect()
}

/// Restarts of all members, those that have left too; `None` where no member is a container of a known pod.
fn restarts(incident: &Incident) -> Option<u64> {
    let known = incident.members.values().filter_map(|member| member.restarts).map(u64::from);
    let (count, now) = known.fold((0_u64, 0_u64), |(count, sum), n| (count + 1, sum.saturating_add(n)));
    let left = incident.departed.left_restarts.values().copied().map(u64::from).sum::<u64>();
    (count > 0 || left > 0).then(|| now.saturating_add(left))
}

/// The runbook that the object, its workload or its namespace names, the most specific first. Whoever may write
/// there can put any link into a message: only what shows where it leads is taken.
fn own_runbook(incident: &Incident, world: &dyn World) -> Option<Arc<str>> {
    let member = incident.raised().next().or_else(|| incident.members.values().next());
    let layers = match member {
        Some(member) => silence::layers(incident, member, world),
        None => incident.signal.annotations.clone(),
    };
    let named = layers.iter().flatten().filter_map(|annotations| annotations.get(RUNBOOK));
    named.map(|url| url.trim()).find(|url| link::is_web_link(url)).map(Arc::from)
}
