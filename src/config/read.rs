//! Walks a tree and collects what is wrong with it, instead of stopping at the first error.
//!
//! Every method answers `None` where the node is not what was asked for, and has then said why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::bytes;
use super::duration::{self, DurationError};
use super::error::{At, Diagnostic, Diagnostics, Level};
use super::load::read_text;
use super::raw::{Node, Source, Span, Value};
use super::suggest;

/// One file being walked.
#[derive(Debug)]
pub struct Reader {
    source: Arc<Source>,
    found: Diagnostics,
    /// Other files that this one names: path, and text where it could be read.
    named: Vec<(PathBuf, Option<String>)>,
    now: Timestamp,
}

impl Reader {
    /// Walks a file; what is wrong is added to what was found before. What is past at `now` gets a warning.
    #[must_use]
    pub const fn new(source: Arc<Source>, found: Diagnostics, now: Timestamp) -> Self {
        Self { source, found, named: Vec::new(), now }
    }

    /// When the file is read.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// What was found before and in this file.
    #[must_use]
    pub fn into_found(self) -> Diagnostics {
        self.found
    }

    /// Reads a file that this one names.
    pub fn file(&mut self, path: &Path) -> Result<String, String> {
        let text = read_text(path);
        self.named.push((path.to_owned(), text.as_ref().ok().cloned()));
        text
    }

    /// The files read by [`Self::file`].
    pub fn take_named(&mut self) -> Vec<(PathBuf, Option<String>)> {
        std::mem::take(&mut self.named)
    }

    /// Adds what was found in another file that this one names.
    pub fn absorb(&mut self, found: &Diagnostics) {
        for diagnostic in found.iter() {
            self.found.push(diagnostic.clone());
        }
    }

    /// A place, to be kept for errors that are found later.
    #[must_use]
    pub fn at(&self, span: Span) -> At {
        At { source: self.source.clone(), span }
    }

    #[must_use]
    pub const fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Adds an error: what is wrong, what is said under the place, and what to do.
    pub fn error(&mut self, span: Span, message: impl Into<String>, label: &str, help: Option<&str>) {
        self.add(Level::Error, span, message.into(), label, help);
    }

    pub fn warn(&mut self, span: Span, message: impl Into<String>, label: &str, help: Option<&str>) {
        self.add(Level::Warning, span, message.into(), label, help);
    }

    fn add(&mut self, level: Level, span: Span, message: String, label: &str, help: Option<&str>) {
        let mut diagnostic = Diagnostic::at(level, &self.at(span), message);
        if !label.is_empty() {
            diagnostic = diagnostic.label(label);
        }
        if let Some(help) = help {
            diagnostic = diagnostic.help(help);
        }
        self.found.push(diagnostic);
    }

    /// What a node is, for messages; never a secret.
    #[must_use]
    pub fn show(&self, node: &Node) -> String {
        match &node.value {
            Value::Null => "nothing".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
            Value::Text { text, .. }
                if self.source.is_masked(node.span)
                    || node.origin.is_some_and(|o| self.source.is_masked(o)) =>
            {
                let _ = text;
                "a text".into()
            }
            Value::Text { text, .. } => format!("`{}`", crate::signal::text::cut(text, 60)),
        }
    }

    /// Says that a node is not what was expected.
    pub fn expected(&mut self, node: &Node, what: &str, help: Option<&str>) {
        let found = self.show(node);
        self.error(node.span, format!("expected {what}, found {found}"), "", help);
    }

