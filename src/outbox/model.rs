//! A state machine of the outbox beside the real store: the same operations on both, with the end
//! of the process between any two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::Backoff;
use super::protocol::{self, Rules, Step};
use crate::notify::Outcome;
use crate::store::fixture::{at, note};
use crate::store::{Claim, Commit, Durability, HeadRow, Options, Store};

const RECEIVERS: [&str; 2] = ["x", "y"];
const THREADS: [&str; 3] = ["a", "b", "c"];
const MAX_AGE: u64 = 2_000;

#[derive(Debug, Clone)]
enum Op {
    /// The engine commits so many rows of a receiver and thread.
    Enqueue { receiver: usize, thread: usize, rows: usize },
    /// The engine replays: a key that is known is committed again.
    Replay { which: usize },
    /// A dispatcher takes its next step as far as `until`, then the process ends (or goes on).
    Dispatch { receiver: usize, outcome: Answer, until: Until },
    /// The process ends between two steps and starts again.
    Restart,
    /// Time passes.
    Sleep { seconds: i64 },
    /// A person sends a dead letter again.
    Resend { which: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    Later,
    After(u64),
    No,
}

/// Where the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Chosen,
    Claimed,
    Attempted,
    Settled,
    /// It does not.
    Never,
}

fn op() -> impl Strategy<Value = Op> {
    let answer = prop_oneof![
        4 => Just(Answer::Yes),
        3 => Just(Answer::Later),
        1 => (0_u64..120).prop_map(Answer::After),
        1 => Just(Answer::No),
    ];
    let until = prop_oneof![
        12 => Just(Until::Never),
        1 => Just(Until::Chosen),
        1 => Just(Until::Claimed),
        1 => Just(Until::Attempted),
        1 => Just(Until::Settled),
    ];
    prop_oneof![
        5 => (0..2_usize, 0..3_usize, 1..4_usize)
            .prop_map(|(receiver, thread, rows)| Op::Enqueue { receiver, thread, rows }),
        1 => any::<usize>().prop_map(|which| Op::Replay { which }),
        12 => (0..2_usize, answer, until)
            .prop_map(|(receiver, outcome, until)| Op::Dispatch { receiver, outcome, until }),
        1 => Just(Op::Restart),
        4 => (0_i64..400).prop_map(|seconds| Op::Sleep { seconds }),
        1 => any::<usize>().prop_map(|which| Op::Resend { which }),
    ]
}

/// A row as it should be.
#[derive(Debug, Clone)]
struct Row {
    key: String,
    thread: usize,
    not_before: i64,
    queued_at: i64,
}

/// What should be true, kept as simply as possible.
#[derive(Debug, Default)]
struct Model {
    /// Open rows in order, by receiver.
    open: [Vec<Row>; 2],
    gate: [i64; 2],
    delivered: BTreeSet<String>,
    dead: BTreeMap<String, (usize, usize)>,
    /// How often the other side saw a key.
    wire: BTreeMap<String, u32>,
    /// How often it may have: once, and once more for each attempt that is recorded as failed, was
    /// made but not recorded (the ambiguous point), or was asked for by a person.
    allowed: BTreeMap<String, u32>,
    keys: Vec<(String, usize, usize)>,
}

impl Model {
    /// The lowest due row that no earlier row of its thread holds back.
    fn due(&self, receiver: usize, now: i64) -> Option<&Row> {
        let rows = &self.open[receiver];
        rows.iter().enumerate().find_map(|(i, row)| {
            let held = rows[..i].iter().any(|earlier| earlier.thread == row.thread);
            (!held && row.not_before <= now).then_some(row)
        })
    }

    fn once_more(&mut self, key: &str) {
        *self.allowed.entry(key.to_owned()).or_default() += 1;
    }

    fn remove(&mut self, receiver: usize, key: &str) -> Row {
        let i = self.open[receiver].iter().position(|r| r.key == key).unwrap();
        self.open[receiver].remove(i)
    }
}

