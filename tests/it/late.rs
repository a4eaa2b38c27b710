//! A message that arrives long after it was decided says so: a receiver was down, or kubeherald was away.

use std::time::Duration;

use jiff::SignedDuration;
use kubeherald::clock;
use kubeherald::message::{Decision, Notification};
use kubeherald::notify::{
    EmailConfig, NotifierConfig, Secret, SlackConfig, SmtpConfig, SmtpTls, WebhookConfig,
};
use kubeherald::store::{Commit, Store};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{Received, SlackServer, SmtpServer, WebhookServer};

use crate::dispatching::Dispatching;
use crate::support::until;

/// Two incidents: one decided fourteen minutes ago, and one just now.
async fn commit(store: &Store, receiver: &str) {
    let of = |id: &str, ago: i64| {
        let mut n: Notification = sample::notification(Decision::First, sample::incident());
        n.incidents[0].id = id.into();
        (n.key, n.receiver) = (format!("{id}-1-{receiver}"), receiver.into());
        n.at = clock::now() - SignedDuration::from_secs(ago);
        n
    };
    let notifications = vec![of("late", 14 * 60), of("prompt", 1)];
    store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
}

async fn deliver(receiver: &str, config: NotifierConfig) {
    let store = Store::memory().unwrap();
    commit(&store, receiver).await;
    let life = Dispatching::begin(&store, receiver, true, config, Duration::from_millis(20));
    let open =
        async || store.sizes().await.unwrap().receivers.iter().map(|r| r.queued + r.sending).sum::<u64>();
    until("both messages", async || open().await == 0).await;
    life.end().await;
}

const LATE: &str = "delivered 14 min late";

#[tokio::test]
async fn a_mail_says_how_late_it_is() {
    let server = SmtpServer::start().await.unwrap();
    let smtp = SmtpConfig { port: server.port(), tls: SmtpTls::None, ..SmtpConfig::new("127.0.0.1") };
    let config =
        EmailConfig { from: "kubeherald@x.test".into(), to: vec!["a@x.test".into()], reply_to: None, smtp };
    deliver("mail", NotifierConfig::Email(config)).await;
    let mails = server.mails().all();
    let about = |thread: &str| {
        mails.iter().find(|mail| mail.header("X-Kubeherald-Thread").as_deref() == Some(thread)).unwrap()
    };
    let late = about("late");
    for kind in ["text/plain", "text/html"] {
        assert!(late.part(kind).unwrap().contains(LATE), "{kind}: {}", late.raw);
    }
    assert!(late.header("X-Kubeherald-Late").unwrap().starts_with("84"), "seconds: {}", late.raw);
    let prompt = about("prompt");
    assert!(!prompt.part("text/plain").unwrap().contains(" late"), "{}", prompt.raw);
    assert_eq!(prompt.header("X-Kubeherald-Late"), None);
}

#[tokio::test]
async fn slack_says_how_late_a_message_is() {
    let slack = SlackServer::start().await.unwrap();
    let token = Secret::Inline("xoxb-test".to_owned().into());
    let config = SlackConfig { api_url: slack.api_url(), ..SlackConfig::bot(token, "#alerts") };
    deliver("slack", NotifierConfig::Slack(config)).await;
    let said: Vec<String> = slack.messages().iter().map(|message| message.payload.to_string()).collect();
    let about = |id: &str| said.iter().find(|text| text.contains(&format!("incident {id}"))).unwrap();
    assert!(about("late").contains(LATE), "{said:?}");
    assert!(!about("prompt").contains(" late\""), "{said:?}");
}

#[tokio::test]
async fn a_webhook_has_it_in_seconds() {
    let hook = WebhookServer::start().await.unwrap();
    let config = WebhookConfig::new(Secret::Inline(hook.url().into()));
    deliver("hook", NotifierConfig::Webhook(config)).await;
    let bodies: Vec<serde_json::Value> = hook.received().all().iter().map(Received::json).collect();
    let late = |id: &str| &bodies.iter().find(|body| body["thread"] == id).unwrap()["late_s"];
    assert!(late("late").as_i64().is_some_and(|s| (840..900).contains(&s)), "{bodies:?}");
    assert!(late("prompt").is_null(), "{bodies:?}");
}
