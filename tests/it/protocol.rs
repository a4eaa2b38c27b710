//! The watches against a simulated API server that does wrong everything a real one can: in the
//! end the receiver knows what the server has.

mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kubeherald::config::WatchConfig;
use kubeherald::testkit::{ApiServer, Fault, Verb, What};
use kubeherald::watch::stream::{self, Pace, Tuning, WatchState, WatchStatus};
use kubeherald::watch::{Change, Kind};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes unless it hangs.
const HANG: Duration = Duration::from_secs(30);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Impatient, and with pages of two.
fn tuning() -> Tuning {
    Tuning {
        watch_timeout: Duration::from_secs(30),
        headers_timeout: ms(500),
        page_timeout: ms(800),
        stale_after: ms(1500),
        backoff_min: ms(10),
        backoff_max: ms(100),
        blind_min: ms(50),
        blind_max: ms(100),
        pod_page: 2,
        page: 2,
        empty_watch: ms(10),
        requests: Pace { burst: 10_000, every: ms(1) },
        ..Tuning::default()
    }
}

type Key = (Kind, String, String);

/// What a receiver knows, rebuilt from the changes as `watch::ClusterState` does.
#[derive(Default)]
struct Known {
    /// The last readable version of each object.
    objects: BTreeMap<Key, String>,
    seen: BTreeMap<Kind, BTreeSet<Key>>,
    /// Kinds of which namespaces are listed one by one.
    by_namespace: BTreeSet<Kind>,
    log: Vec<String>,
}

impl Known {
    fn take(&mut self, change: Change) {
        let key = |object: &kubeherald::watch::Object| {
            let meta = object.metadata();
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            ((object.kind(), text(&meta.namespace), text(&meta.name)), text(&meta.resource_version))
        };
        match change {
            Change::Listing(kind) => {
                self.log.push(format!("listing {kind}"));
                self.seen.insert(kind, BTreeSet::new());
            }
            Change::Initial(object) | Change::Applied(object) => {
                let (key, version) = key(&object);
                self.seen.entry(key.0).or_default().insert(key.clone());
                self.objects.insert(key, version);
            }
            Change::Undecodable { kind, namespace, name, .. } => {
                self.log.push(format!("undecodable {kind} {name}"));
                self.seen.entry(kind).or_default().insert((kind, namespace, name));
            }
            Change::Listed(kind) => {
                self.log.push(format!("listed {kind}"));
                if self.by_namespace.contains(&kind) {
                    return;
                }
                let seen = self.seen.remove(&kind).expect("listed without listing");
                self.objects.retain(|key, _| key.0 != kind || seen.contains(key));
            }
            Change::ListingIn(kind, namespace) => {
                self.log.push(format!("listing {kind} in {namespace}"));
                self.by_namespace.insert(kind);
                self.seen.entry(kind).or_default().retain(|key| key.1 != *namespace);
            }
            Change::ListedIn(kind, namespace) => {
                self.log.push(format!("listed {kind} in {namespace}"));
                let seen = self.seen.get(&kind).expect("listed without listing");
                self.objects.retain(|key, _| key.0 != kind || key.1 != *namespace || seen.contains(key));
            }
            Change::Deleted(object) => {
                self.objects.remove(&key(&object).0);
            }
            Change::Blind(kind, why) => self.log.push(format!("blind {kind}: {why}")),
            _ => {}
        }
    }
}

struct Bot {
    kinds: Vec<Kind>,
    known: Arc<Mutex<Known>>,
    status: Arc<WatchStatus>,
    cancel: CancellationToken,
    tasks: JoinSet<Kind>,
}

impl Bot {
    fn start(server: &ApiServer, kinds: &[Kind], cfg: &WatchConfig, tuning: &Tuning) -> Self {
        let (tx, mut rx) = mpsc::channel(4);
        let status = WatchStatus::new(kinds);
        let cancel = CancellationToken::new();
        let client = server.client().unwrap();
        let tasks = stream::spawn(&client, cfg, kinds, &tx, &status, &cancel, tuning);
        let known = Arc::new(Mutex::new(Known::default()));
        let into = Arc::clone(&known);
        tokio::spawn(async move {
            while let Some(change) = rx.recv().await {
                into.lock().unwrap().take(change);
            }
        });
        Self { kinds: kinds.to_vec(), known, status, cancel, tasks }
    }

