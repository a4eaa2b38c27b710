//! `store`: where state is kept, and how large it may grow.

use std::path::PathBuf;

use super::read::fields::{Head, section};
use super::read::kind::{Kind, path, size};

#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The SQLite file; `None`: in memory, gone at exit.
    pub path: Option<PathBuf>,
    /// Bytes that the file, its log and its reserve may take together.
    pub max_bytes: u64,
}

impl StoreConfig {
    /// The least and the most that may be asked for.
    pub const BOUNDS: (u64, u64) = (64 << 20, 1 << 40);
}

impl Default for StoreConfig {
    /// Fits the shipped volume of 1 GiB, of which the file system keeps some for itself.
    fn default() -> Self {
        Self { path: None, max_bytes: 768 << 20 }
    }
}

pub fn store<'a>() -> Kind<'a, StoreConfig> {
    let head = Head::new("store", "`{path}`", "Where state is kept.");
    section(head, |fields| {
        let path = fields.require("path", "A path, relative to this file.", path());
        let max_bytes = fields.or(
            "max_bytes",
            "The file, its log and its reserve take at most so many bytes; the oldest history goes first.",
            size(StoreConfig::BOUNDS),
            StoreConfig::default().max_bytes,
        );
        Some(StoreConfig { path, max_bytes })
    })
}
