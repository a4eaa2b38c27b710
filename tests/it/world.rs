//! The whole bot in one thread with paused time: no socket, no file, and one seed gives one trace.

mod disk;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use kubeherald::app::reload::Source;
use kubeherald::app::run::{Options, World, run_in};
use kubeherald::clock::{Clock, Simulated};
use kubeherald::config::Loaded;
use kubeherald::message::Decision;
use kubeherald::notify::http::TransportError;
use kubeherald::notify::network::{AsyncTokioStream, HttpAnswer, HttpRequest, SimulatedNetwork};
use kubeherald::notify::{
    Attempt, Deliver, EmailConfig, Network, Notifier, NotifierConfig, Outcome, Parts, SmtpConfig, SmtpTls,
};
use kubeherald::outbox::Policy;
use kubeherald::store::{self, Driver, Store};
use kubeherald::template::{Templates, sample};
use kubeherald::testkit::ApiServer;
use kubeherald::testkit::apiserver::{Fault, Verb, What};
use kubeherald::testkit::builders::{self, Pod, deployment, namespace, node, pod, replica_set};
use kubeherald::testkit::receivers::{SmtpReply, SmtpServer};
use kubeherald::watch::stream::Tuning;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const BEGIN: &str = "2026-11-21T08:00:00Z";
const LATENCY: Duration = Duration::from_millis(10);

/// A webhook receiver and a mail server that take their time and take everything.
#[derive(Debug)]
pub(crate) struct Receivers {
    pub(crate) clock: Arc<Simulated>,
    /// When, where and what.
    pub(crate) trace: Mutex<Vec<(Timestamp, String, String)>>,
    /// Refused before anything is taken.
    pub(crate) refuse: Mutex<Vec<TransportError>>,
}

impl Receivers {
    fn take(&self, to: &str, body: &str) {
        let at = self.clock.truth();
        self.trace.lock().unwrap().push((at, to.to_owned(), body.to_owned()));
    }
}

impl SimulatedNetwork for Receivers {
    fn http(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpAnswer, TransportError>> {
        async move {
            tokio::time::sleep(LATENCY).await;
            if let Some(error) = self.refuse.lock().unwrap().pop() {
                return Err(error);
            }
            self.take(&request.url, std::str::from_utf8(&request.body).unwrap());
            Ok(HttpAnswer { status: 200, ..HttpAnswer::default() })
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, std::io::Result<Box<dyn AsyncTokioStream>>> {
        self.take(&format!("{host}:{port}"), "");
        let refused = std::io::ErrorKind::ConnectionRefused;
        async move { Err(refused.into()) }.boxed()
    }
}

pub(crate) fn loaded(text: &str) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeherald.yaml");
    std::fs::write(&path, text).unwrap();
    kubeherald::config::load(Some(&path), &[]).unwrap()
}

pub(crate) const HOOK: &str = "cluster: lab\nreceivers:\n  hook: {webhook: {url: \"http://hook.test/a\"}}\n";
const OTHER: &str = "cluster: lab\nreceivers:\n  hook: {webhook: {url: \"http://hook.test/b\"}}\n";

pub(crate) fn checkout() -> Pod {
    pod("checkout-688988776f-aaaaa").owned_by("ReplicaSet", "checkout-688988776f").node("worker-1")
}

pub(crate) struct Life {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) clock: Arc<Simulated>,
    begin: Timestamp,
}

impl Life {
    pub(crate) fn new() -> Self {
        let begin: Timestamp = BEGIN.parse().unwrap();
        let clock = Simulated::new(begin);
        // Whatever becomes of the bot's clock, that of the cluster is right.
        let server = Arc::new(ApiServer::in_memory(Clock::Simulated(Simulated::new(begin))));
        server.set_latency(LATENCY);
        let receivers =
            Receivers { clock: Arc::clone(&clock), trace: Mutex::default(), refuse: Mutex::default() };
        let life = Self { server, receivers: Arc::new(receivers), clock, begin };
        life.apply(namespace("shop").into());
        life.apply(node("worker-1").into());
        life.apply(deployment("checkout").into());
        life.apply(replica_set("checkout-688988776f").owned_by("Deployment", "checkout").into());
        life.apply(checkout().running("T-1h").into());
        life
    }

