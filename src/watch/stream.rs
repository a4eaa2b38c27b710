//! Watching a live cluster: one supervised task per kind, all of them writing into one bounded
//! channel of [`Change`]s.
//!
//! kube's `watcher` lists and watches; around it the supervisor decides when it cannot be trusted
//! any more and starts it anew:
//!
//! * on 410 and 504, and when an answered request failed three times in a row, because `watcher`
//!   goes on asking for the resourceVersion it has, for ever;
//! * when a connection shows no sign of life (`stale_after`), because a dead one may never say so;
//! * when the server is alive but tells nothing, not even a bookmark (`quiet_after`): a watch from
//!   a version that an etcd restore took back is accepted and stays silent;
//! * when three watches in a row ended at once and brought nothing (`empty_watch`);
//! * every few hours in any case.
//!
//! A new start is a new list, so the receiver learns of deletions it missed: whatever does not come
//! between [`Change::Listing`] and [`Change::Listed`] is gone. A list can break off; then
//! `Listing` comes again before any `Listed`, and the marks begin anew. During a list
//! [`Change::Applied`] does not come, but [`Change::Undecodable`] can, for objects that are there.
//!
//! **Namespaces.** Where the configuration names namespaces they are listed and watched one by one, each by a
//! task of its own, so that a Role in each of them is enough; `group` says what these watches of one kind have in
//! common. A kind without namespaces is listed as ever; if that is not allowed, it is not followed
//! ([`Change::NotPermitted`]).
//!
//! **Requests.** Whatever is answered, no kind is asked more than [`Pace::per_minute`] times a minute, and a
//! failure is followed by a pause that doubles up to `backoff_max`.
//!
//! **Blindness.** A kind of which nothing has been seen for `watch.blind_after` is announced as
//! [`Change::Blind`], a forbidden one at once. The next attempt is a list. Before that,
//! [`Change::Failing`] says since when, and [`Change::Contact`] up to when everything was passed on.
//!
//! **Back-pressure.** The channel is awaited, so a slow receiver slows the reading down. The API
//! server then cuts the watch after about 1,000 events, and it resumes from its last version:
//! nothing is lost while the receiver is less than the server's history behind, and a list follows
//! otherwise. The receiver must therefore never wait for a notification; it does wait for its commits,
//! which take milliseconds, and a store that cannot be written ends the process.

mod group;
mod guard;
mod missing;
mod pace;
mod page;
mod remedy;
mod status;
mod supervise;
pub mod whole;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use group::Member;
pub use pace::Pace;
pub use status::{KindStatus, ServerTime, WatchState, WatchStatus};
pub(super) use supervise::Supervisor;

use super::{Change, Kind};
use crate::config::WatchConfig;

/// The name of the channel that all watches write into, in metrics and logs.
pub const CHANNEL: &str = "watch_changes";
/// How many changes it holds. Slim pods are about 1 KiB, so this is a few MiB at most, and a
/// receiver that stalls for a second under a heavy load loses no watch.
pub const CAPACITY: usize = 4096;
/// Where Events about nodes are written. They are read if that is allowed.
const CLUSTER_EVENTS: &str = "default";

