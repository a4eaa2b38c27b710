//! A volume that is full or fails costs no message: the store goes on in memory, says so, and is on
//! disk again with everything as soon as that is possible.

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

#[test]
fn the_store_stays_within_its_bytes_and_drops_the_oldest_history() {
    let disk = SimDisk::new();
    let keep = Retention { history_rows: usize::MAX, ..Retention::default() };
    on_runtime(async {
        let store = open(&disk);
        let mut n = 0;
        for _ in 0..60 {
            let history = (0..500).map(|i| row(n + i, 1_000)).collect();
            n += 500;
            store.commit(Commit { history, ..Commit::default() }).await.unwrap();
            while store.prune(keep, at(0)).await.unwrap().is_full() {}
            assert!(disk.used() <= Budget::MIN_BYTES, "{} bytes", disk.used());
        }
        let health = store.health();
        assert!(health.dropped.history > 10_000 && health.in_memory.is_none(), "{health:?}");
        assert!(!health.over_budget);
        let newest = numbers(&store).await;
        assert_eq!(newest.first(), Some(&(n - 1)));
        assert!(newest.len() == 1_000, "a full page of the newest is there");
    });
}

/// Also without anybody who prunes: SQLite refuses pages beyond the budget, and old history goes.
#[test]
fn what_comes_faster_than_it_is_pruned_finds_room() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = open(&disk);
        for batch in 0..50 {
            let history = (0..500).map(|i| row(batch * 500 + i, 1_000)).collect();
            store.commit(Commit { history, ..Commit::default() }).await.unwrap();
            assert!(disk.used() <= Budget::MIN_BYTES, "{} bytes", disk.used());
        }
        let health = store.health();
        assert_eq!(health.in_memory, None);
        assert!(health.dropped.history > 0, "{health:?}");
    });
}

#[test]
fn dead_letters_have_bytes_of_their_own_and_the_oldest_go() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = open(&disk);
        let share = small().dead_letters();
        for n in 0..60_u64 {
            let mut large = note(&format!("key-{n:03}"), &format!("t{n}"));
            large.text = "t".repeat(100_000);
            store.commit(Commit { notifications: vec![large], ..Commit::default() }).await.unwrap();
            let x: Arc<str> = "x".into();
            let head = store.heads(&x, &x, Vec::new(), at(0)).await.unwrap().due.unwrap();
            store.settle(head.seq, Settle::Dead { reason: "no".into() }, at(0)).await.unwrap();
        }
        // Owed, and not touched.
        store.commit(decided(1)).await.unwrap();
        while store.prune(Retention::default(), at(0)).await.unwrap().is_full() {}
        let query = OutboxQuery { states: OutboxStates::Dead, limit: 1_000, ..OutboxQuery::default() };
        let letters = store.outbox(query).await.unwrap();
        let kept = u64::try_from(letters.len()).unwrap();
        assert_eq!(store.health().dropped.dead_letters, 60 - kept);
        assert!(kept > 0 && kept * 100_000 <= share && (kept + 1) * 110_000 > share, "{kept} of {share}");
        assert_eq!(letters.last().unwrap().key, "key-059");
        assert_eq!(send_all(&store).await, ["key-1"]);
    });
}

#[test]
fn a_budget_that_what_is_owed_does_not_fit_into_is_said() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = open(&disk);
        for n in 0..125_u64 {
            let mut large = note(&format!("key-{n:03}"), &format!("t{n}"));
            large.text = "t".repeat(100_000);
            store.commit(Commit { notifications: vec![large], ..Commit::default() }).await.unwrap();
        }
        store.prune(Retention::default(), at(0)).await.unwrap();
        assert!(store.health().over_budget);
        assert_eq!(send_all(&store).await.len(), 125);
        store.prune(Retention::default(), at(0)).await.unwrap();
        assert!(!store.health().over_budget);
    });
}

/// A store with something in every table, and a history that is most of it.
async fn fill(store: &Store) {
    for n in 0..20 {
        store.commit(decided(n)).await.unwrap();
    }
    send_all(store).await;
    for n in 20..40 {
        store.commit(decided(n)).await.unwrap();
    }
    let history = (100..4_000).map(|n| row(n, 1_000)).collect();
    store.commit(Commit { history, ..Commit::default() }).await.unwrap();
}

