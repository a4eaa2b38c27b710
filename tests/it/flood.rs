//! More incidents than a receiver's rate limit lets through, all the way to a Slack channel.

use std::time::{Duration, Instant};

use kubeherald::message::{Decision, Notification};
use kubeherald::notify::{Notifier, NotifierConfig, Parts, Secret, SlackConfig};
use kubeherald::outbox::{Limit, Outbox, Policy, ReceiverSpec, StopMode};
use kubeherald::store::{Commit, Store};
use kubeherald::template::{Templates, sample};
use kubeherald::testkit::receivers::SlackServer;
use tokio_util::sync::CancellationToken;

/// A first message about an incident of its own.
fn incident(n: usize) -> Notification {
    let mut view = sample::incident();
    view.id = format!("i{n:03}").into();
    view.workload = format!("Deployment/svc-{n:03}").into();
    view.title = format!("Deployment/svc-{n:03} keeps crashing");
    let mut notification = sample::notification(Decision::First, view);
    notification.key = format!("i{n:03}-1-slack");
    notification.receiver = "slack".into();
    notification.at = kubeherald::clock::now();
    notification
}

/// 500 in 10 s at a message a second, five times as fast.
#[tokio::test]
async fn slack_gets_few_messages_that_list_every_incident() {
    const PER: Duration = Duration::from_millis(200);
    rustls::crypto::ring::default_provider().install_default().ok();
    let server = SlackServer::start().await.unwrap();
    let mut config = SlackConfig::bot(Secret::Inline("xoxb-test".to_owned().into()), "#alerts".to_owned());
    config.api_url = server.api_url();
    let parts = Parts::new(Templates::shipped().unwrap(), kubeherald::clock::Clock::System);
    let slack = Notifier::new(NotifierConfig::Slack(config), &parts).unwrap();

    let store = Store::memory().unwrap();
    let outbox = Outbox::new(store.clone(), kubeherald::clock::Clock::System, Policy::default());
    let spec = ReceiverSpec {
        name: "slack".into(),
        limit: Limit { per: PER, messages: 1, burst: 5 },
        max_age: Duration::from_secs(3_600),
        credential: None,
        fold: true,
        fallback: None,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(outbox.dispatcher(spec, slack).run(StopMode::default(), stop.clone()));
    let start = Instant::now();
    for batch in 0..50 {
        let notifications = (0..10).map(|i| incident(batch * 10 + i)).collect();
        store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
        tokio::time::sleep(PER / 5).await;
    }
    while !store.sizes().await.unwrap().receivers.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = start.elapsed();
    stop.cancel();
    task.await.unwrap().unwrap();

    let messages = server.messages();
    let shown: Vec<String> = messages.iter().map(|m| m.payload.to_string()).collect();
    for n in 0..500 {
        let name = format!("svc-{n:03}");
        assert_eq!(shown.iter().filter(|text| text.contains(&name)).count(), 1, "{name}");
    }
    // 15 where the machine keeps up: the burst, then one each second.
    let allowed = 5 + took.as_millis() / PER.as_millis() + 1;
    println!("500 incidents in {took:.2?} (a message each {PER:?}): {} messages", messages.len());
    assert!(messages.len() as u128 <= allowed, "{} messages in {took:?}", messages.len());
    assert_eq!(server.requests().all().len(), messages.len(), "none was refused");
}
