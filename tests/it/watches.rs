//! API servers that lie, fail or say nothing: how often they are asked, what the bot says of its own
//! blindness, and what it finds out afterwards. All in paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kubeherald::clock::{Clock, Simulated};
use kubeherald::config::WatchConfig;
use kubeherald::testkit::builders::event;
use kubeherald::testkit::{ApiServer, Fault, Verb, What};
use kubeherald::watch::stream::{self, Tuning, WatchState, WatchStatus};
use kubeherald::watch::{Change, Kind};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::lives::Bot;
use crate::world::in_paused_time;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn seeded(seed: u64) -> Tuning {
    Tuning { seed: Some(seed), ..Tuning::default() }
}

fn pod(name: &str) -> Value {
    let text = "x".repeat(600);
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "n", "labels": {"a": text}}})
}

/// Two kinds watched, one with bookmarks and one without, and what was asked in each second.
struct Watched {
    server: Arc<ApiServer>,
    status: Arc<WatchStatus>,
    /// Changes, without those about single objects.
    log: Arc<Mutex<Vec<String>>>,
    _cancel: tokio_util::sync::DropGuard,
}

const WATCHED: [(Kind, &str); 2] = [(Kind::Pod, "pods"), (Kind::Event, "events")];

impl Watched {
    fn start(pods: usize, tuning: &Tuning, fault: impl FnOnce(&ApiServer)) -> Self {
        let clock = Clock::Simulated(Simulated::new("2026-11-21T08:00:00Z".parse().unwrap()));
        let server = Arc::new(ApiServer::in_memory(clock.clone()));
        server.set_latency(Duration::from_millis(5));
        for n in 0..pods {
            server.apply(pod(&format!("p{n}"))).unwrap();
        }
        server.apply(event("Node/one", "Starting", "").json()).unwrap();
        fault(&server);
        let kinds = WATCHED.map(|(kind, _)| kind);
        let (tx, mut rx) = mpsc::channel(stream::CAPACITY);
        let status = WatchStatus::with_clock(&kinds, &clock);
        let cancel = CancellationToken::new();
        let client = server.client().unwrap();
        let mut tasks =
            stream::spawn(&client, &WatchConfig::default(), &kinds, &tx, &status, &cancel, tuning);
        tokio::spawn(async move { while tasks.join_next().await.is_some() {} });
        let log = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&log);
        tokio::spawn(async move {
            while let Some(change) = rx.recv().await {
                into.lock().unwrap().extend(match change {
                    Change::Listed(kind) => Some(format!("listed {kind}")),
                    Change::Blind(kind, _) => Some(format!("blind {kind}")),
                    _ => None,
                });
            }
        });
        Self { server, status, log, _cancel: cancel.drop_guard() }
    }

    fn asked(&self) -> [u64; 2] {
        WATCHED.map(|(_, plural)| self.server.lists(plural) + self.server.watches(plural))
    }

    /// The most requests for one kind in any minute of the next `seconds`.
    async fn busiest(&self, seconds: usize) -> u64 {
        let mut counts = vec![self.asked()];
        for _ in 0..seconds {
            tokio::time::sleep(secs(1)).await;
            counts.push(self.asked());
        }
        let minute = |kind: usize| {
            let of = |n: usize| counts[(n + 60).min(seconds)][kind] - counts[n][kind];
            (0..seconds).map(of).max().unwrap_or_default()
        };
        minute(0).max(minute(1))
    }
}

fn both(server: &ApiServer, verbs: &[Verb], what: &What, times: u32) {
    for (_, plural) in WATCHED {
        for verb in verbs {
            server.fault(Fault::new(*verb, plural, what.clone()).times(times));
        }
    }
}

