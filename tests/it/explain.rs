//! `kubeherald explain`: the binary beside a bot that watches the simulated API server, and on
//! stores that were written by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::clock;
use kubeherald::message::{Decision, Notification, Reason};
use kubeherald::store::{
    Claim, Commit, Gate, HistoryRow, KnownObject, ObjectRow, OutboxQuery, Settle, Store,
};
use kubeherald::template::sample;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::run::{Played, end};

fn explain(store: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kubeherald"))
        .env_clear()
        .arg("explain")
        .args(args)
        .args(["--store".as_ref(), store.as_os_str()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let stdout = text(stdout);
    assert!(!stdout.contains('\u{1b}'), "nothing may reach the terminal's controls: {stdout}");
    (status.code().unwrap(), stdout, text(stderr))
}

fn json(store: &Path, args: &[&str]) -> Value {
    let (code, stdout, stderr) = explain(store, &[args, &["--format", "json"]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_bot_is_looked_into() {
    let mut played = Played::new("crashloop").await;
    let stop = CancellationToken::new();
    let task = played.start(&stop);
    let store = played.dir.path().join("state.db");
    let mut told = None;
    for share in 1..=20 {
        played.play(f64::from(share) / 40.0).await;
        let path = store.clone();
        let asked =
            tokio::task::spawn_blocking(move || explain(&path, &["deploy/checkout", "--format", "json"]));
        let (code, stdout, stderr) = asked.await.unwrap();
        if code == 0 {
            let answer: Value = serde_json::from_str(&stdout).unwrap();
            let stories = answer["incidents"].as_array().unwrap().clone();
            let delivered = |s: &&Value| {
                s["events"].as_array().unwrap().iter().any(|e| e["receivers"][0]["state"] == "delivered")
            };
            if let Some(story) = stories.iter().find(delivered) {
                told = Some(story.clone());
                break;
            }
        } else {
            // Before its first commit the file may not be there yet.
            assert_eq!(code, 1, "{stderr}");
        }
    }
    let told = told.expect("it was told and delivered");
    assert_eq!((&told["state"], &told["rule"]), (&json!("firing"), &json!("crash-loop")));
    let pod = told["objects"].as_array().unwrap().iter().find(|o| o["kind"] == "Pod").unwrap();
    let name = format!("pod/{}", pod["name"].as_str().unwrap());
    let path = store.clone();
    let one = tokio::task::spawn_blocking(move || json(&path, &[&name])).await.unwrap();
    assert!(one["incidents"].as_array().unwrap().iter().any(|s| s["incident"] == told["incident"]));
    end(stop, task).await;
}

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn ago(seconds: u64) -> Timestamp {
    clock::before(clock::now(), Duration::from_secs(seconds))
}

fn row(
    seconds: u64,
    incident: &str,
    decision: Option<Decision>,
    reason: Reason,
    detail: &Value,
) -> HistoryRow {
    HistoryRow {
        at: ago(seconds),
        incident: Some(incident.into()),
        decision,
        reason,
        rule: "crash-loop".into(),
        namespace: Some("shop".into()),
        workload: "Deployment/checkout".into(),
        title: if decision.is_some() {
            "checkout\u{1b}[31m keeps\ncrashing".to_owned()
        } else {
            String::new()
        },
        detail: detail.to_string(),
    }
}

fn note(key: &str, receiver: &str, incident: &str, at: Timestamp) -> Notification {
    let mut view = sample::incident();
    view.id = incident.into();
    let mut n = sample::notification(Decision::First, view);
    key.clone_into(&mut n.key);
    n.receiver = receiver.into();
    n.at = at;
    n
}

/// One incident told to five receivers with all that can become of it, and one held back in all ways.
fn fill(store: &Store) {
    let told = json!({
        "key": "aaaaaaaaaa-1", "receivers": ["ok", "late", "dead", "folded", "digested", "old", "mail"], "skipped": [],
        "cause": "CrashLoopBackOff", "severity": "critical", "since": ago(700), "until": ago(0),
    });
    let ended = json!({ "key": "aaaaaaaaaa-2", "receivers": ["late"], "skipped": ["quiet"], "digests": ["daily"], "ended_at": ago(400) });
    let history = vec![
        row(600, "aaaaaaaaaa", Some(Decision::First), Reason::First, &told),
        row(300, "aaaaaaaaaa", Some(Decision::Resolved), Reason::Recovered, &ended),
        row(500, "bbbbbbbbbb", None, Reason::SilencedBy, &json!({ "by": "s-42" })),
        row(480, "bbbbbbbbbb", None, Reason::Muted, &json!({ "by": "weekend" })),
        row(470, "bbbbbbbbbb", None, Reason::InhibitedBy, &json!({ "by": "aaaaaaaaaa" })),
        row(460, "bbbbbbbbbb", None, Reason::NoRule, &json!({})),
        // Of a version to come.
        HistoryRow {
            detail: "not JSON".to_owned(),
            ..row(450, "bbbbbbbbbb", None, Reason::GroupWait, &json!({}))
        },
    ];
    let keys = [
        ("aaaaaaaaaa-1-ok", "ok"),
        ("aaaaaaaaaa-1-late", "late"),
        ("aaaaaaaaaa-1-dead", "dead"),
        ("aaaaaaaaaa-1-folded", "folded"),
        ("aaaaaaaaaa-1-digested", "digested"),
        ("aaaaaaaaaa-1-mail", "mail"),
        ("aaaaaaaaaa-2-late", "late"),
    ];
    let notifications = keys.map(|(key, receiver)| note(key, receiver, "aaaaaaaaaa", ago(600))).to_vec();
    let pod = |incident: &str, name: &str| ObjectRow {
        incident: incident.to_owned(),
        object: KnownObject {
            kind: "Pod".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        },
        at: ago(600),
    };
    let objects = vec![
        pod("aaaaaaaaaa", "checkout-1"),
        pod("bbbbbbbbbb", "checkout-1"),
        pod("bbbbbbbbbb", "evil\u{1b}[2J"),
    ];
    let marks = vec![("seen_until".to_owned(), ago(1).to_string())];
    store.commit(Commit { history, notifications, objects, marks, ..Commit::default() }).wait().unwrap();
    let both = ["a@x.test".into(), "b@x.test".into()];
    assert_eq!(store.give_out(&"mail".into(), &both, ago(595)).wait().unwrap(), 1);
    let rows = store.outbox(QUERY).wait().unwrap();
    let seq = |key: &str| rows.iter().find(|row| row.key == key).unwrap().seq;
    let settle = |key: &str, what: Settle| {
        assert!(matches!(store.claim(seq(key), ago(590)).wait().unwrap(), Claim::Claimed { .. }));
        assert!(store.settle(seq(key), what, ago(590)).wait().unwrap());
    };
    settle("aaaaaaaaaa-1-ok", Settle::Delivered { handle: None });
    let reason = "SMTP 451 try\u{1b}[31m later".to_owned();
    let not_before = clock::after(clock::now(), Duration::from_secs(290));
    let gate = Gate { name: "late".into(), until: not_before };
    settle("aaaaaaaaaa-1-late", Settle::Retry { not_before, reason, gate: Some(gate) });
    settle("aaaaaaaaaa-1-mail/a@x.test", Settle::Delivered { handle: None });
    settle("aaaaaaaaaa-1-mail/b@x.test", Settle::Dead { reason: "RCPT TO: 550".to_owned() });
    settle("aaaaaaaaaa-1-dead", Settle::Dead { reason: "channel_not_found".to_owned() });
    for (receiver, key) in [("folded", "fold-12-folded"), ("digested", "digest-7-digested")] {
        let seqs = vec![seq(&format!("aaaaaaaaaa-1-{receiver}"))];
        store.claim_fold(key, seqs, ago(580)).wait().unwrap().unwrap();
        let done = Settle::Delivered { handle: None };
        store.settle_fold(&receiver.into(), key, done, None, ago(580)).wait().unwrap();
    }
}

const QUERY: OutboxQuery = OutboxQuery {
    receiver: None,
    states: kubeherald::store::OutboxStates::All,
    inside: None,
    after: 0,
    limit: 100,
};

fn filled() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { path: dir.path().join("herald.db"), _dir: dir };
    fill(&Store::open(&place.path).unwrap());
    place
}

#[test]
fn every_receiver_has_a_line_that_says_how_it_went() {
    let place = filled();
    let (code, text, _) = explain(&place.path, &["incident/aaaaaaaaaa"]);
    assert_eq!(code, 0);
    for part in [
        "aaaaaaaaaa Deployment/checkout in shop: CrashLoopBackOff\n",
        "  rule     crash-loop (critical)\n",
        "  objects  Pod/checkout-1\n",
        "told: checkout [31m keeps crashing\n",
        "      ok: delivered at ",
        "      late: waits – next attempt ",
        "(in 5 min), tried 1 time, SMTP 451 try [31m later\n",
        "      dead: given up at ",
        ": channel_not_found: send it again: kubeherald outbox resend aaaaaaaaaa-1-dead --store /",
        "      mail (a@x.test): delivered at ",
        "      mail (b@x.test): given up at ",
        ": RCPT TO: 550: send it again: kubeherald outbox resend aaaaaaaaaa-1-mail/b@x.test --store /",
        "      folded: delivered at ",
        " in the summary fold-12-folded\n",
        " in the digest digest-7-digested\n",
        "      old: not in the outbox any more: delivered more than a week ago, or dropped by hand\n",
        "      late: waits – after an older message of this incident\n",
        "      quiet: not told: it wants no ends (`send_resolved: false`)\n",
        "      daily: told in its digest\n",
        "state    over at ",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    let json = json(&place.path, &["incident/aaaaaaaaaa"]);
    let story = &json["incidents"][0];
    assert_eq!((&story["state"], &story["events"][0]["decision"]), (&json!("resolved"), &json!("resolved")));
    let states: Vec<&str> = story["events"][1]["receivers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        ["delivered", "queued", "dead", "delivered", "delivered", "unknown", "delivered", "dead"]
    );
    assert_eq!(story["events"][1]["receivers"][3]["inside"], "fold-12-folded");
    assert_eq!(story["events"][1]["receivers"][7]["recipient"], "b@x.test");
    assert_eq!(story["events"][1]["receivers"][0]["recipient"], Value::Null);

    // What is printed to be pasted works as it is.
    let line = text.lines().find_map(|line| line.split_once("send it again: kubeherald ")).unwrap().1;
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_kubeherald"));
    let done =
        Command::new("sh").env_clear().env("PATH", "/usr/bin:/bin").args(["-c", &line]).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "queued again: aaaaaaaaaa-1-dead\n");
}

#[test]
fn what_was_held_back_says_by_whom() {
    let place = filled();
    let (_, text, _) = explain(&place.path, &["pod/checkout-1", "-n", "shop"]);
    assert!(text.starts_with("pod/checkout-1: 2 incidents\n\naaaaaaaaaa "), "the newest first: {text}");
    for part in [
        "not told: silence s-42 was on\n",
        "not told: mute time weekend was on\n",
        "not told: incident aaaaaaaaaa (Deployment/checkout: CrashLoopBackOff) explains it and counts it\n",
        "no longer followed: its rule was taken out of the configuration\n",
        "not told: group wait\n",
        "Pod/evil [2J",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    let (_, text, _) = explain(&place.path, &["checkout-1", "--limit", "1"]);
    assert!(text.ends_with("\n… and 1 older: see --limit and --since\n"), "{text}");
}

/// The keys of the JSON are a contract: they may be added to, not taken away.
#[test]
fn the_json_has_the_documented_keys() {
    let place = filled();
    let answer = json(&place.path, &["checkout-1"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&answer), "asked_at incidents kept_days near object older seen_until unheard unwatched");
    let story = &answer["incidents"][0];
    assert_eq!(
        keys(story),
        "asked cause container ended_at events events_cut flaps held_back incident last_seen namespace objects \
         objects_total occurrences overrides quiet_until rule severity since state unreadable untold waits why workload"
    );
    assert_eq!(keys(&story["asked"][0]), "kind name namespace");
    assert_eq!(keys(&story["events"][1]), "at by by_title decision reason receivers title until waited");
    assert_eq!(
        keys(&story["events"][1]["receivers"][1]),
        "at attempts behind fallback inside key next_attempt reason receiver recipient state"
    );
    let docs =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/explain.md")).unwrap();
    for key in keys(&answer).split(' ').chain(keys(story).split(' ')) {
        assert!(docs.contains(&format!("`{key}`")), "docs/explain.md does not tell of `{key}`");
    }
}

#[test]
fn nothing_known_says_what_that_can_mean() {
    let place = filled();
    let (code, text, _) = explain(&place.path, &["pod/checkout-2"]);
    assert_eq!(code, 1);
    for part in [
        "nothing is known of pod/checkout-2\n",
        "  Pod/checkout-1 -n shop\n",
        "no rule looks for",
        "another namespace",
        "`watch.namespaces`",
        "30 days",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    let (code, text, _) = explain(&place.path, &["checkout-1", "--since", "1m"]);
    assert!(code == 1 && text.contains("leave out --since"), "{text}");
    let (code, text, _) = explain(&place.path, &["nope", "--format", "json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["incidents"], &answer["near"]), (1, &json!([]), &json!([])));

    // The configuration knows which namespaces are not looked at.
    let config = place.path.with_file_name("kubeherald.yaml");
    std::fs::write(&config, "watch: {namespaces: {exclude: [dev]}}\nstore: {path: herald.db}\n").unwrap();
    let config = config.to_str().unwrap();
    let (code, text, _) = explain(&place.path, &["pod/x", "-n", "dev", "--config", config]);
    assert!(code == 1 && text.contains("the namespace dev is not watched"), "{text}");
}

#[test]
fn a_bot_that_sleeps_is_told() {
    let place = filled();
    let (_, text, _) = explain(&place.path, &["checkout-1"]);
    assert!(!text.contains("the bot"), "{text}");
    let store = Store::open(&place.path).unwrap();
    let marks = vec![("seen_until".to_owned(), ago(7200).to_string())];
    store.commit(Commit { marks, ..Commit::default() }).wait().unwrap();
    let (_, text, _) = explain(&place.path, &["checkout-1"]);
    assert!(
        text.contains("the bot wrote last at ") && text.contains("(2 h ago): it may not be running"),
        "{text}"
    );
}

#[test]
fn wrong_usage_and_no_store_are_told_apart() {
    let place = filled();
    for args in [&["pod/"][..], &["a/b/c/d"], &["x", "--since", "5"], &[]] {
        let (code, _, stderr) = explain(&place.path, args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
    }
    let (code, _, stderr) = explain(&place.path.with_file_name("none.db"), &["x"]);
    assert!(code == 1 && stderr.contains("there is no such file"), "{stderr}");
    let ended =
        Command::new(env!("CARGO_BIN_EXE_kubeherald")).env_clear().args(["explain", "x"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("which store?"));
}
