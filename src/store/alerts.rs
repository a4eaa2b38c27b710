//! Alerts that are open at receivers which end what is not repeated.
//!
//! A row is kept before the delivery that opened the alert is recorded, and removed before the delivery that
//! ended it is: a crash in between repeats that delivery. Whether it is still to be repeated is not decided
//! here but read from what the engine keeps: its incident fires, or its notice is not taken back.

use std::sync::Arc;

use super::limits::json;
use super::{Call, Store, StoreError};
use crate::message::Notification;

/// An alert that is to be repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAlert {
    /// The incident, or the notices, it is about.
    pub thread: String,
    /// What was delivered about it last.
    pub notification: Box<Notification>,
    /// How large that is as it is stored.
    pub bytes: usize,
}

/// What is kept of an open alert.
pub(super) struct AlertRow {
    pub thread: String,
    /// Is it about an incident, and not about a notice?
    pub incident: bool,
    pub body: String,
}

pub(super) trait Alerts {
    fn keep_alerts(
        &mut self,
        receiver: &str,
        opened: &[AlertRow],
        ended: &[String],
    ) -> Result<(), StoreError>;
    fn open_alerts(
        &mut self,
        receiver: &str,
        after: &str,
        at_most: usize,
    ) -> Result<Vec<OpenAlert>, StoreError>;
    fn prune_alerts(&mut self, receiver: &str) -> Result<usize, StoreError>;
}

impl Store {
    /// Keeps alerts that a delivery opens (or says more of), and forgets those it ends, by thread.
    pub fn keep_alerts(&self, receiver: &Arc<str>, opened: &[Notification], ended: Vec<String>) -> Call<()> {
        let receiver = Arc::clone(receiver);
        let row = |n: &Notification| {
            let (thread, incident) = (n.thread().to_owned(), n.incident().is_some());
            Ok(AlertRow { thread, incident, body: json("notification", n)? })
        };
        match opened.iter().map(row).collect::<Result<Vec<_>, StoreError>>() {
            Ok(rows) => self.write("keep open alerts", move |s| s.keep_alerts(&receiver, &rows, &ended)),
            Err(error) => Call::failed(self, error),
        }
    }

    /// Open alerts to repeat, by thread, after the thread `after`. Left out are those about which something
    /// newer waits to be sent, and those that this version cannot read.
    pub fn open_alerts(&self, receiver: &Arc<str>, after: &str, at_most: usize) -> Call<Vec<OpenAlert>> {
        let (receiver, after) = (Arc::clone(receiver), after.to_owned());
        self.read("read open alerts", move |s| s.open_alerts(&receiver, &after, at_most))
    }

    /// Forgets alerts that do not stand any more. Returns how many.
    pub fn prune_alerts(&self, receiver: &Arc<str>) -> Call<usize> {
        let receiver = Arc::clone(receiver);
        self.write("forget alerts that are over", move |s| s.prune_alerts(&receiver))
    }
}
