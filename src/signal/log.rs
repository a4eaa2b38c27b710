//! The last lines of a container's log, made fit to be shown: of the right run, without secrets,
//! without what moves a terminal's cursor, and no longer than asked for.
//!
//! Pure. `watch::logs` reads more lines than are shown: a secret of several lines is recognised by
//! its beginning, which may lie before the first line shown.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::redact::{self, Redactor};
use super::text::{self, CUT};

/// How much of a log is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTail {
    /// At most so many lines, 1 to [`Self::MAX_LINES`].
    pub lines: u32,
    /// At most so many bytes, [`Self::MIN_BYTES`] to [`Self::MAX_BYTES`].
    pub bytes: u32,
}

impl LogTail {
    pub const MAX_LINES: u32 = 100;
    /// The fewest bytes: less is no line.
    pub const MIN_BYTES: u32 = 100;
    /// The most bytes; what chats and mails hold beside the rest of a message.
    pub const MAX_BYTES: u32 = 4000;

    /// How many lines are read: some more than shown, see the [module](self). A 4096 bit key in PEM
    /// has 52.
    pub const fn to_read(self) -> u32 {
        self.lines + 60
    }
}

impl Default for LogTail {
    fn default() -> Self {
        Self { lines: 20, bytes: 2048 }
    }
}

/// So much of the end of a log is looked at, in bytes, time stamps included.
pub const WINDOW: usize = 2 * redact::MAX_INPUT;

/// More of one line is not looked at; a quarter of it is shown at most.
const MAX_LINE: usize = 4096;

/// When the run was whose log is wanted, as its status tells: in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Why there is nothing to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTail {
    /// The run wrote nothing.
    Empty,
    /// Not every line has its time in front: this is no log.
    NoLog,
    /// The lines are of another run, or it cannot be told.
    OtherRun,
}

/// Reads the end of a log with the time in front of each line (RFC 3339, as the kubelet writes it
/// for `timestamps=true`). `cut`: what came before `bytes` was dropped, maybe in the middle of a line.
pub fn read(
    bytes: &[u8],
    cut: bool,
    run: Span,
    wanted: LogTail,
    redactor: &Redactor,
) -> Result<Arc<str>, NoTail> {
    let all = String::from_utf8_lossy(bytes);
    let mut lines = all.lines();
    if cut {
        // Its beginning is not here: it may begin in the middle of a secret.
        lines.next();
    }
    let mut contents = String::with_capacity(all.len());
    let mut first = None;
    for line in lines.filter(|line| !line.is_empty()) {
        let (at, content) = line.split_once(' ').unwrap_or((line, ""));
        let at: Timestamp = at.parse().map_err(|_| NoTail::NoLog)?;
        first.get_or_insert(at);
        for part in plain(content).split('\n') {
            contents.push_str(&whole_words(part));
            contents.push('\n');
        }
    }
    let first = first.ok_or(if cut { NoTail::NoLog } else { NoTail::Empty })?;
    // A second for what the status cut off. A later run begins after this one has ended: then even
    // its first line is later. An earlier one ended before this began.
    let second = SignedDuration::from_secs(1);
    if first < run.from.saturating_sub(second).unwrap_or(Timestamp::MIN)
        || first >= run.to.saturating_add(second).unwrap_or(Timestamp::MAX)
    {
        return Err(NoTail::OtherRun);
    }
    let masked = redactor.redact(last_bytes(contents.trim_end_matches('\n'), redact::MAX_INPUT));
    let masked = redact::fragments(&masked);
    let shown = last_lines(masked.trim_end(), wanted);
    if shown.trim().is_empty() { Err(NoTail::Empty) } else { Ok(Arc::from(shown)) }
}

/// The beginning of a long line. Its last word goes: cut, a secret does not look like one.
fn whole_words(line: &str) -> Cow<'_, str> {
    if line.len() <= MAX_LINE {
        return Cow::Borrowed(line);
    }
    let cut = text::cut(line, MAX_LINE);
    let words = cut.trim_end_matches(|c: char| !c.is_whitespace());
    Cow::Owned(format!("{words}{CUT}"))
}

/// Whole lines of the end.
fn last_bytes(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut from = text.len() - max;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let end = text.get(from..).unwrap_or_default();
    end.split_once('\n').map_or("", |(_, whole)| whole)
}

/// The last lines, long ones cut; a mark in front where there was room for fewer than asked for.
fn last_lines(text: &str, wanted: LogTail) -> String {
    let max = usize::try_from(wanted.bytes).unwrap_or(usize::MAX);
    let many = usize::try_from(wanted.lines).unwrap_or(usize::MAX);
    let mut left = max.saturating_sub(CUT.len_utf8() + 1);
    // One long line must not take the place of all others.
    let longest = (max / 4).max(240).min(left);
    let mut shown: Vec<Cow<'_, str>> = Vec::new();
    let mut lines = text.lines().rev();
    for line in lines.by_ref().take(many) {
        let line = text::cut(line.trim_end(), longest);
        if line.len() + 1 > left && !shown.is_empty() {
            shown.push(Cow::Owned(CUT.to_string()));
            break;
        }
        left = left.saturating_sub(line.len() + 1);
        shown.push(line);
    }
    shown.reverse();
    let blank = shown.iter().take_while(|line| line.is_empty()).count();
    shown.drain(..blank);
    shown.join("\n")
}

/// Takes out what does not show: terminal sequences, control characters, and characters without
/// width. A secret with one of them inside would not be recognised. A lone carriage return ends a line.
pub fn plain(text: &str) -> Cow<'_, str> {
    let shows = |c: char| (!c.is_control() || c == '\t' || c == '\n') && !hidden(c);
    if text.chars().all(shows) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                let kind = chars.next_if(|c| ('\u{20}'..='\u{7e}').contains(c));
                match kind {
                    Some('[') => skip_control(&mut chars),
                    Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                    // Intermediate characters, then one that ends it.
                    Some(' '..='/') => {
                        while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
                        chars.next_if(|c| ('0'..='~').contains(c));
                    }
                    _ => {}
                }
            }
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            c if shows(c) => out.push(c),
            _ => {}
        }
    }
    Cow::Owned(out)
}

type Chars<'t> = std::iter::Peekable<std::str::Chars<'t>>;

/// The rest of a control sequence: ECMA-48, 5.4.
fn skip_control(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// The rest of a control string, to its terminator: ECMA-48, 5.6. One without ends with its line.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{07}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// Characters that take no place, and those that turn the direction of text.
const fn hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests;
