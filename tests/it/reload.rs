//! Configuration, rules and receivers change while the bot runs, against the simulated API server and
//! real webhooks: what is in force, what is told, and that nothing is lost or told twice.

mod broken;
mod burst;
mod identity;
mod limit;
mod live;
mod process;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kubeherald::app::reload::{Overrides, Source};
use kubeherald::app::run::{Options, RunError, run};
use kubeherald::clock::{self, Clock};
use kubeherald::outbox::{Backoff, Policy};
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::builders::{self, Pod};
use kubeherald::testkit::receivers::WebhookServer;
use kubeherald::watch::stream;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support;

const TOKEN: &str = "a-long-token";
/// Longer than anything takes unless it hangs.
const HANG: Duration = Duration::from_secs(60);

/// A rule that tells crash loops at once.
const CRASH: &str = "rules:\n  - {name: crash, match: {cause: CrashLoopBackOff}, severity: warning}\n";
/// No shipped rule speaks for crash loops.
const QUIET: &str = "  - {name: crash-loop, enabled: false}\n";

/// What a receiver was told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    decision: String,
    rule: String,
    workload: String,
    reason: String,
    key: String,
    title: String,
    text: String,
}

impl Told {
    fn of(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let incident = &body["incidents"][0];
        Self {
            decision: text(&body["decision"]),
            rule: text(&incident["rule"]),
            workload: text(&incident["workload"]),
            reason: text(&body["reason"]),
            key: text(&body["key"]),
            title: text(&body["title"]),
            text: text(&body["text"]),
        }
    }

    /// `first crash Pod/a`, `notice config_broken`
    fn brief(&self) -> String {
        match self.decision.as_str() {
            "notice" => format!("notice {}", self.reason),
            "expired" => format!("expired {} {} {}", self.rule, self.workload, self.reason),
            other => format!("{other} {} {}", self.rule, self.workload),
        }
    }
}

fn told(hook: &WebhookServer) -> Vec<Told> {
    hook.received().all().iter().map(|got| Told::of(&got.json())).collect()
}

fn brief(hook: &WebhookServer) -> Vec<String> {
    told(hook).iter().map(Told::brief).collect()
}

/// Waits until `done`.
async fn until(what: &str, done: impl Fn() -> bool) {
    support::until(what, async || done()).await;
}

/// Waits until exactly this was told, and a moment more for what should not come.
async fn says(hook: &WebhookServer, expected: &[&str]) {
    let wait = async {
        while brief(hook).len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANG, wait).await.ok();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(brief(hook), expected, "{:#?}", told(hook));
}

/// A pod of its own in a crash loop.
fn crashing(name: &str) -> Value {
    let pod: Pod = builders::pod(name)
        .node("worker-1")
        .last(3, "Error", "-12s", "-10s")
        .waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
        .restarts(3);
    let now = clock::now();
    builders::at(pod.into(), now, now)
}

/// A bot with its cluster and its files.
struct Site {
    server: ApiServer,
    dir: tempfile::TempDir,
    signal: Arc<Notify>,
    clock: Clock,
    poll: Duration,
}

struct Bot {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Site {
    async fn new() -> Self {
        let site = Self {
            server: ApiServer::start().await.expect("listens"),
            dir: tempfile::tempdir().expect("a directory"),
            signal: Arc::default(),
            clock: Clock::System,
            poll: Duration::from_millis(50),
        };
        site.write("token", TOKEN);
        site.write("rules/own.yaml", &format!("{CRASH}{QUIET}"));
        let now = clock::now();
        site.server.apply(builders::at(builders::node("worker-1").into(), now, now)).expect("applies");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As careful people write: the old file or the new one, never half of one.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("makes the directory");
        let part = path.with_extension("part");
        std::fs::write(&part, text).expect("writes");
        std::fs::rename(&part, &path).expect("renames");
    }

