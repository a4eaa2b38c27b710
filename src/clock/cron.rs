//! Times written as in a crontab, in a time zone.
//!
//! Five fields: minute, hour, day of month, month, day of week. `*`, numbers, names (`jan`, `mon`),
//! ranges, lists and steps; 7 is Sunday, too. Where both days are restricted (neither field has a `*`)
//! either is enough, as in crontab(5). A time that a clock change skips comes right after the gap, a
//! time that it repeats comes the first time only.

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of days are restricted: either is enough.
    either: bool,
}

/// Why a text is no cron schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("it has {0} fields")]
    Fields(usize),
    #[error("the {name} goes from {least} to {most}")]
    Field { name: &'static str, least: u32, most: u32 },
    #[error("there is no such day")]
    Never,
}

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY: Field = Field { name: "day of month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field { name: "month", least: 1, most: 12, names: MONTHS };
const WEEKDAY: Field = Field { name: "day of week", least: 0, most: 7, names: WEEKDAYS };

/// Longer than from any Sunday 29 February to the next, also over a century without a leap day.
const SEARCH_DAYS: u32 = 366 * 41;

impl Cron {
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields(fields.len()));
        };
        let weekdays = WEEKDAY.parse(weekday)?;
        let cron = Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            // Bit 7 is Sunday once more.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either: !day.contains('*') && !weekday.contains('*'),
        };
        let possible = cron.next_after(Timestamp::UNIX_EPOCH, &TimeZone::UTC).is_some();
        if possible { Ok(cron) } else { Err(CronError::Never) }
    }

    /// The first time after `after`; `None` at the end of representable time.
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = zone.to_datetime(after);
        let mut date = local.date();
        let mut from = Time::midnight().with().hour(local.hour()).minute(local.minute()).build().ok()?;
        for _ in 0..SEARCH_DAYS {
            if !has(self.months, u32::try_from(date.month()).ok()?) {
                date = date.first_of_month().checked_add(1.month()).ok()?;
                from = Time::midnight();
                continue;
            }
            if self.on(date) {
                for time in self.times(from) {
                    let at = instant(date, time, zone)?;
                    if at > after {
                        return Some(at);
                    }
                }
            }
            date = date.tomorrow().ok()?;
            from = Time::midnight();
        }
        None
    }

    fn on(&self, date: Date) -> bool {
        let day = u32::try_from(date.day()).is_ok_and(|n| has(self.days, n));
        let weekday =
            u32::try_from(date.weekday().to_sunday_zero_offset()).is_ok_and(|n| has(self.weekdays, n));
        if self.either { day || weekday } else { day && weekday }
    }

    /// The times of a day from `from` on.
    fn times(&self, from: Time) -> impl Iterator<Item = Time> + '_ {
        (from.hour()..24).filter(|hour| has(self.hours, u32::from(hour.unsigned_abs()))).flat_map(
            move |hour| {
                let first = if hour == from.hour() { from.minute() } else { 0 };
                (first..60)
                    .filter(|minute| has(self.minutes, u32::from(minute.unsigned_abs())))
                    .filter_map(move |minute| Time::new(hour, minute, 0, 0).ok())
            },
        )
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, CronError> {
        let wrong = || CronError::Field { name: self.name, least: self.least, most: self.most };
        let mut mask = 0;
        for part in text.split(',') {
            let (range, step) =
                part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.least, self.most),
                Some((from, to)) => {
                    (self.number(from).ok_or_else(wrong)?, self.number(to).ok_or_else(wrong)?)
                }
                None => {
                    let one = self.number(range).ok_or_else(wrong)?;
                    // `5/15` is every fifteen from five on.
                    (one, if step.is_some() { self.most } else { one })
                }
            };
            let step = match step {
                Some(step) => digits(step).filter(|n| (1..=self.most).contains(n)).ok_or_else(wrong)?,
                None => 1,
            };
            if from > to {
                return Err(wrong());
            }
            mask |= (from..=to).step_by(usize::try_from(step).unwrap_or(1)).fold(0, |mask, n| mask | 1 << n);
        }
        Ok(mask)
    }

    fn number(&self, text: &str) -> Option<u32> {
        let by_name = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        // Months count from 1, weekdays from 0.
        let by_name = by_name.and_then(|at| u32::try_from(at).ok()).map(|at| at + self.least);
        by_name.or_else(|| digits(text)).filter(|n| (self.least..=self.most).contains(n))
    }
}

/// A number without a sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

const fn has(mask: u64, n: u32) -> bool {
    mask >> n & 1 == 1
}

/// When the clocks of `zone` show this; the first time where they do twice, the end of the gap where
/// they never do.
fn instant(date: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    let shown = zone.to_ambiguous_timestamp(date.to_datetime(time));
    if let AmbiguousOffset::Gap { before, .. } = shown.offset() {
        let behind = before.to_timestamp(date.to_datetime(time)).ok()?;
        let just_behind = behind.checked_add(SignedDuration::from_nanos(1)).ok()?;
        if let Some(change) = zone.preceding(just_behind).next() {
            return Some(change.timestamp());
        }
    }
    shown.compatible().ok()
}

#[cfg(test)]
mod tests;
