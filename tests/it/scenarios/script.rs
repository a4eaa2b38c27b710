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
use kubeherald::engine::Incident;
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
    begins: Option<Arc<Config>>,
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
    pub fn under(mut self, config: &Arc<Config>) -> Self {
        self.begins = Some(Arc::clone(config));
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

    fn config(&self) -> Config {
        let mut config = self.begins.as_deref().unwrap_or(shipped()).clone();
        if let Some((incidents, members)) = self.caps {
            (config.engine.max_incidents, config.engine.max_members) = (incidents, members);
        }
        config
    }

    /// What was said until `then` after the last step.
    pub fn run(&self, then: &str) -> Vec<String> {
        let plain = self.tell(then, Way::Plain);
        if !self.plain {
            for way in [Way::OtherDay, Way::Twice, Way::Reloaded, Way::Relisted] {
                assert_eq!(self.tell(then, way), plain, "{way:?} (left) differs from plain (right)");
            }
            self.survives_restarts(then, &plain);
        }
        plain
    }

    /// kubeherald restarts after each step: whatever else that changes, nothing is told for the
    /// first time twice, and no end without a beginning.
    fn survives_restarts(&self, then: &str, plain: &[String]) {
        let restarted = self.tell(then, Way::Restarted);
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

    fn tell(&self, then: &str, way: Way) -> Vec<String> {
        let start: Timestamp = match way {
            Way::OtherDay => "2031-02-28T23:59:30Z",
            _ => "2026-11-21T08:00:00Z",
        }
        .parse()
        .unwrap();
        let mut run = Run::new(self.config(), start, way, !self.known);
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
        let mut said: Vec<(Timestamp, String)> =
            run.out.messages.iter().map(|message| (message.decided.at, line(message, start))).collect();
        // What is told at one moment has no order that means anything.
        said.sort();
        said.into_iter().map(|(_, line)| line).collect()
    }
}

struct Run {
    config: Config,
    start: Timestamp,
    now: Timestamp,
    way: Way,
    pipeline: Option<Pipeline>,
    gap: bool,
    stored: Vec<String>,
    seen_until: Option<Timestamp>,
    world: BTreeMap<(Kind, String, String), Value>,
    out: Output,
}

impl Run {
    fn new(config: Config, start: Timestamp, way: Way, first: bool) -> Self {
        let begin = Start { first, news_since: (!first).then_some(start), incidents: Vec::new() };
        let pipeline = Pipeline::new(&config, &Kind::ALL, start, begin).0;
        Self {
            config,
            start,
            now: start,
            way,
            pipeline: Some(pipeline),
            gap: false,
            stored: Vec::new(),
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

    /// What `run` stores: the incidents that were told.
    fn down(&mut self) {
        let Some(mut pipeline) = self.pipeline.take() else { return };
        pipeline.tick_until(self.now, &mut self.out);
        self.stored = pipeline
            .engine()
            .incidents()
            .filter(|incident| incident.told_at.is_some())
            .map(|incident| serde_json::to_string(incident).unwrap())
            .collect();
        self.seen_until = Some(self.now);
    }

    fn up(&mut self) {
        let incidents: Vec<Incident> =
            self.stored.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        let begin = Start { first: false, news_since: self.seen_until, incidents };
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
