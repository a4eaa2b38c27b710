//! Configuration, rules and templates, loaded again while the bot runs.
//!
//! A [`Reloader`] looks at the files every few seconds, listens for SIGHUP and for `POST /-/reload`,
//! loads on a thread of its own, and hands over what [`super::run`] is to put in force. What cannot be
//! used is looked at once more after a moment, because an editor may be in the middle of writing; then
//! it is an error, and the last good configuration goes on.

pub mod files;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::files::{Files, Snapshot};
use super::notice::Broken;
use super::receivers::{self, BuildError, Environment};
use crate::config::{self, Attempt, Config, Diagnostics, Level, Loaded, Receiver};
use crate::message::CommandLine;
use crate::notify::Notifier;
use crate::outbox::ReceiverSpec;
use crate::web::{Answer, Refusal};

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(5);
/// How long files must have been at rest before they are loaded, and after which an error is looked
/// at once more.
const SETTLE: Duration = Duration::from_secs(1);
/// Files that never rest are loaded all the same after so many looks.
const MAX_SETTLE: u32 = 10;
/// So many requests to reload wait, at most.
pub(super) const WAITING: usize = 4;

/// What the command line puts over the configuration, at every load.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub store: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    /// How the commands in messages call kubeherald, where the configuration does not say.
    pub command: Option<CommandLine>,
}

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    pub config: Option<PathBuf>,
    /// Rules named on the command line.
    pub rules: Vec<PathBuf>,
    /// What is put over it.
    pub overrides: Overrides,
    /// How often files are looked at.
    pub poll: Duration,
    /// How long they must have been at rest.
    pub settle: Duration,
    /// Told at each SIGHUP.
    pub signal: Arc<Notify>,
    /// What changed receivers are built with.
    pub environment: Environment,
    /// Gives configurations in the place of files; `None`: files are read.
    given: Option<Given>,
}

/// Gives the configuration that a load finds. It is asked at SIGHUP and `POST /-/reload` only: without
/// files there is nothing to look at every few seconds.
#[derive(Clone)]
struct Given(Arc<dyn Fn() -> Result<Loaded, Diagnostics> + Send + Sync>);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Given").finish_non_exhaustive()
    }
}

impl Source {
    /// With the usual patience.
    pub fn new(config: Option<PathBuf>, rules: Vec<PathBuf>, overrides: Overrides) -> Self {
        Self {
            config,
            rules,
            overrides,
            poll: POLL,
            settle: SETTLE,
            signal: Arc::default(),
            environment: Environment::default(),
            given: None,
        }
    }

    /// Configurations that are loaded already, one at each call: no file is read, and no thread is used.
    #[doc(hidden)]
    pub fn given(load: impl Fn() -> Result<Loaded, Diagnostics> + Send + Sync + 'static) -> Self {
        let given = Some(Given(Arc::new(load)));
        Self { given, ..Self::new(None, Vec::new(), Overrides::default()) }
    }

    /// Loads once. Blocks: it reads files.
    pub fn load(&self) -> Attempt {
        let mut attempt = match &self.given {
            Some(Given(load)) => Attempt { outcome: load(), roots: Vec::new() },
            None => config::attempt(self.config.as_deref(), &self.rules, self.environment.clock.now()),
        };
        if let Ok(loaded) = &mut attempt.outcome {
            let config = Arc::make_mut(&mut loaded.config);
            if let Some(path) = &self.overrides.store {
                config.store.path = Some(path.clone());
            }
            config.http = self.overrides.listen.or(config.http);
            config.command = config.command.take().or_else(|| self.overrides.command.clone());
        }
        attempt
    }

    /// Are there any files at all?
    pub const fn has_files(&self) -> bool {
        self.config.is_some() || !self.rules.is_empty()
    }

    /// Is there anything that could be loaded again?
    const fn can_reload(&self) -> bool {
        self.has_files() || self.given.is_some()
    }
}