    async fn until(&self, what: &str, done: impl Fn(&Known) -> bool) {
        let waiting = async {
            while !done(&self.known.lock().unwrap()) {
                tokio::time::sleep(ms(5)).await;
            }
        };
        if tokio::time::timeout(HANG, waiting).await.is_err() {
            let known = self.known.lock().unwrap();
            panic!("{what}: {:?}\n{:?}\n{:?}", known.objects, known.log, self.status.snapshot());
        }
    }

    /// Waits until the receiver knows exactly what the server has.
    async fn agrees(&self, server: &ApiServer) {
        let mut truth = BTreeMap::new();
        for &kind in &self.kinds {
            for object in server.objects(kind.as_str()) {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
                truth.insert((kind, text("namespace"), text("name")), text("resourceVersion"));
            }
        }
        self.until(&format!("no agreement on {truth:?}"), |known| known.objects == truth).await;
    }

    fn log(&self) -> Vec<String> {
        self.known.lock().unwrap().log.clone()
    }
}

fn pod(name: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "n"}, "status": {"phase": "Running"}})
}

async fn server() -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    server.set_bookmark_interval(ms(100));
    for i in 0..5 {
        server.apply(pod(&format!("p{i}"))).unwrap();
    }
    server
}

fn change(server: &ApiServer, round: usize) {
    server.delete("Pod", "n", &format!("p{round}")).unwrap();
    server.apply(pod("p4")).unwrap();
    server.apply(pod(&format!("new{round}"))).unwrap();
}

/// Everything is well, then the faults happen to the next requests while objects change, then
/// everything is well again, and each time the receiver ends up with the truth.
async fn survives(faults: Vec<Fault>) -> (ApiServer, Bot) {
    let server = server().await;
    let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &tuning());
    bot.agrees(&server).await;
    for fault in faults {
        server.fault(fault);
    }
    server.close_watches();
    change(&server, 0);
    bot.agrees(&server).await;
    let calm = async {
        while server.faults_left() > 0 {
            server.close_watches();
            tokio::time::sleep(ms(20)).await;
        }
    };
    tokio::time::timeout(HANG, calm).await.expect("faults are left");
    change(&server, 1);
    bot.agrees(&server).await;
    // A list may have shown the last changes; it is the watch that has to be well.
    bot.until("watching", |_| bot.status.of(Kind::Pod).unwrap().state == WatchState::Watching).await;
    (server, bot)
}

fn watch(what: What) -> Fault {
    Fault::new(Verb::Watch, "pods", what)
}

fn list(what: What) -> Fault {
    Fault::new(Verb::List, "pods", what)
}

macro_rules! survives {
    ($($name:ident: $($fault:expr),+;)+) => {$(
        #[tokio::test]
        async fn $name() {
            survives(vec![$($fault),+]).await;
        }
    )+};
}

