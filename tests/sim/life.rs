//! One life of the bot: the real pipeline, store, outbox and notifiers in a runtime whose time is paused.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use futures::FutureExt;
use kubeherald::app::reload::Source;
use kubeherald::app::run::{Options, World as Parts, run_in, store_options};
use kubeherald::clock::Clock;
use kubeherald::config::{Config, Loaded};
use kubeherald::notify::Network;
use kubeherald::outbox::Policy;
use kubeherald::store::{self, Driver, OutboxQuery, OutboxStates, Store};
use kubeherald::template::Templates;
use kubeherald::watch::stream::Tuning;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::director::{Director, Wish};
use super::disk::OnSimDisk;
use super::plan::{Ms, What};
use super::record::{HistoryLine, LifeEnd, OutboxLine, Ready, Silenced};
use super::world::{World, lock};
use super::{api, chance, receivers, settings};

/// The largest answer that is read of the bot's own.
const MAX_ANSWER: usize = 1 << 20;

/// Lives until the plan ends the life, or the run.
pub fn live(world: &Arc<World>, director: &mut Director) -> LifeEnd {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let end = runtime.block_on(async {
        // What a kill of the last life has left behind.
        let _old = world.ended.notified().now_or_never();
        let (clock, servers) = world.begin_life();
        world.server.set_clock(Clock::Simulated(servers));
        let end = lead(world, director, Clock::Simulated(clock)).await;
        if end != LifeEnd::Stopped {
            // Destructors would flush and tidy up: from here on nothing reaches the disk.
            director.disk.freeze();
        }
        world.end_life();
        end
    });
    drop(runtime);
    end
}

async fn lead(world: &Arc<World>, director: &mut Director, clock: Clock) -> LifeEnd {
    let config = without_listener(&settings::config(&director.without));
    let opened = Store::open_with(&store::Options {
        path: Some(PathBuf::from("state.db")),
        driver: Driver::Inline,
        disk: Arc::new(OnSimDisk(director.disk.clone())),
        ..store_options(&config, clock.now())
    });
    let store = match opened {
        Ok(store) => store,
        Err(_) if world.is_dead() => return LifeEnd::Killed,
        Err(error) => return LifeEnd::Exited(format!("the store cannot be opened: {}", chain(&error))),
    };
    let seed = chance::draw(world.plan.seed, "life", world.life() as u64);
    let router: Arc<Mutex<Option<Router>>> = Arc::default();
    let given = Arc::clone(&router);
    let parts = Parts {
        store: store.clone(),
        network: Network::Simulated(Arc::new(receivers::Network(Arc::clone(world)))),
        templates: Some(templates()),
        on_router: Some(Box::new(move |made| *lock(&given) = Some(made))),
    };
    let wanted = Arc::new(Mutex::new(director.without.clone()));
    let options = Options {
        tuning: Tuning { seed: Some(seed), ..Tuning::default() },
        policy: Policy { seed: Some(seed), ..Policy::default() },
        clock,
        reload: begun(&wanted),
        ..Options::new(api::client(world))
    };
    let stop = CancellationToken::new();
    let mut bot = tokio::spawn(run_in(parts, config, options, stop.clone()));
    let mut stopping = false;
    loop {
        let wait = Duration::from_millis(director.due().saturating_sub(world.now()));
        tokio::select! {
            biased;
            () = world.ended.notified() => return LifeEnd::Killed,
            ended = &mut bot => return match ended {
                Ok(Ok(())) if stopping => LifeEnd::Stopped,
                Ok(Ok(())) => LifeEnd::Exited("it ended without being asked to".into()),
                Ok(Err(error)) => LifeEnd::Exited(chain(&error)),
                Err(error) => LifeEnd::Exited(format!("it panicked: {error}")),
            },
            () = tokio::time::sleep_until(Instant::now() + wait) => {}
        }
        if world.now() >= world.plan.ends {
            gather(world, &store).await;
            return LifeEnd::Over;
        }
        if director.due() > world.now() {
            continue;
        }
        let wish = director.act();
        (*lock(&wanted)).clone_from(&director.without);
        let Some(wish) = wish else { continue };
        let made = lock(&router).clone();
        match wish {
            Wish::Stop => {
                stopping = true;
                stop.cancel();
            }
            wish => {
                if let Some(router) = made {
                    tokio::spawn(ask(Arc::clone(world), router, wish));
                }
            }
        }
    }
}

/// Listens nowhere; the routes are asked directly.
fn without_listener(config: &Arc<Config>) -> Arc<Config> {
    let mut config = Config::clone(config);
    config.http = None;
    Arc::new(config)
}

