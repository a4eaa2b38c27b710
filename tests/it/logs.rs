//! Log tails over the wire: the real bot, a simulated API server that has logs, and a webhook.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kubeherald::app::run::{Options, RunError, run};
use kubeherald::clock;
use kubeherald::config::{Config, load};
use kubeherald::testkit::apiserver::RESOURCES;
use kubeherald::testkit::builders::{NAMESPACE, Pod, at, job, pod};
use kubeherald::testkit::receivers::WebhookServer;
use kubeherald::testkit::{ApiServer, Fault, Verb, What};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes unless it hangs.
const HANG: Duration = Duration::from_secs(60);
const LOG: &str = "pods/log";

const RULES: &str = r"
rules:
  - {name: crash-loop, match: {cause: CrashLoopBackOff}, log_tail: true, stable_for: 0s}
  - {name: oom-killed, match: {cause: OOMKilled}, log_tail: {lines: 2}}
  - {name: job-failed, match: {cause: JobFailed}, log_tail: true}
";

struct Site {
    server: ApiServer,
    hook: WebhookServer,
    dir: tempfile::TempDir,
    config: Arc<Config>,
    stop: CancellationToken,
    bot: Option<JoinHandle<Result<(), RunError>>>,
    address: Option<std::net::SocketAddr>,
    /// Whole seconds, as statuses have.
    now: Timestamp,
}

impl Site {
    async fn new(more: &str) -> Self {
        let server = ApiServer::start().await.expect("listens");
        let hook = WebhookServer::start().await.expect("listens");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("kubeherald.yaml");
        let text = format!(
            "receivers:\n  hook:\n    webhook: {{url: \"{}\"}}\n    rate_limit: {{per: 1s, messages: 1000, burst: 1000}}\n\
             engine: {{group_wait: 0s}}\nstorm: {{incidents: 1000, window: 1m}}\nstore: {{path: data/state.db}}\n\
             http: {{listen: \"127.0.0.1:0\"}}\nrules: {{paths: [rules.yaml]}}\n{more}",
            hook.url()
        );
        std::fs::create_dir(dir.path().join("data")).expect("makes");
        std::fs::write(dir.path().join("rules.yaml"), RULES).expect("writes");
        std::fs::write(&path, text).expect("writes");
        let config = load(Some(&path), &[]).unwrap_or_else(|found| panic!("{found}")).config;
        let now = Timestamp::from_second(clock::now().as_second()).expect("now");
        let stop = CancellationToken::new();
        Self { server, hook, dir, config, stop, bot: None, address: None, now }
    }

    /// A bot that watches everything.
    async fn start(more: &str) -> Self {
        let mut site = Self::new(more).await;
        site.begin().await;
        site
    }

    async fn begin(&mut self) {
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut options = Options::new(self.server.client().expect("a client"));
        options.on_listen = Some(Box::new(move |address| tell.send(address).expect("heard")));
        self.bot = Some(tokio::spawn(run(Arc::clone(&self.config), options, self.stop.clone())));
        self.address = Some(told.await.expect("it listens"));
        self.until("it watches", |site| RESOURCES.iter().all(|r| site.server.open_watches(r.plural) > 0))
            .await;
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < HANG, "never: {what}; told {:#?}", self.told());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn apply(&self, pod: &Pod) {
        self.server.apply(self.object(pod)).expect("applies");
    }

    fn object(&self, pod: &Pod) -> Value {
        at(pod.json(), self.now, self.now)
    }

    /// What run `run` of `container` wrote, so many seconds ago.
    fn log(&self, pod: &str, container: &str, run: u32, ago: u64, lines: &[&str]) {
        let when = clock::before(self.now, Duration::from_secs(ago));
        let id = format!("containerd://{container}-{run}");
        self.server.log((NAMESPACE, pod, container), &id, lines.iter().map(|line| (when, *line)));
    }

    fn told(&self) -> Vec<Value> {
        self.hook.received().all().iter().map(kubeherald::testkit::receivers::Received::json).collect()
    }

    /// The messages, once there are so many.
    async fn messages(&self, count: usize) -> Vec<Value> {
        self.until("the messages", |site| site.told().len() >= count).await;
        let told = self.told();
        assert_eq!(told.len(), count, "{told:#?}");
        told
    }

    async fn tail(&self) -> Option<String> {
        tail(&self.messages(1).await[0])
    }

