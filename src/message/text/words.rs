//! The words that every format shares: durations, times of day, counts.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::Offset;

/// Takes line ends, control characters and bidirectional overrides out of text that must stay on one
/// line, and cuts it to `max` characters.
pub fn one_line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max * 4));
    let mut gap = false;
    let mut left = max;
    for c in text.chars() {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_whitespace() || c.is_control() || hidden {
            gap = !out.is_empty();
            continue;
        }
        let need = 1 + usize::from(gap);
        if left < need + 1 {
            // One character is kept free for the mark: text of exactly `max` is rare enough.
            out.push('…');
            return out;
        }
        if gap {
            out.push(' ');
            gap = false;
        }
        out.push(c);
        left -= need;
    }
    out
}

/// Cuts to `max` characters and marks the cut; keeps line ends.
pub fn cut_chars(text: &str, max: usize) -> String {
    if text.len() <= max || text.chars().count() <= max {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(max.saturating_sub(1)).collect();
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// Cuts one line to `max` characters in its middle, at words where it has some, and marks the cut: the end of a
/// title says what has to be mended.
pub fn cut_middle(text: &str, max: usize) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(3);
    let head: String = text.chars().take(room / 3).collect();
    let tail: String = text.chars().skip(count - (room - room / 3)).collect();
    // A word that is cut is left out, unless hardly anything else is there.
    let head = match head.rsplit_once(' ') {
        Some((words, cut)) if cut.len() < 20 => words,
        _ => &head,
    };
    let tail = match tail.split_once(' ') {
        Some((cut, words)) if cut.len() < 20 => words,
        _ => &tail,
    };
    let (head, tail) = (head.trim_end_matches([' ', ':', ',']), tail.trim_start());
    format!("{head} … {tail}").trim_start().chars().take(max).collect()
}

/// Keeps the last `max` characters, from the beginning of a line where that is possible, and marks
/// the cut.
pub fn keep_end(text: &str, max: usize) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_owned();
    }
    let from = text.char_indices().nth(count - max.saturating_sub(2)).map_or(text.len(), |(at, _)| at);
    let end = text.get(from..).unwrap_or_default();
    let end = match end.split_once('\n') {
        Some((_, lines)) if !lines.is_empty() => lines,
        _ => end,
    };
    format!("…\n{end}")
}

/// `45s`, `5m 8s`, `2h 5m`, `3d 4h`: the two largest units.
pub fn duration(seconds: i64) -> String {
    let s = seconds.max(0);
    let (d, h, m, sec) = (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60);
    let pair = |a: i64, ua: &str, b: i64, ub: &str| {
        if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua} {b}{ub}") }
    };
    match (d, h, m) {
        (0, 0, 0) => format!("{sec}s"),
        (0, 0, _) => pair(m, "m", sec, "s"),
        (0, ..) => pair(h, "h", m, "m"),
        _ => pair(d, "d", h, "h"),
    }
}

/// `20 s`, `4 min`, `3 h`, `2 days`: for people who only need the size.
pub fn about(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..5400 => format!("{} min", (s + 30) / 60),
        s @ 5400..129_600 => format!("{} h", (s + 1800) / 3600),
        s => format!("{} days", (s + 43_200) / 86_400),
    }
}

pub fn time_of_day(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// The time of day, with the date where it is not the day of `now`: `2 Feb 08:06 UTC`, and with the
/// year where that differs.
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let (a, n) = (Offset::UTC.to_datetime(at).date(), Offset::UTC.to_datetime(now).date());
    if a == n {
        time_of_day(at)
    } else if a.year() == n.year() {
        at.strftime("%-d %b %H:%M UTC").to_string()
    } else {
        at.strftime("%Y-%m-%d %H:%M UTC").to_string()
    }
}

/// Whole seconds from `from` to `to`, never negative.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second().saturating_sub(from.as_second()).max(0)
}

/// `since 08:06:24 UTC (4 min)`.
pub fn since(from: Timestamp, now: Timestamp) -> String {
    format!("since {} ({})", moment(from, now), about(seconds_between(from, now)))
}