    pub(crate) fn apply(&self, object: Value) {
        self.server.apply(builders::at(object, self.begin, self.clock.truth())).unwrap();
    }

    pub(crate) fn options(&self, seed: u64) -> Options {
        let client = self.server.client().unwrap();
        Options {
            clock: Clock::Simulated(Arc::clone(&self.clock)),
            policy: Policy { seed: Some(seed), ..Policy::default() },
            tuning: Tuning { seed: Some(seed), ..Tuning::default() },
            ..Options::new(client)
        }
    }

    pub(crate) fn world(&self, store: Store, routers: Arc<Mutex<Option<axum::Router>>>) -> World {
        World {
            store,
            network: Network::Simulated(Arc::clone(&self.receivers) as _),
            templates: None,
            on_router: Some(Box::new(move |router| *routers.lock().unwrap() = Some(router))),
        }
    }
}

/// Runs on a thread of its own, as seeds do.
pub(crate) fn in_paused_time<T: Send + 'static, F: Future<Output = T>>(
    life: impl FnOnce() -> F + Send + 'static,
) -> T {
    let life = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(life())
    };
    std::thread::spawn(life).join().unwrap()
}

pub(crate) async fn ask(router: &Mutex<Option<axum::Router>>, path: &str) -> (u16, String) {
    let router = router.lock().unwrap().clone().unwrap();
    let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// What arrived: when, where, what.
type Trace = Vec<(Timestamp, String, String)>;

/// A pod of a bot's cluster loops for ten minutes; the configuration is loaded again in the middle.
async fn crash_loop(seed: u64) -> Trace {
    let life = Life::new();
    let store = Store::open_with(&store::Options { driver: Driver::Inline, ..store::Options::default() });
    let (first, then) = (loaded(HOOK), loaded(OTHER));
    let (config, loads) = (Arc::clone(&first.config), AtomicUsize::new(0));
    let source = Source::given(move || match loads.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(first.clone()),
        _ => Ok(then.clone()),
    });
    let signal = Arc::clone(&source.signal);
    let (begun, _) = source.begin().unwrap();
    let options = Options { reload: Some(begun), ..life.options(seed) };
    let router = Arc::default();
    let stop = CancellationToken::new();
    let world = life.world(store.unwrap(), Arc::clone(&router));
    let bot = tokio::spawn(run_in(world, config, options, stop.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ask(&router, "/livez").await, (200, "ok\n".into()));
    let (status, body) = ask(&router, "/readyz").await;
    assert_eq!(status, 200, "{body}");
    // The first attempt fails, and the second one has jitter.
    *life.receivers.refuse.lock().unwrap() = vec![TransportError::Connect("connection refused".into())];
    for restarts in 1..6 {
        let looping = checkout()
            .last(1, "Error", "-20s", "-10s")
            .waiting("CrashLoopBackOff", "back-off restarting failed container")
            .restarts(restarts);
        life.apply(looping.into());
        tokio::time::sleep(Duration::from_secs(120)).await;
        if restarts == 3 {
            signal.notify_one();
        }
    }
    life.apply(checkout().running("-1s").restarts(5).into());
    tokio::time::sleep(Duration::from_secs(1800)).await;
    stop.cancel();
    bot.await.unwrap().unwrap();
    std::mem::take(&mut *life.receivers.trace.lock().unwrap())
}

#[test]
fn the_whole_bot_tells_of_a_crash_loop_without_a_socket_and_twice_the_same() {
    let first = in_paused_time(|| crash_loop(7));
    let told: Vec<(&str, String)> = first
        .iter()
        .map(|(_, to, body)| {
            let body: Value = serde_json::from_str(body).unwrap();
            let one = &body["incidents"][0];
            (to.as_str(), format!("{} {}", body["decision"].as_str().unwrap(), one["rule"].as_str().unwrap()))
        })
        .collect();
    let expected = [
        ("http://hook.test/a", "first crash-loop".to_owned()),
        ("http://hook.test/b", "resolved crash-loop".to_owned()),
    ];
    assert_eq!(told, expected);
    assert_eq!(in_paused_time(|| crash_loop(7)), first, "one seed, one trace");
    let other = in_paused_time(|| crash_loop(8));
    assert_ne!(other, first, "jitter is drawn from the seed");
    let what = |trace: &Trace| trace.iter().map(|(_, to, _)| to.clone()).collect::<Vec<_>>();
    assert_eq!(what(&other), what(&first));
}

/// A request to the simulated server; an error is the kind at the bottom, as the watches look for it.
async fn status(client: &kube::Client) -> Result<u16, ErrorKind> {
    let request = http::Request::get("/api/v1/pods").body(Body::empty()).unwrap();
    let sent = tokio::time::timeout(Duration::from_secs(60), client.send(request)).await.unwrap();
    let bottom = |error: kube::Error| {
        let first = &error as &(dyn std::error::Error + 'static);
        let mut chain = std::iter::successors(Some(first), |error| error.source());
        let found = chain.find_map(|error| error.downcast_ref::<std::io::Error>());
        found.unwrap_or_else(|| panic!("{error:?}")).kind()
    };
    sent.map(|response| response.status().as_u16()).map_err(bottom)
}

#[test]
fn connections_in_memory_fail_as_sockets_do() {
    in_paused_time(|| async {
        let life = Life::new();
        life.server.require_token("secret");
        let client = life.server.client().unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(status(&client).await, Ok(200));
        assert_eq!(began.elapsed(), 2 * LATENCY, "to connect, and to answer");
        life.server.fault(Fault::new(Verb::List, "pods", What::Reset));
        assert_eq!(status(&client).await, Err(ErrorKind::ConnectionReset));
        life.server.stop().await;
        assert_eq!(status(&client).await, Err(ErrorKind::ConnectionRefused));
        life.server.restart().await.unwrap();
        assert_eq!(status(&client).await, Ok(200));
        life.server.stop().await;
        life.server.restart().await.unwrap();
        life.server.set_reachable(false);
        let began = tokio::time::Instant::now();
        assert_eq!(status(&client).await, Err(ErrorKind::TimedOut));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    });
}

/// Only mail.
#[derive(Debug)]
struct Post(SmtpServer);

impl SimulatedNetwork for Post {
    fn http(&self, _: HttpRequest) -> BoxFuture<'_, Result<HttpAnswer, TransportError>> {
        async { Err(TransportError::NoAnswer) }.boxed()
    }

    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, std::io::Result<Box<dyn AsyncTokioStream>>> {
        assert_eq!((host, port), ("mail.test", 587));
        async { Ok(self.0.connect()) }.boxed()
    }
}

#[test]
fn mail_goes_through_the_whole_dialogue_in_memory() {
    in_paused_time(|| async {
        let clock = Clock::Fixed(BEGIN.parse().unwrap());
        let post = Arc::new(Post(SmtpServer::in_memory(clock.clone())));
        let network = Network::Simulated(Arc::clone(&post) as _);
        let parts = Parts { network, ..Parts::new(Templates::shipped().unwrap(), clock) };
        for tls in [SmtpTls::None, SmtpTls::Implicit] {
            let to = vec![String::from("a@example.com"), String::from("b@example.com")];
            let smtp = SmtpConfig { tls, ..SmtpConfig::new("mail.test") };
            let from = String::from("kubeherald@example.com");
            let config = EmailConfig { from, to, reply_to: None, smtp };
            let email = Notifier::new(NotifierConfig::Email(config), &parts).unwrap();
            let notification = sample::notification(Decision::First, sample::incident());
            let attempt = |recipient, number| Attempt {
                notification: &notification,
                handle: None,
                recipient: Some(recipient),
                number,
            };
            post.0.next("RCPT", "b@example.com", SmtpReply::Line("450 later".into()));
            let outcome = email.deliver(attempt("a@example.com", 1)).await;
            assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
            let outcome = email.deliver(attempt("b@example.com", 1)).await;
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
            let outcome = email.deliver(attempt("b@example.com", 2)).await;
            assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
        }
        let to: Vec<String> = post.0.mails().all().into_iter().flat_map(|mail| mail.to).collect();
        assert_eq!(to, ["a@example.com", "b@example.com", "a@example.com", "b@example.com"]);
    });
}
