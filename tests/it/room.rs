//! A volume that is full or fails costs no message: the store goes on in memory, says so, and is on
//! disk again with everything as soon as that is possible.

mod budget;
mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use kubeherald::message::{Decision, Notification, Reason};
use kubeherald::store::{
    Budget, Claim, Commit, Driver, HistoryRow, IncidentRow, Options, OutboxQuery, OutboxStates, Retention,
    Settle, Store, StoreError,
};
use kubeherald::template::sample;
use simdisk::{Error, Fault, Kind, Loss, SimDisk};

use crate::sim_disk::Simulated;

const FILE: &str = "state.db";
const MIB: u64 = 1 << 20;

fn options(disk: &SimDisk, budget: Budget) -> Options {
    Options {
        path: Some(PathBuf::from(FILE)),
        disk: Arc::new(Simulated(disk.clone())),
        driver: Driver::Inline,
        budget: Some(budget),
        now: at(0),
        ..Options::default()
    }
}

fn small() -> Budget {
    Budget { max_bytes: Budget::MIN_BYTES, memory_bytes: 8 * MIB }
}

fn open(disk: &SimDisk) -> Store {
    Store::open_with(&options(disk, small())).unwrap()
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn note(key: &str, thread: &str) -> Notification {
    let mut view = sample::incident();
    view.id = thread.into();
    let mut note = sample::notification(Decision::First, view);
    key.clone_into(&mut note.key);
    note.receiver = "x".into();
    note.at = at(0);
    note
}

fn row(n: u64, size: usize) -> HistoryRow {
    HistoryRow {
        at: at(i64::try_from(n).unwrap()),
        incident: None,
        decision: None,
        reason: Reason::SilencedBy,
        rule: "".into(),
        namespace: None,
        workload: "".into(),
        title: n.to_string(),
        detail: "d".repeat(size),
    }
}

fn incident(id: &str, body: &str) -> IncidentRow {
    IncidentRow {
        id: id.to_owned(),
        rule: "r".into(),
        state: "firing".into(),
        body: body.to_owned(),
        updated_at: at(0),
    }
}

/// One decision: its incident, its notification, its history.
fn decided(n: u64) -> Commit {
    Commit {
        incidents: vec![incident(&format!("i{}", n % 7), &format!("{{\"n\":{n}}}"))],
        notifications: vec![note(&format!("key-{n}"), &format!("i{}", n % 7))],
        history: vec![row(n, 100)],
        marks: vec![("last".into(), n.to_string())],
        ..Commit::default()
    }
}

/// Sends what is owed and says the keys, as a dispatcher does.
async fn send_all(store: &Store) -> Vec<String> {
    let mut sent = Vec::new();
    let x: Arc<str> = "x".into();
    while let Some(head) = store.heads(&x, &x, Vec::new(), at(1_000_000)).await.unwrap().due {
        match store.claim(head.seq, at(0)).await.unwrap() {
            Claim::Claimed { notification, .. } => sent.push(notification.key.clone()),
            other => panic!("{other:?}"),
        }
        assert!(store.settle(head.seq, Settle::Delivered { handle: None }, at(0)).await.unwrap());
    }
    sent
}

async fn owed(store: &Store) -> usize {
    store.outbox(OutboxQuery { limit: 10_000, ..OutboxQuery::default() }).await.unwrap().len()
}

async fn numbers(store: &Store) -> Vec<u64> {
    let rows = store.history(None).await.unwrap();
    rows.iter().map(|row| row.title.parse().unwrap()).collect()
}

/// Every operation that writes fails so while the switch is on.
fn broken(disk: &SimDisk, error: Error) -> Arc<AtomicBool> {
    let on = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&on);
    disk.on_operation(move |operation| {
        let writes = matches!(operation.kind, Kind::Write | Kind::Sync | Kind::Truncate | Kind::Allocate);
        if writes && switch.load(Ordering::Relaxed) { Fault::Error(error) } else { Fault::None }
    });
    on
}

