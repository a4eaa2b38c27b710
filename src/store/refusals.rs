//! Receivers that do not work or asked for a pause, and for how long each is paused.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Call, Store, StoreError};

/// A receiver that does not work: its attempts fail, or it refuses every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The first failed attempt since the last message that was answered.
    pub since: Timestamp,
    /// How many attempts failed in a row.
    pub attempts: u32,
    /// Why the last one failed; for people.
    pub reason: String,
    /// How many messages wait for the receiver, as of the last count.
    pub waiting: u64,
}

/// What is kept of the outage of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverOutage {
    pub receiver: String,
    pub outage: Outage,
    /// It refuses every message, rather than not being reached.
    pub refusing: bool,
}

/// A receiver, or a credential, that asked for a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    pub name: String,
    pub until: Timestamp,
    pub reason: String,
}

pub(super) trait Refusals {
    fn resume_outage(&mut self, receiver: &str) -> Result<Option<ReceiverOutage>, StoreError>;
    fn keep_refusal(
        &mut self,
        receiver: &str,
        until: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    fn keep_failure(&mut self, receiver: &str, reason: &str, now: Timestamp) -> Result<(), StoreError>;
    fn end_outage(&mut self, receiver: &str) -> Result<(), StoreError>;
    fn outages(&mut self) -> Result<Vec<ReceiverOutage>, StoreError>;
    fn waiting(&mut self, receiver: &str) -> Result<u64, StoreError>;
    fn throttles(&mut self, now: Timestamp) -> Result<Vec<Throttle>, StoreError>;
}

impl Store {
    /// The outage that an earlier dispatcher of this receiver left, if any. The pause of a receiver that
    /// refuses ends now: the configuration or a credential may have been mended meanwhile, so one attempt is
    /// made at once.
    pub fn resume_outage(&self, receiver: &Arc<str>) -> Call<Option<ReceiverOutage>> {
        let receiver = Arc::clone(receiver);
        self.write("resume after an outage", move |s| s.resume_outage(&receiver))
    }

    /// The receiver refused something that is no row.
    pub fn keep_refusal(
        &self,
        receiver: &Arc<str>,
        until: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Call<()> {
        let (receiver, reason) = (Arc::clone(receiver), reason.to_owned());
        self.write("keep a refusal", move |s| s.keep_refusal(&receiver, until, &reason, now))
    }

    /// An attempt failed that was about no row.
    pub fn keep_failure(&self, receiver: &Arc<str>, reason: &str, now: Timestamp) -> Call<()> {
        let (receiver, reason) = (Arc::clone(receiver), reason.to_owned());
        self.write("keep a failure", move |s| s.keep_failure(&receiver, &reason, now))
    }

    /// The receiver takes messages again.
    pub fn end_outage(&self, receiver: &Arc<str>) -> Call<()> {
        let receiver = Arc::clone(receiver);
        self.write("end an outage", move |s| s.end_outage(&receiver))
    }

    /// Receivers whose last attempt failed, by name. A single failed attempt is among them: how long an outage
    /// must last to be news is the caller's business.
    pub fn outages(&self) -> Call<Vec<ReceiverOutage>> {
        self.read("read the outages of receivers", |s| s.outages())
    }

    /// How many messages the receiver is owed.
    pub fn waiting(&self, receiver: &Arc<str>) -> Call<u64> {
        let receiver = Arc::clone(receiver);
        self.read("count what waits", move |s| s.waiting(&receiver))
    }

    /// Who asked for a pause for longer than until `now`.
    pub fn throttles(&self, now: Timestamp) -> Call<Vec<Throttle>> {
        self.read("read the pauses of receivers", move |s| s.throttles(now))
    }
}