    pub fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<Map<'n>> {
        if let Value::Map(entries) = &node.value {
            Some(Map { span: node.span, entries, known: Vec::new() })
        } else {
            self.expected(node, what, None);
            None
        }
    }

    /// A list; nothing is an empty one.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            Value::Null => Some(&[]),
            _ => {
                self.expected(node, what, None);
                None
            }
        }
    }

    /// A list, or one value in place of a list of one.
    pub fn one_or_more<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.value {
            Value::List(items) => {
                if items.is_empty() {
                    self.error(node.span, "this list is empty", "nothing can match it", None);
                }
                items
            }
            _ => std::slice::from_ref(node),
        }
    }

    /// A text that is not empty. Any scalar is text: `404` and `no` are what was written.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Text { text, .. } if !text.trim().is_empty() => Some(text),
            Value::Text { .. } => {
                self.error(node.span, "expected a text, found an empty one", "", None);
                None
            }
            _ => {
                self.expected(node, "a text", None);
                None
            }
        }
    }

    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Text { text, plain: true } if text == "true" => Some(true),
            Value::Text { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.expected(node, "`true` or `false`", None);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn int(&mut self, node: &Node, least: i64, most: i64) -> Option<i64> {
        let number = match &node.value {
            Value::Text { text, plain: true } => text.parse::<i64>().ok(),
            _ => None,
        };
        let number = number.filter(|n| (least..=most).contains(n));
        if number.is_none() {
            self.expected(node, &format!("a whole number from {least} to {most}"), None);
        }
        number
    }

    /// A count of at least one.
    pub fn count(&mut self, node: &Node, most: u32) -> Option<u32> {
        self.int(node, 1, i64::from(most)).and_then(|n| u32::try_from(n).ok())
    }

    /// A size in bytes within bounds.
    pub fn bytes(&mut self, node: &Node, (least, most): (u64, u64)) -> Option<u64> {
        let size = match &node.value {
            Value::Text { text, .. } => bytes::parse(text).ok(),
            _ => None,
        };
        let size = size.filter(|size| (least..=most).contains(size));
        if size.is_none() {
            let what = format!("a size from `{}` to `{}`", bytes::written(least), bytes::written(most));
            self.expected(node, &what, Some(bytes::HELP));
        }
        size
    }

    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        let Value::Text { text, .. } = &node.value else {
            self.expected(node, "a duration", Some(duration::HELP));
            return None;
        };
        match duration::parse(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let found = self.show(node);
                let help = match error {
                    DurationError::Unit if text.bytes().all(|b| b.is_ascii_digit()) => {
                        format!("write `{text}s` for seconds or `{text}m` for minutes")
                    }
                    _ => duration::HELP.into(),
                };
                self.error(
                    node.span,
                    format!("expected a duration, found {found}"),
                    &error.to_string(),
                    Some(&help),
                );
                None
            }
        }
    }

    /// A duration that is not zero.
    pub fn span_of_time(&mut self, node: &Node) -> Option<Duration> {
        let duration = self.duration(node)?;
        if duration.is_zero() {
            self.error(node.span, "this must be longer than zero", "", None);
            return None;
        }
        Some(duration)
    }

    /// One name of a closed list.
    pub fn choice<T: Copy>(&mut self, node: &Node, what: &str, names: &[(&str, T)]) -> Option<T> {
        let text = self.text(node)?;
        let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let shown = self.show(node);
            let all = || names.iter().map(|(name, _)| *name);
            let help = suggest::nearest(text, all())
                .map_or_else(|| format!("expected one of {}", suggest::join(all())), did_you_mean);
            self.error(node.span, format!("{shown} is not {what}"), "", Some(&help));
        }
        found
    }
}

/// The help for a typing error.
#[must_use]
pub fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// A mapping being walked: every key asked for is known, and the others are errors in the end.
#[derive(Debug)]
pub struct Map<'n> {
    pub span: Span,
    entries: &'n [(Node, Node)],
    known: Vec<&'static str>,
}

impl<'n> Map<'n> {
    /// The value of a key, if it is given.
    pub fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.entries.iter().find(|(k, _)| key_text(k) == key).map(|(_, value)| value)
    }

    /// The value of a key, read; `None` if it is absent or wrong.
    pub fn get<T>(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
        read: impl FnOnce(&mut Reader, &'n Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.take(key)?;
        read(reader, node)
    }

    /// The value of a key that must be there.
    pub fn require<T>(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
        read: impl FnOnce(&mut Reader, &'n Node) -> Option<T>,
    ) -> Option<T> {
        if let Some(node) = self.take(key) {
            read(reader, node)
        } else {
            reader.error(self.head(), format!("`{key}` is missing"), "in this mapping", None);
            None
        }
    }

    /// Where a key is written.
    #[must_use]
    pub fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(k, _)| key_text(k) == key).map(|(k, _)| k.span)
    }

    /// Is the key given?
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.key_span(key).is_some()
    }

    /// Is there a key that nobody has asked for? What seems to be missing may be misspelt then, and
    /// [`Self::finish`] says so.
    #[must_use]
    pub fn has_strays(&self) -> bool {
        self.entries().any(|(key, ..)| !self.known.contains(&key))
    }

    /// All entries, for mappings with names of the user's own.
    pub fn entries(&self) -> impl Iterator<Item = (&'n str, &'n Node, &'n Node)> {
        self.entries.iter().map(|(key, value)| (key_text(key), key, value))
    }

    /// The first line of the mapping: pointing at all of it would point at half the file.
    #[must_use]
    pub fn head(&self) -> Span {
        self.entries.first().map_or(self.span, |(key, _)| key.span)
    }

    /// Reports the keys nobody asked for.
    pub fn finish(self, reader: &mut Reader, what: &str) {
        for (key, node, _) in self.entries() {
            if self.known.contains(&key) {
                continue;
            }
            let absent = || self.known.iter().copied().filter(|name| !self.has(name));
            let help = match suggest::nearest(key, absent()) {
                Some(name) => did_you_mean(name),
                None if self.known.len() == 1 => {
                    format!("the only key is {}", suggest::join(self.known.iter().copied()))
                }
                None => format!("the keys are {}", suggest::join(self.known.iter().copied())),
            };
            let shown = reader.show(node);
            reader.error(node.span, format!("unknown key {shown} in {what}"), "", Some(&help));
        }
    }
}

fn key_text(key: &Node) -> &str {
    if let Value::Text { text, .. } = &key.value { text } else { "" }
}
