//! When to speak of kinds that cannot be read. A watch says that it is blind at once when it may not
//! read, and after `watch.blind_after` when it fails; here the kinds that went blind together gather, and
//! what can be read again has to stay so for a moment. A kind that was blind for longer than
//! `watch.blind_after` is spoken of although it can be read again, also when it began before a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::watch::{Change, Kind};

/// A kind is called blind after so long: those that follow from the same trouble come along.
const GATHER: Duration = Duration::from_secs(30);
/// What goes blind after that is told so long after the last notice, at the earliest: the watches of an
/// API server that fades away end one after the other.
const MORE: Duration = Duration::from_secs(120);
/// A kind is called seen again after so long; twice as long each time it soon turned out to be wrong.
const STEADY: Duration = Duration::from_secs(60);
/// What goes blind again within so long soon turned out not to be seen again.
const RELAPSE: Duration = Duration::from_secs(3600);
/// The most doublings of `STEADY`: about an hour.
const MAX_RELAPSES: u32 = 6;

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// All kinds that cannot be read, or could not until a moment ago.
    pub blind: Vec<Span>,
    /// Those that were called blind and can be read again.
    pub again: Vec<Span>,
}

/// For how long a kind could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub kind: Kind,
    /// `None`: nobody knows; a former version did not store it.
    pub since: Option<Timestamp>,
    /// `None`: it still cannot be read.
    pub until: Option<Timestamp>,
    /// For people; empty: not known after a restart.
    pub why: String,
}

#[derive(Debug, Clone)]
struct Unseen {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// When it was found to be blind, and not only to fail.
    blind: Option<Timestamp>,
    why: String,
}

/// Which kinds cannot be read, and which of them were told.
#[derive(Debug, Default)]
pub struct Blindness {
    blind_after: Duration,
    kinds: BTreeMap<Kind, Unseen>,
    /// Namespaces that cannot be read, where they are watched one by one.
    parts: BTreeSet<(Kind, Arc<str>)>,
    told: BTreeSet<Kind>,
    /// How often blindness came back soon after its end was told, and when its end was told last.
    relapses: u32,
    ended: Option<Timestamp>,
    /// When something was said last.
    said: Option<Timestamp>,
    /// The stored form of `kinds` is out of date.
    changed: bool,
}

impl Blindness {
    /// Goes on after a restart: these kinds, by name, were told, and these could not be seen since then.
    pub fn restored(told: &str, unseen: &BTreeMap<String, Timestamp>) -> Self {
        let told: BTreeSet<Kind> = told.split(' ').filter_map(Kind::parse).collect();
        let since = unseen.iter().filter_map(|(kind, since)| Some((Kind::parse(kind)?, Some(*since))));
        let kinds = told.iter().map(|kind| (*kind, None)).chain(since);
        let kinds =
            kinds.map(|(kind, since)| (kind, Unseen { since, until: None, blind: None, why: String::new() }));
        Self { kinds: kinds.collect(), told, ..Self::default() }
    }

    /// A span of blindness shorter than this is not spoken of, unless it is forbidden to read the kind.
    pub const fn set_blind_after(&mut self, blind_after: Duration) {
        self.blind_after = blind_after;
    }

