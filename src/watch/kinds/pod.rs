use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::WatchedKind;
use super::common::Condition;
use crate::watch::decode::fields::{CONDITIONS, CONTAINERS, IMAGE, List, Message, NAME, REASON, Text, WORD};
use crate::watch::decode::{part, slim};

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
        nominated_node_name: Option<Text<NAME>>, start_time: Option<Time>,
        conditions: List<Condition, CONDITIONS>,
        container_statuses: List<ContainerStatus, CONTAINERS>,
        init_container_statuses: List<ContainerStatus, CONTAINERS>,
    }
    ContainerStatus {
        name: Text<NAME>, image: Text<IMAGE>, ready: bool, restart_count: i64, state: ContainerState,
        last_state: ContainerState, started: Option<bool>,
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

impl WatchedKind for Pod {}
