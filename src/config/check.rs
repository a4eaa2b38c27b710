//! `check`: everything that is wrong in the given files, whatever kind of file each is.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Diagnostic, Diagnostics, Level};
use super::load::{Loader, files, read_text};
use super::raw::{Node, Source, Value};
use super::templates;

/// Checks files and directories: configurations together with the rules they name, rule files, and
/// templates.
#[must_use]
pub fn check(paths: &[PathBuf]) -> Diagnostics {
    let mut found = Diagnostics::default();
    let mut loader = Loader::default();
    let mut configs = Vec::new();
    let mut rules = Vec::new();
    let mut templates = Vec::new();
    for path in paths {
        let listed = match files(path, &["yaml", "yml", "hbs"]) {
            Ok(listed) => listed,
            Err(message) => {
                found.push(Diagnostic::file(Level::Error, path, message));
                continue;
            }
        };
        let named = listed == [path.clone()];
        for file in listed {
            if file.extension().is_some_and(|extension| extension == "hbs") {
                match read_text(&file) {
                    Ok(text) => templates.push((file, text)),
                    Err(message) => found.push(Diagnostic::file(Level::Error, &file, message)),
                }
                continue;
            }
            let Some((source, root)) = loader.read(&file) else { continue };
            match kind(&root) {
                Kind::Rules => rules.push((file, source, root)),
                Kind::Config => configs.push((file, source, root)),
                // Manifests lie beside configurations; they are somebody else's to check.
                Kind::Manifest if !named => {}
                Kind::Manifest | Kind::Unknown => {
                    let help =
                        "a configuration has `receivers` or `routes`, a rule file has a list of `rules`";
                    let message = "this is neither a configuration nor a rule file";
                    found.push(Diagnostic::file(Level::Error, &file, message).help(help));
                }
            }
        }
    }
    for diagnostic in templates::check(&templates) {
        found.push(diagnostic);
    }
    // Rule files belong to the configuration beside them, if there is exactly one: only then it is
    // clear which receivers they may name.
    let mut done: HashSet<PathBuf> = HashSet::new();
    let together = configs.len() == 1;
    let mut loaders = Vec::new();
    for (file, source, root) in configs {
        let mut own = Loader::default();
        own.config_tree(&file, source, &root);
        let named = own.draft.as_ref().map(|draft| draft.rules.clone()).unwrap_or_default();
        for path in &named {
            done.extend(files(path, &["yaml", "yml"]).unwrap_or_default().iter().map(|file| real(file)));
            own.rules(path);
        }
        let named = own.draft.as_ref().and_then(|draft| draft.templates.clone());
        let given = |dir: PathBuf| templates.iter().any(|(file, _)| real(file).starts_with(real(&dir)));
        if named.is_some_and(|dir| !given(dir)) {
            own.templates();
        }
        loaders.push(own);
    }
    let rest = rules.into_iter().filter(|(file, ..)| !done.contains(&real(file)));
    let rest: Vec<(PathBuf, Arc<Source>, Node)> = rest.collect();
    if !together && !rest.is_empty() {
        loaders.push(Loader::default());
    }
    if let Some(last) = loaders.last_mut() {
        for (file, source, root) in rest {
            last.rule_tree(&file, source, &root);
        }
    }
    let mut order = loader.files;
    let mut all = loader.found;
    for diagnostic in found.iter() {
        all.push(diagnostic.clone());
    }
    for loader in loaders {
        let (_, done) = loader.finish();
        order.extend(done.files);
        for diagnostic in done.found.iter() {
            all.push(diagnostic.clone());
        }
    }
    all.sorted(&order)
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

fn kind(root: &Node) -> Kind {
    const CONFIG: &[&str] = &[
        "cluster",
        "watch",
        "receivers",
        "routes",
        "engine",
        "storm",
        "store",
        "http",
        "templates",
        "redact",
        "silences",
        "mute_times",
    ];
    let Value::Map(entries) = &root.value else { return Kind::Unknown };
    let keys = entries.iter().filter_map(|(key, value)| match &key.value {
        Value::Text { text, .. } => Some((text.as_str(), value)),
        _ => None,
    });
    let has = |name: &str| keys.clone().any(|(key, _)| key == name);
    let rule_list = keys.clone().any(|(key, value)| key == "rules" && matches!(value.value, Value::List(_)));
    if rule_list || has("tests") {
        Kind::Rules
    } else if has("apiVersion") && has("kind") {
        Kind::Manifest
    } else if CONFIG.iter().any(|name| has(name)) || has("rules") {
        Kind::Config
    } else {
        Kind::Unknown
    }
}
