use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::WatchedKind;
use super::common::{Condition, identity, optional, shared, time};
use crate::clock;
use crate::signal::facts::{
    ContainerFacts, Identity, PodFacts, PodPhase, RestartPolicy, Role, Run, State, Unschedulable,
};
use crate::signal::{Cause, Exit, Health, ObjectRef, Signal, Source, Standing, Workload, pod};
use crate::watch::Kind;
use crate::watch::decode::fields::{CONDITIONS, CONTAINERS, IMAGE, List, Message, NAME, REASON, Text, WORD};
use crate::watch::decode::{part, slim};
use crate::watch::intern::Interner;
use crate::watch::state::{ClusterState, MAX_TOMBSTONES, MIRROR, OLD_FAILURE, deleted, named};

slim! { Pod, "pods", "", false {
    spec: PodSpec,
    status: PodStatus,
} }

part! {
    PodSpec {
        node_name: Option<Text<NAME>>, restart_policy: Option<Text<WORD>>,
        containers: List<Container, CONTAINERS>, init_containers: List<Container, CONTAINERS>,
        active_deadline_seconds: Option<i64>,
    }
    Container {
        name: Text<NAME>, image: Option<Text<IMAGE>>, restart_policy: Option<Text<WORD>>, resources: Resources,
    }
    Resources { limits: Limits }
    /// The limits that messages name.
    Limits { memory: Option<Text<WORD>> }
    PodStatus {
        phase: Option<Text<WORD>>, reason: Option<Text<REASON>>, message: Option<Message>,
        nominated_node_name: Option<Text<NAME>>,
        conditions: List<Condition, CONDITIONS>,
        container_statuses: List<ContainerStatus, CONTAINERS>,
        init_container_statuses: List<ContainerStatus, CONTAINERS>,
    }
    ContainerStatus {
        name: Text<NAME>, ready: bool, restart_count: i64, state: ContainerState, last_state: ContainerState,
    }
    ContainerState {
        waiting: Option<Waiting>, running: Option<Running>, terminated: Option<Terminated>,
    }
    Waiting { reason: Option<Text<REASON>>, message: Option<Message> }
    Running { started_at: Option<Time> }
    Terminated {
        exit_code: i32, reason: Option<Text<REASON>>, message: Option<Message>, started_at: Option<Time>,
        finished_at: Option<Time>,
    }
}

/// A pod with what its owner resolves to.
#[derive(Debug)]
pub struct PodEntry {
    pub facts: PodFacts,
    pub workload: Workload,
}

impl WatchedKind for Pod {
    /// By UID: a StatefulSet's pods come back under their names.
    type Key = Arc<str>;
    /// Boxed: a table keeps room for twice as many entries as it holds.
    type Facts = Box<PodEntry>;

    fn key(object: &ObjectRef) -> Arc<str> {
        Arc::clone(&object.uid)
    }

    fn identity(pod: &Box<PodEntry>) -> Option<&Identity> {
        Some(&pod.facts.id)
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
        let facts = facts(self, &mut state.interner);
        state.pod(now, facts, out);
    }

    fn gone(state: &mut ClusterState, now: Timestamp, pod: Box<PodEntry>, out: &mut Vec<Signal>) {
        state.pod_gone(now, pod, out);
    }

    fn shown(state: &mut ClusterState, now: Timestamp, news_since: Timestamp, out: &mut Vec<Signal>) {
        let mut evicted = Vec::new();
        for entry in state.objects.pods.values() {
            for finding in pod::findings(None, &entry.facts, news_since) {
                let ended = finding.since.filter(|_| finding.cause == Cause::PodFailed);
                if ended.is_some_and(|at| clock::between(at, now) >= OLD_FAILURE) {
                    continue;
                }
                if finding.cause == Cause::Evicted {
                    evicted.push(Arc::clone(&entry.facts.id.object.uid));
                }
                out.push(state.pod_signal(now, &entry.facts, &entry.workload, finding, Source::Status));
            }
        }
        for uid in evicted {
            if let Some(entry) = state.objects.pods.get_mut(&uid) {
                entry.facts.evicted = true;
            }
        }
    }