/// How patient the watches are.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// After this the server ends a watch by itself; whole seconds. 120 s: a connection that died
    /// silently is noticed soon, at the price of a cheap request every two minutes.
    pub watch_timeout: Duration,
    /// From a request to the headers of its answer.
    pub headers_timeout: Duration,
    /// From a request to the end of its answer; one page of a list.
    pub page_timeout: Duration,
    /// Without a byte, a header or a clean end for so long, a watch is started anew. More than
    /// `watch_timeout`.
    pub stale_after: Duration,
    /// Without an object or a bookmark for so long, a watch is started anew. Watches of Events get
    /// no bookmarks, so on a cluster where nothing happens their short list is read this often.
    pub quiet_after: Duration,
    /// A watch is started anew this often regardless, give or take a quarter.
    pub relist: Duration,
    /// The first pause after a failure; doubles.
    pub backoff_min: Duration,
    /// The longest pause after a failure.
    pub backoff_max: Duration,
    /// After so long without a failure, pauses begin at `backoff_min` again.
    pub backoff_reset: Duration,
    /// The first pause of a kind that may not be read; doubles.
    pub blind_min: Duration,
    /// The longest pause of a kind that may not be read.
    pub blind_max: Duration,
    /// Objects in one page of a list of pods, the largest objects.
    pub pod_page: u32,
    /// Objects in one page of a list of Events, whose authors make them as large as they
    /// like.
    pub event_page: u32,
    /// Objects in one page of any other list.
    pub page: u32,
    /// Bytes in one page of any list; a larger one is asked for in smaller pages.
    pub page_bytes: usize,
    /// A watch that ends sooner and brought nothing is not alive. After three in a row the kind is listed
    /// anew.
    pub empty_watch: Duration,
    /// The most requests for one kind, but for those of `pages`, whatever is answered.
    pub requests: Pace,
    /// The most requests for the next page of a list, where the page before was not short. The burst is
    /// two lists of 150,000 pods.
    pub pages: Pace,
    /// Where jitter starts from; `None`: somewhere else each time.
    pub seed: Option<u64>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            watch_timeout: Duration::from_secs(120),
            headers_timeout: Duration::from_secs(15),
            page_timeout: Duration::from_secs(60),
            stale_after: Duration::from_secs(150),
            quiet_after: Duration::from_secs(600),
            relist: Duration::from_secs(4 * 3600),
            backoff_min: Duration::from_millis(800),
            backoff_max: Duration::from_secs(30),
            backoff_reset: Duration::from_secs(120),
            blind_min: Duration::from_secs(30),
            blind_max: Duration::from_secs(300),
            pod_page: 250,
            event_page: 100,
            page: 500,
            page_bytes: 24 << 20,
            empty_watch: Duration::from_secs(2),
            requests: Pace { burst: 20, every: Duration::from_secs(2) },
            pages: Pace { burst: 1_200, every: Duration::from_millis(200) },
            seed: None,
        }
    }
}

impl Tuning {
    /// How many objects one page of a list of this kind has. Only lists without a version are paged:
    /// "any version" comes from the watch cache in one piece, 150,000 pods of it.
    const fn page_size(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Pod => self.pod_page,
            Kind::Event => self.event_page,
            _ => self.page,
        }
    }
}

/// A client fit for watching. kube's own retries are off: they would hide an overloaded server for
/// minutes and outlast the deadlines here. `Retry-After` is honoured by the supervisor.
pub fn client(mut config: kube::Config) -> Result<kube::Client, kube::Error> {
    config.default_retry = false;
    config.connect_timeout.get_or_insert(Duration::from_secs(10));
    // Another provider may have been installed before; either will do.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    kube::Client::try_from(config)
}

/// What of a kind is watched by itself: all of it (`None`), or its namespaces.
fn members(kind: Kind, namespaces: &[&str]) -> Vec<Option<Member>> {
    if namespaces.is_empty() || !kind.is_namespaced() {
        return vec![None];
    }
    let mut namespaces = namespaces.to_vec();
    if kind == Kind::Event && !namespaces.contains(&CLUSTER_EVENTS) {
        namespaces.push(CLUSTER_EVENTS);
    }
    group::members(&namespaces).into_iter().map(Some).collect()
}

/// Watches `kinds` until `cancel`, or until the receiver of `tx` is gone. One task each; a task
/// that ends gives its kind, and none ends by itself.
///
/// `client` should come from [`client`].
pub fn spawn(
    client: &kube::Client,
    cfg: &WatchConfig,
    kinds: &[Kind],
    tx: &mpsc::Sender<Change>,
    status: &Arc<WatchStatus>,
    cancel: &CancellationToken,
    tuning: &Tuning,
) -> JoinSet<Kind> {
    let mut tasks = JoinSet::new();
    let large = page::LargePages::new();
    let namespaces = cfg.one_by_one();
    for &kind in kinds {
        for member in members(kind, &namespaces) {
            let Some(entry) = status.entry(kind, member.as_ref()) else {
                tracing::error!(%kind, "not watched: its status is not kept");
                continue;
            };
            let watch = Supervisor {
                kind,
                client: guard::guard(client.clone(), &entry, tuning, &large),
                wanted: cfg.clone(),
                tx: tx.clone(),
                entry,
                cancel: cancel.clone(),
                tuning: tuning.clone(),
                optional: !namespaces.is_empty()
                    && member.as_ref().is_none_or(|one| !namespaces.contains(&&*one.namespace)),
                member,
            };
            tasks.spawn(async move {
                kind.watch(watch).await;
                kind
            });
        }
    }
    tasks
}
