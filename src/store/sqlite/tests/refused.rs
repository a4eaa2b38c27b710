//! Files that must not be opened, and why.

use std::fs;
use std::process::Command;

use super::{dir, options, owed};
use crate::store::fixture::{at, note};
use crate::store::{Store, StoreError};

#[test]
fn a_second_handle_is_refused_until_the_first_is_gone() {
    let dir = dir();
    let first = Store::open_with(&options(&dir)).unwrap();
    let clone = first.clone();
    let error = Store::open_with(&options(&dir)).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    let me = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&me), "{error}");
    drop(first);
    assert!(Store::open_with(&options(&dir)).is_err(), "a clone still holds it");
    drop(clone);
    Store::open_with(&options(&dir)).unwrap();
}

/// Not a test of its own: what [`a_second_process_is_refused`] runs in another process.
#[test]
fn helper_open_where_told() {
    if let Some(path) = std::env::var_os("KUBEHERALD_TEST_OPEN") {
        match Store::open(std::path::Path::new(&path)) {
            Ok(_) => println!("opened"),
            Err(error) => println!("refused: {}", error.label()),
        }
    }
}

#[test]
fn a_second_process_is_refused() {
    let dir = dir();
    let options = options(&dir);
    let other = || {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sqlite::tests::refused::helper_open_where_told", "--nocapture"])
            .env("KUBEHERALD_TEST_OPEN", options.path.as_ref().unwrap())
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let store = Store::open_with(&options).unwrap();
    assert!(other().contains("refused: in_use"));
    drop(store);
    assert!(other().contains("opened"));
}

#[test]
fn unusable_places_are_named_with_what_to_do() {
    let dir = dir();
    let missing = dir.path().join("no/such/herald.db");
    let error = Store::open(&missing).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    assert!(error.to_string().contains("check that its directory exists"), "{error}");

    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");

    let text = dir.path().join("text.db");
    fs::write(&text, "this is no database, but it is long enough to have a header. ".repeat(50)).unwrap();
    let error = Store::open(&text).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(fs::read_to_string(&text).unwrap().starts_with("this is"), "left as it was");

    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let error = Store::open(&foreign).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[test]
fn a_damaged_page_is_found_at_start() {
    let dir = dir();
    let options = options(&dir);
    let store = Store::open_with(&options).unwrap();
    let rows = (0..200).map(|i| note(&format!("k{i}"), "x", "t", at(0))).collect();
    store.commit(owed(rows)).wait().unwrap();
    drop(store);
    let path = options.path.as_ref().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xa5);
    fs::write(path, bytes).unwrap();
    let error = Store::open_with(&options).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_later_schema_is_refused() {
    let dir = dir();
    let options = options(&dir);
    drop(Store::open_with(&options).unwrap());
    let path = options.path.as_ref().unwrap();
    rusqlite::Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = Store::open_with(&options).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    rusqlite::Connection::open(path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 1; UPDATE migrations SET checksum = 'x'")
        .unwrap();
    let error = Store::open_with(&options).unwrap_err();
    assert!(matches!(error, StoreError::Tampered { version: 1, .. }), "{error}");
}
