//! A bot that may read single namespaces only: a Role in each of them, and no ClusterRole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::run::run_in;
use kubeherald::signal::Phase;
use kubeherald::store::{self, Driver, Store};
use kubeherald::testkit::builders::{self, Pod, deployment, pod, replica_set};
use kubeherald::watch::decode::decode;
use kubeherald::watch::{Change, ClusterState, Kind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::world::{HOOK, Life, ask, in_paused_time, loaded};

const PLURALS: [&str; 9] = [
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "cronjobs",
    "jobs",
    "persistentvolumeclaims",
    "pods",
    "events",
];

type Router = Arc<Mutex<Option<axum::Router>>>;

struct Bot {
    life: Life,
    store: Store,
    router: Router,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), kubeherald::app::run::RunError>>,
}

impl Bot {
    /// Watches `include`; Roles allow it in `roles`.
    fn start(watch: &str, roles: &[&str]) -> Self {
        let life = Life::new();
        for namespace in ["team-b", "locked", "foreign"] {
            life.apply(deployment("checkout").namespace(namespace).into());
            let set = replica_set("checkout-688988776f").namespace(namespace);
            life.apply(set.owned_by("Deployment", "checkout").into());
        }
        life.server.only_roles_in(roles);
        let options = store::Options { driver: Driver::Inline, ..store::Options::default() };
        let store = Store::open_with(&options).unwrap();
        let (router, stop) = (Router::default(), CancellationToken::new());
        let config = Arc::clone(&loaded(&format!("{HOOK}watch: {watch}\n")).config);
        let world = life.world(store.clone(), Arc::clone(&router));
        let task = tokio::spawn(run_in(world, config, life.options(3), stop.clone()));
        Self { life, store, router, stop, task }
    }

    fn crash(&self, namespace: &str) {
        self.life.apply(looping(namespace).into());
    }

    /// Decision and namespace of what was told; of a notice its title.
    fn told(&self) -> Vec<String> {
        let bodies = self.life.receivers.trace.lock().unwrap();
        let line = |body: &str| {
            let body: Value = serde_json::from_str(body).unwrap();
            let one = body["incidents"][0]["namespace"].as_str().or(body["title"].as_str());
            format!("{} {}", body["decision"].as_str().unwrap(), one.unwrap_or_default())
        };
        bodies.iter().map(|(_, _, body)| line(body)).collect()
    }