struct World {
    dir: TempDir,
    store: Option<Store>,
    model: Model,
    now: i64,
    rng: fastrand::Rng,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world =
            Self { dir, store: None, model: Model::default(), now: 0, rng: fastrand::Rng::with_seed(1) };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.store = None;
        let options = Options {
            path: Some(self.dir.path().join("herald.db")),
            durability: Durability::Process,
            ..Options::default()
        };
        let store = Store::open_with(&options).unwrap();
        for receiver in RECEIVERS {
            store.recover(&Arc::from(receiver)).wait().unwrap();
        }
        self.store = Some(store);
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn rules(receiver: usize) -> Rules {
        Rules {
            max_age: Duration::from_secs(MAX_AGE),
            backoff: Backoff::default(),
            gate: Arc::from(RECEIVERS[receiver]),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Enqueue { receiver, thread, rows } => {
                let notifications = (0..rows)
                    .map(|_| {
                        let key = format!("k{}", self.model.keys.len());
                        self.model.keys.push((key.clone(), receiver, thread));
                        self.model.once_more(&key);
                        self.model.open[receiver].push(Row {
                            key: key.clone(),
                            thread,
                            not_before: 0,
                            queued_at: self.now,
                        });
                        note(&key, RECEIVERS[receiver], THREADS[thread], at(self.now))
                    })
                    .collect();
                self.store().commit(Commit { notifications, ..Commit::default() }).wait().unwrap();
            }
            Op::Replay { which } => {
                let Some((key, receiver, thread)) = pick(&self.model.keys, which) else { return };
                let again = note(key, RECEIVERS[*receiver], THREADS[*thread], at(self.now));
                self.store()
                    .commit(Commit { notifications: vec![again], ..Commit::default() })
                    .wait()
                    .unwrap();
            }
            Op::Restart => self.restart(),
            Op::Sleep { seconds } => self.now += seconds,
            Op::Resend { which } => {
                let dead: Vec<String> = self.model.dead.keys().cloned().collect();
                let Some(key) = pick(&dead, which) else { return };
                let (receiver, thread) = self.model.dead.remove(key).unwrap();
                assert!(self.store().resend_dead(key, at(self.now)).wait().unwrap());
                self.model.once_more(key);
                self.model.open[receiver].push(Row {
                    key: key.clone(),
                    thread,
                    not_before: 0,
                    queued_at: self.now,
                });
            }
            Op::Dispatch { receiver, outcome, until } => {
                if self.dispatch(receiver, outcome, until) {
                    self.restart();
                }
            }
        }
    }

    /// Statements 2 to 6. True: the process ended on the way.
    fn dispatch(&mut self, receiver: usize, answer: Answer, until: Until) -> bool {
        let name: Arc<str> = Arc::from(RECEIVERS[receiver]);
        let rules = Self::rules(receiver);
        let heads = self.store().heads(&name, &rules.gate, at(self.now)).wait().unwrap();
        let expected = self.model.due(receiver, self.now).cloned();
        assert_eq!(heads.due.as_ref().map(|r| &r.key), expected.as_ref().map(|r| &r.key));

        match protocol::next(&heads, at(self.now), &rules, || Ok(())) {
            Step::Idle => {
                assert!(self.model.open[receiver].is_empty(), "something waits and nobody would wake");
                false
            }
            Step::Wait(wait) => {
                assert!(!wait.is_zero());
                assert!(expected.is_none() || self.model.gate[receiver] > self.now);
                false
            }
            Step::Bury { row, reason } => {
                let expected = expected.unwrap();
                assert!(self.now >= expected.queued_at + i64::try_from(MAX_AGE).unwrap());
                self.settle(receiver, &row, crate::store::Settle::Dead { reason });
                false
            }
            Step::Attempt(row) => {
                assert!(self.model.gate[receiver] <= self.now, "Retry-After is respected");
                if until == Until::Chosen {
                    return true;
                }
                let claim = self.store().claim(row.seq, at(self.now)).wait().unwrap();
                let Claim::Claimed { notification, attempt, .. } = claim else { panic!("{claim:?}") };
                assert_eq!(notification.key, row.key);
                if until == Until::Claimed {
                    return true;
                }
                *self.model.wire.entry(row.key.clone()).or_default() += 1;
                if until == Until::Attempted {
                    self.model.once_more(&row.key);
                    return true;
                }
                let outcome = match answer {
                    Answer::Yes => Outcome::Delivered { handle: None },
                    Answer::Later => Outcome::Retry { after: None, reason: "r".into() },
                    Answer::After(s) => {
                        Outcome::Retry { after: Some(Duration::from_secs(s)), reason: "r".into() }
                    }
                    Answer::No => Outcome::Reject { reason: "r".into() },
                };
                let settle =
                    protocol::after(outcome, row.queued_at, attempt, at(self.now), &rules, &mut self.rng);
                self.settle(receiver, &row, settle);
                until == Until::Settled
            }
        }
    }

