//! The process ends at a thousand places, and nothing is lost.
//!
//! The parent starts this test binary again as a *life*: a store, an engine that commits what its
//! plan says, and dispatchers whose receivers fail now and then and write down, in one append,
//! everything that reaches them. The parent ends lives with SIGKILL at seeded times, or has them
//! abort at the n-th [`Point`] they come to, until nothing is left to do; then it compares what was
//! written down with the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kubeherald::message::{Decision, Notification};
use kubeherald::notify::{Attempt, Deliver, Outcome};
use kubeherald::outbox::{Backoff, Limit, Outbox, Policy, ReceiverSpec, StopMode};
use kubeherald::store::{
    Commit, Durability, Faults, IncidentRow, Options, OutboxQuery, OutboxStates, Point, Store,
};
use kubeherald::template::sample;
use tokio_util::sync::CancellationToken;

/// Lives that ended badly, in all.
const KILLS: u64 = 1_000;
/// Stores at once: two cores.
const WORKERS: u64 = 3;
/// Steps of the engine in one story.
const STEPS: u64 = 60;
const RECEIVERS: [&str; 3] = ["slow", "fast", "flaky"];
const DIR: &str = "KUBEHERALD_CRASH_DIR";
const SEED: &str = "KUBEHERALD_CRASH_SEED";
const LIFE: &str = "KUBEHERALD_CRASH_LIFE";
const ABORT_AT: &str = "KUBEHERALD_CRASH_ABORT_AT";

/// A number that depends on all of `of`, evenly.
fn dice(of: &[u64]) -> u64 {
    of.iter().fold(0x9e37_79b9_7f4a_7c15, |state, n| {
        let mut x = (state ^ n).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 29;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 32)
    })
}

fn text_dice(seed: u64, text: &str) -> u64 {
    dice(&[seed, text.bytes().fold(7, |h, b| dice(&[h, b.into()]))])
}

/// What the engine decides in a step: a few incidents, each told to some receivers.
fn step(seed: u64, n: u64) -> Vec<Notification> {
    let mut out = Vec::new();
    for i in 0..dice(&[seed, n]) % 5 {
        let incident = dice(&[seed, n, i]) % 25;
        for (r, receiver) in RECEIVERS.iter().enumerate() {
            if dice(&[seed, n, i, r as u64, 3]).is_multiple_of(3) {
                continue;
            }
            let mut view = sample::incident();
            view.id = format!("i{incident}").into();
            let mut notification = sample::notification(Decision::First, view);
            // Sorted by decision: order is checked by it.
            notification.key = format!("{n:04}-{i}-i{incident}-{receiver}");
            notification.receiver = (*receiver).into();
            notification.at = kubeherald::clock::now();
            out.push(notification);
        }
    }
    out
}

fn with_log(n: &Notification) -> Notification {
    let mut n = n.clone();
    n.incidents[0].log_tail = Some("panic".into());
    n
}

/// A receiver that writes down what reaches it before it answers: `life receiver answer key`.
#[derive(Clone)]
struct Scripted {
    seed: u64,
    life: u64,
    receiver: &'static str,
    log: Arc<Mutex<File>>,
}

impl Deliver for Scripted {
    fn time_limit(&self) -> std::time::Duration {
        std::time::Duration::from_secs(30)
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let n = attempt.notification;
        let draw = dice(&[text_dice(self.seed, &n.key), attempt.number.into(), self.life]) % 100;
        let (mark, outcome) = match (self.receiver, draw) {
            ("flaky", 0..30) => ("later", Outcome::Retry { after: None, reason: "HTTP 503".to_owned() }),
            // A refusal is final, so it must not depend on chance.
            ("flaky", _) if text_dice(self.seed, &n.key).is_multiple_of(12) => {
                ("no", Outcome::Reject { reason: "HTTP 400".to_owned() })
            }
            _ => ("yes", Outcome::Delivered { handle: Some("handle".to_owned()) }),
        };
        let line = format!("{} {} {mark} {}\n", self.life, self.receiver, n.key);
        self.log.lock().unwrap().write_all(line.as_bytes()).unwrap();
        // A real one takes time, and may be cut off in it.
        tokio::time::sleep(Duration::from_micros(draw * 3)).await;
        outcome
    }
}

fn store(dir: &Path, faults: Faults) -> Store {
    let path = Some(dir.join("herald.db"));
    Store::open_with(&Options { path, durability: Durability::Process, faults, ..Options::default() })
        .expect("the store opens after every end")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One life. Does nothing unless the parent asks for it.
#[test]
fn life() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let (seed, life) = (number(SEED).unwrap(), number(LIFE).unwrap());
    let faults = match number(ABORT_AT) {
        None => Faults::default(),
        Some(at) => {
            let left = AtomicU64::new(at);
            Faults::new(move |point, _| {
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    mark(point);
                    std::process::abort();
                }
            })
        }
    };
    let store = store(&dir, faults);
    store.release_all().wait().unwrap();
    println!("\nalive");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(live(&dir, seed, life, store));
}