#[test]
fn a_full_volume_costs_no_message_and_is_left_by_itself() {
    let disk = SimDisk::new();
    let mut sent = Vec::new();
    on_runtime(async {
        let store = open(&disk);
        store.commit(decided(0)).await.unwrap();
        assert_eq!(store.health().reserve, Some(true));
        // Not a byte more, and later not even the reserve's.
        disk.set_capacity(Some(disk.used()));
        let (mut n, mut reserve_helped) = (0, false);
        while store.health().in_memory.is_none() {
            n += 1;
            store.commit(decided(n)).await.unwrap();
            sent.extend(send_all(&store).await);
            let health = store.health();
            reserve_helped |= health.reserve == Some(false) && health.in_memory.is_none();
            disk.set_capacity(Some(disk.used().saturating_sub(8_192)));
            assert!(n < 1_000);
        }
        assert!(reserve_helped, "the reserve is given up first");
        for more in n + 1..n + 50 {
            store.commit(decided(more)).await.unwrap();
            assert_eq!(send_all(&store).await, [format!("key-{more}")]);
            sent.push(format!("key-{more}"));
        }
        let health = store.health();
        assert!(health.in_memory.is_some() && health.memory_bytes > 0 && health.memory_bytes < 8 * MIB);
        assert!(health.failures["full"] > 0, "{health:?}");
        assert!(!store.mend().await.unwrap(), "it is still full");
        // Owed when it ends well.
        store.commit(decided(1_000)).await.unwrap();
        disk.set_capacity(None);
        assert!(store.mend().await.unwrap());
        assert_eq!(store.health().in_memory, None);
        assert_eq!(owed(&store).await, 1);
        // A command beside the bot may have used numbers meanwhile.
        disk.freeze();
    });
    disk.restart(Loss::Everything);
    on_runtime(async {
        let store = open(&disk);
        assert_eq!(store.mark("last").await.unwrap().as_deref(), Some("1000"));
        sent.extend(send_all(&store).await);
        assert_eq!(store.load_incidents().await.unwrap().len(), 7);
        let all: BTreeSet<_> = numbers(&store).await.into_iter().collect();
        // Of the time in memory everything; before, the oldest may have been dropped for room.
        assert!(all.contains(&1_000) && all.len() > 40, "{all:?}");
        assert_eq!(store.health().reserve, Some(true), "it is made again");
    });
    let once: BTreeSet<_> = sent.iter().collect();
    assert_eq!(once.len(), sent.len(), "nothing twice: {sent:?}");
    assert!(sent.len() > 50 && sent.last().unwrap() == "key-1000");
}

#[test]
fn a_start_on_a_full_volume_prunes_first_and_goes_on_in_memory_if_that_does_not_help() {
    for spare in [0, 64 << 10, 4 * MIB] {
        let disk = SimDisk::new();
        on_runtime(async {
            let store = open(&disk);
            for n in 0..40 {
                store.commit(decided(n)).await.unwrap();
            }
            let history = (0..2_000).map(|n| row(n, 1_000)).collect();
            store.commit(Commit { history, ..Commit::default() }).await.unwrap();
            disk.freeze();
        });
        disk.restart(Loss::Everything);
        // No reserve is left either.
        disk.remove("state.db.reserve").unwrap();
        disk.set_capacity(Some(disk.used() + spare));
        on_runtime(async {
            let store = open(&disk);
            store.commit(decided(40)).await.unwrap();
            let marks: BTreeMap<_, _> = store.load_marks().await.unwrap().into_iter().collect();
            assert_eq!(marks["last"], "40");
            let incidents = store.load_incidents().await.unwrap();
            assert_eq!(incidents.len(), 7);
            assert!(incidents.iter().all(|(_, body)| !body.is_empty()), "{incidents:?}");
            let sent = send_all(&store).await;
            assert_eq!(sent.len(), 41, "spare {spare}");
            assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 41);
            disk.set_capacity(None);
            assert!(store.mend().await.unwrap());
            disk.freeze();
        });
        disk.restart(Loss::Everything);
        on_runtime(async { assert_eq!(send_all(&open(&disk)).await, [""; 0], "spare {spare}") });
    }
}

#[test]
fn one_failure_of_the_disk_is_tried_again_and_more_of_them_are_waited_out_in_memory() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = open(&disk);
        let before = disk.operations();
        let next = Arc::new(AtomicBool::new(true));
        let once = Arc::clone(&next);
        disk.on_operation(move |o| {
            let hit = o.kind == Kind::Sync && o.number > before && once.swap(false, Ordering::Relaxed);
            if hit { Fault::Error(Error::Io) } else { Fault::None }
        });
        store.commit(decided(1)).await.unwrap();
        assert!(!next.load(Ordering::Relaxed));
        assert_eq!((store.health().in_memory, store.health().failures["disk"]), (None, 1));

        let broken = broken(&disk, Error::Io);
        for n in 2..10 {
            store.commit(decided(n)).await.unwrap();
        }
        assert!(store.health().in_memory.is_some());
        assert_eq!(send_all(&store).await.len(), 9);
        broken.store(false, Ordering::Relaxed);
        assert!(store.mend().await.unwrap());
        disk.freeze();
    });
    disk.restart(Loss::Everything);
    on_runtime(async {
        let store = open(&disk);
        assert_eq!(owed(&store).await, 0);
        assert_eq!(numbers(&store).await.len(), 9);
    });
}