survives! {
    survives_410_in_the_stream: watch(What::GoneInStream);
    survives_410_again_and_again: watch(What::GoneInStream).times(4);
    survives_410_as_the_status_of_a_watch: watch(What::GoneHttp).times(2);
    survives_410_as_the_status_of_a_list: watch(What::GoneInStream), list(What::GoneHttp).times(2);
    survives_expired_pages: watch(What::GoneInStream), list(What::ExpirePage).times(2);
    survives_504_in_the_stream: watch(What::ErrorInStream(504));
    survives_504_as_the_status_of_a_watch: watch(What::Status(504)).times(2);
    survives_errors_in_the_stream: watch(What::ErrorInStream(500)).times(5);
    survives_429_in_json: watch(What::TooManyRequests { retry_after: 1, json: true });
    survives_429_in_text: watch(What::GoneInStream), list(What::TooManyRequests { retry_after: 1, json: false });
    survives_500: watch(What::Status(500)).times(5), list(What::Status(500)).times(4);
    survives_503: watch(What::Status(503)).times(5);
    survives_a_cut_mid_line: watch(What::CutMidLine).times(3);
    survives_a_list_cut_mid_line: watch(What::GoneInStream), list(What::CutMidLine).times(3);
    survives_a_silent_connection: watch(What::Silent);
    survives_a_silent_list: watch(What::GoneInStream), list(What::Silent);
    survives_a_hang_before_headers: watch(What::HangBeforeHeaders).times(2);
    survives_a_list_that_hangs: watch(What::GoneInStream), list(What::HangBeforeHeaders);
    survives_resets: watch(What::Reset).times(3), list(What::Reset).times(1), watch(What::GoneInStream);
    survives_watches_that_end_at_once: watch(What::CloseWatches).times(10);
    survives_garbage: watch(What::Garbage).times(2), list(What::Garbage).times(2);
}

/// kube's watcher asks again with the same version for ever.
#[tokio::test]
async fn a_version_that_is_refused_for_good_is_given_up() {
    for code in [410, 504, 500] {
        let server = server().await;
        let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &tuning());
        bot.agrees(&server).await;
        server.fault(watch(What::Status(code)).times(1_000_000));
        server.close_watches();
        change(&server, 0);
        bot.agrees(&server).await;
    }
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let wait = What::TooManyRequests { retry_after: 2, json: false };
    let began = tokio::time::Instant::now();
    survives(vec![watch(wait)]).await;
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn an_overloaded_or_absent_server_is_not_asked_for_lists() {
    let faults = [What::Status(503), What::TooManyRequests { retry_after: 0, json: true }, What::Reset];
    let (server, bot) = survives(faults.map(|what| watch(what).times(4)).to_vec()).await;
    assert_eq!((server.lists("pods"), bot.status.of(Kind::Pod).unwrap().restarts), (3, 0));
}

#[tokio::test]
async fn bookmarks_alone_keep_a_watch_alive() {
    let server = server().await;
    let patience = Tuning { stale_after: ms(600), quiet_after: ms(600), ..tuning() };
    let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &patience);
    bot.agrees(&server).await;
    tokio::time::sleep(ms(2000)).await;
    // It moved on with the bookmarks: what came before is not needed to resume.
    server.apply(json!({"kind": "Node", "metadata": {"name": "other"}})).unwrap();
    tokio::time::sleep(ms(300)).await;
    server.compact();
    server.close_watches();
    change(&server, 0);
    bot.agrees(&server).await;
    assert_eq!(bot.status.of(Kind::Pod).unwrap().restarts, 0);
    assert_eq!((server.lists("pods"), bot.log().len()), (3, 2));
}

#[tokio::test]
async fn a_malformed_object_harms_no_other_and_is_not_taken_for_absent() {
    let server = server().await;
    let bad = json!({"metadata": {"name": "p1"}, "status": {"phase": {"not": "a string"}}});
    server.fault(list(What::MalformedObject(bad.clone())).times(3));
    let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &tuning());
    let names = |known: &Known| known.objects.keys().map(|k| k.2.clone()).collect::<Vec<_>>();
    bot.until("list", |known| names(known) == ["p0", "p2", "p3", "p4"]).await;
    assert_eq!(bot.log(), ["listing Pod", "undecodable Pod p1", "listed Pod"]);

    // Readable once, then not: what was known stays, also over a list.
    server.apply(pod("p1")).unwrap();
    bot.agrees(&server).await;
    server.fault(watch(What::MalformedObject(bad.clone())));
    server.close_watches();
    server.apply(pod("p1")).unwrap();
    server.apply(pod("p2")).unwrap();
    let of_p2 = server.version().to_string();
    bot.until("watch", |known| known.objects.values().any(|version| *version == of_p2)).await;
    server.fault(watch(What::GoneInStream));
    server.fault(list(What::MalformedObject(bad)).times(3));
    server.close_watches();
    server.delete("Pod", "n", "p3").unwrap();
    bot.until("relist", |known| names(known) == ["p0", "p1", "p2", "p4"]).await;
    assert_eq!(bot.status.of(Kind::Pod).unwrap().bad_objects, 3);

    // Deleted in a state that nobody can read.
    server
        .apply(json!({"kind": "Pod", "metadata": {"name": "p1", "namespace": "n"}, "status": {"phase": []}}))
        .unwrap();
    server.delete("Pod", "n", "p1").unwrap();
    bot.agrees(&server).await;
}

