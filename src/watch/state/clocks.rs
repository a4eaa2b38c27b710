//! Objects and Events carry times of the API server's clock; the engine decides by the clock of this machine. The
//! cluster state keeps the former, so that nothing it compares depends on the latter, and translates at its edge.

use jiff::{SignedDuration, Timestamp};

use super::{ClusterState, NewsSince};
use crate::clock::moved;
use crate::signal::Signal;

impl ClusterState {
    /// How far the clock of this machine is ahead of the API server's; negative: behind.
    pub const fn clock_ahead(&self) -> SignedDuration {
        self.ahead
    }

    /// Takes times from now on for those of clocks that differ by `ahead`.
    pub const fn set_clock_ahead(&mut self, ahead: SignedDuration) {
        self.ahead = ahead;
    }

    /// `since` is by the API server's clock.
    pub fn set_news_since(&mut self, since: NewsSince) {
        self.news_since = since;
    }

    /// A time of this machine's clock by the API server's.
    pub fn server_time(&self, at: Timestamp) -> Timestamp {
        moved(at, -self.ahead)
    }

    pub(super) fn own_time(&self, at: Timestamp) -> Timestamp {
        moved(at, self.ahead)
    }

    /// Gives the times of signals by the clock of this machine, which shows `now`. A kubelet whose clock is ahead
    /// of both writes Events of times to come: they happened by now.
    pub(super) fn translate(&self, now: Timestamp, signals: &mut [Signal]) {
        for signal in signals {
            signal.at = self.own_time(signal.at).min(now);
            signal.since = signal.since.map(|at| self.own_time(at).min(now));
            signal.not_before = signal.not_before.map(|at| self.own_time(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::{Cause, Standing, World};
    use crate::testkit::builders::{self, event, node, pod};
    use crate::watch::decode::decode;
    use crate::watch::{Change, Kind};

    const KINDS: [Kind; 3] = [Kind::Node, Kind::Pod, Kind::Event];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn told(state: &mut ClusterState, now: Timestamp, kind: Kind, object: &serde_json::Value) -> Vec<Signal> {
        let object = decode(kind, &object.to_string()).unwrap();
        let mut signals = Vec::new();
        state.apply(now, Change::Applied(object), &mut signals);
        signals
    }

    #[test]
    fn times_of_objects_are_told_by_the_clock_of_this_machine() {
        for ahead in [900, -900, 0].map(SignedDuration::from_secs) {
            let mut state = ClusterState::new(&KINDS, at(-100), false);
            state.set_clock_ahead(ahead);
            let own = |second| moved(at(second), ahead);
            for kind in KINDS {
                state.apply(own(0), Change::Listing(kind), &mut Vec::new());
                state.apply(own(0), Change::Listed(kind), &mut Vec::new());
            }
            let waits = pod("a").node("n").scheduled("-5s").waiting("ImagePullBackOff", "Back-off");
            let object = builders::at(waits.into(), at(0), at(60));
            let raised = told(&mut state, own(60), Kind::Pod, &object);
            let pull = raised.iter().find(|s| s.cause == Cause::ImagePullBackOff).unwrap();
            assert_eq!((pull.at, pull.since), (own(60), Some(own(55))));
            let well = builders::at(pod("a").node("n").running("-5s").into(), at(0), at(90));
            told(&mut state, own(90), Kind::Pod, &well);
            let standing = state.standing(&pull.object, pull.container.as_deref(), Cause::CrashLoopBackOff);
            assert_eq!(standing, Standing::Clear(Some(own(85))));
            // The clock of the kubelet that writes this is an hour ahead of the cluster's.
            told(&mut state, own(95), Kind::Node, &builders::at(node("n").into(), at(0), at(95)));
            let late = event("Node/n", "SystemOOM", "System OOM encountered, victim process: java").json();
            let late = builders::at(late, at(0), at(3_700));
            let raised = told(&mut state, own(100), Kind::Event, &late);
            assert!(raised.iter().all(|s| s.at == own(100)), "{raised:#?}");
            assert!(!raised.is_empty());
        }
    }
}
