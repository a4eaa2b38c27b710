//! The demonstration: its story told on virtual time, and the whole of it for real.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::pipeline::{Output, Pipeline, Start};
use kubeherald::cli::demo::stage::{News, Stage};
use kubeherald::clock::Clock;
use kubeherald::config;
use kubeherald::notify::webhook::sign;
use kubeherald::recording::{Line, LineKind, changes};
use kubeherald::testkit::receivers::ReceivedMail;
use kubeherald::testkit::story::{self, SPEED, Story, Tone, Write};
use kubeherald::watch::Kind;
use serde_json::Value;
use serde_json::value::to_raw_value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

struct Recorded {
    lines: Vec<Line>,
    said: Vec<story::Line>,
    writes: u64,
}

/// The story as a recording.
fn recorded() -> Recorded {
    let began: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
    let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
    let (sink, mut known) = (Arc::clone(&lines), BTreeMap::<(String, String, String), Value>::new());
    let write = move |at, write: Write<'_>| {
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (kind, object) = match write {
            Write::Apply(object) => {
                let key = (
                    text(&object, "/kind"),
                    text(&object, "/metadata/namespace"),
                    text(&object, "/metadata/name"),
                );
                let known = known.insert(key, object.clone()).is_some();
                (if known { LineKind::Modified } else { LineKind::Added }, object)
            }
            Write::Log { .. } => return Ok(()),
            Write::Delete { kind, namespace, name } => {
                let found = known.remove(&(kind.into(), namespace.into(), name.into()));
                (
                    LineKind::Deleted,
                    found.unwrap_or_else(|| panic!("{kind} {namespace}/{name} was not there")),
                )
            }
        };
        sink.lock().unwrap().push(Line { at, kind, object: to_raw_value(&object).unwrap() });
        Ok(())
    };
    let mut story = Story::with(write, Clock::played(began, 1)).unwrap();
    let stage = std::mem::take(&mut *lines.lock().unwrap());
    // What stands when the curtain rises.
    let mut standing: BTreeMap<String, Line> = BTreeMap::new();
    for line in stage {
        let object: Value = serde_json::from_str(line.object.get()).unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        match line.kind {
            LineKind::Deleted => drop(standing.remove(&uid)),
            _ => drop(standing.insert(uid, Line { at: began, kind: LineKind::Added, ..line })),
        }
    }
    let mut all: Vec<Line> = standing.into_values().collect();
    all.push(Line { at: began, kind: LineKind::Synced, object: to_raw_value(&()).unwrap() });
    while !story.is_over() {
        story.step();
    }
    all.extend(std::mem::take(&mut *lines.lock().unwrap()));
    Recorded { lines: all, said: story.take_lines(), writes: story.writes() }
}

/// What is to be told: the cause and whose it is, in the order of the first messages.
const TROUBLES: [(&str, &str, u64); 6] = [
    ("CrashLoopBackOff", "Deployment/checkout", 3),
    ("Evicted", "Deployment/thumbs", 2),
    ("FailedScheduling", "Deployment/ranker", 2),
    ("FailedMount", "Deployment/vault-agent", 1),
    ("ImagePullBackOff", "Deployment/api", 1),
    ("NodeNotReady", "Node/worker-3", 1),
];

#[test]
fn the_story_is_told_once_for_each_trouble_and_never_for_life() {
    let Recorded { lines, said, writes } = recorded();
    let config = config::load(None, &[]).unwrap().config;
    let mut pipeline: Option<Pipeline> = None;
    let mut told = Vec::new();
    for change in changes(lines.into_iter().map(Ok)) {
        let (at, change) = change.unwrap();
        let mut out = Output::default();
        let pipeline = pipeline.get_or_insert_with(|| {
            Pipeline::new(&config, &Kind::ALL, at, Start { first: true, ..Start::default() }).0
        });
        pipeline.feed(at, change, &mut out);
        told.extend(out.messages.into_iter().map(|m| {
            let [incident] = &m.decided.incidents[..] else { panic!("a summary: {}", m.text) };
            let decision = m.decided.decision.as_str();
            (
                decision,
                incident.cause.to_string(),
                incident.workload.to_string(),
                u64::from(incident.members_total),
            )
        }));
    }
    let expected = |decision: &'static str| {
        TROUBLES.map(|(cause, workload, members)| {
            // The second eviction comes after the first message, and is folded.
            let members = if (decision, cause) == ("first", "Evicted") { 1 } else { members };
            (decision, cause.to_owned(), workload.to_owned(), members)
        })
    };
    let (firsts, mut ends): (Vec<_>, Vec<_>) = told.into_iter().partition(|t| t.0 == "first");
    assert_eq!(firsts, expected("first"));
    let mut expected_ends = expected("resolved").to_vec();
    ends.sort();
    expected_ends.sort();
    assert_eq!(ends, expected_ends);
    assert!(writes > 1000, "{writes} writes are no lot of life");
    let lines_of = |tone| said.iter().filter(|line| line.tone == tone).count();
    assert!(lines_of(Tone::Life) >= 10 && lines_of(Tone::Trouble) >= TROUBLES.len());
}

