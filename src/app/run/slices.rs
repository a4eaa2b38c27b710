//! What a step decided, in parts of bounded size: ten thousand incidents that begin at once are not
//! written down in memory at once.
//!
//! Each part is one transaction. A decision is in one part, with its incidents and all that is said of
//! them; decisions keep their order. A crash between two parts is a crash before the later decisions:
//! they are decided again. So what says that everything up to now was taken in belongs into the last
//! part, and what is owed at a later digest into the first, where it is at worst written again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::app::pipeline::{Message, Output};
use crate::engine::records::{Joined, Unmatched};
use crate::engine::{Effects, ExplainRecords, Note};

/// A part ends after so many incidents. A summary of more is one decision, and one part.
const INCIDENTS: usize = 256;
/// So many problems that became no incident are written down in one part.
const UNMATCHED: usize = 1_024;

/// The parts of one step, in order.
pub(super) struct Slices {
    /// What belongs into the first part; `None` once that was given out.
    begin: Option<Output>,
    messages: VecDeque<Message>,
    dirty: BTreeSet<Arc<str>>,
    removed: BTreeSet<Arc<str>>,
    waiting: BTreeSet<Arc<str>>,
    notes: BTreeMap<Arc<str>, Vec<Note>>,
    joined: BTreeMap<Arc<str>, Vec<Joined>>,
    unmatched: VecDeque<Unmatched>,
}

impl Slices {
    pub(super) fn of(out: Output) -> Self {
        // Whole, so that nothing that is added there is forgotten here.
        let Output {
            messages,
            effects:
                Effects {
                    decided,
                    dirty,
                    removed,
                    notes,
                    silences,
                    silences_removed,
                    bad_annotations,
                    annotations,
                    records: ExplainRecords { waiting, joined, unmatched },
                    digests,
                },
        } = out;
        let begin = Output {
            messages: Vec::new(),
            effects: Effects {
                decided,
                silences,
                silences_removed,
                bad_annotations,
                annotations,
                digests,
                ..Effects::default()
            },
        };
        let mut slices = Self {
            begin: Some(begin),
            messages: messages.into(),
            dirty,
            removed: removed.into_iter().collect(),
            waiting,
            notes: BTreeMap::new(),
            joined: BTreeMap::new(),
            unmatched: unmatched.into(),
        };
        for note in notes {
            slices.notes.entry(Arc::clone(&note.incident)).or_default().push(note);
        }
        for one in joined {
            slices.joined.entry(Arc::clone(&one.incident)).or_default().push(one);
        }
        slices
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begin.is_none() && self.messages.is_empty() && self.any().is_none() && self.unmatched.is_empty()
    }

    /// The next part. There is at least one, which may be empty.
    pub(super) fn next(&mut self) -> Option<Output> {
        if self.is_empty() {
            return None;
        }
        let mut part = self.begin.take().unwrap_or_default();
        let mut incidents = 0;
        while incidents < INCIDENTS {
            let Some(message) = self.messages.pop_front() else { break };
            for incident in &message.decided.incidents {
                self.take(&incident.id, &mut part);
            }
            incidents += message.decided.incidents.len().max(1);
            part.messages.push(message);
        }
        // Decisions first: what an incident waited for is stored with what is told of it.
        while self.messages.is_empty() && incidents < INCIDENTS {
            let Some(id) = self.any() else { break };
            self.take(&id, &mut part);
            incidents += 1;
        }
        part.effects.records.unmatched =
            self.unmatched.drain(..self.unmatched.len().min(UNMATCHED)).collect();
        Some(part)
    }

    /// An incident of which something is left.
    fn any(&self) -> Option<Arc<str>> {
        let sets = [&self.dirty, &self.removed, &self.waiting];
        let id = sets.into_iter().find_map(BTreeSet::first);
        let id = id.or_else(|| self.notes.keys().next()).or_else(|| self.joined.keys().next());
        id.cloned()
    }