/// What makes a receiver's notifier what it is. As long as it is the same, its dispatcher goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    receiver: Option<Receiver>,
    /// Certificates and their keys.
    certificates: Snapshot,
    /// The templates, where it uses them.
    templates: Snapshot,
}

pub type Identities = BTreeMap<Arc<str>, Identity>;

/// A configuration that can be put in force.
#[derive(Debug)]
pub struct Ready {
    pub loaded: Loaded,
    /// Receivers that are new or changed.
    pub built: Vec<(ReceiverSpec, Notifier)>,
    pub names: Vec<Arc<str>>,
    /// What changed, for people.
    pub changed: Vec<String>,
    /// Is anything different from what is in force?
    pub differs: bool,
    good: Good,
}

/// A configuration that cannot be put in force.
#[derive(Debug)]
pub struct Refused {
    /// Everything that is wrong, with frames.
    pub text: String,
    /// The same in short.
    pub broken: Broken,
}

/// What is to be done about a load.
#[derive(Debug)]
pub struct Update {
    pub outcome: Result<Ready, Refused>,
    /// To be told once it is in force, with what was not put in force.
    pub done: oneshot::Sender<Vec<String>>,
}

/// Why it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Files,
    Signal,
    Request,
}

/// Where the bot begins: what was loaded, and what the files were right before.
#[derive(Debug)]
pub struct Startup {
    source: Source,
    state: State,
    good: Good,
}

/// What is in force.
#[derive(Debug, Clone)]
struct Good {
    hash: String,
    snapshot: Snapshot,
    identities: Identities,
}

/// What the loading thread remembers.
#[derive(Debug, Default)]
struct State {
    files: Files,
    /// Those of the configuration in force.
    good_roots: Vec<PathBuf>,
    /// Those that are looked at: also those of the last load.
    roots: Vec<PathBuf>,
    /// As they were right before the last load.
    seen: Snapshot,
}

impl Source {
    /// Loads for the first time. Blocks: it reads files.
    pub fn begin(self) -> Result<(Startup, Loaded), Diagnostics> {
        let mut state = State::default();
        let attempt = state.attempt(&self);
        let loaded = attempt.outcome?;
        state.is_good(attempt.roots);
        let good = Good {
            hash: loaded.hash.clone(),
            identities: identities(&loaded.config, &state.seen),
            snapshot: state.seen.clone(),
        };
        Ok((Startup { source: self, state, good }, loaded))
    }
}

impl Startup {
    /// Changed receivers are built with this from now on.
    pub(super) fn set_environment(&mut self, environment: Environment) {
        self.source.environment = environment;
    }

    /// Changes exactly when what is in force does.
    pub fn hash(&self) -> &str {
        &self.good.hash
    }
}

impl State {
    /// Loads. What is looked at must have been looked at before it is loaded, or a change in between
    /// would never be seen; which files these are is known only afterwards.
    fn attempt(&mut self, source: &Source) -> Attempt {
        let mut tries = 0;
        loop {
            self.seen = self.files.look(&self.roots);
            let attempt = source.load();
            let known = attempt.roots.iter().all(|root| self.roots.contains(root));
            self.roots.clone_from(&self.good_roots);
            self.roots.extend(attempt.roots.iter().cloned());
            self.roots.sort();
            self.roots.dedup();
            tries += 1;
            if known || tries > 3 {
                self.seen = self.seen.under(&self.roots);
                return attempt;
            }
        }
    }