#[tokio::test]
async fn a_deletion_during_a_disconnect_is_noticed_even_when_the_history_is_gone() {
    let server = server().await;
    let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &tuning());
    bot.agrees(&server).await;
    server.fault(watch(What::HangBeforeHeaders));
    server.close_watches();
    server.delete("Pod", "n", "p2").unwrap();
    server.compact();
    bot.agrees(&server).await;
}

#[tokio::test]
async fn a_forbidden_kind_is_announced_once_and_the_others_go_on() {
    let server = server().await;
    let kinds = [Kind::Node, Kind::Pod];
    let bot = Bot::start(&server, &kinds, &WatchConfig::default(), &tuning());
    bot.agrees(&server).await;
    server.forbid("pods");
    bot.until("blind", |known| known.log.iter().any(|l| l.starts_with("blind Pod: 403: pods is forbidden")))
        .await;
    assert_eq!(bot.status.of(Kind::Pod).unwrap().state, WatchState::Blind);
    assert!(bot.status.ready());
    server.apply(json!({"kind": "Node", "metadata": {"name": "node"}})).unwrap();
    bot.until("node", |known| known.objects.keys().any(|k| k.2 == "node")).await;
    let asked = server.lists("pods") + server.watches("pods");
    bot.until("retries", |_| server.lists("pods") + server.watches("pods") >= asked + 3).await;

    server.delete("Pod", "n", "p0").unwrap();
    server.allow("pods");
    bot.agrees(&server).await;
    let pods: Vec<_> = bot.log().into_iter().filter(|l| l.contains("Pod")).collect();
    assert_eq!(pods.len(), 5, "{pods:?}");
    assert!(pods[2].starts_with("blind") && pods[3] == "listing Pod" && pods[4] == "listed Pod");
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let server = server().await;
    let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &tuning());
    bot.agrees(&server).await;
    server.stop().await;
    change(&server, 0);
    tokio::time::sleep(ms(500)).await;
    server.restart().await.unwrap();
    bot.agrees(&server).await;
    assert_eq!(bot.log().len(), 2, "the history bridges it: {:?}", bot.log());
}

#[tokio::test]
async fn a_server_that_stays_away_is_announced_and_then_listed() {
    let server = server().await;
    let watched = WatchConfig { blind_after: ms(300), ..WatchConfig::default() };
    let bot = Bot::start(&server, &[Kind::Pod], &watched, &tuning());
    bot.agrees(&server).await;
    server.stop().await;
    bot.until("blind", |known| known.log.iter().any(|l| l.starts_with("blind Pod: "))).await;
    change(&server, 0);
    server.restart().await.unwrap();
    bot.agrees(&server).await;
    bot.until("listed", |known| known.log.iter().filter(|l| *l == "listed Pod").count() == 2).await;
    assert_eq!(bot.log().len(), 5, "{:?}", bot.log());
}

#[tokio::test]
async fn versions_that_run_backwards_are_noticed() {
    let server = server().await;
    let backup = server.backup();
    let patience = Tuning { watch_timeout: Duration::from_secs(1), quiet_after: ms(1500), ..tuning() };
    let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &patience);
    for i in 0..20 {
        server.apply(pod(&format!("later{i}"))).unwrap();
    }
    bot.agrees(&server).await;
    server.restore(&backup);
    // Below the version the watch asks for: it is accepted, and silent.
    server.delete("Pod", "n", "p0").unwrap();
    bot.agrees(&server).await;
    change(&server, 1);
    bot.agrees(&server).await;
}

