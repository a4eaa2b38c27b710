//! Digests of the whole bot: real watches, store, outbox and mails, on a clock that runs fast.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::run::{Options, RunError, run};
use kubeherald::clock::Clock;
use kubeherald::config::{Config, load};
use kubeherald::outbox::{Backoff, Policy};
use kubeherald::store::{OutboxQuery, OutboxStates, Store};
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::builders::{self, deployment, node, pod, replica_set};
use kubeherald::testkit::receivers::{ReceivedMail, SmtpServer};
use kubeherald::watch::stream;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SPEED: u32 = 30;

struct World {
    server: ApiServer,
    dir: tempfile::TempDir,
    clock: Clock,
    begin: Timestamp,
}

impl World {
    /// Two minutes before eight in Berlin; digests every five minutes.
    async fn new() -> Self {
        let begin: Timestamp = "2026-02-04T06:58:00Z".parse().unwrap();
        let server = ApiServer::start().await.unwrap();
        let clock = Clock::played(begin, SPEED);
        server.set_clock(clock.clone());
        let world = Self { server, dir: tempfile::tempdir().unwrap(), clock, begin };
        world.see(node("worker-1"));
        world.see(deployment("checkout").label("team", "payments"));
        world.see(replica_set("checkout-688988776f"));
        world
    }

    fn see(&self, object: impl Into<serde_json::Value>) {
        self.server.apply(builders::at(object.into(), self.begin, self.clock.now())).unwrap();
    }

    /// A pod of Deployment/NAME that crashes, or has stopped to.
    fn crashes(&self, name: &str) {
        let rs = format!("{name}-688988776f");
        let pod = pod(&format!("{rs}-aaaaa")).owned_by_rs(&rs).node("worker-1").label("team", "payments");
        let why = "back-off 10s restarting failed container=app";
        self.see(pod.last(3, "Error", "-12s", "-10s").waiting("CrashLoopBackOff", why).restarts(4));
    }

    fn config(&self, mail: &str) -> Arc<Config> {
        let path = self.dir.path().join("kubeherald.yaml");
        let text = format!("cluster: lab\nreceivers:\n{mail}\nstore: {{path: state.db}}\n");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), &[]).unwrap_or_else(|found| panic!("{found}")).config
    }

    fn start(&self, config: Arc<Config>, stop: &CancellationToken) -> JoinHandle<Result<(), RunError>> {
        let client = stream::client(kube::Config::new(self.server.url().parse().unwrap())).unwrap();
        let backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_millis(200) };
        let policy = Policy { backoff, ..Policy::default() };
        let options = Options { clock: self.clock.clone(), policy, ..Options::new(client) };
        tokio::spawn(run(config, options, stop.clone()))
    }

    async fn until(&self, at: &str) {
        let at: Timestamp = format!("2026-02-04T{at}Z").parse().unwrap();
        let wait = kubeherald::clock::between(self.clock.now(), at);
        self.clock.sleep(wait).await;
    }

    fn store(&self) -> Store {
        Store::open(&self.dir.path().join("state.db")).unwrap()
    }
}

fn mailbox(port: u16, digest: &str) -> String {
    format!(
        "  mail:\n    email: {{from: kubeherald@example.com, to: [platform@example.com], smtp: {{host: 127.0.0.1, port: {port}, tls: none}}}}\n{digest}"
    )
}

const DIGEST: &str = "    digest: {cron: '*/5 * * * *', timezone: Europe/Berlin}";

async fn end(stop: CancellationToken, task: JoinHandle<Result<(), RunError>>) {
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), task).await.expect("it stops when asked to");
    ended.expect("it does not panic").expect("it ends well");
}

