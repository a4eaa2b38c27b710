//! The whole bot on a disk that fills up, fails and is damaged.

use std::path::PathBuf;

use kubeherald::config::StoreConfig;
use kubeherald::store::{Budget, Driver, Options as StoreOptions};
use simdisk::{Loss, SimDisk};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::sim_disk::Simulated as Disk;

const FILE: &str = "state.db";

fn open(disk: &SimDisk, now: Timestamp) -> Store {
    let options = StoreOptions {
        path: Some(PathBuf::from(FILE)),
        disk: Arc::new(Disk(disk.clone())),
        driver: Driver::Inline,
        budget: Some(Budget::of(StoreConfig::BOUNDS.0)),
        now,
        ..StoreOptions::default()
    };
    Store::open_with(&options).unwrap()
}

struct Bot {
    router: Arc<Mutex<Option<axum::Router>>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), kubeherald::app::run::RunError>>,
}

fn start(life: &Life, disk: &SimDisk) -> Bot {
    let store = open(disk, life.clock.truth());
    let router = Arc::default();
    let stop = CancellationToken::new();
    let world = life.world(store, Arc::clone(&router));
    let task = tokio::spawn(run_in(world, loaded(HOOK).config, life.options(1), stop.clone()));
    Bot { router, stop, task }
}

/// As by SIGTERM. What answers requests holds the store, too.
async fn end(bot: Bot) {
    bot.stop.cancel();
    bot.task.await.unwrap().unwrap();
    bot.router.lock().unwrap().take();
}

/// As by SIGKILL and a loss of power.
async fn kill(bot: Bot, disk: &SimDisk) {
    disk.freeze();
    bot.task.abort();
    bot.task.await.ok();
    disk.restart(Loss::Everything);
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `notice store_in_memory`, `first crash-loop`, in the order of arrival.
fn told(life: &Life) -> Vec<String> {
    let trace = life.receivers.trace.lock().unwrap();
    let told = trace.iter().map(|(_, _, body)| {
        let body: Value = serde_json::from_str(body).unwrap();
        let what = body["incidents"][0]["rule"].as_str().or(body["reason"].as_str());
        format!("{} {}", body["decision"].as_str().unwrap(), what.unwrap())
    });
    told.collect()
}

fn crash(life: &Life, restarts: i64) {
    let looping = checkout()
        .last(1, "Error", "-20s", "-10s")
        .waiting("CrashLoopBackOff", "back-off restarting failed container")
        .restarts(restarts);
    life.apply(looping.into());
}

#[test]
fn a_full_volume_is_told_and_waited_out() {
    in_paused_time(|| async {
        let (life, disk) = (Life::new(), SimDisk::new());
        let bot = start(&life, &disk);
        sleep(seconds(60)).await;
        assert_eq!(ask(&bot.router, "/readyz").await.0, 200);
        disk.set_capacity(Some(0));
        sleep(seconds(20)).await;
        crash(&life, 1);
        sleep(seconds(120)).await;
        assert_eq!(told(&life), ["notice store_in_memory", "first crash-loop"]);
        let (status, body) = ask(&bot.router, "/readyz").await;
        assert!(status == 200 && body.contains("kept in memory only"), "{status} {body}");
        let (_, metrics) = ask(&bot.router, "/metrics").await;
        assert!(metrics.contains("kubeherald_store_in_memory 1\n"), "{metrics}");
        assert_eq!(ask(&bot.router, "/livez").await.0, 200);

        disk.set_capacity(None);
        sleep(seconds(150)).await;
        let expected = ["notice store_in_memory", "first crash-loop", "notice store_on_disk"];
        assert_eq!(told(&life), expected);
        let (_, body) = ask(&bot.router, "/readyz").await;
        assert!(body.contains("\"detail\":\"writable\""), "{body}");
        kill(bot, &disk).await;

        // Everything is on disk: nothing is told again, and the end is told to those who were told.
        let bot = start(&life, &disk);
        sleep(seconds(120)).await;
        assert_eq!(told(&life), expected);
        life.apply(checkout().running("-1s").restarts(1).into());
        sleep(seconds(1_800)).await;
        assert_eq!(told(&life)[3..], ["resolved crash-loop"]);
        end(bot).await;
    });
}

#[test]
fn a_start_on_a_full_volume_tells_what_there_is() {
    in_paused_time(|| async {
        let (life, disk) = (Life::new(), SimDisk::new());
        let bot = start(&life, &disk);
        sleep(seconds(60)).await;
        kill(bot, &disk).await;
        disk.set_capacity(Some(0));
        let bot = start(&life, &disk);
        sleep(seconds(60)).await;
        crash(&life, 1);
        sleep(seconds(120)).await;
        assert_eq!(told(&life), ["notice store_in_memory", "first crash-loop"]);
        disk.set_capacity(None);
        end(bot).await;
        // The last thing it does is to write what it knows.
        let bot = start(&life, &disk);
        sleep(seconds(300)).await;
        assert_eq!(told(&life)[2..], ["notice store_on_disk"]);
        end(bot).await;
    });
}

#[test]
fn a_damaged_file_is_told_once() {
    in_paused_time(|| async {
        let (life, disk) = (Life::new(), SimDisk::new());
        let bot = start(&life, &disk);
        sleep(seconds(60)).await;
        crash(&life, 1);
        sleep(seconds(120)).await;
        end(bot).await;
        let mut bytes = disk.content(FILE).unwrap();
        let damaged = bytes.len() - 20_000;
        bytes[damaged..].fill(0xa5);
        disk.set_content(FILE, bytes);
        for _ in 0..2 {
            let bot = start(&life, &disk);
            sleep(seconds(120)).await;
            let told = told(&life);
            assert_eq!(told[0], "first crash-loop");
            assert_eq!(told.iter().filter(|one| *one == "notice store_set_aside").count(), 1, "{told:?}");
            end(bot).await;
        }
    });
}

#[test]
fn the_default_budget_is_that_of_the_configuration() {
    assert_eq!(Budget::default(), Budget::of(StoreConfig::default().max_bytes));
    assert!(StoreConfig::BOUNDS.0 >= Budget::MIN_BYTES);
}