/// A flush that failed may have happened all the same. Tried again, the commit is there once; what is
/// under way when memory takes over can be settled there.
#[test]
fn a_commit_that_may_have_happened_is_there_once() {
    for kept in [Fault::Synced, Fault::SyncDropped] {
        let disk = SimDisk::new();
        on_runtime(async {
            let store = open(&disk);
            store.commit(decided(0)).await.unwrap();
            assert_eq!(send_all(&store).await, ["key-0"]);
            store.commit(decided(1)).await.unwrap();
            let x: Arc<str> = "x".into();
            let under_way = store.heads(&x, &x, Vec::new(), at(0)).await.unwrap().due.unwrap();
            assert!(matches!(store.claim(under_way.seq, at(0)).await.unwrap(), Claim::Claimed { .. }));
            disk.on_operation(move |o| if o.kind == Kind::Sync { kept } else { Fault::None });
            store.commit(decided(2)).await.unwrap();
            assert!(store.health().in_memory.is_some());
            // Known keys are not taken again, in memory as on disk, and no matter where they are known.
            for n in 0..2 {
                let replayed = store.commit(decided(n)).await.unwrap();
                assert!(replayed.not_queued.is_empty(), "{replayed:?}");
            }
            store.commit(decided(2)).await.unwrap();
            let done = Settle::Delivered { handle: Some("handle".into()) };
            assert!(store.settle(under_way.seq, done, at(0)).await.unwrap());
            assert_eq!(send_all(&store).await, ["key-2"]);
            disk.heal();
            assert!(store.mend().await.unwrap());
            store.commit(decided(1)).await.unwrap();
            store.commit(decided(2)).await.unwrap();
            assert_eq!(owed(&store).await, 0);
            disk.freeze();
        });
        disk.restart(Loss::Everything);
        on_runtime(async { assert_eq!(send_all(&open(&disk)).await, [""; 0]) });
    }
}

#[test]
fn memory_is_bounded_and_what_does_not_fit_is_refused_and_not_forgotten() {
    let disk = SimDisk::new();
    let budget = Budget { memory_bytes: MIB, ..small() };
    on_runtime(async {
        let store = Store::open_with(&options(&disk, budget)).unwrap();
        let broken = broken(&disk, Error::Full);
        let mut n = 0;
        let error = loop {
            n += 1;
            if let Err(error) = store.commit(decided(n)).await {
                break error;
            }
            assert!(n < 5_000);
        };
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        let health = store.health();
        assert_eq!(health.memory_max, MIB);
        assert!(health.memory_bytes > MIB / 2 && health.memory_bytes <= MIB, "{health:?}");
        assert!(health.dropped.history > 0, "history goes first");
        assert_eq!(owed(&store).await, usize::try_from(n - 1).unwrap());
        broken.store(false, Ordering::Relaxed);
        assert!(store.mend().await.unwrap());
        store.commit(decided(n)).await.unwrap();
        assert_eq!(send_all(&store).await.len(), usize::try_from(n).unwrap());
    });
}

#[test]
fn a_store_without_a_budget_says_that_the_disk_is_full() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = Store::open_with(&Options { budget: None, ..options(&disk, small()) }).unwrap();
        let _broken = broken(&disk, Error::Full);
        let error = store.commit(decided(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(disk.size("state.db.reserve").unwrap().is_none());
    });
}

