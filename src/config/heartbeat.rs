//! `heartbeat`: requests to a dead man's switch outside of the cluster.

use std::time::Duration;

use super::read::fields::{Head, section};
use super::read::kind::{Kind, choice, span_within};
use super::secret::url;
use crate::notify::Secret;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Where to. Many such addresses are known to nobody else, so it may be a secret.
    pub url: Secret,
    pub every: Duration,
    pub method: HeartbeatMethod,
}

/// The method of the request. Both have no body that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeartbeatMethod {
    #[default]
    Get,
    Post,
}

const EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3600));

pub fn heartbeat<'a>() -> Kind<'a, HeartbeatConfig> {
    let head = Head::new(
        "heartbeat",
        "`{url, every, method}`",
        "Requests to a dead man's switch outside of the cluster.",
    );
    section(head, |fields| {
        let url = fields.require("url", "Where to: in the open, or a secret.", url());
        let every = span_within(EVERY, "between `10s` and `1h`", None);
        let every = fields.or("every", "How often, `10s` to `1h`.", every, Duration::from_secs(60));
        let methods = choice("a method", [("GET", HeartbeatMethod::Get), ("POST", HeartbeatMethod::Post)]);
        let method = fields.or("method", "`GET` or `POST`.", methods, HeartbeatMethod::default());
        Some(HeartbeatConfig { url: url?, every, method })
    })
}