async fn mails(server: &SmtpServer, count: usize) -> Vec<ReceivedMail> {
    for _ in 0..600 {
        if server.mails().all().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.mails().all()
}

/// The keys of everything that was ever owed, with their states.
fn owed(store: &Store) -> Vec<(String, String)> {
    let query = OutboxQuery { states: OutboxStates::All, limit: 100, ..OutboxQuery::default() };
    let rows = store.outbox(query).wait().unwrap();
    rows.into_iter().map(|row| (row.key, row.state)).collect()
}

fn entries(path: &Path) -> Vec<(String, String)> {
    let store = Store::open(path).unwrap();
    let rows = store.load_digests().wait().unwrap();
    rows.into_iter().map(|r| (r.receiver.to_string(), r.incident.unwrap_or_default().to_string())).collect()
}

/// The mail server is down when the digest is due, and the bot is restarted before it is back: what
/// began before the restart is in one digest, sent once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_could_not_be_sent_is_sent_once_after_a_restart() {
    let world = World::new().await;
    let port = SmtpServer::start().await.unwrap().port();
    let config = world.config(&mailbox(port, DIGEST));
    let stop = CancellationToken::new();
    let task = world.start(Arc::clone(&config), &stop);
    world.until("06:58:40").await;
    world.crashes("checkout");
    world.until("06:59:30").await;
    end(stop, task).await;
    let rows = entries(&world.dir.path().join("state.db"));
    assert_eq!(rows.len(), 2, "what is not about a single one, and the incident: {rows:?}");

    let stop = CancellationToken::new();
    let task = world.start(Arc::clone(&config), &stop);
    world.until("07:01:00").await;
    end(stop, task).await;
    let store = world.store();
    let due = Timestamp::as_millisecond("2026-02-04T07:00:00Z".parse().unwrap());
    assert_eq!(owed(&store), [(format!("digest-{due}-1-mail/platform@example.com"), "queued".into())]);
    drop(store);

    let server = SmtpServer::start_on(port).await.unwrap();
    let stop = CancellationToken::new();
    let task = world.start(config, &stop);
    let first = mails(&server, 1).await;
    world.until("07:05:10").await;
    let all = mails(&server, 2).await;
    end(stop, task).await;
    let subjects: Vec<String> = all.iter().map(|m| m.header("Subject").unwrap()).collect();
    assert_eq!(
        subjects,
        [
            "[digest] lab: 1 new – first: Deployment/checkout in shop keeps crashing (container app): exit code 3",
            "[digest] lab: 1 ongoing – first: Deployment/checkout in shop keeps crashing (container app): exit code 3",
        ]
    );
    assert_ne!(all[0].header("Message-ID"), all[1].header("Message-ID"));
    let text = first[0].part("text/plain").unwrap();
    assert!(text.contains(" to Wed 4 Feb 08:00 ("), "{text}");
    assert!(text.contains("shop · team payments:\n- critical: "), "{text}");
    let html = first[0].part("text/html").unwrap();
    assert!(html.contains("shop · team payments") && html.contains("</html>"), "{html}");
}

/// A receiver that is not there any more is told nothing, but what it was owed is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_digest_of_a_receiver_that_is_gone_is_a_dead_letter() {
    let world = World::new().await;
    let server = SmtpServer::start().await.unwrap();
    let stop = CancellationToken::new();
    let task = world.start(world.config(&mailbox(server.port(), DIGEST)), &stop);
    world.until("06:58:40").await;
    world.crashes("checkout");
    world.until("06:59:30").await;
    end(stop, task).await;

    let renamed = mailbox(server.port(), DIGEST).replace("  mail:", "  post:");
    let stop = CancellationToken::new();
    let task = world.start(world.config(&renamed), &stop);
    let all = mails(&server, 1).await;
    end(stop, task).await;
    let store = world.store();
    let rows = owed(&store);
    let of = |name: &str| {
        rows.iter().filter(|(key, _)| key.contains(name)).map(|(_, s)| s.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of("-mail"), of("-post")), (vec!["dead"], vec!["delivered"]), "{rows:?}");
    // Nobody told the other one of it: for that one it goes on.
    assert!(all[0].header("Subject").unwrap().contains("1 ongoing"), "{:?}", all[0].header("Subject"));
    // Whoever asks why nothing came by itself is told so.
    let history = store.history(None).await.unwrap();
    let first = history.iter().find(|row| row.decision.as_deref() == Some("first"));
    let first = first.unwrap_or_else(|| panic!("nothing decided: {history:#?}"));
    let detail: serde_json::Value = serde_json::from_str(&first.detail).unwrap();
    assert_eq!((&detail["digests"], &detail["receivers"]), (&json!(["mail"]), &json!([])), "{detail}");
    let kept: Vec<String> =
        store.load_digests().wait().unwrap().iter().map(|r| r.receiver.to_string()).collect();
    assert!(!kept.iter().any(|receiver| receiver == "mail"), "{kept:?}");
}
