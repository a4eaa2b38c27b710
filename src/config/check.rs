//! `check`: everything that is wrong in the given files, whatever kind of file each is.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::load::Loader;
use super::read::error::{Diagnostic, Diagnostics, Level};
use super::read::files::{files, read_text};
use super::read::node::{Node, Value};
use super::read::source::Source;
use super::{schema, templates, written};

#[derive(Debug)]
pub struct Checked {
    pub found: Diagnostics,
    /// The rules in force under each configuration, with their overrides, as a rule file.
    pub effective: Vec<String>,
}

/// Checks files and directories: configurations together with the rules they name, rule files, and
/// templates. Of silences that are over at `now` a warning is given.
pub fn check(paths: &[PathBuf], now: Timestamp) -> Checked {
    let Given { read, mut found, configs, rules, templates } = given(paths, now);
    for diagnostic in templates::check(&templates) {
        found.push(diagnostic);
    }
    // Rule files belong to the configuration beside them, if there is exactly one: only then it is
    // clear which receivers they may name.
    let mut done: HashSet<PathBuf> = HashSet::new();
    let together = configs.len() == 1;
    let mut loaders = Vec::new();
    for (source, root) in configs {
        let mut own = Loader::new(now);
        own.config_tree(source, &root);
        for path in &own.configured_rules().to_vec() {
            done.extend(files(path, &["yaml", "yml"]).unwrap_or_default().iter().map(|file| real(file)));
            own.rules(path);
        }
        let given = |dir: &Path| templates.iter().any(|(file, _)| real(file).starts_with(real(dir)));
        if own.configured_templates().is_some_and(|dir| !given(dir)) {
            own.templates();
        }
        loaders.push(own);
    }
    let rest = rules.into_iter().filter(|(file, ..)| !done.contains(&real(file)));
    let rest: Vec<(PathBuf, Arc<Source>, Node)> = rest.collect();
    if !together && !rest.is_empty() {
        loaders.push(Loader::new(now));
    }
    if let Some(last) = loaders.last_mut() {
        for (_, source, root) in rest {
            last.rule_tree(source, &root);
        }
    }
    // Nothing given: what is shipped.
    if paths.is_empty() {
        loaders.push(Loader::new(now));
    }
    let mut effective = Vec::new();
    let mut order = read.files;
    let mut all = read.found;
    all.append(found);
    for loader in loaders {
        let (config, done) = loader.finish();
        effective.push(written::effective(&config.rules, &done.origins));
        order.extend(done.files);
        all.append(done.found);
    }
    Checked { found: all.sorted(&order), effective }
}

/// The files that were given, by kind.
struct Given {
    /// Read and parsed them.
    read: Loader,
    /// What is wrong beside that.
    found: Diagnostics,
    configs: Vec<(Arc<Source>, Node)>,
    rules: Vec<(PathBuf, Arc<Source>, Node)>,
    templates: Vec<(PathBuf, String)>,
}

fn given(paths: &[PathBuf], now: Timestamp) -> Given {
    let mut given = Given {
        read: Loader::new(now),
        found: Diagnostics::default(),
        configs: Vec::new(),
        rules: Vec::new(),
        templates: Vec::new(),
    };
    let schema = schema::config();
    let settings = schema.pointer("/$defs/file/properties").unwrap_or(&serde_json::Value::Null);
    for path in paths {
        let listed = match files(path, &["yaml", "yml", "hbs"]) {
            Ok(listed) => listed,
            Err(message) => {
                given.found.push(Diagnostic::file(Level::Error, path, message));
                continue;
            }
        };
        if listed.is_empty() {
            let message = "there is no file to check in this directory";
            let help = "configurations and rule files end in `.yaml` or `.yml`, templates in `.hbs`";
            given.found.push(Diagnostic::file(Level::Error, path, message).help(help));
        }
        let named = listed == [path.clone()];
        for file in listed {
            if file.extension().is_some_and(|extension| extension == "hbs") {
                match read_text(&file) {
                    Ok(text) => given.templates.push((file, text)),
                    Err(message) => given.found.push(Diagnostic::file(Level::Error, &file, message)),
                }
                continue;
            }
            let Some((source, root)) = given.read.read(&file) else { continue };
            match kind(&root, settings) {
                Kind::Rules => given.rules.push((file, source, root)),
                Kind::Config => given.configs.push((source, root)),
                // Manifests lie beside configurations; they are somebody else's to check.
                Kind::Manifest if !named => {}
                Kind::Manifest | Kind::Unknown => {
                    let help =
                        "a configuration has `receivers` or `routes`, a rule file has a list of `rules`";
                    let message = "this is neither a configuration nor a rule file";
                    given.found.push(Diagnostic::file(Level::Error, &file, message).help(help));
                }
            }
        }
    }
    given
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

enum Kind {
    Config,
    Rules,
    Manifest,
    Unknown,
}

/// `settings` knows the keys of a configuration.
fn kind(root: &Node, settings: &serde_json::Value) -> Kind {
    let Value::Map(entries) = &root.value else { return Kind::Unknown };
    let keys = entries.iter().filter_map(|(key, value)| match &key.value {
        Value::Text { text, .. } => Some((text.as_str(), value)),
        _ => None,
    });
    let has = |name: &str| keys.clone().any(|(key, _)| key == name);
    let setting = |key: &str| key != "rules" && settings.get(key).is_some();
    // In a configuration `rules` says where rules are; a mapping with other keys is a rule without its `- `.
    let rules = keys.clone().any(|(key, value)| {
        key == "rules"
            && match &value.value {
                Value::List(_) => true,
                Value::Map(entries) => !entries.iter().any(|(key, _)| matches!(key.text(), "dir" | "paths")),
                _ => false,
            }
    });
    if has("tests") || rules && !keys.clone().any(|(key, _)| setting(key)) {
        Kind::Rules
    } else if has("apiVersion") && has("kind") {
        Kind::Manifest
    } else if keys.clone().any(|(key, _)| settings.get(key).is_some()) {
        Kind::Config
    } else {
        Kind::Unknown
    }
}
