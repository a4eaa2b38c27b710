//! Loads configuration and rules from files into one [`Config`], or says everything that is wrong.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compile::cases::RuleTest;
use super::compile::rules::RuleDraft;
use super::compile::{self, ConfigDraft};
use super::error::{At, Diagnostic, Diagnostics, Level};
use super::raw::{MAX_FILE, Node, Source};
use super::read::{Reader, did_you_mean};
use super::{Config, shipped, suggest, templates};
use crate::clock::Clock;
use crate::rule::{Routes, Rule, RuleSet};

/// At most this many files in one directory.
const MAX_FILES: usize = 10_000;

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
}

/// Loads a configuration file, and rules from `rules` (files or directories) and from where the
/// configuration says. Without any of them: the shipped rules, told to the terminal.
///
/// Rules given here come before the configuration's, and both before the shipped ones, which are
/// replaced by name.
pub fn load(config: Option<&Path>, rules: &[PathBuf]) -> Result<Loaded, Diagnostics> {
    attempt(config, rules, &Clock::System).outcome
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

/// The same as [`load`].
#[must_use]
pub fn attempt(config: Option<&Path>, rules: &[PathBuf], clock: &Clock) -> Attempt {
    let mut loader = Loader { clock: clock.clone(), ..Loader::default() };
    if let Some(path) = config {
        loader.config(path);
    }
    let configured = loader.draft.as_ref().map(|draft| draft.rules.clone()).unwrap_or_default();
    for path in rules.iter().chain(&configured) {
        loader.rules(path);
    }
    let mut roots: Vec<PathBuf> = config.into_iter().map(Path::to_path_buf).collect();
    roots.extend(rules.iter().chain(&configured).cloned());
    roots.append(&mut loader.named);
    if let Some(draft) = &loader.draft {
        roots.extend(draft.templates.clone());
        roots.extend(draft.receivers.iter().flat_map(|receiver| receiver.notifier.certificates().cloned()));
    }
    Attempt { outcome: loader.loaded(), roots }
}

/// The shipped rules, with their own tests.
pub fn load_shipped() -> Result<Loaded, Diagnostics> {
    let mut loader = Loader::default();
    for (name, text) in shipped::PACKS {
        let path = Path::new("rules").join(name);
        if let Some((source, root)) = loader.parse(&path, text) {
            loader.rule_tree(&path, source, &root);
        }
    }
    loader.loaded()
}

/// Collects files, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Loader {
    clock: Clock,
    pub(super) found: Diagnostics,
    pub(super) files: Vec<PathBuf>,
    pub(super) draft: Option<ConfigDraft>,
    /// Files that the configuration names, read or not.
    named: Vec<PathBuf>,
    drafts: Vec<RuleDraft>,
    tests: Vec<RuleTest>,
    hasher: Sha256,
}

impl Loader {
    fn fail(&mut self, path: &Path, message: impl Into<String>) {
        self.found.push(Diagnostic::file(Level::Error, path, message));
    }

    fn reader(&mut self, source: Arc<Source>) -> Reader {
        Reader::new(source, std::mem::take(&mut self.found), self.clock.now())
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
        self.parse(path, &text)
    }

    fn was_read(&mut self, path: &Path, text: &str) {
        for part in [path.to_string_lossy().as_bytes(), text.as_bytes()] {
            self.hasher.update((part.len() as u64).to_be_bytes());
            self.hasher.update(part);
        }
        self.files.push(path.to_owned());
    }

