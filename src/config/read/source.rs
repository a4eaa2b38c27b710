//! Files as they were read, and YAML as a tree.
//!
//! Serde stops at the first error and loses places inside enums; a tree that is walked by hand can
//! report every error with its frame.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_saphyr::granit_parser::{self as granit, Event, Parser, ScalarStyle, StrInput};

use super::error::TAB;
use super::mask;
use super::node::{Node, Span, Value};

/// How deep a file may nest.
const MAX_DEPTH: usize = 48;
/// How many nodes a file may hold.
const MAX_NODES: usize = 300_000;
/// How many nodes aliases (`*name`) may add, and anchors (`&name`) may keep, in one file: ten
/// levels of ten aliases each would otherwise grow to ten thousand million nodes.
const MAX_ALIASED: usize = 20_000;

/// The entries of a mapping, where it ends, and how many nodes it holds.
type Entries = (Vec<(Node, Node)>, usize, usize);

/// A file as it was read.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    /// With secrets masked, byte for byte as long as the text: all that is ever shown of it.
    shown: String,
    masks: Vec<Range<usize>>,
    lines: Vec<usize>,
}

/// A place as people see it.
#[derive(Debug)]
pub struct Place<'a> {
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line, masked, without its line feed.
    pub text: &'a str,
    /// The place in `text`, in bytes, cut at the end of the line.
    pub part: Range<usize>,
}

impl Source {
    /// Reads a file's text: the tree as far as it could be built, and what is wrong with it as
    /// YAML.
    pub fn parse(path: &Path, text: &str) -> (Self, Option<Node>, Vec<Problem>) {
        let mut builder = Builder::new(text);
        let root = match builder.document() {
            Ok(root) => root,
            Err(problem) => {
                builder.problems.push(problem);
                None
            }
        };
        let mut masks = Vec::new();
        if let Some(root) = &root {
            masks = mask::by_tree(root, &builder.dropped, text);
        }
        if root.is_none() || builder.unread {
            masks.extend(mask::by_line(text));
        }
        let shown = mask::apply(text, &masks);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let source = Self { path: path.to_owned(), shown, masks, lines };
        let mut problems = builder.problems;
        for problem in problems.iter_mut().filter(|problem| problem.syntax) {
            // A parser quotes what it does not understand.
            if source.is_masked_line(problem.span) {
                "this is not valid YAML".clone_into(&mut problem.message);
            }
            source.advise(problem, text);
        }
        (source, root, problems)
    }

    /// Says what to do about the two mistakes that parsers describe by their consequences. `text` is what
    /// was masked: of it only places are shown, and the name of a channel.
    fn advise(&self, problem: &mut Problem, text: &str) {
        let place = self.place(problem.span);
        let tab = |line: usize| {
            let start = *self.lines.get(line.checked_sub(1)?)?;
            let line = text.get(start..)?.lines().next()?;
            let indent = line.get(..line.len() - line.trim_start().len())?;
            Some(start + indent.find('\t')?)
        };
        // What follows a value and is no more indented by spaces is read as its end.
        let after = || tab(place.line + 1).filter(|_| problem.message.contains("tab"));
        if let Some(start) = tab(place.line).or_else(after) {
            problem.span = Span { start, end: start + 1 };
            "a tab cannot indent YAML".clone_into(&mut problem.message);
            problem.help = Some(format!("`{TAB}` is a tab: write spaces"));
        } else if let Some((span, help)) = self.hash_before(place.line, text) {
            problem.span = span;
            "a comment begins here, and what precedes it is not complete".clone_into(&mut problem.message);
            problem.help = Some(help);
        }
    }

    /// `{token: …, channel: #alerts}` in this line, or in one of the two before it: what closes the brace is
    /// part of the comment, and the parser is surprised later.
    fn hash_before(&self, line: usize, text: &str) -> Option<(Span, String)> {
        let starts = self.lines.get(line.saturating_sub(3)..line.min(self.lines.len()))?;
        starts.iter().rev().find_map(|&start| {
            let line = text.get(start..)?.lines().next()?;
            let at = line.match_indices(": #").map(|(at, _)| at).find(|&at| {
                let before = line.get(..at).unwrap_or_default();
                before.matches('{').count() > before.matches('}').count()
            })?;
            let (before, rest) = line.split_at_checked(at)?;
            let help = super::reader::hash_help(rest)?;
            // Perhaps it is the value of a secret.
            let quoted = "`#` begins a comment: write the value in quotes";
            let help = if before.ends_with("channel") { help } else { quoted.to_owned() };
            let start = start + at + ": ".len();
            Some((Span { start, end: start + 1 }, help))
        })
    }

    /// A file that is no YAML and holds no secrets (a template).
    pub fn plain(path: &Path, text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.to_owned(), shown: text.to_owned(), masks: Vec::new(), lines }
    }

    /// The file as it was named by the user.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a span begins, and its first line.
    pub fn place(&self, span: Span) -> Place<'_> {
        let index = self.lines.partition_point(|start| *start <= span.start).saturating_sub(1);
        let start = self.lines.get(index).copied().unwrap_or_default();
        let rest = self.shown.get(start..).unwrap_or_default();
        let text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let from = floor(text, span.start.saturating_sub(start));
        let to = floor(text, span.end.saturating_sub(start)).max(from);
        let column = text.get(..from).unwrap_or_default().chars().count() + 1;
        Place { line: index + 1, column, text, part: from..to }
    }

    /// Is any of this a secret?
    pub fn is_masked(&self, span: Span) -> bool {
        self.masks.iter().any(|mask| mask.start < span.end && span.start < mask.end)
    }

    fn is_masked_line(&self, span: Span) -> bool {
        let place = self.place(span);
        let start = span.start.saturating_sub(place.part.start);
        self.is_masked(Span { start, end: start + place.text.len() })
    }
}