/// Reloads find whatever is wanted then.
fn begun(wanted: &Arc<Mutex<Vec<String>>>) -> Option<kubeherald::app::reload::Startup> {
    let wanted = Arc::clone(wanted);
    let source = Source::given(move || {
        let loaded = settings::loaded(&lock(&wanted));
        Ok(Loaded { config: without_listener(&loaded.config), ..Loaded::clone(&loaded) })
    });
    source.begin().ok().map(|(begun, _)| begun)
}

/// Compiled once a process.
fn templates() -> Templates {
    static TEMPLATES: std::sync::OnceLock<Templates> = std::sync::OnceLock::new();
    TEMPLATES.get_or_init(|| Templates::shipped().expect("the shipped templates")).clone()
}

/// Asks the running bot for something, as a person or the kubelet does.
async fn ask(world: Arc<World>, router: Router, wish: Wish) {
    let request = |method: &str, uri: &str, body: String| {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("authorization", format!("Bearer {}", settings::TOKEN));
        request.body(Body::from(body)).expect("a request")
    };
    let asked = match &wish {
        Wish::Ready => request("GET", "/readyz", String::new()),
        Wish::Reload => request("POST", "/-/reload", String::new()),
        Wish::Silence { namespace, workload, lasts } => {
            let body = json!({ "match": { "namespace": namespace, "workload": workload },
                "for": format!("{}s", lasts / 1000), "comment": "simulated", "by": "sim" });
            request("POST", "/api/v1/silences", body.to_string())
        }
        Wish::Stop => return,
    };
    let began = world.now();
    let Ok(response) = router.oneshot(asked).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), MAX_ANSWER).await.unwrap_or_default();
    if world.is_dead() {
        return;
    }
    world.note(&format!("the bot answers {status} to {wish:?}"));
    let mut record = lock(&world.record);
    match wish {
        Wish::Ready => {
            let said: Value = serde_json::from_slice(&body).unwrap_or_default();
            let checks = said.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
            let text = |check: &Value, key: &str| {
                check.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let wrong = checks.iter().filter(|check| text(check, "status") != "ok");
            let wrong = wrong.map(|check| (text(check, "check"), text(check, "detail"))).collect();
            record.ready.push(Ready { at: world.now(), status: status.as_u16(), wrong });
        }
        Wish::Silence { namespace, workload, lasts } if status.is_success() => {
            *record.met.entry("silence/api".into()).or_default() += 1;
            record.silenced.push(Silenced { namespace, workload, from: began, to: world.now() + lasts });
        }
        Wish::Reload if status != StatusCode::OK => {
            record.broken.push((world.now(), "reload", String::from_utf8_lossy(&body).into_owned()));
        }
        _ => {}
    }
}

/// What the store says at the end of the run.
async fn gather(world: &Arc<World>, store: &Store) {
    let mut after = 0;
    let mut outbox = Vec::new();
    loop {
        let query = OutboxQuery { states: OutboxStates::All, after, limit: 500, ..OutboxQuery::default() };
        let Ok(page) = store.outbox(query).await else { break };
        let Some(last) = page.last() else { break };
        after = last.seq;
        outbox.extend(page.into_iter().map(|entry| OutboxLine {
            key: entry.key,
            receiver: entry.receiver,
            state: entry.state,
            reason: entry.reason,
            inside: entry.inside,
        }));
    }
    let mut before = None;
    let mut history = Vec::new();
    loop {
        let Ok(page) = store.history(before).await else { break };
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        history.extend(page.into_iter().map(|entry| HistoryLine {
            at: entry.at,
            incident: entry.incident,
            decision: entry.decision,
            reason: entry.reason,
            namespace: entry.namespace,
            workload: entry.workload,
            detail: entry.detail,
        }));
    }
    history.reverse();
    let mut record = lock(&world.record);
    record.history = history;
    record.outbox = outbox;
}

fn chain(error: &dyn std::error::Error) -> String {
    let parts: Vec<String> =
        std::iter::successors(Some(error), |e| e.source()).take(8).map(ToString::to_string).collect();
    parts.join(": ")
}

/// How long a life that ended by itself stays away: the kubelet's back-off.
pub fn back_off(exits: u32) -> Ms {
    (10_000 << exits.min(5)).min(300_000)
}

/// How long a life stays away that was ended by the plan.
pub fn down(what: &What) -> Ms {
    match what {
        What::Kill { down, .. } | What::Stop { down } => *down,
        _ => 1000,
    }
}
