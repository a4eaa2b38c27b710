//! The store on a simulated disk that fails, fills up and loses what was not flushed: after every
//! crash it holds exactly what it said it holds, and at most the one commit it was asked for last.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kubeherald::store::{Commit, Driver, HistoryRow, IncidentRow, Options, Store, StoreError};
use simdisk::{Error, Fault, Kind, Loss, SimDisk};

use crate::sim_disk::Simulated;

const FILE: &str = "state.db";

fn options(disk: &SimDisk) -> Options {
    Options {
        path: Some(PathBuf::from(FILE)),
        disk: Arc::new(Simulated(disk.clone())),
        driver: Driver::Inline,
        ..Options::default()
    }
}

/// Runs on a runtime whose time stands still unless everybody waits.
fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// What a store holds, as far as this test puts it there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Content {
    marks: BTreeMap<String, String>,
    incidents: BTreeMap<String, String>,
    history: u64,
}

fn at(seconds: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap()
}

/// The commit number `n` of the workload `seed`: from a few bytes to some hundred pages.
fn commit(seed: u64, n: u64) -> Commit {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) + n);
    let mut commit = Commit::default();
    commit.marks.push((format!("mark-{}", random.u64(..4)), n.to_string()));
    for _ in 0..random.usize(..4) {
        let id = format!("incident-{}", random.u64(..6));
        if random.u8(..3) == 0 {
            commit.removed.push(id);
        } else {
            commit.incidents.push(IncidentRow {
                id,
                rule: "r".into(),
                state: "firing".into(),
                body: format!("{n} ").repeat(random.usize(..4_000)),
                updated_at: at(n),
            });
        }
    }
    commit.history.push(HistoryRow {
        at: at(n),
        incident: None,
        decision: None,
        reason: kubeherald::message::Reason::SilencedBy,
        rule: "".into(),
        namespace: None,
        workload: "".into(),
        title: n.to_string(),
        detail: "{}".into(),
    });
    commit
}

impl Content {
    fn after(seed: u64, commits: u64) -> Self {
        let mut content = Self::default();
        for n in 1..=commits {
            let commit = commit(seed, n);
            content.marks.extend(commit.marks);
            content.incidents.extend(commit.incidents.into_iter().map(|row| (row.id, row.body)));
            for id in commit.removed {
                content.incidents.remove(&id);
            }
            content.history = n;
        }
        content
    }

    async fn of(store: &Store) -> Result<Self, StoreError> {
        let history = store.history(None).await?;
        let mut numbers: Vec<u64> = history.iter().map(|entry| entry.title.parse().unwrap()).collect();
        numbers.sort_unstable();
        let count = u64::try_from(numbers.len()).unwrap();
        assert!(numbers.iter().copied().eq(1..=count), "each commit once: {numbers:?}");
        Ok(Self {
            marks: store.load_marks().await?.into_iter().collect(),
            incidents: store.load_incidents().await?.into_iter().collect(),
            history: count,
        })
    }
}

const COMMITS: u64 = 6;
/// The store is closed and opened again after this one, which folds the log into the file.
const REOPEN_AFTER: u64 = 4;

/// Commits from `done` on until the store fails; how many are acknowledged.
async fn work(disk: &SimDisk, seed: u64, mut done: u64) -> u64 {
    let Ok(mut store) = Store::open_with(&options(disk)) else { return done };
    while done < COMMITS {
        if store.commit(commit(seed, done + 1)).await.is_err() {
            return done;
        }
        done += 1;
        if done == REOPEN_AFTER {
            drop(store);
            match Store::open_with(&options(disk)) {
                Ok(again) => store = again,
                Err(_) => return done,
            }
        }
    }
    done
}

