//! Recorded watch streams: JSON lines as `replay` and the tests read them.
//!
//! A line is `{"at": time, "type": "ADDED", "object": {…}}`, one watch event as it was received.
//! What stands before the line of type `SYNCED` are the initial lists. The streams of all kinds
//! are merged in the order of arrival. A mark of type `BOOKMARK` says that nothing more had come by its time.

pub mod mask;
pub mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::watch::decode::decode;
use crate::watch::{Change, Kind};

/// The longest line read. etcd refuses objects of more than 1.5 MiB, so what is longer than this
/// is no recording.
pub const MAX_LINE: usize = 8 << 20;

/// The type of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LineKind {
    /// The object is new, or part of the initial list.
    Added,
    Modified,
    /// The object was deleted; its last state.
    Deleted,
    Bookmark,
    /// The initial lists are complete.
    Synced,
}

#[derive(Debug, Clone)]
pub struct Line {
    /// When it was received.
    pub at: Timestamp,
    pub kind: LineKind,
    /// The object as it came; `null` where the line has none.
    pub object: Box<RawValue>,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened.
    #[error("{file}: {source}")]
    Open {
        /// As the user named it.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// Reading failed; nothing more comes.
    #[error("{file}:{line}: cannot be read: {source}")]
    Read {
        /// As the user named it.
        file: String,
        line: u64,
        /// What the system, or the decompressor, says.
        source: io::Error,
    },
    /// A line does not end; nothing more comes.
    #[error("{file}:{line}: longer than 8 MiB, which no watch event is; expected one JSON object a line")]
    TooLong {
        /// As the user named it.
        file: String,
        line: u64,
    },
    /// A line is not a watch event. Reading can go on behind it.
    #[error(
        "{file}:{line}: {what}; expected {{\"at\": <RFC 3339 time>, \
         \"type\": \"ADDED|MODIFIED|DELETED|BOOKMARK|SYNCED\", \"object\": {{…}}}}"
    )]
    Malformed {
        /// As the user named it.
        file: String,
        line: u64,
        what: String,
    },
}

#[derive(Deserialize)]
struct RawLine {
    at: Option<Timestamp>,
    #[serde(rename = "type")]
    kind: LineKind,
    object: Option<Box<RawValue>>,
}

/// Reads a recording line by line.
pub struct Recording<R> {
    reader: R,
    file: String,
    line: u64,
    last: Option<Timestamp>,
    done: bool,
    buffer: Vec<u8>,
}

/// A recording from a file, packed or not.
pub type RecordingFile = Recording<Box<dyn BufRead + Send>>;

impl RecordingFile {
    /// Opens `NAME.jsonl` or `NAME.jsonl.gz`; what ends in `.gz` is unpacked.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let file = path.display().to_string();
        let opened =
            File::open(path).map_err(|source| RecordingError::Open { file: file.clone(), source })?;
        let plain = BufReader::new(opened);
        let reader: Box<dyn BufRead + Send> =
            if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz")) {
                Box::new(BufReader::new(MultiGzDecoder::new(plain)))
            } else {
                Box::new(plain)
            };
        Ok(Self::new(reader, file))
    }
}

impl<R: BufRead> Recording<R> {
    /// Reads what `reader` gives; `file` is what errors call it.
    pub fn new(reader: R, file: impl Into<String>) -> Self {
        Self { reader, file: file.into(), line: 0, last: None, done: false, buffer: Vec::new() }
    }

    /// The number of the line read last, from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    fn parse(&mut self) -> Result<Line, RecordingError> {
        let malformed =
            |file: &str, line, what| RecordingError::Malformed { file: file.to_owned(), line, what };
        let raw: RawLine = serde_json::from_slice(&self.buffer)
            .map_err(|error| malformed(&self.file, self.line, describe(&error)))?;
        // Marks may come without a time: they are as old as what came before.
        let at = match raw.kind {
            LineKind::Synced | LineKind::Bookmark => raw.at.or(self.last),
            _ => raw.at,
        };
        let at = at.ok_or_else(|| malformed(&self.file, self.line, String::from("`at` is missing")))?;
        self.last = Some(at);
        let object = match raw.object {
            Some(object) => object,
            None if matches!(raw.kind, LineKind::Synced | LineKind::Bookmark) => RawValue::NULL.to_owned(),
            None => return Err(malformed(&self.file, self.line, String::from("`object` is missing"))),
        };
        Ok(Line { at, kind: raw.kind, object })
    }
}

/// serde_json counts lines within the document, which is always line 1 here and would be read as
/// the file's.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let column = error.column();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} (column {column})"),
        None => text,
    }
}

impl<R: BufRead> Iterator for Recording<R> {
    type Item = Result<Line, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            self.buffer.clear();
            self.line += 1;
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1;
            match self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer) {
                Ok(0) => self.done = true,
                Ok(length) if length > MAX_LINE => {
                    self.done = true;
                    return Some(Err(RecordingError::TooLong { file: self.file.clone(), line: self.line }));
                }
                Ok(_) if self.buffer.trim_ascii().is_empty() => {}
                Ok(_) => return Some(self.parse()),
                Err(source) => {
                    self.done = true;
                    return Some(Err(RecordingError::Read {
                        file: self.file.clone(),
                        line: self.line,
                        source,
                    }));
                }
            }
        }
        None
    }
}

