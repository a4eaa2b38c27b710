//! Half an hour of cluster life, played into the simulated API server in a minute: the same objects
//! in the same order and with the same pauses (back-off, grace times, probes) as a real control
//! plane writes them. Six things go wrong and are mended again, between rollouts, scaling, Jobs and
//! heartbeats that nobody needs to hear of.
//!
//! Everything happens at a story time, in a fixed order; [`Story::play`] waits in between, on the
//! clock it is given. On a clock that goes [`SPEED`] times as fast as the system's the story takes a
//! minute, and rules made for real clusters fit it as they are.

mod cluster;
mod controllers;
mod failures;
mod jobs;
mod objects;
mod plot;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::apiserver::{ApiServer, InvalidObject};
use crate::clock::{self, Clock};
use cluster::{EventKey, Key};
use controllers::Workload;
use jobs::Cron;
use objects::{Node, Pod};

pub use plot::{CLUSTER, LENGTH};

/// How fast a clock has to go for the story to take a minute.
pub const SPEED: u32 = 30;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    Trouble,
    Mended,
    /// Nobody needs to know.
    Life,
    /// About the story itself.
    Story,
}

/// What happened, in a line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// When, on the cluster's clock.
    pub at: Timestamp,
    /// What kind of thing.
    pub tone: Tone,
    pub text: String,
}

/// What the story does to the cluster's objects.
#[derive(Debug)]
pub enum Write<'a> {
    Apply(Value),
    Delete {
        kind: &'a str,
        /// Empty for cluster-scoped kinds.
        namespace: &'a str,
        name: &'a str,
    },
    /// A run of a container leaves its log.
    Log {
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        /// The run, as the pod's status names it.
        id: &'a str,
        lines: &'a [&'a str],
    },
}

