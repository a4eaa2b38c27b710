//! The order of what is said about objects does not depend on a hash map: two runs over the same cluster must
//! decide the same.

use std::sync::Arc;

use jiff::Timestamp;
use kubeherald::signal::{Phase, Signal};
use kubeherald::testkit::builders::{
    self, claim, cron_job, daemon_set, deployment, job, namespace, node, pod, stateful_set,
};
use kubeherald::watch::ClusterState;
use kubeherald::watch::decode::decode;
use kubeherald::watch::{Change, Kind};
use serde_json::Value;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn object(json: Value) -> kubeherald::watch::Object {
    let json = builders::at(json, at(0), at(0));
    let kind = Kind::parse(json["kind"].as_str().unwrap()).unwrap();
    decode(kind, &json.to_string()).unwrap()
}

/// Everything of these kinds is listed once: the memory, and what it said.
fn listed(kinds: &[Kind], objects: impl Iterator<Item = Value>) -> (ClusterState, Vec<Signal>) {
    let mut memory = ClusterState::new(kinds, at(-3600), false);
    let mut out = Vec::new();
    for kind in kinds {
        memory.apply(at(0), Change::Listing(*kind), &mut out);
    }
    for json in objects {
        memory.apply(at(0), Change::Initial(object(json)), &mut out);
    }
    for kind in kinds {
        memory.apply(at(0), Change::Listed(*kind), &mut out);
    }
    (memory, out)
}

#[test]
fn what_a_list_no_longer_holds_is_gone_in_the_order_of_names() {
    type Make = fn(&str) -> Value;
    let kinds: [(Kind, Make); 8] = [
        (Kind::Pod, |name| pod(name).into()),
        (Kind::Node, |name| node(name).into()),
        (Kind::Job, |name| job(name).into()),
        (Kind::CronJob, |name| cron_job(name).into()),
        (Kind::PersistentVolumeClaim, |name| claim(name).into()),
        (Kind::Deployment, |name| deployment(name).into()),
        (Kind::StatefulSet, |name| stateful_set(name).into()),
        (Kind::DaemonSet, |name| daemon_set(name).into()),
    ];
    for (kind, make) in kinds {
        let names: Vec<String> = (10..40).map(|n| format!("x{n}")).collect();
        let (mut memory, _) = listed(&[kind], names.iter().rev().map(|name| make(name)));
        let mut out = Vec::new();
        memory.apply(at(1), Change::Listing(kind), &mut out);
        memory.apply(at(1), Change::Listed(kind), &mut out);
        let gone: Vec<Arc<str>> =
            out.iter().filter(|s| s.phase == Phase::Gone).map(|s| Arc::clone(&s.object.name)).collect();
        let expected: Vec<Arc<str>> = names.iter().map(|name| Arc::from(name.as_str())).collect();
        assert_eq!(gone, expected, "{kind}");
    }
}

#[test]
fn namespaces_that_are_gone_are_looked_at_in_the_order_of_names() {
    let names: Vec<String> = (10..40).map(|n| format!("x{n}")).collect();
    let make = |name: &String| namespace(name).annotation("kubeherald.io/mute", "crash-loop").into();
    let (mut memory, mut out) = listed(&[Kind::Namespace], names.iter().rev().map(make));
    memory.take_silence_changed();
    memory.apply(at(1), Change::Listing(Kind::Namespace), &mut out);
    memory.apply(at(1), Change::Listed(Kind::Namespace), &mut out);
    let changed: Vec<String> = memory.take_silence_changed().iter().map(|o| o.name.to_string()).collect();
    assert_eq!(changed, names);
}

#[test]
fn of_jobs_that_failed_at_one_moment_a_first_start_shows_the_same_every_time() {
    let shown = |names: &mut dyn Iterator<Item = usize>| {
        let jobs = names.map(|n| {
            job(&format!("report-{n}"))
                .owned_by("CronJob", "report")
                .failed("BackoffLimitExceeded", &format!("job {n}"), "T-10m")
                .into()
        });
        let objects = std::iter::once(Value::from(cron_job("report"))).chain(jobs);
        let (_, out) = listed(&[Kind::CronJob, Kind::Job], objects);
        let raised = out.iter().filter(|s| s.phase == Phase::Raised);
        raised.map(|s| s.message.to_string() + &s.object.to_string()).collect::<Vec<_>>()
    };
    let first = shown(&mut (10..40));
    assert_eq!(first.len(), 1, "{first:?}");
    for _ in 0..10 {
        assert_eq!(shown(&mut (10..40).rev()), first);
    }
}
