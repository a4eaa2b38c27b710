//! Weekly windows on a wall clock: when mute times are on.
//!
//! A window is what a clock on the wall shows. Where the clock is put forward over an edge, the edge
//! is the moment at which it is put forward; an hour that does not exist mutes nothing. Where it is
//! put back and shows an edge twice, the first time counts: a beginning is never missed, and nothing
//! is held longer than was asked for.

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// The same hours on the same days of every week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weekly {
    /// On which days it begins, from Monday.
    pub days: [bool; 7],
    /// The minute of the day it begins at.
    pub from: u16,
    /// The minute of the day it ends at, up to [`DAY`]; not after `from`: that of the next day.
    pub to: u16,
    /// Whose clock it is.
    pub zone: TimeZone,
}

/// One window on the time line: from the first moment inside to the first outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment inside.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

impl Weekly {
    /// The window that `now` is in; of two that overlap (one runs over midnight into the next) the
    /// one that lasts longer.
    pub fn current(&self, now: Timestamp) -> Option<Window> {
        let inside = |window: &Window| window.from <= now && now < window.until;
        self.around(now, -2, 1).filter(inside).max_by_key(|window| window.until)
    }

    /// The window that begins next after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Window> {
        // A week, and one more in case an hour that does not exist swallows a window.
        self.around(now, -1, 15).find(|window| window.from > now)
    }

    /// The windows that begin on these days, counted from today; empty ones left out.
    fn around(&self, now: Timestamp, first: i64, last: i64) -> impl Iterator<Item = Window> {
        let today = self.zone.to_datetime(now).date();
        (first..=last)
            .filter_map(move |days| self.on(today.checked_add(jiff::Span::new().days(days)).ok()?))
    }

    fn on(&self, date: Date) -> Option<Window> {
        let day = usize::try_from(date.weekday().to_monday_zero_offset()).ok()?;
        if !self.days.get(day).copied().unwrap_or(false) {
            return None;
        }
        let end = if self.to <= self.from { date.tomorrow().ok()? } else { date };
        let window = Window { from: self.moment(date, self.from)?, until: self.moment(end, self.to)? };
        (window.from < window.until).then_some(window)
    }

    /// The first moment at which the clock shows this minute of this day, or more.
    fn moment(&self, date: Date, minute: u16) -> Option<Timestamp> {
        let (date, minute) = if minute >= DAY { (date.tomorrow().ok()?, 0) } else { (date, minute) };
        let time = Time::new(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0).ok()?;
        let shown = self.zone.to_ambiguous_timestamp(date.to_datetime(time));
        let earlier = shown.earlier().ok()?;
        match shown.offset() {
            AmbiguousOffset::Gap { .. } => {
                self.zone.following(earlier).next().map(|transition| transition.timestamp())
            }
            _ => Some(earlier),
        }
    }
}

/// The names of days, from Monday.
pub const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

#[cfg(test)]
mod tests;
