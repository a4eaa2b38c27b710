//! A simulated Kubernetes API server: the real HTTP list/watch protocol on a loopback port, or without any
//! socket to clients in the same runtime.
//!
//! It is as strict and as nasty as a real one: paged lists pinned to a version, a history that
//! ends, watches that are cut, both wordings of 410. What a real server answers was recorded from
//! Kubernetes 1.36 (`tests/data/protocol`) and is what the tests compare with. It serves the
//! resources kubeherald watches, and logs, for reading only; writes are calls on [`ApiServer`].
//!
//! Left out: writing over HTTP, discovery, label selectors, field selectors other than
//! `metadata.name` and `metadata.namespace`, and the three seconds that a list with a version from
//! the future waits before its 504.

mod faults;
mod http;
mod logs;
mod memory;
mod request;
mod resource;
mod socket;
mod status;
mod store;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{HeaderValue, Uri};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use faults::{Fault, Verb, What};
pub use resource::{RESOURCES, Resource};
pub use store::{Backup, InvalidObject};

use crate::clock::Clock;
use crate::recording::{Line, LineKind};
use faults::Faults;
use logs::Logs;
use socket::{Socket, Stream};
use status::Failure;
use store::Store;

/// How often a watch sends a bookmark, unless told otherwise
/// (`staging/src/k8s.io/apiserver/pkg/storage/cacher/cacher.go`).
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How long open connections have to finish when the server stops.
const STOP_GRACE: Duration = Duration::from_millis(200);
/// How many requests are remembered in full; the counts go on.
const REQUESTS: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub verb: Verb,
    pub plural: &'static str,
    /// Whether for metadata only.
    pub partial: bool,
    /// Path and query as they came.
    pub uri: String,
}

#[derive(Default)]
struct Log {
    counts: BTreeMap<(Verb, &'static str), u64>,
    recent: VecDeque<Received>,
}

/// What the listener, the connections and the handle share.
struct Shared {
    store: Mutex<Store>,
    logs: Mutex<Logs>,
    faults: Mutex<Faults>,
    log: Mutex<Log>,
    settings: Mutex<Settings>,
    /// Of a server without a socket: ends its connections; `None`: it refuses new ones.
    accepting: Mutex<Option<CancellationToken>>,
}

struct Settings {
    bookmark_interval: Duration,
    token: Option<String>,
    clock: Clock,
    latency: Duration,
    /// Without it connections in memory time out.
    reachable: bool,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::new(Store::new()),
            logs: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            settings: Mutex::new(Settings {
                bookmark_interval: BOOKMARK_INTERVAL,
                token: None,
                clock: Clock::System,
                latency: Duration::ZERO,
                reachable: true,
            }),
            accepting: Mutex::default(),
        })
    }
}

/// A lock that a panic elsewhere does not spoil: what is behind it is only ever replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        lock(&self.logs)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    fn now(&self) -> Timestamp {
        lock(&self.settings).clock.now()
    }

    fn latency(&self) -> Duration {
        lock(&self.settings).latency
    }

    fn bookmark_interval(&self) -> Duration {
        lock(&self.settings).bookmark_interval
    }

    fn unauthenticated(&self, authorization: Option<&HeaderValue>) -> Option<Failure> {
        let settings = lock(&self.settings);
        let wanted = format!("Bearer {}", settings.token.as_ref()?);
        let given = authorization.and_then(|a| a.to_str().ok());
        (given != Some(wanted.as_str())).then(Failure::unauthorized)
    }

    fn record(&self, verb: Verb, plural: &'static str, partial: bool, uri: &Uri) {
        let mut log = lock(&self.log);
        *log.counts.entry((verb, plural)).or_default() += 1;
        if log.recent.len() == REQUESTS {
            log.recent.pop_front();
        }
        log.recent.push_back(Received { verb, plural, partial, uri: uri.to_string() });
    }
}

struct Running {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The simulated server. It serves until it is stopped or dropped, in the runtime it was started in.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    running: Mutex<Option<Running>>,
}

impl ApiServer {
    /// Starts a server without objects on a free loopback port.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// The same on a given address.
    pub async fn start_on(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = Some(listener.local_addr()?);
        let shared = Shared::new();
        let running = Mutex::new(Some(serve(Arc::clone(&shared), listener)));
        Ok(Self { shared, address, running })
    }

    /// A server without a socket, which outlives runtimes: each connection is served in the runtime of the
    /// client that opens it, and ends with it. With the runtime's time paused everything it does is
    /// deterministic.
    pub fn in_memory(clock: Clock) -> Self {
        let shared = Shared::new();
        *lock(&shared.accepting) = Some(CancellationToken::new());
        let server = Self { shared, address: None, running: Mutex::default() };
        server.set_clock(clock);
        server
    }