    /// The clock was set by `by` and shows `now`: what remains until something is said stays.
    pub fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        for unseen in self.kinds.values_mut() {
            unseen.since = unseen.since.map(|at| clock::past(at, by, now));
            unseen.until = unseen.until.map(|at| clock::past(at, by, now));
            unseen.blind = unseen.blind.map(|at| clock::moved(at, by));
        }
        self.ended = self.ended.map(|at| clock::moved(at, by));
        self.said = self.said.map(|at| clock::moved(at, by));
        self.changed |= !self.kinds.is_empty();
    }

    /// Requests for the kind fail; `since`: when it was seen last.
    pub fn failing(&mut self, kind: Kind, since: Timestamp) {
        self.unseen(kind, since);
    }

    fn unseen(&mut self, kind: Kind, since: Timestamp) -> &mut Unseen {
        self.changed |= self.kinds.get(&kind).is_none_or(|known| known.until.is_some());
        let new = || Unseen { since: Some(since), until: None, blind: None, why: String::new() };
        let known = self.kinds.entry(kind).or_insert_with(new);
        // It could be seen for a moment only.
        known.until = None;
        known
    }

    /// Takes a change in.
    pub fn change(&mut self, now: Timestamp, change: &Change) {
        match change {
            Change::BlindIn(kind, namespace, why) => {
                self.parts.insert((*kind, Arc::clone(namespace)));
                self.change(now, &Change::Blind(*kind, why.clone()));
            }
            Change::ListedIn(kind, namespace) => self.seen_in(now, *kind, namespace),
            // The other namespaces are in order.
            Change::Listed(kind) | Change::Contact(kind, _) if self.is_blind_in_part(*kind) => {}
            Change::Blind(kind, why) => {
                let unseen = self.unseen(*kind, now);
                unseen.why.clone_from(why);
                unseen.blind.get_or_insert(now);
            }
            Change::Failing { kind, why, .. } => {
                if let Some(unseen) = self.kinds.get_mut(kind) {
                    unseen.why.clone_from(why);
                }
            }
            Change::Listed(kind) | Change::Contact(kind, _) => self.seen(now, *kind),
            _ => {}
        }
    }

    fn seen_in(&mut self, now: Timestamp, kind: Kind, namespace: &Arc<str>) {
        if self.parts.remove(&(kind, Arc::clone(namespace))) && !self.is_blind_in_part(kind) {
            self.seen(now, kind);
        }
    }

    fn is_blind_in_part(&self, kind: Kind) -> bool {
        self.parts.iter().any(|(of, _)| *of == kind)
    }

    fn seen(&mut self, now: Timestamp, kind: Kind) {
        let Some(unseen) = self.kinds.get_mut(&kind).filter(|unseen| unseen.until.is_none()) else { return };
        self.changed = true;
        let long = unseen.since.is_some_and(|since| clock::between(since, now) >= self.blind_after);
        if long || self.told.contains(&kind) {
            unseen.until = Some(now);
            unseen.blind.get_or_insert(now);
        } else {
            self.kinds.remove(&kind);
        }
    }

    /// What is to be said now, if anything.
    pub fn tick(&mut self, now: Timestamp) -> Option<Sight> {
        let for_long = |since: Timestamp, span: Duration| clock::between(since, now) >= span;
        let more = self.told.is_empty() || self.said.is_none_or(|said| for_long(said, MORE));
        let new = more
            && self.kinds.iter().any(|(kind, unseen)| {
                !self.told.contains(kind) && unseen.blind.is_some_and(|at| for_long(at, GATHER))
            });
        let needed = STEADY.saturating_mul(1 << self.relapses);
        let seen = self.told.iter().filter_map(|kind| Some((*kind, self.kinds.get(kind)?.until?)));
        let (mut again, soon): (Vec<_>, Vec<_>) = seen.partition(|(_, until)| for_long(*until, needed));
        // Kinds come back one after the other, too.
        if !soon.is_empty() && !again.iter().any(|(_, until)| for_long(*until, needed.saturating_mul(2))) {
            again.clear();
        }
        let again: Vec<Kind> = again.into_iter().map(|(kind, _)| kind).collect();
        if !new && again.is_empty() {
            return None;
        }
        if new && self.told.is_empty() {
            let soon = self.ended.is_some_and(|ended| !for_long(ended, RELAPSE));
            self.relapses = if soon { (self.relapses + 1).min(MAX_RELAPSES) } else { 0 };
        }
        self.told.retain(|kind| !again.contains(kind));
        let gone = again.iter().filter_map(|kind| Some(Span::of(*kind, self.kinds.remove(kind)?)));
        let again: Vec<Span> = gone.collect();
        let mut blind = Vec::new();
        for (kind, unseen) in &self.kinds {
            // Told before, and not known to be blind since a restart: not yet seen either.
            if unseen.blind.is_some() || self.told.contains(kind) {
                self.told.insert(*kind);
                blind.push(Span::of(*kind, unseen.clone()));
            }
        }
        if blind.is_empty() {
            self.ended = Some(now);
        }
        self.said = Some(now);
        self.changed = true;
        Some(Sight { blind, again })
    }

    /// Since when kinds could not be seen, to be stored, if that changed.
    pub fn take_changed(&mut self) -> Option<BTreeMap<String, Timestamp>> {
        let of = |(kind, unseen): (&Kind, &Unseen)| Some((kind.to_string(), unseen.since?));
        std::mem::take(&mut self.changed).then(|| self.kinds.iter().filter_map(of).collect())
    }
}

