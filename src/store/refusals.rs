//! Receivers that refuse every message or asked for a pause, and for how long each is paused.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Call, Store, StoreError};

/// A receiver that refuses every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When it first did.
    pub since: Timestamp,
    /// How often in a row.
    pub attempts: u32,
    /// What it answered last; for people.
    pub reason: String,
}

/// A receiver, or a credential, that asked for a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    pub name: String,
    pub until: Timestamp,
    pub reason: String,
}

pub(super) trait Refusals {
    fn resume_refusal(&mut self, receiver: &str) -> Result<Option<Refusal>, StoreError>;
    fn keep_refusal(
        &mut self,
        receiver: &str,
        until: Timestamp,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    fn end_refusal(&mut self, receiver: &str) -> Result<(), StoreError>;
    fn throttles(&mut self, now: Timestamp) -> Result<Vec<Throttle>, StoreError>;
}

impl Store {
    /// The refusal that an earlier dispatcher of this receiver left, if any. Its pause ends now: the
    /// configuration or a credential may have been mended meanwhile, so one attempt is made at once.
    pub fn resume_refusal(&self, receiver: &Arc<str>) -> Call<Option<Refusal>> {
        let receiver = Arc::clone(receiver);
        self.write("resume after a refusal", move |s| s.resume_refusal(&receiver))
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

    /// The receiver takes messages again.
    pub fn end_refusal(&self, receiver: &Arc<str>) -> Call<()> {
        let receiver = Arc::clone(receiver);
        self.write("end a refusal", move |s| s.end_refusal(&receiver))
    }

    /// Who asked for a pause for longer than until `now`.
    pub fn throttles(&self, now: Timestamp) -> Call<Vec<Throttle>> {
        self.read("read the pauses of receivers", move |s| s.throttles(now))
    }
}
