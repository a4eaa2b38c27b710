//! Loads configuration and rules from files into one [`Config`], or says everything that is wrong.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::file::{Config, File, file};
use super::overrides::OverrideDraft;
use super::read::error::{At, Diagnostic, Diagnostics, Level};
use super::read::files::{files, read_text};
use super::read::node::Node;
use super::read::reader::{Reader, References, SecretAt, parse};
use super::read::source::Source;
use super::read::suggest::{self, did_you_mean};
use super::rule_tests::RuleTest;
use super::rules::{RuleDraft, RuleFile, rules};
use super::{rule_checks, shipped, templates};
use crate::rule::{Override, Routes, Rule, RuleSet};

#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Arc<Config>,
    /// What is not wrong, but probably not meant.
    pub warnings: Diagnostics,
    /// The tests written in the user's rule files.
    pub tests: Vec<RuleTest>,
    /// Every file read, in order.
    pub files: Vec<PathBuf>,
    /// Changes exactly when a name or the content of any file read does: 64 hexadecimal digits.
    pub hash: String,
    /// Where secrets are, for [`Self::missing_secrets`].
    pub secrets: Vec<SecretAt>,
}

impl Loaded {
    /// Warnings of secrets that cannot be read here and now: of the receivers that are `wanted`, and those
    /// that are no receiver's. `check` does not ask: it runs where secrets are not.
    pub fn missing_secrets(&self, wanted: impl Fn(Option<&str>) -> bool) -> Diagnostics {
        let mut found = Diagnostics::default();
        for SecretAt { secret, at, .. } in self.secrets.iter().filter(|s| wanted(s.receiver.as_deref())) {
            if let Err(error) = secret.resolve() {
                found.push(
                    Diagnostic::at(Level::Warning, at, error.to_string()).label("the secret named here"),
                );
            }
        }
        found
    }
}

/// Loads a configuration file, and rules from `rules` (files or directories) and from where the
/// configuration says. Without any of them: the shipped rules, told to the terminal.
///
/// Rules given here come before the configuration's, and both before the shipped ones, which are
/// replaced by name. Nothing is over: see [`attempt`].
pub fn load(config: Option<&Path>, rules: &[PathBuf]) -> Result<Loaded, Diagnostics> {
    attempt(config, rules, Timestamp::MIN).outcome
}

/// What became of loading, and what to look at to see that it would go otherwise now.
#[derive(Debug)]
pub struct Attempt {
    /// What was loaded, or everything that is wrong.
    pub outcome: Result<Loaded, Diagnostics>,
    /// Every file and directory that matters, also where it could not be read: configuration, rules,
    /// templates, certificates. Secrets are not among them: they are read anew at every use.
    pub roots: Vec<PathBuf>,
}

/// The same as [`load`], with warnings of silences that are over at `now`.
pub fn attempt(config: Option<&Path>, rules: &[PathBuf], now: Timestamp) -> Attempt {
    let mut loader = Loader::new(now);
    if let Some(path) = config {
        loader.config(path);
    }
    let configured = loader.configured_rules().to_vec();
    for path in rules.iter().chain(&configured) {
        loader.rules(path);
    }
    let mut roots: Vec<PathBuf> = config.into_iter().map(Path::to_path_buf).collect();
    roots.extend(rules.iter().chain(&configured).cloned());
    roots.append(&mut loader.named);
    if let Some(File { config, .. }) = &loader.config {
        roots.extend(config.templates.clone());
        roots.extend(config.receivers.iter().flat_map(|receiver| receiver.notifier.certificates().cloned()));
    }
    Attempt { outcome: loader.loaded(), roots }
}

/// The shipped rules, with their own tests.
pub fn load_shipped() -> Result<Loaded, Diagnostics> {
    let mut loader = Loader::new(Timestamp::MIN);
    for (name, text) in shipped::PACKS {
        if let Some((source, root)) = loader.parse(&Path::new("rules").join(name), text) {
            loader.rule_tree(source, &root);
        }
    }
    loader.loaded()
}

