//! A story of a cluster with its times, told to the real pipeline under the shipped rules on a
//! virtual clock, and what was said about it as lines of text.
//!
//! Every story is told more than once: as it is; with every kind listed anew after each change, as
//! after a 410; with each change sent twice; with the configuration reloaded after each change; and from
//! another day on. What is said must not differ.
//! And once more with a restart of kubeherald after each step, which may cost counts and patience but
//! must not tell anything twice, nor break a silence.

mod run;
mod words;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::pipeline::{Message, Output};
use kubeherald::config::{self, Config};
use kubeherald::testkit::builders::{self, Pod};
use kubeherald::watch::Kind;
use serde_json::Value;

use self::run::Run;
use self::words::{held_line, line};

/// What happens at one moment.
#[derive(Debug, Clone)]
pub enum Step {
    Applied(Value),
    Deleted(Value),
    /// Every kind is listed anew.
    Relist,
    /// The watch of one kind fails.
    Failing(Kind),
    /// It goes on, and missed nothing.
    Contact(Kind),
    /// One kind cannot be read any more.
    Blind(Kind),
    /// A list of one kind begins, and breaks off.
    Listing(Kind),
    /// One kind is listed anew.
    List(Kind),
    /// The watches break: what happens now is seen at the next list only.
    Gap,
    /// kubeherald stops; what it knows is written down.
    Down,
    /// The same; nothing was heard since so long after the beginning.
    DownUnheard(&'static str),
    /// It comes back: stored incidents, then lists.
    Up,
    /// The same, and this kind cannot be read.
    UpBlind(Kind),
    /// A request for a silence: JSON.
    Silence(&'static str),
    /// Every silence that a request brought is ended now.
    Unsilence,
    /// The configuration is reloaded; or, while it is down, changed.
    Reload(Arc<Config>),
}

pub fn applied(object: impl Into<Value>) -> Step {
    Step::Applied(object.into())
}

pub fn deleted(object: impl Into<Value>) -> Step {
    Step::Deleted(object.into())
}

/// How the story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Relisted,
    Twice,
    Reloaded,
    OtherDay,
    Restarted,
}

#[derive(Debug, Clone, Default)]
pub struct Script {
    initial: Vec<Value>,
    steps: Vec<(Duration, Step)>,
    /// Not the first start of kubeherald: nothing was stored that is still open.
    known: bool,
    /// Relisting is a part of the story: it is told in one way only.
    plain: bool,
    caps: Option<(usize, usize)>,
    /// Configuration, with times of the story (`{T+5m}`) in it.
    text: Option<String>,
    /// When it begins; only stories that are told once have such a moment.
    begins: Option<&'static str>,
    /// The configuration after the next start.
    next_text: Option<String>,
    /// Under this configuration instead.
    base: Option<Arc<Config>>,
}

fn shipped() -> &'static Config {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    CONFIG.get_or_init(|| config::load(None, &[]).unwrap().config)
}

fn span(text: &str) -> Duration {
    config::duration::parse(text).unwrap()
}

impl Script {
    /// An empty cluster, kubeherald having been started before without finding anything wrong.
    pub fn new() -> Self {
        Self { known: true, ..Self::default() }
    }

    /// The first start ever.
    pub fn first_start() -> Self {
        Self::default()
    }

    /// What the first lists hold.
    pub fn with(mut self, object: impl Into<Value>) -> Self {
        self.initial.push(object.into());
        self
    }

    pub fn at(mut self, offset: &str, step: Step) -> Self {
        self.steps.push((span(offset), step));
        self
    }

    /// The same as `at` with an applied object.
    pub fn see(self, offset: &str, object: impl Into<Value>) -> Self {
        self.at(offset, applied(object))
    }

    pub fn gone(self, offset: &str, object: impl Into<Value>) -> Self {
        self.at(offset, deleted(object))
    }

    /// Under this configuration, and in one way only.
    pub fn configured(mut self, config: &Arc<Config>) -> Self {
        self.base = Some(Arc::clone(config));
        self.once()
    }

    /// From then on under another one.
    pub fn reload(self, offset: &str, config: &Arc<Config>) -> Self {
        self.at(offset, Step::Reload(Arc::clone(config)))
    }

    /// Told in one way only.
    pub const fn once(mut self) -> Self {
        self.plain = true;
        self
    }

    /// So many incidents, and members of each, at most.
    pub const fn capped(mut self, incidents: usize, members: usize) -> Self {
        self.caps = Some((incidents, members));
        self
    }