/// The largest character boundary that is not past `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Something wrong with the YAML itself.
#[derive(Debug)]
pub struct Problem {
    pub span: Span,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// It stopped the parser: the rest of the file was not read.
    pub syntax: bool,
}

impl Problem {
    fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None, syntax: false }
    }
}

struct Builder<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    aliased: usize,
    /// Entries that are not part of the tree; still nothing of theirs may be shown if it is a secret.
    dropped: Vec<(Node, Node)>,
    /// A part of the file was not read.
    unread: bool,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Self {
        let options = granit::options! {
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
            disallow_directives: true,
            emit_comments: false,
        };
        Self {
            text,
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            nodes: 0,
            aliased: 0,
            dropped: Vec::new(),
            unread: false,
            problems: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let span = Span { start: self.byte(&span.start), end: self.byte(&span.end) };
                Ok((event, span))
            }
            Some(Err(error)) => {
                let start = self.byte(error.marker());
                let message = format!("this is not valid YAML: {}", error.info());
                Err(Problem { syntax: true, ..Problem::new(Span { start, end: start }, message) })
            }
            None => Ok((Event::StreamEnd, Span { start: self.text.len(), end: self.text.len() })),
        }
    }

    fn byte(&self, marker: &granit::Marker) -> usize {
        marker
            .byte_offset()
            .or_else(|| self.text.char_indices().nth(marker.index()).map(|(at, _)| at))
            .unwrap_or(self.text.len())
            .min(self.text.len())
    }

    /// The only document of the file; `None` for an empty file.
    fn document(&mut self) -> Result<Option<Node>, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    let mut problem = Problem::new(span, "a second document begins here");
                    problem.help = Some("write one document a file: remove the `---`".into());
                    self.problems.push(problem);
                    self.unread = true;
                    return Ok(root);
                }
                event => root = Some(self.node(event, span, 0)?.0),
            }
        }
    }

    /// Builds one node; also tells how many nodes it is made of.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<(Node, usize), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::new(span, format!("more than {MAX_NODES} values in one file")));
        }
        if depth > MAX_DEPTH {
            return Err(Problem::new(span, format!("nested more than {MAX_DEPTH} deep")));
        }
        let mut weight = 1;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let plain = style == ScalarStyle::Plain;
                let value = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Text { text: text.into_owned(), plain }
                };
                (Node { value, span, origin: None }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let mut items = Vec::new();
                let end = loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break span.end;
                    }
                    let (item, more) = self.node(event, span, depth + 1)?;
                    weight += more;
                    items.push(item);
                };
                let span = Span { start: span.start, end: end.max(span.end) };
                (Node { value: Value::List(items), span, origin: None }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let (entries, end, more) = self.entries(depth)?;
                weight += more;
                let span = Span { start: span.start, end: end.max(span.end) };
                (Node { value: Value::Map(entries), span, origin: None }, anchor)
            }
            Event::Alias(id) => return self.alias(id, span),
            _ => return Err(Problem::new(span, "this is not valid YAML")),
        };
        if anchor != 0 {
            self.spend(weight, span)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok((node, weight))
    }

    fn entries(&mut self, depth: usize) -> Result<Entries, Problem> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        let mut weight = 0;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((entries, span.end, weight));
            }
            let (key, key_weight) = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let (value, value_weight) = self.node(event, span, depth + 1)?;
            weight += key_weight + value_weight;
            let Value::Text { text, plain } = &key.value else {
                self.problems.push(Problem::new(key.span, "a key must be text"));
                self.dropped.push((key, value));
                continue;
            };
            if *plain && text == "<<" {
                let mut problem = Problem::new(key.span, "merge keys (`<<`) are not supported");
                problem.help = Some("write the keys out, or use an alias for a whole value".into());
                self.problems.push(problem);
                self.dropped.push((key, value));
            } else if let Some(first) = seen.get(text) {
                let line = self.text.get(..first.start).unwrap_or_default().matches('\n').count() + 1;
                let mut problem = Problem::new(key.span, "this key is given twice");
                problem.help = Some(format!("it is given first in line {line}"));
                self.problems.push(problem);
                self.dropped.push((key, value));
            } else {
                seen.insert(text.clone(), key.span);
                entries.push((key, value));
            }
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(Node, usize), Problem> {
        let Some((node, weight)) = self.anchors.get(&id) else {
            return Err(Problem::new(span, "this alias stands inside its own anchor"));
        };
        let (mut node, weight) = (node.clone(), *weight);
        self.spend(weight, span)?;
        node.origin = Some(node.origin.unwrap_or(node.span));
        node.span = span;
        Ok((node, weight))
    }

    fn spend(&mut self, weight: usize, span: Span) -> Result<(), Problem> {
        self.aliased += weight;
        if self.aliased > MAX_ALIASED {
            return Err(Problem::new(
                span,
                format!("anchors and aliases make more than {MAX_ALIASED} values"),
            ));
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            self.problems.push(Problem::new(span, "tags (`!…`) are not supported"));
        }
    }
}
