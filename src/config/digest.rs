//! Digest schedules: checked and kept; sending digests is the work of `outbox`.

use std::time::Duration;

use super::raw::Node;
use super::read::Reader;

/// `digest: {cron: "0 8 * * 1-5", timezone: Europe/Berlin}` or `digest: {every: 1h}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestConfig {
    /// When.
    pub schedule: Schedule,
    /// In which zone a cron schedule is read; an IANA name.
    pub timezone: String,
}

/// When digests are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Five fields: minute, hour, day of month, month, day of week.
    Cron(String),
    /// Again and again.
    Every(Duration),
}

/// Reads `digest:`.
pub fn read(reader: &mut Reader, node: &Node) -> Option<DigestConfig> {
    let mut map = reader.map(node, "`{cron, timezone}` or `{every}`")?;
    let cron = map.get(reader, "cron", |reader, node| {
        let text = reader.text(node)?;
        if let Err(wrong) = check_cron(text) {
            let help = "five fields: minute, hour, day of month, month, day of week; `0 8 * * 1-5` is 8:00 on workdays";
            reader.error(node.span, "this is no cron schedule", &wrong, Some(help));
            return None;
        }
        Some(Schedule::Cron(text.to_owned()))
    });
    let every = map.get(reader, "every", |reader, node| {
        let every = reader.duration(node)?;
        if every < Duration::from_secs(60) {
            reader.error(node.span, "a digest is sent at most once a minute", "", None);
            return None;
        }
        Some(Schedule::Every(every))
    });
    let timezone = map.get(reader, "timezone", |reader, node| {
        let text = reader.text(node)?;
        if jiff::tz::TimeZone::get(text).is_err() {
            let help = "write an IANA name such as `Europe/Berlin` or `UTC`";
            reader.expected(node, "a time zone", Some(help));
            return None;
        }
        Some(text.to_owned())
    });
    let (has_cron, has_every) = (map.has("cron"), map.has("every"));
    if has_cron == has_every {
        let label = if has_cron { "both are given" } else { "neither is given" };
        reader.error(map.head(), "a digest has either `cron` or `every`", label, None);
    }
    map.finish(reader, "`digest`");
    Some(DigestConfig { schedule: cron.or(every)?, timezone: timezone.unwrap_or_else(|| "UTC".into()) })
}

const FIELDS: [(&str, u32, u32, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

fn check_cron(text: &str) -> Result<(), String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("it has {} fields", fields.len()));
    }
    for (field, (name, least, most, names)) in fields.iter().zip(FIELDS) {
        let number = |text: &str| {
            let by_name = names.iter().position(|n| text.eq_ignore_ascii_case(n));
            let by_name = by_name.and_then(|at| u32::try_from(at).ok()).map(|at| at + least.min(1));
            by_name.or_else(|| text.parse().ok()).filter(|n| (least..=most).contains(n))
        };
        for part in field.split(',') {
            let (range, step) =
                part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            let good_step = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|n| n > 0 && n <= most));
            let good_range = range == "*"
                || match range.split_once('-') {
                    Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
                    None => number(range).is_some(),
                };
            if !good_step || !good_range {
                return Err(format!("the {name} goes from {least} to {most}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_cron;

    #[test]
    fn schedules() {
        for good in ["0 8 * * 1-5", "*/15 * * * *", "0 0 1,15 jan-jun mon", "5 4 * * SUN", "0 0 * * 7"] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "0 8 * *",
            "60 8 * * *",
            "0 24 * * *",
            "0 8 0 * *",
            "0 8 * * 5-1",
            "*/0 * * * *",
            "0 8 * 13 *",
            "@daily",
        ] {
            assert!(check_cron(bad).is_err(), "{bad}");
        }
    }
}
