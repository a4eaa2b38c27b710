//! A Slack that is down for an hour, and mail in its place: nothing is lost, and each end goes where its beginning
//! went.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kubeherald::app::run::{World, run_in};
use kubeherald::clock::Clock;
use kubeherald::notify::Network;
use kubeherald::notify::http::TransportError;
use kubeherald::notify::network::{AsyncTokioStream, HttpAnswer, HttpRequest, SimulatedNetwork};
use kubeherald::store::{self, Driver, Store};
use kubeherald::testkit::builders::{deployment, pod, replica_set};
use kubeherald::testkit::receivers::SmtpServer;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::world::{Life, ask, in_paused_time, loaded};

const CONFIG: &str = "cluster: lab
receivers:
  oncall:
    slack: {token: {file: TOKEN}, channel: \"#alerts\", api_url: \"http://slack.test/api\"}
    fallback: mail
  mail:
    email: {from: bot@example.com, to: [a@example.com, b@example.com], smtp: {host: mail.test, tls: none}}
routes: [{receivers: [oncall]}]
";

/// Slack and a mail server.
#[derive(Debug)]
struct Others {
    clock: Clock,
    begin: Timestamp,
    slack: Mutex<HttpAnswer>,
    /// What Slack took, as `MINUTE METHOD TEXT`.
    taken: Mutex<Vec<String>>,
    mail: SmtpServer,
}

fn answer(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer { status, body: body.into(), ..HttpAnswer::default() }
}

impl Others {
    fn minute(&self, at: Timestamp) -> i64 {
        (at.as_second() - self.begin.as_second()) / 60
    }

    /// Slack answers so from now on.
    fn slack(&self, status: u16, body: &str) {
        *self.slack.lock().unwrap() = answer(status, body);
    }

    fn works(&self) {
        self.slack(200, r#"{"ok": true, "channel": "C1", "ts": "1.2"}"#);
    }

    fn in_slack(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }

    /// The subjects of one recipient's mails.
    fn mails(&self, to: &str) -> Vec<String> {
        let mails = self.mail.mails().all().into_iter().filter(|mail| mail.to == [to]);
        mails.map(|mail| format!("{:02} {}", self.minute(mail.at), mail.header("Subject").unwrap())).collect()
    }
}

impl SimulatedNetwork for Others {
    fn http(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpAnswer, TransportError>> {
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let answer = self.slack.lock().unwrap().clone();
            let ok = std::str::from_utf8(&answer.body).unwrap().contains("true");
            if ok {
                let method = request.url.rsplit('.').next().unwrap();
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let text = body["text"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
                let minute = self.minute(self.clock.now());
                self.taken.lock().unwrap().push(format!("{minute:02} {method} {text}"));
            }
            Ok(answer)
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
    ) -> BoxFuture<'a, std::io::Result<Box<dyn AsyncTokioStream>>> {
        async { Ok(self.mail.connect()) }.boxed()
    }
}

/// The bot and the world around it.
struct Run {
    life: Life,
    others: Arc<Others>,
    store: Store,
    router: Arc<Mutex<Option<axum::Router>>>,
    bot: Option<(JoinHandle<()>, CancellationToken)>,
    token: tempfile::NamedTempFile,
}

impl Run {
    fn new() -> Self {
        let life = Life::new();
        let clock = Clock::Simulated(Arc::clone(&life.clock));
        let others = Others {
            begin: clock.now(),
            slack: Mutex::new(HttpAnswer::default()),
            taken: Mutex::default(),
            mail: SmtpServer::in_memory(clock.clone()),
            clock,
        };
        others.works();
        for name in ["alpha", "beta", "gamma"] {
            life.apply(deployment(name).into());
            life.apply(replica_set(&format!("{name}-688988776f")).owned_by("Deployment", name).into());
            life.apply(Self::pod(name).running("T-1h").into());
        }
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "xoxb-test\n").unwrap();
        let options = store::Options { driver: Driver::Inline, ..store::Options::default() };
        let store = Store::open_with(&options).unwrap();
        let mut run =
            Self { life, others: Arc::new(others), store, router: Arc::default(), bot: None, token };
        run.start();
        run
    }

    fn start(&mut self) {
        let stop = CancellationToken::new();
        let router = Arc::clone(&self.router);
        let world = World {
            store: self.store.clone(),
            network: Network::Simulated(Arc::clone(&self.others) as _),
            templates: None,
            on_router: Some(Box::new(move |found| *router.lock().unwrap() = Some(found))),
        };
        let config = CONFIG.replace("TOKEN", self.token.path().to_str().unwrap());
        let running = run_in(world, loaded(&config).config, self.life.options(7), stop.clone());
        let bot = tokio::spawn(async move { running.await.unwrap() });
        self.bot = Some((bot, stop));
    }

    async fn stop(&mut self) {
        let (bot, stop) = self.bot.take().unwrap();
        stop.cancel();
        bot.await.unwrap();
    }

    fn pod(name: &str) -> kubeherald::testkit::builders::Pod {
        let replica_set = format!("{name}-688988776f");
        pod(&format!("{replica_set}-aaaaa")).owned_by("ReplicaSet", &replica_set).node("worker-1")
    }

    fn breaks(&self, name: &str) {
        let looping = Self::pod(name)
            .last(1, "Error", "-20s", "-10s")
            .waiting("CrashLoopBackOff", "back-off restarting failed container")
            .restarts(3);
        self.life.apply(looping.into());
    }

    fn recovers(&self, name: &str) {
        self.life.apply(Self::pod(name).running("-1s").restarts(4).into());
    }
}

async fn minutes(n: u64) {
    tokio::time::sleep(Duration::from_secs(60 * n)).await;
}

fn about<'a>(messages: &'a [String], what: &str) -> Vec<&'a str> {
    messages.iter().map(String::as_str).filter(|message| message.contains(what)).collect()
}