#[test]
fn a_crash_shows_as_on_a_real_cluster() {
    let Recorded { lines, .. } = recorded();
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for line in &lines {
        let object: Value = serde_json::from_str(line.object.get()).unwrap();
        if object["kind"] == "Event" && line.kind != LineKind::Deleted {
            let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
            let count = object["count"].as_i64().unwrap_or(1);
            let before = counts.insert(uid, count).unwrap_or(0);
            assert_eq!(count, before + 1, "{object}");
        }
        let status = &object["status"]["containerStatuses"][0];
        let image = status["image"].as_str().unwrap_or_default();
        if object["kind"] != "Pod" || line.kind == LineKind::Deleted || !image.ends_with("checkout:1.42.0") {
            continue;
        }
        let state = status["state"].as_object().unwrap();
        let name = state.keys().next().unwrap();
        let reason = state[name]["reason"].as_str().unwrap_or_default();
        let step = format!("{name} {reason} {}", status["restartCount"]);
        let all = shown.entry(object["metadata"]["name"].as_str().unwrap().to_owned()).or_default();
        if all.last() != Some(&step) {
            all.push(step);
        }
        if reason == "CrashLoopBackOff" {
            assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
        }
    }
    assert_eq!(shown.len(), 3);
    for all in shown.values() {
        let expected = [
            "waiting ContainerCreating 0",
            "running  0",
            "terminated Error 0",
            "running  1",
            "terminated Error 1",
            "waiting CrashLoopBackOff 1",
            "running  2",
            "terminated Error 2",
            "waiting CrashLoopBackOff 2",
        ];
        assert_eq!(all[..expected.len()], expected);
    }
}

/// Far more than anything here takes: only something that hangs meets it.
const HANG: Duration = Duration::from_secs(300);