    /// How often logs were not told, or told, for this reason.
    async fn outcome(&self, outcome: &str) -> u64 {
        let address = self.address.expect("it listens");
        let mut answer = reqwest::get(format!("http://{address}/metrics")).await.expect("answers");
        let mut text = String::new();
        while let Some(chunk) = answer.chunk().await.expect("reads") {
            text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
        let name = format!("kubeherald_log_tails_total{{outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{text}"));
        line.parse().expect("a number")
    }

    async fn end(&mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(HANG, self.bot.take().expect("runs")).await.expect("it stops");
        ended.expect("no panic").expect("ends well");
        self.stop = CancellationToken::new();
    }
}

/// The log in a message; its text must tell the same.
fn tail(message: &Value) -> Option<String> {
    let tail = message["incidents"][0]["log_tail"].as_str().map(str::to_owned);
    let text = message["text"].as_str().expect("a text");
    assert_eq!(text.contains("Last log lines"), tail.is_some(), "{text}");
    for line in tail.iter().flat_map(|tail| tail.lines()) {
        assert!(text.contains(&format!("\n  {line}")), "{line:?} is missing: {text}");
    }
    tail
}

/// A pod that runs for the first time.
fn running(name: &str) -> Pod {
    pod(name).owned_by_rs("checkout-688988776f").node("worker-1").running("-40s")
}

/// It waits for its third run; the second has ended ten seconds ago.
fn backing_off(name: &str) -> Pod {
    running(name).last(3, "Error", "-12s", "-10s").waiting("CrashLoopBackOff", "back-off 10s").restarts(1)
}

const POD: &str = "checkout-688988776f-lgmp4";

/// It has crashed twice, and both runs have left their logs.
async fn crashed(more: &str) -> Site {
    let site = Site::start(more).await;
    site.apply(&running(POD));
    site.log(POD, "app", 0, 30, &["the first run"]);
    site.log(POD, "app", 1, 11, &["the second run", "panic: no config"]);
    site
}

#[tokio::test]
async fn the_first_message_has_the_log_of_the_run_that_crashed() {
    let mut site = crashed("").await;
    site.apply(&backing_off(POD));
    assert_eq!(site.tail().await.as_deref(), Some("the second run\npanic: no config"));
    let logs: Vec<String> =
        site.server.requests().into_iter().filter(|r| r.plural == LOG).map(|r| r.uri).collect();
    assert_eq!(logs.len(), 1, "once for one message: {logs:?}");
    assert!(logs[0].starts_with(&format!("/api/v1/namespaces/{NAMESPACE}/pods/{POD}/log?")), "{logs:?}");
    assert!(logs[0].contains("&container=app&"), "{logs:?}");
    assert!(!logs[0].contains("previous"), "in back-off it is the current one: {logs:?}");
    assert_eq!(site.messages(1).await[0]["incidents"][0]["log_from"], Value::Null, "there is one pod only");
    assert_eq!(site.outcome("added").await, 1);

    // What comes later carries it for those who edit their first message, but does not tell it again.
    site.server.delete("Pod", NAMESPACE, POD).expect("there");
    let messages = site.messages(2).await;
    assert_eq!(messages[1]["decision"], "resolved");
    assert_eq!(messages[1]["incidents"][0]["log_tail"], messages[0]["incidents"][0]["log_tail"]);
    assert!(!messages[1]["text"].as_str().expect("text").contains("Last log lines"));
    site.end().await;
}

#[tokio::test]
async fn once_the_next_run_has_begun_it_is_the_previous_one() {
    let mut site = crashed("").await;
    site.log(POD, "app", 2, 0, &["the third run"]);
    // The bot sees the back-off; by the time it asks for the log, the third run has begun.
    let next = running(POD).running("-0s").last(3, "Error", "-12s", "-10s").restarts(2);
    site.server.fault(Fault::new(Verb::Get, "pods", What::Meanwhile(site.object(&next))));
    site.apply(&backing_off(POD));
    assert_eq!(site.tail().await.as_deref(), Some("the second run\npanic: no config"));
    assert!(site.server.requests().iter().any(|r| r.plural == LOG && r.uri.contains("previous=true")));
    site.end().await;
}

