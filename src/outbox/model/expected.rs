//! What should be true of the outbox, kept as simply as possible.

use std::collections::{BTreeMap, BTreeSet};

use super::MAX_AGE;

/// A row as it should be.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) thread: usize,
    pub(super) not_before: i64,
    pub(super) queued_at: i64,
    pub(super) attempts: u32,
    /// The summary it was claimed for.
    pub(super) inside: Option<String>,
    /// It must keep its own key.
    pub(super) alone: bool,
}

impl Row {
    pub(super) fn new(key: &str, thread: usize, now: i64) -> Self {
        let key = key.to_owned();
        Self { key, thread, not_before: 0, queued_at: now, attempts: 0, inside: None, alone: false }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Dead {
    pub(super) receiver: usize,
    pub(super) thread: usize,
    pub(super) inside: bool,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Open rows in order, by receiver.
    pub(super) open: [Vec<Row>; 2],
    pub(super) gate: [i64; 2],
    /// Which receiver refuses: how often in a row, and until when it is paused.
    pub(super) refuses: [Option<(u32, i64)>; 2],
    pub(super) delivered: BTreeSet<String>,
    pub(super) dead: BTreeMap<String, Dead>,
    /// Under which key a row may have arrived, where nobody knows: it must be told under it again.
    pub(super) ambiguous: BTreeMap<String, String>,
    /// How often the other side saw a key.
    pub(super) wire: BTreeMap<String, u32>,
    /// How often it may have: once, and once more for each attempt that is recorded as failed, was
    /// made but not recorded (the ambiguous point), or was asked for by a person.
    pub(super) allowed: BTreeMap<String, u32>,
    pub(super) keys: Vec<(String, usize, usize)>,
    /// The summary of the row that became a dead letter last.
    pub(super) last_inside: Option<String>,
}

impl Model {
    /// The lowest due row that no earlier row of its thread holds back; of a receiver that refuses the one
    /// that was attempted least.
    pub(super) fn due(&self, receiver: usize, now: i64) -> Option<&Row> {
        let rows = &self.open[receiver];
        let due = rows.iter().enumerate().filter(|(i, row)| {
            let held = rows[..*i].iter().any(|earlier| earlier.thread == row.thread);
            !held && row.not_before <= now
        });
        let refuses = self.refuses[receiver].is_some();
        due.min_by_key(|(i, row)| (if refuses { row.attempts } else { 0 }, *i)).map(|(_, row)| row)
    }

    /// Nothing may be sent before.
    pub(super) fn closed_until(&self, receiver: usize) -> i64 {
        self.gate[receiver].max(self.refuses[receiver].map_or(0, |(_, until)| until))
    }

    /// What a summary would tell now, by thread and then in order.
    pub(super) fn foldable(&self, receiver: usize, now: i64) -> Vec<String> {
        let rows = &self.open[receiver];
        let mut seen = BTreeSet::new();
        let mut keys = Vec::new();
        for head in rows {
            let old = now >= head.queued_at + i64::try_from(MAX_AGE).unwrap();
            let free = |row: &Row| !row.alone && row.inside.is_none();
            if !seen.insert(head.thread) || head.not_before > now || old || !free(head) {
                continue;
            }
            let thread = rows.iter().filter(|r| r.thread == head.thread);
            keys.extend(thread.take_while(|r| free(r)).map(|r| r.key.clone()));
        }
        keys
    }

    pub(super) fn sent(&mut self, key: &str, under: &str) {
        *self.wire.entry(key.to_owned()).or_default() += 1;
        if let Some(before) = self.ambiguous.remove(key) {
            assert_eq!(before, under, "{key} may have arrived under another key");
        }
    }

    pub(super) fn once_more(&mut self, key: &str) {
        *self.allowed.entry(key.to_owned()).or_default() += 1;
    }

    pub(super) fn row(&mut self, receiver: usize, key: &str) -> &mut Row {
        self.open[receiver].iter_mut().find(|r| r.key == key).unwrap()
    }

    pub(super) fn remove(&mut self, receiver: usize, key: &str) -> Row {
        let i = self.open[receiver].iter().position(|r| r.key == key).unwrap();
        self.open[receiver].remove(i)
    }
}
