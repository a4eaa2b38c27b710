//! What is opened is closed: receivers that open and close an alert for each incident, through storms,
//! first starts and rate limits.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::pipeline::{Message, Output, Pipeline, Start};
use kubeherald::app::receivers;
use kubeherald::clock;
use kubeherald::config::{Config, load};
use kubeherald::notify::{Attempt, Deliver, Outcome};
use kubeherald::outbox::{Limit, Outbox, Policy, ReceiverSpec, StopMode};
use kubeherald::store::{Commit, Store};
use kubeherald::testkit::builders::{self, deployment, node, pod};
use kubeherald::testkit::receivers::{Received, WebhookServer};
use kubeherald::watch::decode::decode;
use kubeherald::watch::{Change, Kind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// So many deployments crash at once.
const APPS: usize = 30;
/// So many are told one by one before the storm.
const SINGLE: usize = 5;

fn config(dir: &std::path::Path, receivers: &str) -> Arc<Config> {
    let path = dir.join("kubeherald.yaml");
    std::fs::write(dir.join("key"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::write(&path, format!("cluster: test\nstorm: {{incidents: {SINGLE}}}\nreceivers:\n{receivers}"))
        .unwrap();
    match load(Some(&path), &[]) {
        Ok(loaded) => loaded.config,
        Err(wrong) => panic!("{}", wrong.iter().map(|d| d.render(false)).collect::<String>()),
    }
}

/// Everything crashes, and some minutes later it is gone; `first`: kubeherald is new and finds it so.
fn story(config: &Config, first: bool) -> Vec<Message> {
    let start: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
    let mut now = start;
    let begin = Start {
        first,
        news_since: (!first).then(|| start.into()),
        incidents: Vec::new(),
        ..Start::default()
    };
    let mut pipeline = Pipeline::new(config, &Kind::ALL, now, begin).0;
    let mut out = Output::default();
    let object = |json: Value| {
        decode(Kind::parse(json["kind"].as_str().unwrap()).unwrap(), &json.to_string()).unwrap()
    };
    let crashing = |app: usize, now: Timestamp| {
        let rs = format!("app{app:02}-688988776f");
        let pod = pod(&format!("{rs}-0001")).owned_by_rs(&rs).node("worker-1");
        let pod =
            pod.last(3, "Error", "-12s", "-10s").waiting("CrashLoopBackOff", "back-off 10s").restarts(2);
        object(builders::at(pod.into(), start, now))
    };
    let deployment =
        |app: usize| object(builders::at(deployment(&format!("app{app:02}")).into(), start, start));
    let mut lists = vec![(Kind::Node, object(builders::at(node("worker-1").into(), start, start)))];
    lists.extend((0..APPS).map(|app| (Kind::Deployment, deployment(app))));
    if first {
        lists.extend((0..APPS).map(|app| (Kind::Pod, crashing(app, start))));
    }
    for kind in Kind::ALL {
        pipeline.feed(now, Change::Listing(kind), &mut out);
        for (_, object) in lists.iter().filter(|(of, _)| *of == kind) {
            pipeline.feed(now, Change::Initial(object.clone()), &mut out);
        }
        pipeline.feed(now, Change::Listed(kind), &mut out);
    }
    now = clock::after(start, Duration::from_secs(10));
    for app in (0..APPS).filter(|_| !first) {
        pipeline.feed(now, Change::Applied(crashing(app, now)), &mut out);
    }
    now = clock::after(start, Duration::from_secs(300));
    for app in 0..APPS {
        pipeline.feed(now, Change::Deleted(crashing(app, now)), &mut out);
        pipeline.feed(now, Change::Deleted(deployment(app)), &mut out);
    }
    pipeline.tick_until(clock::after(start, Duration::from_secs(1_800)), &mut out);
    out.messages
}

/// What the other side has open, and everything it ever opened.
#[derive(Debug, Default)]
struct Alerts {
    open: BTreeSet<String>,
    opened: BTreeSet<String>,
    /// Closed without having been opened.
    strays: Vec<String>,
}

impl Alerts {
    fn set(&mut self, name: String, open: bool) {
        if open {
            self.opened.insert(name.clone());
            self.open.insert(name);
        } else if !self.open.remove(&name) {
            self.strays.push(name);
        }
    }

    fn of(requests: &[Received]) -> Self {
        let mut alerts = Self::default();
        for request in requests {
            let body = request.json();
            if let Some(action) = body["event_action"].as_str() {
                let key = body["dedup_key"].as_str().unwrap().to_owned();
                alerts.set(key, action == "trigger");
            } else if let Some(alias) = body["alias"].as_str() {
                alerts.set(alias.to_owned(), true);
            } else if let Some(rest) = request.path.strip_prefix("/hook/v2/alerts/") {
                alerts.set(rest.strip_suffix("/close?identifierType=alias").unwrap().to_owned(), false);
            } else {
                for alert in body.as_array().unwrap() {
                    let until: Timestamp = alert["endsAt"].as_str().unwrap().parse().unwrap();
                    // Nothing of the story lasts an hour; what is open has an end a day ahead.
                    let end: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
                    alerts.set(alert["labels"].to_string(), until > end);
                }
            }
        }
        alerts
    }
}

/// Receivers as the configuration makes them, with a rate limit that holds back almost everything, and
/// everything waiting when they begin.
async fn deliver(config: &Config, messages: &[Message]) {
    let store = Store::memory().unwrap();
    let outbox = Outbox::new(store.clone(), clock::Clock::System, Policy::default());
    let stop = CancellationToken::new();
    for message in messages {
        let notifications = message
            .notifications()
            // Decided in the story's time, queued now.
            .map(|mut n| {
                n.at = clock::now();
                n
            })
            .collect();
        store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    }
    let mut tasks = Vec::new();
    for (spec, notifier) in receivers::build(config).unwrap() {
        // A message takes less: so the limit is what holds back, also on a machine that is busy.
        let per = Duration::from_millis(if spec.fold { 300 } else { 30 });
        let spec = ReceiverSpec { limit: Limit { per, messages: 1, burst: 1 }, ..spec };
        tasks.push(tokio::spawn(
            outbox.dispatcher(spec, Late(notifier)).run(StopMode::default(), stop.clone()),
        ));
    }
    tokio::time::timeout(Duration::from_secs(60), async {
        while !store.sizes().await.unwrap().receivers.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("everything is delivered");
    stop.cancel();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

/// Gives a message back the time of the story.
struct Late<D>(D);

impl<D: Deliver> Deliver for Late<D> {
    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        let mut n = attempt.notification.clone();
        n.at = n.incidents.iter().map(|i| i.ended_at.unwrap_or(i.last_seen)).max().unwrap_or(n.at);
        self.0.deliver(Attempt { notification: &n, ..attempt }).await
    }

    fn time_limit(&self) -> Duration {
        self.0.time_limit()
    }

    fn lists(&self) -> usize {
        self.0.lists()
    }
}

#[tokio::test]
async fn every_alert_that_is_opened_is_closed() {
    for first in [false, true] {
        let mut servers = Vec::new();
        let mut text = String::new();
        for preset in ["pagerduty", "opsgenie", "alertmanager"] {
            let server = WebhookServer::start().await.unwrap();
            let key = if preset == "alertmanager" { "" } else { ", key: {file: key}" };
            writeln!(text, "  {preset}: {{webhook: {{preset: {preset}, url: \"{}\"{key}}}}}", server.url())
                .unwrap();
            servers.push((preset, server));
        }
        let chat = WebhookServer::start().await.unwrap();
        writeln!(text, "  chat: {{webhook: {{url: \"{}\"}}}}", chat.url()).unwrap();
        writeln!(text, "routes: [{{receivers: [pagerduty, opsgenie, alertmanager, chat]}}]").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &text);
        let messages = story(&config, first);
        let summaries = messages.iter().filter(|m| m.decided.decision.is_summary()).count();
        assert_eq!(summaries, 1, "{first}: {:?}", messages.iter().map(|m| &m.title).collect::<Vec<_>>());
        deliver(&config, &messages).await;
        for (preset, server) in &servers {
            let alerts = Alerts::of(&server.received().all());
            assert_eq!(alerts.opened.len(), APPS, "{preset} {first}");
            assert_eq!(alerts.open, BTreeSet::new(), "{preset} {first}");
            assert_eq!(alerts.strays, Vec::<String>::new(), "{preset} {first}");
            // One request each: none of them was told in a summary.
            assert_eq!(server.received().all().len(), 2 * APPS, "{preset} {first}");
        }
        // Who reads messages still gets summaries.
        let seen: Vec<Value> = chat.received().all().iter().map(Received::json).collect();
        assert!(seen.iter().any(|n| n["incidents"].as_array().unwrap().len() > 10), "{first}");
        assert!(seen.len() < APPS, "{first}: {}", seen.len());
    }
}

#[test]
fn a_receiver_may_ask_for_each_incident_by_itself_or_for_summaries() {
    let dir = tempfile::tempdir().unwrap();
    let hook = "webhook: {url: \"https://example.com\"}";
    let pager = "webhook: {preset: pagerduty, key: {file: key}}";
    let text = format!(
        "  all: {{{hook}}}\n  each: {{{hook}, fold: false}}\n  pager: {{{pager}}}\n  other: {{{pager}, fold: true}}\n"
    );
    let config = config(dir.path(), &text);
    let folds: Vec<(String, bool)> = receivers::build(&config)
        .unwrap()
        .into_iter()
        .map(|(spec, _)| (spec.name.to_string(), spec.fold))
        .collect();
    let expected = [("all", true), ("each", false), ("pager", false), ("other", true)];
    assert_eq!(folds, expected.map(|(name, fold)| (name.to_owned(), fold)));
    let messages = story(&config, false);
    let storm = messages.iter().find(|m| m.decided.decision.is_summary()).unwrap();
    let of = |name: &str| storm.notifications().filter(|n| &*n.receiver == name).collect::<Vec<_>>();
    assert_eq!((of("all").len(), of("other").len()), (1, 1));
    assert_eq!((of("each").len(), of("pager").len()), (APPS - SINGLE, APPS - SINGLE));
    let mut keys = BTreeSet::new();
    for n in of("each") {
        // As if it had been told alone: the key, the number and the thread of its incident.
        assert_eq!(n.key, format!("{}-1-each", n.thread()));
        assert_eq!((n.seq, n.decision.as_str(), n.reason.as_str()), (1, "first", "storm"));
        assert_eq!(n.thread(), &*n.incidents[0].id);
        assert!(n.title.contains(&*n.incidents[0].workload), "{}", n.title);
        keys.insert(n.key);
    }
    assert_eq!(keys.len(), APPS - SINGLE);
    let end = messages
        .iter()
        .find(|m| m.decided.incidents[0].id == storm.decided.incidents[0].id && m.decided.decision.is_end())
        .unwrap();
    let end = end.notifications().find(|n| &*n.receiver == "each").unwrap();
    assert_eq!(end.key, format!("{}-2-each", end.thread()));
}

/// Killed for memory (a warning), then in a crash loop (critical), then gone.
fn worse(config: &Config) -> Vec<Message> {
    let start: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
    let begin =
        Start { first: false, news_since: Some(start.into()), incidents: Vec::new(), ..Start::default() };
    let mut pipeline = Pipeline::new(config, &Kind::ALL, start, begin).0;
    let mut out = Output::default();
    let rs = "app-688988776f";
    let at = |now: Timestamp, json: Value| {
        let json = builders::at(json, start, now);
        decode(Kind::parse(json["kind"].as_str().unwrap()).unwrap(), &json.to_string()).unwrap()
    };
    let one = || pod(&format!("{rs}-0001")).owned_by_rs(rs).node("worker-1");
    for kind in Kind::ALL {
        pipeline.feed(start, Change::Listing(kind), &mut out);
        match kind {
            Kind::Deployment => {
                pipeline.feed(start, Change::Initial(at(start, deployment("app").into())), &mut out);
            }
            Kind::Pod => {
                pipeline.feed(start, Change::Initial(at(start, one().running("T-1h").into())), &mut out);
            }
            _ => {}
        }
        pipeline.feed(start, Change::Listed(kind), &mut out);
    }
    let mut now = clock::after(start, Duration::from_secs(10));
    let killed = one().last(137, "OOMKilled", "T-1h", "-2s").running("-0s").restarts(1);
    pipeline.feed(now, Change::Applied(at(now, killed.into())), &mut out);
    now = clock::after(start, Duration::from_secs(60));
    let again = one().last(137, "OOMKilled", "-12s", "-10s");
    let looping = again.waiting("CrashLoopBackOff", "back-off 10s").restarts(2);
    pipeline.feed(now, Change::Applied(at(now, looping.into())), &mut out);
    now = clock::after(start, Duration::from_secs(300));
    pipeline.feed(now, Change::Deleted(at(now, one().running("T-1h").into())), &mut out);
    pipeline.feed(now, Change::Deleted(at(now, deployment("app").into())), &mut out);
    pipeline.tick_until(clock::after(start, Duration::from_secs(3_000)), &mut out);
    out.messages
}

#[tokio::test]
async fn what_became_worse_ends_as_what_it_became_and_no_alert_of_it_stays() {
    let server = WebhookServer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let receiver = format!("  am: {{webhook: {{preset: alertmanager, url: \"{}\"}}}}\n", server.url());
    let config = config(dir.path(), &receiver);
    let messages = worse(&config);
    let told: Vec<String> = messages
        .iter()
        .map(|m| {
            let i = &m.decided.incidents[0];
            format!("{} {} {} {:?}", m.decided.decision, i.seq, i.severity, i.was.map(|was| was.to_string()))
        })
        .collect();
    let expected = ["first 1 warning None", "grew 2 critical Some(\"warning\")", "resolved 3 critical None"];
    assert_eq!(told, expected);
    deliver(&config, &messages).await;
    let alerts = Alerts::of(&server.received().all());
    assert_eq!(alerts.opened.len(), 2, "one of each severity: {:?}", alerts.opened);
    assert_eq!(alerts.open, BTreeSet::new());
    assert_eq!(alerts.strays, Vec::<String>::new());
}