    fn standing(state: &ClusterState, object: &ObjectRef, part: Option<&str>, cause: Cause) -> Standing {
        let Some(entry) = state.objects.pods.get(&object.uid) else {
            return state.absent(Kind::Pod, object.namespace.as_deref());
        };
        if state.is_blind(Kind::Pod, object.namespace.as_deref()) {
            return Standing::Unknown;
        }
        let standing = pod::standing(&entry.facts, part, cause);
        let node = entry.facts.node.as_ref().and_then(|name| state.objects.nodes.get(name));
        // The kubelet is the only writer of the status: on a lost node it is frozen.
        let frozen = node.is_some_and(|node| node.not_ready.is_some());
        if frozen && standing != Standing::Raised { Standing::Unknown } else { standing }
    }

    fn health(state: &ClusterState, workload: &ObjectRef) -> Health {
        let mut pods = state.pods_of(workload.namespace.as_deref(), &Workload::of(workload));
        // Nobody makes another one: as long as it is there it is as bad as it was.
        if pods.any(|entry| entry.facts.phase == PodPhase::Failed) {
            Health::Unhealthy
        } else {
            Health::Absent
        }
    }
}

fn facts(pod: Pod, interner: &mut Interner) -> PodFacts {
    let Pod { metadata, spec, status, .. } = pod;
    let condition = |kind: &str| status.conditions.iter().find(|c| c.r#type == kind);
    let scheduled = condition("PodScheduled");
    let mut containers = Vec::with_capacity(spec.init_containers.len() + spec.containers.len());
    for (list, statuses, init) in [
        (&spec.init_containers, &status.init_container_statuses, true),
        (&spec.containers, &status.container_statuses, false),
    ] {
        for wanted in list.iter() {
            let reported = statuses.iter().find(|s| s.name == wanted.name);
            containers.push(container(wanted, reported, init, interner));
        }
    }
    PodFacts {
        node: optional(spec.node_name.as_deref(), interner),
        restart_policy: match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        phase: match status.phase.as_deref() {
            Some("Running") => PodPhase::Running,
            Some("Succeeded") => PodPhase::Succeeded,
            Some("Failed") => PodPhase::Failed,
            Some("Unknown") => PodPhase::Unknown,
            _ => PodPhase::Pending,
        },
        status: status.reason.as_deref().filter(|r| !r.is_empty()).map(|reason| {
            let mut message = shared(status.message.as_ref());
            if let Some(secs) = spec.active_deadline_seconds.filter(|_| reason == "DeadlineExceeded") {
                message = Arc::from(format!("{message} (activeDeadlineSeconds: {secs})"));
            }
            Box::new((interner.text(reason), message))
        }),
        nominated: status.nominated_node_name.as_deref().is_some_and(|n| !n.is_empty()),
        unschedulable: scheduled.filter(|c| c.status == "False").map(|c| {
            Box::new(Unschedulable {
                reason: interner.text(c.reason.as_deref().unwrap_or_default()),
                message: shared(c.message.as_ref()),
                since: time(c.last_transition_time.as_ref()),
            })
        }),
        scheduled_at: scheduled
            .filter(|c| c.status == "True")
            .and_then(|c| time(c.last_transition_time.as_ref())),
        ready: condition("Ready").is_some_and(|c| c.status == "True"),
        gate: condition("Ready")
            .filter(|c| c.status != "True" && c.reason.as_deref() == Some("ReadinessGatesNotReady"))
            .map(|c| shared(c.message.as_ref())),
        disruption: condition("DisruptionTarget")
            .filter(|c| c.status == "True")
            .map(|c| interner.text(c.reason.as_deref().unwrap_or("DisruptionTarget"))),
        containers: containers.into_boxed_slice(),
        evicted: false,
        id: identity("Pod", metadata, interner),
    }
}

fn container(
    wanted: &Container,
    reported: Option<&ContainerStatus>,
    init: bool,
    interner: &mut Interner,
) -> ContainerFacts {
    let role = match (init, wanted.restart_policy.as_deref()) {
        (false, _) => Role::Main,
        (true, Some("Always")) => Role::Sidecar,
        (true, _) => Role::Init,
    };
    ContainerFacts {
        name: interner.text(&wanted.name),
        image: interner.text(wanted.image.as_deref().unwrap_or_default()),
        memory_limit: optional(wanted.resources.limits.memory.as_deref(), interner),
        role,
        state: reported.map_or(State::None, |r| state(&r.state, interner)),
        last: reported.and_then(|r| r.last_state.terminated.as_ref()).map(|t| Box::new(run(t, interner))),
        restarts: reported.map_or(0, |r| u32::try_from(r.restart_count).unwrap_or(0)),
        ready: reported.is_some_and(|r| r.ready),
        sticky: None,
        slow: 0,
        slow_from: None,
        kill: None,
    }
}

fn state(state: &ContainerState, interner: &mut Interner) -> State {
    if let Some(terminated) = &state.terminated {
        return State::Terminated(Box::new(run(terminated, interner)));
    }
    if let Some(running) = &state.running {
        return State::Running(time(running.started_at.as_ref()));
    }
    match &state.waiting {
        Some(waiting) => State::Waiting {
            reason: interner.text(waiting.reason.as_deref().unwrap_or_default()),
            message: waiting.message.as_ref().filter(|m| !m.is_empty()).map(Message::shared),
        },
        None => State::None,
    }
}

fn run(terminated: &Terminated, interner: &mut Interner) -> Run {
    Run {
        exit: Exit {
            code: terminated.exit_code,
            reason: optional(terminated.reason.as_deref(), interner),
            message: terminated.message.as_ref().filter(|m| !m.is_empty()).map(Message::shared),
            started_at: time(terminated.started_at.as_ref()),
            finished_at: time(terminated.finished_at.as_ref()),
            ended_by: None,
        },
    }
}

impl ClusterState {
    fn pod(&mut self, now: Timestamp, mut facts: PodFacts, out: &mut Vec<Signal>) {
        let uid = Arc::clone(&facts.id.object.uid);
        let workload = self.workload_of(&facts.id, facts.node.as_deref());
        self.forget_namesake(now, &facts, &workload, out);
        let before = self.objects.pods.remove(&uid);
        self.notice(before.as_ref().map(|p| &p.facts.id), Some(&facts.id));
        self.notice_pod(&facts.id, &workload);
        if let Some(before) = &before {
            pod::carry(&before.facts, &mut facts, now);
        } else if let Some(mirror) = facts.id.annotations.as_ref().and_then(|a| a.get(MIRROR)) {
            self.mirrors.insert(named(&facts.id, mirror.as_str()), Arc::clone(&uid));
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
            let key = named(&facts.id, workload.text());
            self.by_workload.entry(key).or_default().push(Arc::clone(&uid));
        }
        for finding in findings {
            facts.evicted |= finding.cause == Cause::Evicted;
            out.push(self.pod_signal(now, &facts, &workload, finding, Source::Status));
        }
        let deleting = facts.id.deleting();
        self.objects.pods.insert(Arc::clone(&uid), Box::new(PodEntry { facts, workload }));
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
        workload: &Workload,
        out: &mut Vec<Signal>,
    ) {
        let object = &facts.id.object;
        if self.objects.pods.contains_key(&object.uid) {
            return;
        }
        let key = named(&facts.id, workload.text());
        let namesake = self.by_workload.get(&key).and_then(|uids| {
            uids.iter()
                .find(|uid| {
                    self.objects.pods.get(*uid).is_some_and(|p| p.facts.id.object.name == object.name)
                })
                .cloned()
        });
        if let Some(uid) = namesake {
            self.remove::<Pod>(now, &uid, out);
        }
    }

    fn pod_gone(&mut self, now: Timestamp, entry: Box<PodEntry>, out: &mut Vec<Signal>) {
        self.pod_terminated(now, &entry.facts.id.object);
        self.unindex(&entry.facts.id, &entry.workload);
        self.notice_gone(&entry.facts.id);
        if let Some(mirror) = entry.facts.id.annotations.as_ref().and_then(|a| a.get(MIRROR)) {
            self.mirrors.remove(&named(&entry.facts.id, mirror.as_str()));
        }
        if self.ready() {
            out.push(self.pod_signal(now, &entry.facts, &entry.workload, deleted(), Source::Status));
        }
        while self.tomb_order.len() >= MAX_TOMBSTONES {
            if let Some(oldest) = self.tomb_order.pop_front() {
                self.tombstones.remove(&oldest);
            }
        }
        let uid = Arc::clone(&entry.facts.id.object.uid);
        self.tomb_order.push_back(Arc::clone(&uid));
        self.tombstones.insert(uid, entry);
    }

    fn unindex(&mut self, id: &Identity, workload: &Workload) {
        let key = named(id, workload.text());
        if let Some(uids) = self.by_workload.get_mut(&key) {
            uids.retain(|uid| *uid != id.object.uid);
            if uids.is_empty() {
                self.by_workload.remove(&key);
            }
        }
    }
}
