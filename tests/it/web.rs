//! Health and metrics over HTTP, of watches on a simulated cluster and a real store.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use kubeherald::clock;
use kubeherald::config::WatchConfig;
use kubeherald::metrics::{ConfigStats, EngineStats, Metrics, Sources};
use kubeherald::outbox::{Outbox, Policy};
use kubeherald::store::{Faults, Options, Point, Store};
use kubeherald::testkit::ApiServer;
use kubeherald::watch::stream::{self, Tuning, WatchStatus};
use kubeherald::watch::{Change, Kind};
use kubeherald::web::{self, Ask, Command as Order, Control, Refusal, WebState};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes unless it hangs.
const HANG: Duration = Duration::from_secs(30);

const TOKEN: &str = "a-long-token";

struct Site {
    address: std::net::SocketAddr,
    engine: Arc<ArcSwap<EngineStats>>,
    watch: Arc<WatchStatus>,
    heartbeat: Arc<AtomicI64>,
    asked: mpsc::Receiver<Ask>,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn checks(&self) -> Vec<(String, String, String)> {
        let body: Value = serde_json::from_str(&self.body).expect(&self.body);
        assert_eq!(body["ready"], Value::Bool(self.status == 200));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let checks = body["checks"].as_array().unwrap();
        assert_eq!(self.body.lines().count(), checks.len() + 2, "one line a check:\n{}", self.body);
        checks.iter().map(|c| (text(&c["check"]), text(&c["status"]), text(&c["detail"]))).collect()
    }

    fn check(&self, name: &str) -> (String, String) {
        let found = self.checks().into_iter().find(|(check, ..)| check == name);
        found.map(|(_, status, detail)| (status, detail)).expect(name)
    }
}

impl Site {
    async fn start(store: Store, kinds: &[Kind]) -> Self {
        let engine = Arc::new(ArcSwap::from_pointee(EngineStats::default()));
        let watch = WatchStatus::new(kinds);
        let heartbeat = Arc::new(AtomicI64::new(0));
        let outbox = Outbox::new(store.clone(), clock::Clock::System, Policy::default());
        let config = Arc::new(ArcSwap::from_pointee(ConfigStats::begun(String::new(), clock::now())));
        let logs = Arc::default();
        let sources = Sources {
            engine: Arc::clone(&engine),
            config,
            watch: Arc::clone(&watch),
            store,
            outbox,
            logs,
            heartbeat: Arc::default(),
        };
        let (asks, asked) = mpsc::channel(web::api::WAITING);
        let token: web::Token = Arc::new(|| Ok(TOKEN.to_owned()));
        let control = Control::new(Some(token), asks);
        let state = WebState::new(Metrics::new(sources), Arc::clone(&heartbeat), control);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(web::serve(listener, state, stop.clone()));
        Self { address, engine, watch, heartbeat, asked, stop, server }
    }