    /// Name, status and detail of each check.
    async fn ready(&self) -> (u16, BTreeMap<String, (String, String)>) {
        let (status, body) = ask(&self.router, "/readyz").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let checks = body["checks"].as_array().unwrap().iter().map(|check| {
            let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            (text("check"), (text("status"), text("detail")))
        });
        (status, checks.collect())
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn looping(namespace: &str) -> Pod {
    pod("checkout-688988776f-aaaaa")
        .namespace(namespace)
        .owned_by("ReplicaSet", "checkout-688988776f")
        .node("worker-1")
        .last(1, "Error", "-20s", "-10s")
        .waiting("CrashLoopBackOff", "back-off restarting failed container")
        .restarts(3)
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

#[test]
fn a_role_in_each_namespace_is_enough() {
    in_paused_time(|| async {
        let bot = Bot::start("{namespaces: {include: [shop, team-b]}}", &["shop", "team-b"]);
        seconds(60).await;
        let (status, checks) = bot.ready().await;
        assert_eq!(status, 200, "{checks:?}");
        for kind in ["Node", "Namespace"] {
            let (status, detail) = &checks[&format!("watch/{kind}")];
            assert_eq!(status, "ok", "{detail}");
            assert!(detail.starts_with("not watched: not permitted (403"), "{detail}");
        }
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_namespaced()) {
            assert_eq!(checks[&format!("watch/{kind}")].0, "ok");
        }
        for plural in PLURALS {
            let open = bot.life.server.open_watches(plural);
            assert_eq!(open, 2, "{plural}: one watch for each namespace");
        }
        let whole = |uri: &str| !uri.contains("/namespaces/");
        let asked = bot.life.server.requests();
        assert!(asked.iter().all(|r| !PLURALS.contains(&r.plural) || !whole(&r.uri)), "of the whole cluster");

        for namespace in ["shop", "team-b", "foreign"] {
            bot.crash(namespace);
        }
        seconds(60).await;
        assert_eq!(bot.told(), ["first shop", "first team-b"]);
        bot.life.apply(looping("shop").running("-1s").restarts(4).into());
        seconds(1200).await;
        assert_eq!(bot.told(), ["first shop", "first team-b", "resolved shop"]);
        let (_, metrics) = ask(&bot.router, "/metrics").await;
        assert!(metrics.contains("kubeherald_watch_up{kind=\"Pod\"} 1"), "{metrics}");
        assert!(!metrics.contains("kubeherald_watch_up{kind=\"Node\"}"), "not watched is not down");
        assert!(!metrics.contains("team-b"), "no label for each namespace");
        bot.end().await;
    });
}

#[test]
fn a_namespace_without_a_role_is_announced_and_hides_nothing_of_the_others() {
    in_paused_time(|| async {
        let bot = Bot::start("{namespaces: {include: [shop, locked]}}", &["shop"]);
        seconds(120).await;
        let told = bot.told();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("notice Blind: 9 kinds of objects cannot be read"), "{told:?}");
        let (status, checks) = bot.ready().await;
        assert_eq!(status, 200);
        let (health, detail) = &checks["watch/Pod"];
        assert_eq!(health, "degraded");
        assert!(detail.starts_with("cannot be read in 1 of 2 namespaces: namespace locked: 403"), "{detail}");

        // What can be read is told, and is over when it is over.
        bot.crash("shop");
        seconds(60).await;
        bot.life.apply(looping("shop").running("-1s").restarts(4).into());
        seconds(1800).await;
        assert_eq!(bot.told()[1..], ["first shop", "resolved shop"]);
        // And up to when it was seen goes on: after a restart nothing old is news.
        let marks: BTreeMap<String, String> = bot.store.load_marks().await.unwrap().into_iter().collect();
        let seen: Timestamp = marks["seen_until.Pod"].parse().unwrap();
        let now = bot.life.clock.truth();
        assert!(now.duration_since(seen).as_secs() < 300, "{seen} at {now}");

        bot.life.server.only_roles_in(&["shop", "locked"]);
        bot.crash("locked");
        seconds(900).await;
        let told = bot.told();
        assert!(told.contains(&"first locked".to_owned()), "{told:?}");
        assert!(told.iter().any(|line| line.starts_with("notice No longer blind")), "{told:?}");
        let (_, checks) = bot.ready().await;
        assert_eq!(checks["watch/Pod"].0, "ok", "{checks:?}");
        bot.end().await;
    });
}

#[test]
fn kinds_can_be_left_out() {
    in_paused_time(|| async {
        let watch = "{namespaces: {include: [shop]}, kinds: {exclude: [Node, Namespace]}}";
        let bot = Bot::start(watch, &["shop"]);
        seconds(60).await;
        let (status, checks) = bot.ready().await;
        assert_eq!(status, 200);
        assert!(!checks.contains_key("watch/Node") && checks.contains_key("watch/Pod"), "{checks:?}");
        assert_eq!(bot.life.server.lists("nodes") + bot.life.server.lists("namespaces"), 0);
        bot.crash("shop");
        seconds(60).await;
        assert_eq!(bot.told(), ["first shop"]);
        bot.end().await;
    });
}

#[test]
fn a_role_that_is_taken_away_leaves_the_incidents_of_its_namespace_open() {
    in_paused_time(|| async {
        let bot = Bot::start("{namespaces: {include: [shop, team-b]}}", &["shop", "team-b"]);
        seconds(60).await;
        bot.crash("shop");
        bot.crash("team-b");
        seconds(60).await;
        bot.life.server.only_roles_in(&["shop"]);
        seconds(30).await;
        // Nobody can see that this is over.
        bot.life.apply(looping("team-b").running("-1s").restarts(4).into());
        bot.life.apply(looping("shop").running("-1s").restarts(4).into());
        seconds(1800).await;
        let ended: Vec<String> = bot.told().into_iter().filter(|line| line.starts_with("resolved")).collect();
        assert_eq!(ended, ["resolved shop"], "{:?}", bot.told());
        bot.end().await;
    });
}

type Make = fn(&str, &str) -> Value;

/// A new list of one namespace says nothing about the objects of others.
#[test]
fn a_list_of_one_namespace_sweeps_that_namespace_only() {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let object = |json: Value| {
        let json = builders::at(json, at, at);
        decode(Kind::parse(json["kind"].as_str().unwrap()).unwrap(), &json.to_string()).unwrap()
    };
    let kinds: [(Kind, Make); 3] = [
        (Kind::Pod, |ns, name| pod(&format!("{name}-{ns}")).namespace(ns).into()),
        (Kind::Deployment, |ns, name| deployment(name).namespace(ns).into()),
        (Kind::PersistentVolumeClaim, |ns, name| builders::claim(name).namespace(ns).into()),
    ];
    for (kind, make) in kinds {
        let mut memory = ClusterState::new(&[kind], at, false);
        let mut out = Vec::new();
        let mut feed = |change: Change| {
            out.clear();
            let complete = memory.apply(at, change, &mut out);
            let gone = out.iter().filter(|signal| signal.phase == Phase::Gone);
            let gone: Vec<String> = gone.map(|s| s.object.namespace.as_deref().unwrap().to_owned()).collect();
            (complete, gone)
        };
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        // The lists of both are under way at the same time.
        feed(Change::ListingIn(kind, Arc::clone(&a)));
        feed(Change::ListingIn(kind, Arc::clone(&b)));
        for namespace in ["a", "b"] {
            feed(Change::Initial(object(make(namespace, "x"))));
        }
        assert_eq!(feed(Change::ListedIn(kind, Arc::clone(&a))), (false, vec![]));
        assert_eq!(feed(Change::ListedIn(kind, Arc::clone(&b))), (false, vec![]));
        assert_eq!(feed(Change::Listed(kind)), (true, vec![]), "the first picture is complete");

        feed(Change::ListingIn(kind, Arc::clone(&a)));
        feed(Change::ListingIn(kind, Arc::clone(&b)));
        assert_eq!(feed(Change::ListedIn(kind, Arc::clone(&a))).1, ["a"], "{kind}");
        feed(Change::Initial(object(make("b", "x"))));
        assert!(feed(Change::ListedIn(kind, Arc::clone(&b))).1.is_empty(), "{kind}");

        // A list with an object that cannot even be named proves no absence, in its namespace.
        feed(Change::ListingIn(kind, Arc::clone(&b)));
        let nameless = |namespace: &str| Change::Undecodable {
            kind,
            namespace: namespace.to_owned(),
            name: String::new(),
            uid: String::new(),
        };
        feed(nameless("b"));
        assert!(feed(Change::ListedIn(kind, Arc::clone(&b))).1.is_empty(), "{kind}");
        feed(Change::ListingIn(kind, Arc::clone(&b)));
        feed(nameless("a"));
        assert_eq!(feed(Change::ListedIn(kind, Arc::clone(&b))).1, ["b"], "{kind}");
    }
}