/// Everything that the simulated server can do wrong.
fn all_faults() -> Vec<What> {
    vec![
        What::Status(400),
        What::Status(401),
        What::Status(404),
        What::Status(500),
        What::Status(503),
        What::Status(504),
        What::TooManyRequests { retry_after: 0, json: true },
        What::TooManyRequests { retry_after: 1, json: false },
        What::GoneHttp,
        What::GoneInStream,
        What::ErrorInStream(500),
        What::ErrorInStream(410),
        What::CutMidLine,
        What::CutAfter(0),
        What::CutAfter(200),
        What::CutAfter(2_000),
        What::Silent,
        What::HangBeforeHeaders,
        What::Reset,
        What::MalformedObject(json!({"metadata": {"resourceVersion": ""}})),
        What::MalformedObject(json!({"metadata": 5})),
        What::Garbage,
        What::ExpirePage,
        What::Meanwhile(json!({"kind": "Pod", "metadata": {"name": "p0", "namespace": "n"}})),
        What::CloseWatches,
        What::OneAndClose,
    ]
}

const BOUND: u64 = 50;

#[test]
fn the_bound_is_the_one_that_is_documented() {
    assert_eq!(Tuning::default().requests.per_minute(), BOUND);
    let text = std::fs::read_to_string("docs/watching.md").unwrap();
    assert!(text.contains("at most 50 requests a minute"), "{text}");
}

#[test]
fn whatever_is_answered_again_and_again_no_kind_is_asked_more_than_fifty_times_a_minute() {
    for (n, what) in all_faults().into_iter().enumerate() {
        for verbs in [&[Verb::Watch][..], &[Verb::List], &[Verb::List, Verb::Watch]] {
            let what = what.clone();
            in_paused_time(move || async move {
                let watched = Watched::start(5, &seeded(n as u64), |server| {
                    both(server, verbs, &what, u32::MAX);
                });
                let busiest = watched.busiest(600).await;
                assert!(busiest <= BOUND, "{what:?} to {verbs:?}: {busiest} requests in a minute");
                let steady = watched.busiest(600).await;
                assert!(steady <= 35, "{what:?} to {verbs:?}: {steady} requests a minute do not end");
                // Afterwards all is well, and soon.
                watched.server.clear_faults();
                watched.server.close_watches();
                tokio::time::sleep(secs(360)).await;
                for (kind, _) in WATCHED {
                    let status = watched.status.of(kind).unwrap();
                    assert_eq!(status.state, WatchState::Watching, "{what:?} to {verbs:?}: {status:?}");
                }
            });
        }
    }
}

#[test]
fn no_sequence_of_answers_is_asked_more_than_fifty_times_a_minute() {
    for seed in 0..40 {
        in_paused_time(move || async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let faults = all_faults();
            let watched = Watched::start(5, &seeded(seed), |server| {
                for _ in 0..400 {
                    let verb = if rng.bool() { Verb::Watch } else { Verb::List };
                    let what = rng.choice(&faults).unwrap();
                    both(server, &[verb], what, rng.u32(1..12));
                }
            });
            for _ in 0..10 {
                let busiest = watched.busiest(60).await;
                assert!(busiest <= BOUND, "seed {seed}: {busiest} requests in a minute");
                // Sometimes the server ends what it had let live.
                watched.server.close_watches();
            }
        });
    }
}

/// One pod a page: an endless list in tiny steps is no way around the bound.
#[test]
fn short_pages_are_bounded_like_other_requests_and_long_ones_are_not_slowed() {
    in_paused_time(|| async {
        let tuning = Tuning { pod_page: 1, ..seeded(1) };
        let watched = Watched::start(2_000, &tuning, |_| {});
        let busiest = watched.busiest(300).await;
        assert!((30..=BOUND).contains(&busiest), "{busiest}");
        let watched = Watched::start(10_000, &Tuning { pod_page: 50, ..seeded(1) }, |_| {});
        tokio::time::sleep(secs(10)).await;
        let status = watched.status.of(Kind::Pod).unwrap();
        assert_eq!((status.lists, status.delayed), (1, 0), "{status:?}");
    });
}

