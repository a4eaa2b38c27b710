//! What a Slack receiver is.

use crate::notify::Secret;
use crate::notify::http::Tls;

/// Where Slack's Web API is (<https://docs.slack.dev/apis/web-api/>).
pub const DEFAULT_API_URL: &str = "https://slack.com/api";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackConfig {
    /// The way into a channel.
    pub target: SlackTarget,
    /// The Web API; another one only for tests, the demo and gateways. No slash at the end.
    pub api_url: String,
    /// Certificates beside the system's.
    pub tls: Tls,
}

/// The way into a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlackTarget {
    /// A bot token (`xoxb-…`) with the scope `chat:write`, and the bot in the channel.
    Bot {
        token: Secret,
        /// `#name`, `name` or a channel id (`C0123456789`).
        channel: String,
    },
    /// An incoming webhook (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).
    Webhook {
        /// Its URL, which is all the permission there is.
        url: Secret,
    },
}

impl SlackConfig {
    /// A bot in a channel.
    pub fn bot(token: Secret, channel: impl Into<String>) -> Self {
        Self {
            target: SlackTarget::Bot { token, channel: channel.into() },
            api_url: DEFAULT_API_URL.to_owned(),
            tls: Tls::default(),
        }
    }

    pub fn webhook(url: Secret) -> Self {
        Self {
            target: SlackTarget::Webhook { url },
            api_url: DEFAULT_API_URL.to_owned(),
            tls: Tls::default(),
        }
    }
}
