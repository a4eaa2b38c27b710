//! Digests: receivers that are told everything at once, at the times of a schedule.
//!
//! Each such receiver has a [`DigestState`]. What is decided about incidents it is told of, and what is held
//! back from it, is written there and stored with the decision itself. When its time has come, the
//! book and the open incidents become one decision ([`Decision::Digest`]), and the book begins anew.
//!
//! While the first picture of the cluster is taken in there are no digests. Of those that were due
//! meanwhile, or while kubeherald was down, one is decided soon after.

mod build;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use state::{DigestState, Entry, HeldSoFar};

use super::{Effects, Engine};
use crate::clock::schedule::Schedule;
use crate::clock::{self, past};
use crate::message::{Decision, IncidentView, Reason};
use crate::rule::{RouteFacts, Rule};
use crate::signal::{Signal, Workload};

/// Counting missed digests ends here.
const MAX_MISSED: u32 = 10_000;

/// A receiver that is told in digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestReceiver {
    pub name: Arc<str>,
    pub schedule: Schedule,
    /// Also when there is nothing to say.
    pub empty: bool,
    /// Also what was told before and is over.
    pub ends: bool,
}

/// A stored part of a book: of a receiver, one incident or what is not about a single one.
pub type DigestRow = (Arc<str>, Option<Arc<str>>);

/// All books, by receiver.
#[derive(Debug, Default)]
pub(super) struct DigestStates {
    pub(super) all: BTreeMap<Arc<str>, DigestState>,
    /// The first picture is complete.
    open: bool,
    /// The last moment that anything was heard of.
    clock: Option<Timestamp>,
}

impl DigestStates {
    /// Nobody is told in digests.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.all.values().filter_map(|book| book.at).min()
    }

    pub(super) fn saw(&mut self, now: Timestamp) {
        self.clock = self.clock.max(Some(now));
    }

    /// The clock was set. Digests go by the wall clock, so their times stay.
    pub(super) fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        self.clock = self.clock.map(|at| past(at, by, now));
        for book in self.all.values_mut() {
            book.seen = past(book.seen, by, now);
        }
    }

    fn decided(
        &mut self,
        receivers: &[Arc<str>],
        digests: &[DigestReceiver],
        (view, decision, reason): (&IncidentView, Decision, Reason),
        out: &mut Effects,
    ) {
        for receiver in digests.iter().filter(|d| receivers.contains(&d.name)) {
            if let Some(book) = self.all.get_mut(&receiver.name) {
                book.decided(view, decision, reason, receiver.ends);
                out.digests.insert((Arc::clone(&receiver.name), Some(Arc::clone(&view.id))));
                out.digests.insert((Arc::clone(&receiver.name), None));
            }
        }
    }
    fn hold_back(
        &mut self,
        receivers: &BTreeSet<Arc<str>>,
        reason: Reason,
        (namespace, workload): (Option<&Arc<str>>, &Workload),
        out: &mut Effects,
    ) {
        for receiver in receivers {
            if let Some(book) = self.all.get_mut(receiver).filter(|book| !book.closing) {
                book.hold_back(reason, namespace, workload, 1);
                out.digests.insert((Arc::clone(receiver), None));
            }
        }
    }
}

/// Was something held back for this reason? Other notes tell that something was over in silence.
const fn is_held(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotYetFor
            | Reason::GroupWait
            | Reason::WithinWindow
            | Reason::InhibitedBy
            | Reason::SilencedBy
            | Reason::Muted
            | Reason::NeverTold
            | Reason::BelowCount
            | Reason::OverLimit
    )
}

impl Engine {
    /// Takes stored books back in, before the first signal.
    pub fn restore_digests(&mut self, books: impl IntoIterator<Item = DigestState>) {
        self.digest_states.all.extend(books.into_iter().map(|book| (Arc::clone(&book.receiver), book)));
    }

    /// What is kept of a receiver's next digest.
    pub fn digest_state(&self, receiver: &str) -> Option<&DigestState> {
        self.digest_states.all.get(receiver)
    }

