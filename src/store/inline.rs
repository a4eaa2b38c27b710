//! The writer without a thread: a task of the current runtime runs the same groups in the same
//! transactions, so that a simulation decides by itself what happens when.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::StoreError;
use super::worker::Writer;

/// Shared by the task, which serves what comes, and by those who may not wait for a task.
pub(super) struct Inline(Mutex<Option<Writer>>);

impl Inline {
    pub fn start(writer: Writer, path: &Path) -> Result<Arc<Self>, StoreError> {
        let runtime = Handle::try_current().map_err(|error| StoreError::Open {
            path: path.to_path_buf(),
            why: error.to_string(),
            help: "open it inside a runtime, or with threads of its own",
        })?;
        let inline = Arc::new(Self(Mutex::new(Some(writer))));
        let shared = Arc::clone(&inline);
        runtime.spawn(async move {
            while poll_fn(|context| shared.poll(context)).await.is_continue() {
                // One group at a time: what others do between two groups is part of what is tried.
                tokio::task::yield_now().await;
            }
        });
        Ok(inline)
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<ControlFlow<()>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: a job that panics ends the writer, as it ends a thread.
        let Some(mut writer) = slot.take() else { return Poll::Ready(ControlFlow::Break(())) };
        let served = match writer.queue.poll_recv(context) {
            Poll::Ready(None) => return Poll::Ready(ControlFlow::Break(())),
            Poll::Ready(Some(job)) => {
                writer.serve(job);
                if writer.health.is_damaged() {
                    return Poll::Ready(ControlFlow::Break(()));
                }
                Poll::Ready(ControlFlow::Continue(()))
            }
            Poll::Pending => Poll::Pending,
        };
        *slot = Some(writer);
        served
    }

    /// Serves all that waits, on this thread.
    pub fn serve_all(&self) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut writer) = slot.take() {
            writer.serve_all();
            if !writer.health.is_damaged() {
                *slot = Some(writer);
            }
        }
    }

    /// Serves all that waits, and closes the file.
    pub fn finish(&self) {
        let writer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            writer.finish();
        }
    }
}
