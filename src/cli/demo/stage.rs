//! Everything that the demonstration consists of, on loopback: the simulated cluster, the real
//! bot, the receivers, the page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::{Addresses, Files};
use super::feed::Feed;
use super::page;
use crate::app::run::{self, Options, RunError};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::testkit::ApiServer;
use crate::testkit::apiserver::RESOURCES;
use crate::testkit::receivers::{
    Received, ReceivedMail, Record, SlackMessage, SlackServer, SmtpServer, WebhookServer,
};
use crate::testkit::story::{LENGTH, Line, Story, Tone};

/// How long the bot may take until it watches everything. It takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the API server's history is forgotten, as etcd's is: a demonstration may be left running.
const COMPACT: Duration = Duration::from_secs(300);

/// What happens, for the spectators.
#[derive(Debug, Clone)]
pub enum News {
    /// In the cluster.
    Cluster(Line),
    /// Somebody was told: a document of the webhook.
    Told(Value),
    /// The story is over.
    Over {
        /// Objects written.
        writes: u64,
        /// Messages told.
        messages: u64,
    },
}

/// The stage, ready to play on.
pub struct Stage {
    /// What the page shows.
    pub feed: Arc<Feed>,
    /// Where the page is.
    pub page: SocketAddr,
    /// What Slack received.
    pub slack: Arc<SlackServer>,
    /// What the webhook received.
    pub webhook: Arc<WebhookServer>,
    /// What the mail server received.
    pub mail: Arc<SmtpServer>,
    server: Arc<ApiServer>,
    config: Arc<Config>,
    clock: Clock,
    story: Story,
    serving: (CancellationToken, JoinHandle<std::io::Result<()>>),
    _files: Files,
}

impl Stage {
    /// Builds it: the cluster stands, the receivers and the page listen, nothing happens yet.
    /// `speed` is that of the cluster's clock; at `story::SPEED` the story takes a minute.
    pub async fn build(port: u16, speed: u32) -> anyhow::Result<Self> {
        let server = Arc::new(ApiServer::start().await.context("cannot start the simulated API server")?);
        let slack = Arc::new(SlackServer::start().await.context("cannot start the fake Slack")?);
        let webhook = Arc::new(WebhookServer::start().await.context("cannot start the fake webhook")?);
        let mail = Arc::new(SmtpServer::start().await.context("cannot start the fake mail server")?);
        let addresses = Addresses { slack: slack.api_url(), webhook: webhook.url(), smtp: mail.port() };
        let files = Files::write(&addresses)?;
        let loaded = crate::config::load(Some(&files.config()), &[]).map_err(|found| {
            anyhow::anyhow!("the demonstration's configuration is wrong:\n{}", found.render(false))
        })?;
        // The story ends at about the time it is now.
        let from =
            Timestamp::from_second(clock::before(clock::now(), LENGTH).as_second()).unwrap_or_default();
        let clock = Clock::played(from, speed);
        let story = Story::new(Arc::clone(&server), clock.clone()).context("the story cannot be played")?;
        let feed = Arc::new(Feed::default());
        let now = clock.now().as_millisecond();
        feed.count(|c| (c.pods, c.nodes, c.began, c.clock) = (story.pods(), story.nodes(), now, now));
        let listener = page::listen(port).await.context("cannot listen on 127.0.0.1")?;
        let page = listener.local_addr()?;
        let stop = CancellationToken::new();
        let serving = (stop.clone(), tokio::spawn(page::serve(listener, Arc::clone(&feed), stop)));
        Ok(Self {
            feed,
            page,
            slack,
            webhook,
            mail,
            server,
            config: loaded.config,
            clock,
            story,
            serving,
            _files: files,
        })
    }

    /// Starts the bot, plays the story to it, and stops the bot in order: at the end of the story
    /// (`once`), or at `stop`. The receivers keep what they have.
    pub async fn play(
        &mut self,
        once: bool,
        stop: &CancellationToken,
        tell: impl Fn(News) + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let client = self.server.client().context("cannot make a client")?;
        let options = Options { clock: self.clock.clone(), ..Options::new(client) };
        let ending = CancellationToken::new();
        let mut bot = tokio::spawn(run::run(Arc::clone(&self.config), options, ending.clone()));
        let listeners = self.listen(&tell);
        let outcome = tokio::select! {
            ended = &mut bot => Err(gone_wrong(ended)),
            done = Self::act(&self.server, &mut self.story, &self.feed, self.clock.clone(), once, stop, &tell) => done,
        };
        ending.cancel();
        if outcome.is_ok() {
            bot.await.context("the bot")??;
        }
        // What the shutdown has still delivered is shown, too.
        tokio::time::sleep(Duration::from_millis(50)).await;
        for listener in listeners {
            listener.abort();
        }
        outcome
    }

