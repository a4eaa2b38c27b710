//! `run`: every part built from the configuration, supervised, and shut down in order.
//!
//! ```text
//!  watches (one task a kind) ──bounded channel──▶ engine loop ──commit──▶ store ──wake──▶ dispatchers
//!                                                     │                                  (one a receiver)
//!                                                     └── statistics ──▶ web
//! ```
//!
//! A task that ends early ends the process with its name: half a bot is worse than none, because
//! nobody notices. Shutdown goes the way the signals go: watches first, then the engine's last
//! commit, then the outbox, which finishes the attempts under way, and the web server last.

mod apply;
#[cfg(test)]
mod bounds;
mod engine_loop;
mod seen;
mod senders;
mod slices;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::apply::Applier;
use self::engine_loop::{COMMANDS, EngineCommand, EngineLoop};
use self::senders::Senders;
use super::heartbeat::{Heartbeat, Wanted, Wellness};
use super::logs;
use super::receivers::{self, BuildError, Environment};
use super::reload::{self, Reloader, Startup};
use crate::clock::{Clock, Steady};
use crate::config::{Config, StoreConfig, WatchConfig};
use crate::metrics::{ConfigStats, EngineStats, HeartbeatStats, Metrics, Sources};
use crate::notify::Network;
use crate::outbox::{Outbox, Policy};
use crate::store::{Budget, Store, StoreError};
use crate::template::Templates;
use crate::watch::Kind;
use crate::watch::logs::LogStats;
use crate::watch::stream::{self, Tuning, WatchStatus};
use crate::web::health::vital::Vitals;
use crate::web::{self, Ask, Command, Control, Refusal, Token, WebState};

/// The mark in the store when the bot stored something last, as RFC 3339.
pub const SEEN_UNTIL: &str = seen::MARK_SEEN;

/// Why the bot could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Receiver(#[from] BuildError),
    #[error("the heartbeat cannot be sent")]
    Heartbeat(#[from] crate::notify::http::HttpError),
    #[error("cannot listen on {address}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    /// A task that should run for ever did not.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// The HTTP server failed.
    #[error("the HTTP server failed")]
    Web(#[source] std::io::Error),
}

/// What `run` needs beside the configuration.
pub struct Options {
    /// How to reach the API server.
    pub client: kube::Client,
    /// How patient the watches are.
    pub tuning: Tuning,
    /// Which kinds are watched.
    pub kinds: Vec<Kind>,
    /// How the outbox retries.
    pub policy: Policy,
    /// What time it is.
    pub clock: Clock,
    /// How the configuration is loaded again; `None`: never.
    pub reload: Option<Startup>,
    /// Told the address of the HTTP server once it listens.
    pub on_listen: Option<Box<dyn FnOnce(std::net::SocketAddr) + Send>>,
}

impl Options {
    /// The usual patience, every kind.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            tuning: Tuning::default(),
            kinds: Kind::ALL.to_vec(),
            policy: Policy::default(),
            clock: Clock::System,
            reload: None,
            on_listen: None,
        }
    }
}

/// The parts that touch the world, in the place of the real ones.
#[doc(hidden)]
pub struct World {
    pub store: Store,
    /// How receivers are reached. Its clock is that of [`Options`].
    pub network: Network,
    /// Compiled already; `None`: those that the configuration names.
    pub templates: Option<Templates>,
    /// Given what the HTTP server would serve, whether or not one listens.
    pub on_router: Option<Box<dyn FnOnce(axum::Router) + Send>>,
}

pub async fn run(config: Arc<Config>, options: Options, stop: CancellationToken) -> Result<(), RunError> {
    let store = open_store(&config, options.clock.now()).await?;
    run_in(World { store, network: Network::Real, templates: None, on_router: None }, config, options, stop)
        .await
}

/// The same in a world that is given.
#[doc(hidden)]
pub async fn run_in(
    world: World,
    config: Arc<Config>,
    options: Options,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let outcome = run_with(&config, options, world, &stop).await;
    stop.cancel();
    outcome
}

async fn open_store(config: &Config, now: Timestamp) -> Result<Store, RunError> {
    let options = store_options(config, now);
    let opened = tokio::task::spawn_blocking(move || Store::open_with(&options));
    Ok(opened.await.map_err(|_| RunError::Ended("opening the store"))??)
}

/// How the bot opens its store.
pub fn store_options(config: &Config, now: Timestamp) -> crate::store::Options {
    let StoreConfig { path, max_bytes } = config.store.clone();
    crate::store::Options {
        path,
        budget: Some(Budget::of(max_bytes)),
        now,
        ..crate::store::Options::default()
    }
}

