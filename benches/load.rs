//! What the whole bot takes under load, in memory and on disk, in virtual time.
//!
//! `cargo bench --bench load` runs each scenario in a process of its own and prints the peak of its
//! resident size and the bytes of its store. The API server is a generator that remembers nothing; it
//! and the receiver are part of the process, with a few MiB.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a bench prints"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt};
use http_body_util::StreamBody;
use hyper::body::Frame;
use jiff::Timestamp;
use kube::client::Body;
use kubeherald::app::run::{Options, World, run_in, store_options};
use kubeherald::clock::{Clock, Simulated};
use kubeherald::notify::Network;
use kubeherald::notify::http::TransportError;
use kubeherald::notify::network::{AsyncTokioStream, HttpAnswer, HttpRequest, SimulatedNetwork};
use kubeherald::store::{Driver, Options as StoreOptions, Store};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

const BEGIN: &str = "2026-11-21T08:00:00Z";
const SCENARIOS: &[&str] =
    &["idle", "crashing-at-start", "crashing-at-once", "events-500-a-second", "receiver-down-a-week"];
const WORKLOADS: usize = 10_000;
const EVENTS_A_SECOND: usize = 500;
/// A server ends a watch by itself after about this long.
const WATCH: Duration = Duration::from_secs(100);

/// One line of a watch.
type Line = (&'static str, Arc<str>);

/// Answers lists and watches.
#[derive(Clone)]
struct Server {
    pods: Arc<dyn Fn(usize) -> String + Send + Sync>,
    pod_count: usize,
    changes: broadcast::Sender<Line>,
    version: Arc<AtomicU64>,
}

type Chunks = std::pin::Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

impl Server {
    fn answer(&self, uri: &http::Uri) -> http::Response<StreamBody<Chunks>> {
        let query: HashMap<_, _> =
            uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
        let plural = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let chunks: Chunks =
            if query.contains_key("watch") { self.watch(plural) } else { self.list(&plural, &query) };
        http::Response::builder()
            .header("content-type", "application/json")
            .body(StreamBody::new(chunks))
            .expect("a response")
    }

    fn list(&self, plural: &str, query: &HashMap<&str, &str>) -> Chunks {
        let count = match plural {
            "pods" | "deployments" | "replicasets" => self.pod_count,
            "namespaces" => 100,
            "nodes" => 500,
            _ => 0,
        };
        let from: usize = query.get("continue").and_then(|at| at.parse().ok()).unwrap_or(0);
        let to = (from + 500).min(count);
        let items: Vec<String> = (from..to).map(|n| self.object(plural, n)).collect();
        let rest = if to < count { to.to_string() } else { String::new() };
        let version = self.version.load(Ordering::Relaxed);
        let list = format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","continue":"{rest}"}},"items":[{}]}}"#,
            items.join(",")
        );
        stream::iter([Ok(Frame::data(Bytes::from(list)))]).boxed()
    }

    fn object(&self, plural: &str, n: usize) -> String {
        let name = format!("app-{n}");
        let namespace = n % 100;
        match plural {
            "pods" => (self.pods)(n),
            "namespaces" => {
                format!(r#"{{"metadata":{{"name":"team-{n}","uid":"ns-{n}","resourceVersion":"1"}}}}"#)
            }
            "nodes" => format!(
                r#"{{"metadata":{{"name":"node-{n}","uid":"node-{n}","resourceVersion":"1"}},"status":{{"conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"{BEGIN}"}}],"nodeInfo":{{"bootID":"boot-{n}"}}}}}}"#
            ),
            "deployments" => format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"team-{namespace}","uid":"d-{n}","resourceVersion":"1","generation":1}},"spec":{{"replicas":1,"selector":{{}}}},"status":{{"observedGeneration":1,"replicas":1}}}}"#
            ),
            _ => format!(
                r#"{{"metadata":{{"name":"{name}-688988776f","namespace":"team-{namespace}","uid":"rs-{n}","resourceVersion":"1","ownerReferences":[{{"apiVersion":"apps/v1","kind":"Deployment","name":"{name}","uid":"d-{n}","controller":true}}]}},"spec":{{"replicas":1}},"status":{{"replicas":1}}}}"#
            ),
        }
    }

    fn watch(&self, plural: String) -> Chunks {
        let changes = self.changes.subscribe();
        let until = tokio::time::Instant::now() + WATCH;
        stream::unfold(changes, move |mut changes| {
            let plural = plural.clone();
            async move {
                loop {
                    let change = tokio::time::timeout_at(until, changes.recv()).await.ok()?.ok()?;
                    if change.0 == plural {
                        return Some((Ok(Frame::data(Bytes::from(change.1.to_string()))), changes));
                    }
                }
            }
        })
        .boxed()
    }

    /// Tells the watches of a change, as fast as they read.
    async fn tell(&self, plural: &'static str, kind: &str, object: &str) {
        self.version.fetch_add(1, Ordering::Relaxed);
        let line = format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        while self.changes.len() > 512 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.changes.send((plural, Arc::from(line))).ok();
    }
}