    /// What was loaded is going to be in force.
    fn is_good(&mut self, roots: Vec<PathBuf>) {
        self.good_roots = roots;
        self.roots.clone_from(&self.good_roots);
        self.roots.sort();
        self.roots.dedup();
        self.seen = self.seen.under(&self.roots);
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Reloader {
    source: Source,
    updates: mpsc::Sender<Update>,
    good: Good,
    /// Locked on the loading thread only.
    state: Arc<Mutex<State>>,
    /// The last load was refused.
    refused: bool,
}

impl Reloader {
    /// Hands over to `updates`.
    pub fn new(begun: Startup, updates: mpsc::Sender<Update>) -> Self {
        let Startup { source, state, good } = begun;
        Self { source, updates, good, state: Arc::new(Mutex::new(state)), refused: false }
    }

    pub async fn run(mut self, mut asks: mpsc::Receiver<oneshot::Sender<Answer>>, stop: CancellationToken) {
        let signal = Arc::clone(&self.source.signal);
        let mut poll = tokio::time::interval(self.source.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // SIGHUP and requests come before the look at the files, and may keep it from its turn: each of
            // them loads, which is more than a look. SIGHUP is one flag, not a queue, so between two of them
            // a request has its turn.
            let (trigger, answer) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = signal.notified() => (Trigger::Signal, None),
                Some(answer) = asks.recv() => (Trigger::Request, Some(answer)),
                _ = poll.tick(), if self.source.has_files() => (Trigger::Files, None),
            };
            let work = self.triggered(trigger);
            let answered = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                answered = work => answered,
            };
            if let (Some(answer), Some(answered)) = (answer, answered) {
                answer.send(answered).ok();
            }
        }
    }

    /// `None`: nobody is left to put anything in force, or there was nothing to do.
    async fn triggered(&mut self, trigger: Trigger) -> Option<Answer> {
        if !self.source.can_reload() {
            let text = "there is nothing to reload: it was started without a configuration file";
            tracing::warn!("{text}");
            return Some(Err(Refusal::Invalid(text.into())));
        }
        if trigger == Trigger::Files && !self.at_rest().await? {
            return None;
        }
        let mut outcome = self.load().await?;
        if outcome.is_err() {
            tokio::time::sleep(self.source.settle).await;
            outcome = self.load().await?;
        }
        if let (Trigger::Files, Ok(ready), false) = (trigger, &outcome, self.refused)
            && !ready.differs
        {
            self.keep(ready);
            return None;
        }
        self.apply(trigger, outcome).await
    }

    /// Has anything changed since the last load? Waits until it rests.
    async fn at_rest(&mut self) -> Option<bool> {
        let look = |state: &mut State, _: &Source| {
            let now = state.files.look(&state.roots);
            (now != state.seen, now)
        };
        let (mut differs, mut now) = self.blocking(look).await?;
        for _ in 0..MAX_SETTLE {
            if !differs {
                break;
            }
            tokio::time::sleep(self.source.settle).await;
            let (still, next) = self.blocking(look).await?;
            differs = still;
            if std::mem::replace(&mut now, next) == now {
                break;
            }
        }
        Some(differs)
    }

    async fn load(&self) -> Option<Result<Ready, Refused>> {
        let good = self.good.clone();
        self.blocking(move |state, source| load(state, source, &good)).await
    }

    /// Runs on a thread that may block. `None`: it panicked; it is tried again at the next change.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State, &Source) -> T + Send + 'static,
    ) -> Option<T> {
        let (state, source) = (Arc::clone(&self.state), self.source.clone());
        let inline = source.given.is_some();
        let work = move || work(&mut state.lock().unwrap_or_else(PoisonError::into_inner), &source);
        if inline {
            return Some(work());
        }
        let done = tokio::task::spawn_blocking(work);
        done.await.inspect_err(|error| tracing::error!(%error, "loading the configuration failed")).ok()
    }

    fn keep(&mut self, ready: &Ready) {
        self.good = ready.good.clone();
    }

    async fn apply(&mut self, trigger: Trigger, outcome: Result<Ready, Refused>) -> Option<Answer> {
        let (done, applied) = oneshot::channel();
        let answer = match &outcome {
            Ok(ready) => {
                self.keep(ready);
                self.refused = false;
                let mut warnings: Vec<String> = ready.loaded.warnings.iter().map(short).collect();
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                let changed = ready.changed.clone();
                tracing::info!(
                    hash = ready.loaded.hash.get(..12),
                    ?changed,
                    ?trigger,
                    "configuration loaded"
                );
                self.updates.send(Update { outcome, done }).await.ok()?;
                warnings.extend(applied.await.ok()?);
                Ok(json!({ "reloaded": true, "changed": changed, "warnings": warnings }))
            }
            Err(refused) => {
                self.refused = true;
                tracing::error!(
                    "the configuration cannot be used, the last good one goes on:\n{}",
                    refused.text
                );
                let text = refused.text.clone();
                self.updates.send(Update { outcome, done }).await.ok()?;
                applied.await.ok()?;
                Err(Refusal::Invalid(text))
            }
        };
        Some(answer)
    }
}

