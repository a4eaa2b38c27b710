//! Notifiers: one attempt to tell one receiver one notification. Timing belongs to the outbox.

use std::future::Future;
use std::time::Duration;

use crate::message::Notification;

/// One attempt at delivery.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// What to tell.
    pub notification: &'a Notification,
    /// What the first delivery of this thread to this receiver returned as its
    /// [`Outcome::Delivered::handle`] (a Slack channel and timestamp, a Message-ID), if any.
    pub handle: Option<&'a str>,
    /// Counts from 1.
    pub number: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took it.
    Delivered {
        /// What later messages of the same thread need to refer to this one; opaque to the outbox.
        handle: Option<String>,
    },
    /// It may work later.
    Retry {
        /// How long the other side asked to wait (`Retry-After`), clamped to 1 s … 1 h.
        after: Option<Duration>,
        /// For people; never contains a URL or a secret.
        reason: String,
    },
    /// It will never work as it is: a dead letter.
    Reject {
        /// For people, with what to do; never contains a URL or a secret.
        reason: String,
    },
}

/// Something that can attempt a delivery.
pub trait Deliver: Send + Sync + 'static {
    /// Makes one attempt. Never blocks for longer than the notifier's own time limits.
    fn deliver(&self, attempt: Attempt<'_>) -> impl Future<Output = Outcome> + Send;
}
