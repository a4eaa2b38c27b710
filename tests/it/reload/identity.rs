//! Ids and keys are given once: what comes again is told again, and what cannot be queued is never left at
//! that.

use std::sync::Arc;

use kubeherald::clock;
use kubeherald::engine::{Identity, Numbers};
use kubeherald::message::{Decision, Notification};
use kubeherald::store::{Claim, Commit, OutboxQuery, Settle, Store};
use kubeherald::template::sample;
use kubeherald::testkit::builders;
use kubeherald::testkit::receivers::WebhookServer;

use super::{Site, crashing, says, told};

/// A node says itself since when it is lost: told a second time, the group and the beginning are the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_comes_back_is_told_again_over_a_restart_too() {
    const LOST: &str = "rules:\n  - {name: lost, match: {cause: NodeNotReady}, group_by: [cause, node]}\n";
    const OFF: &str = "  - {name: node-not-ready, enabled: false}\n";
    let site = Site::new().await;
    let (with, without) = (format!("{LOST}{OFF}"), format!("rules:\n{OFF}"));
    site.write("rules/own.yaml", &with);
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    let bot = site.start().await;
    let (first, gone) = ("first lost Node/worker-2", "expired lost Node/worker-2 rule_removed");
    let now = clock::now();
    site.server.apply(builders::at(builders::node("worker-2").lost("-0s").into(), now, now)).unwrap();
    says(&hook, &[first]).await;
    site.write("rules/own.yaml", &without);
    bot.reloaded().await;
    says(&hook, &[first, gone]).await;
    site.write("rules/own.yaml", &with);
    bot.reloaded().await;
    says(&hook, &[first, gone, first]).await;
    site.write("rules/own.yaml", &without);
    bot.reloaded().await;
    bot.end().await;
    // Nothing of it is kept but the counters.
    site.write("rules/own.yaml", &with);
    let bot = site.start().await;
    says(&hook, &[first, gone, first, gone, first]).await;
    let metrics = bot.metrics().await;
    assert_eq!(metrics["kubeherald_notifications_not_queued_total"], "0");
    bot.end().await;
}

/// No id is given twice; were it so all the same, the loss would be logged, counted, recorded and told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_queued_is_told_to_the_default_receivers() {
    let site = Site::new().await;
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    let store = Store::open(&site.path("state.db")).unwrap();
    let identity = Identity { store: Arc::from("a-store"), numbers: Numbers::default() };
    let key = format!("{}-1-hook", identity.incident_id(1));
    let taken = Notification {
        key: key.clone(),
        receiver: Arc::from("hook"),
        ..sample::notification(Decision::First, sample::incident())
    };
    // As a process leaves it that has stopped in order: after any other the counters go on far above.
    let marks = [("store.id", "a-store"), ("stopped", "2026-11-21T08:00:00Z")];
    let marks = marks.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    store.commit(Commit { notifications: vec![taken], marks, ..Commit::default() }).await.unwrap();
    let rows = store.outbox(OutboxQuery { limit: 9, ..OutboxQuery::default() }).await.unwrap();
    let now = clock::now();
    assert!(matches!(store.claim(rows[0].seq, now).await.unwrap(), Claim::Claimed { .. }));
    assert!(store.settle(rows[0].seq, Settle::Delivered { handle: None }, now).await.unwrap());
    drop(store);

    let bot = site.start().await;
    site.server.apply(crashing("a")).unwrap();
    says(&hook, &["notice not_queued"]).await;
    let notice = told(&hook).pop().unwrap();
    assert!(notice.text.contains(&key), "{notice:?}");
    // Statistics are taken every two seconds.
    while bot.metrics().await["kubeherald_notifications_not_queued_total"] != "1" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    bot.end().await;
    let store = Store::open(&site.path("state.db")).unwrap();
    let history = store.history(None).await.unwrap();
    assert_eq!(history.iter().filter(|row| row.reason == "not_queued").count(), 2, "the loss and the notice");
}
