//! The first look at a cluster: what stands already.

use std::time::Duration;

use jiff::Timestamp;

use super::ClusterState;
use super::events::Origin;
use crate::signal::{Cause, Phase, Signal};
use crate::watch::Kind;

/// A Job without a CronJob, or a pod without a controller, that failed longer ago than this is history at a
/// first start.
pub(in crate::watch) const OLD_FAILURE: Duration = Duration::from_secs(24 * 3600);

impl ClusterState {
    /// Everything was listed once: what stands now, in an order that does not depend on the lists'.
    pub(super) fn first_look(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        let mut signals = Vec::new();
        self.states(now, self.news_since.of(Kind::Pod), &mut signals);
        self.overdue(now, &mut signals);
        out.append(&mut signals);
        let mut early = self.early.take();
        early.sort_by(|a, b| (a.last_seen(), &a.metadata.name).cmp(&(b.last_seen(), &b.metadata.name)));
        for event in early {
            self.event_now(now, event, Origin::FirstLook, out);
        }
    }

    /// Everything that stands, once more (after a reload of the rules). What has happened is not
    /// told again, and what only Events tell of cannot be: they are not kept.
    pub fn look_again(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        if !self.ready() {
            return;
        }
        let (own, now) = (now, self.server_time(now));
        let mut signals = Vec::new();
        self.states(now, now, &mut signals);
        self.stuck_signals(now, &mut signals);
        self.drop_with_namespaces(0, &mut signals);
        self.translate(own, &mut signals);
        let past = |s: &Signal| s.cause.is_point() || s.cause == Cause::OOMKilled;
        let seen = |s: &Signal| {
            Kind::parse(&s.object.kind).is_none_or(|kind| !self.is_blind(kind, s.object.namespace.as_deref()))
        };
        out.extend(signals.into_iter().filter(|s| s.phase == Phase::Raised && !past(s) && seen(s)));
    }

    /// What the objects show, in an order that does not depend on the lists'.
    fn states(&mut self, now: Timestamp, news_since: Timestamp, out: &mut Vec<Signal>) {
        let mut signals = Vec::new();
        self.shown(now, news_since, &mut signals);
        signals.sort_by(|a, b| (&a.object, a.cause, &a.container).cmp(&(&b.object, b.cause, &b.container)));
        out.append(&mut signals);
    }
}
