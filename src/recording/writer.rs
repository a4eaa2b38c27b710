//! Writes recordings so that what was written can be read whatever happens next.
//!
//! Whole lines go out in one write. A packed file is a row of gzip members, each complete by itself, so a
//! process that is killed leaves all members but the one it was writing.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{LineKind, MAX_LINE};

/// Lines are written when so many bytes of them are waiting.
const BLOCK: usize = 256 * 1024;

/// The size that the file must not pass is reached: nothing more is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A recording being written.
pub struct RecordingWriter {
    out: Box<dyn Write + Send>,
    packed: bool,
    waiting: Vec<u8>,
    lines: u64,
    written: u64,
    most: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(rename = "type")]
    kind: LineKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a Value>,
}

impl RecordingWriter {
    /// Makes the file, for its owner alone: a recording shows how a cluster is built. A name that ends in
    /// `.gz` is packed. At most `most` bytes are written.
    pub fn create(path: &Path, replace: bool, most: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let file = match replace {
            true => options.create(true).truncate(true).open(path)?,
            false => options.create_new(true).open(path)?,
        };
        let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        Ok(Self::new(Box::new(file), packed, most))
    }

    pub fn new(out: Box<dyn Write + Send>, packed: bool, most: u64) -> Self {
        Self { out, packed, waiting: Vec::new(), lines: 0, written: 0, most }
    }

    /// Adds a line. One that is too long to be read again is left out.
    pub fn line(
        &mut self,
        at: Timestamp,
        kind: LineKind,
        object: Option<&Value>,
    ) -> io::Result<Result<(), Full>> {
        let line = serde_json::to_vec(&Line { at, kind, object })?;
        if line.len() >= MAX_LINE {
            return Ok(Ok(()));
        }
        self.waiting.extend(line);
        self.waiting.push(b'\n');
        self.lines += 1;
        if self.waiting.len() < BLOCK { Ok(Ok(())) } else { self.flush() }
    }

    /// Writes what is waiting. What does not fit any more is dropped as a whole: the file ends with a line.
    pub fn flush(&mut self) -> io::Result<Result<(), Full>> {
        if self.waiting.is_empty() {
            return Ok(Ok(()));
        }
        let lines = std::mem::take(&mut self.waiting);
        let block = match self.packed {
            true => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&lines)?;
                encoder.finish()?
            }
            false => lines,
        };
        let after = self.written.saturating_add(block.len() as u64);
        if after > self.most {
            return Ok(Err(Full));
        }
        self.out.write_all(&block)?;
        self.out.flush()?;
        self.written = after;
        Ok(Ok(()))
    }

    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// Bytes in the file.
    pub const fn written(&self) -> u64 {
        self.written
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::super::RecordingFile;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn names(path: &Path) -> Vec<Result<String, String>> {
        RecordingFile::open(path)
            .unwrap()
            .map(|line| line.map(|line| line.object.get().to_owned()).map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_also_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.gz"] {
            let path = dir.path().join(name);
            let mut writer = RecordingWriter::create(&path, false, 1 << 20).unwrap();
            writer.line(at(0), LineKind::Added, Some(&json!({"kind": "Pod"}))).unwrap().unwrap();
            writer.flush().unwrap().unwrap();
            writer.line(at(1), LineKind::Synced, None).unwrap().unwrap();
            writer.flush().unwrap().unwrap();
            // Nothing closes the file: the process may have been killed here.
            assert_eq!(names(&path), [Ok(r#"{"kind":"Pod"}"#.to_owned()), Ok("null".to_owned())], "{name}");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let again = RecordingWriter::create(&path, false, 1).err().map(|error| error.kind());
            assert_eq!(again, Some(io::ErrorKind::AlreadyExists));
            assert!(RecordingWriter::create(&path, true, 1).is_ok());
        }
    }

    #[test]
    fn a_full_file_ends_with_a_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let mut writer = RecordingWriter::create(&path, false, 1_000).unwrap();
        let object = json!({"kind": "Pod", "metadata": {"name": "x".repeat(200)}});
        let full = (0..100).find_map(|second| {
            writer.line(at(second), LineKind::Added, Some(&object)).unwrap().unwrap();
            writer.flush().unwrap().err()
        });
        assert_eq!(full, Some(Full));
        let read = names(&path);
        assert!(read.len() >= 3 && read.iter().all(Result::is_ok), "{read:?}");
        assert!(std::fs::metadata(&path).unwrap().len() <= 1_000);
    }
}
