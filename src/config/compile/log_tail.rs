//! `log_tail`: of a rule, how much of a log is told; of the configuration, how long a message waits
//! for it.

use std::time::Duration;

use crate::config::raw::{Node, Value};
use crate::config::read::Reader;
use crate::signal::log::LogTail;

/// `true`, `false` or `{lines, bytes}`. The inner `None`: switched off.
#[allow(clippy::option_option, reason = "wrong and off are two answers")]
pub fn of_rule(reader: &mut Reader, node: &Node) -> Option<Option<LogTail>> {
    if !matches!(node.value, Value::Map(_)) {
        return reader.boolean(node).map(|on| on.then(LogTail::default));
    }
    let mut map = reader.map(node, "`{lines, bytes}`")?;
    let mut tail = LogTail::default();
    let mut number = |key, least: u32, most: u32, value: &mut u32| {
        let given = map.get(reader, key, |r, n| r.int(n, least.into(), most.into()));
        *value = given.and_then(|n| u32::try_from(n).ok()).unwrap_or(*value);
    };
    number("lines", 1, LogTail::MAX_LINES, &mut tail.lines);
    number("bytes", LogTail::MIN_BYTES, LogTail::MAX_BYTES, &mut tail.bytes);
    map.finish(reader, "`log_tail`");
    Some(Some(tail))
}

/// A message waits so long for its log, unless configured.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest `timeout`: a message must not wait longer for its log than people for the message.
const MAX_TIMEOUT: Duration = Duration::from_secs(10);

pub fn timeout(reader: &mut Reader, node: &Node) -> Option<Duration> {
    let mut map = reader.map(node, "`{timeout}`")?;
    let timeout = map.get(reader, "timeout", |reader, node| {
        let timeout = reader.span_of_time(node)?;
        if timeout > MAX_TIMEOUT {
            let help = "a message waits so long for its log, at most";
            reader.expected(node, "at most `10s`", Some(help));
            return None;
        }
        Some(timeout)
    });
    map.finish(reader, "`log_tail`");
    timeout
}