/// Commits, deliveries, failures that come and go, and crashes, as a seed decides. Nothing that was
/// acknowledged on disk is lost; nothing is sent twice unless a crash took what memory knew.
#[test]
fn whatever_the_disk_does_every_message_is_sent() {
    let (mut in_memory, mut crashes) = (0, 0);
    for seed in 0..80 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new();
        let mut sent: BTreeMap<String, u32> = BTreeMap::new();
        // Crashes that took something that was only in memory.
        let mut forgot = 0;
        let mut next = 1;
        let mut life = 0;
        while life < 4 {
            life += 1;
            on_runtime(async {
                let store = open(&disk);
                // Where the engine would decide again what was not kept.
                let kept = store.mark("last").await.unwrap().map_or(0, |n| n.parse::<u64>().unwrap());
                assert!(kept < next && (forgot > 0 || kept + 1 == next), "seed {seed}: {kept} of {next}");
                next = kept + 1;
                for _ in 0..random.usize(..60) {
                    match random.u8(..10) {
                        0 => disk.set_capacity(Some(disk.used() + random.u64(..20_000))),
                        1 => {
                            broken(&disk, Error::Io);
                        }
                        2 => disk.set_capacity(None),
                        3 => disk.heal(),
                        4 => {
                            store.mend().await.unwrap();
                        }
                        5 => {
                            store.prune(Retention::default(), at(0)).await.ok();
                        }
                        6 | 7 => {
                            for key in send_all(&store).await {
                                *sent.entry(key).or_default() += 1;
                            }
                        }
                        _ => {
                            store.commit(decided(next)).await.unwrap();
                            next += 1;
                        }
                    }
                }
                if store.health().in_memory.is_some() {
                    in_memory += 1;
                }
                if random.bool() {
                    crashes += 1;
                    forgot += u32::from(store.health().in_memory.is_some());
                    disk.freeze();
                } else {
                    disk.set_capacity(None);
                    disk.heal();
                }
                drop(store);
            });
            disk.set_capacity(None);
            disk.heal();
            disk.restart(Loss::Sectors(seed));
        }
        on_runtime(async {
            let store = open(&disk);
            let kept = store.mark("last").await.unwrap().map_or(0, |n| n.parse::<u64>().unwrap());
            for n in kept + 1..next {
                store.commit(decided(n)).await.unwrap();
            }
            for key in send_all(&store).await {
                *sent.entry(key).or_default() += 1;
            }
        });
        for n in 1..next {
            let times = sent.get(&format!("key-{n}")).copied().unwrap_or(0);
            assert!(times >= 1, "seed {seed}: key-{n} was never sent");
            assert!(times <= 1 + forgot, "seed {seed}: key-{n} was sent {times} times");
        }
    }
    assert!(in_memory > 20 && crashes > 20, "{in_memory} {crashes}");
}

#[test]
fn every_state_of_a_row_survives_the_time_in_memory() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = open(&disk);
        for n in 1..=6 {
            let mut commit = decided(n);
            commit.notifications = vec![note(&format!("key-{n}"), &format!("t{n}"))];
            store.commit(commit).await.unwrap();
        }
        let x: Arc<str> = "x".into();
        let claim = async |key: &str| {
            let rows = store.outbox(OutboxQuery { limit: 10_000, ..OutboxQuery::default() }).await.unwrap();
            let seq = rows.iter().find(|row| row.key == key).unwrap().seq;
            assert!(matches!(store.claim(seq, at(0)).await.unwrap(), Claim::Claimed { .. }));
            seq
        };
        let retry = Settle::Retry { not_before: at(60), reason: "HTTP 503".into(), gate: None };
        let (dead, waits) = (claim("key-1").await, claim("key-2").await);
        let open_ended = claim("key-3").await;
        let _broken = broken(&disk, Error::Io);
        store.settle(dead, Settle::Dead { reason: "no".into() }, at(0)).await.unwrap();
        store.settle(waits, retry, at(0)).await.unwrap();
        assert!(store.health().in_memory.is_some());
        let handle = Some("message 4".to_owned());
        let done = claim("key-4").await;
        store.settle(done, Settle::Delivered { handle }, at(0)).await.unwrap();
        disk.heal();
        assert!(store.mend().await.unwrap());
        assert!(store.resend_dead("key-1", at(0)).await.unwrap());
        store
            .commit(Commit { notifications: vec![note("again-4", "t4")], ..Commit::default() })
            .await
            .unwrap();
        disk.freeze();
        let _ = (open_ended, x);
    });
    disk.restart(Loss::Everything);
    on_runtime(async {
        let store = open(&disk);
        let query = OutboxQuery { states: OutboxStates::All, limit: 100, ..OutboxQuery::default() };
        let rows = store.outbox(query).await.unwrap();
        let state: Vec<_> =
            rows.iter().map(|row| (row.key.as_str(), row.state.as_str(), row.attempts)).collect();
        assert_eq!(
            state,
            [
                ("key-2", "queued", 1),
                ("key-3", "sending", 1),
                ("key-4", "delivered", 1),
                ("key-5", "queued", 0),
                ("key-6", "queued", 0),
                ("key-1", "queued", 0),
                ("again-4", "queued", 0),
            ]
        );
        let seq = rows.last().unwrap().seq;
        let Claim::Claimed { handle, .. } = store.claim(seq, at(0)).await.unwrap() else { panic!() };
        assert_eq!(handle.as_deref(), Some("message 4"));
    });
}