    pub fn url(&self) -> String {
        self.address.map_or_else(|| memory::URL.into(), |address| format!("http://{address}"))
    }

    /// A client for it, made the way `run` makes its own.
    pub fn client(&self) -> Result<kube::Client, kube::Error> {
        if self.address.is_none() {
            return memory::client(&self.shared);
        }
        let uri = self.url().parse::<Uri>().map_err(|e| kube::Error::HttpError(e.into()))?;
        let mut config = kube::Config::new(uri);
        if let Some(token) = lock(&self.shared.settings).token.clone() {
            config.auth_info.token = Some(token.into());
        }
        crate::watch::stream::client(config)
    }

    /// Stops listening, ends every watch and connection. Objects, faults and counts stay.
    pub async fn stop(&self) {
        if let Some(accepting) = lock(&self.shared.accepting).take() {
            accepting.cancel();
            self.shared.store().close_watches(None);
        }
        let running = lock(&self.running).take();
        if let Some(running) = running {
            running.cancel.cancel();
            self.shared.store().close_watches(None);
            // The task ends by itself; were it to panic, the server is stopped as well.
            running.task.await.unwrap_or_default();
        }
    }

    /// Listens again, on the same port.
    pub async fn restart(&self) -> std::io::Result<()> {
        self.stop().await;
        let Some(address) = self.address else {
            *lock(&self.shared.accepting) = Some(CancellationToken::new());
            return Ok(());
        };
        let listener = TcpListener::bind(address).await?;
        *lock(&self.running) = Some(serve(Arc::clone(&self.shared), listener));
        Ok(())
    }

    // === What the cluster does ===

    /// Creates or updates the object with this kind, namespace (`default` if missing) and name.
    /// Gives it a UID and a creation time unless it has them, and the next version, which is
    /// returned. An object with another UID than before replaces the old one (DELETED, ADDED).
    pub fn apply(&self, object: Value) -> Result<u64, InvalidObject> {
        let now = self.shared.now();
        self.shared.store().apply(object, now)
    }