fn pod(n: usize, version: u64, crashes: Option<(u32, Timestamp)>) -> String {
    let namespace = n % 100;
    let node = n % 500;
    let state = match crashes {
        None => format!(
            r#""ready":true,"restartCount":0,"state":{{"running":{{"startedAt":"{BEGIN}"}}}},"lastState":{{}}"#
        ),
        Some((count, at)) => format!(
            r#""ready":false,"restartCount":{count},"state":{{"waiting":{{"reason":"CrashLoopBackOff","message":"back-off 5m0s restarting failed container=app pod=app-{n}-688988776f-abcde_team-{namespace}(1c46bbed-3a14-4385-9312-{n:012x})"}}}},"lastState":{{"terminated":{{"exitCode":1,"reason":"Error","startedAt":"{at}","finishedAt":"{at}","containerID":"containerd://{n:064x}"}}}}"#
        ),
    };
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"app-{n}-688988776f-abcde","namespace":"team-{namespace}","uid":"1c46bbed-3a14-4385-9312-{n:012x}","resourceVersion":"{version}","labels":{{"app":"app-{n}","team":"team-{namespace}"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-{n}-688988776f","uid":"rs-{n}","controller":true}}]}},"spec":{{"nodeName":"node-{node}","restartPolicy":"Always","containers":[{{"name":"app","image":"registry.example.com/team/app-{n}:1.2.3","resources":{{"limits":{{"memory":"512Mi"}}}}}}]}},"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True"}},{{"type":"PodScheduled","status":"True","lastTransitionTime":"{BEGIN}"}}],"containerStatuses":[{{"name":"app","image":"registry.example.com/team/app-{n}:1.2.3",{state}}}]}}}}"#
    )
}

/// Each is a new one, about an object of its own that nobody ever saw.
fn event(n: usize, at: Timestamp) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"db-{n}.17f1","namespace":"team-1","uid":"event-{n}","resourceVersion":"{n}"}},"involvedObject":{{"kind":"StatefulSet","apiVersion":"apps/v1","namespace":"team-1","name":"db-{n}","uid":"set-{n}"}},"reason":"FailedCreate","message":"create Pod db-{n}-0 in StatefulSet db-{n} failed error: pods \"db-{n}-0\" is forbidden: exceeded quota: compute, requested: cpu=500m, used: cpu=7, limited: cpu=7","type":"Warning","count":1,"firstTimestamp":"{at}","lastTimestamp":"{at}","source":{{"component":"statefulset-controller"}}}}"#
    )
}

/// Takes everything, or is down.
#[derive(Debug)]
struct Hook {
    down: bool,
    taken: AtomicU64,
}