/// Is it all there, and at most one more than was acknowledged? How much is there.
async fn check(disk: &SimDisk, seed: u64, acknowledged: u64, what: &str) -> u64 {
    let store = Store::open_with(&options(disk)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = Content::of(&store).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let there = found.history;
    assert!(
        there == acknowledged || there == acknowledged + 1,
        "{what}: {acknowledged} acknowledged, {there} there"
    );
    assert!(found == Content::after(seed, there), "{what}: not what commit {there} left");
    there
}

/// The numbers of operations that can change something, of the workload without faults.
fn operations(seed: u64) -> Vec<(u64, Kind)> {
    let disk = SimDisk::new();
    let seen: Arc<std::sync::Mutex<Vec<(u64, Kind)>>> = Arc::default();
    let record = Arc::clone(&seen);
    disk.on_operation(move |operation| {
        if operation.kind.changes() {
            record.lock().unwrap().push((operation.number, operation.kind));
        }
        Fault::None
    });
    assert_eq!(on_runtime(work(&disk, seed, 0)), COMMITS);
    disk.heal();
    seen.lock().unwrap().clone()
}

/// Each operation with two kinds of crash, all kinds over all operations.
fn losses(n: u64) -> [Loss; 2] {
    if n.is_multiple_of(2) { [Loss::Nothing, Loss::Sectors(n)] } else { [Loss::Everything, Loss::Tail(n)] }
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_operation() {
    for seed in 0..2 {
        let operations = operations(seed);
        assert!(operations.len() > 40, "{operations:?}");
        for (number, kind) in operations {
            for (fault, loss) in [Fault::KillBefore, Fault::KillAfter]
                .into_iter()
                .flat_map(|fault| losses(number).map(|loss| (fault, loss)))
            {
                let what = format!("seed {seed}, {fault:?} {kind:?} {number}, {loss:?}");
                let disk = SimDisk::new();
                disk.on_operation(move |o| if o.number == number { fault } else { Fault::None });
                let acknowledged = on_runtime(work(&disk, seed, 0));
                assert!(disk.is_frozen() || acknowledged == COMMITS, "{what}");
                disk.restart(loss);
                let there = on_runtime(check(&disk, seed, acknowledged, &what));
                // And it goes on from there as if nothing had been.
                assert_eq!(on_runtime(work(&disk, seed, there)), COMMITS, "{what}");
                disk.restart(Loss::Everything);
                assert_eq!(on_runtime(check(&disk, seed, COMMITS, &what)), COMMITS, "{what}");
            }
        }
    }
}

/// What a program sees is an error; whether the commit happened it finds out by asking, as after a
/// crash. Then it tries again.
#[test]
fn what_was_acknowledged_survives_a_failure_at_every_operation_and_a_crash_after_it() {
    let seed = 1;
    let mut reached: BTreeMap<String, u32> = BTreeMap::new();
    for (number, kind) in operations(seed) {
        for fault in [
            Fault::Error(Error::Io),
            Fault::Error(Error::Full),
            Fault::Short(700, Error::Full),
            Fault::Synced,
            Fault::SyncDropped,
        ] {
            if matches!(fault, Fault::Synced | Fault::SyncDropped) != (kind == Kind::Sync) {
                continue;
            }
            for loss in losses(number) {
                let what = format!("{fault:?} {kind:?} {number}, {loss:?}");
                let disk = SimDisk::new();
                disk.on_operation(move |o| if o.number == number { fault } else { Fault::None });
                let mut acknowledged = on_runtime(work(&disk, seed, 0));
                if acknowledged < COMMITS {
                    *reached.entry(format!("{fault:?}")).or_default() += 1;
                    disk.freeze();
                    disk.restart(loss);
                    acknowledged = on_runtime(check(&disk, seed, acknowledged, &what));
                }
                assert_eq!(on_runtime(work(&disk, seed, acknowledged)), COMMITS, "{what}");
                disk.restart(Loss::Everything);
                assert_eq!(on_runtime(check(&disk, seed, COMMITS, &what)), COMMITS, "{what}");
            }
        }
    }
    assert_eq!(reached.len(), 5, "{reached:?}");
}

/// A failed flush may have happened: the commit is reported as failed, and is there after a crash.
#[test]
fn a_commit_whose_flush_failed_after_it_happened_is_there_after_a_crash_or_is_not() {
    let seed = 2;
    let mut both = [false; 2];
    for (number, _) in operations(seed).into_iter().filter(|(_, kind)| *kind == Kind::Sync) {
        let disk = SimDisk::new();
        disk.on_operation(move |operation| match operation.number.cmp(&number) {
            std::cmp::Ordering::Less => Fault::None,
            std::cmp::Ordering::Equal => Fault::Synced,
            std::cmp::Ordering::Greater => Fault::KillBefore,
        });
        let acknowledged = on_runtime(work(&disk, seed, 0));
        disk.heal();
        disk.restart(Loss::Everything);
        let there = on_runtime(check(&disk, seed, acknowledged, &format!("flush {number}")));
        both[usize::from(there > acknowledged)] = true;
    }
    assert_eq!(both, [true, true]);
}

/// The same connection goes on after a failed commit: what was told to have failed is not there,
/// what is committed again is there once.
#[test]
fn a_failed_commit_can_be_repeated_on_the_same_store() {
    let seed = 4;
    for (number, kind) in operations(seed) {
        if !matches!(kind, Kind::Write | Kind::Sync) {
            continue;
        }
        for fault in [Fault::Error(Error::Full), Fault::Error(Error::Io), Fault::Synced, Fault::SyncDropped] {
            let disk = SimDisk::new();
            let what = format!("{fault:?} {kind:?} {number}");
            let done = on_runtime(async {
                // Not while it is made: then there is no store yet.
                let store = Store::open_with(&options(&disk)).unwrap();
                if disk.operations() >= number {
                    return false;
                }
                disk.on_operation(move |o| if o.number == number { fault } else { Fault::None });
                for n in 1..=COMMITS {
                    while store.commit(commit(seed, n)).await.is_err() {
                        assert_eq!(Content::of(&store).await.unwrap(), Content::after(seed, n - 1), "{what}");
                    }
                }
                disk.heal();
                assert_eq!(Content::of(&store).await.unwrap(), Content::after(seed, COMMITS), "{what}");
                disk.freeze();
                true
            });
            if done {
                disk.restart(Loss::Everything);
                assert_eq!(on_runtime(check(&disk, seed, COMMITS, &what)), COMMITS, "{what}");
            }
        }
    }
}

/// Destructors of a killed life fold the log into the file and delete it, were they let.
#[test]
fn what_a_killed_life_still_does_changes_nothing() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = Store::open_with(&options(&disk)).unwrap();
        store.commit(commit(0, 1)).await.unwrap();
        let pending = store.commit(commit(0, 2)).submit().await;
        disk.freeze();
        let before: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.content(name))).collect();
        drop(store);
        assert!(pending.await.is_err());
        let after: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.content(name))).collect();
        assert_eq!(before, after);
        assert!(Store::open_with(&options(&disk)).is_err(), "dead is dead");
    });
    disk.restart(Loss::Nothing);
    assert_eq!(on_runtime(check(&disk, 0, 1, "killed")), 1);
}