    /// Deletes an object; `namespace` is empty for cluster-scoped kinds. Returns the version of
    /// the deletion, `None` if there was no such object.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Option<u64> {
        self.shared.store().delete(Resource::by_kind(kind)?, namespace, name)
    }

    /// Does what a recorded line says: ADDED and MODIFIED apply, DELETED deletes, the rest does
    /// nothing. The object keeps its own UID, the version is this server's.
    pub fn play(&self, line: &Line) -> Result<(), InvalidObject> {
        let object = || {
            serde_json::from_str::<Value>(line.object.get())
                .map_err(|_| InvalidObject::NotAnObject(line.object.get().chars().take(80).collect()))
        };
        match line.kind {
            LineKind::Added | LineKind::Modified => {
                self.apply(object()?)?;
            }
            LineKind::Deleted => {
                let object = object()?;
                let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                self.delete(text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
            }
            LineKind::Bookmark | LineKind::Synced => {}
        }
        Ok(())
    }

    /// All objects of a kind, in the order of a list.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let Some(resource) = Resource::by_kind(kind) else { return Vec::new() };
        let objects = self.shared.store().objects(resource);
        objects.iter().map(|object| object.value()).collect()
    }

    pub fn version(&self) -> u64 {
        self.shared.store().version()
    }

    /// A copy of the whole state.
    pub fn backup(&self) -> Backup {
        self.shared.store().backup()
    }

    /// Goes back to a copy, with its version, as after an etcd restore; every watch ends.
    pub fn restore(&self, backup: &Backup) {
        self.shared.store().restore(backup);
    }

    /// What the run `id` of a container wrote, and when. Runs are given oldest first, ids as the
    /// pod's status has them. For faults and counts logs are `pods/log`.
    pub fn log<'t>(
        &self,
        (namespace, pod, container): (&str, &str, &str),
        id: &str,
        lines: impl IntoIterator<Item = (Timestamp, &'t str)>,
    ) {
        let place = (namespace.to_owned(), pod.to_owned(), container.to_owned());
        let lines = lines.into_iter().map(|(at, line)| (at, line.to_owned())).collect();
        self.shared.logs().put(place, id, lines);
    }

    /// The node removes the log of a run.
    pub fn remove_log(&self, id: &str) {
        self.shared.logs().remove(id);
    }

    // === What the server does wrong ===

    /// Scripts a fault. Faults for the same verb and resource happen in the order they were given.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults().script(fault);
    }

    /// Forgets the faults that have not happened.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// How many times scripted faults have still to happen.
    pub fn faults_left(&self) -> u32 {
        self.shared.faults().left()
    }

    /// Ends all watches, cleanly.
    pub fn close_watches(&self) {
        self.shared.store().close_watches(None);
    }

    /// Ends the watches of one resource (`pods`), cleanly.
    pub fn close_watches_of(&self, plural: &str) {
        self.shared.store().close_watches(Some(plural));
    }

    /// Forgets the history: watches from before now are too old, lists under way expire. Open
    /// watches go on.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Expires the pages of lists under way.
    pub fn expire_pages(&self) {
        self.shared.store().expire_pages();
    }

    /// Answers 403 to everything about this resource (`pods`), and ends its watches.
    pub fn forbid(&self, plural: &str) {
        self.shared.faults().forbid(plural);
        self.close_watches_of(plural);
    }

    /// Takes [`Self::forbid`] back.
    pub fn allow(&self, plural: &str) {
        self.shared.faults().allow(plural);
    }

    /// Allows reading in these namespaces only, as Roles in them and no ClusterRole do, and ends all watches.
    pub fn only_roles_in(&self, namespaces: &[&str]) {
        self.shared.faults().only_roles(Some(namespaces));
        self.close_watches();
    }

    /// Answers 401 to other bearer tokens, and 403 to none. Clients made later carry it.
    pub fn require_token(&self, token: &str) {
        lock(&self.shared.settings).token = Some(token.to_owned());
    }

    /// How often watches send bookmarks; 60 s at first. For watches that begin later.
    pub fn set_bookmark_interval(&self, interval: Duration) {
        lock(&self.shared.settings).bookmark_interval = interval;
    }

    /// Times of creation and the dates of answers are of this clock; of the system's at first.
    pub fn set_clock(&self, clock: Clock) {
        lock(&self.shared.settings).clock = clock;
    }

    /// How long the server thinks about each request; not at all at first. In memory also how long it takes
    /// to connect. Under paused time it keeps a client that asks in a loop from stopping the clock.
    pub fn set_latency(&self, latency: Duration) {
        lock(&self.shared.settings).latency = latency;
    }

    /// Whether anything comes of a new connection in memory: not even a refusal, if not.
    pub fn set_reachable(&self, reachable: bool) {
        lock(&self.shared.settings).reachable = reachable;
    }

    // === What the server was asked ===

    /// How many such requests came, failed ones included; pages of a list count one by one.
    pub fn count(&self, verb: Verb, plural: &str) -> u64 {
        let log = lock(&self.shared.log);
        log.counts.iter().filter(|((v, p), _)| *v == verb && *p == plural).map(|(_, n)| n).sum()
    }

    /// How many pages of lists were asked for.
    pub fn lists(&self, plural: &str) -> u64 {
        self.count(Verb::List, plural)
    }

    /// How many watches were asked for.
    pub fn watches(&self, plural: &str) -> u64 {
        self.count(Verb::Watch, plural)
    }

    /// How many watches are open now.
    pub fn open_watches(&self, plural: &str) -> usize {
        self.shared.store().open_watches(plural)
    }

    /// The last 10,000 requests, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.log).recent.iter().cloned().collect()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The listening task finishes on its own after the grace time.
        if let Some(running) = lock(&self.running).take() {
            running.cancel.cancel();
            self.shared.store().close_watches(None);
        }
        if let Some(accepting) = lock(&self.shared.accepting).take() {
            accepting.cancel();
        }
    }
}

fn serve(shared: Arc<Shared>, listener: TcpListener) -> Running {
    let cancel = CancellationToken::new();
    let task = tokio::spawn(accept(shared, listener, cancel.clone()));
    Running { cancel, task }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, cancel: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (shared, reset) = (Arc::clone(&shared), Arc::default());
                    connections.spawn(connection(shared, Stream::Tcp(stream), reset, cancel.clone()));
                }
                // Out of file descriptors or the like: come back when some are free.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(shared: Arc<Shared>, stream: Stream, reset: Arc<AtomicBool>, cancel: CancellationToken) {
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&reset)));
    let service = service_fn(|request| http::answer(Arc::clone(&shared), request, Arc::clone(&reset)));
    let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(socket, service);
    tokio::pin!(serving);
    tokio::select! {
        biased;
        // Errors are the client's going away or a scripted fault.
        _ = &mut serving => {}
        () = cancel.cancelled() => {
            serving.as_mut().graceful_shutdown();
            // What hangs on purpose is cut.
            let _cut = tokio::time::timeout(STOP_GRACE, serving).await;
            reset.store(false, Ordering::Relaxed);
        }
    }
}