    fn settle(&mut self, receiver: usize, row: &HeadRow, settle: crate::store::Settle) {
        use crate::store::Settle;
        assert!(self.store().settle(row.seq, settle.clone(), at(self.now)).wait().unwrap());
        match settle {
            Settle::Delivered { .. } => {
                self.model.remove(receiver, &row.key);
                assert!(self.model.delivered.insert(row.key.clone()), "delivered twice");
            }
            Settle::Dead { .. } => {
                let gone = self.model.remove(receiver, &row.key);
                self.model.dead.insert(row.key.clone(), (receiver, gone.thread));
            }
            Settle::Retry { not_before, gate, .. } => {
                // Rounded up: the model counts whole seconds.
                let seconds = |t: jiff::Timestamp| {
                    let micros = t.as_microsecond() - at(0).as_microsecond();
                    micros.div_euclid(1_000_000) + i64::from(micros.rem_euclid(1_000_000) > 0)
                };
                let model = &mut self.model;
                model.once_more(&row.key);
                let row = model.open[receiver].iter_mut().find(|r| r.key == row.key).unwrap();
                row.not_before = seconds(not_before);
                if let Some(gate) = gate {
                    model.gate[receiver] = model.gate[receiver].max(seconds(gate.until));
                }
            }
        }
    }

    /// Lets everything end well, and looks at what came of it.
    fn finish(mut self) {
        self.restart();
        for receiver in 0..RECEIVERS.len() {
            let mut steps = 0;
            while !self.model.open[receiver].is_empty() {
                let before = self.model.open[receiver].len();
                self.dispatch(receiver, Answer::Yes, Until::Never);
                if self.model.open[receiver].len() == before {
                    self.now += 10;
                }
                steps += 1;
                assert!(steps < 10_000, "it never ends");
            }
        }
        let model = &self.model;
        for (key, _, _) in &model.keys {
            let ends = usize::from(model.delivered.contains(key)) + usize::from(model.dead.contains_key(key));
            assert_eq!(ends, 1, "{key} is lost or has two ends");
            assert!(model.wire.get(key) <= model.allowed.get(key), "{key} was sent too often");
            assert!(!model.delivered.contains(key) || model.wire.contains_key(key));
        }
        let dead = self.store().dead_letters(None, 0, 10_000).wait().unwrap();
        let dead: BTreeSet<&str> = dead.iter().map(|d| d.key.as_str()).collect();
        assert_eq!(dead, model.dead.keys().map(String::as_str).collect());
        let sizes = self.store().sizes().wait().unwrap();
        assert!(sizes.receivers.iter().all(|r| r.queued + r.sending == 0), "{sizes:?}");
    }
}

fn pick<T>(from: &[T], which: usize) -> Option<&T> {
    if from.is_empty() { None } else { from.get(which % from.len()) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Order per thread and receiver, and which row is due, are compared at every step; loss, double
    /// ends and what is on disk at the end.
    #[test]
    fn the_store_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.finish();
    }
}
