//! Durations as people write them: `90s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

/// The longest duration that anything here may last: a hundred years is a typing error, and
/// arithmetic on it may overflow.
const MAX: Duration = Duration::from_secs(366 * 86_400);

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number without `s`, `m`, `h` or `d`.
    #[error("a duration needs a unit")]
    Unit,
    #[error("not a duration")]
    Shape,
    /// Longer than a year.
    #[error("longer than a year")]
    TooLong,
}

/// What to write instead.
pub const HELP: &str = "write a duration as `90s`, `5m`, `1h30m` or `2d`";

/// Reads a duration: whole numbers with `ms`, `s`, `m`, `h` or `d`, larger units first.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Shape);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at_checked(digits).ok_or(DurationError::Shape)?;
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at_checked(letters).ok_or(DurationError::Shape)?;
        if number.is_empty() {
            return Err(DurationError::Shape);
        }
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if tail.is_empty() => return Err(DurationError::Unit),
            _ => return Err(DurationError::Shape),
        };
        if unit >= last {
            return Err(DurationError::Shape);
        }
        last = unit;
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        total = number
            .checked_mul(unit)
            .and_then(|part| total.checked_add(part))
            .ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    let total = Duration::from_millis(total);
    if total > MAX { Err(DurationError::TooLong) } else { Ok(total) }
}

/// A duration as it would be written.
pub fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds % 86_400, seconds % 3600, seconds % 60) {
        _ if seconds == 0 => "0s".into(),
        (0, _, _) => format!("{}d", seconds / 86_400),
        (_, 0, _) => format!("{}h", seconds / 3600),
        (_, _, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1d1h1m1s", 90_061)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("1500ms"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn what_is_refused() {
        use DurationError::{Shape, TooLong, Unit};
        for (text, error) in [
            ("", Shape),
            ("5", Unit),
            ("1h30", Unit),
            ("five minutes", Shape),
            ("5 m", Shape),
            ("-5m", Shape),
            ("1.5h", Shape),
            ("5M", Shape),
            ("30m1h", Shape),
            ("1m1m", Shape),
            ("m", Shape),
            ("400d", TooLong),
            ("99999999999999999999d", TooLong),
            ("9999999999999999d", TooLong),
            ("5µs", Shape),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
