//! Text files, and directories of them.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The largest file read, in bytes.
pub const MAX_FILE: usize = 1024 * 1024;
/// At most this many files in one directory.
const MAX_FILES: usize = 10_000;

/// The text of a file, or why it cannot be read.
pub fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() > MAX_FILE {
        return Err(format!("this file is larger than {} KiB", MAX_FILE / 1024));
    }
    let text = String::from_utf8(bytes).map_err(|_| "this file is not UTF-8".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file or directory".to_owned(),
        ErrorKind::IsADirectory => "this is a directory: name a file in it".to_owned(),
        ErrorKind::PermissionDenied => "kubeherald may not read this: permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            format!("this cannot be read: {}", text.split(" (os error").next().unwrap_or_default())
        }
    }
}

/// A file, or the files of a directory with one of these extensions, by name.
///
/// A mounted ConfigMap is a directory of links into `..data`, itself a link into a directory with a
/// time in its name: names that begin with a dot are skipped, links are followed.
pub fn files(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    if !fs::metadata(path).map_err(|error| unreadable(&error))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let path = entry.path();
        let wanted = path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e));
        if hidden || !wanted || !fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        files.push(path);
        if files.len() > MAX_FILES {
            return Err(format!("there are more than {MAX_FILES} files in this directory"));
        }
    }
    files.sort();
    Ok(files)
}
