//! Everything that is wrong with what was written: all of it at once, each with file, line and a
//! frame of the source, with secrets masked.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level as Title, Origin, Renderer, Snippet};

use super::node::Span;
use super::source::Source;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but probably does not do what was meant.
    Warning,
}

/// A line of source, with a part of it pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    text: String,
    /// The part, in bytes of `text`.
    part: Range<usize>,
    /// Said under the part.
    label: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Level,
    /// Where: the file as it was named by the user.
    pub file: PathBuf,
    /// From 1; 0 where it is about the file as a whole.
    pub line: usize,
    /// In characters, from 1; 0 where it is about the file as a whole.
    pub column: usize,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The place; absent for whole files and for very long lines.
    pub frame: Option<Frame>,
}

/// How a tab is shown in a frame.
pub const TAB: &str = "→";
/// Lines longer than this, in bytes, are named but not shown.
const MAX_LINE: usize = 400;

impl Diagnostic {
    /// About a file as a whole.
    pub fn file(severity: Level, file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            help: None,
            frame: None,
        }
    }

    /// About a place in a file. The part pointed at ends with its first line.
    pub fn at(severity: Level, at: &At, message: impl Into<String>) -> Self {
        let place = at.source.place(at.span);
        let frame = (place.text.len() <= MAX_LINE).then(|| {
            let (text, part) = visible_tabs(place.text, place.part);
            Frame { text, part, label: None }
        });
        Self {
            line: place.line,
            column: place.column,
            frame,
            ..Self::file(severity, at.source.path(), message)
        }
    }

    /// Says something under the part pointed at.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(frame) = &mut self.frame {
            frame.label = Some(label.into());
        }
        self
    }

    /// Says what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with its frame, ready to print; no line feed at the end.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let level = match self.severity {
            Level::Error => Title::ERROR,
            Level::Warning => Title::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let path = self.file.to_string_lossy();
        let mut group = match &self.frame {
            Some(frame) => title.element(
                Snippet::source(frame.text.as_str()).line_start(self.line).path(path.as_ref()).annotation(
                    AnnotationKind::Primary.span(frame.part.clone()).label(frame.label.as_deref()),
                ),
            ),
            None if self.line > 0 => {
                title.element(Origin::path(path.as_ref()).line(self.line).char_column(self.column))
            }
            None => title.element(Origin::path(path.as_ref())),
        };
        if let Some(help) = &self.help {
            group = group.element(Title::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

/// Tabs as [`TAB`], so that they can be told from spaces; the part moves with what becomes longer before it.
fn visible_tabs(text: &str, part: Range<usize>) -> (String, Range<usize>) {
    let moved = |at: usize| at + (TAB.len() - 1) * text.get(..at).unwrap_or_default().matches('\t').count();
    (text.replace('\t', TAB), moved(part.start)..moved(part.end))
}

/// A place in a file.
#[derive(Debug, Clone)]
pub struct At {
    pub source: Arc<Source>,
    pub span: Span,
}

impl At {
    /// From 1.
    pub fn line(&self) -> usize {
        self.source.place(self.span).line
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.source.place(self.span);
        write!(f, "{}:{}", self.source.path().display(), place.line)
    }
}

/// All that is wrong, in order of files and lines.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    /// Found past [`Self::MAX`].
    more: usize,
}

impl Diagnostics {
    /// At most this many are kept; the rest is counted. A file of nonsense is one problem.
    pub const MAX: usize = 100;

    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.found.len() < Self::MAX || diagnostic.severity == Level::Error && !self.has_errors() {
            self.found.push(diagnostic);
        } else {
            self.more += 1;
        }
    }

    /// Adds what was found elsewhere.
    pub fn append(&mut self, other: Self) {
        self.more += other.more;
        for diagnostic in other.found {
            self.push(diagnostic);
        }
    }

    /// Adds an error about a place.
    pub fn error(&mut self, at: &At, message: impl Into<String>) {
        self.push(Diagnostic::at(Level::Error, at, message));
    }

    pub const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many were kept.
    pub const fn len(&self) -> usize {
        self.found.len()
    }

    /// Is anything wrong that forbids use?
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == Level::Error)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// Orders by line within each file; files come in the given order, the others after them in
    /// order of appearance.
    pub fn sorted(mut self, order: &[PathBuf]) -> Self {
        let mut files = order.to_vec();
        for diagnostic in &self.found {
            if !files.contains(&diagnostic.file) {
                files.push(diagnostic.file.clone());
            }
        }
        self.found.sort_by_key(|d| (files.iter().position(|f| *f == d.file), d.line, d.column));
        self
    }

    /// All of them, ready to print.
    pub fn render(&self, color: bool) -> String {
        let mut text: Vec<String> = self.found.iter().map(|d| d.render(color)).collect();
        if self.more > 0 {
            text.push(format!("… and {} more", self.more));
        }
        text.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
