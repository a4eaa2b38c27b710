//! A dispatcher with its notifier, without the rest of the bot.

use std::sync::Arc;
use std::time::Duration;

use kubeherald::clock::Clock;
use kubeherald::notify::{Notifier, NotifierConfig, Parts};
use kubeherald::outbox::{Backoff, Limit, Outbox, Policy, ReceiverSpec, StopMode};
use kubeherald::store::Store;
use kubeherald::template::Templates;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One life of a dispatcher.
pub struct Dispatching {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Dispatching {
    pub fn begin(store: &Store, receiver: &str, fold: bool, config: NotifierConfig, drain: Duration) -> Self {
        let parts = Parts::new(Templates::shipped().unwrap(), Clock::System);
        let notifier = Notifier::new(config, &parts).unwrap();
        let backoff = Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(40) };
        let spec = ReceiverSpec {
            name: Arc::from(receiver),
            limit: Limit { per: Duration::from_secs(1), messages: 100, burst: 100 },
            max_age: Duration::from_secs(3_600),
            credential: None,
            fold,
            fallback: None,
        };
        let policy = Policy { backoff, drain, ..Policy::default() };
        let dispatcher = Outbox::new(store.clone(), Clock::System, policy).dispatcher(spec, notifier);
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move { dispatcher.run(StopMode::default(), until).await.unwrap() });
        Self { stop, task }
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("{what}"));
}
