//! Slack: a bot token (threads and edits) or an incoming webhook (neither).
//!
//! With a bot token the first message of an incident returns its channel and timestamp as the
//! handle. Every later message of the incident is a short reply in its thread, and the first message
//! is edited to show the state as it is now, so that the channel reads like a list of what is wrong.
//! The reply goes first: it is what counts as delivered. A failed edit is logged and not tried
//! again, because trying again would repeat the reply.

mod config;
mod digest;
mod request;
mod send;

pub use config::{DEFAULT_API_URL, SlackConfig, SlackTarget};
pub use request::{Message, Rendered, render, render_reply};
pub use send::Slack;

#[cfg(test)]
mod tests;
