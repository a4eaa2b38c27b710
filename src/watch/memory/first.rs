//! The first look at a cluster: what stands already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::events::Origin;
use super::{Key, Memory};
use crate::clock;
use crate::signal::facts::JobFacts;
use crate::signal::{Cause, Phase, Signal, Source, node, pod, workload};
use crate::watch::Kind;

/// A Job without a CronJob, or a pod without a controller, that failed longer ago than this is history at a
/// first start.
const OLD_FAILURE: Duration = Duration::from_secs(24 * 3600);

impl Memory {
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
        let seen = |s: &Signal| !self.blind.iter().any(|kind| kind.as_str() == &*s.object.kind);
        out.extend(signals.into_iter().filter(|s| s.phase == Phase::Raised && !past(s) && seen(s)));
    }

    /// What the objects show, in an order that does not depend on the lists'.
    fn states(&mut self, now: Timestamp, news_since: Timestamp, out: &mut Vec<Signal>) {
        let mut signals = Vec::new();
        for entry in self.nodes.values() {
            for finding in node::findings(None, &entry.facts) {
                signals.push(self.node_signal(now, &entry.facts.id, finding, Source::Status));
            }
        }
        for entry in self.workloads.values() {
            let mut findings = workload::findings(None, &entry.facts);
            self.explain_rollout(&entry.facts.id, &mut findings);
            for finding in findings {
                signals.push(self.plain_signal(now, &entry.facts.id, finding, Source::Status));
            }
        }
        let mut evicted = Vec::new();
        for entry in self.pods.values() {
            for finding in pod::findings(None, &entry.facts, news_since) {
                let ended = finding.since.filter(|_| finding.cause == Cause::PodFailed);
                if ended.is_some_and(|at| clock::between(at, now) >= OLD_FAILURE) {
                    continue;
                }
                if finding.cause == Cause::Evicted {
                    evicted.push(Arc::clone(&entry.facts.id.object.uid));
                }
                signals.push(self.pod_signal(now, &entry.facts, &entry.workload, finding, Source::Status));
            }
        }
        for uid in evicted {
            if let Some(entry) = self.pods.get_mut(&uid) {
                entry.facts.evicted = true;
            }
        }
        self.standing_job_failures(now, &mut signals);
        signals.sort_by(|a, b| (&a.object, a.cause, &a.container).cmp(&(&b.object, b.cause, &b.container)));
        out.append(&mut signals);
    }

    /// Failed Jobs that nothing has made good yet: of each CronJob the newest, of others the recent.
    fn standing_job_failures(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        let mut jobs: Vec<_> = self.jobs.values().map(|entry| entry.facts.clone()).collect();
        // Of two that failed in the same second the name decides, as the order of a hash map must not.
        jobs.sort_by(|a, b| {
            let since = |facts: &JobFacts| facts.failed.as_ref().and_then(|c| c.since);
            (since(a), &a.id.object).cmp(&(since(b), &b.id.object))
        });
        for job in &jobs {
            let Some(owner) = job.id.owner.as_ref().filter(|o| &*o.kind == "CronJob") else { continue };
            let ns = job.id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
            if let Some(cron) = self.cron_jobs.get_mut(&(ns, Arc::clone(&owner.name))) {
                cron.facts.succeeded = cron.facts.succeeded.max(job.completed);
            }
        }
        let mut newest: BTreeMap<Key, Signal> = BTreeMap::new();
        for facts in jobs {
            let Some(failed_at) = facts.failed.as_ref().map(|c| c.since) else { continue };
            let mut found = Vec::new();
            self.job_verdict(now, None, &facts, &mut found);
            let ns = facts.id.object.namespace.clone().unwrap_or_else(|| Arc::from(""));
            match facts.id.owner.as_ref().filter(|o| &*o.kind == "CronJob") {
                Some(cron) => {
                    let cron_key = (ns, Arc::clone(&cron.name));
                    let good = self.cron_jobs.get(&cron_key).and_then(|entry| entry.facts.succeeded);
                    if good.is_none_or(|good| failed_at.is_some_and(|bad| bad > good)) {
                        newest.extend(
                            found
                                .into_iter()
                                .filter(|s| s.phase == Phase::Raised)
                                .map(|s| (cron_key.clone(), s)),
                        );
                    }
                }
                None if failed_at.is_some_and(|at| clock::between(at, now) < OLD_FAILURE) => {
                    out.append(&mut found);
                }
                None => {}
            }
        }
        out.extend(newest.into_values());
    }
}
