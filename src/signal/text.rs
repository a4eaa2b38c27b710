//! Text from the cluster: cut, cleaned and described.

use std::borrow::Cow;
use std::sync::Arc;

/// The longest explaining text kept of one Event, condition or termination message, in bytes.
/// core/v1 Events have no limit of their own
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go>).
pub const MAX_TEXT: usize = 2048;

/// The mark at the end of text that was cut.
pub const CUT: char = '…';
/// What stands in the place of a character that must not be shown.
pub const REPLACED: char = '\u{fffd}';

/// Cuts `text` to at most `max` bytes at a character boundary and marks the cut.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let mut end = max.saturating_sub(CUT.len_utf8());
    while end > 0 && !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = text.get(..end).unwrap_or_default().trim_end().to_owned();
    out.push(CUT);
    Cow::Owned(out)
}

/// Characters without a shape of their own: zero width, line and paragraph separators, and
/// bidirectional marks and overrides, which make a terminal or a mail show something else than what
/// is there.
pub const fn is_hidden(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Replaces control characters (other than line feed and tab) and [hidden ones](is_hidden), masks
/// [secrets](super::redact), and cuts. All messages from the cluster come in here.
pub fn clean(text: &str) -> Arc<str> {
    // A termination message may be the end of a log, colours and all. A secret that is coloured
    // inside, or cut, does not look like one: first this, then masked, then cut.
    let text = if text.contains('\u{1b}') { super::log::plain(text) } else { Cow::Borrowed(text) };
    let text = super::redact::redact(text.trim());
    let text = &*text;
    let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_hidden(c);
    if text.contains(bad) {
        let cleaned: String = text.chars().map(|c| if bad(c) { REPLACED } else { c }).collect();
        Arc::from(cut(&cleaned, MAX_TEXT))
    } else {
        Arc::from(cut(text, MAX_TEXT))
    }
}

/// The name of the signal behind exit code 128 + n, for the ones a container meets.
pub const fn signal_name(code: i32) -> Option<&'static str> {
    Some(match code - 128 {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_keeps_characters_whole_and_marks() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("ääääää", 8), "ää…");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn clean_takes_control_and_bidi_characters_out() {
        assert_eq!(&*clean("  a\u{7}b\u{202e}c\n\td "), "a\u{fffd}b\u{fffd}c\n\td");
        assert_eq!(
            &*clean("\u{1b}[31mpanic\u{1b}[0m: pass\u{1b}[1mword=hunter2"),
            "panic: password=[masked]"
        );
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(137), Some("SIGKILL"));
        assert_eq!(signal_name(139), Some("SIGSEGV"));
        assert_eq!(signal_name(1), None);
    }
}
