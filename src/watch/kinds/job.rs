use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::WatchedKind;
use super::common::{Condition, bad_condition, identity, time};
use crate::clock;
use crate::signal::facts::{Identity, JobFacts};
use crate::signal::{Cause, Health, ObjectRef, Phase, Signal, Source, Standing, job, text};
use crate::watch::Kind;
use crate::watch::decode::fields::{CONDITIONS, List, NAME, Text};
use crate::watch::decode::{part, slim};
use crate::watch::intern::Interner;
use crate::watch::state::{ClusterState, NamespacedName, OLD_FAILURE, named};

/// The longest list of failed indexes that is kept, in bytes: a Job may have 100,000 of them.
const MAX_INDEXES: usize = 200;

slim! { Job, "jobs", "batch", false {
    spec: JobSpec,
    status: JobStatus,
} }

part! {
    JobSpec { active_deadline_seconds: Option<i64> }
    JobStatus {
        conditions: List<Condition, CONDITIONS>, completion_time: Option<Time>, failed_indexes: Option<Text<NAME>>,
    }
}

impl WatchedKind for Job {
    type Key = NamespacedName;
    type Facts = JobFacts;
    const HEALTH: Health = Health::Healthy;
    const OWNS_PODS: bool = true;

    fn key(object: &ObjectRef) -> NamespacedName {
        NamespacedName::of(object)
    }

    fn identity(facts: &JobFacts) -> Option<&Identity> {
        Some(&facts.id)
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
        let facts = facts(self, &mut state.interner);
        state.remember::<Self>(now, &Self::key(&facts.id.object), facts, out);
    }

    fn carry(before: &JobFacts, after: &mut JobFacts) {
        after.last_exit.clone_from(&before.last_exit);
        after.waits_for.clone_from(&before.waits_for);
    }

    fn changed(
        state: &mut ClusterState,
        now: Timestamp,
        key: &NamespacedName,
        before: Option<&JobFacts>,
        out: &mut Vec<Signal>,
    ) {
        let after = state.objects.jobs.get(key).cloned();
        if let Some(after) = after.filter(|_| state.ready()) {
            state.job_verdict(now, before, &after, out);
        }
    }

    fn shown(state: &mut ClusterState, now: Timestamp, _news_since: Timestamp, out: &mut Vec<Signal>) {
        state.standing_job_failures(now, out);
    }

    fn standing(state: &ClusterState, object: &ObjectRef, _: Option<&str>, cause: Cause) -> Standing {
        match state.objects.jobs.get(&Self::key(object)) {
            Some(job) if cause == Cause::JobFailed => job::standing(job),
            Some(job) if cause == Cause::FailedCreate => job::can_create(job),
            Some(_) => Standing::Clear(None),
            None => state.absent(Kind::Job, object.namespace.as_deref()),
        }
    }
}

fn facts(job: Job, interner: &mut Interner) -> JobFacts {
    let Job { metadata, spec, status, .. } = job;
    let find = |kind: &str| status.conditions.iter().find(|c| c.r#type == kind && c.status == "True");
    // `FailureTarget` comes first; `Failed` is the verdict, after the last pod has gone.
    let failed = find("Failed").map(|c| {
        let mut failed = bad_condition(c, interner);
        // At the end of the text, so that rules may match its beginning as Kubernetes words it.
        if let Some(secs) = spec.active_deadline_seconds.filter(|_| &*failed.reason == "DeadlineExceeded") {
            failed.message = Arc::from(format!("{} (activeDeadlineSeconds: {secs})", failed.message));
        }
        if let Some(indexes) = status.failed_indexes.as_deref().filter(|list| !list.is_empty()) {
            let list = text::clean(&text::cut(indexes, MAX_INDEXES));
            failed.message = Arc::from(format!("{} (failed indexes: {list})", failed.message));
        }
        failed
    });
    JobFacts {
        failed,
        completed: find("Complete")
            .and_then(|c| time(c.last_transition_time.as_ref()))
            .or_else(|| time(status.completion_time.as_ref())),
        last_exit: None,
        waits_for: None,
        id: identity("Job", metadata, interner),
    }
}

/// The CronJob that made it.
fn cron_of(job: &JobFacts) -> Option<NamespacedName> {
    let owner = job.id.owner.as_ref().filter(|owner| &*owner.kind == "CronJob")?;
    Some(named(&job.id, Arc::clone(&owner.name)))
}

impl ClusterState {
    fn job_verdict(
        &mut self,
        now: Timestamp,
        before: Option<&JobFacts>,
        facts: &JobFacts,
        out: &mut Vec<Signal>,
    ) {
        let cron = cron_of(facts);
        for finding in job::findings(before, facts, cron.is_some()) {
            let Some(cron) = &cron else {
                out.push(self.plain_signal(now, &facts.id, finding, Source::Status));
                continue;
            };
            let Some(entry) = self.objects.cron_jobs.get_mut(cron) else {
                // The CronJob itself cannot be read: the Job's failure still counts.
                if finding.phase == Phase::Raised {
                    out.push(self.plain_signal(now, &facts.id, finding, Source::Status));
                }
                continue;
            };
            let when = finding.at.unwrap_or(now);
            if finding.phase == Phase::Raised {
                entry.failed = entry.failed.max(Some(when));
            } else {
                entry.succeeded = entry.succeeded.max(Some(when));
            }
            let id = entry.id.clone();
            out.push(self.plain_signal(now, &id, finding, Source::Status));
        }
    }

    /// Failed Jobs that nothing has made good yet: of each CronJob the newest, of others the recent.
    fn standing_job_failures(&mut self, now: Timestamp, out: &mut Vec<Signal>) {
        let mut jobs: Vec<_> = self.objects.jobs.values().cloned().collect();
        // Of two that failed in the same second the name decides, as the order of a hash map must not.
        jobs.sort_by(|a, b| {
            let since = |facts: &JobFacts| facts.failed.as_ref().and_then(|c| c.since);
            (since(a), &a.id.object).cmp(&(since(b), &b.id.object))
        });
        for job in &jobs {
            if let Some(cron) = cron_of(job).and_then(|key| self.objects.cron_jobs.get_mut(&key)) {
                cron.succeeded = cron.succeeded.max(job.completed);
            }
        }
        let mut newest: BTreeMap<NamespacedName, Signal> = BTreeMap::new();
        for facts in jobs {
            let Some(failed_at) = facts.failed.as_ref().map(|c| c.since) else { continue };
            let mut found = Vec::new();
            self.job_verdict(now, None, &facts, &mut found);
            match cron_of(&facts) {
                Some(cron) => {
                    let good = self.objects.cron_jobs.get(&cron).and_then(|entry| entry.succeeded);
                    if good.is_none_or(|good| failed_at.is_some_and(|bad| bad > good)) {
                        let raised = found.into_iter().filter(|s| s.phase == Phase::Raised);
                        newest.extend(raised.map(|s| (cron.clone(), s)));
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