/// Editors empty a file before they write it anew: what is read in between must not take the place of what
/// was configured. Comments are written on purpose.
fn nothing_in(path: &Path, text: &str) -> Diagnostic {
    if text.trim().is_empty() {
        let help = "write `rules: []` for no rules of your own, or leave the file out";
        return Diagnostic::file(Level::Error, path, "this file is empty").help(help);
    }
    Diagnostic::file(Level::Warning, path, "this file configures nothing: it holds only comments")
}

/// Collects files, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Loader {
    now: Timestamp,
    pub(super) found: Diagnostics,
    pub(super) files: Vec<PathBuf>,
    config: Option<File>,
    /// The names in the configuration.
    names: References,
    /// Files that the configuration names, read or not.
    named: Vec<PathBuf>,
    drafts: Vec<RuleDraft>,
    /// Those of rule files.
    overrides: Vec<OverrideDraft>,
    /// The receivers that rules name.
    by_rules: Vec<(Arc<str>, At)>,
    tests: Vec<RuleTest>,
    /// Where each rule in force is written: `rules/own.yaml:3`.
    pub(super) origins: HashMap<Arc<str>, String>,
    hasher: Sha256,
}

impl Loader {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            found: Diagnostics::default(),
            files: Vec::new(),
            config: None,
            names: References::default(),
            named: Vec::new(),
            drafts: Vec::new(),
            overrides: Vec::new(),
            by_rules: Vec::new(),
            tests: Vec::new(),
            origins: HashMap::new(),
            hasher: Sha256::new(),
        }
    }

    fn fail(&mut self, path: &Path, message: impl Into<String>) {
        self.found.push(Diagnostic::file(Level::Error, path, message));
    }

    fn reader(&mut self, source: Arc<Source>) -> Reader {
        Reader::new(source, std::mem::take(&mut self.found))
    }

    /// Where the configuration says that rules are.
    pub(super) fn configured_rules(&self) -> &[PathBuf] {
        self.config.as_ref().map_or(&[], |file| &file.rules)
    }

    /// The directory of templates that the configuration names.
    pub(super) fn configured_templates(&self) -> Option<&Path> {
        self.config.as_ref().and_then(|file| file.config.templates.as_deref())
    }

    /// Reads and parses a file; what is wrong with it as YAML is reported.
    pub(super) fn read(&mut self, path: &Path) -> Option<(Arc<Source>, Node)> {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(message) => {
                self.fail(path, message);
                return None;
            }
        };
        self.was_read(path, &text);
        let before = self.found.len();
        let parsed = self.parse(path, &text);
        if parsed.is_none() && self.found.len() == before {
            self.found.push(nothing_in(path, &text));
        }
        parsed
    }

    fn was_read(&mut self, path: &Path, text: &str) {
        for part in [path.to_string_lossy().as_bytes(), text.as_bytes()] {
            self.hasher.update((part.len() as u64).to_be_bytes());
            self.hasher.update(part);
        }
        self.files.push(path.to_owned());
    }

    fn parse(&mut self, path: &Path, text: &str) -> Option<(Arc<Source>, Node)> {
        let (source, root) = parse(path, text, &mut self.found);
        Some((source, root?))
    }

    pub(super) fn config(&mut self, path: &Path) {
        if let Some((source, root)) = self.read(path) {
            self.config_tree(source, &root);
        }
    }

    pub(super) fn config_tree(&mut self, source: Arc<Source>, root: &Node) {
        let mut reader = self.reader(source);
        self.config = file(self.now).read(&mut reader, root);
        self.names = std::mem::take(&mut reader.references);
        for (path, text) in reader.take_named() {
            if let Some(text) = text {
                self.was_read(&path, &text);
            }
            self.named.push(path);
        }
        self.found = reader.into_found();
    }

    /// Adds a rule file, or every rule file of a directory.
    pub(super) fn rules(&mut self, path: &Path) {
        let files = match files(path, &["yaml", "yml"]) {
            Ok(files) => files,
            Err(message) => return self.fail(path, message),
        };
        if files.is_empty() {
            self.found.push(Diagnostic::file(
                Level::Warning,
                path,
                "there is no rule file (`.yaml`, `.yml`) in this directory",
            ));
        }
        for file in files {
            if let Some((source, root)) = self.read(&file) {
                self.rule_tree(source, &root);
            }
        }
    }

    pub(super) fn rule_tree(&mut self, source: Arc<Source>, root: &Node) {
        let mut reader = self.reader(source);
        let RuleFile { rules, overrides, tests } = rules().read(&mut reader, root).unwrap_or_default();
        self.by_rules.append(&mut reader.references.receivers);
        self.names.rules.append(&mut reader.references.rules);
        self.found = reader.into_found();
        self.drafts.extend(rules);
        self.overrides.extend(overrides);
        self.tests.extend(tests);
    }

    fn shipped(&mut self) -> Vec<RuleDraft> {
        let mut drafts = Vec::new();
        for (name, text) in shipped::PACKS {
            let path = Path::new("shipped").join(name);
            if let Some((source, root)) = self.parse(&path, shipped::without_tests(text)) {
                let mut reader = self.reader(source);
                drafts.extend(rules().read(&mut reader, &root).unwrap_or_default().rules);
                self.found = reader.into_found();
            }
        }
        drafts
    }

    /// Checks the templates of a directory that the configuration names.
    pub(super) fn templates(&mut self) {
        let Some(directory) = self.configured_templates() else { return };
        let texts = match templates::read(directory) {
            Ok(texts) => texts,
            Err(diagnostic) => return self.found.push(*diagnostic),
        };
        for (path, text) in &texts {
            self.was_read(path, text);
        }
        for diagnostic in templates::check(&texts) {
            self.found.push(diagnostic);
        }
    }

    fn loaded(mut self) -> Result<Loaded, Diagnostics> {
        self.templates();
        let (config, loader) = self.finish();
        let found = loader.found.sorted(&loader.files);
        if found.has_errors() {
            return Err(found);
        }
        let hash =
            loader.hasher.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        Ok(Loaded {
            config: Arc::new(config),
            warnings: found,
            tests: loader.tests,
            files: loader.files,
            hash,
            secrets: loader.names.secrets,
        })
    }

    /// Looks up the names across files and freezes everything.
    pub(super) fn finish(mut self) -> (Config, Self) {
        let shipped = self.shipped();
        let File { mut config, overrides, .. } = self.config.take().unwrap_or_default();
        // The configuration has the last word.
        let mut changes = std::mem::take(&mut self.overrides);
        changes.extend(overrides);
        let drafts = std::mem::take(&mut self.drafts);
        self.check_rule_names(&drafts, &shipped);
        self.check_receivers(!config.routes.routes.is_empty());
        self.check_rules(&drafts.iter().chain(&shipped).map(|draft| &*draft.name).collect());

        config.rules = self.rule_set(drafts, shipped, changes);
        if config.routes.routes.is_empty() {
            let all = config.receivers.iter().map(|receiver| receiver.spec.name.clone()).collect();
            config.routes = Routes::to_all(all);
        }
        (config, self)
    }

    /// Those of the user before the shipped ones, which they replace by name.
    fn rule_set(
        &mut self,
        drafts: Vec<RuleDraft>,
        shipped: Vec<RuleDraft>,
        changes: Vec<OverrideDraft>,
    ) -> RuleSet {
        let own: HashSet<Arc<str>> = drafts.iter().map(|rule| rule.name.clone()).collect();
        let (replaced, shipped): (Vec<RuleDraft>, Vec<RuleDraft>) =
            shipped.into_iter().partition(|rule| own.contains(&rule.name));
        let in_force: Vec<&RuleDraft> = drafts.iter().chain(&shipped).collect();
        rule_checks::narrowed(&in_force, &replaced, &mut self.found);
        rule_checks::overrides(&changes, &in_force, &mut self.found);
        self.origins = in_force.iter().map(|draft| (Arc::clone(&draft.name), draft.at.to_string())).collect();
        let mut rules: Vec<Rule> = drafts.into_iter().chain(shipped).filter_map(|draft| draft.rule).collect();
        let mut changes: Vec<Override> = changes.into_iter().map(|draft| draft.read).collect();
        if self.names.defined.is_empty() {
            // Everything goes to the terminal, whatever the rules say.
            for rule in &mut rules {
                rule.receivers = None;
            }
            for one in &mut changes {
                one.changes.receivers = None;
            }
        }
        RuleSet::new(rules).with_overrides(changes)
    }

    fn check_rule_names(&mut self, drafts: &[RuleDraft], shipped: &[RuleDraft]) {
        let mut seen: HashMap<&str, &At> = HashMap::new();
        for draft in drafts {
            if let Some(first) = seen.get(&*draft.name) {
                let message = format!("there are two rules named `{}`", draft.name);
                let help = format!("the other is in {first}");
                self.found.push(Diagnostic::at(Level::Error, &draft.at, message).help(help));
            } else {
                seen.insert(&draft.name, &draft.at);
            }
            if draft.only_disables && !shipped.iter().any(|rule| rule.name == draft.name) {
                let names = shipped.iter().map(|rule| &*rule.name);
                let help = suggest::nearest(&draft.name, names.clone())
                    .map_or_else(|| format!("the shipped rules are {}", suggest::join(names)), did_you_mean);
                let message = format!("there is no shipped rule named `{}` to switch off", draft.name);
                self.found.push(Diagnostic::at(Level::Error, &draft.at, message).help(help));
            }
        }
    }

    fn check_receivers(&mut self, has_routes: bool) {
        let References { defined, receivers: by_routes, .. } = &self.names;
        let known: HashSet<&str> = defined.iter().map(|(name, _)| &**name).collect();
        // Without a configuration, or with none in it, there is nobody to compare with.
        let by_rules = self.by_rules.iter().filter(|_| !known.is_empty());
        let mut used: HashSet<&str> = HashSet::new();
        for (name, at) in by_routes.iter().chain(by_rules) {
            used.insert(name);
            // With no receivers at all and other errors, the section itself is misspelt: that is
            // one mistake, not one for each route.
            let misspelt = known.is_empty() && self.found.has_errors();
            if !known.contains(&**name) && !misspelt {
                let names = defined.iter().map(|(name, _)| &**name);
                let help = suggest::nearest(name, names.clone()).map_or_else(
                    || match defined.len() {
                        0 => "no receiver is configured".to_owned(),
                        _ => format!("the receivers are {}", suggest::join(names)),
                    },
                    did_you_mean,
                );
                let message = format!("there is no receiver named `{name}`");
                self.found.push(Diagnostic::at(Level::Error, at, message).help(help));
            }
        }
        if has_routes {
            for (name, at) in defined.iter().filter(|(name, _)| !used.contains(&**name)) {
                let message = format!("nothing is ever sent to `{name}`");
                let help = "no route and no rule names it";
                self.found.push(Diagnostic::at(Level::Warning, at, message).help(help));
            }
        }
    }

    /// Looks up the rules that routes, silences, mute times and annotations name.
    fn check_rules(&mut self, names: &HashSet<&str>) {
        for (name, at) in &self.names.rules {
            if !names.contains(&**name) {
                let help = suggest::nearest(name, names.iter().copied()).map(did_you_mean);
                let found = Diagnostic::at(Level::Error, at, format!("there is no rule named `{name}`"));
                self.found.push(Diagnostic { help, ..found });
            }
        }
    }
}