    /// Moves everything about one incident.
    fn take(&mut self, id: &Arc<str>, part: &mut Output) {
        part.effects.dirty.extend(self.dirty.take(id));
        part.effects.removed.extend(self.removed.take(id));
        part.effects.notes.extend(self.notes.remove(id).into_iter().flatten());
        part.effects.records.waiting.extend(self.waiting.take(id));
        part.effects.records.joined.extend(self.joined.remove(id).into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::app::pipeline::Policies;
    use crate::engine::Decided;
    use crate::message::{Decision, Reason};
    use crate::template::sample;

    fn id(n: usize) -> Arc<str> {
        Arc::from(format!("incident-{n:05}"))
    }

    fn message(incidents: &[usize], decision: Decision) -> Message {
        let view = |n: &usize| {
            let mut view = sample::incident();
            view.id = id(*n);
            view
        };
        let incidents: Vec<_> = incidents.iter().map(view).collect();
        Message {
            decided: Decided {
                decision,
                reason: Reason::First,
                at: Timestamp::UNIX_EPOCH,
                total: u32::try_from(incidents.len()).unwrap(),
                incidents,
                receivers: Vec::new(),
                thread: "".into(),
                seq: 1,
                number: 1,
                digest: None,
            },
            title: String::new(),
            text: String::new(),
            cluster: "".into(),
            policies: Policies::default(),
            log: None,
        }
    }

    fn joined(n: usize) -> Joined {
        Joined {
            incident: id(n),
            kind: "Pod".into(),
            namespace: None,
            name: "p".into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn each_thing_is_in_one_part_with_the_decision_about_it_and_decisions_keep_their_order() {
        const ALL: usize = 5_000;
        let mut out = Output::default();
        for n in 0..ALL {
            // Half of them are told, in an order of their own; the rest only changed.
            if n % 2 == 0 {
                out.messages.push(message(&[ALL - n], Decision::First));
            }
            out.effects.dirty.insert(id(n + 1));
            out.effects.records.waiting.insert(id(n + 1));
            out.effects.records.joined.push(joined(n + 1));
        }
        let large: Vec<usize> = (10_000..12_000).collect();
        out.messages.insert(7, message(&large, Decision::Storm));
        out.effects.dirty.extend(large.iter().map(|n| id(*n)));
        out.effects.removed.push(id(20_000));
        out.effects.digests.insert(("x".into(), None));
        let order: Vec<_> = out.messages.iter().map(|m| Arc::clone(&m.decided.incidents[0].id)).collect();

        let mut slices = Slices::of(out);
        let mut parts = Vec::new();
        while let Some(part) = slices.next() {
            assert_eq!(slices.is_empty(), parts.len() == 20, "{}", parts.len());
            parts.push(part);
        }
        let told: Vec<_> =
            parts.iter().flat_map(|p| &p.messages).map(|m| Arc::clone(&m.decided.incidents[0].id)).collect();
        assert_eq!(told, order);
        let mut at: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (number, part) in parts.iter().enumerate() {
            let about = part
                .effects
                .dirty
                .len()
                .max(part.effects.records.waiting.len())
                .max(part.effects.records.joined.len());
            assert!(
                about <= INCIDENTS || part.messages.iter().any(|m| m.decided.incidents.len() > INCIDENTS)
            );
            for id in &part.effects.dirty {
                assert_eq!(at.insert(Arc::clone(id), number), None, "{id} twice");
            }
            for one in &part.effects.records.joined {
                assert_eq!(at[&one.incident], number);
            }
            for one in part.messages.iter().flat_map(|m| &m.decided.incidents) {
                assert_eq!(at[&one.id], number);
            }
            assert_eq!(part.effects.digests.len(), usize::from(number == 0));
        }
        assert_eq!(at.len(), ALL + large.len());
        assert_eq!(parts.iter().map(|p| p.effects.removed.len()).sum::<usize>(), 1);
    }

    #[test]
    fn nothing_is_one_part() {
        let mut slices = Slices::of(Output::default());
        assert!(slices.next().unwrap().is_empty() && slices.is_empty() && slices.next().is_none());
    }
}