    /// The first picture is complete: from here on there are digests.
    pub(super) fn open_digests(&mut self, now: Timestamp, out: &mut Effects) {
        self.digest_states.open = true;
        self.digest_states.saw(now);
        for name in self.plan(now) {
            out.digests.insert((name, None));
        }
        // What began meanwhile gathers for a moment before it is told.
        let soon = clock::after(now, self.settings.group_wait * 2);
        for book in self.digest_states.all.values_mut().filter(|book| !book.closing) {
            if let Some(schedule) = self.settings.digests.iter().find(|d| d.name == book.receiver) {
                let (count, last) = schedule.schedule.passed(book.seen, now, MAX_MISSED);
                if last.is_some() {
                    (book.at, book.due, book.missed) = (Some(soon), last, count.saturating_sub(1));
                }
            }
        }
    }

    /// The receivers are others now.
    pub(super) fn change_digests(&mut self) {
        if let Some(now) = self.digest_states.clock.filter(|_| self.digest_states.open) {
            self.plan(now);
        }
    }

    /// Gives every receiver a book and each book its next time. Which books are new.
    fn plan(&mut self, now: Timestamp) -> Vec<Arc<str>> {
        let mut new = Vec::new();
        for receiver in &self.settings.digests {
            let zone = receiver.schedule.zone_name();
            let book = self.digest_states.all.entry(Arc::clone(&receiver.name)).or_insert_with(|| {
                new.push(Arc::clone(&receiver.name));
                DigestState::new(Arc::clone(&receiver.name), Arc::clone(zone), now)
            });
            book.timezone = Arc::clone(zone);
            book.closing = false;
            book.at = receiver.schedule.next_after(book.seen.max(now));
            (book.due, book.missed) = (book.at, 0);
        }
        // What the others have is told at once.
        for book in self.digest_states.all.values_mut() {
            if !self.settings.digests.iter().any(|d| d.name == book.receiver) {
                book.closing = true;
                (book.at, book.due, book.missed) = (Some(now), Some(now), 0);
            }
        }
        new
    }

    /// Something was decided about an incident.
    pub(super) fn book(
        &mut self,
        receivers: &[Arc<str>],
        view: &IncidentView,
        (decision, reason): (Decision, Reason),
        out: &mut Effects,
    ) {
        self.digest_states.decided(receivers, &self.settings.digests, (view, decision, reason), out);
    }

    /// It is over, and nobody is told one by one.
    pub(super) fn count_silent_end_in_digests(
        &mut self,
        view: &IncidentView,
        reason: Reason,
        out: &mut Effects,
    ) {
        // A rule without ends is like a receiver without: only what no digest has told of yet is told.
        let quiet: Vec<DigestReceiver> =
            self.settings.digests.iter().map(|d| DigestReceiver { ends: false, ..d.clone() }).collect();
        let Some(receivers) = self.incidents.get(&view.id).map(|i| i.receivers.clone()) else { return };
        self.digest_states.decided(&receivers, &quiet, (view, Decision::Resolved, reason), out);
    }

    /// Something was held back.
    pub(super) fn count_held_in_digests(&mut self, id: &str, reason: Reason, out: &mut Effects) {
        if self.digest_states.is_empty() || !is_held(reason) {
            return;
        }
        let Some(incident) = self.incidents.get(id) else { return };
        let Some(rule) = self.rule_of(incident) else { return };
        let mut receivers = self.told_of(&incident.signal, &rule, incident.severity);
        receivers.extend(incident.receivers.iter().cloned());
        self.digest_states.hold_back(
            &receivers,
            reason,
            (incident.namespace.as_ref(), &incident.workload),
            out,
        );
    }

    /// A problem found no place any more.
    pub(super) fn book_refused(&mut self, signal: &Signal, rule: &Rule, out: &mut Effects) {
        if self.digest_states.is_empty() {
            return;
        }
        let receivers: BTreeSet<_> = self.told_of(signal, rule, rule.severity);
        let place = (signal.object.namespace.as_ref(), &signal.workload);
        self.digest_states.hold_back(&receivers, Reason::OverLimit, place, out);
    }

    fn told_of(&self, signal: &Signal, rule: &Rule, severity: crate::signal::Severity) -> BTreeSet<Arc<str>> {
        self.routes.receivers(RouteFacts { signal, rule, severity }).into_iter().collect()
    }
}