#[test]
fn a_damaged_file_is_set_aside_and_what_can_be_read_goes_on() {
    let disk = SimDisk::new();
    on_runtime(async { fill(&open(&disk)).await });
    // Closed, so all of it is in the file. History is behind everything else.
    let mut bytes = disk.content(FILE).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 16_384].fill(0xa5);
    disk.set_content(FILE, bytes.clone());
    on_runtime(async {
        let without = Store::open_with(&Options { budget: None, ..options(&disk, small()) }).unwrap_err();
        assert!(matches!(without, StoreError::Corrupt { .. }), "{without}");
        let store = open(&disk);
        let aside = store.health().set_aside.unwrap();
        assert_eq!(aside.path, PathBuf::from("state.db.damaged-20270115T080000Z"));
        assert!(disk.content(aside.path.to_str().unwrap()).unwrap() == bytes, "as it was");
        assert_eq!((aside.kept["outbox"], aside.kept["incidents"]), (40, 7), "{aside:?}");
        assert_eq!(aside.incomplete, [""; 0]);
        assert_eq!(numbers(&store).await, [0; 0], "history stays behind");
        // Known keys are known, what is owed is owed.
        store.commit(decided(3)).await.unwrap();
        let expected: Vec<_> = (20..40).map(|n| format!("key-{n}")).collect();
        assert_eq!(send_all(&store).await, expected);
    });
    on_runtime(async { assert_eq!(open(&disk).health().set_aside, None, "said once") });
}

/// Damage in the outbox itself: what is before and behind it is carried over, and no thread waits for
/// a row that is gone.
#[test]
fn rows_on_both_sides_of_the_damage_are_carried_over() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = open(&disk);
        for n in 0..400_u64 {
            // Of each of 20 threads, the first rows are in the damaged part.
            let mut large = note(&format!("key-{n:03}"), &format!("t{}", n % 20));
            large.text = "t".repeat(3_000);
            store.commit(Commit { notifications: vec![large], ..Commit::default() }).await.unwrap();
        }
    });
    let mut bytes = disk.content(FILE).unwrap();
    let middle = bytes.len() / 8;
    bytes[middle..middle + 16_384].fill(0xa5);
    disk.set_content(FILE, bytes);
    on_runtime(async {
        let store = open(&disk);
        let aside = store.health().set_aside.unwrap();
        assert_eq!(aside.incomplete, ["outbox"], "{aside:?}");
        let kept = usize::try_from(aside.kept["outbox"]).unwrap();
        assert!(kept > 300 && kept < 400, "{kept}");
        assert_eq!(send_all(&store).await.len(), kept);
    });
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let disk = SimDisk::new();
    disk.set_content(FILE, b"this is no database, but long enough to have a header. ".repeat(100));
    on_runtime(async {
        let store = open(&disk);
        let aside = store.health().set_aside.unwrap();
        assert_eq!(aside.kept.values().sum::<u64>(), 0);
        store.commit(decided(1)).await.unwrap();
        assert_eq!(send_all(&store).await, ["key-1"]);
    });
}

/// A database of somebody else is not damaged.
#[test]
fn a_database_of_another_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("foreign.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let options = Options { path: Some(path.clone()), budget: Some(small()), ..Options::default() };
    let error = Store::open_with(&options).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert!(path.exists());
}

/// Files that are too large to be read through at each start may be damaged where nobody looked.
#[test]
fn damage_that_is_met_later_ends_the_store_and_is_set_aside_at_the_next_start() {
    let disk = SimDisk::new();
    on_runtime(async { fill(&open(&disk)).await });
    on_runtime(async {
        let store = open(&disk);
        let mut bytes = disk.content(FILE).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 500_000].fill(0xa5);
        disk.set_content(FILE, bytes);
        let mut before = None;
        let error = loop {
            match store.history(before).await {
                Ok(page) => before = Some(page.last().expect("the damage is met").id),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(store.is_stopped());
        let error = store.commit(decided(1_000)).await.unwrap_err();
        assert!(matches!(error, StoreError::Stopped), "{error}");
        assert!(disk.names().contains(&"state.db.suspect".to_owned()));
    });
    on_runtime(async {
        let store = open(&disk);
        assert!(store.health().set_aside.is_some());
        assert!(!disk.names().contains(&"state.db.suspect".to_owned()));
        assert_eq!(send_all(&store).await.len(), 20);
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
