//! A story of a cluster with its times, told to the real pipeline under the shipped rules on a
//! virtual clock, and what was said about it as lines of text.
//!
//! Every story is told more than once: as it is; with every kind listed anew after each change, as
//! after a 410; with each change sent twice; with the configuration reloaded after each change; and from
//! another day on. What is said must not differ.
//! And once more with a restart of kubeherald after each step, which may cost counts and patience but
//! must not tell anything twice, nor break a silence.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::pipeline::{Message, Output, Pipeline, Start};
use kubeherald::config::{self, Config};
use kubeherald::engine::digest::Book;
use kubeherald::engine::{Incident, Note};
use kubeherald::message::Reason;
use kubeherald::rule::Silence;
use kubeherald::rule::silence::Origin;
use kubeherald::testkit::builders::{self, Pod};
use kubeherald::watch::decode::decode;
use kubeherald::watch::{Change, Kind};
use serde_json::Value;

/// What happens at one moment.
#[derive(Debug, Clone)]
pub enum Step {
    Applied(Value),
    Deleted(Value),
    /// Every kind is listed anew.
    Relist,
    /// One kind cannot be read any more.
    Blind(Kind),
    /// One kind is listed anew.
    List(Kind),
    /// The watches break: what happens now is seen at the next list only.
    Gap,
    /// kubeherald stops; what it knows is written down.
    Down,
    /// It comes back: stored incidents, then lists.
    Up,
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

    fn tell(&self, then: &str, way: Way) -> (Vec<String>, Vec<String>) {
        let (start, out) = self.play(then, way);
        let mut said: Vec<(Timestamp, String)> =
            out.messages.iter().map(|message| (message.decided.at, line(message, start))).collect();
        // What is told at one moment has no order that means anything.
        said.sort();
        let mut held: Vec<String> = out.notes.iter().filter_map(|note| held_line(note, start)).collect();
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

/// What is not about a single incident, and the incidents.
type StoredBook = (String, Vec<(Arc<str>, String)>);

struct Run {
    config: Config,
    next_config: Option<Config>,
    start: Timestamp,
    now: Timestamp,
    way: Way,
    pipeline: Option<Pipeline>,
    gap: bool,
    stored: Vec<String>,
    silences: Vec<Silence>,
    /// Digests to come.
    books: Vec<StoredBook>,
    seen_until: Option<Timestamp>,
    world: BTreeMap<(Kind, String, String), Value>,
    out: Output,
}

impl Run {
    fn new(config: Config, start: Timestamp, way: Way, first: bool) -> Self {
        let begin = Start { first, news_since: (!first).then_some(start), ..Start::default() };
        let pipeline = Pipeline::new(&config, &Kind::ALL, start, begin).0;
        Self {
            config,
            next_config: None,
            start,
            now: start,
            way,
            pipeline: Some(pipeline),
            gap: false,
            stored: Vec::new(),
            silences: Vec::new(),
            books: Vec::new(),
            seen_until: None,
            world: BTreeMap::new(),
            out: Output::default(),
        }
    }

    fn put(&mut self, object: Value) {
        self.world.insert(place(&object), object);
    }

    fn feed(&mut self, change: Change) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.feed(self.now, change, &mut self.out);
        }
    }

    fn relist(&mut self, kinds: &[Kind]) {
        self.gap = false;
        for kind in kinds {
            self.feed(Change::Listing(*kind));
            let of_kind: Vec<Value> =
                self.world.iter().filter(|((k, ..), _)| k == kind).map(|(_, o)| o.clone()).collect();
            for object in of_kind {
                self.feed(Change::Initial(object_of(&object)));
            }
            self.feed(Change::Listed(*kind));
        }
    }

