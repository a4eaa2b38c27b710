//! Digest schedules, and which receivers can get digests at all.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::raw::{Node, Span};
use super::read::Reader;
use crate::clock::cron::Cron;
use crate::clock::schedule::Schedule;
use crate::notify::NotifierConfig;
use crate::notify::webhook::WebhookBody;

/// Default of `max_age` of a receiver with a digest. A digest is worth reading late, and with a day a
/// server that is down over the weekend would cost Friday's.
pub const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

enum Times {
    Cron(Cron),
    Every(Duration),
}

/// `digest: {cron: "0 8 * * 1-5", timezone: Europe/Berlin}` or `digest: {every: 1h}`: when, and whether also when
/// there is nothing to say.
pub fn read(reader: &mut Reader, node: &Node) -> Option<(Schedule, bool)> {
    let mut map = reader.map(node, "`{cron, timezone}` or `{every}`")?;
    let cron = map.get(reader, "cron", |reader, node| {
        let text = reader.text(node)?;
        match Cron::parse(text) {
            Ok(cron) => Some(Times::Cron(cron)),
            Err(wrong) => {
                let help = "five fields: minute, hour, day of month, month, day of week; `0 8 * * 1-5` is 8:00 on workdays";
                reader.error(node.span, "this is no cron schedule", &wrong.to_string(), Some(help));
                None
            }
        }
    });
    let every = map.get(reader, "every", |reader, node| {
        let every = reader.duration(node)?;
        if every < Duration::from_secs(60) {
            reader.error(node.span, "a digest is sent at most once a minute", "", None);
            return None;
        }
        Some(Times::Every(every))
    });
    let zone = map.get(reader, "timezone", |reader, node| {
        let text = reader.text(node)?;
        if let Ok(zone) = TimeZone::get(text) {
            return Some((zone, Arc::from(text)));
        }
        let help = "write an IANA name such as `Europe/Berlin` or `UTC`";
        reader.expected(node, "a time zone", Some(help));
        None
    });
    let empty = map.get(reader, "empty", Reader::boolean).unwrap_or(false);
    let (has_cron, has_every) = (map.has("cron"), map.has("every"));
    if has_cron == has_every && (has_cron || !map.has_strays()) {
        let label = if has_cron { "both are given" } else { "neither is given" };
        reader.error(map.head(), "a digest has either `cron` or `every`", label, None);
    }
    map.finish(reader, "`digest`");
    let (zone, name) = zone.unwrap_or((TimeZone::UTC, Arc::from("UTC")));
    let schedule = match cron.or(every)? {
        Times::Cron(cron) => Schedule::cron(cron, zone, name),
        Times::Every(every) => Schedule::every(every, zone, name),
    };
    Some((schedule, empty))
}

/// Refuses digests where they make no sense.
pub fn check(reader: &mut Reader, key: Span, notifier: &NotifierConfig) {
    if let NotifierConfig::Webhook(hook) = notifier
        && let WebhookBody::Preset(preset) = hook.body
        && preset.is_alerts()
    {
        let message = format!("`{}` opens and closes alerts: it cannot be told in digests", preset.name());
        let help = "remove `digest`, or send the digest to a receiver of another kind";
        reader.error(key, message, "", Some(help));
    }
}
