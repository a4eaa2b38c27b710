//! Which of several incidents holds another back does not depend on a hash map.

use jiff::Timestamp;

use super::super::{Effects, Engine, Settings};
use super::*;
use crate::engine::incident::Life;
use crate::rule::testing::{rule, signal};
use crate::rule::{Matcher, Routes, RuleSet};
use crate::signal::silence::Layers;
use crate::signal::{Health, ObjectRef, Signal, Standing, Workload};

/// A world in which everything is as bad as it was, and every workload lives on every node.
struct Bad;

impl World for Bad {
    fn standing(&self, _: &ObjectRef, _: Option<&str>, _: Cause) -> Standing {
        Standing::Raised
    }
    fn health(&self, _: Option<&str>, _: &Workload) -> Health {
        Health::Unhealthy
    }
    fn revision(&self, _: Option<&str>, _: &Workload) -> Option<Arc<str>> {
        None
    }
    fn replicas(&self, _: Option<&str>, _: &Workload) -> Option<u32> {
        None
    }
    fn on_node(&self, _: Option<&str>, _: &Workload, _: &str) -> bool {
        true
    }
    fn pods_on_node(&self, _: &str) -> u32 {
        0
    }
    fn annotations(&self, _: &ObjectRef, _: &Workload) -> Option<Layers> {
        None
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Takes `signals` in, all at one moment.
fn engine(signals: impl Iterator<Item = Signal>) -> Engine {
    let settings = Settings {
        group_wait: Duration::ZERO,
        growth_steps: vec![1],
        max_incidents: 1000,
        max_members: 1000,
        storm_incidents: 1000,
        storm_window: Duration::from_secs(60),
        silences: Arc::from([]),
        mute_times: Arc::from([]),
        annotations: crate::rule::AnnotationRules::default(),
        digests: Vec::new(),
    };
    let causes = [
        Cause::ProvisioningFailed,
        Cause::FailedScheduling,
        Cause::NodeNotReady,
        Cause::CrashLoopBackOff,
        Cause::OOMKilled,
    ];
    let rules = causes.iter().map(|cause| rule(cause.as_str(), Matcher::cause(*cause))).collect();
    let mut engine = Engine::new(settings, RuleSet::new(rules), Routes::default(), false);
    let mut out = Effects::default();
    engine.synced(at(0), &Bad, &mut out);
    for signal in signals {
        engine.signal(at(1), &signal, &Bad, &mut out);
    }
    engine
}

fn problem(cause: Cause, workload: &str, message: &str) -> Signal {
    let mut signal = Signal { at: at(1), message: message.into(), ..signal(cause, "shop", workload) };
    signal.object.uid = workload.into();
    signal
}

fn with(engine: &Engine, cause: Cause) -> &Incident {
    engine.incidents().find(|incident| incident.cause == cause).unwrap()
}

/// The workload of what holds back what cannot be scheduled.
fn holder(engine: &Engine) -> Arc<str> {
    let held = with(engine, Cause::FailedScheduling);
    let found = engine.holder(&held.id, at(2), &Bad).unwrap();
    engine.incident(&found).unwrap().node_or_workload()
}

impl Incident {
    fn node_or_workload(&self) -> Arc<str> {
        self.members.values().find_map(|member| member.node.clone()).unwrap_or_else(|| self.workload.text())
    }
}

#[test]
fn pods_wait_for_the_same_claim_in_whatever_order_claims_failed() {
    let claims: Vec<Signal> = (10..30)
        .map(|n| problem(Cause::ProvisioningFailed, &format!("PersistentVolumeClaim/data-{n}"), "no class"))
        .collect();
    let text = "pod has unbound immediate PersistentVolumeClaims";
    let pods = || problem(Cause::FailedScheduling, "Deployment/db", text);
    let forward = engine(claims.iter().cloned().chain([pods()]));
    let backward = engine(claims.iter().rev().cloned().chain([pods()]));
    assert_eq!(holder(&forward), holder(&backward));
}

#[test]
fn a_workload_waits_for_the_same_lost_node_in_whatever_order_nodes_were_lost() {
    let nodes: Vec<Signal> = (10..30)
        .map(|n| {
            let mut lost = problem(Cause::NodeNotReady, &format!("Node/worker-{n}"), "");
            lost.object.kind = "Node".into();
            lost.object.name = format!("worker-{n}").into();
            lost.object.namespace = None;
            lost.node = Some(Arc::clone(&lost.object.name));
            lost
        })
        .collect();
    let pods = || problem(Cause::FailedScheduling, "Deployment/db", "0/20 nodes are available");
    let forward = engine(nodes.iter().cloned().chain([pods()]));
    let backward = engine(nodes.iter().rev().cloned().chain([pods()]));
    assert_eq!((holder(&forward), holder(&backward)), ("worker-10".into(), "worker-10".into()));
}

#[test]
fn what_is_held_back_is_counted_up_in_one_order() {
    let of = |n: usize| Signal {
        container: Some(format!("c{n:02}").into()),
        ..problem(Cause::CrashLoopBackOff, "Deployment/db", "")
    };
    let mut engine = engine((0..20).map(of));
    let ids: Vec<Arc<str>> = engine.incidents().map(|incident| Arc::clone(&incident.id)).collect();
    let (holder, others) = ids.split_first().unwrap();
    assert_eq!(others.len(), 19);
    for id in others {
        engine.incidents.advance(id, |_| Life::default());
        engine.incidents.set_holder(id, Some(Arc::clone(holder)));
    }
    let mut sorted = others.to_vec();
    sorted.sort();
    let listed: Vec<Arc<str>> = engine.incidents.held_by(holder).map(|other| Arc::clone(&other.id)).collect();
    assert_eq!(listed, sorted);
}