type Act = Box<dyn FnOnce(&mut Story) + Send>;
type Sink = Box<dyn FnMut(Timestamp, Write<'_>) -> Result<(), InvalidObject> + Send>;

/// The cluster, and what is still to happen in it.
pub struct Story {
    sink: Sink,
    began: Timestamp,
    clock: Clock,
    now: Duration,
    /// By time, then by order of planning.
    plan: BTreeMap<(Duration, u64), Act>,
    planned: u64,
    lines: Vec<Line>,
    writes: u64,
    refused: Option<InvalidObject>,
    over: bool,
    names: u64,
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<Key, Pod>,
    workloads: BTreeMap<Key, Workload>,
    crons: BTreeMap<Key, Cron>,
    /// Secrets that somebody has made meanwhile.
    secrets: BTreeSet<String>,
    events: BTreeMap<EventKey, objects::Happening>,
    event_order: VecDeque<EventKey>,
}

impl Story {
    /// Puts the cluster as it is at the beginning into `server`.
    pub fn new(server: Arc<ApiServer>, clock: Clock) -> Result<Self, InvalidObject> {
        server.set_clock(clock.clone());
        let sink = move |at, write: Write<'_>| {
            match write {
                Write::Apply(object) => drop(server.apply(object)?),
                Write::Delete { kind, namespace, name } => drop(server.delete(kind, namespace, name)),
                Write::Log { namespace, pod, container, id, lines } => {
                    server.log((namespace, pod, container), id, lines.iter().map(|line| (at, *line)));
                }
            }
            Ok(())
        };
        Self::with(sink, clock)
    }

    /// The same for whoever wants the writes, each with its time. Without [`Self::play`] nobody
    /// waits for anything.
    pub fn with(
        sink: impl FnMut(Timestamp, Write<'_>) -> Result<(), InvalidObject> + Send + 'static,
        clock: Clock,
    ) -> Result<Self, InvalidObject> {
        let mut story = Self {
            sink: Box::new(sink),
            began: clock.now(),
            clock,
            now: Duration::ZERO,
            plan: BTreeMap::new(),
            planned: 0,
            lines: Vec::new(),
            writes: 0,
            refused: None,
            over: false,
            names: 0x9e37_79b9_7f4a_7c15,
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            workloads: BTreeMap::new(),
            crons: BTreeMap::new(),
            secrets: BTreeSet::new(),
            events: BTreeMap::new(),
            event_order: VecDeque::new(),
        };
        story.set_the_stage();
        // What stands at the beginning is no news.
        story.writes = 0;
        story.lines.clear();
        match story.refused.take() {
            Some(refused) => Err(refused),
            None => Ok(story),
        }
    }

    /// The curtain rises now: what was prepared before has been there for long.
    pub fn begin(&mut self) {
        self.began = self.clock.now();
    }

    /// Plays until `stop`, or, with `once`, to the end. `look` is called after each thing that
    /// happened.
    pub async fn play(
        &mut self,
        once: bool,
        stop: &CancellationToken,
        mut look: impl FnMut(&mut Self),
    ) -> Result<(), InvalidObject> {
        while let Some(at) = self.next_at() {
            let wait = clock::between(self.clock.now(), clock::after(self.began, at));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = self.clock.sleep(wait) => {}
            }
            self.step();
            look(self);
            if let Some(refused) = self.refused.take() {
                return Err(refused);
            }
            if once && self.over {
                return Ok(());
            }
        }
        Ok(())
    }

    /// When the next thing happens, in story time.
    pub fn next_at(&self) -> Option<Duration> {
        self.plan.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does the next thing.
    pub fn step(&mut self) {
        if let Some(((at, _), act)) = self.plan.pop_first() {
            self.now = at;
            act(self);
        }
    }

    /// What happened since this was asked the last time.
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// How many objects were written since the beginning.
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    /// Is the story over? Normal life goes on.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    // === What acts are made of ===

    /// So many seconds from the beginning.
    fn at(&mut self, seconds: f64, act: impl FnOnce(&mut Self) + Send + 'static) {
        self.plan(Duration::from_secs_f64(seconds), Box::new(act));
    }

    /// Some seconds from now.
    fn after(&mut self, seconds: f64, act: impl FnOnce(&mut Self) + Send + 'static) {
        self.plan(self.now + Duration::from_secs_f64(seconds), Box::new(act));
    }

    fn plan(&mut self, at: Duration, act: Act) {
        self.planned += 1;
        self.plan.insert((at, self.planned), act);
    }

    fn say(&mut self, tone: Tone, text: impl Into<String>) {
        let at = self.timestamp();
        self.lines.push(Line { at, tone, text: text.into() });
    }

    fn apply(&mut self, object: Value) {
        self.write(Write::Apply(object));
    }

    fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        self.write(Write::Delete { kind, namespace, name });
    }

    fn write(&mut self, write: Write<'_>) {
        self.writes += u64::from(!matches!(write, Write::Log { .. }));
        let at = self.timestamp();
        if let Err(refused) = (self.sink)(at, write) {
            self.refused.get_or_insert(refused);
        }
    }

    fn timestamp(&self) -> Timestamp {
        clock::after(self.began, self.now)
    }

    /// The time as the API writes it: whole seconds.
    fn time(&self) -> String {
        let now = self.timestamp();
        Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
    }

    /// A number that looks like chance and is the same every time.
    fn number(&mut self) -> u64 {
        // splitmix64
        self.names = self.names.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.names;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn uid(&mut self) -> String {
        let (a, b) = (self.number(), self.number());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }

    /// So many letters of the alphabet that Kubernetes makes names of: no vowels, no words.
    fn letters(&mut self, count: usize) -> String {
        let mut number = self.number();
        let mut out = String::new();
        for _ in 0..count {
            let place = usize::try_from(number % 27).unwrap_or_default();
            out.push(b"bcdfghjklmnpqrstvwxz2456789".get(place).map_or('x', |b| char::from(*b)));
            number /= 27;
        }
        out
    }
}
