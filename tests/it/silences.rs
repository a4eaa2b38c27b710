//! Silences over the API of a running bot: simulated API server, real watches, real store, real
//! HTTP, and a restart.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::run::{Options, RunError, run};
use kubeherald::clock;
use kubeherald::config::load;
use kubeherald::message::Reason;
use kubeherald::store::{self, Store};
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::builders::{self, Pod, namespace, node, pod};
use kubeherald::testkit::receivers::{Received, WebhookServer};
use kubeherald::watch::stream;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::until;

/// Longer than anything takes unless it hangs.
const HANG: Duration = Duration::from_secs(60);
pub(crate) const TOKEN: &str = "a-long-token";

pub(crate) struct Cluster {
    server: ApiServer,
    pub(crate) hook: WebhookServer,
    pub(crate) dir: tempfile::TempDir,
    began: Timestamp,
}

pub(crate) struct Bot {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Cluster {
    pub(crate) async fn new(extra: &str) -> Self {
        let server = ApiServer::start().await.unwrap();
        let hook = WebhookServer::start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "cluster: lab\nreceivers:\n  hook:\n    webhook: {{url: \"{}\"}}\n    rate_limit: {{per: 1s, messages: 100, burst: 100}}\nstore: {{path: state.db}}\nhttp: {{listen: \"127.0.0.1:0\", token: {{file: token}}}}\nengine: {{group_wait: 0s}}\n{extra}\n",
            hook.url()
        );
        std::fs::write(dir.path().join("kubeherald.yaml"), text).unwrap();
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        let cluster = Self { server, hook, dir, began: clock::now() };
        cluster.apply(node("worker-1"));
        cluster.apply(namespace("shop"));
        cluster
    }

    pub(crate) fn apply(&self, object: impl Into<Value>) {
        self.server.apply(builders::at(object.into(), self.began, clock::now())).unwrap();
    }

    pub(crate) async fn start(&self) -> Bot {
        let path = self.dir.path().join("kubeherald.yaml");
        let config = load(Some(&path), &[]).unwrap_or_else(|found| panic!("{found}")).config;
        let client = stream::client(kube::Config::new(self.server.url().parse().unwrap())).unwrap();
        let (bound, listens) = oneshot::channel();
        let on_listen: Box<dyn FnOnce(SocketAddr) + Send> = Box::new(move |address| {
            bound.send(address).ok();
        });
        let options = Options { on_listen: Some(on_listen), ..Options::new(client) };
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(config, options, stop.clone()));
        let address = tokio::time::timeout(HANG, listens).await.unwrap().unwrap();
        let bot = Bot { address, stop, task };
        until("ready", async || {
            let ready = reqwest::get(format!("http://{address}/readyz")).await;
            ready.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        bot
    }

    /// How many silences the store would hold if the bot had been killed now.
    async fn stored(&self) -> usize {
        let copy = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-wal"] {
            std::fs::copy(self.dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let path = Some(copy.path().join("state.db"));
        let store = Store::open_with(&store::Options { path, ..store::Options::default() }).unwrap();
        store.load_silences().await.unwrap().len()
    }

    /// `first Pod/a`
    pub(crate) fn told(&self) -> Vec<String> {
        let bodies = self.hook.received().all();
        let told = bodies.iter().map(Received::json).map(|body| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", text(&body["decision"]), text(&body["incidents"][0]["workload"]))
        });
        told.collect()
    }
}

impl Bot {
    async fn ask(&self, method: reqwest::Method, path: &str, body: &str) -> (u16, Value) {
        let url = format!("http://{}/api/v1/silences{path}", self.address);
        let request = reqwest::Client::new().request(method, url).bearer_auth(TOKEN).body(body.to_owned());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text(answer).await).unwrap())
    }

    pub(crate) async fn list(&self, query: &str) -> Vec<Value> {
        let (status, list) = self.ask(reqwest::Method::GET, query, "").await;
        assert_eq!(status, 200);
        list.as_array().unwrap().clone()
    }

    pub(crate) async fn add(&self, body: &Value) -> (u16, Value) {
        self.ask(reqwest::Method::POST, "", &body.to_string()).await
    }

    async fn end(&self, id: &str) -> (u16, Value) {
        self.ask(reqwest::Method::DELETE, &format!("/{id}"), "").await
    }

    async fn metrics(&self) -> String {
        text(reqwest::get(format!("http://{}/metrics", self.address)).await.unwrap()).await
    }

    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        tokio::time::timeout(HANG, self.task).await.unwrap().unwrap().unwrap();
    }
}