    /// A configuration with these receivers (name and address) in this order, and what is added.
    fn configure(&self, receivers: &[(&str, &str)], more: &str) {
        let mut text = String::from("cluster: lab\nreceivers:\n");
        for (name, url) in receivers {
            text.push_str(&format!(
                "  {name}:\n    webhook: {{url: \"{url}\"}}\n    rate_limit: {{per: 1s, messages: 10000, burst: 10000}}\n"
            ));
        }
        text.push_str(
            "rules: {dir: rules}\nstore: {path: state.db}\nengine: {group_wait: 0s}\nstorm: {incidents: 1000000, window: 1s}\nhttp: {listen: \"127.0.0.1:0\", token: {file: token}}\n",
        );
        text.push_str(more);
        self.write("kubeherald.yaml", &text);
    }

    fn source(&self) -> Source {
        let mut source = Source::new(Some(self.path("kubeherald.yaml")), Vec::new(), Overrides::default());
        source.poll = self.poll;
        source.settle = Duration::from_millis(20);
        source.signal = Arc::clone(&self.signal);
        source
    }

    async fn start(&self) -> Bot {
        self.start_from(self.source()).await
    }

    async fn start_from(&self, source: Source) -> Bot {
        let (begun, loaded) = source.begin().unwrap_or_else(|found| panic!("{found}"));
        let config = kube::Config::new(self.server.url().parse().expect("an address"));
        let client = stream::client(config).expect("a client");
        let (tell, address) = tokio::sync::oneshot::channel();
        self.server.set_clock(self.clock.clone());
        let options = Options {
            clock: self.clock.clone(),
            reload: Some(begun),
            policy: Policy {
                backoff: Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(100) },
                ..Policy::default()
            },
            on_listen: Some(Box::new(move |bound| {
                tell.send(bound).ok();
            })),
            ..Options::new(client)
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(loaded.config, options, stop.clone()));
        let address = address.await.expect("it listens");
        let bot = Bot { address, stop, task };
        while bot.get("/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bot
    }
}

impl Bot {
    async fn ask(&self, request: String) -> (u16, String) {
        let ask = async {
            let mut stream = TcpStream::connect(self.address).await.expect("connects");
            stream.write_all(request.as_bytes()).await.expect("asks");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("reads");
            answer
        };
        let answer = tokio::time::timeout(HANG, ask).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        (head.split(' ').nth(1).expect("a status").parse().expect("a number"), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    async fn reload(&self) -> (u16, Value) {
        let request = format!(
            "POST /-/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let (status, body) = self.ask(request).await;
        (status, serde_json::from_str(&body).expect(&body))
    }

    /// Reloads, which must succeed; what changed.
    async fn reloaded(&self) -> Vec<String> {
        let (status, body) = self.reload().await;
        assert_eq!((status, &body["reloaded"]), (200, &Value::Bool(true)), "{body}");
        body["changed"].as_array().expect("a list").iter().map(ToString::to_string).collect()
    }

    async fn metrics(&self) -> BTreeMap<String, String> {
        let (_, text) = self.get("/metrics").await;
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    async fn check(&self, name: &str) -> (String, String) {
        let (_, body) = self.get("/readyz").await;
        let body: Value = serde_json::from_str(&body).expect(&body);
        let checks = body["checks"].as_array().expect("checks");
        let found = checks.iter().find(|check| check["check"] == name).expect(name);
        let text = |key: &str| found[key].as_str().expect(key).to_owned();
        (text("status"), text("detail"))
    }

    async fn end(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(HANG, self.task).await.expect("it stops when asked to");
        ended.expect("it does not panic").expect("it ends well");
    }
}

/// What the kubelet does with a ConfigMap: links into `..data`, which is swapped as one.
fn mount(directory: &Path, version: &str, files: &[(&str, &str)]) {
    use std::os::unix::fs::symlink;
    std::fs::create_dir_all(directory.join(version)).expect("makes the directory");
    for (name, text) in files {
        std::fs::write(directory.join(version).join(name), text).expect("writes");
    }
    symlink(version, directory.join("..data_tmp")).expect("links");
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("renames");
    for (name, _) in files {
        if std::fs::symlink_metadata(directory.join(name)).is_err() {
            symlink(Path::new("..data").join(name), directory.join(name)).expect("links");
        }
    }
    for entry in std::fs::read_dir(directory).expect("lists") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("..v") && name != version {
            std::fs::remove_dir_all(entry.path()).expect("removes");
        } else if !name.starts_with("..") && !files.iter().any(|(file, _)| *file == name) {
            std::fs::remove_file(entry.path()).expect("removes");
        }
    }
}
