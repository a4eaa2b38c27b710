//! Has anything on disk changed? Asked every few seconds, so it must be cheap; and a change that is
//! not seen is a configuration that is not in force, so it must be right.
//!
//! A file whose `stat` is what it was is not read again, unless it changed so shortly before it was
//! read that another change could hide behind the same time stamp. Now and then everything is read
//! whatever `stat` says: the clock of a file server need not be ours. Links are followed, so the swap
//! of a ConfigMap's `..data` shows as other files.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::clock;

/// Two changes within this time may have one time stamp.
const RACY: Duration = Duration::from_secs(3);
/// Everything is read again after so many looks.
const FULL_EVERY: u32 = 12;
/// More of a file, or more files of a directory, make no difference: such are refused anyway.
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_FILES: usize = 20_000;

/// What the content of a file hashes to; `None`: it cannot be read.
type Content = Option<[u8; 32]>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stat {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Could it have changed since it was read at `read`, and show the same?
    fn is_racy(&self, read: Timestamp) -> bool {
        let newest = self.modified.0.max(self.changed.0);
        let newest = Timestamp::from_second(newest).unwrap_or(Timestamp::MAX);
        clock::after(newest, RACY) >= read
    }
}

#[derive(Debug)]
struct Known {
    stat: Stat,
    read: Timestamp,
    content: Content,
}

/// Everything below some roots, by path. Equal when nothing has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Content>);

impl Snapshot {
    /// Which files differ, for people: `changed rules/own.yaml`.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut out = Vec::new();
        for (path, content) in &self.0 {
            let path_shown = path.display();
            match before.0.get(path) {
                Some(old) if old == content => {}
                Some(_) => out.push(format!("changed {path_shown}")),
                None => out.push(format!("added {path_shown}")),
            }
        }
        let gone = before.0.keys().filter(|path| !self.0.contains_key(*path));
        out.extend(gone.map(|path| format!("removed {}", path.display())));
        out
    }

    /// Only what is one of these files.
    pub fn only<'a>(&self, files: impl Iterator<Item = &'a PathBuf>) -> Self {
        let found = files.filter_map(|file| Some((file.clone(), *self.0.get(file)?)));
        Self(found.collect())
    }

    /// Only what belongs to these roots.
    pub fn under(&self, roots: &[PathBuf]) -> Self {
        let belongs = |path: &Path| {
            roots.iter().any(|root| root == path || path.parent().is_some_and(|parent| parent == root))
        };
        Self(self.0.iter().filter(|(path, _)| belongs(path)).map(|(p, c)| (p.clone(), *c)).collect())
    }

    /// Only what is in this directory.
    pub fn below(&self, directory: &Path) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(path, _)| path.starts_with(directory))
                .map(|(p, c)| (p.clone(), *c))
                .collect(),
        )
    }

    /// A name for it.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (path, content) in &self.0 {
            let path = path.to_string_lossy();
            hash.update((path.len() as u64).to_be_bytes());
            hash.update(path.as_bytes());
            hash.update([u8::from(content.is_some())]);
            hash.update(content.unwrap_or_default());
        }
        hash.finalize().iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }
}

/// Looks at files, and remembers what it need not read again.
#[derive(Debug, Default)]
pub struct Files {
    known: BTreeMap<PathBuf, Known>,
    looks: u32,
}

impl Files {
    /// What there is now. Blocks: it reads files.
    pub fn look(&mut self, roots: &[PathBuf]) -> Snapshot {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(FULL_EVERY) {
            self.known.clear();
        }
        let mut snapshot = Snapshot::default();
        for root in roots {
            if fs::metadata(root).is_ok_and(|meta| meta.is_dir()) {
                // The directory by itself, so that an empty one is not a missing one.
                snapshot.0.insert(root.clone(), Some([0; 32]));
                for file in listed(root) {
                    let content = self.content(&file);
                    snapshot.0.insert(file, content);
                }
            } else {
                let content = self.content(root);
                snapshot.0.insert(root.clone(), content);
            }
        }
        self.known.retain(|path, _| snapshot.0.contains_key(path));
        snapshot
    }

