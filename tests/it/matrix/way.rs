//! The whole way: store, dispatcher, notifier, and a receiver that is bad for a while.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::clock::{self, Clock};
use kubeherald::message::{Decision, Notification};
use kubeherald::notify::{EmailConfig, Notifier, NotifierConfig, SmtpConfig, SmtpTls, WebhookConfig};
use kubeherald::outbox::{Backoff, Limit, Outbox, Policy, ReceiverSpec, StopMode};
use kubeherald::store::{Commit, Store};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{SmtpReply, SmtpServer};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::http::{inline, make};
use super::peer::{Act, Peer, answer};

fn spec(name: &str) -> ReceiverSpec {
    ReceiverSpec {
        name: name.into(),
        limit: Limit { per: Duration::from_secs(1), messages: 1_000_000, burst: 1_000_000 },
        max_age: Duration::from_secs(24 * 3_600),
        credential: None,
        fold: true,
        fallback: None,
    }
}

fn note(receiver: &str, thread: &str, seq: u64, at: Timestamp) -> Notification {
    let mut view = sample::incident();
    view.id = thread.into();
    let decision = if seq == 1 { Decision::First } else { Decision::Grew };
    let mut n = sample::notification(decision, view);
    n.key = format!("{thread}-{seq}-{receiver}");
    n.receiver = receiver.into();
    n.at = at;
    n.seq = seq;
    n
}

fn hook(peer: &Peer) -> Notifier {
    make(NotifierConfig::Webhook(WebhookConfig::new(inline(format!("http://127.0.0.1:{}/hook", peer.port)))))
}

/// What was taken of each thread, in order.
fn threads(peer: &Peer) -> BTreeMap<String, Vec<u64>> {
    let mut threads: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for body in peer.taken() {
        let json: Value = serde_json::from_str(&body).unwrap();
        let thread = json["thread"].as_str().unwrap().to_owned();
        threads.entry(thread).or_default().push(json["seq"].as_u64().unwrap());
    }
    threads
}

