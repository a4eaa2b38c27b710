//! The store stays within its bytes: the oldest history and the oldest dead letters go first.

use super::*;

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
