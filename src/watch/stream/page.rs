//! How much of a list is in memory at a time.
//!
//! A page is counted in objects, but an object has anything from a few hundred bytes to 1.5 MB, and
//! whoever may create some decides which. So the bytes of a page are bounded as well: one that is
//! larger is given up, and the list is asked for in smaller pages. Of pages that are not small only one
//! is read at a time, over all kinds.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// Pages up to so many bytes are read beside each other.
const SMALL: usize = 2 << 20;

/// One page of a list has too many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one page of the list has more than {0} bytes; it is asked for in smaller pages")]
pub(super) struct TooLarge(usize);

/// Shared by the watches of all kinds.
#[derive(Debug, Clone)]
pub(super) struct LargePages(Arc<Semaphore>);

impl LargePages {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Reading one page of at most `max` bytes.
    pub fn page(&self, max: usize) -> Page {
        Page { max, read: 0, turn: PollSemaphore::new(Arc::clone(&self.0)), permit: None }
    }
}

/// What was read of one page.
#[derive(Debug)]
pub(super) struct Page {
    max: usize,
    read: usize,
    turn: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
}

impl Page {
    /// May more be read now?
    pub fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.read <= SMALL || self.permit.is_some() {
            return Poll::Ready(());
        }
        self.turn.poll_acquire(cx).map(|permit| self.permit = permit)
    }

    /// So many bytes came.
    pub fn add(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.read = self.read.saturating_add(bytes);
        if self.read > self.max { Err(TooLarge(self.max)) } else { Ok(()) }
    }
}

/// How many objects the next page is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageSize {
    now: u32,
    usual: u32,
}

impl PageSize {
    pub const fn new(usual: u32) -> Self {
        Self { now: usual, usual }
    }

    pub const fn objects(self) -> u32 {
        self.now
    }

    /// A page was too large.
    pub fn shrink(&mut self) {
        self.now = (self.now / 4).max(1);
    }

    /// A whole list was read.
    pub fn grow(&mut self) {
        self.now = self.now.saturating_mul(2).min(self.usual);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_page_is_read_at_a_time_and_small_ones_beside_it() {
        let all = LargePages::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut pages: Vec<Page> = (0..3).map(|_| all.page(4 * SMALL)).collect();
        assert!(pages.iter_mut().all(|page| page.poll_turn(&mut cx).is_ready()));
        pages[0].add(SMALL + 1).unwrap();
        pages[1].add(SMALL + 1).unwrap();
        assert!(pages[0].poll_turn(&mut cx).is_ready());
        assert!(pages[1].poll_turn(&mut cx).is_pending(), "its turn has not come");
        assert!(pages[2].poll_turn(&mut cx).is_ready(), "a small page does not wait");
        assert_eq!(pages[0].add(4 * SMALL), Err(TooLarge(4 * SMALL)));
        pages.remove(0);
        assert!(pages[0].poll_turn(&mut cx).is_ready());
    }

    #[test]
    fn pages_shrink_to_one_object_and_grow_to_what_is_usual() {
        let mut size = PageSize::new(100);
        let shrunk: Vec<u32> = (0..5)
            .map(|_| {
                size.shrink();
                size.objects()
            })
            .collect();
        assert_eq!(shrunk, [25, 6, 1, 1, 1]);
        let grown: Vec<u32> = (0..8)
            .map(|_| {
                size.grow();
                size.objects()
            })
            .collect();
        assert_eq!(grown, [2, 4, 8, 16, 32, 64, 100, 100]);
    }
}
