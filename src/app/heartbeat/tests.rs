//! Over real sockets: when the dead man's switch is asked, and when not.

use std::sync::atomic::AtomicI64;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::*;
use crate::clock::{Clock, Simulated};
use crate::metrics::EngineStats;
use crate::notify::Secret;
use crate::store::{Durability, Faults, Options, Point, Store};
use crate::testkit::receivers::{Reply, WebhookServer};
use crate::watch::Kind;
use crate::watch::stream::WatchStatus;

/// A bot that is well, and a heartbeat that is asked for its rounds one by one.
struct Bot {
    server: WebhookServer,
    clock: Arc<Simulated>,
    loop_at: Arc<AtomicI64>,
    engine: Arc<ArcSwap<EngineStats>>,
    watch: Arc<WatchStatus>,
    wanted: watch::Sender<Wanted>,
    heartbeat: Heartbeat,
}

fn config(url: Secret, method: HeartbeatMethod) -> Wanted {
    let heartbeat = Some(HeartbeatConfig { url, every: Duration::from_millis(10), method });
    Wanted { heartbeat, watchdog: false }
}

impl Bot {
    async fn over(store: Store) -> Self {
        let server = WebhookServer::start().await.unwrap();
        let clock = Simulated::new(crate::clock::now());
        let machine = Clock::Simulated(Arc::clone(&clock));
        let watch = WatchStatus::with_clock(&[Kind::Pod, Kind::Node], &machine);
        watch.follows(Kind::Pod);
        watch.follows(Kind::Node);
        let engine = EngineStats { synced: true, ..EngineStats::default() };
        let engine = Arc::new(ArcSwap::from_pointee(engine));
        let loop_at = Arc::new(AtomicI64::new(machine.now().as_millisecond()));
        let vitals = Vitals {
            watch: Arc::clone(&watch),
            engine: Arc::clone(&engine),
            heartbeat: Arc::clone(&loop_at),
            store,
            started: machine.now(),
            clock: machine,
        };
        let (wanted, wants) =
            watch::channel(config(Secret::Inline(server.url().into()), HeartbeatMethod::Get));
        let heartbeat =
            Heartbeat::new(vitals, Wellness::default(), Arc::default(), wants, &Network::Real).unwrap();
        Self { server, clock, loop_at, engine, watch, wanted, heartbeat }
    }

    async fn new() -> Self {
        Self::over(Store::memory().unwrap()).await
    }

    /// Another round, when the next request is due. How many requests came.
    async fn round(&mut self) -> usize {
        let before = self.server.received().all().len();
        self.heartbeat.due = Instant::now();
        self.heartbeat.round().await;
        self.server.received().all().len() - before
    }

    fn counts(&self) -> [u64; 3] {
        let stats = &self.heartbeat.stats;
        [&stats.sent, &stats.failed, &stats.withheld].map(|n| n.load(Ordering::Relaxed))
    }

    /// The engine's loop went round.
    fn goes_round(&self) {
        let now: Timestamp = self.clock.now();
        self.loop_at.store(now.as_millisecond(), Ordering::Relaxed);
    }
}

#[tokio::test]
async fn it_is_sent_as_configured_while_all_is_well() {
    let mut bot = Bot::new().await;
    assert_eq!((bot.round().await, bot.round().await), (1, 1));
    assert!(bot.heartbeat.wellness.is_well());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, format!("{}?secret\n", bot.server.url())).unwrap();
    let secret = Secret::File(path.clone());
    bot.wanted.send_replace(config(secret, HeartbeatMethod::Post));
    assert_eq!(bot.round().await, 1);
    let requests = bot.server.received().all();
    assert_eq!(
        requests.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(),
        ["/hook", "/hook", "/hook?secret"]
    );
    // Gone with a reload, and an address that is none.
    std::fs::write(&path, "ftp://nowhere\n").unwrap();
    assert_eq!(bot.round().await, 0);
    bot.wanted.send_replace(Wanted::default());
    assert_eq!(bot.round().await, 0);
    assert_eq!(bot.counts(), [3, 1, 0]);
    assert!(!bot.heartbeat.wellness.is_well(), "nobody looks");
}

#[tokio::test]
async fn it_stops_while_the_engine_hangs() {
    let mut bot = Bot::new().await;
    assert_eq!(bot.round().await, 1);
    // Its loop does not go round any more.
    bot.clock.step(jiff::SignedDuration::from_secs(29));
    assert_eq!(bot.round().await, 1);
    bot.clock.step(jiff::SignedDuration::from_secs(1));
    assert_eq!(bot.round().await, 0);
    assert!(!bot.heartbeat.wellness.is_well());
    bot.goes_round();
    assert_eq!(bot.round().await, 1);
    assert_eq!(bot.counts(), [3, 0, 1]);
}

#[tokio::test]
async fn it_stops_while_a_watch_is_stale() {
    let mut bot = Bot::new().await;
    assert_eq!(bot.round().await, 1);
    bot.watch.loses(Kind::Pod, false);
    assert_eq!(bot.round().await, 0);
    bot.watch.follows(Kind::Pod);
    assert_eq!(bot.round().await, 1);
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(300)).await;
    tokio::time::resume();
    bot.goes_round();
    assert_eq!(bot.round().await, 0, "nothing was heard of pods for five minutes");
    bot.watch.follows(Kind::Pod);
    bot.watch.follows(Kind::Node);
    assert_eq!(bot.round().await, 1);
    // A kind that may not be read is not mended by an alarm at night: it is told as a notice.
    bot.watch.loses(Kind::Node, true);
    assert_eq!(bot.round().await, 1);
    // Before the first picture of the cluster is complete there is nothing to be well about.
    bot.engine.store(Arc::default());
    assert_eq!(bot.round().await, 0);
}

#[tokio::test]
async fn it_stops_while_the_store_fails() {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = Arc::clone(&broken);
    let faults = Faults::new(move |point, job| {
        assert!(
            !(point == Point::Applied && job == "check that it can write" && asked.load(Ordering::Relaxed)),
            "the store fails"
        );
    });
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(&Options {
        path: Some(dir.path().join("herald.db")),
        durability: Durability::Process,
        faults,
        ..Options::default()
    })
    .unwrap();
    let mut bot = Bot::over(store).await;
    assert_eq!(bot.round().await, 1);
    broken.store(true, Ordering::Relaxed);
    assert_eq!((bot.round().await, bot.round().await), (0, 0));
    assert_eq!(bot.counts(), [1, 0, 2]);
}

#[tokio::test]
async fn what_is_not_taken_is_counted_and_tried_again_soon() {
    let mut bot = Bot::new().await;
    bot.server.next(Reply::status(404, "no such check"));
    bot.server.next(Reply::HangUp);
    assert_eq!((bot.round().await, bot.round().await, bot.round().await), (1, 1, 1));
    assert_eq!(bot.counts(), [1, 2, 0]);
    assert!(bot.heartbeat.trouble.is_none());
}

#[tokio::test]
async fn it_runs_by_itself_and_ends_when_asked_to() {
    let bot = Bot::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(bot.heartbeat.run(stop.clone()));
    let received = bot.server.received().clone();
    let waiting = async {
        while received.all().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}
