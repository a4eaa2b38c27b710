//! `run` against the simulated API server: real HTTP watches, real store, real dispatchers, a real
//! webhook; recordings played twenty times faster than they happened.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kubeherald::app::run::{Options, RunError, run};
use kubeherald::clock::Clock;
use kubeherald::config::{Config, load};
use kubeherald::recording::{Line, LineKind, RecordingFile};
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::receivers::WebhookServer;
use kubeherald::watch::stream;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::flow::{RECORDINGS, recording, replayed};

const SPEED: u32 = 20;
/// The bot is up for this long before the recording goes on: it watches, it does not arrive at a fire.
const LEAD: Duration = Duration::from_secs(60);
/// What the last message of every recording has come by.
const THEN: Duration = Duration::from_secs(180);

pub(crate) struct Played {
    pub(crate) server: Arc<ApiServer>,
    hook: WebhookServer,
    pub(crate) dir: tempfile::TempDir,
    lines: Vec<Line>,
    pub(crate) clock: Clock,
    from: Timestamp,
}

impl Played {
    /// A cluster as it was when the recording's initial lists were complete.
    pub(crate) async fn new(name: &str) -> Self {
        let server = Arc::new(ApiServer::start().await.expect("listens"));
        let hook = WebhookServer::start().await.expect("listens");
        let file = RecordingFile::open(&recording(name)).expect("opens");
        let all: Vec<Line> = file.map(|line| line.expect("reads")).collect();
        let synced = all.iter().position(|l| l.kind == LineKind::Synced).expect("SYNCED");
        for line in &all[..synced] {
            server.play(line).expect("plays");
        }
        let from = kubeherald::clock::before(all[synced].at, LEAD);
        let lines = all.into_iter().skip(synced + 1).collect();
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::played(from, SPEED);
        server.set_clock(clock.clone());
        Self { server, hook, dir, lines, clock, from }
    }

    fn config(&self) -> Arc<Config> {
        let path: PathBuf = self.dir.path().join("kubeherald.yaml");
        let text = format!(
            "cluster: lab\nreceivers:\n  hook:\n    webhook: {{url: \"{}\"}}\n    rate_limit: {{per: 1s, messages: 100, burst: 100}}\nstore: {{path: state.db}}\n",
            self.hook.url()
        );
        std::fs::write(&path, text).expect("writes");
        match load(Some(&path), &[]) {
            Ok(loaded) => loaded.config,
            Err(found) => panic!("{found}"),
        }
    }

    pub(crate) fn start(&self, stop: &CancellationToken) -> JoinHandle<Result<(), RunError>> {
        let config: kube::Config = kube::Config::new(self.server.url().parse().expect("an address"));
        let client = stream::client(config).expect("a client");
        let options = Options { clock: self.clock.clone(), ..Options::new(client) };
        tokio::spawn(run(self.config(), options, stop.clone()))
    }

    /// Plays the lines up to `until` (a share of the recording's time), each at its time.
    pub(crate) async fn play(&mut self, until: f64) {
        let end = self.lines.last().map_or(self.from, |l| l.at);
        let span: Duration = end.duration_since(self.from).try_into().unwrap_or_default();
        let until = kubeherald::clock::after(self.from, span.mul_f64(until));
        while let Some(line) = self.lines.first().filter(|l| l.at <= until) {
            let wait = kubeherald::clock::between(self.clock.now(), line.at);
            self.clock.sleep(wait).await;
            let line = self.lines.remove(0);
            self.server.play(&line).expect("plays");
        }
        let wait = kubeherald::clock::between(self.clock.now(), until);
        self.clock.sleep(wait).await;
    }

