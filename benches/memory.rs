//! What a large cluster takes to remember: 150,000 pods on 5,000 nodes, and a list of all of them
//! again.
//!
//! `cargo bench --bench memory` prints the resident size of the process; the budget is 150 MiB, also
//! at the peak of the second list.

#![allow(clippy::expect_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints")]

use jiff::Timestamp;
use kubeherald::app::pipeline::{Output, Pipeline, Start};
use kubeherald::config::load;
use kubeherald::watch::decode::decode;
use kubeherald::watch::{Change, Kind};

const NODES: usize = 5_000;
const PODS: usize = 150_000;
/// Pods of one Deployment.
const REPLICAS: usize = 10;

/// Resident kibibytes: now, and at the most so far.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn node(n: usize) -> String {
    format!(
        r#"{{"kind":"Node","metadata":{{"name":"node-{n}","uid":"node-uid-{n}","labels":{{"kubernetes.io/hostname":"node-{n}","topology.kubernetes.io/zone":"z{}"}}}},"status":{{"conditions":[{{"type":"Ready","status":"True","reason":"KubeletReady","lastTransitionTime":"2026-11-21T08:00:00Z"}}],"nodeInfo":{{"bootID":"boot-{n}"}}}}}}"#,
        n % 3
    )
}

fn pod(n: usize) -> String {
    let set = n / REPLICAS;
    let hash = format!("{set:09x}f");
    format!(
        r#"{{"kind":"Pod","metadata":{{"name":"app-{set}-{hash}-{n:05x}","namespace":"team-{}","uid":"1c46bbed-3a14-4385-9312-{n:012x}","resourceVersion":"{n}","labels":{{"app":"app-{set}","pod-template-hash":"{hash}","tier":"backend","team":"team-{}"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-{set}-{hash}","uid":"rs-{set}","controller":true}}]}},"spec":{{"nodeName":"node-{}","restartPolicy":"Always","containers":[{{"name":"app","image":"registry.example.com/team/app-{set}:1.2.3","resources":{{"limits":{{"memory":"512Mi"}}}}}}]}},"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True"}},{{"type":"PodScheduled","status":"True","lastTransitionTime":"2026-11-21T08:00:00Z"}}],"containerStatuses":[{{"name":"app","image":"registry.example.com/team/app-{set}:1.2.3","ready":true,"restartCount":0,"state":{{"running":{{"startedAt":"2026-11-21T08:00:05Z"}}}},"lastState":{{}}}}]}}}}"#,
        set % 200,
        set % 200,
        n % NODES
    )
}

fn main() {
    let config = load(None, &[]).expect("the shipped rules load").config;
    let now: Timestamp = "2026-11-21T09:00:00Z".parse().expect("a time");
    let (mut pipeline, _) =
        Pipeline::new(&config, &Kind::ALL, now, Start { first: true, ..Start::default() });
    let mut out = Output::default();
    let (before, _) = resident();
    for round in 1..=2 {
        for kind in Kind::ALL {
            pipeline.feed(now, Change::Listing(kind), &mut out);
            let count = match kind {
                Kind::Node => NODES,
                Kind::Pod => PODS,
                _ => 0,
            };
            for n in 0..count {
                let json = if kind == Kind::Node { node(n) } else { pod(n) };
                let object = decode(kind, &json).expect("it decodes");
                pipeline.feed(now, Change::Initial(object), &mut out);
            }
            pipeline.feed(now, Change::Listed(kind), &mut out);
        }
        let (now_kib, peak_kib) = resident();
        println!(
            "after list {round}: {:.0} MiB resident, {:.0} MiB at the peak, {:.0} bytes a pod; {:?}",
            now_kib as f64 / 1024.0,
            peak_kib as f64 / 1024.0,
            (now_kib - before) as f64 * 1024.0 / PODS as f64,
            pipeline.memory().sizes()
        );
    }
    assert!(out.messages.is_empty(), "a healthy cluster is silent");
}