#[tokio::test]
async fn a_watch_is_renewed_now_and_then() {
    let server = server().await;
    let patience = Tuning { relist: ms(300), ..tuning() };
    let bot = Bot::start(&server, &[Kind::Pod], &WatchConfig::default(), &patience);
    bot.until("lists", |known| known.log.iter().filter(|l| *l == "listed Pod").count() >= 3).await;
    bot.agrees(&server).await;
}

#[tokio::test]
async fn every_kind_is_watched_and_some_only_by_their_metadata() {
    let server = ApiServer::start().await.unwrap();
    for kind in Kind::ALL {
        server.apply(json!({"kind": kind.as_str(), "metadata": {"name": "one", "namespace": "n"}})).unwrap();
    }
    let bot = Bot::start(&server, &Kind::ALL, &WatchConfig::default(), &tuning());
    bot.agrees(&server).await;
    for kind in Kind::ALL {
        server.apply(json!({"kind": kind.as_str(), "metadata": {"name": "two", "namespace": "n"}})).unwrap();
        server.delete(kind.as_str(), "n", "one");
        server.delete(kind.as_str(), "", "one");
    }
    bot.agrees(&server).await;
    assert!(bot.status.ready());
    for request in server.requests() {
        let metadata = request.plural == "replicasets";
        assert_eq!(request.partial, metadata, "{request:?}");
    }
}

#[tokio::test]
async fn only_wanted_namespaces_pass() {
    let server = server().await;
    server.apply(json!({"kind": "Node", "metadata": {"name": "node"}})).unwrap();
    let event = |name: &str, about: &str| json!({"kind": "Event", "metadata": {"name": name, "namespace": "default"}, "involvedObject": {"kind": about}});
    server.apply(event("of-node", "Node")).unwrap();
    server.apply(event("of-pod", "Pod")).unwrap();
    server.apply(json!({"kind": "Pod", "metadata": {"name": "mine", "namespace": "team"}})).unwrap();
    let cfg = WatchConfig { include: vec!["team".into()], ..WatchConfig::default() };
    let bot = Bot::start(&server, &[Kind::Node, Kind::Pod, Kind::Event], &cfg, &tuning());
    let names = |known: &Known| known.objects.keys().map(|k| k.2.clone()).collect::<Vec<_>>();
    bot.until("names", |known| known.log.len() == 10 && names(known) == ["node", "mine", "of-node"]).await;
    change(&server, 0);
    server.delete("Pod", "team", "mine").unwrap();
    bot.until("names", |known| names(known) == ["node", "of-node"]).await;
    let log = bot.log();
    assert!(log.contains(&"listed Event in default".to_owned()), "Events about nodes are there: {log:?}");
    assert!(log.contains(&"listed Pod in team".to_owned()) && !log.contains(&"listing Pod".to_owned()));
}

#[tokio::test]
async fn cancelled_watches_end() {
    let server = server().await;
    let mut bot = Bot::start(&server, &Kind::ALL, &WatchConfig::default(), &tuning());
    bot.until("lists", |known| known.log.len() >= 22).await;
    bot.cancel.cancel();
    let ended = async {
        while let Some(task) = bot.tasks.join_next().await {
            task.unwrap();
        }
    };
    tokio::time::timeout(HANG, ended).await.expect("tasks are left");
}

#[tokio::test]
async fn watches_end_when_nobody_receives() {
    let server = server().await;
    let (tx, rx) = mpsc::channel(4);
    let status = WatchStatus::new(&[Kind::Pod]);
    let cancel = CancellationToken::new();
    let client = server.client().unwrap();
    let cfg = WatchConfig::default();
    let mut tasks = stream::spawn(&client, &cfg, &[Kind::Pod], &tx, &status, &cancel, &tuning());
    drop((tx, rx));
    let ended = tokio::time::timeout(HANG, tasks.join_next()).await.expect("the task is left");
    assert_eq!(ended.unwrap().unwrap(), Kind::Pod);
}