/// Lets everybody do what there is to do at this moment. The store is a thread of its own and answers
/// in order, so that who asks it often has seen the answers to all others.
async fn settle(store: &Store) {
    for _ in 0..12 {
        store.sizes().await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// An hour in steps, at the end of which nobody is owed anything.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_or_silent_for_an_hour_delays_only_itself_and_loses_nothing() {
    const STEP: Duration = Duration::from_secs(15);
    // While a blocking task runs, time does not go on by itself: it goes when this test says so.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let clockwork = tokio::task::spawn_blocking(move || held.recv().is_err());

    let begin: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
    let zero = Instant::now();
    let clock = Clock::played(begin, 1);
    let store = Store::memory().unwrap();
    let outbox = Outbox::new(store.clone(), clock, Policy { seed: Some(1), ..Policy::default() });
    let stop = CancellationToken::new();
    let (down, silent, fine) = (Peer::start().await, Peer::start().await, Peer::start().await);
    down.does(Act::Say(answer(503, &[], "down for maintenance")));
    silent.does(Act::SayAndHang(String::new()));
    fine.does(Act::Say(answer(200, &[], "")));
    let mut tasks = Vec::new();
    let mut notifications = Vec::new();
    for (name, peer) in [("down", &down), ("silent", &silent), ("fine", &fine)] {
        tasks.push(tokio::spawn(
            outbox.dispatcher(spec(name), hook(peer)).run(StopMode::default(), stop.clone()),
        ));
        for thread in ["a", "b", "c"] {
            notifications.extend((1..=3).map(|seq| note(name, thread, seq, begin)));
        }
    }
    store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();

    let all: BTreeMap<String, Vec<u64>> =
        ["a", "b", "c"].map(|thread| (thread.to_owned(), vec![1, 2, 3])).into();
    while threads(&fine) != all {
        settle(&store).await;
    }
    assert_eq!(zero.elapsed(), Duration::ZERO, "the others were told at once");
    while zero.elapsed() < Duration::from_secs(3_600) {
        tokio::time::advance(STEP).await;
        settle(&store).await;
    }
    assert_eq!(down.taken().len() + silent.taken().len(), 0);
    let sizes = store.sizes().await.unwrap();
    assert_eq!(
        sizes.receivers.iter().map(|of| (of.queued + of.sending, of.dead)).collect::<Vec<_>>(),
        [(9, 0); 2]
    );
    // What it cost: attempts grow rare.
    for (name, counters) in outbox.counters() {
        let retried = counters.retried.load(std::sync::atomic::Ordering::Relaxed);
        let expected = if &*name == "fine" { 0..1 } else { 10..200 };
        assert!(expected.contains(&retried), "{name}: {retried}");
    }
    for peer in [&down, &silent] {
        peer.does(Act::Say(answer(200, &[], "")));
    }
    // The longest wait between two attempts, and an attempt that hangs still.
    while zero.elapsed() < Duration::from_secs(3_600 + 2 * 300 + 60) {
        tokio::time::advance(STEP).await;
        settle(&store).await;
    }
    assert_eq!(threads(&down), all, "each once and in order");
    assert_eq!(threads(&silent), all, "each once and in order");
    assert_eq!(store.sizes().await.unwrap().receivers, []);
    stop.cancel();
    drop(hold);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(clockwork.await.unwrap());
}

/// Waits between attempts of milliseconds: mail servers keep the time of the wall.
fn quick() -> Policy {
    Policy {
        backoff: Backoff { base: Duration::from_millis(4), cap: Duration::from_millis(20) },
        seed: Some(1),
        ..Policy::default()
    }
}

fn mail(port: u16, timeout: Duration) -> Notifier {
    make(NotifierConfig::Email(EmailConfig {
        from: "kubeherald@example.com".into(),
        to: vec!["a@example.com".into()],
        reply_to: None,
        smtp: SmtpConfig {
            port,
            tls: SmtpTls::None,
            timeout,
            taking: timeout,
            ..SmtpConfig::new("127.0.0.1")
        },
    }))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it never happened")
}

/// Two messages of one incident to a mail server; how often an attempt failed.
async fn deliver(server: &SmtpServer, timeout: Duration) -> u64 {
    let store = Store::memory().unwrap();
    let outbox = Outbox::new(store.clone(), Clock::System, quick());
    let stop = CancellationToken::new();
    let task = tokio::spawn(
        outbox.dispatcher(spec("mail"), mail(server.port(), timeout)).run(StopMode::default(), stop.clone()),
    );
    let notifications = vec![note("mail", "a", 1, clock::now()), note("mail", "a", 2, clock::now())];
    store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    within(async {
        while !store.sizes().await.unwrap().receivers.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    stop.cancel();
    within(task).await.unwrap().unwrap();
    let counters = &outbox.counters()[0].1;
    assert_eq!(counters.delivered.load(std::sync::atomic::Ordering::Relaxed), 2);
    counters.retried.load(std::sync::atomic::Ordering::Relaxed)
}

fn ids(server: &SmtpServer) -> Vec<String> {
    server.mails().all().iter().map(|mail| mail.header("Message-ID").unwrap()).collect()
}

#[tokio::test]
async fn a_greylisted_mail_comes_through_once() {
    let server = SmtpServer::start().await.unwrap();
    for _ in 0..3 {
        server.next("RCPT", "", SmtpReply::Line("451 4.7.1 greylisted, come again".into()));
    }
    assert_eq!(deliver(&server, Duration::from_secs(20)).await, 3);
    let ids = ids(&server);
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_mail_that_may_have_been_taken_comes_again_with_its_message_id() {
    for (reply, timeout) in
        [(SmtpReply::HangUp, Duration::from_secs(20)), (SmtpReply::Hang, Duration::from_millis(400))]
    {
        let server = SmtpServer::start().await.unwrap();
        server.next("TAKEN", "", reply);
        assert!(deliver(&server, timeout).await >= 1);
        let mut ids = ids(&server);
        assert!(ids.len() >= 3, "{ids:?}");
        assert_eq!(ids[0], ids[1], "the same mail twice");
        ids.dedup();
        assert_eq!(ids.len(), 2, "and in order");
    }
}
