//! The whole bot over several lives, in paused time: the cluster, the store and the receivers outlive it.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use kubeherald::app::run::{Options, run_in};
use kubeherald::config::Config;
use kubeherald::store::{self, Driver, Store};
use kubeherald::testkit::builders::event;
use kubeherald::testkit::{Fault, Verb, What};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{HOOK, Life, ask, checkout, loaded};

/// The whole bot over several lives.
pub(crate) struct Bot {
    pub(crate) life: Life,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) router: Arc<Mutex<Option<axum::Router>>>,
    pub(crate) running: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Bot {
    pub(crate) fn new() -> Self {
        let options = store::Options { driver: Driver::Inline, ..store::Options::default() };
        let store = Store::open_with(&options).unwrap();
        Self { life: Life::new(), config: loaded(HOOK).config, store, router: Arc::default(), running: None }
    }

    pub(crate) fn start(&mut self) {
        let stop = CancellationToken::new();
        let world = self.life.world(self.store.clone(), Arc::clone(&self.router));
        let options: Options = self.life.options(7);
        let bot = run_in(world, Arc::clone(&self.config), options, stop.clone());
        let task = tokio::spawn(async move { bot.await.unwrap() });
        self.running = Some((task, stop));
    }

    pub(crate) async fn stop(&mut self) {
        let (task, stop) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    /// Every list and watch of every kind.
    pub(crate) fn fail_all(&self, what: &What) {
        for resource in kubeherald::testkit::apiserver::RESOURCES.iter() {
            for verb in [Verb::List, Verb::Watch] {
                self.life.server.fault(Fault::new(verb, resource.plural, what.clone()).times(u32::MAX));
            }
        }
        self.life.server.close_watches();
    }

    pub(crate) fn heal(&self) {
        self.life.server.clear_faults();
    }

    pub(crate) async fn ready(&self) -> (u16, String) {
        ask(&self.router, "/readyz").await
    }

    pub(crate) fn told(&self) -> Vec<String> {
        let trace = self.life.receivers.trace.lock().unwrap();
        let one = |(_, _, body): &(Timestamp, String, String)| {
            let body: Value = serde_json::from_str(body).unwrap();
            match body["incidents"][0]["rule"].as_str() {
                Some(rule) => {
                    let of = body["incidents"][0]["workload"].as_str().unwrap();
                    format!("{} {rule} {of}", body["decision"].as_str().unwrap())
                }
                None => body["title"].as_str().unwrap().to_owned(),
            }
        };
        trace.iter().map(one).collect()
    }

    pub(crate) fn bodies(&self) -> Vec<Value> {
        let trace = self.life.receivers.trace.lock().unwrap();
        trace.iter().map(|(_, _, body)| serde_json::from_str(body).unwrap()).collect()
    }

    /// An OOM kill, an eviction of a pod that is gone since, and a node that ran out of memory.
    pub(crate) fn misfortunes(&self) {
        // Of a Deployment also while its ReplicaSet is not listed yet.
        let owned = checkout().label("pod-template-hash", "688988776f");
        let oom = owned.last(137, "OOMKilled", "-1h", "-1s").running("-0s").restarts(1);
        self.life.apply(oom.into());
        let victim = kubeherald::testkit::builders::pod("report-x").node("worker-1");
        self.life.apply(victim.clone().running("T-1h").into());
        self.life.apply(victim.failed("Evicted", "The node was low on resource: memory.").into());
        self.life.server.delete("Pod", "shop", "report-x");
        let why = "The node was low on resource: memory. ";
        self.life.apply(event("Pod/report-x", "Evicted", why).json());
        let why = "System OOM encountered, victim process: java, pid: 1234";
        self.life.apply(event("Node/worker-1", "SystemOOM", why).json());
    }

    /// As a power cut does.
    pub(crate) async fn kill(&mut self) {
        let (task, _) = self.running.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
}