    fn content(&mut self, path: &Path) -> Content {
        let stat = Stat::of(&fs::metadata(path).ok()?);
        if let Some(known) = self.known.get(path)
            && known.stat == stat
            && !stat.is_racy(known.read)
        {
            return known.content;
        }
        let read = clock::now();
        let content = hash(path);
        self.known.insert(path.to_owned(), Known { stat, read, content });
        content
    }
}

/// The files of a directory that could matter; names that begin with a dot are a mount's own.
fn listed(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "hbs")
                && fs::metadata(path).is_ok_and(|meta| meta.is_file())
        })
        .take(MAX_FILES)
        .collect();
    files.sort();
    files
}

fn hash(path: &Path) -> Content {
    let mut hash = Sha256::new();
    let mut file = File::open(path).ok()?.take(MAX_FILE);
    let mut part = [0_u8; 16 * 1024];
    loop {
        match file.read(&mut part).ok()? {
            0 => return Some(hash.finalize().into()),
            n => hash.update(part.get(..n)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_swap_of_a_config_map_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().join("rules");
        write(&mount.join("..1/a.yaml"), "a: 1");
        symlink("..1", mount.join("..data")).unwrap();
        symlink("..data/a.yaml", mount.join("a.yaml")).unwrap();
        let (mut files, roots) = (Files::default(), [mount.clone()]);
        let first = files.look(&roots);
        assert_eq!(first, files.look(&roots));
        // As the kubelet does it.
        write(&mount.join("..2/a.yaml"), "a: 2");
        symlink("..2", mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        fs::remove_dir_all(mount.join("..1")).unwrap();
        let second = files.look(&roots);
        assert_eq!(second.changes_since(&first), [format!("changed {}", mount.join("a.yaml").display())]);
        assert_ne!(first.hash(), second.hash());
        // A swap to the same content is no change.
        write(&mount.join("..3/a.yaml"), "a: 2");
        symlink("..3", mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        assert_eq!(second, files.look(&roots));
    }

    #[test]
    fn files_come_and_go_and_change_within_one_tick_of_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        let (rules, config) = (dir.path().join("rules"), dir.path().join("c.yaml"));
        write(&rules.join("a.yaml"), "1");
        let (mut files, roots) = (Files::default(), [config.clone(), rules.clone()]);
        let mut last = files.look(&roots);
        let mut sees = |what: &str| {
            let now = files.look(&roots);
            let said = now.changes_since(&last).join(", ").replace(&*dir.path().to_string_lossy(), "");
            assert_eq!(said, what);
            last = now;
        };
        sees("");
        for n in 0..50 {
            // The same length each time.
            write(&rules.join("a.yaml"), &format!("{}", n % 2));
            sees("changed /rules/a.yaml");
        }
        write(&config, "x");
        sees("changed /c.yaml");
        write(&rules.join("b.yml"), "");
        write(&rules.join("note.txt"), "");
        write(&rules.join(".hidden.yaml"), "");
        sees("added /rules/b.yml");
        fs::remove_file(rules.join("a.yaml")).unwrap();
        sees("removed /rules/a.yaml");
        fs::remove_dir_all(&rules).unwrap();
        sees("changed /rules, removed /rules/b.yml");
    }

    #[test]
    fn what_rests_is_not_read_again_until_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        write(&path, "one");
        let mut files = Files::default();
        let roots = [path.clone()];
        let real = files.look(&roots);
        // As if it had been read long after it was written, and had held something else.
        let known = files.known.get_mut(&path).unwrap();
        known.read = clock::after(known.read, Duration::from_secs(60));
        known.content = None;
        for _ in 2..FULL_EVERY {
            assert_ne!(files.look(&roots), real, "it trusts what it knows");
        }
        assert_eq!(files.look(&roots), real, "it reads everything now and then");
    }
}
