//! `log_tail`: of a rule, how much of a log is told; of the configuration, how long a message waits
//! for it.

use std::time::Duration;

use super::read::fields::{Head, section};
use super::read::kind::{Kind, boolean, int, span_within};
use crate::signal::log::LogTail;

/// A message waits so long for its log, unless configured.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest `timeout`: a message must not wait longer for its log than people for the message.
const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// `true`, `false` or `{lines, bytes}`; `None`: switched off.
pub fn of_rule<'a>() -> Kind<'a, Option<LogTail>> {
    let head = Head::new("rule_log_tail", "`{lines, bytes}`", "How much of the log.").place("`log_tail`");
    let given = section(head, |fields| {
        let usual = LogTail::default();
        let lines = int(1, LogTail::MAX_LINES.into());
        let bytes = int(LogTail::MIN_BYTES.into(), LogTail::MAX_BYTES.into());
        Some(Some(LogTail {
            lines: fields.or("lines", "Lines.", lines, usual.lines),
            bytes: fields.or("bytes", "Bytes.", bytes, usual.bytes),
        }))
    });
    given.or(boolean().map(|on| on.then(LogTail::default))).with("default", false)
}

pub fn timeout<'a>() -> Kind<'a, Duration> {
    let head = Head::new("log_tail", "`{timeout}`", "Log tails, where rules ask for them.");
    section(head, |fields| {
        let help = "a message waits so long for its log, at most";
        let timeout = span_within((Duration::ZERO, MAX_TIMEOUT), "at most `10s`", Some(help));
        let doc = "A message waits so long for its log, at most `10s`; then it goes without.";
        Some(fields.or("timeout", doc, timeout, TIMEOUT))
    })
}
