//! How much of lists is in memory at a time.
//!
//! The bytes of one page are bounded, but kinds are listed beside each other. Of pages that are
//! not small only one is read at a time, over all kinds.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// Pages up to so many bytes are read beside each other.
const SMALL: usize = 2 << 20;

/// Shared by the watches of all kinds.
#[derive(Debug, Clone)]
pub(super) struct LargePages(Arc<Semaphore>);

impl LargePages {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    pub fn page(&self) -> Turn {
        Turn { semaphore: PollSemaphore::new(Arc::clone(&self.0)), permit: None }
    }
}

/// One page's turn to be read.
#[derive(Debug)]
pub(super) struct Turn {
    semaphore: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// May more be read of a page of which `read` bytes are there?
    pub fn poll(&mut self, read: usize, cx: &mut Context<'_>) -> Poll<()> {
        if read <= SMALL || self.permit.is_some() {
            return Poll::Ready(());
        }
        self.semaphore.poll_acquire(cx).map(|permit| self.permit = permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_page_is_read_at_a_time_and_small_ones_beside_it() {
        let all = LargePages::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let [mut first, mut second, mut small] = [all.page(), all.page(), all.page()];
        assert!(first.poll(0, &mut cx).is_ready() && second.poll(0, &mut cx).is_ready());
        assert!(first.poll(SMALL + 1, &mut cx).is_ready());
        assert!(second.poll(SMALL + 1, &mut cx).is_pending(), "its turn has not come");
        assert!(small.poll(SMALL, &mut cx).is_ready(), "a small page does not wait");
        assert!(first.poll(2 * SMALL, &mut cx).is_ready());
        drop(first);
        assert!(second.poll(SMALL + 1, &mut cx).is_ready());
    }
}