impl Span {
    fn of(kind: Kind, unseen: Unseen) -> Self {
        Self { kind, since: unseen.since, until: unseen.until, why: unseen.why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn blind(kind: Kind) -> Change {
        Change::Blind(kind, "403: no".into())
    }

    fn blindness() -> Blindness {
        Blindness { blind_after: Duration::from_secs(60), ..Blindness::default() }
    }

    fn restored(told: &str, unseen: &[(&str, i64)]) -> Blindness {
        let unseen = unseen.iter().map(|(kind, second)| ((*kind).to_owned(), at(*second))).collect();
        let mut of = Blindness::restored(told, &unseen);
        of.set_blind_after(Duration::from_secs(60));
        of
    }

    fn said(sight: Option<Sight>) -> Option<(Vec<Kind>, Vec<Kind>)> {
        let kinds = |spans: Vec<Span>| spans.into_iter().map(|span| span.kind).collect();
        sight.map(|s| (kinds(s.blind), kinds(s.again)))
    }

    #[test]
    fn kinds_gather_and_are_told_once() {
        let mut of = blindness();
        of.change(at(0), &blind(Kind::Event));
        assert_eq!(of.tick(at(29)), None);
        of.change(at(29), &blind(Kind::Pod));
        assert_eq!(said(of.tick(at(30))), Some((vec![Kind::Pod, Kind::Event], vec![])));
        of.change(at(40), &blind(Kind::Pod));
        assert_eq!(of.tick(at(5000)), None);
    }

    #[test]
    fn a_moment_of_either_is_nothing() {
        let mut of = blindness();
        of.change(at(0), &blind(Kind::Pod));
        of.change(at(20), &Change::Listed(Kind::Pod));
        assert_eq!(of.tick(at(100)), None);
        of.change(at(100), &blind(Kind::Pod));
        assert!(of.tick(at(130)).is_some());
        of.change(at(140), &Change::Listed(Kind::Pod));
        assert_eq!(of.tick(at(199)), None);
        of.change(at(199), &blind(Kind::Pod));
        assert_eq!(of.tick(at(400)), None, "it was blind all along");
        of.change(at(400), &Change::Listed(Kind::Pod));
        // Another list is no new beginning.
        of.change(at(430), &Change::Listed(Kind::Pod));
        assert_eq!(said(of.tick(at(460))), Some((vec![], vec![Kind::Pod])));
        assert_eq!(of.tick(at(500)), None);
    }

    #[test]
    fn what_stays_blind_is_named_when_others_see() {
        let mut of = blindness();
        of.change(at(0), &blind(Kind::Pod));
        of.change(at(0), &blind(Kind::Event));
        of.tick(at(30));
        of.change(at(50), &Change::Listed(Kind::Pod));
        assert_eq!(said(of.tick(at(110))), Some((vec![Kind::Event], vec![Kind::Pod])));
    }

    #[test]
    fn a_kind_is_blind_until_the_last_of_its_namespaces_can_be_read() {
        let mut of = blindness();
        let blind_in = |namespace: &str| Change::BlindIn(Kind::Pod, namespace.into(), "403: no".into());
        let listed_in = |namespace: &str| Change::ListedIn(Kind::Pod, namespace.into());
        of.change(at(0), &blind_in("a"));
        of.change(at(1), &blind_in("b"));
        of.change(at(2), &Change::Listed(Kind::Pod));
        assert_eq!(said(of.tick(at(40))), Some((vec![Kind::Pod], vec![])));
        of.change(at(50), &listed_in("a"));
        of.change(at(60), &Change::Contact(Kind::Pod, tokio::time::Instant::now()));
        assert_eq!(of.tick(at(900)), None);
        of.change(at(1000), &listed_in("b"));
        assert_eq!(said(of.tick(at(1060))), Some((vec![], vec![Kind::Pod])));
        of.change(at(2000), &Change::NotPermitted(Kind::Node, "403: no".into()));
        assert_eq!(of.tick(at(9000)), None, "nobody waits for it");
    }

    #[test]
    fn after_a_restart_nothing_is_repeated_and_the_end_is_told() {
        let mut of = restored("Event", &[]);
        assert_eq!(of.tick(at(0)), None);
        of.change(at(0), &blind(Kind::Event));
        assert_eq!(of.tick(at(100)), None);
        let mut of = restored("Event", &[]);
        of.change(at(0), &Change::Listed(Kind::Event));
        assert_eq!(said(of.tick(at(60))), Some((vec![], vec![Kind::Event])));
    }

    #[test]
    fn a_span_longer_than_blind_after_is_told_although_it_is_over() {
        let mut of = blindness();
        of.failing(Kind::Pod, at(0));
        of.change(at(59), &Change::Listed(Kind::Pod));
        assert_eq!((of.tick(at(200)), of.kinds.len()), (None, 0), "too short to be told");

        of.failing(Kind::Pod, at(300));
        of.change(at(360), &blind(Kind::Pod));
        of.change(at(361), &Change::Listed(Kind::Pod));
        let told = of.tick(at(390)).unwrap();
        let span =
            Span { kind: Kind::Pod, since: Some(at(300)), until: Some(at(361)), why: "403: no".into() };
        assert_eq!((told.blind, told.again), (vec![span.clone()], vec![]));
        assert_eq!(of.tick(at(421)).unwrap(), Sight { blind: vec![], again: vec![span] });
        assert_eq!((of.tick(at(900)), of.kinds.len()), (None, 0));
    }

    #[test]
    fn kinds_that_go_and_come_one_after_the_other_are_a_few_notices() {
        let mut of = blindness();
        let mut told = Vec::new();
        for second in 0..1_000 {
            for (n, kind) in Kind::ALL.into_iter().enumerate() {
                let n = i64::try_from(n).unwrap();
                if second == n * 10 {
                    of.change(at(second), &blind(kind));
                }
                if second == 400 + n * 3 {
                    of.change(at(second), &Change::Listed(kind));
                }
            }
            told.extend(of.tick(at(second)).map(|sight| (second, sight.blind.len(), sight.again.len())));
        }
        assert_eq!(told, [(30, 4, 0), (150, 11, 0), (490, 0, 11)]);
    }

    #[test]
    fn blindness_that_comes_back_again_and_again_is_soon_one() {
        let mut of = blindness();
        let mut told = Vec::new();
        for second in 0..3 * 3600 {
            // Dead connections, and a list after each.
            if second % 150 == 0 {
                of.failing(Kind::Pod, at(second - 150));
                of.change(at(second), &blind(Kind::Pod));
                of.change(at(second), &Change::Listed(Kind::Pod));
            }
            told.extend(of.tick(at(second)).map(|sight| sight.blind.len()));
        }
        assert_eq!(told, [1, 0, 1, 0, 1], "the third time it is not over before it comes back");
    }

    #[test]
    fn a_span_that_began_before_a_restart_is_told() {
        let mut of = blindness();
        of.failing(Kind::Pod, at(0));
        of.failing(Kind::Node, at(1));
        of.change(at(5), &Change::Contact(Kind::Node, tokio::time::Instant::now()));
        assert_eq!(of.take_changed().unwrap(), BTreeMap::from([("Pod".to_owned(), at(0))]));
        assert_eq!(of.take_changed(), None);

        // Thirty seconds of it are in the first process, forty in the second.
        let mut of = restored("", &[("Pod", 0)]);
        of.failing(Kind::Pod, at(31));
        of.change(at(70), &Change::Listed(Kind::Pod));
        assert_eq!(of.tick(at(99)), None);
        let told = of.tick(at(100)).unwrap();
        assert_eq!((told.blind[0].since, told.blind[0].until), (Some(at(0)), Some(at(70))));
        assert_eq!(said(of.tick(at(130))), Some((vec![], vec![Kind::Pod])));
    }
}
