//! A damaged file is set aside, and what can be read of it goes on.

use super::*;

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