/// `rules/own.yaml:12: there is no receiver named …`
fn short(diagnostic: &config::Diagnostic) -> String {
    let line = if diagnostic.line > 0 { format!(":{}", diagnostic.line) } else { String::new() };
    let help = diagnostic.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}{line}: {}{help}", diagnostic.file.display(), diagnostic.message)
}

fn load(state: &mut State, source: &Source, good: &Good) -> Result<Ready, Refused> {
    let attempt = state.attempt(source);
    let content = state.seen.hash();
    let refuse = |text: String, lines: Vec<String>| Refused { text, broken: Broken { content, lines } };
    let loaded = match attempt.outcome {
        Ok(loaded) => loaded,
        Err(found) => return Err(refuse(found.to_string(), errors(&found))),
    };
    let identities = identities(&loaded.config, &state.seen);
    let wanted = |name: &str| good.identities.get(name) != identities.get(name);
    let built = match receivers::build_some(&loaded.config, &source.environment, wanted) {
        Ok(built) => built,
        Err(error) => {
            let lines = match &error {
                BuildError::Templates(found) => found.iter().map(short).collect(),
                other => vec![other.to_string()],
            };
            return Err(refuse(error.to_string(), lines));
        }
    };
    state.is_good(attempt.roots);
    let snapshot = state.seen.clone();
    let mut changed = snapshot.changes_since(&good.snapshot);
    changed.extend(receivers_changed(&good.identities, &identities));
    Ok(Ready {
        differs: good.hash != loaded.hash || good.identities != identities,
        names: identities.keys().cloned().collect(),
        built,
        changed,
        good: Good { hash: loaded.hash.clone(), snapshot, identities },
        loaded,
    })
}

fn errors(found: &Diagnostics) -> Vec<String> {
    found.iter().filter(|d| d.severity == Level::Error).map(short).collect()
}

fn receivers_changed(old: &Identities, new: &Identities) -> Vec<String> {
    let mut out = Vec::new();
    for (name, identity) in new {
        match old.get(name) {
            None => out.push(format!("added receiver {name}")),
            Some(before) if before != identity => out.push(format!("changed receiver {name}")),
            Some(_) => {}
        }
    }
    out.extend(
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("removed receiver {name}")),
    );
    out
}

/// What makes each receiver what it is.
fn identities(config: &Config, seen: &Snapshot) -> Identities {
    if config.receivers.is_empty() {
        let terminal =
            Identity { receiver: None, certificates: Snapshot::default(), templates: Snapshot::default() };
        return [(Arc::from(super::pipeline::TERMINAL), terminal)].into();
    }
    let templates = config.templates.as_ref().map(|dir| seen.below(dir)).unwrap_or_default();
    let each = config.receivers.iter().map(|receiver| {
        let identity = Identity {
            receiver: Some(receiver.clone()),
            certificates: seen.only(receiver.notifier.certificates()),
            templates: if receiver.notifier.uses_templates() {
                templates.clone()
            } else {
                Snapshot::default()
            },
        };
        (Arc::clone(&receiver.spec.name), identity)
    });
    each.collect()
}