#[test]
fn a_watch_that_ends_in_order_is_not_slowed() {
    in_paused_time(|| async {
        let watched = Watched::start(5, &seeded(1), |_| {});
        // Quiet, then with changes and ends in quick succession.
        tokio::time::sleep(secs(1_000)).await;
        for n in 0..30 {
            for _ in 0..3 {
                watched.server.apply(pod(&format!("q{n}"))).unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            watched.server.close_watches_of("pods");
            tokio::time::sleep(secs(1)).await;
        }
        let status = watched.status.of(Kind::Pod).unwrap();
        assert_eq!((status.state, status.delayed, status.lists), (WatchState::Watching, 0, 1), "{status:?}");
        let status = watched.status.of(Kind::Event).unwrap();
        assert_eq!((status.state, status.delayed), (WatchState::Watching, 0), "{status:?}");
    });
}

/// The server lists, but ends each watch at once: what it has is still seen, by lists.
#[test]
fn watches_that_end_at_once_are_no_sign_of_life_and_lists_go_on() {
    in_paused_time(|| async {
        let watched = Watched::start(5, &seeded(1), |server| {
            both(server, &[Verb::Watch], &What::CloseWatches, u32::MAX);
        });
        tokio::time::sleep(secs(900)).await;
        let status = watched.status.of(Kind::Pod).unwrap();
        assert_eq!(status.state, WatchState::Failing, "{status:?}");
        assert!(status.lists >= 20, "every half a minute, about: {status:?}");
        assert!(status.last_error.unwrap().contains("ended at once"));
        assert!(!watched.log.lock().unwrap().iter().any(|line| line.starts_with("blind")));
    });
}

/// A list whose second page never comes whole has shown nothing, however often its first one does.
#[test]
fn a_list_that_keeps_being_cut_is_blindness() {
    in_paused_time(|| async {
        let watched = Watched::start(5, &seeded(1), |server| {
            both(server, &[Verb::List], &What::CutAfter(1_000), u32::MAX);
        });
        tokio::time::sleep(secs(59)).await;
        assert_eq!(watched.log.lock().unwrap().len(), 0);
        tokio::time::sleep(secs(2)).await;
        let mut log = watched.log.lock().unwrap().clone();
        log.sort();
        assert_eq!(log, ["blind Event", "blind Pod"]);
    });
}

/// What of [`Bot::misfortunes`] was not told.
fn missing(told: &str) -> Vec<&'static str> {
    let all = [
        "first oom-killed Deployment/checkout",
        "first evicted Pod/report-x",
        "first oom-killed Node/worker-1",
    ];
    all.into_iter().filter(|line| !told.contains(line)).collect()
}

/// For 100 seconds the API server cannot be reached, and the bot is restarted in between.
async fn outage(kill: bool, back: u64) -> Vec<String> {
    let mut bot = Bot::new();
    bot.start();
    tokio::time::sleep(secs(600)).await;
    bot.life.server.stop().await;
    tokio::time::sleep(secs(20)).await;
    bot.misfortunes();
    tokio::time::sleep(secs(60)).await;
    if kill {
        bot.kill().await;
    } else {
        bot.stop().await;
    }
    bot.start();
    tokio::time::sleep(secs(back)).await;
    bot.life.server.restart().await.unwrap();
    tokio::time::sleep(secs(300)).await;
    let mut told: Vec<String> = bot.told();
    told.sort();
    bot.stop().await;
    told
}

#[test]
fn what_happened_in_an_outage_is_told_after_a_restart() {
    for (kill, back) in [(false, 20), (true, 20), (true, 200)] {
        let told = in_paused_time(move || outage(kill, back));
        let all = told.join("\n");
        assert!(missing(&all).is_empty(), "{:?} are lost (killed: {kill}, {back}): {all}", missing(&all));
        let blind: Vec<_> = told.iter().filter(|line| line.contains("lind")).collect();
        assert!(blind[0].starts_with("Blind: 11 kinds of objects"), "{told:?}");
        assert!(blind[1].starts_with("No longer blind: "), "{told:?}");
        assert_eq!((blind.len(), told.len()), (2, 5), "{told:?}");
    }
}

