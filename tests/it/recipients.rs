//! A mail receiver with several recipients, from the outbox to a mail server.

use std::time::Duration;

use kubeherald::message::Decision;
use kubeherald::notify::{EmailConfig, NotifierConfig, SmtpConfig, SmtpTls};
use kubeherald::store::{Commit, OutboxQuery, OutboxStates, Store};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{SmtpReply, SmtpServer};

use crate::dispatching::Dispatching;
use crate::support::until;

const TO: [&str; 5] = ["a@x.test", "b@x.test", "c@x.test", "d@x.test", "e@x.test"];

fn begin(store: &Store, server: &SmtpServer) -> Dispatching {
    let smtp = SmtpConfig { port: server.port(), tls: SmtpTls::None, ..SmtpConfig::new("127.0.0.1") };
    let to = TO.map(String::from).into();
    let config = EmailConfig { from: "kubeherald@x.test".into(), to, reply_to: None, smtp };
    Dispatching::begin(store, "mail", true, NotifierConfig::Email(config), Duration::from_millis(20))
}

async fn commit(store: &Store, key: &str) {
    let mut n = sample::notification(Decision::First, sample::incident());
    (n.key, n.receiver, n.at) = (key.into(), "mail".into(), kubeherald::clock::now());
    store.commit(Commit { notifications: vec![n], ..Commit::default() }).await.unwrap();
}

async fn open(store: &Store) -> u64 {
    store.sizes().await.unwrap().receivers.iter().map(|r| r.queued + r.sending).sum()
}

fn recipients(server: &SmtpServer) -> Vec<String> {
    let mut all: Vec<String> = server.mails().all().into_iter().flat_map(|mail| mail.to).collect();
    all.sort();
    all
}

/// The process ends while the server takes its time with one of them. Before, nobody knew afterwards who had
/// the mail already.
#[tokio::test]
async fn who_has_a_mail_is_known_after_the_end_of_the_process() {
    let store = Store::memory().unwrap();
    let server = SmtpServer::start().await.unwrap();
    server.next("RCPT", "c@x.test", SmtpReply::Hang);
    commit(&store, "n-1-mail").await;
    let life = begin(&store, &server);
    until("two mails", async || server.mails().all().len() == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    life.end().await;
    let life = begin(&store, &server);
    until("the rest", async || open(&store).await == 0).await;
    life.end().await;
    assert_eq!(recipients(&server), TO, "each once");
}

/// After the final dot nobody knows: that one, and nobody else, may get it twice, as the same mail.
#[tokio::test]
async fn only_the_mail_under_way_is_sent_twice() {
    let store = Store::memory().unwrap();
    let server = SmtpServer::start().await.unwrap();
    commit(&store, "n-1-mail").await;
    server.next("TAKEN", "", SmtpReply::Hang);
    let life = begin(&store, &server);
    until("a mail", async || server.mails().all().len() == 1).await;
    life.end().await;
    let life = begin(&store, &server);
    until("the rest", async || open(&store).await == 0).await;
    life.end().await;
    assert_eq!(recipients(&server), ["a@x.test", "a@x.test", "b@x.test", "c@x.test", "d@x.test", "e@x.test"]);
    let ids: std::collections::BTreeSet<_> =
        server.mails().all().iter().map(|mail| mail.header("Message-ID").unwrap()).collect();
    assert_eq!(ids.len(), 1, "one Message-ID: {ids:?}");
}

#[tokio::test]
async fn a_refused_recipient_is_a_dead_letter_of_its_own() {
    let store = Store::memory().unwrap();
    let server = SmtpServer::start().await.unwrap();
    server.next("RCPT", "b@x.test", SmtpReply::Line("451 4.7.1 greylisted".into()));
    server.next("RCPT", "d@x.test", SmtpReply::Line("550 5.1.1 no such user".into()));
    commit(&store, "n-1-mail").await;
    let life = begin(&store, &server);
    until("all", async || open(&store).await == 0).await;
    assert_eq!(recipients(&server), ["a@x.test", "b@x.test", "c@x.test", "e@x.test"]);
    let query = OutboxQuery { states: OutboxStates::Dead, limit: 9, ..OutboxQuery::default() };
    let dead = store.outbox(query).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].key.as_str(), dead[0].recipient.as_str()), ("n-1-mail/d@x.test", "d@x.test"));
    assert!(dead[0].reason.contains("no such user"), "{}", dead[0].reason);
    // After the mailbox was made.
    assert!(store.resend_dead("n-1-mail/d@x.test", kubeherald::clock::now()).await.unwrap());
    until("the last", async || open(&store).await == 0).await;
    life.end().await;
    assert_eq!(recipients(&server), TO);
}
