//! A state machine of the outbox beside the real store: the same operations on both, with the end
//! of the process between any two of them.

mod expected;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use self::expected::{Dead, Model, Row};
use super::protocol::{self, Rules, Step};
use super::{Backoff, fold};
use crate::notify::Outcome;
use crate::store::fixture::{Place, at, dead_letters, note};
use crate::store::{Claim, Commit, FoldQuery, FoldRow, HeadRow, Settle, Store};

const RECEIVERS: [&str; 2] = ["x", "y"];
const THREADS: [&str; 5] = ["a", "b", "c", "d", "e"];
const FOLD_FROM: usize = 3;
const MAX_AGE: u64 = 2_000;

#[derive(Debug, Clone)]
enum Op {
    /// The engine commits so many rows of a receiver and thread.
    Enqueue {
        receiver: usize,
        thread: usize,
        rows: usize,
    },
    /// The engine replays: a key that is known is committed again.
    Replay {
        which: usize,
    },
    /// A dispatcher takes its next step as far as `until`, then the process ends (or goes on).
    /// `limited`: the rate limit had held it back before.
    Dispatch {
        receiver: usize,
        outcome: Answer,
        until: Until,
        limited: bool,
    },
    /// The process ends between two steps and starts again.
    Restart,
    Sleep {
        seconds: i64,
    },
    /// A person sends a dead letter again.
    Resend {
        which: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    Later,
    After(u64),
    No,
    /// The receiver as such.
    Never,
}

impl Answer {
    fn outcome(self) -> Outcome {
        let reason = "r".to_owned();
        match self {
            Self::Yes => Outcome::Delivered { handle: None },
            Self::Later => Outcome::Retry { after: None, reason },
            Self::After(s) => Outcome::Retry { after: Some(Duration::from_secs(s)), reason },
            Self::No => Outcome::Reject { reason },
            Self::Never => Outcome::Refused { reason },
        }
    }
}

/// Where the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Chosen,
    Claimed,
    Attempted,
    Settled,
    Never,
}

fn op() -> impl Strategy<Value = Op> {
    let answer = prop_oneof![
        4 => Just(Answer::Yes),
        3 => Just(Answer::Later),
        1 => (0_u64..120).prop_map(Answer::After),
        1 => Just(Answer::No),
        1 => Just(Answer::Never),
    ];
    let until = prop_oneof![
        12 => Just(Until::Never),
        1 => Just(Until::Chosen),
        1 => Just(Until::Claimed),
        1 => Just(Until::Attempted),
        1 => Just(Until::Settled),
    ];
    prop_oneof![
        5 => (0..2_usize, 0..5_usize, 1..4_usize)
            .prop_map(|(receiver, thread, rows)| Op::Enqueue { receiver, thread, rows }),
        1 => any::<usize>().prop_map(|which| Op::Replay { which }),
        12 => (0..2_usize, answer, until, any::<bool>())
            .prop_map(|(receiver, outcome, until, limited)| Op::Dispatch { receiver, outcome, until, limited }),
        1 => Just(Op::Restart),
        4 => (0_i64..400).prop_map(|seconds| Op::Sleep { seconds }),
        1 => any::<usize>().prop_map(|which| Op::Resend { which }),
    ]
}