    async fn ask(&self, request: &str) -> Answer {
        let ask = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(HANG, ask).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    async fn until(&self, what: &str, done: impl Fn(&WatchStatus) -> bool) {
        let wait = async {
            while !done(&self.watch) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(HANG, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    fn synced(&self) {
        self.engine.store(Arc::new(EngineStats { synced: true, ..EngineStats::default() }));
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(HANG, self.server).await.expect("the server ends").unwrap().unwrap();
    }
}

/// Watches on `server`; what they tell is thrown away.
fn watch(server: &ApiServer, site: &Site, kinds: &[Kind]) -> (JoinSet<Kind>, mpsc::Receiver<Change>) {
    let (tx, rx) = mpsc::channel(stream::CAPACITY);
    let client = server.client().unwrap();
    let wanted = WatchConfig::default();
    let tasks = stream::spawn(&client, &wanted, kinds, &tx, &site.watch, &site.stop, &Tuning::default());
    (tasks, rx)
}

#[tokio::test]
async fn ready_when_the_first_lists_are_done_and_a_forbidden_kind_only_degrades() {
    let kinds = [Kind::Node, Kind::Pod, Kind::Event];
    let server = ApiServer::start().await.unwrap();
    server.forbid("events");
    let site = Site::start(Store::memory().unwrap(), &kinds).await;

    let answer = site.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    assert_eq!(
        answer.check("first_lists"),
        ("failed".into(), "not listed yet: Node, Pod, Event".into()),
        "{}",
        answer.body
    );

    let watching = watch(&server, &site, &kinds);
    site.until("lists", WatchStatus::ready).await;
    assert_eq!(site.get("/readyz").await.check("first_lists").0, "failed", "the engine has not seen them");
    site.synced();
    let answer = site.get("/readyz").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.check("watch/Pod").0, "ok");
    assert_eq!(answer.check("store"), ("ok".into(), "writable".into()));
    let (status, why) = answer.check("watch/Event");
    assert_eq!(status, "degraded");
    assert!(why.contains("403") && why.contains("forbidden"), "{why}");
    let names: Vec<_> = answer.checks().into_iter().map(|(name, ..)| name).collect();
    let expected = ["first_lists", "watch/Node", "watch/Pod", "watch/Event", "config", "receivers", "store"];
    assert_eq!(names, expected);

    let metrics = site.get("/metrics").await.body;
    for line in [
        "kubeherald_watch_up{kind=\"Pod\"} 1",
        "kubeherald_watch_up{kind=\"Event\"} 0",
        "kubeherald_watch_lists_total{kind=\"Node\"} 1",
        "kubeherald_synced 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    drop(watching);
    site.end().await;
}

#[tokio::test]
async fn not_ready_where_nothing_may_be_read() {
    let kinds = [Kind::Node, Kind::Pod];
    let server = ApiServer::start().await.unwrap();
    server.forbid("nodes");
    server.forbid("pods");
    let site = Site::start(Store::memory().unwrap(), &kinds).await;
    let _watching = watch(&server, &site, &kinds);
    site.until("blind", WatchStatus::ready).await;
    site.synced();
    let answer = site.get("/readyz").await;
    assert_eq!((answer.status, answer.check("watch/Pod").0.as_str()), (503, "failed"), "{}", answer.body);
    site.end().await;
}

#[tokio::test]
async fn a_store_that_cannot_write_is_not_ready_and_its_metrics_are_missing() {
    // A panic of the writer is its end, whatever the cause.
    let faults = Faults::new(|point, name| {
        assert!(point != Point::Applied || name != "check that it can write", "injected: the disk is gone");
    });
    let store = Store::open_with(&Options { faults, ..Options::default() }).unwrap();
    let site = Site::start(store, &[]).await;
    site.synced();
    let answer = site.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.check("store").0, "failed", "{}", answer.body);
    let answer = site.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.body.contains("\nkubeherald_store_up 0\n") && !answer.body.contains("kubeherald_store_bytes")
    );
    assert_eq!(site.get("/livez").await.status, 200, "a restart mends no disk");
    site.end().await;
}

#[tokio::test]
async fn alive_while_the_engine_goes_round() {
    let site = Site::start(Store::memory().unwrap(), &[]).await;
    let answer = site.get("/livez").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "it has just begun");
    let ago = |seconds: i64| clock::now().as_millisecond() - seconds * 1000;
    site.heartbeat.store(ago(50), Ordering::Relaxed);
    assert_eq!(site.get("/livez").await.status, 200);
    site.end().await;
}

#[tokio::test]
async fn each_client_gets_the_format_it_knows() {
    let site = Site::start(Store::memory().unwrap(), &Kind::ALL).await;
    let answer = site.get("/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let prometheus = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
        Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n\r\n";
    let answer = site.ask(prometheus).await;
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        answer.head
    );
    assert!(answer.body.trim_end().ends_with("# EOF"), "chunked or not, it ends so");
    site.end().await;
}

#[tokio::test]
async fn other_paths_methods_and_noise_are_refused() {
    let site = Site::start(Store::memory().unwrap(), &[]).await;
    let index = site.get("/").await;
    assert!(index.status == 401 && index.body.contains("href=metrics"), "{}", index.body);
    assert!(index.head.contains("cache-control: no-store"));
    assert_eq!(site.get("/secret").await.status, 404);
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(site.ask(post).await.status, 405);
    assert_eq!(site.ask("\u{1}\u{2}\r\n\r\n").await.status, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(site.ask(&long).await.status, 431);
    site.end().await;
}

#[tokio::test]
async fn idle_and_silent_clients_do_not_keep_the_server_from_ending() {
    let site = Site::start(Store::memory().unwrap(), &[]).await;
    let silent = TcpStream::connect(site.address).await.unwrap();
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let address = site.address;
    site.end().await;
    assert!(TcpStream::connect(address).await.is_err());
    drop((silent, idle));
}

/// A client that connects and says nothing.
async fn silent(address: std::net::SocketAddr, from: u8) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // All of 127.0.0.0/8 is this machine.
    socket.bind(([127, 0, 0, from], 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test]
async fn silent_sockets_of_one_client_keep_no_probe_out() {
    let site = Site::start(Store::memory().unwrap(), &[]).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(silent(site.address, 9).await);
    }
    for _ in 0..16 {
        assert_eq!(site.get("/livez").await.status, 200);
    }
    // From the same address as well: a node that translates addresses has one for all.
    for _ in 0..16 {
        held.push(silent(site.address, 1).await);
        assert_eq!(site.get("/livez").await.status, 200);
    }
    let metrics = site.get("/metrics").await.body;
    let closed = metrics
        .lines()
        .find_map(|line| line.strip_prefix("kubeherald_http_connections_ended_total{how=\"closed_idle\"} "))
        .expect("counted");
    assert!(closed.parse::<u32>().unwrap() >= 48, "{closed}");
    drop(held);
    site.end().await;
}

#[tokio::test]
async fn silent_sockets_of_many_clients_keep_no_probe_out() {
    let site = Site::start(Store::memory().unwrap(), &[]).await;
    let mut held = Vec::new();
    for client in 2..34 {
        for _ in 0..8 {
            held.push(silent(site.address, client).await);
        }
    }
    for _ in 0..16 {
        assert_eq!(site.get("/livez").await.status, 200);
    }
    // Half a request is as silent as none.
    for stream in held.iter_mut().rev().take(100) {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost:").await.ok();
    }
    for _ in 0..16 {
        assert_eq!(site.get("/livez").await.status, 200);
    }
    drop(held);
    site.end().await;
}

#[tokio::test]
async fn who_says_nothing_is_hung_up_on() {
    let site = Site::start(Store::memory().unwrap(), &[]).await;
    let mut silent = silent(site.address, 2).await;
    let mut half = TcpStream::connect(site.address).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let mut end = Vec::new();
    for stream in [&mut silent, &mut half] {
        tokio::time::timeout(HANG, stream.read_to_end(&mut end)).await.expect("it ends").ok();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs promtool, named by KUBEHERALD_TEST_PROMTOOL"]
async fn promtool_finds_nothing_to_complain_about() {
    let promtool =
        std::env::var_os("KUBEHERALD_TEST_PROMTOOL").expect("KUBEHERALD_TEST_PROMTOOL names promtool");
    let site = Site::start(Store::memory().unwrap(), &Kind::ALL).await;
    let mut stats = EngineStats::default();
    stats.memory.push(("pods", 3));
    site.engine.store(Arc::new(stats));
    let metrics = site.get("/metrics").await.body;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.trim().is_empty(), "{said}\n{metrics}");
    site.end().await;
}

impl Site {
    /// One request with the token, while the bot answers `answer`.
    async fn order(&mut self, request: &str, body: &str, answer: web::Answer) -> (Answer, Option<Order>) {
        let text = format!(
            "{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut asked = std::mem::replace(&mut self.asked, mpsc::channel(1).1);
        let bot = async {
            let Ask { command, answer: to } = asked.recv().await?;
            to.send(answer).ok();
            Some(command)
        };
        let told = self.ask(&text);
        let both = async {
            tokio::pin!(told, bot);
            tokio::select! {
                told = &mut told => (told, None),
                command = &mut bot => (told.await, command),
            }
        };
        let result = both.await;
        self.asked = asked;
        result
    }
}

#[tokio::test]
async fn only_who_names_the_token_can_ask_for_anything() {
    let mut site = Site::start(Store::memory().unwrap(), &[]).await;
    for request in
        ["POST /-/reload", "GET /api/v1/silences", "POST /api/v1/silences", "DELETE /api/v1/silences/x"]
    {
        for header in [
            "",
            "Authorization: Bearer a-long-tokem\r\n",
            "Authorization: Basic YTpi\r\n",
            "Authorization: a-long-token\r\n",
        ] {
            let text = format!(
                "{request} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = site.ask(&text).await;
            assert_eq!(answer.status, 401, "{request} {header}");
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    assert!(site.asked.try_recv().is_err(), "nothing came through");
    site.end().await;
}

#[tokio::test]
async fn commands_reach_the_bot_and_its_answers_come_back() {
    let mut site = Site::start(Store::memory().unwrap(), &[]).await;
    let ok = || Ok(serde_json::json!({"fine": true}));
    let (answer, command) = site.order("POST /-/reload", "", ok()).await;
    assert_eq!((answer.status, command), (200, Some(Order::Reload)));
    assert_eq!(answer.body, "{\"fine\":true}");
    let (_, command) = site.order("GET /api/v1/silences?all=true", "", ok()).await;
    assert_eq!(command, Some(Order::Silences { all: true }));
    let (_, command) = site.order("POST /api/v1/silences", "{}", ok()).await;
    assert_eq!(command, Some(Order::AddSilence { body: "{}".into() }));
    let (answer, command) =
        site.order("DELETE /api/v1/silences/s1", "", Err(Refusal::NotFound("no silence `s1`".into()))).await;
    assert_eq!((answer.status, command), (404, Some(Order::ExpireSilence { id: "s1".into() })));
    assert_eq!(answer.body, "{\"error\":\"no silence `s1`\"}");
    let (answer, command) = site.order("POST /api/v1/silences", &"x".repeat(70_000), ok()).await;
    assert_eq!((answer.status, command), (413, None));
    site.end().await;
}
