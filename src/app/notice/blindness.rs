//! When to speak of kinds that cannot be read. A watch says that it is blind at once when it may not
//! read, and after minutes when it fails; here the kinds that went blind together gather, and what
//! can be read again has to stay so for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::watch::{Change, Kind};

/// A kind is called blind after so long: those that follow from the same trouble come along.
const GATHER: Duration = Duration::from_secs(30);
/// A kind is called seen again after so long.
const STEADY: Duration = Duration::from_secs(60);

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// All kinds that cannot be read, with the reasons.
    pub blind: Vec<(Kind, String)>,
    /// Those that were called blind and can be read again.
    pub again: Vec<Kind>,
}

#[derive(Debug)]
enum State {
    Blind(Timestamp, String),
    Sees(Timestamp),
}

/// Which kinds cannot be read, and which of them were told.
#[derive(Debug, Default)]
pub struct Blindness {
    kinds: BTreeMap<Kind, State>,
    told: BTreeSet<Kind>,
}

impl Blindness {
    /// These kinds, by name, were told before a restart.
    #[must_use]
    pub fn told_of(names: &str) -> Self {
        Self { told: names.split(' ').filter_map(Kind::parse).collect(), kinds: BTreeMap::new() }
    }

    /// Takes a change in.
    pub fn change(&mut self, now: Timestamp, change: &Change) {
        match change {
            Change::Blind(kind, why) => match self.kinds.get_mut(kind) {
                Some(State::Blind(_, last)) => last.clone_from(why),
                _ => {
                    self.kinds.insert(*kind, State::Blind(now, why.clone()));
                }
            },
            Change::Listed(kind) if !matches!(self.kinds.get(kind), Some(State::Sees(_))) => {
                self.kinds.insert(*kind, State::Sees(now));
            }
            _ => {}
        }
    }

    /// What is to be said now, if anything.
    pub fn tick(&mut self, now: Timestamp) -> Option<Sight> {
        let for_long = |since: Timestamp, span: Duration| clock::between(since, now) >= span;
        let new = self.kinds.iter().any(|(kind, state)| {
            matches!(state, State::Blind(since, _) if for_long(*since, GATHER) && !self.told.contains(kind))
        });
        let seen = |kind: &Kind| matches!(self.kinds.get(kind), Some(State::Sees(since)) if for_long(*since, STEADY));
        let again: Vec<Kind> = self.told.iter().copied().filter(seen).collect();
        if !new && again.is_empty() {
            return None;
        }
        self.told.retain(|kind| !again.contains(kind));
        let mut blind = Vec::new();
        for (kind, state) in &self.kinds {
            if let State::Blind(_, why) = state {
                self.told.insert(*kind);
                blind.push((*kind, why.clone()));
            }
        }
        // Told before, and not yet steady enough to be taken back.
        for kind in &self.told {
            if !blind.iter().any(|(k, _)| k == kind) {
                blind.push((*kind, "seen for a moment only".to_owned()));
            }
        }
        Some(Sight { blind, again })
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

    fn said(sight: Option<Sight>) -> Option<(Vec<Kind>, Vec<Kind>)> {
        sight.map(|s| (s.blind.into_iter().map(|(kind, _)| kind).collect(), s.again))
    }

    #[test]
    fn kinds_gather_and_are_told_once() {
        let mut of = Blindness::default();
        of.change(at(0), &blind(Kind::Event));
        assert_eq!(of.tick(at(29)), None);
        of.change(at(29), &blind(Kind::Pod));
        assert_eq!(said(of.tick(at(30))), Some((vec![Kind::Pod, Kind::Event], vec![])));
        of.change(at(40), &blind(Kind::Pod));
        assert_eq!(of.tick(at(5000)), None);
    }

    #[test]
    fn a_moment_of_either_is_nothing() {
        let mut of = Blindness::default();
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
        let mut of = Blindness::default();
        of.change(at(0), &blind(Kind::Pod));
        of.change(at(0), &blind(Kind::Event));
        of.tick(at(30));
        of.change(at(50), &Change::Listed(Kind::Pod));
        assert_eq!(said(of.tick(at(110))), Some((vec![Kind::Event], vec![Kind::Pod])));
    }

    #[test]
    fn after_a_restart_nothing_is_repeated_and_the_end_is_told() {
        let mut of = Blindness::told_of("Event");
        assert_eq!(of.tick(at(0)), None);
        of.change(at(0), &blind(Kind::Event));
        assert_eq!(of.tick(at(100)), None);
        let mut of = Blindness::told_of("Event");
        of.change(at(0), &Change::Listed(Kind::Event));
        assert_eq!(said(of.tick(at(60))), Some((vec![], vec![Kind::Event])));
    }
}
