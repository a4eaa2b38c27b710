//! Deletions on the wire, and under a clock that is set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubeherald::clock;
use kubeherald::config::WatchConfig;
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::builders::{at, namespace, pod};
use kubeherald::watch::decode::decode;
use kubeherald::watch::stream::{self, Tuning, WatchStatus};
use kubeherald::watch::{Change, ClusterState, Kind, Object};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes unless it hangs.
const HANG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_conditions_and_finalizers_of_a_namespace_arrive() {
    let server = ApiServer::start().await.unwrap();
    let text =
        "Some content in the namespace has finalizers remaining: example.com/backup in 1 resource instances";
    let dying = namespace("team-a").deleting("T+1m").finalizer("example.com/hold").condition(
        "NamespaceFinalizersRemaining",
        "True",
        "SomeFinalizersRemain",
        text,
        "T+1m",
    );
    let now = "2026-11-21T08:00:00Z".parse().unwrap();
    server.apply(at(dying.into(), now, now)).unwrap();
    let (tx, mut rx) = mpsc::channel(16);
    let (status, cancel) = (WatchStatus::new(&[Kind::Namespace]), CancellationToken::new());
    let client = server.client().unwrap();
    let config = WatchConfig::default();
    let tasks =
        stream::spawn(&client, &config, &[Kind::Namespace], &tx, &status, &cancel, &Tuning::default());
    let found = tokio::time::timeout(HANG, async {
        loop {
            if let Change::Initial(Object::Namespace(namespace)) = rx.recv().await.unwrap() {
                return namespace;
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(found.metadata.finalizers.unwrap(), ["example.com/hold"]);
    assert!(found.metadata.deletion_timestamp.is_some());
    assert_eq!(found.spec.finalizers.iter().map(|name| &**name).collect::<Vec<_>>(), ["kubernetes"]);
    assert_eq!(found.status.conditions[0].message.as_deref(), Some(text));
    cancel.cancel();
    drop(tasks);
}

/// The clock is set two hours forward while a pod has its grace period: that is not over by that.
#[test]
fn a_grace_period_moves_with_a_clock_that_is_set() {
    let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
    let seen = |object: serde_json::Value| Change::Applied(decode(Kind::Pod, &object.to_string()).unwrap());
    let mut memory = ClusterState::new(&[Kind::Pod], now, false);
    let mut signals = Vec::new();
    memory.apply(now, Change::Listing(Kind::Pod), &mut signals);
    memory.apply(now, Change::Listed(Kind::Pod), &mut signals);
    let ends = pod("db-0").node("worker-1").running("T-1h").deleting("T+30s").grace(30);
    memory.apply(now, seen(at(ends.into(), now, now)), &mut signals);
    assert_eq!(memory.next_deadline(), Some(clock::after(now, Duration::from_secs(90))));
    let by = SignedDuration::from_hours(2);
    memory.set_clock_ahead(by);
    let now = now + by;
    memory.tick(clock::after(now, Duration::from_secs(60)), &mut signals);
    assert!(signals.is_empty(), "{signals:#?}");
    memory.tick(clock::after(now, Duration::from_secs(90)), &mut signals);
    assert_eq!(signals.len(), 1);
}