    /// Lets the recording's clock run on for as long as the replays do.
    pub(crate) async fn then(&self) {
        self.clock.sleep(THEN).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    fn bodies(&self) -> Vec<Value> {
        self.hook.received().all().iter().map(kubeherald::testkit::receivers::Received::json).collect()
    }

    /// `first crash-loop Deployment/checkout`
    pub(crate) fn told(&self) -> Vec<String> {
        self.bodies()
            .iter()
            .map(|body| {
                let incident = &body["incidents"][0];
                let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                format!(
                    "{} {} {}",
                    text(&body["decision"]),
                    text(&incident["rule"]),
                    text(&incident["workload"])
                )
            })
            .collect()
    }
}

pub(crate) async fn end(stop: CancellationToken, task: JoinHandle<Result<(), RunError>>) {
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), task).await.expect("it stops when asked to");
    ended.expect("it does not panic").expect("it ends well");
}

/// The whole recording, without and with a restart in the middle.
async fn same_as_replay(name: &str, restart: bool) -> Result<(), String> {
    let mut played = Played::new(name).await;
    let stop = CancellationToken::new();
    let task = played.start(&stop);
    if restart {
        played.play(0.5).await;
        end(stop, task).await;
        let stop = CancellationToken::new();
        let task = played.start(&stop);
        played.play(1.0).await;
        played.then().await;
        end(stop, task).await;
    } else {
        played.play(1.0).await;
        played.then().await;
        end(stop, task).await;
    }
    // Forty pods crash within a second: how many of them the first message has is a matter of luck
    // at this speed, and the rest may follow as growth.
    let told: Vec<String> =
        played.told().into_iter().filter(|line| name == "evict" || !line.starts_with("grew")).collect();
    let keys: Vec<String> = played.bodies().iter().map(|b| b["key"].to_string()).collect();
    let unique: BTreeSet<&String> = keys.iter().collect();
    let expected = replayed(name);
    if told != expected {
        return Err(format!("{name}, restart {restart}: {told:#?} instead of {expected:#?}"));
    }
    if unique.len() != keys.len() {
        return Err(format!("{name}, restart {restart}: a key twice: {keys:?}"));
    }
    Ok(())
}

/// At this speed, who stands still for so long misses ten seconds of the recording: whatever comes of
/// it says nothing about the bot.
const STALL: Duration = Duration::from_millis(500);

/// The longest that a task had to wait for its turn, until it is aborted.
async fn stalls(longest: Arc<AtomicU64>) {
    loop {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let late = began.elapsed().saturating_sub(Duration::from_millis(20));
        longest.fetch_max(u64::try_from(late.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Those of `which` that came out differently, and how long the machine stood still meanwhile.
async fn play_all(which: &[(&'static str, bool)]) -> (Vec<(&'static str, bool)>, Vec<String>, Duration) {
    let longest = Arc::new(AtomicU64::new(0));
    let watch = tokio::spawn(stalls(Arc::clone(&longest)));
    let mut running = tokio::task::JoinSet::new();
    for (name, restart) in which.iter().copied() {
        running.spawn(async move { ((name, restart), same_as_replay(name, restart).await) });
    }
    let (mut differ, mut wrong) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (which, result) = done.expect("no panic");
        if let Err(what) = result {
            differ.push(which);
            wrong.push(what);
        }
    }
    watch.abort();
    (differ, wrong, Duration::from_millis(longest.load(Ordering::Relaxed)))
}

/// Every recording at the same time, each with its own server, bot and receiver, without and with a
/// restart in the middle. One test, because all of them mostly sleep.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_http_and_across_a_restart_the_messages_are_those_of_the_replay() {
    let mut which: Vec<(&'static str, bool)> =
        RECORDINGS.iter().flat_map(|name| [(*name, false), (*name, true)]).collect();
    for again in (0..3).rev() {
        let (differ, wrong, stood_still) = play_all(&which).await;
        if differ.is_empty() {
            return;
        }
        let busy = stood_still >= STALL;
        assert!(busy && again > 0, "{} (stood still for {stood_still:?})", wrong.join("\n"));
        eprintln!("the machine stood still for {stood_still:?}: played again: {differ:?}");
        which = differ;
    }
}