/// `1 pod`, `3 pods`, `2 replica sets` …: the kind of an object as a word, counted.
pub fn objects(count: u32, kind: &str) -> String {
    plural(u64::from(count), &kind_word(kind))
}

/// `1 time`, `43 times`.
pub fn plural(count: u64, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {}", many(word)) }
}

/// The plural of a word, as far as the words in messages need it.
pub fn many(word: &str) -> String {
    match word.as_bytes() {
        [.., b's' | b'x'] | [.., b'c' | b's', b'h'] => format!("{word}es"),
        [.., c, b'y'] if !b"aeiou".contains(c) => format!("{}ies", word.trim_end_matches('y')),
        _ => format!("{word}s"),
    }
}

/// `ReplicaSet` is "replica set", `PersistentVolumeClaim` "volume claim".
fn kind_word(kind: &str) -> String {
    match kind {
        "PersistentVolumeClaim" => return "volume claim".into(),
        "" => return "object".into(),
        _ => {}
    }
    let mut out = String::with_capacity(kind.len() + 2);
    for (i, c) in one_line(kind, 60).chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// `1st`, `2nd`, `3rd`, `11th`.
pub fn ordinal(n: u32) -> String {
    let suffix = match (n % 10, n % 100) {
        (1, r) if r != 11 => "st",
        (2, r) if r != 12 => "nd",
        (3, r) if r != 13 => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

/// Joins what is not empty.
pub fn join(parts: &[&str], separator: &str) -> String {
    let mut out = String::new();
    for part in parts.iter().filter(|p| !p.is_empty()) {
        if !out.is_empty() {
            out.push_str(separator);
        }
        out.push_str(part);
    }
    out
}

/// `a, b, c and 9 more`.
pub fn list<'a>(names: impl Iterator<Item = &'a str>, shown: usize, total: usize) -> String {
    let mut out = String::new();
    let mut n = 0;
    for name in names.take(shown) {
        if n > 0 {
            out.push_str(", ");
        }
        out.push_str(&one_line(name, 260));
        n += 1;
    }
    if total > n {
        let more = total - n;
        if n == 0 {
            return format!("{more}");
        }
        // Writing to a String cannot fail.
        write!(out, " and {more} more").ok();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_two_units() {
        let shown: Vec<_> = [0, 45, 60, 308, 3600, 7500, 100_000, 86_400, -5].map(duration).into();
        assert_eq!(shown, ["0s", "45s", "1m", "5m 8s", "1h", "2h 5m", "1d 3h", "1d", "0s"]);
        let sizes: Vec<_> = [20, 60, 250, 5399, 5400, 90_000, 200_000].map(about).into();
        assert_eq!(sizes, ["20 s", "1 min", "4 min", "90 min", "2 h", "25 h", "2 days"]);
    }

    #[test]
    fn words_are_counted() {
        assert_eq!(objects(1, "Pod"), "1 pod");
        assert_eq!(objects(3, "ReplicaSet"), "3 replica sets");
        assert_eq!(objects(2, "PersistentVolumeClaim"), "2 volume claims");
        assert_eq!(plural(2, "entry"), "2 entries");
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 21, 101].map(ordinal),
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "101st"]
        );
        assert_eq!(list(["a", "b", "c"].into_iter(), 2, 12), "a, b and 10 more");
    }

    #[test]
    fn one_line_keeps_to_one_line() {
        assert_eq!(one_line(" a\r\nb\t\u{202e}c\u{0}d ", 100), "a b c d");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(one_line(&"x".repeat(1_000_000), 300).chars().count(), 300);
    }

    #[test]
    fn moments_show_the_day_where_it_is_another() {
        let now: Timestamp = "2026-02-03T08:10:00Z".parse().unwrap();
        assert_eq!(since("2026-02-03T08:06:24Z".parse().unwrap(), now), "since 08:06:24 UTC (4 min)");
        assert_eq!(since("2026-02-01T08:06:24Z".parse().unwrap(), now), "since 1 Feb 08:06 UTC (2 days)");
        assert_eq!(moment("2025-12-31T08:06:24Z".parse().unwrap(), now), "2025-12-31 08:06 UTC");
    }
}