/// Without threads, who blocks serves what waits, and what is dropped is finished first.
#[test]
fn a_store_without_threads_can_be_waited_for_and_finishes_what_was_submitted() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = Store::open_with(&options(&disk)).unwrap();
        let first = store.commit(commit(0, 1)).submit().await;
        store.commit(commit(0, 2)).wait().unwrap();
        first.await.unwrap();
        let third = store.commit(commit(0, 3)).submit().await;
        drop(store);
        third.await.unwrap();
        assert_eq!(disk.names(), [FILE], "closed, and the log folded into the file");
        assert_eq!(check(&disk, 0, 3, "reopened").await, 3);
    });
}

#[test]
fn a_store_without_threads_needs_a_runtime() {
    let disk = SimDisk::new();
    let error = Store::open_with(&options(&disk)).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    // And nothing is left locked.
    on_runtime(async { Store::open_with(&options(&disk)).map(|_| ()) }).unwrap();
}

#[test]
fn what_waits_together_is_one_transaction_also_without_threads() {
    let disk = SimDisk::new();
    on_runtime(async {
        let store = Store::open_with(&options(&disk)).unwrap();
        let syncs = |disk: &SimDisk| disk.counts().get(&Kind::Sync).copied().unwrap_or(0);
        store.commit(commit(0, 1)).await.unwrap();
        let before = syncs(&disk);
        let mut pending = Vec::new();
        for n in 2..=20 {
            pending.push(store.commit(Commit { incidents: Vec::new(), ..commit(0, n) }).submit().await);
        }
        for one in pending {
            one.await.unwrap();
        }
        assert_eq!(syncs(&disk) - before, 1);
    });
}

/// A file system that several machines share has no memory to share, and a log that was left by a
/// crash must be readable all the same.
#[test]
fn a_store_on_a_shared_file_system_opens_again_without_shared_memory() {
    let disk = SimDisk::new();
    let options = Options { driver: Driver::Threads, ..options(&disk) };
    let store = Store::open_with(&options).unwrap();
    store.commit(commit(0, 1)).wait().unwrap();
    disk.freeze();
    drop(store);
    disk.restart(Loss::Everything);
    assert!(disk.names().iter().any(|name| name.ends_with("-wal")), "{:?}", disk.names());
    let store = Store::open_with(&options).unwrap();
    assert_eq!(store.load_marks().wait().unwrap().len(), 1);
}

#[test]
fn a_second_store_on_the_same_disk_is_refused_until_the_first_is_dead() {
    let disk = SimDisk::new();
    on_runtime(async {
        let first = Store::open_with(&options(&disk)).unwrap();
        let error = Store::open_with(&options(&disk)).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        disk.freeze();
        disk.restart(Loss::Nothing);
        let second = Store::open_with(&options(&disk)).unwrap();
        drop(first);
        let error = Store::open_with(&options(&disk)).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        drop(second);
        Store::open_with(&options(&disk)).unwrap();
    });
}

/// Each thread its own disk, at the same time.
#[test]
fn disks_do_not_know_of_each_other() {
    let failed = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let failed = Arc::clone(&failed);
            scope.spawn(move || {
                for _ in 0..5 {
                    let disk = SimDisk::new();
                    on_runtime(work(&disk, seed, 0));
                    disk.restart(Loss::Everything);
                    let fine = on_runtime(check(&disk, seed, COMMITS, "alone")) == COMMITS;
                    failed.fetch_or(!fine, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed));
}