pub(crate) async fn text(mut answer: reqwest::Response) -> String {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
        assert!(body.len() < 1024 * 1024, "an answer without an end");
    }
    String::from_utf8(body).unwrap()
}

pub(crate) fn crashing(name: &str) -> Pod {
    pod(name)
        .node("worker-1")
        .last(3, "Error", "-12s", "-10s")
        .waiting("CrashLoopBackOff", "back-off 10s restarting failed container=app")
        .restarts(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_kept_over_a_restart_and_ended() {
    let cluster = Cluster::new(
        "silences: [{name: fixed, match: {namespace: elsewhere}, until: \"2999-01-01T00:00:00Z\"}]\nmute_times: [{name: weekend, match: {severity: info}, weekdays: [sat-sun]}]",
    )
    .await;
    let bot = cluster.start().await;
    let (status, silence) = bot
        .add(&json!({"match": {"namespace": "shop", "name": {"regex": "^a"}}, "for": "2h", "comment": "known", "by": "anna"}))
        .await;
    assert_eq!(status, 200, "{silence}");
    let id = silence["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 8);
    let of = |silence: &Value| {
        let text = |key: &str| silence[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {} {} {}", text("kind"), text("state"), text("source"), text("comment"), text("by"))
    };
    assert_eq!(of(&silence), "silence active api known anna");
    assert_eq!(silence["match"], json!({"namespace": "shop", "name": {"regex": "^a"}}));
    let span = |silence: &Value| {
        let at = |key: &str| silence[key].as_str().unwrap().parse::<Timestamp>().unwrap();
        at("until").duration_since(at("from")).as_secs()
    };
    assert_eq!(span(&silence), 7200);

    cluster.apply(crashing("b"));
    cluster.apply(crashing("a"));
    until("the other pod is told", async || cluster.told() == ["first Pod/b"]).await;
    let holds = async |bot: &Bot| {
        let list = bot.list("").await;
        list.iter().find(|silence| silence["id"] == *id).map(|silence| silence["holds"].clone())
    };
    until("the pod is held back", async || holds(&bot).await == Some(json!(1))).await;
    let kinds: Vec<String> = bot.list("").await.iter().map(of).collect();
    assert_eq!(kinds[..2], ["silence active config  ", "silence active api known anna"]);
    assert!(kinds.len() == 3 && kinds[2].starts_with("mute_time "), "{kinds:?}");

    // It is on disk before the answer: not even a second may pass.
    let (_, second) =
        bot.add(&json!({"match": {"severity": "info"}, "from": "2998-01-01T00:00:00Z", "for": "1h"})).await;
    assert_eq!(second["state"], "pending");
    assert_eq!(cluster.stored().await, 2);
    bot.stopped().await;
    let bot = cluster.start().await;
    assert_eq!(holds(&bot).await, Some(json!(1)));
    let again = bot.list("").await;
    let again = again.iter().find(|silence| silence["id"] == *id).unwrap();
    assert_eq!((of(again), &again["until"]), (of(&silence), &silence["until"]));
    assert_eq!(cluster.told(), ["first Pod/b"]);

    let (status, ended) = bot.end(&id).await;
    assert_eq!((status, &ended["state"]), (200, &json!("expired")));
    until("it is told now", async || cluster.told() == ["first Pod/b", "first Pod/a"]).await;
    let there = |list: &[Value]| list.iter().any(|silence| silence["id"] == *id);
    assert!(!there(&bot.list("").await));
    assert!(there(&bot.list("?all=true").await));
    bot.stopped().await;
    let bot = cluster.start().await;
    assert!(there(&bot.list("?all=true").await) && !there(&bot.list("").await), "it stays ended");
    assert_eq!(bot.end(&id).await.0, 400);
    bot.stopped().await;

    let path = Some(cluster.dir.path().join("state.db"));
    let store = Store::open_with(&store::Options { path, ..store::Options::default() }).unwrap();
    let rows = store.history(None).await.unwrap();
    let silenced: Vec<_> = rows.iter().filter(|row| row.reason == Reason::SilencedBy.as_str()).collect();
    let [row] = silenced.as_slice() else { panic!("recorded once: {rows:#?}") };
    let detail: Value = serde_json::from_str(&row.detail).unwrap();
    for (what, expected) in [("by", &*id), ("held", "first"), ("comment", "known (by anna)")] {
        assert_eq!(detail[what], expected, "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_says_why() {
    let cluster = Cluster::new(
        "silences: [{name: fixed, match: {namespace: shop}, until: \"2999-01-01T00:00:00Z\"}]\nmute_times: [{name: weekend, weekdays: [sat-sun]}]",
    )
    .await;
    let bot = cluster.start().await;
    let error =
        |(status, answer): (u16, Value)| (status, answer["error"].as_str().unwrap_or_default().to_owned());
    let (status, said) = error(bot.add(&json!({"match": {"namspace": "shop"}, "for": "2h"})).await);
    assert_eq!(status, 400);
    assert!(said.contains("did you mean `namespace`?") && said.contains("^^^^"), "{said}");
    let (status, said) = error(bot.add(&json!({"match": {"rule": "crash-lop"}, "for": "2h"})).await);
    assert!(status == 400 && said.contains("there is no rule named `crash-lop`"), "{said}");
    let (status, said) = error(bot.end("fixed").await);
    assert!(status == 400 && said.contains("change it there"), "{said}");
    let (status, said) = error(bot.end("weekend").await);
    assert!(status == 400 && said.contains("mute time"), "{said}");
    assert_eq!(error(bot.end("nobody").await).0, 404);
    let id = bot.list("").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(error(bot.end(&id).await).0, 400, "by its id too");
    assert!(bot.list("?all=true").await.len() == 2, "nothing was added");
    bot.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_annotation_counts_over_the_watch_and_is_listed() {
    let cluster = Cluster::new("").await;
    cluster.apply(namespace("shop").annotation("kubeherald.io/mute", "true"));
    cluster.apply(namespace("other").annotation("kubeherald.io/silence-until", "tomorrow"));
    let bot = cluster.start().await;
    cluster.apply(crashing("a"));
    cluster.apply(crashing("c").namespace("other"));
    until("a wrong value hides nothing", async || cluster.told() == ["first Pod/c"]).await;
    until("it is held back and listed", async || {
        let list = bot.list("").await;
        list.len() == 1 && list[0]["holds"] == 1
    })
    .await;
    let list = bot.list("").await;
    assert_eq!(list[0]["id"], "annotation:mute:Namespace/shop");
    assert_eq!((&list[0]["source"], &list[0]["state"]), (&json!("annotation"), &json!("active")));
    assert_eq!(list[0]["match"], json!({"namespace": "shop"}));
    let all = bot.list("?all=true").await;
    assert!(all.iter().any(|entry| entry["state"] == "invalid"), "{all:#?}");
    assert_eq!(bot.end("annotation:mute:Namespace%2Fshop").await.0, 400);
    until("the mistake is counted", async || {
        bot.metrics().await.contains("kubeherald_bad_annotations_total 1\n")
    })
    .await;

    // Of what was told already, too.
    cluster.apply(namespace("other").annotation("kubeherald.io/mute", "yes"));
    until("this one is counted", async || {
        bot.metrics().await.contains("kubeherald_bad_annotations_total 2\n")
    })
    .await;

    cluster.apply(namespace("shop"));
    until("it is told", async || cluster.told() == ["first Pod/c", "first Pod/a"]).await;
    assert!(bot.list("").await.is_empty());
    bot.stopped().await;
}
