//! Whole files in, whole reports out.

mod configs;
mod digests;
mod files;
mod hostile;
mod overrides;
mod rules;
mod schema;
mod silences;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Diagnostics, Loaded, load};

/// A directory of files; reports name it `DIR`.
pub struct Files {
    dir: TempDir,
}

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let files_dir = Self { dir: TempDir::new().expect("a directory") };
        for (name, text) in files {
            files_dir.write(name, text);
        }
        files_dir
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn load(&self, config: &str) -> Result<Loaded, String> {
        load(Some(&self.path(config)), &[]).map_err(|found| self.report(&found))
    }

    pub fn load_rules(&self, rules: &[&str]) -> Result<Loaded, String> {
        let rules: Vec<PathBuf> = rules.iter().map(|name| self.path(name)).collect();
        load(None, &rules).map_err(|found| self.report(&found))
    }

    pub fn report(&self, found: &Diagnostics) -> String {
        found.to_string().replace(&*self.dir.path().to_string_lossy(), "DIR")
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }
}

/// The report about a configuration that is wrong.
pub fn config_report(text: &str) -> String {
    Files::new(&[("kubeherald.yaml", text)]).load("kubeherald.yaml").expect_err("errors")
}

/// The report about a rule file that is wrong.
pub fn rules_report(text: &str) -> String {
    Files::new(&[("rules.yaml", text)]).load_rules(&["rules.yaml"]).expect_err("errors")
}

/// The first lines of each diagnostic: `level: message`.
pub fn messages(report: &str) -> Vec<&str> {
    report.lines().filter(|line| line.starts_with("error: ") || line.starts_with("warning: ")).collect()
}
