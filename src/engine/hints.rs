//! Texts that came before the problem they explain: Events overtake the status.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::incident::object_key;
use crate::clock::{self, moved};
use crate::signal::redact::Redactor;
use crate::signal::{Cause, Signal};

const MAX_HINTS: usize = 4096;
const HINT_AGE: Duration = Duration::from_secs(600);

type Problem = (Arc<str>, Cause);

#[derive(Debug)]
pub(super) struct Hint {
    pub message: Arc<str>,
    pub weight: u8,
    pub not_before: Option<Timestamp>,
    pub count: u32,
    at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Hints {
    by_problem: HashMap<Problem, Hint>,
    order: VecDeque<(Timestamp, Problem)>,
}

impl Hints {
    pub fn remember(&mut self, now: Timestamp, signal: &Signal) {
        while self.order.len() >= MAX_HINTS
            || self.order.front().is_some_and(|(at, _)| clock::between(*at, now) > HINT_AGE)
        {
            let Some((at, key)) = self.order.pop_front() else { break };
            if self.by_problem.get(&key).is_some_and(|hint| hint.at <= at) {
                self.by_problem.remove(&key);
            }
        }
        let key = (object_key(&signal.object), signal.cause);
        let hint = self.by_problem.entry(key.clone()).or_insert_with(|| Hint {
            message: Arc::clone(&signal.message),
            weight: signal.weight,
            not_before: None,
            count: 0,
            at: now,
        });
        hint.at = now;
        hint.not_before = hint.not_before.max(signal.not_before);
        hint.count = hint.count.saturating_add(signal.count);
        if signal.weight >= hint.weight {
            hint.message = Arc::clone(&signal.message);
            hint.weight = signal.weight;
        }
        self.order.push_back((now, key));
    }

    /// The hint for a problem that has been raised. One that is too old is dropped.
    pub fn take(&mut self, object: &Arc<str>, cause: Cause, now: Timestamp) -> Option<Hint> {
        let hint = self.by_problem.remove(&(Arc::clone(object), cause))?;
        (clock::between(hint.at, now) <= HINT_AGE).then_some(hint)
    }

    pub fn clock_set(&mut self, by: SignedDuration) {
        for hint in self.by_problem.values_mut() {
            hint.at = moved(hint.at, by);
            hint.not_before = hint.not_before.map(|at| moved(at, by));
        }
        for (at, _) in &mut self.order {
            *at = moved(*at, by);
        }
    }

    pub fn redact(&mut self, redactor: &Redactor) {
        for hint in self.by_problem.values_mut() {
            redactor.kept(&mut hint.message);
        }
    }
}