/// One request by hand: the head and the body of the answer, up to where `enough` says so.
async fn get(page: SocketAddr, path: &str, header: &str, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(page).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let read = async {
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            all.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&all).into_owned();
            if length == 0 || enough(&text) {
                return text;
            }
        }
    };
    tokio::time::timeout(HANG, read).await.unwrap_or_else(|_| panic!("{path} hangs"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receiver_gets_the_same_story() {
    let mut stage = Stage::build(0, 2 * SPEED).await.unwrap();
    let (page, feed) = (stage.page, Arc::clone(&stage.feed));
    let index = get(page, "/", "", |_| false).await;
    assert!(
        index.starts_with("HTTP/1.1 200 OK") && index.contains("content-security-policy: default-src 'none'")
    );
    assert!(index.contains("<title>kubeherald demo</title>"));
    for path in ["/page.js", "/page.css"] {
        assert!(get(page, path, "", |_| false).await.starts_with("HTTP/1.1 200 OK"), "{path}");
    }
    assert!(get(page, "/etc/passwd", "", |_| false).await.starts_with("HTTP/1.1 404"));
    // Somebody looks on from the beginning.
    let ends = |kind: &'static str, number: usize| {
        move |text: &str| text.matches(&format!("event: {kind}\n")).count() >= number
    };
    let live = tokio::spawn(get(page, "/events", "", ends("mail", 12)));

    let news: Arc<Mutex<Vec<News>>> = Arc::default();
    let heard = Arc::clone(&news);
    let stop = CancellationToken::new();
    let played = stage.play(true, &stop, move |news| heard.lock().unwrap().push(news));
    tokio::time::timeout(HANG, played).await.expect("the story ends").unwrap();

    // The webhook: a first message and an end of each, in this order, and nothing else.
    let requests = stage.webhook.received().all();
    let bodies: Vec<Value> = requests.iter().map(kubeherald::testkit::receivers::Received::json).collect();
    let mut threads: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut known = Vec::new();
    for (request, body) in requests.iter().zip(&bodies) {
        let at = Timestamp::from_second(request.header("x-kubeherald-timestamp").unwrap().parse().unwrap())
            .unwrap();
        let signature = sign(b"a secret that both sides know", at, request.body.as_bytes());
        assert_eq!(request.header("x-kubeherald-signature"), Some(signature.as_str()));
        threads.entry(text(body, "/thread").to_owned()).or_default().push(text(body, "/decision").to_owned());
        if text(body, "/decision") == "first" {
            known.push((text(body, "/incidents/0/cause"), text(body, "/incidents/0/workload")));
        } else {
            let expected = TROUBLES.iter().find(|t| t.1 == text(body, "/incidents/0/workload")).unwrap();
            assert_eq!(body["incidents"][0]["members_total"], expected.2, "{body}");
        }
    }
    assert_eq!(known, TROUBLES.map(|(cause, workload, _)| (cause, workload)));
    assert_eq!(threads.len(), TROUBLES.len());
    assert!(threads.values().all(|t| *t == ["first", "resolved"]), "{threads:?}");

    // Slack: one message of each, edited, with the end in its thread.
    let messages = stage.slack.messages();
    let (tops, replies): (Vec<_>, Vec<_>) = messages.iter().partition(|m| m.thread_ts.is_none());
    assert_eq!((tops.len(), replies.len()), (TROUBLES.len(), TROUBLES.len()));
    for top in tops {
        let shown = top.payload.to_string();
        assert!(top.edits == 1 && shown.contains("✅"), "{shown}");
        assert!(threads.keys().any(|id| shown.contains(id.as_str())), "{shown}");
        let mine: Vec<_> = replies.iter().filter(|r| r.thread_ts.as_ref() == Some(&top.ts)).collect();
        assert!(mine.len() == 1 && text(&mine[0].payload, "/text").contains("Resolved: "), "{mine:?}");
    }

    // As in a default installation no log is read, and no password is shown.
    let crash = messages
        .iter()
        .map(|m| m.payload.to_string())
        .find(|m| m.contains("shop/checkout") || m.contains("Deployment/checkout"));
    let crash = crash.expect("a message about checkout");
    assert!(!crash.contains("Last log lines"), "{crash}");
    assert!(messages.iter().all(|m| !m.payload.to_string().contains("correct-horse")));

    // The mailbox: the same threads.
    let mut mailed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in stage.mail.mails().all() {
        let thread = mail.header("X-Kubeherald-Thread").unwrap();
        mailed.entry(thread).or_default().push(mail.header("X-Kubeherald-Decision").unwrap());
        assert!(mail.header("Subject").unwrap().contains("demo-eu-1: "));
        assert!(
            mail.part("text/html").unwrap().contains("<h1") && !mail.part("text/plain").unwrap().is_empty()
        );
    }
    assert_eq!(mailed, threads);
    // What a click on a mail opens is that mail.
    let document = feed.document();
    let shown = document["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "mail");
    let mut clicks = 0;
    for mail in shown.map(|entry| &entry["data"]) {
        let is = |sent: &ReceivedMail| {
            let header = |name| sent.header(name).unwrap_or_default();
            mail["thread"] == header("X-Kubeherald-Thread")
                && mail["decision"] == header("X-Kubeherald-Decision")
        };
        let sent = stage.mail.mails().all().into_iter().find(is).expect("a mail that was sent");
        assert_eq!(mail["subject"].as_str(), sent.header("Subject").as_deref());
        assert_eq!(mail["html"].as_str(), sent.part("text/html").as_deref());
        assert_eq!(mail["text"].as_str(), sent.part("text/plain").as_deref());
        clicks += 1;
    }
    assert_eq!(clicks, 12);

    // The page: live, from the beginning, and from where somebody was.
    let live = live.await.unwrap();
    for (kind, number) in [("webhook", 12), ("slack", 18), ("mail", 12)] {
        assert!(ends(kind, number)(&get(page, "/events", "", ends(kind, number)).await));
    }
    assert!(ends("cluster", 20)(&live) && ends("webhook", 12)(&live) && ends("counts", 5)(&live));
    let last = feed.document()["entries"].as_array().unwrap().last().unwrap()["id"].as_u64().unwrap();
    let header = format!("last-event-id: {}\r\n", last - 1);
    let rest = get(page, "/events", &header, ends("counts", 1)).await;
    assert_eq!(rest.matches("\nid: ").count(), 1, "{rest}");
    let counts = feed.counts();
    assert!(counts.over && counts.messages == 12 && counts.writes > 1000, "{counts:?}");
    assert!(matches!(
        news.lock().unwrap().iter().find(|n| matches!(n, News::Over { .. })),
        Some(News::Over { messages: 12, .. })
    ));
    stage.close().await;
}
