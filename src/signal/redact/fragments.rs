//! Parts of secrets, where the rest is out of sight: what only the end of a log can show.

use std::borrow::Cow;

use super::MASK;

/// A line of a key in base64 is at least so long (PEM has 64, others 76).
const KEY_LINE: usize = 40;

/// Masks lines that are the inside of a key whose beginning is missing: words in base64, as long and
/// as mixed as no name is, and the lines around that belong to them.
pub fn fragments(text: &str) -> Cow<'_, str> {
    if !text.lines().any(|line| dense(word(line))) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut masked = vec![false; lines.len()];
    let mut from = 0;
    while from < lines.len() {
        let run = lines.iter().skip(from).take_while(|line| base64(word(line))).count();
        if lines.iter().skip(from).take(run).any(|line| dense(word(line))) {
            // The last line of a key is shorter than the others.
            let last = lines.get(from + run).is_some_and(|line| in_alphabet(line.trim()));
            masked.iter_mut().skip(from).take(run + usize::from(last)).for_each(|m| *m = true);
        }
        from += run.max(1);
    }
    let lines = lines.iter().zip(masked).map(|(line, masked)| {
        let before = masked.then(|| line.trim_end().strip_suffix(word(line))).flatten();
        before.map_or(Cow::Borrowed(*line), |before| Cow::Owned(format!("{before}{MASK}")))
    });
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

/// The last word of a line: loggers write time, level and name in front.
fn word(line: &str) -> &str {
    line.split_whitespace().next_back().unwrap_or_default()
}

/// Without the quotes, commas and escaped line ends of source code and JSON.
fn bare(word: &str) -> &str {
    let word = word.trim_matches(['"', '\'', ',', ';', '`']);
    word.strip_suffix("\\n").or_else(|| word.strip_suffix("\\r\\n")).unwrap_or(word)
}

fn in_alphabet(word: &str) -> bool {
    let word = bare(word);
    !word.is_empty()
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_'))
}

fn base64(word: &str) -> bool {
    bare(word).len() >= KEY_LINE && in_alphabet(word)
}

/// Random bytes in base64, as far as can be seen: no path, no digest in hex, no name in capitals.
fn dense(word: &str) -> bool {
    if !base64(word) {
        return false;
    }
    let word = bare(word);
    let count = |kind: fn(&u8) -> bool| word.bytes().filter(kind).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let (digits, slashes) = (count(u8::is_ascii_digit), count(|b| *b == b'/'));
    let n = word.len();
    upper * 5 >= n && lower * 5 >= n && digits * 25 >= n && slashes <= 2 + n / 16
}