async fn run_with(
    config: &Arc<Config>,
    mut options: Options,
    world: World,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let World { store, network, templates, on_router } = world;
    options.kinds.retain(|kind| config.watch.wants_kind(kind.as_str()));
    let clock = options.clock;
    // Health, metrics and what receivers compare with their own clocks.
    let machine = clock.machine();
    let now = clock.now();
    let environment = Environment { clock: machine.clone(), network: network.clone(), templates };
    let built = receivers::build_some(config, &environment, |_| true)?;
    if let Some(begun) = &mut options.reload {
        begun.set_environment(environment);
    }
    let names: Vec<Arc<str>> = built.iter().map(|(spec, _)| Arc::clone(&spec.name)).collect();
    let buried = store.bury_unknown(&names, now).await?;
    if buried > 0 {
        tracing::warn!(
            notifications = buried,
            "receivers are gone from the configuration; what they were owed is kept as dead letters"
        );
    }

    // What an earlier process held for a log goes without.
    store.release_all().await?;
    let status = WatchStatus::with_clock(&options.kinds, &machine);
    let stats = Arc::new(ArcSwap::from_pointee(EngineStats::default()));
    let heartbeat = Arc::new(AtomicI64::new(machine.now().as_millisecond()));
    let wellness = Wellness::default();
    // Rows wait by the engine's clock, which moves their times when the wall clock is set.
    let steady = Arc::new(Steady::new(clock.clone()));
    let outbox = Outbox::new(store.clone(), Clock::Steady(Arc::clone(&steady)), options.policy)
        .with_vital(wellness.vital());

    // Each stage has a token of its own, so that the stages can end one after the other.
    let (watching, sending, serving) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let mut senders = Senders::new(outbox.clone(), sending.clone());
    for (spec, notifier) in built {
        senders.start(spec, notifier);
    }
    let hash = options.reload.as_ref().map(|begun| begun.hash().to_owned()).unwrap_or_default();
    let config_stats = Arc::new(ArcSwap::from_pointee(ConfigStats::begun(hash, now)));
    let log_stats = Arc::new(LogStats::default());
    let heartbeat_stats = Arc::new(HeartbeatStats::default());
    let (wanted, wants) = watch::channel(Wanted::of(config));
    let vitals = Vitals {
        watch: Arc::clone(&status),
        engine: Arc::clone(&stats),
        heartbeat: Arc::clone(&heartbeat),
        store: store.clone(),
        clock: machine.clone(),
        started: machine.now(),
    };
    let beats = Heartbeat::new(vitals, wellness, Arc::clone(&heartbeat_stats), wants, &network)?;
    let mut heartbeat_task = JoinSet::new();
    heartbeat_task.spawn(beats.run(watching.clone()));
    let (log_news, log_read) = mpsc::channel(COMMANDS);
    let (log_queue, log_readers) = logs::logs(
        options.client.clone(),
        store.clone(),
        Clock::Steady(Arc::clone(&steady)),
        Arc::clone(&log_stats),
        log_news,
    );
    let mut log_task = JoinSet::new();
    log_task.spawn(log_readers.run());
    let mut web_task = JoinSet::new();
    let (asks, mut asked) = mpsc::channel(web::api::WAITING);
    let (commands, commanded) = mpsc::channel(COMMANDS);
    if config.http.is_some() || on_router.is_some() {
        let metrics = Metrics::with_clock(
            Sources {
                engine: Arc::clone(&stats),
                config: Arc::clone(&config_stats),
                watch: Arc::clone(&status),
                store: store.clone(),
                outbox: outbox.clone(),
                logs: log_stats,
                heartbeat: heartbeat_stats,
            },
            machine,
        );
        let state = WebState::new(metrics, Arc::clone(&heartbeat), Control::new(token(config), asks));
        if let Some(give) = on_router {
            give(web::router(state.clone()));
        }
        if let Some(address) = config.http {
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .map_err(|source| RunError::Listen { address, source })?;
            let bound = listener.local_addr().unwrap_or(address);
            tracing::info!(address = %bound, "health and metrics");
            if let Some(tell) = options.on_listen {
                tell(bound);
            }
            web_task.spawn(web::serve(listener, state, serving.clone()));
        }
    }

    let (tx, rx) = mpsc::channel(stream::CAPACITY);
    let mut watches = stream::spawn(
        &options.client,
        &config.watch,
        &options.kinds,
        &tx,
        &status,
        &watching,
        &options.tuning,
    );
    // The watches hold the channel open, nobody else.
    drop(tx);
    let parts = (log_queue, outbox, status);
    let engine =
        EngineLoop::start(config, &options.kinds, store.clone(), stats, heartbeat, steady, parts).await?;
    let mut engine_task = JoinSet::new();
    engine_task.spawn(engine.run(rx, commanded, log_read, watching.clone()));

    // Without anything to reload the other ends are gone, and nothing is ever received.
    let (updates, mut updated) = mpsc::channel(1);
    let (reloads, reload_asked) = mpsc::channel(reload::WAITING);
    let mut reload_task = JoinSet::new();
    if let Some(begun) = options.reload {
        reload_task.spawn(Reloader::new(begun, updates).run(reload_asked, watching.clone()));
    } else {
        drop((updates, reload_asked));
    }
    let mut applier = Applier::new(Arc::clone(config), config_stats, commands.clone(), wanted, clock);

    let mut failure = None;
    loop {
        // Only the two queues can be ready again and again, and each hands on what it takes without waiting:
        // requests are bounded by `web::api::WAITING` and by their answers, and of updates there is one at a
        // time. What ends the process comes before both.
        tokio::select! {
            biased;
            () = stop.cancelled() => tracing::info!("stopping"),
            _ = log_task.join_next() => failure = Some(RunError::Ended("reading logs")),
            _ = heartbeat_task.join_next() => failure = Some(RunError::Ended("the heartbeat")),
            _ = watches.join_next() => failure = Some(RunError::Ended("a watch")),
            ended = engine_task.join_next() => failure = Some(early("the engine loop", ended.map(|r| r.map(|r| r.map_err(RunError::from))))),
            error = senders.failed() => failure = Some(error),
            _ = reload_task.join_next(), if !reload_task.is_empty() => failure = Some(RunError::Ended("the reloading task")),
            ended = web_task.join_next(), if !web_task.is_empty() => {
                failure = Some(early("the HTTP server", ended.map(|r| r.map(|r| r.map_err(RunError::Web)))));
            }
            Some(ask) = asked.recv() => {
                pass_on(ask, &commands, &reloads);
                continue;
            }
            Some(update) = updated.recv(), if applier.is_idle() => {
                applier.begin(update, &mut senders).await;
                continue;
            }
            () = applier.applied() => {
                applier.finish(&mut senders);
                continue;
            }
        }
        break;
    }

    watching.cancel();
    while heartbeat_task.join_next().await.is_some() {}
    while watches.join_next().await.is_some() {}
    // The watches held the sender: the engine takes in what is left, commits and ends.
    while let Some(ended) = engine_task.join_next().await {
        if let Ok(Err(error)) = ended {
            failure.get_or_insert(error.into());
        }
    }
    while reload_task.join_next().await.is_some() {}
    // It held the way in to these, too. What they still read is there at the next start.
    while log_task.join_next().await.is_some() {}
    sending.cancel();
    if let Err(error) = senders.end().await {
        failure.get_or_insert(error.into());
    }
    serving.cancel();
    while web_task.join_next().await.is_some() {}
    failure.map_or(Ok(()), Err)
}