#[derive(Deserialize)]
struct Peek {
    #[serde(default)]
    kind: String,
}

/// What the object says it is.
fn peek(line: &Line) -> Option<Kind> {
    Kind::parse(&serde_json::from_str::<Peek>(line.object.get()).ok()?.kind)
}

/// What a line means for the watcher of its kind; `None` for marks and for kinds not watched.
/// Before `SYNCED` an ADDED object is part of the initial list.
pub fn change(line: &Line, synced: bool) -> Option<Change> {
    let json = line.object.get();
    let kind = match line.kind {
        LineKind::Bookmark | LineKind::Synced => return None,
        LineKind::Added | LineKind::Modified | LineKind::Deleted => peek(line)?,
    };
    let object = match decode(kind, json) {
        Ok(object) => object,
        Err(bad) if line.kind == LineKind::Deleted => bad.hollow()?,
        Err(bad) => return Some(Change::from(&bad)),
    };
    Some(match line.kind {
        LineKind::Deleted => Change::Deleted(object),
        LineKind::Added if !synced => Change::Initial(object),
        _ => Change::Applied(object),
    })
}

/// What [`changes`] makes of a line: a time and a change.
pub type Timed = Result<(Timestamp, Change), RecordingError>;

/// The lines as changes: `Listing` of every kind first, `Listed` of every kind at `SYNCED` (at the
/// end, if the recording ends before), the objects between and after. Recorded streams are merged
/// by several readers, whose times can be off by milliseconds; here time never runs backwards.
pub fn changes<I>(lines: I) -> impl Iterator<Item = Timed>
where
    I: IntoIterator<Item = Result<Line, RecordingError>>,
{
    let mut lines = lines.into_iter();
    let mut ready: VecDeque<(Timestamp, Change)> = VecDeque::new();
    let mut last: Option<Timestamp> = None;
    let mut synced = false;
    std::iter::from_fn(move || {
        loop {
            if let Some(next) = ready.pop_front() {
                return Some(Ok(next));
            }
            let Some(line) = lines.next() else {
                let at = last.filter(|_| !synced)?;
                synced = true;
                ready.extend(Kind::ALL.map(|kind| (at, Change::Listed(kind))));
                continue;
            };
            let line = match line {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let at = last.map_or(line.at, |last| last.max(line.at));
            if last.replace(at).is_none() {
                ready.extend(Kind::ALL.map(|kind| (at, Change::Listing(kind))));
            }
            if line.kind == LineKind::Synced && !synced {
                synced = true;
                ready.extend(Kind::ALL.map(|kind| (at, Change::Listed(kind))));
            } else if line.kind == LineKind::Bookmark {
                // Time went on although nothing changed: what is due by then is due.
                let kind = peek(&line).unwrap_or(Kind::Event);
                ready.push_back((at, Change::Contact(kind, Instant::now())));
            } else if let Some(change) = change(&line, synced) {
                ready.push_back((at, change));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str =
        r#"{"at":"2026-11-21T08:00:00Z","type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a"}}}"#;

    fn read(text: &str) -> Vec<Result<Line, RecordingError>> {
        Recording::new(text.as_bytes(), "x.jsonl").collect()
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        let lines =
            read(&format!("{POD}\n\n{{\"at\":\"yesterday\",\"type\":\"ADDED\",\"object\":{{}}}}\nno\n{POD}"));
        assert!(lines[0].is_ok() && lines[3].is_ok() && lines.len() == 4);
        let text = lines[1].as_ref().unwrap_err().to_string();
        assert!(text.starts_with("x.jsonl:3: ") && text.contains("expected {\"at\""), "{text}");
        let text = lines[2].as_ref().unwrap_err().to_string();
        assert!(text.starts_with("x.jsonl:4: expected ident (column 2);"), "{text}");
        let missing = read(r#"{"type":"ADDED","object":{}}"#);
        assert!(missing[0].as_ref().unwrap_err().to_string().contains("`at` is missing"));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let endless = io::Read::chain(POD.as_bytes(), io::repeat(b'x'));
        let mut lines = Recording::new(BufReader::new(endless), "x");
        assert!(matches!(lines.next(), Some(Err(RecordingError::TooLong { line: 1, .. }))));
        assert!(lines.next().is_none());
    }

    #[test]
    fn marks_need_no_time_and_a_missing_one_comes_at_the_end() {
        let shape = |text: &str| {
            let all: Vec<_> = changes(read(text)).map(|c| c.unwrap().1).collect();
            let listing = all.iter().filter(|c| matches!(c, Change::Listing(_))).count();
            let listed = all.iter().position(|c| matches!(c, Change::Listed(_)));
            let objects = all.iter().enumerate().filter_map(|(i, c)| match c {
                Change::Initial(_) => Some((i, "initial")),
                Change::Applied(_) => Some((i, "applied")),
                _ => None,
            });
            (all.len(), listing, listed, objects.collect::<Vec<_>>())
        };
        let synced = format!("{POD}\n{{\"type\":\"SYNCED\"}}\n{POD}\n");
        assert_eq!(shape(&synced), (24, 11, Some(12), vec![(11, "initial"), (23, "applied")]));
        assert_eq!(shape(POD), (23, 11, Some(12), vec![(11, "initial")]));
        assert_eq!(shape("").0, 0);
    }
}