/// Which point it was, for the parent's figures.
fn mark(point: Point) {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    std::fs::write(dir.join("point"), format!("{point:?}")).unwrap();
}

async fn live(dir: &Path, seed: u64, life: u64, store: Store) {
    let log = OpenOptions::new().append(true).create(true).open(dir.join("log")).unwrap();
    let log = Arc::new(Mutex::new(log));
    let policy = Policy {
        backoff: Backoff { base: Duration::from_millis(2), cap: Duration::from_millis(5) },
        seed: Some(dice(&[seed, life])),
        ..Policy::default()
    };
    let outbox = Outbox::new(store.clone(), kubeherald::clock::Clock::System, policy);
    let stop = CancellationToken::new();
    let mut tasks = Vec::new();
    for receiver in RECEIVERS {
        let limit = match receiver {
            // Slow enough to fold.
            "slow" | "flaky" => Limit { per: Duration::from_millis(12), messages: 1, burst: 1 },
            _ => Limit { per: Duration::ZERO, messages: 1, burst: 1 },
        };
        let spec = ReceiverSpec {
            name: receiver.into(),
            limit,
            max_age: Duration::from_secs(3_600),
            credential: None,
            fold: true,
            fallback: None,
        };
        let scripted = Scripted { seed, life, receiver, log: Arc::clone(&log) };
        tasks.push(tokio::spawn(outbox.dispatcher(spec, scripted).run(StopMode::default(), stop.clone())));
    }
    // The engine goes on where it was, and sees the last of its input again.
    let reached: u64 = store.mark("step").await.unwrap().map_or(0, |n| n.parse().unwrap());
    for n in reached.saturating_sub(2)..STEPS {
        let notifications = step(seed, n);
        let incidents = notifications.iter().map(|n| {
            let id = n.incidents[0].id.to_string();
            IncidentRow { id, rule: "r".into(), state: "firing".into(), body: "{}".into(), updated_at: n.at }
        });
        // Some wait for a log, which comes, comes too late, or never does.
        let waits = |n: &&Notification| text_dice(seed, &n.incidents[0].id).is_multiple_of(3);
        let logs: Vec<Notification> = notifications.iter().filter(waits).map(with_log).collect();
        let until = kubeherald::clock::after(kubeherald::clock::now(), Duration::from_millis(4));
        let commit = Commit {
            incidents: incidents.collect(),
            marks: vec![("step".to_owned(), (n + 1).to_string())],
            holds: logs.iter().map(|n| (n.key.clone(), until)).collect(),
            notifications,
            ..Commit::default()
        };
        store.commit(commit).await.unwrap();
        let wait = Duration::from_micros(dice(&[seed, n, life]) % 6_000);
        let (logs, amended) = (logs.into_iter().collect::<Vec<_>>(), store.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            amended.amend(&logs).await.unwrap();
        });
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    while store.sizes().await.unwrap().receivers.iter().any(|r| r.queued + r.sending > 0) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.cancel();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

/// What a receiver wrote down.
#[derive(Debug, Clone)]
struct Line {
    life: u64,
    receiver: String,
    answer: String,
    key: String,
}

#[derive(Debug, Default)]
struct Figures {
    killed: AtomicU64,
    aborted: AtomicU64,
    stories: AtomicU64,
    messages: AtomicU64,
    folds: AtomicU64,
    repeated: AtomicU64,
    dead: AtomicU64,
    points: Mutex<BTreeMap<String, u64>>,
}

fn begin(dir: &Path, seed: u64, life: u64, abort_at: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::life", "--nocapture", "--test-threads=1", "--quiet"])
        .env(DIR, dir)
        .env(SEED, seed.to_string())
        .env(LIFE, life.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(dir.join("stderr")).unwrap());
    if let Some(at) = abort_at {
        command.env(ABORT_AT, at.to_string());
    }
    command.spawn().unwrap()
}

/// One store from its beginning until nothing is owed any more.
fn story(seed: u64, figures: &Figures) {
    use std::os::unix::process::ExitStatusExt;

    let dir = tempfile::tempdir().unwrap();
    for life in 0.. {
        assert!(life < 2_000, "seed {seed}: it never ends");
        let draw = dice(&[seed, life, 99]);
        let abort_at = draw.is_multiple_of(2).then_some(1 + (draw >> 8) % 90);
        let mut child = begin(dir.path(), seed, life, abort_at);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let alive = lines.any(|line| line.is_ok_and(|l| l == "alive"));
        if alive && abort_at.is_none() {
            std::thread::sleep(Duration::from_micros((draw >> 8) % 40_000));
            // It may have ended by itself meanwhile.
            child.kill().ok();
        }
        let status = child.wait().unwrap();
        match status.signal() {
            Some(9) => drop(figures.killed.fetch_add(1, Ordering::Relaxed)),
            Some(6) => {
                figures.aborted.fetch_add(1, Ordering::Relaxed);
                let point = std::fs::read_to_string(dir.path().join("point")).unwrap_or_default();
                *figures.points.lock().unwrap().entry(point).or_default() += 1;
            }
            _ => {
                let said = std::fs::read_to_string(dir.path().join("stderr")).unwrap_or_default();
                assert!(status.success(), "seed {seed} life {life}: {status}\n{said}");
                break;
            }
        }
    }
    figures.stories.fetch_add(1, Ordering::Relaxed);
    judge(seed, dir.path(), figures);
}

/// Compares what arrived with what was owed.
fn judge(seed: u64, dir: &Path, figures: &Figures) {
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    let lines: Vec<Line> = log
        .lines()
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap();
            Line { life: word().parse().unwrap(), receiver: word(), answer: word(), key: word() }
        })
        .collect();
    let store = store(dir, Faults::default());
    let query = OutboxQuery { states: OutboxStates::All, limit: 100_000, ..OutboxQuery::default() };
    let rows = store.outbox(query).wait().unwrap();

    // Each that was owed is there, and has ended.
    let owed: BTreeMap<String, Notification> =
        (0..STEPS).flat_map(|n| step(seed, n)).map(|n| (n.key.clone(), n)).collect();
    let kept: BTreeSet<&String> = rows.iter().map(|r| &r.key).collect();
    assert_eq!(kept, owed.keys().collect(), "seed {seed}: what is kept is what was owed");
    let incidents: BTreeSet<String> = owed.values().map(|n| n.incidents[0].id.to_string()).collect();
    let known: BTreeSet<String> =
        store.load_incidents().wait().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(known, incidents, "seed {seed}: an incident was forgotten");

    // What each row was told under: its own key, or that of the summary it is recorded inside.
    let mut arrivals: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        if line.answer == "yes" {
            arrivals.entry(&line.key).or_default().push(at);
        }
    }
    let mut order: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
    for row in &rows {
        let told = row.inside.as_deref().unwrap_or(&row.key);
        let arrived = arrivals.get(told);
        match row.state.as_str() {
            "delivered" => {
                let first = arrived.unwrap_or_else(|| panic!("seed {seed}: {} never arrived", row.key))[0];
                // Also not under its own key besides.
                assert!(
                    row.inside.is_none() || !arrivals.contains_key(row.key.as_str()),
                    "seed {seed}: {row:?}"
                );
                let thread = (row.receiver.as_str(), row.thread.as_str());
                if let Some((before, earlier)) = order.insert(thread, (first, &row.key)) {
                    // Rows of one summary arrive at once.
                    assert!(before <= first, "seed {seed}: {} came before {earlier}", row.key);
                }
            }
            "dead" => {
                figures.dead.fetch_add(1, Ordering::Relaxed);
                assert!(arrived.is_none(), "seed {seed}: {} arrived and is dead", row.key);
                assert!(lines.iter().any(|l| l.key == told && l.answer == "no"), "seed {seed}: {row:?}");
            }
            state => panic!("seed {seed}: {} is {state} at the end", row.key),
        }
    }
    // Only the last attempt of a life is ambiguous: a receiver's next one is made when the outcome
    // of this one is on disk.
    for (key, times) in &arrivals {
        for again in times.windows(2) {
            figures.repeated.fetch_add(1, Ordering::Relaxed);
            let first = &lines[again[0]];
            let after = lines[again[0] + 1..].iter().find(|l| l.receiver == first.receiver).unwrap();
            assert!(
                after.life > first.life,
                "seed {seed}: {key} was told twice, and not at the end of a life: {first:?}, then {after:?}"
            );
        }
    }
    let folds: BTreeSet<&str> = rows.iter().filter_map(|r| r.inside.as_deref()).collect();
    figures.folds.fetch_add(folds.len() as u64, Ordering::Relaxed);
    figures.messages.fetch_add(lines.len() as u64, Ordering::Relaxed);
}

#[test]
fn a_thousand_ends_lose_nothing_and_repeat_only_what_was_under_way() {
    let seed = number(SEED).unwrap_or(20_261_121);
    let figures = Figures::default();
    let start = Instant::now();
    let ends = || figures.killed.load(Ordering::Relaxed) + figures.aborted.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (figures, ends) = (&figures, &ends);
            scope.spawn(move || {
                let mut n = worker;
                while ends() < KILLS {
                    story(seed + n, figures);
                    n += WORKERS;
                }
            });
        }
    });
    println!("{} ends in {:.1?}: {figures:#?}", ends(), start.elapsed());
    let points = figures.points.lock().unwrap();
    for point in Point::ALL {
        assert!(points.contains_key(&format!("{point:?}")), "no life ended at {point:?}: {points:?}");
    }
    assert!(figures.folds.load(Ordering::Relaxed) > 20, "summaries are part of it: {figures:?}");
    assert!(figures.repeated.load(Ordering::Relaxed) > 0, "the ambiguous point was met: {figures:?}");
}