    async fn act(
        server: &ApiServer,
        story: &mut Story,
        feed: &Feed,
        clock: Clock,
        once: bool,
        stop: &CancellationToken,
        tell: &impl Fn(News),
    ) -> anyhow::Result<()> {
        let watched = || RESOURCES.iter().all(|r| server.open_watches(r.plural) > 0);
        let all = async {
            while !watched() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            waited = tokio::time::timeout(PATIENCE, all) => waited.context("the bot does not watch the cluster")?,
        }
        story.begin();
        feed.count(|c| c.began = clock.now().as_millisecond());
        let mut over = false;
        let mut compacted = Instant::now();
        story
            .play(once, stop, |story| {
                for line in story.take_lines() {
                    feed.count(|c| c.troubles += u64::from(line.tone == Tone::Trouble));
                    feed.push("cluster", &json!(line));
                    tell(News::Cluster(line));
                }
                feed.count(|c| {
                    (c.writes, c.pods, c.over) = (story.writes(), story.pods(), story.is_over());
                    c.clock = clock.now().as_millisecond();
                });
                if compacted.elapsed() > COMPACT {
                    compacted = Instant::now();
                    server.compact();
                }
                if story.is_over() && !over {
                    over = true;
                    tell(News::Over { writes: story.writes(), messages: feed.counts().messages });
                }
            })
            .await
            .context("the simulated API server refused an object")
    }

    /// Puts what arrives on the page.
    fn listen(&self, tell: &(impl Fn(News) + Clone + Send + Sync + 'static)) -> Vec<JoinHandle<()>> {
        let clock = self.clock.clone();
        let (feed, tell) = (Arc::clone(&self.feed), tell.clone());
        let told = follow(self.webhook.received(), move |request| {
            let body = request.json();
            feed.count(|c| c.messages += 1);
            feed.push("webhook", &webhook_json(request, &body));
            tell(News::Told(body));
        });
        let feed = Arc::clone(&self.feed);
        let slack = follow(self.slack.changes(), move |m| feed.push("slack", &slack_json(m, clock.now())));
        let clock = self.clock.clone();
        let feed = Arc::clone(&self.feed);
        let mail = follow(self.mail.mails(), move |m| feed.push("mail", &mail_json(m, clock.now())));
        vec![told, slack, mail]
    }

    /// The page's server ends, and with it everybody's connection.
    pub async fn close(self) {
        self.feed.close();
        self.serving.0.cancel();
        let abort = self.serving.1.abort_handle();
        if tokio::time::timeout(Duration::from_secs(2), self.serving.1).await.is_err() {
            abort.abort();
        }
    }
}

fn gone_wrong(ended: Result<Result<(), RunError>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("the bot ended by itself"),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    }
}

/// Calls `each` with everything in a record, old and new, in order.
fn follow<T: Clone + Send + 'static>(
    record: &Record<T>,
    each: impl Fn(&T) + Send + 'static,
) -> JoinHandle<()> {
    let record = record.clone();
    tokio::spawn(async move {
        let mut news = record.subscribe();
        let mut seen = 0;
        loop {
            let all = record.all();
            all.iter().skip(seen).for_each(&each);
            seen = all.len();
            // One that was missed is in the record all the same.
            if let Err(tokio::sync::broadcast::error::RecvError::Closed) = news.recv().await {
                return;
            }
        }
    })
}

fn webhook_json(request: &Received, body: &Value) -> Value {
    let headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "host" | "accept" | "accept-encoding"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    json!({ "path": request.path, "headers": headers, "body": body })
}

fn slack_json(message: &SlackMessage, at: Timestamp) -> Value {
    json!({ "channel": message.channel, "ts": message.ts, "thread_ts": message.thread_ts,
        "payload": message.payload, "edits": message.edits, "at": at })
}

fn mail_json(mail: &ReceivedMail, at: Timestamp) -> Value {
    json!({ "from": mail.header("From"), "to": mail.header("To"), "subject": mail.header("Subject"),
        "date": mail.header("Date"), "decision": mail.header("X-Kubeherald-Decision"),
        "thread": mail.header("X-Kubeherald-Thread"), "importance": mail.header("Importance"),
        "html": mail.part("text/html"), "text": mail.part("text/plain"), "at": at })
}