    fn parse(&mut self, path: &Path, text: &str) -> Option<(Arc<Source>, Node)> {
        let (source, root, problems) = Source::parse(path, text);
        let source = Arc::new(source);
        for problem in problems {
            let at = At { source: source.clone(), span: problem.span };
            let diagnostic = Diagnostic::at(Level::Error, &at, problem.message);
            self.found.push(match problem.help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
        }
        Some((source, root?))
    }

    pub(super) fn config(&mut self, path: &Path) {
        // An empty file is a configuration without settings.
        self.draft = Some(ConfigDraft::default());
        if let Some((source, root)) = self.read(path) {
            self.config_tree(path, source, &root);
        }
    }

    pub(super) fn config_tree(&mut self, path: &Path, source: Arc<Source>, root: &Node) {
        let mut reader = self.reader(source);
        self.draft = Some(compile::read(&mut reader, root, directory(path)));
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
                "there is no rule file in this directory",
            ));
        }
        for file in files {
            if let Some((source, root)) = self.read(&file) {
                self.rule_tree(&file, source, &root);
            }
        }
    }

    pub(super) fn rule_tree(&mut self, path: &Path, source: Arc<Source>, root: &Node) {
        let mut reader = self.reader(source);
        let (drafts, tests) = compile::rules::read(&mut reader, root, directory(path));
        self.found = reader.into_found();
        self.drafts.extend(drafts);
        self.tests.extend(tests);
    }

    fn shipped(&mut self) -> Vec<RuleDraft> {
        let mut drafts = Vec::new();
        for (name, text) in shipped::PACKS {
            let path = Path::new("shipped").join(name);
            if let Some((source, root)) = self.parse(&path, shipped::without_tests(text)) {
                let mut reader = self.reader(source);
                drafts.extend(compile::rules::read(&mut reader, &root, Path::new("")).0);
                self.found = reader.into_found();
            }
        }
        drafts
    }

    /// Checks the templates of a directory that the configuration names.
    pub(super) fn templates(&mut self) {
        let Some(directory) = self.draft.as_ref().and_then(|draft| draft.templates.clone()) else { return };
        let texts = match templates::read(&directory) {
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
        })
    }

    /// Looks up the names across files and freezes everything.
    pub(super) fn finish(mut self) -> (Config, Self) {
        let shipped = self.shipped();
        let draft = self.draft.take().unwrap_or_default();
        let drafts = std::mem::take(&mut self.drafts);
        self.check_rule_names(&drafts, &shipped);
        self.check_references(&draft, &drafts, &shipped);

        let own: HashSet<Arc<str>> = drafts.iter().map(|rule| rule.name.clone()).collect();
        let shipped = shipped.into_iter().filter(|rule| !own.contains(&rule.name));
        let mut rules: Vec<Rule> = drafts.into_iter().chain(shipped).filter_map(|draft| draft.rule).collect();
        if draft.names.is_empty() {
            // Everything goes to the terminal, whatever the rules say.
            for rule in &mut rules {
                rule.receivers = None;
            }
        }
        let all = || draft.receivers.iter().map(|receiver| receiver.spec.name.clone()).collect();
        let routes = match draft.routes {
            Some(routes) if !routes.is_empty() => {
                Routes { routes: routes.into_iter().map(|route| route.route).collect() }
            }
            _ => Routes::to_all(all()),
        };
        let config = Config {
            cluster: draft.cluster,
            watch: draft.watch,
            receivers: draft.receivers,
            routes,
            rules: RuleSet::new(rules),
            engine: draft.engine,
            store: draft.store,
            http: draft.http,
            api_token: draft.api_token,
            templates: draft.templates,
            redact: draft.redact,
            log_timeout: draft.log_timeout.unwrap_or(compile::log_tail::TIMEOUT),
            heartbeat: draft.heartbeat,
        };
        (config, self)
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

    fn check_references(&mut self, config: &ConfigDraft, drafts: &[RuleDraft], shipped: &[RuleDraft]) {
        let mut used: HashSet<&str> = HashSet::new();
        let routes = || config.routes.iter().flatten();
        let by_routes = routes().flat_map(|route| &route.receivers);
        let by_rules = drafts.iter().flat_map(|draft| &draft.receivers);
        // Without a configuration, or with none in it, there is nobody to compare with.
        let by_rules = by_rules.filter(|_| !config.names.is_empty());
        let known: HashSet<&str> = config.names.iter().map(|(name, _)| &**name).collect();
        for (name, at) in by_routes.chain(by_rules) {
            used.insert(name);
            // With no receivers at all and other errors, the section itself is misspelt: that is
            // one mistake, not one for each route.
            let misspelt = known.is_empty() && self.found.has_errors();
            if !known.contains(&**name) && !misspelt {
                let names = config.names.iter().map(|(name, _)| &**name);
                let help = suggest::nearest(name, names.clone()).map_or_else(
                    || match config.names.len() {
                        0 => "no receiver is configured".to_owned(),
                        _ => format!("the receivers are {}", suggest::join(names)),
                    },
                    did_you_mean,
                );
                let message = format!("there is no receiver named `{name}`");
                self.found.push(Diagnostic::at(Level::Error, at, message).help(help));
            }
        }
        if routes().next().is_some() {
            for (name, at) in config.names.iter().filter(|(name, _)| !used.contains(&**name)) {
                let message = format!("nothing is ever sent to `{name}`");
                let help = "no route and no rule names it";
                self.found.push(Diagnostic::at(Level::Warning, at, message).help(help));
            }
        }
        let names: HashSet<&str> = drafts.iter().chain(shipped).map(|draft| &*draft.name).collect();
        let by_routes = routes().flat_map(|route| &route.rules);
        for (name, at) in by_routes.chain(&config.silenced) {
            if !names.contains(name.as_str()) {
                let help = suggest::nearest(name, names.iter().copied()).map(did_you_mean);
                let mut diagnostic =
                    Diagnostic::at(Level::Error, at, format!("there is no rule named `{name}`"));
                diagnostic.help = help;
                self.found.push(diagnostic);
            }
        }
    }
}

/// The directory that paths in a file are relative to.
fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

/// The text of a file, or why it cannot be read.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("this file cannot be read: {error}"))?;
    if bytes.len() > MAX_FILE {
        return Err(format!("this file is larger than {} KiB", MAX_FILE / 1024));
    }
    let text = String::from_utf8(bytes).map_err(|_| "this file is not UTF-8".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

/// A file, or the files of a directory with one of these extensions, by name.
///
/// A mounted ConfigMap is a directory of links into `..data`, itself a link into a directory with a
/// time in its name: names that begin with a dot are skipped, links are followed.
pub(super) fn files(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| format!("this cannot be read: {error}");
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
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
