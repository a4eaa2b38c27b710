//! `heartbeat`: requests to a dead man's switch outside of the cluster.

use std::path::Path;
use std::time::Duration;

use super::raw::Node;
use super::read::Reader;
use super::secret;
use crate::notify::Secret;

/// `heartbeat: {url, every, method}`
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

impl HeartbeatConfig {
    pub const EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3600));
    /// Default of `every`.
    pub const USUAL: Duration = Duration::from_secs(60);
}

pub fn read(reader: &mut Reader, node: &Node, directory: &Path) -> Option<HeartbeatConfig> {
    let mut map = reader.map(node, "`{url, every, method}`")?;
    let url = map.require(reader, "url", |reader, node| secret::url(reader, node, directory));
    let every = map.get(reader, "every", |reader, node| {
        let every = reader.span_of_time(node)?;
        let (least, most) = HeartbeatConfig::EVERY;
        if every < least || every > most {
            reader.expected(node, "between `10s` and `1h`", None);
            return None;
        }
        Some(every)
    });
    let methods = [("GET", HeartbeatMethod::Get), ("POST", HeartbeatMethod::Post)];
    let method = map.get(reader, "method", |r, n| r.choice(n, "a method", &methods));
    map.finish(reader, "`heartbeat`");
    Some(HeartbeatConfig {
        url: url?,
        every: every.unwrap_or(HeartbeatConfig::USUAL),
        method: method.unwrap_or_default(),
    })
}
