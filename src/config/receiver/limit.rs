//! `rate_limit` of a receiver.

use std::time::Duration;

use serde_json::json;

use crate::config::read::duration;
use crate::config::read::fields::{Head, section};
use crate::config::read::kind::{Kind, int, span};
use crate::outbox::Limit;

const MAX: u32 = 10_000;

/// `{per: 1m, messages: 60, burst: 5}`, of which each may be left out, or `60/m`.
pub fn limit<'a>(usual: Limit) -> Kind<'a, Limit> {
    let head = Head::new("rate_limit", "`{per, messages, burst}`", "At most this many messages.");
    let mapping = section(head, move |fields| {
        Some(Limit {
            per: fields.or("per", "The span.", span(), usual.per),
            messages: fields.or("messages", "Messages in it.", int(1, MAX.into()), usual.messages),
            burst: fields.or("burst", "How many may go at once.", int(1, MAX.into()), usual.burst),
        })
    });
    mapping.or(short(usual))
}

/// `60/m` or `10/30s`.
fn short<'a>(usual: Limit) -> Kind<'a, Limit> {
    Kind::new(
        move |reader, node| {
            let limit = node.text().split_once('/').and_then(|(messages, per)| {
                let messages = messages.parse().ok().filter(|n| (1..=MAX).contains(n))?;
                let per = parse_span(per)?;
                Some(Limit { per, messages, burst: usual.burst })
            });
            if limit.is_none() {
                let help = "write `60/m`, or `{per: 1m, messages: 60, burst: 5}`";
                reader.expected(node, "a rate limit", Some(help));
            }
            limit
        },
        |_| {
            let pattern = "^[1-9][0-9]*/([0-9]*(ms|s|m|h|d))+$";
            json!({"type": "string", "pattern": pattern, "examples": ["60/m", "1/s"]})
        },
    )
}

/// A duration, of which the number may be left out: `m` is a minute.
fn parse_span(text: &str) -> Option<Duration> {
    let whole =
        if text.starts_with(|c: char| c.is_ascii_digit()) { text.to_owned() } else { format!("1{text}") };
    duration::parse(&whole).ok().filter(|span| !span.is_zero())
}
