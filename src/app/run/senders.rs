//! The dispatchers, over changes of the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::notify::Notifier;
use crate::outbox::{Outbox, ReceiverSpec, StopMode};
use crate::store::StoreError;

/// A dispatcher that ended: whether it was told to, and how.
type Ended = (StopMode, Result<(), StoreError>);

/// One dispatcher for each receiver, and those of former receivers that still owe something.
pub(super) struct Senders {
    outbox: Outbox,
    stop: CancellationToken,
    tasks: JoinSet<Ended>,
    /// The last dispatcher of each name, also while it drains.
    by_name: BTreeMap<Arc<str>, StopMode>,
}

impl Senders {
    /// None yet; all of them end with `stop`.
    pub(super) fn new(outbox: Outbox, stop: CancellationToken) -> Self {
        Self { outbox, stop, tasks: JoinSet::new(), by_name: BTreeMap::new() }
    }

    /// Starts a dispatcher; one of the same name hands over to it.
    pub(super) fn start(&mut self, spec: ReceiverSpec, notifier: Notifier) {
        let stop_mode = StopMode::default();
        if let Some(before) = self.by_name.insert(Arc::clone(&spec.name), stop_mode.clone()) {
            before.hand_over();
        }
        let dispatcher = self.outbox.dispatcher(spec, notifier);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let done = Box::pin(dispatcher.run(stop_mode.clone(), stop)).await;
            (stop_mode, done)
        });
    }

    /// Those of receivers that are not among `known` go on until they owe nothing. Nothing may be
    /// queued for them any more.
    pub(super) fn retire(&mut self, known: &[Arc<str>]) {
        for (name, stop_mode) in self.by_name.iter().filter(|(name, _)| !known.contains(name)) {
            if !stop_mode.is_leaving() {
                tracing::info!(receiver = %name, "gone from the configuration; its waiting messages are still sent");
                stop_mode.drain();
            }
        }
    }

    /// Waits until one ends that was not told to: why the process must end.
    pub(super) async fn failed(&mut self) -> RunError {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((stop_mode, Ok(())))) if stop_mode.is_leaving() => {}
                Some(Ok((_, Err(error)))) => return error.into(),
                Some(_) => return RunError::Ended("a dispatcher"),
                // There is always one receiver at least, but none to wait for is no failure.
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until all have ended.
    pub(super) async fn end(&mut self) -> Result<(), StoreError> {
        let mut done = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok((_, Err(error))) = ended {
                done = done.and(Err(error));
            }
        }
        done
    }
}
