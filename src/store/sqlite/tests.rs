use std::sync::Arc;

use rusqlite::types::Value;
use tempfile::TempDir;

use super::schema::{self, MIGRATIONS};
use super::*;
use crate::message::Notification;
use crate::store::fixture::{at, claim, dead_letters, delivered, due, incident, note, owed};
use crate::store::{Claim, Commit, ObjectQuery, Retention, Settle, Store};

mod refused;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn options(dir: &TempDir) -> Options {
    Options {
        path: Some(dir.path().join("herald.db")),
        durability: Durability::Process,
        ..Options::default()
    }
}

/// Another connection to the file of a store.
fn beside(dir: &TempDir) -> Connection {
    Connection::open(dir.path().join("herald.db")).unwrap()
}

#[test]
fn memory_and_single_connection_stores_work_alike() {
    let dir = dir();
    for options in [Options::default(), Options { exclusive: true, ..options(&dir) }] {
        let store = Store::open_with(&options).unwrap();
        store.commit(owed(vec![note("k", "x", "t", at(0))])).wait().unwrap();
        let (seq, key) = claim(&store, "x", at(0)).unwrap();
        assert_eq!(key, "k");
        assert!(store.settle(seq, delivered(), at(1)).wait().unwrap());
        assert_eq!(store.sizes().wait().unwrap().receivers, []);
        store.writable().wait().unwrap();
    }
}

#[test]
fn an_unreadable_body_is_told_and_does_not_spoil_lists() {
    let dir = dir();
    let store = Store::open_with(&options(&dir)).unwrap();
    store.commit(owed(vec![note("k", "x", "t", at(0))])).wait().unwrap();
    beside(&dir).execute_batch("UPDATE outbox SET body = '{no json'").unwrap();
    let row = due(&store, "x", at(0)).unwrap();
    let claim = store.claim(row.seq, at(0)).wait().unwrap();
    assert!(matches!(claim, Claim::Unreadable { .. }), "{claim:?}");
    store.settle(row.seq, Settle::Dead { reason: "unreadable".into() }, at(0)).wait().unwrap();
    assert_eq!(dead_letters(&store).wait().unwrap()[0].title, "");
    assert!(matches!(store.outbox_find("k", 1).wait().unwrap()[0].notification, Some(Err(_))));
}

#[test]
fn recipients_share_one_body_until_the_last_is_served() {
    let dir = dir();
    let store = Store::open_with(&options(&dir)).unwrap();
    let bodies = || -> u32 {
        store.prune(Retention::default(), at(60)).wait().unwrap();
        beside(&dir).query_row("SELECT count(*) FROM bodies", [], |r| r.get(0)).unwrap()
    };
    store.commit(owed(vec![note("k", "x", "t", at(0))])).wait().unwrap();
    store.give_out(&Arc::from("x"), &[Arc::from("a"), Arc::from("b")], at(0)).wait().unwrap();
    for left in [1, 0] {
        assert_eq!(bodies(), 1, "a row needs it");
        let (seq, _) = claim(&store, "x", at(0)).unwrap();
        assert!(store.settle(seq, delivered(), at(0)).wait().unwrap());
        assert_eq!(bodies(), left);
    }
}

