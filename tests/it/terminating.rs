//! What a namespace says about its deletion comes over the wire: its watch asks for whole objects.

use std::time::Duration;

use kubeherald::config::WatchConfig;
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::builders::{at, namespace};
use kubeherald::watch::stream::{self, Tuning, WatchStatus};
use kubeherald::watch::{Change, Kind, Object};
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
