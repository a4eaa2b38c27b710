//! A model of Alertmanager: it ends an alert by itself at its `endsAt`, and knows an alert by its labels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::clock;
use kubeherald::message::{Decision, Notification};
use kubeherald::notify::webhook::{Preset, WebhookBody};
use kubeherald::notify::{NotifierConfig, Secret, WebhookConfig};
use kubeherald::outbox::Policy;
use kubeherald::store::{Commit, IncidentRow, Store};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{Received, Reply, WebhookServer};

use crate::dispatching::Dispatching;
use crate::support::until;

/// How often open alerts are sent again here, in place of minutes.
const EVERY: Duration = Duration::from_millis(150);

/// What was said of one alert: when, and until when it stands.
type Said = Vec<(Timestamp, Timestamp)>;

/// By the label `incident`, or `alertname` where there is none.
fn said(requests: &[Received]) -> BTreeMap<String, Said> {
    let mut alerts: BTreeMap<String, Said> = BTreeMap::new();
    for request in requests {
        assert_eq!(request.path, "/hook/api/v2/alerts");
        for alert in request.json().as_array().unwrap() {
            let labels = &alert["labels"];
            let name = labels["incident"].as_str().or_else(|| labels["alertname"].as_str()).unwrap();
            let until: Timestamp = alert["endsAt"].as_str().unwrap().parse().unwrap();
            assert!(alert["startsAt"].as_str().unwrap().parse::<Timestamp>().unwrap() <= until);
            alerts.entry(name.to_owned()).or_default().push((request.at, until));
        }
    }
    alerts
}

fn begin(store: &Store, server: &WebhookServer) -> Dispatching {
    let config = WebhookConfig {
        body: WebhookBody::Preset(Preset::Alertmanager),
        reassert: Some(EVERY),
        cluster: "prod".into(),
        ..WebhookConfig::new(Secret::Inline(server.url().into()))
    };
    Dispatching::begin(store, "am", false, NotifierConfig::Webhook(config), Policy::default().drain)
}

fn note(incident: &str, seq: u64, decision: Decision) -> Notification {
    let mut view = sample::incident();
    (view.id, view.since) = (incident.into(), clock::now());
    let mut n = sample::notification(decision, view);
    n.incidents[0].ended_at = decision.is_end().then(clock::now);
    (n.key, n.receiver, n.at) = (format!("{incident}-{seq}-am"), "am".into(), clock::now());
    n
}

fn row(incident: &str, state: &str) -> IncidentRow {
    let (id, body, updated_at) = (incident.to_owned(), "{}".to_owned(), clock::now());
    IncidentRow { id, rule: "r".into(), state: state.into(), body, updated_at }
}

#[tokio::test]
async fn an_alert_stands_as_long_as_its_problem_and_not_longer() {
    let store = Store::memory().unwrap();
    let server = WebhookServer::start().await.unwrap();
    let all = || said(&server.received().all());
    let times = |name: &str| all().get(name).map_or(0, Vec::len);
    let life = begin(&store, &server);
    let notifications = vec![note("one", 1, Decision::First), note("two", 1, Decision::First)];
    let incidents = vec![row("one", "firing"), row("two", "firing")];
    store.commit(Commit { notifications, incidents, ..Commit::default() }).await.unwrap();
    // Nothing is decided any more, and yet the end moves on.
    until("assertions", async || times("one") >= 4 && times("two") >= 4 && times("Watchdog") >= 3).await;
    for (name, said) in all() {
        let stands = if name == "Watchdog" { EVERY * 3 } else { EVERY * 24 };
        for (at, end) in said {
            let ahead = Duration::try_from(end.duration_since(at)).unwrap();
            assert!(ahead <= stands && ahead + Duration::from_secs(1) >= stands, "{name}: {ahead:?}");
        }
    }
    // One request for both.
    let both = |r: &Received| r.json().as_array().is_some_and(|alerts| alerts.len() == 2);
    assert!(server.received().all().iter().any(both));

    // The end is the last that is said of it.
    let notifications = vec![note("one", 2, Decision::Resolved)];
    let incidents = vec![row("one", "resolved")];
    store.commit(Commit { notifications, incidents, ..Commit::default() }).await.unwrap();
    until("the end", async || all()["one"].last().is_some_and(|(at, end)| end <= at)).await;
    let (ones, twos) = (times("one"), times("two"));
    until("further assertions", async || times("two") >= twos + 4).await;
    assert_eq!(times("one"), ones, "nothing after its end");

    // An outage: then one assertion, not one for each that was missed.
    for _ in 0..3 {
        server.next(Reply::status(503, ""));
    }
    life.end().await;
    let before = server.received().all().len();
    let life = begin(&store, &server);
    until("a restart", async || server.received().all().len() > before).await;
    let named: BTreeSet<String> = said(&server.received().all()[before..]).into_keys().collect();
    assert_eq!(named, BTreeSet::from(["Watchdog".to_owned()]), "it failed, so nothing else was sent yet");
    life.end().await;
}