#[test]
fn mail_takes_over_for_a_slack_that_is_down_for_an_hour() {
    in_paused_time(|| async {
        let mut run = Run::new();
        minutes(1).await;
        run.breaks("alpha");
        minutes(4).await;
        let query = store::OutboxQuery { states: store::OutboxStates::All, limit: 9, ..Default::default() };
        let rows = run.store.outbox(query).await.unwrap();
        assert_eq!(run.others.in_slack().len(), 1, "{rows:#?}");

        // 08:05: Slack fails. It is noticed with the next message.
        run.others.slack(503, "sorry");
        run.breaks("beta");
        minutes(4).await;
        assert!(
            run.others.mails("a@example.com").is_empty(),
            "not yet: {:?}",
            run.others.mails("a@example.com")
        );
        let (_, ready) = ask(&run.router, "/readyz").await;
        assert!(!ready.contains("has not worked"), "{ready}");
        minutes(3).await;
        let (status, ready) = ask(&run.router, "/readyz").await;
        assert_eq!(status, 200);
        assert!(
            ready.contains("`oncall` has not worked since") && ready.contains("its messages go to `mail`"),
            "{ready}"
        );

        // The bot is restarted meanwhile, an incident that Slack knows ends, another begins and ends, a third begins.
        run.stop().await;
        run.start();
        minutes(2).await;
        run.recovers("alpha");
        minutes(20).await;
        run.recovers("beta");
        minutes(15).await;
        run.breaks("gamma");
        minutes(11).await;
        assert_eq!(run.others.in_slack().len(), 1, "{:?}", run.others.in_slack());

        // 09:00: it works again, and is found to within five minutes.
        run.others.works();
        minutes(6).await;
        let (_, ready) = ask(&run.router, "/readyz").await;
        assert!(!ready.contains("has not worked"), "{ready}");
        run.recovers("gamma");
        minutes(10).await;
        run.breaks("alpha");
        minutes(5).await;

        for recipient in ["a@example.com", "b@example.com"] {
            let mails = run.others.mails(recipient);
            assert_eq!(mails.len(), 6, "{mails:#?}");
            assert_eq!(about(&mails, "has not worked").len(), 1, "{mails:#?}");
            assert_eq!(about(&mails, "works again").len(), 1, "{mails:#?}");
            assert_eq!(about(&mails, "beta").len(), 2, "its beginning and its end: {mails:#?}");
            assert_eq!(about(&mails, "gamma").len(), 2, "the end, too, although Slack works: {mails:#?}");
        }
        let slack = run.others.in_slack();
        assert!(about(&slack, "beta").is_empty() && about(&slack, "gamma").is_empty(), "{slack:#?}");
        assert_eq!(about(&slack, "Messages from").len(), 1, "{slack:#?}");
        let ends: Vec<&str> =
            about(&slack, "alpha").into_iter().filter(|text| text.starts_with('6')).collect();
        assert!(!ends.is_empty(), "the end of what it was told itself: {slack:#?}");
        run.stop().await;
    });
}
