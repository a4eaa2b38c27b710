//! Notifiers: one attempt to tell one receiver one notification. Timing belongs to the outbox.

mod hint;
pub mod http;
pub mod network;
pub mod secret;
pub mod slack;
pub mod smtp;
pub mod terminal;
pub mod webhook;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::message::Notification;
use crate::template::Templates;

pub use network::Network;
pub use secret::Secret;
pub use slack::{SlackConfig, SlackTarget};
pub use smtp::{EmailConfig, SmtpConfig, SmtpTls};
pub use terminal::TerminalConfig;
pub use webhook::{WebhookAuth, WebhookBody, WebhookConfig};

/// One attempt at delivery.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub notification: &'a Notification,
    /// What the first delivery of this thread to this receiver returned as its
    /// [`Outcome::Delivered::handle`] (a Slack channel and timestamp, a Message-ID), if any.
    pub handle: Option<&'a str>,
    /// Whom of the receiver this attempt is for: one of [`Deliver::recipients`]. `None` where the receiver
    /// is one destination.
    pub recipient: Option<&'a str>,
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
    /// The receiver takes no message of ours at the moment, whatever it says: the credentials are not valid
    /// (any more), the channel or the address is gone. The message stays queued and nothing else is sent to
    /// the receiver for a while.
    Refused {
        /// For people, with what to do; never contains a URL or a secret.
        reason: String,
    },
    /// This message will never be taken as it is: a dead letter.
    Reject {
        /// For people, with what to do; never contains a URL or a secret.
        reason: String,
    },
}

/// A digest of secrets, to see that they changed. Kept in memory only.
pub type Credentials = [u8; 32];

/// Something that can attempt a delivery.
pub trait Deliver: Send + Sync + 'static {
    /// Makes one attempt, within [`Self::time_limit`].
    fn deliver(&self, attempt: Attempt<'_>) -> impl Future<Output = Outcome> + Send;

    /// The longest an attempt takes when everything on the other side is as slow as it may be. The outbox
    /// cuts an attempt off only after that: an attempt that is cut off may have arrived.
    fn time_limit(&self) -> Duration;

    /// Who is told each notification by an attempt of their own; empty where the receiver is one
    /// destination.
    fn recipients(&self) -> &[Arc<str>] {
        &[]
    }

    /// Nothing is to be sent for a while: closes what is kept open between attempts.
    fn rest(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// How often open alerts are sent again, to a receiver that ends what is not repeated.
    fn reasserts(&self) -> Option<Duration> {
        None
    }

    /// Sends alerts again that are open; each is the last that was told about it.
    fn reassert(&self, _alerts: &[Notification]) -> impl Future<Output = Outcome> + Send {
        std::future::ready(Outcome::Delivered { handle: None })
    }

    /// Says that the bot is alive and well, to a receiver that ends what is not repeated.
    fn watchdog(&self) -> impl Future<Output = Outcome> + Send {
        std::future::ready(Outcome::Delivered { handle: None })
    }

    /// Changes when a secret that the receiver is reached with does. A receiver that refuses is tried again
    /// at once with a new secret.
    fn credentials(&self) -> Option<Credentials> {
        None
    }

    /// How many incidents a summary can list so that a person still sees each of them.
    fn lists(&self) -> usize {
        Notification::MAX_INCIDENTS
    }
}

/// What a receiver is, compiled. Secrets are references until they are used, so all of it can be
/// printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifierConfig {
    Slack(SlackConfig),
    Webhook(WebhookConfig),
    Email(EmailConfig),
    /// The terminal kubeherald runs in.
    Terminal(TerminalConfig),
}

impl NotifierConfig {
    /// The files with certificates and their keys; read when the notifier is made.
    pub fn certificates(&self) -> impl Iterator<Item = &PathBuf> {
        let (ca, identity) = match self {
            Self::Slack(slack) => (slack.tls.ca.as_ref(), slack.tls.identity.as_slice()),
            Self::Webhook(webhook) => (webhook.tls.ca.as_ref(), webhook.tls.identity.as_slice()),
            Self::Email(email) => (email.smtp.ca.as_ref(), &[][..]),
            Self::Terminal(_) => (None, &[][..]),
        };
        ca.into_iter().chain(identity)
    }

    /// Does it look as the templates say? Webhooks send documents.
    pub const fn uses_templates(&self) -> bool {
        matches!(self, Self::Slack(_) | Self::Email(_))
    }

