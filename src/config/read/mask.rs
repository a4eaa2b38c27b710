//! What must never be shown of a file: a frame around some other mistake would otherwise print the
//! token that stands in the same line.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::node::{Node, Value};

/// Is what stands under this key a secret? Also keys that kubeherald does not know: people write
/// `api_token` before they read what it is called.
fn is_secret(key: &str) -> bool {
    const PARTS: &[&str] = &[
        "token",
        "password",
        "passwd",
        "secret",
        "bearer",
        "authorization",
        "webhook_url",
        "api_key",
        "apikey",
        "cookie",
    ];
    let key = key.to_ascii_lowercase().replace('-', "_");
    key == "url" || key == "key" || PARTS.iter().any(|part| key.contains(part))
}

/// Texts that are secrets wherever they stand. A pattern that does not compile is caught by a test.
static SHAPES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"xox[a-z]-[^\s"',}\]]+|xapp-[^\s"',}\]]+|https?://hooks\.slack\.com/[^\s"',}\]]+|://[^\s"'/@]+:[^\s"'/@]+@|(?i:bearer|basic) +[A-Za-z0-9._~+/=-]{8,}"#,
    )
    .ok()
});

/// A key and what follows it in a line.
static KEYS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"["']?([A-Za-z0-9_.-]+)["']?[ \t]*:([ \t]|$)"#).ok());

/// The secrets of a tree: every scalar under a secret key, but the names in `{env: …}` and
/// `{file: …}`; and everything that looks like one.
///
/// `dropped` are entries that were written but are not part of the tree, as keys given twice.
pub fn by_tree(root: &Node, dropped: &[(Node, Node)], text: &str) -> Vec<Range<usize>> {
    let mut masks = shapes(text);
    walk(root, false, text, &mut masks);
    for entry in dropped {
        // Perhaps it stood where a secret was wanted: `token: {env: A, env: …}`.
        let name = entry.0.text();
        entry_walk(entry, is_secret(name) || matches!(name, "env" | "file"), text, &mut masks);
    }
    masks
}

/// Masks what stands between a key and the end of its value, tags and anchors included; of a
/// collection only what stands before it.
fn entry_walk((key, value): &(Node, Node), secret: bool, text: &str, masks: &mut Vec<Range<usize>>) {
    if secret {
        let end = match value.value {
            Value::List(_) | Value::Map(_) => value.span.start,
            Value::Null | Value::Text { .. } => value.span.end,
        };
        let between = text.get(key.span.end..end).unwrap_or_default();
        let kept = between.trim_start_matches(|c: char| c == ':' || c.is_whitespace());
        masks.push(end - kept.len()..end);
    }
    walk(value, secret, text, masks);
}

fn walk(node: &Node, secret: bool, text: &str, masks: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Null => {}
        Value::Text { .. } => {
            if secret {
                masks.push(node.span.start..node.span.end);
                masks.extend(node.origin.map(|origin| origin.start..origin.end));
            }
        }
        Value::List(items) => items.iter().for_each(|item| walk(item, secret, text, masks)),
        Value::Map(entries) => {
            for entry in entries {
                let (key, value) = entry;
                let name = key.text();
                let is_text = matches!(value.value, Value::Text { .. });
                let reference = secret && is_text && matches!(name, "env" | "file");
                // `secret: {file: …}` under `sign` is a mapping of known words; `token: {xoxb-…}`
                // is a secret that became a key.
                if secret && !reference && !is_secret(name) {
                    walk(key, true, text, masks);
                }
                entry_walk(entry, !reference && (secret || is_secret(name)), text, masks);
            }
        }
    }
}

/// The secrets of a text that is no YAML: the rest of each line after a secret key, and deeper
/// lines below it.
pub fn by_line(text: &str) -> Vec<Range<usize>> {
    let mut masks = shapes(text);
    let mut below: Option<usize> = None;
    let mut start = 0;
    for line in text.split('\n') {
        let indent = line.len() - line.trim_start().len();
        let blank = line.trim().is_empty();
        let has_key = KEYS.as_ref().is_none_or(|keys| keys.is_match(line));
        if below.is_some_and(|above| blank || indent > above || !has_key) {
            masks.push(start + indent..start + line.len());
        } else {
            below = None;
            let keys = KEYS.iter().flat_map(|keys| keys.captures_iter(line));
            let found = keys.filter_map(|found| Some((found.get(0)?.end(), found.get(1)?.as_str())));
            if let Some((end, _)) = found.into_iter().find(|(_, key)| is_secret(key)) {
                masks.push(start + end..start + line.len());
                below = Some(indent);
            }
        }
        start += line.len() + 1;
    }
    masks
}

fn shapes(text: &str) -> Vec<Range<usize>> {
    SHAPES.iter().flat_map(|shapes| shapes.find_iter(text)).map(|found| found.range()).collect()
}

/// Replaces each masked byte by a star, so that all other places stay where they are. Line feeds
/// stay too.
pub fn apply(text: &str, masks: &[Range<usize>]) -> String {
    if masks.is_empty() {
        return text.to_owned();
    }
    let mut masks: Vec<&Range<usize>> = masks.iter().collect();
    masks.sort_by_key(|mask| mask.start);
    let mut masks = masks.into_iter().peekable();
    let mut until = 0;
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        while let Some(mask) = masks.next_if(|mask| mask.start <= at) {
            until = until.max(mask.end);
        }
        if at < until && !matches!(c, '\n' | '\r') {
            shown.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::node::Span;
    use super::super::source::Source;
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let (source, _, _) = Source::parse(Path::new("x.yaml"), text);
        let mut start = 0;
        text.split('\n')
            .map(|line| {
                let place = source.place(Span { start, end: start }).text.to_owned();
                start += line.len() + 1;
                place
            })
            .collect()
    }

    #[test]
    fn the_patterns_compile() {
        assert!(SHAPES.is_some() && KEYS.is_some());
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for text in [
            "slack: {token: hunter2, chanel: x}",
            "slack: {'token': \"hunter2\"}",
            "token:\n  - hunter2\n  - {hunter2: 1}",
            "token: {value: hunter2}",
            "token: {hunter2}",
            "smtp: {password: |\n  hunter2\n  hunter2}",
            "a: &x hunter2\npassword: *x",
            "headers: {Authorization: Bearer hunter2}",
            "api-token: hunter2",
            "note: xoxb-hunter2",
            "note: see https://hooks.slack.com/services/T/hunter2",
            "note: https://me:hunter2@example.com",
            // Not YAML at all:
            "slack: {token: hunter2",
            "slack:\n\ttoken: hunter2",
            "password: \"hunter2\nsecond: hunter\n",
            "password: |\n  x\n  hunter2\n: ]",
            "password: *hunter2",
            "{token:\nhunter2",
            // Written, but not part of the tree:
            "token: {env: A}\ntoken: hunter2",
            "token: {env: A, env: hunter2}",
            "a: b\n---\ntoken: hunter2",
            "token: !hunter2 x",
            "token: !hunter2 [x]",
            "token: &hunter2 x",
            "token: !hunter2",
        ] {
            let shown = shown(text).join("\n");
            assert!(!shown.contains("hunter2"), "{text:?} shows {shown:?}");
        }
    }

    #[test]
    fn references_and_everything_else_stay_readable() {
        for text in [
            "token: {env: SLACK_TOKEN}",
            "sign: {secret: {file: /etc/secret}}",
            "rules: [{name: a, for: 5m}]",
            "channel: '#alerts' # ünïcode",
        ] {
            assert_eq!(shown(text).join("\n"), text);
        }
    }
}
