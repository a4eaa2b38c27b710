//! Up to when what happened was received and stored, for each kind: marks in the store.
//!
//! A mark is written in a transaction with or after all that follows from what came before it. While
//! the watch of a kind fails, its mark stands still, so after a restart everything since then is news.
//! Marks of kinds are compared with times of objects and Events, so they are by the API server's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::store::Commit;
use crate::watch::Kind;
use crate::watch::state::NewsSince;

/// The time at which the engine's loop stored something last, while it ran. A kind that has no mark of its
/// own goes by it: stores of former versions have no others.
pub(super) const MARK_SEEN: &str = "seen_until";

/// How many milliseconds this machine's clock was ahead of the API server's. Without it the marks of kinds are by
/// this machine's clock.
const MARK_AHEAD: &str = "clock_ahead_ms";

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
    /// As it is stored.
    ahead: Option<SignedDuration>,
    /// Marks as the first reading of the API server's clock translated them, until they are stored.
    translated: BTreeMap<Kind, Timestamp>,
}

impl Seen {
    /// Reads the marks. What a process with a clock ahead of this one wrote by its clock is taken for now:
    /// otherwise nothing would be news until that time.
    pub(super) fn load(marks: &BTreeMap<String, String>, kinds: &[Kind], now: Timestamp) -> Self {
        let read = |name: &str| marks.get(name).and_then(|at| at.parse::<Timestamp>().ok());
        let ahead = marks.get(MARK_AHEAD).and_then(|ms| ms.parse().ok()).map(SignedDuration::from_millis);
        let before = read(MARK_SEEN).map(|at| at.min(now));
        let by_server = |at| clock::moved(at, -ahead.unwrap_or_default());
        let known = |kind| match read(&mark(kind)) {
            Some(at) if ahead.is_some() => at,
            Some(at) => at.min(now),
            None => by_server(before.unwrap_or(now)),
        };
        let all: BTreeMap<Kind, Timestamp> = kinds.iter().map(|&kind| (kind, known(kind))).collect();
        let changed = all.iter().filter(|(kind, _)| !marks.contains_key(&mark(**kind)));
        let changed = changed.map(|(kind, at)| (*kind, *at)).collect();
        Self { changed, marks: all, translated: BTreeMap::new(), before, started: now, ahead }
    }

    /// How far the clock was ahead of the API server's, as an earlier process stored it.
    pub(super) const fn stored_ahead(&self) -> Option<SignedDuration> {
        self.ahead
    }

    /// The first reading of the API server's clock: marks that are by this machine's clock are translated.
    pub(super) fn first_reading(&mut self, ahead: SignedDuration) {
        if self.ahead.is_none() {
            for at in self.marks.values_mut() {
                *at = clock::moved(*at, -ahead);
            }
            self.translated.clone_from(&self.marks);
        }
    }

    /// Adds how far the clock is ahead of the API server's, if that changed.
    pub(super) fn put_ahead(&mut self, ahead: SignedDuration, commit: &mut Commit) {
        if self.ahead.replace(ahead) != Some(ahead) {
            commit.marks.push((MARK_AHEAD.into(), ahead.as_millis().to_string()));
            let translated = std::mem::take(&mut self.translated);
            commit.marks.extend(translated.into_iter().map(|(kind, at)| (mark(kind), at.to_string())));
        }
    }

    /// When the last process stored something last.
    pub(super) const fn before(&self) -> Option<Timestamp> {
        self.before
    }

    /// From when on what happened is news; `None`: from the start on.
    pub(super) fn news_since(&self) -> Option<NewsSince> {
        Some(NewsSince::new(self.before?, self.marks.clone()))
    }

    pub(super) const fn started(&self) -> Timestamp {
        self.started
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
        let news = seen.news_since().unwrap();
        assert_eq!((news.of(Kind::Pod), news.of(Kind::Event)), (at(40), at(50)));
        // It gets one now: the one mark goes on, whatever the kind's watch does.
        let names: Vec<_> = stored(&mut seen, 100).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["seen_until.Event", "seen_until"]);
    }

    #[test]
    fn only_the_marks_of_kinds_in_contact_go_on() {
        let mut seen = Seen::load(&BTreeMap::new(), &KINDS, at(100));
        assert_eq!(seen.news_since(), None);
        stored(&mut seen, 100);
        seen.contact(Kind::Pod, at(130));
        let row = |name: &str, second| (name.to_owned(), at(second).to_string());
        assert_eq!(stored(&mut seen, 160), [row("seen_until.Pod", 130), row("seen_until", 160)]);
        assert_eq!(stored(&mut seen, 170), [row("seen_until", 170)]);
    }

    #[test]
    fn marks_of_a_clock_that_was_ahead_are_taken_for_now() {
        let seen = Seen::load(&marks(&[("seen_until", 9_000), ("seen_until.Pod", 8_990)]), &KINDS, at(100));
        assert_eq!((seen.news_since().unwrap().of(Kind::Pod), seen.before()), (at(100), Some(at(100))));
    }

    #[test]
    fn marks_are_by_the_clock_of_the_api_server_once_that_is_known() {
        let ahead = SignedDuration::from_secs(900);
        let old = marks(&[("seen_until", 9_990), ("seen_until.Pod", 9_980)]);
        let mut seen = Seen::load(&old, &KINDS, at(10_000));
        seen.first_reading(ahead);
        let mut commit = Commit::default();
        seen.put_ahead(ahead, &mut commit);
        let mut stored = old;
        stored.extend(commit.marks);
        assert_eq!(stored.get("clock_ahead_ms").map(String::as_str), Some("900000"));
        // This machine's clock was put right meanwhile.
        let mut seen = Seen::load(&stored, &KINDS, at(9_200));
        assert_eq!(seen.stored_ahead(), Some(ahead));
        seen.first_reading(SignedDuration::ZERO);
        let news = seen.news_since().unwrap();
        assert_eq!((news.of(Kind::Pod), news.of(Kind::Event)), (at(9_080), at(9_090)));
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
