//! `kubeherald outbox`, beside a bot that has the store open and without one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kubeherald::message::{Decision, Notification};
use kubeherald::store::{Claim, Commit, Settle, Store};
use kubeherald::template::sample;
use serde_json::Value;

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    Place { path: dir.path().join("herald.db"), _dir: dir }
}

fn note(key: &str, receiver: &str, incident: &str) -> Notification {
    let mut view = sample::incident();
    view.id = incident.into();
    let mut n = sample::notification(Decision::First, view);
    key.clone_into(&mut n.key);
    n.receiver = receiver.into();
    n.at = kubeherald::clock::now();
    n
}

/// Two dead letters, one that waits, and three delivered inside a summary.
fn fill(store: &Store) {
    let now = kubeherald::clock::now();
    let rows = [
        ("aa-1-oncall", "oncall", "aa"),
        ("ab-1-oncall", "oncall", "ab"),
        ("ba-1-mail", "mail", "ba"),
        ("f1-1-hook", "hook", "f1"),
        ("f2-1-hook", "hook", "f2"),
        ("f3-1-hook", "hook", "f3"),
    ];
    let notifications = rows.map(|(key, receiver, incident)| note(key, receiver, incident)).to_vec();
    store.commit(Commit { notifications, ..Commit::default() }).wait().unwrap();
    let rows =
        store.outbox(kubeherald::store::OutboxQuery { limit: 9, ..Default::default() }).wait().unwrap();
    for row in rows.iter().filter(|r| r.receiver == "oncall") {
        let claim = store.claim(row.seq, now).wait().unwrap();
        assert!(matches!(claim, Claim::Claimed { .. }));
        let reason = "Slack: channel_not_found (#alerts)\u{1b}[31m".to_owned();
        assert!(store.settle(row.seq, Settle::Dead { reason }, now).wait().unwrap());
    }
    let seqs = rows.iter().filter(|r| r.receiver == "hook").map(|r| r.seq).collect();
    store.claim_fold("fold-1-hook", seqs, now).wait().unwrap().unwrap();
    let done = Settle::Delivered { handle: None };
    assert_eq!(store.settle_fold(&"hook".into(), "fold-1-hook", done, None, now).wait().unwrap(), 3);
}

fn outbox(path: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kubeherald"))
        .env_clear()
        .arg("outbox")
        .args(args)
        .args(["--store".as_ref(), path.as_os_str()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn ok(path: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = outbox(path, args);
    assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
    assert!(!stdout.contains('\u{1b}'), "nothing may reach the terminal's controls: {stdout}");
    stdout
}

fn keys(json: &str) -> Vec<String> {
    json.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned())
        .collect()
}

fn looks(path: &Path) {
    let table = ok(path, &["list"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("KEY "), "{table}");
    assert!(lines[1].contains("dead") && lines[1].contains("channel_not_found"), "{table}");
    assert_eq!(keys(&ok(path, &["list", "--format", "json"])), ["aa-1-oncall", "ab-1-oncall", "ba-1-mail"]);
    assert_eq!(keys(&ok(path, &["list", "--format", "json", "--dead", "--receiver", "mail"])).len(), 0);
    assert_eq!(keys(&ok(path, &["list", "--format", "json", "--all"])).len(), 6);
    let inside = ok(path, &["list", "--inside", "fold-1-hook"]);
    assert_eq!(inside.matches("inside fold-1-hook").count(), 3, "{inside}");
    let (code, _, stderr) = outbox(path, &["list", "--receiver", "nobody"]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("there is no receiver named `nobody`: the receivers are `hook`, `mail`"),
        "{stderr}"
    );
    assert_eq!(ok(path, &["list", "--receiver", "mail", "--dead"]), "nothing\n");
    let (code, stdout, stderr) = outbox(path, &["list", "--limit", "1", "--format", "json"]);
    assert_eq!((code, keys(&stdout).len()), (0, 1));
    assert!(stderr.contains("and more"), "{stderr}");

    let shown = ok(path, &["show", "aa"]);
    for part in
        ["key       aa-1-oncall", "state     dead", "attempts  1", "channel_not_found", "Look: kubectl"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(ok(path, &["show", "f1"]).contains("inside    fold-1-hook"));
    let json: Value = serde_json::from_str(&ok(path, &["show", "ba", "--format", "json"])).unwrap();
    assert_eq!(json["notification"]["incidents"][0]["id"], "ba");

    let (code, _, stderr) = outbox(path, &["show", "a"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("several keys begin with `a`: aa-1-oncall, ab-1-oncall"), "{stderr}");
    let (code, _, stderr) = outbox(path, &["show", "zz"]);
    assert!(code == 1 && stderr.contains("there is no notification `zz`"), "{stderr}");
    let (code, _, stderr) = outbox(path, &["drop", "ba"]);
    assert!(code == 1 && stderr.contains("is queued, not a dead letter"), "{stderr}");
    assert_eq!(outbox(path, &["resend"]).0, 2);
}

#[test]
fn it_works_beside_a_bot_and_without_one() {
    let place = place();
    let store = Store::open(&place.path).unwrap();
    fill(&store);
    looks(&place.path);
    drop(store);
    looks(&place.path);

    // A bot that writes all the time does not hinder it, nor is it hindered.
    let store = Store::open(&place.path).unwrap();
    let going = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while going.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                let notifications = vec![note(&format!("n{n}-1-busy"), "busy", "n")];
                store.commit(Commit { notifications, ..Commit::default() }).wait().unwrap();
            }
        });
        assert_eq!(ok(&place.path, &["resend", "aa"]), "queued again: aa-1-oncall\n");
        assert_eq!(ok(&place.path, &["drop", "--all", "--receiver", "oncall"]), "dropped: ab-1-oncall\n");
        going.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    let oncall = "oncall".into();
    let due =
        store.heads(&oncall, &oncall, Vec::new(), kubeherald::clock::now()).wait().unwrap().due.unwrap();
    assert_eq!(due.key, "aa-1-oncall", "the bot sees it");
    drop(store);
    let (code, stdout, stderr) = outbox(&place.path, &["drop", "--all"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", "there were no dead letters\n"));
}

#[test]
fn what_is_no_store_is_left_alone() {
    let place = place();
    let (code, _, stderr) = outbox(&place.path, &["list"]);
    assert!(code == 1 && stderr.contains("there is no such file"), "{stderr}");
    assert!(!place.path.exists());
    std::fs::write(&place.path, "no database, and more than a hundred bytes of it ".repeat(9)).unwrap();
    for action in [&["list"][..], &["drop", "--all"]] {
        let (code, _, stderr) = outbox(&place.path, action);
        assert!(code == 1 && stderr.contains("damaged or no database"), "{stderr}");
    }
    std::fs::remove_file(&place.path).unwrap();
    rusqlite::Connection::open(&place.path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let (code, _, stderr) = outbox(&place.path, &["drop", "--all"]);
    assert!(code == 1 && stderr.contains("another program"), "{stderr}");
}

/// An older bot's file is not touched: the bot brings it up to date, not a command.
#[test]
fn a_store_of_an_older_version_is_refused() {
    let place = place();
    drop(Store::open(&place.path).unwrap());
    rusqlite::Connection::open(&place.path).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
    for action in [&["list"][..], &["drop", "--all"]] {
        let (code, _, stderr) = outbox(&place.path, action);
        assert!(code == 1 && stderr.contains("start the bot with this version once"), "{stderr}");
    }
}
