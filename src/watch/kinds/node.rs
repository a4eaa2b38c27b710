use super::WatchedKind;
use super::common::Condition;
use crate::watch::decode::fields::{CONDITIONS, KEY, List, REASON, Text, WORD};
use crate::watch::decode::{part, slim};

slim! { Node, "nodes", "", false {
    spec: NodeSpec,
    status: NodeStatus,
} }

part! {
    NodeSpec { unschedulable: bool, taints: List<Taint, CONDITIONS> }
    Taint { key: Text<KEY>, effect: Option<Text<WORD>> }
    NodeStatus { conditions: List<Condition, CONDITIONS>, node_info: NodeInfo }
    NodeInfo { #[serde(rename = "bootID")] boot_id: Option<Text<REASON>> }
}

impl WatchedKind for Node {}
