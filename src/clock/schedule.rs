//! When something is done again and again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cron::Cron;

/// Times that come again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    times: Times,
    zone: TimeZone,
    zone_name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Times {
    Cron(Cron),
    Every(Duration),
}

impl Schedule {
    /// The times of a crontab, as the clocks of `zone` show them. `zone_name` is for people.
    pub const fn cron(cron: Cron, zone: TimeZone, zone_name: Arc<str>) -> Self {
        Self { times: Times::Cron(cron), zone, zone_name }
    }

    /// Every so often, counted from the beginning of 1970 UTC: `1h` is at each full hour, whenever one
    /// begins to ask. `zone` is only for showing times.
    pub const fn every(span: Duration, zone: TimeZone, zone_name: Arc<str>) -> Self {
        Self { times: Times::Every(span), zone, zone_name }
    }

    /// The name of the time zone.
    pub const fn zone_name(&self) -> &Arc<str> {
        &self.zone_name
    }

    /// The first time after `after`; `None` at the end of representable time.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Times::Cron(cron) => cron.next_after(after, &self.zone),
            Times::Every(span) => {
                let span = i64::try_from(span.as_millis()).ok().filter(|span| *span > 0)?;
                let next = after.as_millisecond().div_euclid(span).checked_add(1)?.checked_mul(span)?;
                Timestamp::from_millisecond(next).ok()
            }
        }
    }

    /// How many times lie after `from` and not after `to`, at most `most`; and the last of them.
    pub fn passed(&self, from: Timestamp, to: Timestamp, most: u32) -> (u32, Option<Timestamp>) {
        let (mut count, mut last) = (0, None);
        let mut at = from;
        while let Some(next) = self.next_after(at).filter(|next| *next <= to && count < most) {
            (count, last, at) = (count + 1, Some(next), next);
        }
        (count, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_so_often_is_counted_from_the_same_moment() {
        let hourly = Schedule::every(Duration::from_secs(3600), TimeZone::UTC, "UTC".into());
        assert_eq!(hourly.next_after(at("2026-02-03T08:10:00Z")), Some(at("2026-02-03T09:00:00Z")));
        assert_eq!(hourly.next_after(at("2026-02-03T09:00:00Z")), Some(at("2026-02-03T10:00:00Z")));
        assert_eq!(hourly.next_after(at("1969-12-31T23:10:00Z")), Some(at("1970-01-01T00:00:00Z")));
        assert_eq!(hourly.next_after(Timestamp::MAX), None);
        let forever = Schedule::every(Duration::MAX, TimeZone::UTC, "UTC".into());
        assert_eq!(forever.next_after(at("2026-02-03T08:10:00Z")), None);
    }

    #[test]
    fn what_passed_is_counted_to_a_limit() {
        let hourly = Schedule::every(Duration::from_secs(3600), TimeZone::UTC, "UTC".into());
        let (from, to) = (at("2026-02-03T08:10:00Z"), at("2026-02-03T11:00:00Z"));
        assert_eq!(hourly.passed(from, to, 100), (3, Some(to)));
        assert_eq!(hourly.passed(from, to, 2), (2, Some(at("2026-02-03T10:00:00Z"))));
        assert_eq!(hourly.passed(to, to, 100), (0, None));
    }
}