    /// How often open alerts are sent again.
    pub fn reassert(&self) -> Option<Duration> {
        match self {
            Self::Webhook(webhook) => webhook.reassert,
            _ => None,
        }
    }
}

/// What every notifier needs beside its own configuration.
#[derive(Debug, Clone)]
pub struct Parts {
    pub templates: Templates,
    /// What time it is: for signatures, and for a `Retry-After` that names a date.
    pub clock: Clock,
    /// How the receivers are reached.
    pub network: Network,
}

impl Parts {
    /// For receivers that are reached over the real network.
    pub const fn new(templates: Templates, clock: Clock) -> Self {
        Self { templates, clock, network: Network::Real }
    }
}

/// A notifier cannot be made from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// An e-mail address, or the way to the mail server.
    #[error(transparent)]
    Email(#[from] smtp::EmailError),
    /// A header of a webhook.
    #[error(transparent)]
    Webhook(#[from] webhook::WebhookError),
}

/// Every notifier there is.
#[derive(Debug)]
pub enum Notifier {
    Slack(slack::Slack),
    Webhook(Box<webhook::Webhook>),
    Email(Box<smtp::Email>),
    Terminal(terminal::Terminal),
}

impl Notifier {
    /// Makes a notifier. Reads no secret and opens no connection.
    pub fn new(config: NotifierConfig, parts: &Parts) -> Result<Self, BuildError> {
        Ok(match config {
            NotifierConfig::Slack(c) => Self::Slack(slack::Slack::new(c, parts)?),
            NotifierConfig::Webhook(c) => Self::Webhook(Box::new(webhook::Webhook::new(c, parts)?)),
            NotifierConfig::Email(c) => Self::Email(Box::new(smtp::Email::new(c, parts)?)),
            NotifierConfig::Terminal(c) => Self::Terminal(terminal::Terminal::new(c)),
        })
    }

    /// The kind, as metrics and logs name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Terminal(_) => "terminal",
        }
    }
}

impl Deliver for Notifier {
    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        match self {
            Self::Slack(n) => n.deliver(attempt).await,
            Self::Webhook(n) => n.deliver(attempt).await,
            Self::Email(n) => n.deliver(attempt).await,
            Self::Terminal(n) => n.deliver(attempt).await,
        }
    }

    fn time_limit(&self) -> Duration {
        match self {
            Self::Slack(n) => n.time_limit(),
            Self::Webhook(n) => n.time_limit(),
            Self::Email(n) => n.time_limit(),
            Self::Terminal(n) => n.time_limit(),
        }
    }

    fn recipients(&self) -> &[Arc<str>] {
        match self {
            Self::Email(n) => n.recipients(),
            Self::Slack(_) | Self::Webhook(_) | Self::Terminal(_) => &[],
        }
    }

    async fn rest(&self) {
        if let Self::Email(n) = self {
            n.rest().await;
        }
    }

    fn reasserts(&self) -> Option<Duration> {
        match self {
            Self::Webhook(n) => n.reasserts(),
            Self::Slack(_) | Self::Email(_) | Self::Terminal(_) => None,
        }
    }

    async fn reassert(&self, alerts: &[Notification]) -> Outcome {
        match self {
            Self::Webhook(n) => n.reassert(alerts).await,
            Self::Slack(_) | Self::Email(_) | Self::Terminal(_) => Outcome::Delivered { handle: None },
        }
    }

    async fn watchdog(&self) -> Outcome {
        match self {
            Self::Webhook(n) => n.watchdog().await,
            Self::Slack(_) | Self::Email(_) | Self::Terminal(_) => Outcome::Delivered { handle: None },
        }
    }

    fn credentials(&self) -> Option<Credentials> {
        match self {
            Self::Slack(n) => n.credentials(),
            Self::Webhook(n) => n.credentials(),
            Self::Email(n) => n.credentials(),
            Self::Terminal(_) => None,
        }
    }

    fn lists(&self) -> usize {
        match self {
            Self::Slack(n) => n.lists(),
            Self::Webhook(n) => n.lists(),
            Self::Email(n) => n.lists(),
            Self::Terminal(n) => n.lists(),
        }
    }
}

impl Outcome {
    /// Did the other side answer about this message, so that it takes messages at all?
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Reject { .. })
    }

    fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    fn reject(reason: impl Into<String>) -> Self {
        Self::Reject { reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
