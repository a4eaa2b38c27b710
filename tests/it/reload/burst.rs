//! Reloads in the middle of a burst.

use std::collections::BTreeMap;
use std::time::Duration;

use kubeherald::testkit::receivers::{Reply, WebhookServer};

use super::{Site, crashing, told, until};

/// Incidents that begin while the configuration changes.
const INCIDENTS: usize = 300;

/// Rules of the `n`th version: the same rule for every problem, under changing names and settings.
fn rules(n: usize) -> String {
    let mut text = String::from("rules:\n  - {name: crash-loop, enabled: false}\n");
    if n % 3 == 1 {
        text.push_str("  - {name: even, match: {cause: CrashLoopBackOff, name: {regex: \"[02468]$\"}}}\n");
    }
    let window = if n.is_multiple_of(2) { "1h" } else { "2h" };
    text.push_str(&format!(
        "  - {{name: crash, match: {{cause: CrashLoopBackOff}}, severity: warning, window: {window}}}\n"
    ));
    if n % 4 == 2 {
        text.push_str("  - {name: unused, match: {cause: Evicted}}\n");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_notification_arrives_exactly_once() {
    let mut site = Site::new().await;
    // Changes are found by looking; requests come in between.
    site.poll = Duration::from_millis(30);
    let always = WebhookServer::start().await.unwrap();
    let moving = [WebhookServer::start().await.unwrap(), WebhookServer::start().await.unwrap()];
    let configure = |n: usize| {
        let url = moving[n % 2].url();
        let routes = "routes:\n  - {receivers: [always, moving]}\n";
        site.configure(&[("always", &always.url()), ("moving", &url)], routes);
        site.write("rules/own.yaml", &rules(n));
    };
    configure(0);
    let bot = site.start().await;
    // Some attempts fail on the way.
    for n in 0..60 {
        moving[n % 2].next(Reply::status(if n.is_multiple_of(3) { 503 } else { 200 }, ""));
    }
    let feed = async {
        for n in 0..INCIDENTS {
            site.server.apply(crashing(&format!("p-{n:03}"))).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let change = async {
        let mut versions = 0;
        for n in 1..40 {
            configure(n);
            if n.is_multiple_of(5) {
                assert_eq!(bot.reload().await.0, 200);
            }
            versions = n;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        versions
    };
    let ((), versions) = tokio::join!(feed, change);
    let delivered = |hook: &WebhookServer| told(hook).iter().filter(|t| t.decision == "first").count();
    until("all of them", || {
        delivered(&always) >= INCIDENTS && delivered(&moving[0]) + delivered(&moving[1]) >= INCIDENTS
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let metrics = bot.metrics().await;
    let reloads: u32 = metrics["kubeherald_config_reloads_total{result=\"success\"}"].parse().unwrap();
    println!("{versions} versions, {reloads} reloads");
    assert!(reloads > 10, "{reloads}");
    assert_eq!(metrics["kubeherald_config_reloads_total{result=\"failure\"}"], "0");
    for receiver in ["always", "moving"] {
        assert_eq!(metrics[&format!("kubeherald_outbox_depth{{receiver=\"{receiver}\"}}")], "0");
        let outcome = |outcome: &str| {
            &*metrics
                [&format!("kubeherald_deliveries_total{{receiver=\"{receiver}\",outcome=\"{outcome}\"}}")]
        };
        assert_eq!((outcome("dead"), outcome("interrupted")), ("0", "0"), "{receiver}");
        assert_eq!(outcome("delivered"), INCIDENTS.to_string(), "{receiver}: nothing else was owed");
    }
    // To the one that never changed: each once, and nothing else at all (no reminder, no end).
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for t in told(&always) {
        assert_eq!(t.decision, "first", "{t:?}");
        *seen.entry(t.workload).or_default() += 1;
    }
    let expected: BTreeMap<String, usize> = (0..INCIDENTS).map(|n| (format!("Pod/p-{n:03}"), 1)).collect();
    assert_eq!(seen, expected);
    bot.end().await;

    // Windows were kept: a restart under the last version says nothing either.
    let before = always.received().all().len();
    let bot = site.start().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(always.received().all().len(), before);
    bot.end().await;
}