impl SimulatedNetwork for Hook {
    fn http(&self, _: HttpRequest) -> BoxFuture<'_, Result<HttpAnswer, TransportError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.down {
                return Err(TransportError::NoAnswer);
            }
            self.taken.fetch_add(1, Ordering::Relaxed);
            Ok(HttpAnswer { status: 200, ..HttpAnswer::default() })
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        _: &'a str,
        _: u16,
    ) -> BoxFuture<'a, std::io::Result<Box<dyn AsyncTokioStream>>> {
        async { Err(std::io::ErrorKind::ConnectionRefused.into()) }.boxed()
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn run(scenario: &str) {
    let begin: Timestamp = BEGIN.parse().expect("a time");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state.db");
    let config = dir.path().join("kubeherald.yaml");
    let text = format!(
        "cluster: load\nreceivers: {{hook: {{webhook: {{url: 'http://hook.test/'}}, max_age: 7d}}}}\nstore: {{path: {}}}\n",
        path.display()
    );
    std::fs::write(&config, text).expect("written");
    let config = kubeherald::config::load(Some(&config), &[]).expect("it loads").config;
    let clock = Simulated::new(begin);
    let at_start = scenario == "crashing-at-start";
    let count = match scenario {
        "events-500-a-second" => 100,
        // A week has many lists.
        "receiver-down-a-week" => 1_000,
        _ => WORKLOADS,
    };
    let crashing = Arc::new(Mutex::new(HashMap::new()));
    let crashes = Arc::clone(&crashing);
    let server = Server {
        pods: Arc::new(move |n| {
            let crashed = crashes.lock().expect("a lock").get(&n).copied();
            pod(n, 1, if at_start { Some((3, begin)) } else { crashed })
        }),
        pod_count: count,
        changes: broadcast::channel(1024).0,
        version: Arc::new(AtomicU64::new(10)),
    };
    let answers = server.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let answer = answers.answer(request.uri());
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let client = kube::Client::new(service, "default");
    let clock_of_bot = Clock::Simulated(Arc::clone(&clock));
    let hook = Arc::new(Hook { down: scenario == "receiver-down-a-week", taken: AtomicU64::new(0) });
    let store = Store::open_with(&StoreOptions { driver: Driver::Inline, ..store_options(&config, begin) });
    let world = World {
        store: store.expect("it opens"),
        network: Network::Simulated(Arc::clone(&hook) as _),
        templates: None,
        on_router: None,
    };
    let options = Options { clock: clock_of_bot, ..Options::new(client) };
    let stop = CancellationToken::new();
    let bot = tokio::spawn(run_in(world, config, options, stop.clone()));
    tokio::time::sleep(seconds(120)).await;
    report(scenario, "started", &path, &hook);
    match scenario {
        "crashing-at-once" => {
            for n in 0..count {
                let crashed = (3, clock.truth());
                crashing.lock().expect("a lock").insert(n, crashed);
                server.tell("pods", "MODIFIED", &pod(n, 2 + n as u64, Some(crashed))).await;
            }
        }
        "events-500-a-second" => {
            for second in 0..3_600 {
                for n in 0..EVENTS_A_SECOND {
                    let n = second * EVENTS_A_SECOND + n;
                    server.tell("events", "ADDED", &event(n, clock.truth())).await;
                }
                tokio::time::sleep(seconds(1)).await;
                if second % 900 == 899 {
                    report(scenario, &format!("{} events", (second + 1) * EVENTS_A_SECOND), &path, &hook);
                }
            }
        }
        "receiver-down-a-week" => {
            let mut next = 0;
            for day in 1..=7 {
                for _ in 0..100 {
                    let crashed = (3, clock.truth());
                    crashing.lock().expect("a lock").insert(next, crashed);
                    server.tell("pods", "MODIFIED", &pod(next, 2, Some(crashed))).await;
                    tokio::time::sleep(seconds(432)).await;
                    // Mended after a while; it is over some minutes later.
                    crashing.lock().expect("a lock").remove(&next);
                    server.tell("pods", "MODIFIED", &pod(next, 3, None)).await;
                    tokio::time::sleep(seconds(432)).await;
                    next += 1;
                }
                report(scenario, &format!("day {day}"), &path, &hook);
            }
        }
        _ => {}
    }
    tokio::time::sleep(seconds(600)).await;
    report(scenario, "after it", &path, &hook);
    stop.cancel();
    bot.await.expect("it ends").expect("and well");
}

/// Resident MiB: now, and at the most so far.
fn resident() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0.0)
    };
    (field("VmRSS:") / 1024.0, field("VmHWM:") / 1024.0)
}

fn report(scenario: &str, when: &str, path: &std::path::Path, hook: &Hook) {
    let (now, peak) = resident();
    let size = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0.0, |m| m.len() as f64 / f64::from(1 << 20))
    };
    println!(
        "{scenario:22} {when:16} {now:6.0} MiB resident, {peak:6.0} at the peak; store {:7.1} MiB, log {:5.1}; {} delivered",
        size(""),
        size("-wal"),
        hook.taken.load(Ordering::Relaxed)
    );
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let [scenario] = &asked[..]
        && std::env::var_os("KUBEHERALD_LOAD_ALONE").is_some()
    {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(run(scenario));
        return;
    }
    for scenario in SCENARIOS.iter().filter(|name| asked.is_empty() || asked.iter().any(|a| a == *name)) {
        let status = std::process::Command::new(std::env::current_exe().expect("this program"))
            .arg(scenario)
            .env("KUBEHERALD_LOAD_ALONE", "1")
            .env("MALLOC_ARENA_MAX", "2")
            .status()
            .expect("it runs");
        assert!(status.success(), "{scenario}: {status}");
    }
}
