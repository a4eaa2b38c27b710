//! `digest`: when a receiver is told everything at once.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::read::fields::{Head, section};
use super::read::kind::{Kind, boolean, delay, text};
use crate::clock::cron::Cron;
use crate::clock::schedule::Schedule;

/// The schedule, and whether a digest is also sent when there is nothing to say.
pub fn digest<'a>() -> Kind<'a, (Schedule, bool)> {
    let head = Head::new(
        "digest",
        "`{cron, timezone}` or `{every}`",
        "When a receiver is told everything at once, in place of one by one.",
    );
    section(head, |fields| {
        let cron = fields.get("cron", "Five fields: `0 8 * * 1-5` is 8:00 on workdays.", cron());
        let every = delay().check(|reader, node, every| {
            let often = *every < Duration::from_secs(60);
            if often {
                reader.error(node.span, "a digest is sent at most once a minute", "", None);
            }
            !often
        });
        let every = fields.get("every", "Again and again.", every);
        let zone = "In which a cron schedule is read and times are shown; an IANA name.";
        let (name, zone) = fields.or("timezone", zone, timezone(), utc());
        let empty = fields.or("empty", "Also when there is nothing to say.", boolean(), false);
        fields.one_of(&["cron", "every"], "a digest has either `cron` or `every`");
        let schedule = match (cron, every) {
            (Some(cron), _) => Schedule::cron(cron, zone, name),
            (None, every) => Schedule::every(every?, zone, name),
        };
        Some((schedule, empty))
    })
}

fn cron<'a>() -> Kind<'a, Cron> {
    text().then(|reader, node, text| match Cron::parse(&text) {
        Ok(cron) => Some(cron),
        Err(wrong) => {
            let help = "five fields: minute, hour, day of month, month, day of week; `0 8 * * 1-5` is 8:00 on workdays";
            reader.error(node.span, "this is not a cron schedule", &wrong.to_string(), Some(help));
            None
        }
    })
}

/// A time zone with its name.
pub fn timezone<'a>() -> Kind<'a, (Arc<str>, TimeZone)> {
    let zone = text().then(|reader, node, name| {
        let zone = TimeZone::get(&name).ok();
        if zone.is_none() {
            let help = "write an IANA name such as `Europe/Berlin` or `UTC`";
            reader.expected(node, "a time zone", Some(help));
        }
        Some((Arc::from(name), zone?))
    });
    zone.with("default", "UTC")
}

pub fn utc() -> (Arc<str>, TimeZone) {
    (Arc::from("UTC"), TimeZone::UTC)
}