#[tokio::test]
async fn a_run_that_begins_while_the_log_is_read_is_noticed() {
    let mut site = crashed("").await;
    site.log(POD, "app", 2, 11, &["the third run"]);
    let next = running(POD).running("-0s").last(3, "Error", "-12s", "-10s").restarts(2);
    site.server.fault(Fault::new(Verb::Get, LOG, What::Meanwhile(site.object(&next))));
    site.apply(&backing_off(POD));
    assert_eq!(site.tail().await.as_deref(), Some("the second run\npanic: no config"));
    assert_eq!(site.server.count(Verb::Get, LOG), 2, "what came first was thrown away");

    // It goes on moving: rather none than a wrong one.
    for run in 3..6 {
        site.log("other", "app", run, 11, &["some run"]);
        let next = backing_off("other").restarts(i64::from(run));
        site.server.fault(Fault::new(Verb::Get, LOG, What::Meanwhile(site.object(&next))));
    }
    site.apply(&running("other").owned_by_rs("basket-5d8f"));
    site.log("other", "app", 1, 11, &["the second run"]);
    site.apply(&backing_off("other").owned_by_rs("basket-5d8f"));
    let told = site.messages(2).await;
    assert_eq!(tail(&told[1]), None);
    assert_eq!(site.outcome("moved").await, 1);
    site.end().await;
}

#[tokio::test]
async fn a_status_that_lags_behind_does_not_pass_off_another_run() {
    let mut site = Site::start("").await;
    site.apply(&running(POD));
    // The kubelet has begun the next run, and its log is the current one; the status does not know yet.
    site.log(POD, "app", 1, 0, &["starting", "ready"]);
    site.apply(&backing_off(POD));
    assert_eq!(site.tail().await, None);
    assert_eq!(site.outcome("moved").await, 1);
    site.end().await;
}

#[tokio::test]
async fn whatever_goes_wrong_the_message_goes_without() {
    let huge = "x".repeat(300_000);
    let faults: Vec<(What, &str)> = vec![
        (What::Status(403), "failed"),
        (What::Status(404), "gone"),
        (What::Status(400), "unavailable"),
        (What::Status(500), "failed"),
        (What::TooManyRequests { retry_after: 30, json: false }, "failed"),
        (What::TooManyRequests { retry_after: 30, json: true }, "failed"),
        (What::Reset, "failed"),
        (What::CutMidLine, "failed"),
        (What::Garbage, "unavailable"),
        (What::HangBeforeHeaders, "timeout"),
        (What::Silent, "timeout"),
        (What::Drip, "timeout"),
    ];
    for (what, outcome) in faults {
        let outcome = if what == What::Status(403) { "forbidden" } else { outcome };
        let mut site = crashed("log_tail: {timeout: 400ms}").await;
        site.server.fault(Fault::new(Verb::Get, LOG, what.clone()));
        site.apply(&backing_off(POD));
        assert_eq!(site.tail().await, None, "{what:?}");
        site.until("counted", |site| site.server.faults_left() == 0).await;
        assert_eq!(site.outcome(outcome).await, 1, "{what:?}");
        site.end().await;
    }
    // Too long for any limit, and removed by the node.
    for (lines, outcome) in [(vec![huge.as_str(); 20], "too_long"), (vec![], "unavailable")] {
        let mut site = Site::start("").await;
        site.apply(&running(POD));
        site.log(POD, "app", 1, 11, &lines);
        if lines.is_empty() {
            site.server.remove_log("containerd://app-1");
        }
        site.apply(&backing_off(POD));
        assert_eq!(site.tail().await, None, "{outcome}");
        assert_eq!(site.outcome(outcome).await, 1);
        site.end().await;
    }
}

#[tokio::test]
async fn long_lines_before_the_end_do_not_hide_it() {
    let huge = format!("query {}", "x".repeat(100_000));
    let mut site = Site::start("").await;
    site.apply(&running(POD));
    let mut lines = vec![huge.as_str(); 30];
    lines.extend(["panic: out of patience", "exit"]);
    site.log(POD, "app", 1, 11, &lines);
    site.apply(&backing_off(POD));
    let tail = site.tail().await.expect("a tail");
    assert!(tail.ends_with("panic: out of patience\nexit"), "{tail}");
    site.end().await;
}

