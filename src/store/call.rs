//! One request to the store's thread: await it, or block for it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::oneshot;

use super::backend::Backend;
use super::inline::Inline;

use super::{Store, StoreError};

/// Which thread does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Write,
    /// Any reader (the writer, where there is none).
    Read,
}

/// A request that was made but not yet handed over. `.await` it, or [`Call::wait`] for it where
/// there is no runtime. A request that was handed over is carried out whether or not its answer is
/// still wanted.
#[must_use = "nothing happens until it is awaited, submitted or waited for"]
pub struct Call<T> {
    store: Store,
    lane: Lane,
    job: Result<Box<dyn Job>, StoreError>,
    reply: oneshot::Receiver<Result<T, StoreError>>,
}

impl<T: Send + 'static> Call<T> {
    pub(super) fn new(
        store: &Store,
        lane: Lane,
        name: &'static str,
        alone: bool,
        work: impl FnMut(&mut dyn Backend) -> Result<T, StoreError> + Send + 'static,
    ) -> Self {
        let (tx, reply) = oneshot::channel();
        let job = Task { name, alone, work, out: None, reply: tx };
        Self { store: store.clone(), lane, job: Ok(Box::new(job)), reply }
    }

    /// A call that is known to fail already.
    pub(super) fn failed(store: &Store, error: StoreError) -> Self {
        let (_, reply) = oneshot::channel();
        Self { store: store.clone(), lane: Lane::Write, job: Err(error), reply }
    }

    /// Hands it over, waiting while the queue is full. What is submitted first is done first, so
    /// several writes can be under way without waiting for each disk flush in between.
    pub async fn submit(self) -> Pending<T> {
        let sent = match self.job {
            Err(error) => Err(error),
            Ok(job) => match self.store.lane(self.lane) {
                None => Err(StoreError::Stopped),
                Some(queue) => queue.send(job).await.map_err(|_| StoreError::Stopped),
            },
        };
        Pending { state: sent.map(|()| self.reply) }
    }

    /// Blocks the thread until it is done. Not for async code: it would block its worker thread.
    pub fn wait(self) -> Result<T, StoreError> {
        let inline = self.store.inline();
        block_on(self.into_future(), inline.as_deref())
    }
}

impl<T: Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T, StoreError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.submit().await.await })
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// A request under way.
#[must_use = "it may have failed"]
pub struct Pending<T> {
    state: Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>,
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            Err(error) => Poll::Ready(Err(error.clone())),
            Ok(reply) => Pin::new(reply).poll(cx).map(|r| r.unwrap_or(Err(StoreError::Stopped))),
        }
    }
}

/// A unit of work of the store's thread: it runs inside a transaction, and its caller hears of it
/// only when that is on disk.
pub(super) trait Job: Send {
    fn name(&self) -> &'static str;
    /// Does it manage its transactions itself? Then none is open when it runs.
    fn is_alone(&self) -> bool;
    /// Runs the statements. An error undoes this job alone. Runs again where its transaction failed
    /// and something was done about it.
    fn run(&mut self, backend: &mut dyn Backend) -> Result<(), StoreError>;
    /// The transaction ended so.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Task<T, F> {
    name: &'static str,
    alone: bool,
    work: F,
    out: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnMut(&mut dyn Backend) -> Result<T, StoreError> + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_alone(&self) -> bool {
        self.alone
    }

    fn run(&mut self, backend: &mut dyn Backend) -> Result<(), StoreError> {
        let out = (self.work)(backend);
        let result = out.as_ref().map(|_| ()).map_err(Clone::clone);
        self.out = Some(out);
        result
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let out = match (self.out, committed) {
            // Its own error says more than "the transaction was given up".
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::Stopped),
        };
        // Nobody may be waiting any more; what was done stays done.
        self.reply.send(out).ok();
    }
}

/// Runs a future on this thread. Ours only wait for the store's own threads, so no runtime is
/// needed, and unlike tokio's `blocking_recv` this also works on a thread that has one. A writer
/// without a thread is given this one.
fn block_on<F: Future>(future: F, inline: Option<&Inline>) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match (future.as_mut().poll(&mut context), inline) {
            (Poll::Ready(value), _) => return value,
            (Poll::Pending, Some(inline)) => inline.serve_all(),
            (Poll::Pending, None) => std::thread::park(),
        }
    }
}