#[test]
fn the_hot_queries_use_their_indexes() {
    let dir = dir();
    drop(Store::open_with(&options(&dir)).unwrap());
    let conn = beside(&dir);
    let plan = |sql: &str| -> String {
        let mut q = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let params = vec!["x"; q.parameter_count()];
        let rows = q.query_map(rusqlite::params_from_iter(params), |r| r.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    };
    for (sql, index) in [
        (rows::DUE, "outbox_heads"),
        (
            "SELECT min(seq) FROM outbox
             WHERE receiver = ?1 AND thread = ?2 AND state IN ('queued', 'sending')",
            "outbox_open",
        ),
        (
            "SELECT seq FROM outbox WHERE state = 'delivered' AND ended_at < ?1 ORDER BY ended_at",
            "outbox_delivered",
        ),
    ] {
        let plan = plan(sql);
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[test]
fn a_finished_write_is_on_disk_by_default() {
    let dir = dir();
    let options = Options { durability: Durability::default(), ..options(&dir) };
    let conn = open_file(&options, options.path.as_deref().unwrap(), false).unwrap();
    let ask = |pragma: &str| conn.pragma_query_value(None, pragma, |r| r.get::<_, Value>(0)).unwrap();
    // Write-ahead log, FULL, on, INCREMENTAL.
    let expected = [Value::Text("wal".into()), Value::Integer(2), Value::Integer(1), Value::Integer(2)];
    assert_eq!(["journal_mode", "synchronous", "foreign_keys", "auto_vacuum"].map(ask), expected);
}

/// Rows of versions that kept no `content` are compared by what they have.
#[test]
fn a_replay_of_an_older_versions_row_is_none_of_another_message() {
    let dir = dir();
    let options = options(&dir);
    let first = note("a-1-x", "x", "a", at(0));
    let other = Notification { title: "another one".into(), ..note("a-1-x", "x", "a", at(60)) };
    let store = Store::open_with(&options).unwrap();
    store.commit(owed(vec![first.clone()])).wait().unwrap();
    drop(store);
    let file = rusqlite::Connection::open(options.path.as_ref().unwrap()).unwrap();
    file.execute("UPDATE outbox SET content = NULL", []).unwrap();
    drop(file);
    let store = Store::open_with(&options).unwrap();
    let lost =
        |message: &Notification| store.commit(owed(vec![message.clone()])).wait().unwrap().not_queued.len();
    assert_eq!((lost(&first), lost(&other)), (0, 1));
    let (seq, _) = claim(&store, "x", at(1)).unwrap();
    assert!(store.settle(seq, delivered(), at(1)).wait().unwrap());
    assert_eq!((lost(&first), lost(&other)), (0, 1));
}

/// A file of the version before knows workloads from its history and objects from what is open.
#[test]
fn what_was_known_before_is_taken_over() {
    let dir = dir();
    let path = dir.path().join("herald.db");
    let before = MIGRATIONS.iter().position(|step| step.name == "explain").unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    schema::migrate(&conn, &path, &MIGRATIONS[..before]).unwrap();
    conn.execute_batch(
        r#"INSERT INTO history (at, incident, decision, reason, rule, namespace, workload, title, detail) VALUES
               (1000000, 'a', 'first', 'first', 'r', 'shop', 'Deployment/checkout', '', '{}'),
               (2000000, 'a', 'resolved', 'recovered', 'r', 'shop', 'Deployment/checkout', '', '{}'),
               (3000000, 'n', 'first', 'first', 'r', NULL, 'Node/worker-1', '', '{}'),
               (4000000, NULL, 'storm', 'storm', '', NULL, '', '', '{}'),
               (5000000, 'o', NULL, 'muted', 'r', NULL, 'odd', '', '{}');
           INSERT INTO incidents VALUES
               ('a', 'r', 'firing', '{"members":[{"object":{"kind":"Pod","namespace":"shop","name":"c-1"}},{"object":{"kind":"Pod","namespace":"shop","name":"c-2"}}]}', 2000000),
               ('n', 'r', 'firing', '{"members":[{"object":{"kind":"Node","namespace":null,"name":"worker-1"}},{"x":1}]}', 3000000),
               ('bad', 'r', 'firing', 'no JSON', 3000000)"#,
    )
    .unwrap();
    drop(conn);
    let store = Store::open_with(&options(&dir)).unwrap();
    let found = |name: &str| -> Vec<String> {
        let query = ObjectQuery { name: name.to_owned(), ..ObjectQuery::default() };
        store.concerning(query).wait().unwrap().into_iter().map(|row| row.incident).collect()
    };
    for (asked, incident) in [("checkout", "a"), ("c-1", "a"), ("c-2", "a"), ("worker-1", "n")] {
        assert_eq!(found(asked), [incident], "{asked}");
    }
    assert_eq!(store.incident_record("a", 9).wait().unwrap().objects_total, 3);
    assert_eq!(store.known_objects(99).wait().unwrap().len(), 4);
}

/// What an earlier version wrote.
#[test]
fn a_row_that_is_too_large_is_left_unread_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = Store::open(&path).unwrap();
    let commit = Commit {
        incidents: vec![incident("good", "{}")],
        notifications: vec![note("a-1-r", "r", "a", at(0)), note("b-1-r", "r", "b", at(0))],
        ..Commit::default()
    };
    store.commit(commit).wait().unwrap();
    drop(store);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "INSERT INTO incidents SELECT 'bad' || json_each.value, rule, state, replace(hex(zeroblob(1000000)), '0', 'x'), updated_at
             FROM incidents, json_each('[1,2,3]') WHERE incidents.id = 'good';
         INSERT INTO digests VALUES ('r', '', replace(hex(zeroblob(1000000)), '0', 'x'));
         UPDATE outbox SET body = replace(hex(zeroblob(3000000)), '0', 'x') WHERE key = 'a-1-r';",
    )
    .unwrap();
    drop(conn);

    let store = Store::open(&path).unwrap();
    let ids: Vec<String> = store.load_incidents().wait().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["good"]);
    assert!(store.load_digests().wait().unwrap().is_empty());
    assert_eq!(store.sizes().wait().unwrap().unread, 4);
    let Claim::Unreadable { why } = store.claim(1, at(1)).wait().unwrap() else { panic!("unreadable") };
    assert!(why.contains("6000000 bytes"), "{why}");
    assert!(matches!(store.claim(2, at(1)).wait().unwrap(), Claim::Claimed { .. }), "the next one goes");
    // The same incident comes again, and is known again.
    store.commit(Commit { incidents: vec![incident("bad1", "{}")], ..Commit::default() }).wait().unwrap();
    assert_eq!(store.load_incidents().wait().unwrap().len(), 2);
}