#[tokio::test]
async fn a_pod_that_is_gone_or_another_by_now_has_none() {
    for again in [false, true] {
        let mut site = crashed("").await;
        let mut other = site.object(&backing_off(POD));
        other["metadata"]["uid"] = "another".into();
        // Gone before the bot asks: nothing the watch says changes that the message is on its way.
        let what = if again { What::Meanwhile(other) } else { What::Status(404) };
        site.server.fault(Fault::new(Verb::Get, "pods", what));
        site.apply(&backing_off(POD));
        site.until("a message", |site| !site.told().is_empty()).await;
        assert_eq!(tail(&site.told()[0]), None, "again {again}");
        assert_eq!(site.outcome("gone").await, 1);
        site.end().await;
    }
}

#[tokio::test]
async fn a_reader_that_hangs_holds_up_only_its_own_message_and_not_for_long() {
    let mut site = crashed("log_tail: {timeout: 2s}").await;
    site.server.fault(Fault::new(Verb::Get, LOG, What::HangBeforeHeaders).times(1000));
    // More than are read at once and wait together.
    let many = 80;
    for n in 0..many {
        site.apply(&backing_off(&format!("app-{n}")).owned_by_rs(&format!("app{n}-5d8f")));
    }
    site.until("those that found no place", |site| site.told().len() >= 10).await;
    assert!(site.server.count(Verb::Get, LOG) <= 4, "no more at once");
    let told = site.messages(many).await;
    assert!(told.iter().all(|message| tail(message).is_none()));
    assert!(site.outcome("crowded").await >= 10);
    assert_eq!(
        site.outcome("crowded").await + site.outcome("timeout").await,
        u64::try_from(many).expect("few")
    );
    site.end().await;
}

#[tokio::test]
async fn a_process_that_dies_before_the_log_came_leaves_a_message_without() {
    let mut site = crashed("log_tail: {timeout: 10s}").await;
    site.server.fault(Fault::new(Verb::Get, LOG, What::HangBeforeHeaders));
    site.apply(&backing_off(POD));
    site.until("it reads", |site| site.server.count(Verb::Get, LOG) == 1).await;
    let bot = site.bot.take().expect("runs");
    bot.abort();
    bot.await.expect_err("it was ended");
    assert!(site.told().is_empty(), "it waits for its log");
    // The store is closed when the last of the aborted tasks is gone.
    let began = Instant::now();
    tokio::time::sleep(Duration::from_millis(300)).await;
    site.begin().await;
    assert_eq!(site.tail().await, None);
    assert!(began.elapsed() < Duration::from_secs(8), "it does not wait for a log that nobody reads");
    site.end().await;
}

#[tokio::test]
async fn a_shutdown_lets_the_log_come() {
    let mut site = crashed("log_tail: {timeout: 2s}").await;
    site.server.fault(Fault::new(Verb::Get, LOG, What::Slow(Duration::from_millis(300))));
    site.apply(&backing_off(POD));
    site.until("it reads", |site| site.server.count(Verb::Get, LOG) == 1).await;
    site.end().await;
    site.begin().await;
    assert_eq!(site.tail().await.as_deref(), Some("the second run\npanic: no config"));
    assert_eq!(site.server.count(Verb::Get, LOG), 1, "nobody asks again");
    site.end().await;
}

#[tokio::test]
async fn init_containers_sidecars_and_one_of_several_pods() {
    let mut site = Site::start("").await;
    let init =
        |name: &str| pod(name).owned_by_rs("migrator-7d9").node("worker-1").container("app").init("migrate");
    site.apply(&init("migrator-1").running("-20s"));
    site.log("migrator-1", "migrate", 1, 11, &["no such table"]);
    site.apply(
        &init("migrator-1").last(1, "Error", "-12s", "-10s").waiting("CrashLoopBackOff", "").restarts(1),
    );
    assert_eq!(site.tail().await.as_deref(), Some("no such table"));

    let sidecar = |name: &str| {
        pod(name).owned_by_rs("web-7d9").node("worker-1").container("app").running("-1m").sidecar("proxy")
    };
    site.log("web-1", "proxy", 1, 11, &["cannot bind"]);
    site.apply(&sidecar("web-1").running("-20s"));
    site.apply(
        &sidecar("web-1").last(1, "Error", "-12s", "-10s").waiting("CrashLoopBackOff", "").restarts(1),
    );
    assert_eq!(tail(&site.messages(2).await[1]).as_deref(), Some("cannot bind"));
    site.end().await;

    // Two members: the message says whose log it is.
    let mut site = Site::start("").await;
    for name in ["checkout-1", "checkout-2"] {
        site.apply(&running(name));
        site.log(name, "app", 1, 11, &["panic"]);
    }
    std::fs::write(site.dir.path().join("rules.yaml"), RULES.replace("stable_for: 0s", "group_wait: 1s"))
        .expect("writes");
    site.end().await;
    site.config = load(Some(&site.dir.path().join("kubeherald.yaml")), &[]).expect("loads").config;
    site.begin().await;
    for name in ["checkout-1", "checkout-2"] {
        site.apply(&backing_off(name));
    }
    let told = site.messages(1).await;
    assert_eq!(told[0]["incidents"][0]["members_total"], 2);
    let from = told[0]["incidents"][0]["log_from"].as_str().expect("whose").to_owned();
    assert!(from == "checkout-1" || from == "checkout-2", "{from}");
    assert!(told[0]["text"].as_str().expect("text").contains(&format!("Last log lines of {from}:\n  panic")));
    site.end().await;
}

