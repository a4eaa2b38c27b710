//! Up to when what happened was received and stored, for each kind: marks in the store.
//!
//! A mark is written in a transaction with or after all that follows from what came before it. While
//! the watch of a kind fails, its mark stands still, so after a restart everything since then is news.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::store::Commit;
use crate::watch::Kind;
use crate::watch::state::NewsSince;

/// The time at which the engine's loop stored something last, while it ran. A kind that has no mark of its
/// own goes by it: stores of former versions have no others.
pub(super) const MARK_SEEN: &str = "seen_until";

/// The mark of a kind.
fn mark(kind: Kind) -> String {
    format!("{MARK_SEEN}.{kind}")
}

/// The marks of all watched kinds.
#[derive(Debug)]
pub(super) struct Seen {
    marks: BTreeMap<Kind, Timestamp>,
    /// Those of them that are not stored.
    changed: BTreeMap<Kind, Timestamp>,
    /// When the loop of the process before this one stored something last.
    before: Option<Timestamp>,
    started: Timestamp,
}

impl Seen {
    /// Reads the marks. What a process with a clock ahead of this one wrote is taken for now: otherwise
    /// nothing would be news until that time.
    pub(super) fn load(marks: &BTreeMap<String, String>, kinds: &[Kind], now: Timestamp) -> Self {
        let read =
            |name: &str| marks.get(name).and_then(|at| at.parse::<Timestamp>().ok()).map(|at| at.min(now));
        let before = read(MARK_SEEN);
        let all: BTreeMap<Kind, Timestamp> =
            kinds.iter().map(|&kind| (kind, read(&mark(kind)).or(before).unwrap_or(now))).collect();
        let changed = all.iter().filter(|(kind, _)| !marks.contains_key(&mark(**kind)));
        Self { changed: changed.map(|(kind, at)| (*kind, *at)).collect(), marks: all, before, started: now }
    }

    /// Whether no process stored anything before.
    pub(super) const fn is_first(&self) -> bool {
        self.before.is_none()
    }

    /// When the last process stored something last.
    pub(super) const fn before(&self) -> Option<Timestamp> {
        self.before
    }

    /// From when on what happened is news.
    pub(super) fn news_since(&self) -> NewsSince {
        NewsSince::new(self.before.unwrap_or(self.started), self.marks.clone())
    }

    /// All of this kind up to `at` was taken in.
    pub(super) fn contact(&mut self, kind: Kind, at: Timestamp) {
        // Also a time before the mark: the clock may have been set back.
        if self.marks.insert(kind, at) != Some(at) {
            self.changed.insert(kind, at);
        }
    }

    /// Since when a kind is unseen that began to fail at `since`: where the process before this one ended
    /// not long ago, since then, because nobody has looked in between.
    pub(super) fn unseen_since(&self, since: Timestamp, listed: bool, blind_after: Duration) -> Timestamp {
        match self.before {
            Some(before) if !listed && clock::between(before, self.started) <= blind_after => {
                before.min(since)
            }
            _ => since,
        }
    }

    /// Adds the marks that changed.
    pub(super) fn put_into(&mut self, commit: &mut Commit, now: Timestamp) {
        let changed = std::mem::take(&mut self.changed);
        commit.marks.extend(changed.into_iter().map(|(kind, at)| (mark(kind), at.to_string())));
        commit.marks.push((MARK_SEEN.into(), now.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const KINDS: [Kind; 2] = [Kind::Pod, Kind::Event];

    fn stored(seen: &mut Seen, now: i64) -> Vec<(String, String)> {
        let mut commit = Commit::default();
        seen.put_into(&mut commit, at(now));
        commit.marks
    }

    fn marks(all: &[(&str, i64)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, second)| ((*name).to_owned(), at(*second).to_string())).collect()
    }

    #[test]
    fn a_kind_without_a_mark_of_its_own_goes_by_the_one_mark_of_former_versions() {
        let mut seen = Seen::load(&marks(&[("seen_until", 50), ("seen_until.Pod", 40)]), &KINDS, at(100));
        assert_eq!((seen.news_since().of(Kind::Pod), seen.news_since().of(Kind::Event)), (at(40), at(50)));
        // It gets one now: the one mark goes on, whatever the kind's watch does.
        let names: Vec<_> = stored(&mut seen, 100).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["seen_until.Event", "seen_until"]);
    }

    #[test]
    fn only_the_marks_of_kinds_in_contact_go_on() {
        let mut seen = Seen::load(&BTreeMap::new(), &KINDS, at(100));
        assert!(seen.is_first());
        stored(&mut seen, 100);
        seen.contact(Kind::Pod, at(130));
        let row = |name: &str, second| (name.to_owned(), at(second).to_string());
        assert_eq!(stored(&mut seen, 160), [row("seen_until.Pod", 130), row("seen_until", 160)]);
        assert_eq!(stored(&mut seen, 170), [row("seen_until", 170)]);
    }

    #[test]
    fn marks_of_a_clock_that_was_ahead_are_taken_for_now() {
        let seen = Seen::load(&marks(&[("seen_until", 9_000), ("seen_until.Pod", 8_990)]), &KINDS, at(100));
        assert_eq!((seen.news_since().of(Kind::Pod), seen.before()), (at(100), Some(at(100))));
    }

    #[test]
    fn a_kind_that_fails_from_the_start_is_unseen_since_the_last_process() {
        let minute = Duration::from_secs(60);
        let seen = Seen::load(&marks(&[("seen_until", 70)]), &KINDS, at(100));
        assert_eq!(seen.unseen_since(at(101), false, minute), at(70));
        assert_eq!(seen.unseen_since(at(101), true, minute), at(101));
        // Nobody was running for longer: that was no blindness.
        let seen = Seen::load(&marks(&[("seen_until", 30)]), &KINDS, at(100));
        assert_eq!(seen.unseen_since(at(101), false, minute), at(101));
    }
}
