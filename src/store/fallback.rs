//! What a fallback takes over of what a receiver that does not work is owed.
//!
//! Each message goes to one place: its receiver while that works, else the fallback. The end of a thread goes to
//! every place that was told something of it, so that what was opened anywhere is closed there.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Call, Store, StoreError};

/// Who takes over what a receiver is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    pub name: Arc<str>,
    /// It opens and closes something for each incident: summaries are taken apart for it.
    pub apart: bool,
}

/// What became of the rows of a receiver that does not work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// 0: nothing is left to hand over.
    pub looked_at: usize,
    pub handed_over: usize,
}

pub(super) trait Fallbacks {
    fn take_over(&mut self, from: &str, to: &Fallback, now: Timestamp) -> Result<TakenOver, StoreError>;
}

impl Store {
    /// Moves messages that `from` is owed to the fallback `to`. To be called by the dispatcher of `from`, between
    /// two attempts. At most 50 rows are looked at in one call.
    pub fn take_over(&self, from: &Arc<str>, to: Fallback, now: Timestamp) -> Call<TakenOver> {
        let from = Arc::clone(from);
        self.write("hand messages over to a fallback", move |s| s.take_over(&from, &to, now))
    }
}

#[cfg(test)]
mod tests;