#[test]
fn a_bot_that_cannot_see_is_soon_not_ready_says_so_and_looks_up_what_it_missed() {
    for what in [What::TooManyRequests { retry_after: 1, json: false }, What::Status(500), What::Status(401)]
    {
        in_paused_time(move || async move {
            let mut bot = Bot::new();
            bot.start();
            tokio::time::sleep(secs(600)).await;
            assert_eq!(bot.ready().await.0, 200);
            bot.fail_all(&what);
            tokio::time::sleep(secs(50)).await;
            let (status, body) = bot.ready().await;
            assert_eq!((status, body.contains("degraded")), (200, true), "{what:?}: {body}");
            bot.misfortunes();
            tokio::time::sleep(secs(15)).await;
            let (status, body) = bot.ready().await;
            assert_eq!(status, 503, "{what:?}: {body}");
            tokio::time::sleep(secs(60)).await;
            assert_eq!(
                bot.told(),
                [
                    "Blind: 11 kinds of objects cannot be read: Namespace, Node, Deployment, ReplicaSet, StatefulSet and 6 more"
                ]
            );
            let text = bot.bodies()[0]["text"].as_str().unwrap().to_owned();
            assert!(text.contains("Pod: since 08:10:0"), "{text}");
            bot.heal();
            tokio::time::sleep(secs(240)).await;
            assert_eq!(bot.ready().await.0, 200);
            let told = bot.told();
            let all = told.join("\n");
            assert!(missing(&all).is_empty(), "{what:?}: {:?} are lost: {all}", missing(&all));
            let end = bot.bodies().into_iter().find(|body| body["reason"] == "sees_again").unwrap();
            let text = end["text"].as_str().unwrap();
            assert!(text.contains("Pod: from 08:10:0") && text.contains(" to 08:12:"), "{text}");
            assert_eq!(told.len(), 5, "{told:?}");
            bot.stop().await;
        });
    }
}

#[test]
fn a_kind_that_may_not_be_read_leaves_the_bot_ready() {
    in_paused_time(|| async {
        let mut bot = Bot::new();
        bot.start();
        tokio::time::sleep(secs(600)).await;
        bot.life.server.forbid("events");
        bot.life.server.close_watches_of("events");
        for _ in 0..20 {
            tokio::time::sleep(secs(60)).await;
            let (status, body) = bot.ready().await;
            assert_eq!((status, body.contains("degraded")), (200, true), "{body}");
        }
        assert_eq!(bot.told(), ["Blind: 1 kind of objects cannot be read: Event"]);
        bot.stop().await;
    });
}

/// Shorter than `blind_after`, nothing is said; longer, also when it is over before it is known.
#[test]
fn spans_of_blindness_are_told_from_blind_after_on() {
    for (span, expected) in [(20, 0), (75, 2)] {
        let told = in_paused_time(move || async move {
            let mut bot = Bot::new();
            bot.start();
            tokio::time::sleep(secs(600)).await;
            bot.fail_all(&What::Reset);
            tokio::time::sleep(secs(span)).await;
            bot.heal();
            tokio::time::sleep(secs(600)).await;
            bot.stop().await;
            bot.told()
        });
        assert_eq!(told.len(), expected, "{span} s: {told:?}");
    }
    let (told, text) = in_paused_time(|| async {
        let mut bot = Bot::new();
        bot.start();
        tokio::time::sleep(secs(600)).await;
        // One connection dies without a word.
        bot.life.server.fault(Fault::new(Verb::Watch, "pods", What::Silent));
        bot.life.server.close_watches_of("pods");
        tokio::time::sleep(secs(600)).await;
        bot.stop().await;
        (bot.told(), bot.bodies()[0]["text"].as_str().unwrap_or_default().to_owned())
    });
    let blind = "Blind: 1 kind of objects could not be read for a time: Pod";
    assert_eq!(told, [blind, "No longer blind: Pod can be read again"]);
    assert!(text.contains("the watch was silent") && text.contains("(2m 3s)"), "{text}");
}
