//! One file while it is read: collects what is wrong with it, instead of stopping at the first error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{At, Diagnostic, Diagnostics, Level, TAB};
use super::files::read_text;
use super::node::{Node, Span, Value};
use super::source::{Problem, Source};
use crate::notify::Secret;

/// One file being walked.
#[derive(Debug)]
pub struct Reader {
    source: Arc<Source>,
    found: Diagnostics,
    /// Other files that this one names: path, and text where it could be read.
    named: Vec<(PathBuf, Option<String>)>,
    /// Names that are looked up when all files are read.
    pub references: References,
}

/// Names that files use and other files may define, with their places.
#[derive(Debug, Default)]
pub struct References {
    /// The receivers that a file defines, also those with errors.
    pub defined: Vec<(Arc<str>, At)>,
    pub receivers: Vec<(Arc<str>, At)>,
    pub rules: Vec<(Arc<str>, At)>,
    /// Where secrets are.
    pub secrets: Vec<SecretAt>,
    /// The receiver that is being read.
    pub receiver: Option<Arc<str>>,
}

/// A secret that a file names.
#[derive(Debug, Clone)]
pub struct SecretAt {
    pub secret: Secret,
    pub at: At,
    /// Whose it is; `None`: of no receiver.
    pub receiver: Option<Arc<str>>,
}

/// Parses a file. What is wrong with it as YAML is added to `found`.
pub fn parse(path: &Path, text: &str, found: &mut Diagnostics) -> (Arc<Source>, Option<Node>) {
    let (source, root, problems) = Source::parse(path, text);
    let source = Arc::new(source);
    for Problem { span, message, help, .. } in problems {
        let at = At { source: Arc::clone(&source), span };
        found.push(Diagnostic { help, ..Diagnostic::at(Level::Error, &at, message) });
    }
    (source, root)
}

/// What to write where a value begins with `#`. `rest` is what follows the key in its line.
pub(super) fn hash_help(rest: &str) -> Option<String> {
    let value = rest.trim_start_matches([':', ' ', '\t']);
    let word: String = value.chars().take_while(|c| !c.is_whitespace() && !",}]\"".contains(*c)).collect();
    let is_value = word.starts_with('#') && word.chars().nth(1).is_some_and(char::is_alphanumeric);
    is_value.then(|| format!("`#` begins a comment: write `\"{word}\"`, in quotes"))
}

impl Reader {
    /// What is wrong is added to what was found before.
    pub fn new(source: Arc<Source>, found: Diagnostics) -> Self {
        Self { source, found, named: Vec::new(), references: References::default() }
    }

    /// The directory that paths in the file are relative to.
    pub fn directory(&self) -> &Path {
        self.source.path().parent().unwrap_or_else(|| Path::new(""))
    }

    /// What was found before and in this file.
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

    /// What was found so far, to add what is wrong in another file that this one names.
    pub const fn found(&mut self) -> &mut Diagnostics {
        &mut self.found
    }

    /// A place, to be kept for errors that are found later.
    pub fn at(&self, span: Span) -> At {
        At { source: self.source.clone(), span }
    }

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
    pub fn show(&self, node: &Node) -> String {
        match &node.value {
            Value::Null => "nothing".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
            Value::Text { .. }
                if self.source.is_masked(node.span)
                    || node.origin.is_some_and(|origin| self.source.is_masked(origin)) =>
            {
                "a text".into()
            }
            Value::Text { text, .. } => {
                format!("`{}`", crate::signal::text::cut(text, 60).replace('\t', TAB))
            }
        }
    }

    /// Says that a node is not what was expected.
    pub fn expected(&mut self, node: &Node, what: &str, help: Option<&str>) {
        let found = self.show(node);
        let comment = self.comment(node);
        let help = comment.as_deref().or(help);
        self.error(node.span, format!("expected {what}, found {found}"), "", help);
    }

    /// What to do about `channel: #alerts`, which is a comment to YAML.
    fn comment(&self, node: &Node) -> Option<String> {
        let place = matches!(node.value, Value::Null).then(|| self.source.place(node.span))?;
        hash_help(place.text.get(place.part.end..)?)
    }

    /// The entries of a mapping.
    pub fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Node, Node)]> {
        if let Value::Map(entries) = &node.value {
            Some(entries)
        } else {
            self.expected(node, what, None);
            None
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
}