#[tokio::test]
async fn an_oom_kill_and_a_failed_job_have_theirs() {
    let mut site = Site::start("").await;
    let hog = || pod("memhog-1").owned_by_rs("memhog-7d9").node("worker-1").memory("20Mi");
    site.apply(&hog().running("-1m"));
    site.log("memhog-1", "app", 0, 11, &["one", "two", "allocating"]);
    site.apply(&hog().running("-5s").last(137, "OOMKilled", "-1m", "-10s").restarts(1));
    assert_eq!(site.tail().await.as_deref(), Some("two\nallocating"), "the rule asks for two lines");

    let report = || job("report-1");
    site.server.apply(at(report().json(), site.now, site.now)).expect("applies");
    let try_of = |name: &str| pod(name).owned_by_job("report-1").node("worker-1");
    site.apply(&try_of("report-1-abcde").terminated(2, "Error", "-12s", "-10s"));
    site.log("report-1-abcde", "app", 0, 11, &["no data"]);
    let failed = report().condition(
        "Failed",
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
        "-1s",
    );
    site.until("the pod is seen", |site| site.server.open_watches("pods") > 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    site.server.apply(at(failed.json(), site.now, site.now)).expect("applies");
    let told = site.messages(2).await;
    assert_eq!(tail(&told[1]).as_deref(), Some("no data"), "{:#}", told[1]);
    assert_eq!(told[1]["incidents"][0]["log_from"], "report-1-abcde");
    site.end().await;
}

#[tokio::test]
async fn no_secret_reaches_the_store_or_a_receiver() {
    let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let lines = [
        "VJTUt9Us8cKjMzEfYyjiWA4R4M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJ",
        key,
        "-----END RSA PRIVATE KEY-----",
        "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5NXgL0n3I9P",
        "connecting to postgres://app:hunter2hunter2@db:5432/shop",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
        "pass\u{1b}[31mword=tr0ub\u{1b}[0m4dor",
        "customer cust-4711 failed",
        "panic: all done",
    ];
    let secrets = ["VJTUt9Us", "dozjgNry", "hunter2", "IOSFODNN", "wJalrXUt", "tr0ub", "4dor", "cust-4711"];
    let mut site = Site::start("redact: {patterns: [\"cust-[0-9]+\"]}").await;
    site.apply(&running(POD));
    site.log(POD, "app", 1, 11, &lines);
    site.apply(&backing_off(POD));
    let tail = site.tail().await.expect("a tail");
    assert!(tail.ends_with("customer [masked] failed\npanic: all done"), "{tail}");
    // The incident keeps it, too.
    site.until("it is kept", |site| contains(&site.dir.path().join("data"), "panic: all done") > 1).await;
    site.end().await;
    let bodies: Vec<String> = site.told().iter().map(Value::to_string).collect();
    for secret in secrets {
        assert_eq!(contains(&site.dir.path().join("data"), secret), 0, "{secret} is in the store");
        assert!(bodies.iter().all(|body| !body.contains(secret)), "{secret} was told: {bodies:?}");
    }
}

/// How often these bytes are in the files of a directory.
fn contains(dir: &Path, text: &str) -> usize {
    let files = std::fs::read_dir(dir)
        .expect("reads")
        .map(|entry| std::fs::read(entry.expect("entry").path()).expect("reads"));
    files.map(|bytes| bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()).sum()
}