    fn step(&mut self, step: Step) {
        let seen = self.pipeline.is_some() && !self.gap;
        match step {
            Step::Applied(object) => {
                let object = builders::at(object, self.start, self.now);
                self.put(object.clone());
                if seen {
                    self.feed(Change::Applied(object_of(&object)));
                    if self.way == Way::Twice {
                        self.feed(Change::Applied(object_of(&object)));
                    }
                }
            }
            Step::Deleted(object) => {
                let object = builders::at(object, self.start, self.now);
                self.world.remove(&place(&object));
                if seen {
                    self.feed(Change::Deleted(object_of(&object)));
                }
            }
            Step::Relist => self.relist(&Kind::ALL),
            Step::List(kind) => self.relist(&[kind]),
            Step::Blind(kind) => self.feed(Change::Blind(kind, String::from("forbidden"))),
            Step::Gap => self.gap = true,
            Step::Silence(body) => {
                let pipeline = self.pipeline.as_mut().unwrap();
                pipeline.tick_until(self.now, &mut self.out);
                pipeline.add_silence(body, self.now, &mut self.out).unwrap();
                pipeline.tick_until(self.now, &mut self.out);
            }
            Step::Unsilence => {
                let pipeline = self.pipeline.as_mut().unwrap();
                pipeline.tick_until(self.now, &mut self.out);
                let ids = pipeline.engine().all_silences().filter(|s| s.origin == Origin::Api);
                let ids: Vec<Arc<str>> = ids.filter(|s| self.now < s.until).map(|s| s.id.clone()).collect();
                for id in ids {
                    pipeline.expire_silence(&id, self.now, &mut self.out).unwrap();
                }
                pipeline.tick_until(self.now, &mut self.out);
            }
            Step::Down => self.down(),
            Step::Up => self.up(),
            Step::Reload(config) => {
                self.config = Config::clone(&config);
                self.reload();
            }
        }
        if self.way == Way::Reloaded {
            self.reload();
        }
        if self.way == Way::Restarted && self.pipeline.is_some() && !self.gap {
            self.down();
            self.up();
        }
        if self.way == Way::Relisted && self.pipeline.is_some() && !self.gap {
            self.relist(&Kind::ALL);
        }
    }

    fn reload(&mut self) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.reload(self.now, &self.config, &mut self.out);
        }
    }

    /// What `run` stores: the incidents that must survive, and the silences of the API.
    fn down(&mut self) {
        let Some(mut pipeline) = self.pipeline.take() else { return };
        pipeline.tick_until(self.now, &mut self.out);
        self.stored = pipeline
            .engine()
            .incidents()
            .filter(|incident| incident.kept)
            .map(|incident| serde_json::to_string(incident).unwrap())
            .collect();
        let silences = pipeline.engine().all_silences();
        self.silences = silences.filter(|silence| silence.origin == Origin::Api).cloned().collect();
        self.books = self
            .config
            .receivers
            .iter()
            .filter_map(|receiver| pipeline.engine().digest_book(&receiver.name))
            .map(|book| {
                let entries = book
                    .entries
                    .iter()
                    .map(|(id, entry)| (Arc::clone(id), serde_json::to_string(entry).unwrap()))
                    .collect();
                (serde_json::to_string(book).unwrap(), entries)
            })
            .collect();
        self.seen_until = Some(self.now);
    }

    fn up(&mut self) {
        let incidents: Vec<Incident> =
            self.stored.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        let digests = self.books.iter().map(|(head, entries)| {
            let mut book: Book = serde_json::from_str(head).unwrap();
            book.entries = entries
                .iter()
                .map(|(id, body)| (Arc::clone(id), serde_json::from_str(body).unwrap()))
                .collect();
            book
        });
        let begin = Start {
            first: false,
            news_since: self.seen_until,
            incidents,
            silences: self.silences.clone(),
            digests: digests.collect(),
        };
        if let Some(config) = self.next_config.take() {
            self.config = config;
        }
        self.pipeline = Some(Pipeline::new(&self.config, &Kind::ALL, self.now, begin).0);
        self.relist(&Kind::ALL);
    }
}

fn place(object: &Value) -> (Kind, String, String) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    (Kind::parse(&text("/kind")).unwrap(), text("/metadata/namespace"), text("/metadata/name"))
}

