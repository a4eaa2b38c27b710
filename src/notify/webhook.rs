//! Webhooks: a versioned JSON document to any HTTP endpoint, signed if wanted. See docs/webhook.md.

mod config;
mod request;
mod send;

pub use config::{WebhookAuth, WebhookConfig, WebhookError};
pub use request::{SIGNATURE_HEADER, TIMESTAMP_HEADER, VERSION, payload, sign};
pub use send::Webhook;

#[cfg(test)]
mod tests;
