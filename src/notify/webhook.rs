//! Webhooks: a versioned JSON document to any HTTP endpoint, signed if wanted; or a document of the
//! user's own; or what a vendor understands. See docs/webhook.md and docs/presets.md.

mod answer;
mod config;
mod digest;
pub mod preset;
mod request;
mod send;

pub use config::{WebhookAuth, WebhookBody, WebhookConfig, WebhookError, in_the_open};
pub use preset::Preset;
pub use request::{SIGNATURE_HEADER, TIMESTAMP_HEADER, VERSION, payload, sign};
pub use send::Webhook;

#[cfg(test)]
mod tests;
