//! What a signal function found, before the identity of the object is put to it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Cause, Exit, Phase};

/// One finding about one object; `watch::ClusterState` makes a [`super::Signal`] of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub cause: Cause,
    /// What is said about it.
    pub phase: Phase,
    pub container: Option<Arc<str>>,
    pub reason: Arc<str>,
    pub message: Arc<str>,
    /// How well the text explains, see [`weight`].
    pub weight: u8,
    /// When it was so; `None`: now.
    pub at: Option<Timestamp>,
    pub since: Option<Timestamp>,
    /// See [`super::Signal::since_at_least`].
    pub since_at_least: bool,
    /// How often it happened since the finding before.
    pub count: u32,
    /// How the container's run ended.
    pub exit: Option<Exit>,
    /// See [`super::Signal::job`].
    pub job: Option<Arc<str>>,
    pub image: Option<Arc<str>>,
    pub not_before: Option<Timestamp>,
}

/// How well a text explains: when several reporters tell of one problem the highest wins.
pub mod weight {
    /// "Back-off restarting failed container": says nothing that the cause does not.
    pub const BACK_OFF: u8 = 1;
    /// A status text that only repeats the state.
    pub const STATE: u8 = 3;
    /// An Event that tells a part.
    pub const EVENT: u8 = 5;
    /// A status text with the current reason.
    pub const STATUS: u8 = 6;
    /// The text with the real error.
    pub const ERROR: u8 = 8;
}

impl Finding {
    /// A finding with nothing but its cause, phase and reason.
    pub fn new(cause: Cause, phase: Phase, reason: &Arc<str>) -> Self {
        Self {
            cause,
            phase,
            container: None,
            reason: Arc::clone(reason),
            message: Arc::from(""),
            weight: 0,
            at: None,
            since: None,
            since_at_least: false,
            count: 0,
            exit: None,
            job: None,
            image: None,
            not_before: None,
        }
    }

    pub fn container(mut self, name: &Arc<str>) -> Self {
        self.container = Some(Arc::clone(name));
        self
    }

    /// Sets the text and how well it explains.
    pub fn text(mut self, message: Arc<str>, weight: u8) -> Self {
        self.message = message;
        self.weight = weight;
        self
    }

    pub const fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    pub const fn at(mut self, at: Option<Timestamp>) -> Self {
        self.at = at;
        self
    }

    pub const fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Sets how the run ended.
    pub fn exit(mut self, exit: Option<Exit>) -> Self {
        self.exit = exit;
        self
    }

    pub fn image(mut self, image: &Arc<str>) -> Self {
        self.image = (!image.is_empty()).then(|| Arc::clone(image));
        self
    }

    /// Sets the moment before which it is not due.
    pub const fn not_before(mut self, not_before: Option<Timestamp>) -> Self {
        self.not_before = not_before;
        self
    }
}