/// A full queue is answered with 503: the sender of the answer is dropped.
fn pass_on(
    ask: Ask,
    commands: &mpsc::Sender<EngineCommand>,
    reloads: &mpsc::Sender<tokio::sync::oneshot::Sender<web::Answer>>,
) {
    match ask.command {
        Command::Reload if reloads.is_closed() => {
            let text = "there is nothing to reload: it was started without a configuration file";
            ask.answer.send(Err(Refusal::Invalid(text.into()))).ok();
        }
        Command::Reload => {
            reloads.try_send(ask.answer).ok();
        }
        _ => {
            commands.try_send(EngineCommand::Asked(ask)).ok();
        }
    }
}

/// Reads `http.token` where it is.
fn token(config: &Config) -> Option<Token> {
    let secret = config.api_token.clone()?;
    Some(Arc::new(move || {
        let token = secret.resolve().map_err(|error| error.to_string())?;
        Ok(token.expose_secret().to_owned())
    }))
}

/// A task that was to run for ever has ended.
fn early(
    name: &'static str,
    ended: Option<Result<Result<(), RunError>, tokio::task::JoinError>>,
) -> RunError {
    match ended {
        Some(Ok(Err(error))) => error,
        _ => RunError::Ended(name),
    }
}

/// The namespaces named in the configuration, for people.
pub fn scope(config: &WatchConfig) -> String {
    match (config.include.is_empty(), config.exclude.is_empty()) {
        (true, true) => String::from("all namespaces"),
        (true, false) => format!("all namespaces but {}", config.exclude.join(", ")),
        (false, _) => format!("namespaces {}", config.include.join(", ")),
    }
}