struct World {
    place: Place,
    store: Option<Store>,
    model: Model,
    now: i64,
    rng: fastrand::Rng,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        let mut world =
            Self { place, store: None, model: Model::default(), now: 0, rng: fastrand::Rng::with_seed(1) };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.store = None;
        let store = self.place.open();
        for receiver in RECEIVERS {
            store.recover(&Arc::from(receiver)).wait().unwrap();
            store.resume_outage(&Arc::from(receiver)).wait().unwrap();
        }
        for (_, until) in self.model.refuses.iter_mut().flatten() {
            *until = 0;
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
                        self.model.open[receiver].push(Row::new(&key, thread, self.now));
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
                let was = self.model.dead.remove(key).unwrap();
                assert!(self.store().resend_dead(key, at(self.now)).wait().unwrap());
                self.model.once_more(key);
                let row = Row { alone: was.inside, ..Row::new(key, was.thread, self.now) };
                self.model.open[was.receiver].push(row);
            }
            Op::Dispatch { receiver, outcome, until, limited } => {
                if self.dispatch(receiver, outcome, until, limited) {
                    self.restart();
                }
            }
        }
    }

    /// Statements 2 to 6. True: the process ended on the way.
    fn dispatch(&mut self, receiver: usize, answer: Answer, until: Until, limited: bool) -> bool {
        let name: Arc<str> = Arc::from(RECEIVERS[receiver]);
        let rules = Self::rules(receiver);
        let heads = self.store().heads(&name, &rules.gate, Vec::new(), at(self.now)).wait().unwrap();
        let expected = self.model.due(receiver, self.now).cloned();
        assert_eq!(heads.due.as_ref().map(|r| &r.key), expected.as_ref().map(|r| &r.key));

        match protocol::next(&heads, at(self.now), &rules, || Ok(())) {
            Step::Idle => {
                assert!(self.model.open[receiver].is_empty(), "something waits and nobody would wake");
                false
            }
            Step::Wait(wait) => {
                assert!(!wait.is_zero());
                assert!(expected.is_none() || self.model.closed_until(receiver) > self.now);
                false
            }
            Step::Bury { row, reason } => {
                let expected = expected.unwrap();
                assert!(self.now >= expected.queued_at + i64::try_from(MAX_AGE).unwrap());
                self.settle(receiver, &row, &Settle::Dead { reason });
                false
            }
            Step::Attempt(row) => self.attempt(receiver, &row, answer, until, limited),
        }
    }

    /// Statements 3 to 6 for a row, or for a summary with it.
    fn attempt(
        &mut self,
        receiver: usize,
        row: &HeadRow,
        answer: Answer,
        until: Until,
        limited: bool,
    ) -> bool {
        assert!(self.model.closed_until(receiver) <= self.now, "Retry-After and pauses are respected");
        if until == Until::Chosen {
            return true;
        }
        let expected = self.model.due(receiver, self.now).unwrap();
        assert_eq!((&row.inside, row.foldable), (&expected.inside, !expected.alone));
        if let Some(rows) = self.together(receiver, row, limited) {
            return self.dispatch_fold(receiver, &rows, answer, until);
        }
        let claim = self.store().claim(row.seq, at(self.now)).wait().unwrap();
        let Claim::Claimed { notification, attempt, .. } = claim else { panic!("{claim:?}") };
        assert_eq!(notification.key, row.key);
        self.model.row(receiver, &row.key).attempts += 1;
        if until >= Until::Attempted {
            self.model.sent(&row.key, &row.key);
        }
        if matches!(until, Until::Claimed | Until::Attempted) {
            // From outside, one cannot be told from the other.
            self.model.row(receiver, &row.key).alone = true;
            self.model.ambiguous.insert(row.key.clone(), row.key.clone());
            if until == Until::Attempted {
                self.model.once_more(&row.key);
            }
            return true;
        }
        let settle = protocol::after(
            answer.outcome(),
            row.queued_at,
            (attempt, self.model.refuses[receiver].map_or(0, |(times, _)| times)),
            at(self.now),
            &Self::rules(receiver),
            &mut self.rng,
        );
        self.settle(receiver, row, &settle);
        self.answered(receiver, answer, until);
        until == Until::Settled
    }

    /// The rows to tell together with this one, if so.
    fn together(&self, receiver: usize, head: &HeadRow, limited: bool) -> Option<Vec<FoldRow>> {
        let name: Arc<str> = Arc::from(RECEIVERS[receiver]);
        if let Some(key) = &head.inside {
            let rows = self.store().folded(&name, key).wait().unwrap().unwrap();
            let open = self.model.open[receiver].iter();
            let mut expected: Vec<&String> =
                open.filter(|r| r.inside.as_ref() == Some(key)).map(|r| &r.key).collect();
            let mut found: Vec<&String> = rows.iter().map(|r| &r.notification.key).collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected);
            return Some(rows);
        }
        let query = FoldQuery {
            receiver: name,
            recipient: Arc::from(""),
            now: at(self.now),
            queued_after: Self::rules(receiver).born_after(at(self.now)),
            threads: 500,
        };
        let rows = self.store().foldable(query).wait().unwrap();
        let found: Vec<&String> = rows.iter().map(|r| &r.notification.key).collect();
        assert_eq!(found, self.model.foldable(receiver, self.now).iter().collect::<Vec<_>>());
        let incidents: BTreeSet<&str> = rows.iter().map(|r| r.notification.thread()).collect();
        (limited && head.foldable && incidents.len() >= FOLD_FROM).then_some(rows)
    }

    /// Statements 3 to 6 for a summary.
    fn dispatch_fold(&mut self, receiver: usize, rows: &[FoldRow], answer: Answer, until: Until) -> bool {
        let name: Arc<str> = Arc::from(RECEIVERS[receiver]);
        let keys: Vec<String> = rows.iter().map(|r| r.notification.key.clone()).collect();
        let inside = self.model.row(receiver, &keys[0]).inside.clone();
        let fold = inside.unwrap_or_else(|| fold::key(&name, "", rows));
        let seqs = rows.iter().map(|r| r.seq).collect();
        let claim = self.store().claim_fold(&fold, seqs, at(self.now)).wait().unwrap().unwrap();
        for key in &keys {
            let row = self.model.row(receiver, key);
            row.inside = Some(fold.clone());
            row.attempts += 1;
            if until >= Until::Attempted {
                self.model.sent(key, &fold);
            }
            if matches!(until, Until::Claimed | Until::Attempted) {
                self.model.ambiguous.insert(key.clone(), fold.clone());
            }
            if until == Until::Attempted {
                self.model.once_more(key);
            }
        }
        if matches!(until, Until::Claimed | Until::Attempted) {
            return true;
        }
        let settle = protocol::after(
            answer.outcome(),
            claim.queued_at,
            (claim.attempt, self.model.refuses[receiver].map_or(0, |(times, _)| times)),
            at(self.now),
            &Self::rules(receiver),
            &mut self.rng,
        );
        let settled = self.store().settle_fold(&name, &fold, settle.clone(), None, at(self.now));
        assert_eq!(settled.wait().unwrap(), rows.len());
        if let Settle::Refused { until, .. } = &settle {
            self.refused(receiver, *until);
        }
        for key in &keys {
            self.settled(receiver, key, &settle);
        }
        self.answered(receiver, answer, until);
        until == Until::Settled
    }

    fn refused(&mut self, receiver: usize, until: jiff::Timestamp) {
        let times = self.model.refuses[receiver].map_or(0, |(times, _)| times);
        let until = until.as_second() - at(0).as_second();
        self.model.refuses[receiver] = Some((times + 1, until));
    }

    /// An answer about a message ends a refusal, unless the process ended before that was written down.
    fn answered(&mut self, receiver: usize, answer: Answer, until: Until) {
        if until == Until::Never && answer.outcome().is_answer() && self.model.refuses[receiver].is_some() {
            self.store().end_outage(&Arc::from(RECEIVERS[receiver])).wait().unwrap();
            self.model.refuses[receiver] = None;
        }
    }

    fn settle(&mut self, receiver: usize, row: &HeadRow, settle: &Settle) {
        if let Settle::Refused { until, .. } = settle {
            self.refused(receiver, *until);
        }
        assert!(self.store().settle(row.seq, settle.clone(), at(self.now)).wait().unwrap());
        self.settled(receiver, &row.key, settle);
        // Only what is too old ends by itself although it was to be told in a summary. The others of
        // that summary are free again.
        for row in self.model.open[receiver].iter_mut().filter(|r| r.inside.is_some()) {
            if row.inside == self.model.last_inside {
                row.inside = None;
                self.model.ambiguous.remove(&row.key);
            }
        }
    }

    fn settled(&mut self, receiver: usize, key: &str, settle: &Settle) {
        self.model.last_inside = None;
        match settle {
            Settle::Delivered { .. } => {
                self.model.remove(receiver, key);
                assert!(self.model.delivered.insert(key.to_owned()), "delivered twice");
            }
            Settle::Dead { .. } => {
                let gone = self.model.remove(receiver, key);
                let dead = Dead { receiver, thread: gone.thread, inside: gone.inside.is_some() };
                self.model.last_inside = gone.inside;
                self.model.ambiguous.remove(key);
                self.model.dead.insert(key.to_owned(), dead);
            }
            Settle::Refused { .. } => {
                self.model.once_more(key);
                self.model.row(receiver, key).not_before = 0;
            }
            Settle::Retry { not_before, gate, .. } => {
                // Rounded up: the model counts whole seconds.
                let seconds = |t: jiff::Timestamp| {
                    let micros = t.as_microsecond() - at(0).as_microsecond();
                    micros.div_euclid(1_000_000) + i64::from(micros.rem_euclid(1_000_000) > 0)
                };
                let model = &mut self.model;
                model.once_more(key);
                model.row(receiver, key).not_before = seconds(*not_before);
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
                self.dispatch(receiver, Answer::Yes, Until::Never, steps % 2 == 0);
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
        let dead = dead_letters(self.store()).wait().unwrap();
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