fn object_of(json: &Value) -> kubeherald::watch::Object {
    decode(place(json).0, &json.to_string()).unwrap()
}

/// `+35s first crash-loop Deployment/checkout/app x4 [a b c]: why`
fn line(message: &Message, start: Timestamp) -> String {
    let decided = &message.decided;
    let offset = short(decided.at.duration_since(start).try_into().unwrap());
    let decision = decided.decision;
    if let Some(digest) = &decided.digest {
        let name = |id: &Arc<str>| {
            let i = decided.incidents.iter().find(|i| i.id == *id).unwrap();
            format!("{} {}", i.rule, i.workload)
        };
        let mut parts = Vec::new();
        for (what, section) in
            [("new", &digest.new), ("ongoing", &digest.ongoing), ("over", &digest.resolved)]
        {
            let names: Vec<String> = section.incidents.iter().map(name).collect();
            if section.total > 0 {
                parts.push(format!("{what} {}", names.join(", ")));
            }
        }
        parts.extend(digest.held.iter().map(|held| format!("{} {}", held.reason, held.count)));
        let receivers = decided.receivers.join(" ");
        return format!("+{offset} digest to {receivers}: {}", parts.join("; "));
    }
    if decision.is_summary() {
        let list: Vec<String> =
            decided.incidents.iter().map(|i| format!("{} {}", i.rule, i.workload)).collect();
        return format!("+{offset} {decision} {}: {}", decided.total, list.join(", "));
    }
    let i = &decided.incidents[0];
    let container = i.container.as_deref().map(|c| format!("/{c}")).unwrap_or_default();
    let who = format!("{} {}{container}", i.rule, i.workload);
    if decision.is_end() {
        let lasted = i.ended_at.unwrap().duration_since(i.since).try_into().unwrap_or(Duration::ZERO);
        return format!("+{offset} {decision} {who} {} after {}", decided.reason, short(lasted));
    }
    let names: Vec<&str> = i.members.iter().map(|m| &**m).collect();
    let members = if i.members_total <= 3 { names.join(" ") } else { format!("{} of them", i.members_total) };
    let held: u32 = i.held.iter().map(|h| h.members).sum();
    let held = if held > 0 { format!(" (holds {held})") } else { String::new() };
    let mut why: String = i.why.replace('\n', " ").chars().take(70).collect();
    if !i.deeper.is_empty() {
        why = format!("{why} <- {}", i.deeper.chars().take(40).collect::<String>());
    }
    format!("+{offset} {decision} {who} x{} [{members}]{held}: {why}", i.occurrences)
}

/// `+15s silenced_by crash-loop Deployment/checkout first: load-test`
fn held_line(note: &Note, start: Timestamp) -> Option<String> {
    let (reason, by) = (note.reason, note.detail.as_deref()?);
    let plain = by.chars().all(|c| c.is_ascii_alphanumeric());
    // An incident's id has ten characters, that of a silence of the API eight, other every day.
    let quiet = matches!(reason, Reason::SilencedBy | Reason::Muted)
        || (reason == Reason::NeverTold && !(plain && by.len() == 10));
    let by = if plain && by.len() == 8 { "api" } else { by };
    let offset = short(note.at.duration_since(start).try_into().unwrap());
    let held = note.held.map(|held| format!(" {held}")).unwrap_or_default();
    quiet.then(|| format!("+{offset} {reason} {} {}{held}: {by}", note.rule, note.workload))
}

/// `1h2m3s`
fn short(span: Duration) -> String {
    let secs = span.as_secs();
    let mut out = String::new();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        let n = if unit == 86_400 {
            secs / unit
        } else {
            secs % (unit * if unit == 3600 { 24 } else { 60 }) / unit
        };
        if n > 0 {
            out.push_str(&format!("{n}{name}"));
        }
    }
    if out.is_empty() { String::from("0s") } else { out }
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