    /// Under this configuration; `{T+5m}` is five minutes into the story.
    pub fn under(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// After a restart under another one.
    pub fn then_under(mut self, text: &str) -> Self {
        self.next_text = Some(text.to_owned());
        self
    }

    /// From this moment on, told in one way only.
    pub const fn begins(mut self, at: &'static str) -> Self {
        self.begins = Some(at);
        self.once()
    }

    fn config(&self, start: Timestamp) -> Config {
        let mut config = match &self.text {
            Some(text) => configured(text, start),
            None => self.base.as_deref().unwrap_or(shipped()).clone(),
        };
        if let Some((incidents, members)) = self.caps {
            (config.engine.max_incidents, config.engine.max_members) = (incidents, members);
        }
        config
    }

    /// What was said until `then` after the last step.
    pub fn run(&self, then: &str) -> Vec<String> {
        self.run_with_notes(then).0
    }

    /// What was said, and what was held back by silences.
    pub fn run_with_notes(&self, then: &str) -> (Vec<String>, Vec<String>) {
        let plain = self.tell(then, Way::Plain);
        if !self.plain {
            for way in [Way::OtherDay, Way::Twice, Way::Reloaded, Way::Relisted] {
                assert_eq!(self.tell(then, way), plain, "{way:?} (left) differs from plain (right)");
            }
            self.survives_restarts(then, &plain.0);
        }
        plain
    }

    /// kubeherald restarts after each step: whatever else that changes, nothing is told for the
    /// first time twice, and no end without a beginning.
    fn survives_restarts(&self, then: &str, plain: &[String]) {
        let restarted = self.tell(then, Way::Restarted).0;
        for line in &restarted {
            let mut words = line.split(' ').skip(1);
            let (decision, rule, who) = (words.next(), words.next(), words.next());
            let count = |lines: &[String], wanted: &str| {
                let same = |line: &&String| {
                    let mut words = line.split(' ').skip(1);
                    words.next() == Some(wanted) && words.next() == rule && words.next() == who
                };
                lines.iter().filter(same).count()
            };
            match decision {
                Some("first") => {
                    let most = count(plain, "first").max(1);
                    assert!(
                        count(&restarted, "first") <= most,
                        "told twice: {restarted:#?} instead of {plain:#?}"
                    );
                }
                Some("resolved" | "expired") if !restarted.iter().any(|line| line.contains(" standing ")) => {
                    assert!(count(&restarted, "first") > 0, "never told: {restarted:#?}");
                }
                _ => {}
            }
        }
        // What was silent stays silent.
        assert!(!plain.is_empty() || restarted.is_empty(), "not silent any more: {restarted:#?}");
    }

    /// The messages themselves, told in one way.
    pub fn messages(&self, then: &str) -> Vec<Message> {
        self.play(then, Way::Plain).1.messages
    }

    /// What was recorded beside the messages, told in one way.
    pub fn notes(&self, then: &str) -> Vec<kubeherald::engine::Note> {
        self.play(then, Way::Plain).1.effects.notes
    }

    fn tell(&self, then: &str, way: Way) -> (Vec<String>, Vec<String>) {
        let (start, out) = self.play(then, way);
        let mut said: Vec<(Timestamp, String)> =
            out.messages.iter().map(|message| (message.decided.at, line(message, start))).collect();
        // What is told at one moment has no order that means anything.
        said.sort();
        let mut held: Vec<String> =
            out.effects.notes.iter().filter_map(|note| held_line(note, start)).collect();
        held.sort();
        (said.into_iter().map(|(_, line)| line).collect(), held)
    }

    fn play(&self, then: &str, way: Way) -> (Timestamp, Output) {
        let start: Timestamp = match way {
            _ if self.begins.is_some() => self.begins.unwrap(),
            Way::OtherDay => "2031-02-28T23:59:30Z",
            _ => "2026-11-21T08:00:00Z",
        }
        .parse()
        .unwrap();
        let mut run = Run::new(self.config(start), start, way, !self.known);
        run.next_config = self.next_text.as_deref().map(|text| configured(text, start));
        for object in &self.initial {
            run.put(builders::at(object.clone(), start, start));
        }
        run.relist(&Kind::ALL);
        let mut steps = self.steps.clone();
        steps.sort_by_key(|(at, _)| *at);
        for (offset, step) in steps {
            run.now = start + offset;
            run.step(step);
        }
        run.now += span(then);
        if let Some(pipeline) = &mut run.pipeline {
            pipeline.tick_until(run.now, &mut run.out);
        }
        (start, run.out)
    }
}

/// A configuration with the times of the story in it.
fn configured(text: &str, start: Timestamp) -> Config {
    let mut parts = text.split("{T+");
    let mut written = parts.next().unwrap().to_owned();
    for part in parts {
        let (offset, rest) = part.split_once('}').unwrap();
        written += &format!("{}{rest}", start + span(offset));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeherald.yaml");
    std::fs::write(&path, written).unwrap();
    let loaded = config::load(Some(&path), &[]).unwrap_or_else(|found| panic!("{found}"));
    Config::clone(&loaded.config)
}

pub const RS: &str = "checkout-688988776f";

/// A node and Deployment/checkout.
pub fn cluster() -> Script {
    Script::new()
        .with(builders::node("worker-1"))
        .with(builders::deployment("checkout"))
        .with(builders::replica_set(RS))
}

/// A pod of Deployment/checkout on worker-1.
pub fn checkout(name: &str) -> Pod {
    builders::pod(&format!("{RS}-{name}")).owned_by_rs(RS).node("worker-1")
}

/// A new pod of Deployment/checkout, bound ten seconds into the story.
pub fn fresh() -> Pod {
    checkout("aaaaa").created("T+10s").scheduled("T+10s")
}

/// In back-off after a run of two seconds.
pub fn looping(pod: Pod, restarts: i64) -> Pod {
    pod.last(3, "Error", "-12s", "-10s")
        .waiting("CrashLoopBackOff", "back-off 10s restarting failed container=app pod=checkout")
        .restarts(restarts)
}

/// What an Event about that pod is about.
pub const POD: &str = "Pod/checkout-688988776f-aaaaa";

/// Exactly this was said, and exactly this was held back by silences.
#[track_caller]
pub fn says_and_holds(script: &Script, then: &str, expected: &[&str], held: &[&str]) {
    let (said, notes) = script.run_with_notes(then);
    assert!(said == expected, "said:     {said:#?}\nexpected: {expected:#?}\nheld: {notes:#?}");
    assert!(notes == held, "held:     {notes:#?}\nexpected: {held:#?}");
}

/// Nothing was said.
#[track_caller]
pub fn silent(script: &Script, then: &str) {
    let said = script.run(then);
    assert!(said.is_empty(), "expected silence: {said:#?}");
}

/// Exactly this was said.
#[track_caller]
pub fn says(script: &Script, then: &str, expected: &[&str]) {
    let said = script.run(then);
    assert!(said == expected, "said:     {said:#?}\nexpected: {expected:#?}");
}
