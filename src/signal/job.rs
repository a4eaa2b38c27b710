//! Jobs and CronJobs. A pod that fails inside `backoffLimit` is normal life; only the Job's verdict
//! counts, and for the Jobs of a CronJob it is the CronJob that has the problem.

use std::sync::Arc;

use super::facts::{BadCondition, CronJobFacts, JobFacts};
use super::finding::{Finding, weight};
use super::headline::UNTIL_THEN;
use super::{Cause, Phase, Standing};

/// What a change of a Job means. The caller puts the finding on the CronJob where there is one.
pub fn findings(before: Option<&JobFacts>, after: &JobFacts, of_cron_job: bool) -> Vec<Finding> {
    let mut out = Vec::new();
    if let Some(failed) = &after.failed
        && before.is_none_or(|b| b.failed.is_none())
    {
        out.push(failure(after, failed, of_cron_job));
    }
    if of_cron_job && after.completed.is_some() && before.is_none_or(|b| b.completed.is_none()) {
        out.push(Finding::new(Cause::JobFailed, Phase::Cleared, &Arc::from("Complete")).at(after.completed));
    }
    out
}

fn failure(job: &JobFacts, failed: &BadCondition, of_cron_job: bool) -> Finding {
    let mut text = if of_cron_job {
        Arc::from(format!("Job {}: {}", job.id.object.name, failed.message))
    } else {
        Arc::clone(&failed.message)
    };
    // A Job whose pods never ran runs out of time; why they never ran is what somebody has to mend.
    if let Some(waited) = job.waits_for.as_ref().filter(|_| &*failed.reason == "DeadlineExceeded") {
        text = Arc::from(format!("{text}{UNTIL_THEN}{waited}"));
    }
    let finding = Finding::new(Cause::JobFailed, Phase::Raised, &failed.reason)
        .text(text, weight::STATUS)
        .since(failed.since)
        .at(failed.since)
        .exit(job.last_exit.clone())
        .count(1);
    Finding { job: of_cron_job.then(|| Arc::clone(&job.id.object.name)), ..finding }
}

/// Does a Job without a CronJob still count as failed? It always does: nothing retries it.
pub fn standing(job: &JobFacts) -> Standing {
    if job.failed.is_some() { Standing::Raised } else { Standing::Clear(job.completed) }
}

/// Can the Job's controller not create its pods? Only the Event of the next pod, or the Job's
/// verdict, tells that it can.
pub const fn can_create(job: &JobFacts) -> Standing {
    if job.failed.is_some() || job.completed.is_some() { Standing::Clear(None) } else { Standing::Raised }
}

/// Did the CronJob's latest verdict fail? A failed Job may be gone from its history, so a success
/// counts only with its time.
pub fn cron_standing(cron: &CronJobFacts) -> Standing {
    match (cron.succeeded, cron.failed) {
        (Some(good), Some(bad)) if good <= bad => Standing::Raised,
        (Some(good), _) => Standing::Clear(Some(good)),
        (None, Some(_)) => Standing::Raised,
        (None, None) => Standing::Unknown,
    }
}
