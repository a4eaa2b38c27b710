use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::WatchedKind;
use super::common::{identity, time};
use crate::signal::facts::{CronJobFacts, Identity};
use crate::signal::{Cause, Health, ObjectRef, Signal, Standing, job};
use crate::watch::Kind;
use crate::watch::decode::{part, slim};
use crate::watch::state::{ClusterState, NamespacedName};

slim! { CronJob, "cronjobs", "batch", false {
    status: CronJobStatus,
} }

part! {
    CronJobStatus { last_successful_time: Option<Time> }
}

impl WatchedKind for CronJob {
    type Key = NamespacedName;
    type Facts = CronJobFacts;
    const HEALTH: Health = Health::Healthy;
    const OWNS_PODS: bool = true;

    fn key(object: &ObjectRef) -> NamespacedName {
        NamespacedName::of(object)
    }

    fn identity(facts: &CronJobFacts) -> Option<&Identity> {
        Some(&facts.id)
    }

    fn apply(self, state: &mut ClusterState, now: Timestamp, _listed: bool, out: &mut Vec<Signal>) {
        let facts = CronJobFacts {
            succeeded: time(self.status.last_successful_time.as_ref()),
            failed: None,
            id: identity("CronJob", self.metadata, &mut state.interner),
        };
        state.remember::<Self>(now, &Self::key(&facts.id.object), facts, out);
    }

    fn carry(before: &CronJobFacts, after: &mut CronJobFacts) {
        after.failed = before.failed;
        after.succeeded = after.succeeded.max(before.succeeded);
    }

    fn standing(state: &ClusterState, object: &ObjectRef, _: Option<&str>, cause: Cause) -> Standing {
        match state.objects.cron_jobs.get(&Self::key(object)) {
            Some(cron) if cause == Cause::JobFailed => job::cron_standing(cron),
            // Only the Event of the next Job that it makes can tell.
            Some(_) if cause == Cause::FailedCreate => Standing::Raised,
            Some(_) => Standing::Clear(None),
            None => state.absent(Kind::CronJob, object.namespace.as_deref()),
        }
    }
}
