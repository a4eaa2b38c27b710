//! Jobs, CronJobs and volume claims.

use serde_json::{Value, json};

use super::meta::{Meta, with_meta};

/// A Job under construction.
#[derive(Debug, Clone)]
pub struct Job {
    pub(super) meta: Meta,
    conditions: Vec<Value>,
    failed: i64,
    suspend: bool,
    completed: Option<String>,
    deadline: Option<i64>,
    failed_indexes: Option<String>,
}

/// A CronJob under construction.
#[derive(Debug, Clone)]
pub struct CronJob {
    pub(super) meta: Meta,
    suspend: bool,
    succeeded: Option<String>,
    scheduled: Option<String>,
}

/// A PersistentVolumeClaim under construction.
#[derive(Debug, Clone)]
pub struct Claim {
    pub(super) meta: Meta,
    phase: String,
    class: Option<String>,
}

with_meta!(Job, CronJob, Claim);

/// A Job at work.
pub fn job(name: &str) -> Job {
    let meta = Meta::new("Job", name);
    Job {
        meta,
        conditions: Vec::new(),
        failed: 0,
        suspend: false,
        completed: None,
        deadline: None,
        failed_indexes: None,
    }
}

pub fn cron_job(name: &str) -> CronJob {
    CronJob { meta: Meta::new("CronJob", name), suspend: false, succeeded: None, scheduled: None }
}

/// A volume claim that is pending.
pub fn claim(name: &str) -> Claim {
    let meta = Meta::new("PersistentVolumeClaim", name);
    Claim { meta, phase: String::from("Pending"), class: Some(String::from("standard")) }
}

impl Job {
    pub fn condition(mut self, kind: &str, reason: &str, message: &str, since: &str) -> Self {
        self.conditions.push(json!({ "type": kind, "status": "True", "reason": reason, "message": message,
            "lastProbeTime": since, "lastTransitionTime": since }));
        self
    }

    /// So many of its pods have failed; that is no verdict.
    pub const fn tries(mut self, failed: i64) -> Self {
        self.failed = failed;
        self
    }

    pub const fn deadline(mut self, seconds: i64) -> Self {
        self.deadline = Some(seconds);
        self
    }

    pub fn failed_indexes(mut self, indexes: &str) -> Self {
        self.failed_indexes = Some(indexes.to_owned());
        self
    }

    /// Failed for good: `FailureTarget` and `Failed`.
    pub fn failed(self, reason: &str, message: &str, since: &str) -> Self {
        self.condition("FailureTarget", reason, message, since).condition("Failed", reason, message, since)
    }

    /// Its retries are used up.
    pub fn backoff_limit(self, since: &str) -> Self {
        self.failed("BackoffLimitExceeded", "Job has reached the specified backoff limit", since)
    }

    pub fn complete(mut self, at: &str) -> Self {
        self.completed = Some(at.to_owned());
        self.condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods", at)
    }

    pub fn suspended(mut self) -> Self {
        self.suspend = true;
        self.condition("Suspended", "JobSuspended", "Job suspended", "-0s")
    }

    pub fn json(&self) -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": self.meta.json(),
            "spec": { "suspend": self.suspend, "backoffLimit": 6, "activeDeadlineSeconds": self.deadline },
            "status": { "conditions": self.conditions, "failed": self.failed,
                        "completionTime": self.completed, "failedIndexes": self.failed_indexes },
        })
    }
}

impl CronJob {
    pub fn succeeded(mut self, at: &str) -> Self {
        self.succeeded = Some(at.to_owned());
        self
    }

    pub fn scheduled(mut self, at: &str) -> Self {
        self.scheduled = Some(at.to_owned());
        self
    }

    pub const fn suspended(mut self) -> Self {
        self.suspend = true;
        self
    }

    pub fn json(&self) -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": self.meta.json(),
            "spec": { "suspend": self.suspend, "schedule": "* * * * *" },
            "status": { "lastSuccessfulTime": self.succeeded, "lastScheduleTime": self.scheduled },
        })
    }
}

impl Claim {
    /// `Pending`, `Bound` or `Lost`.
    pub fn phase(mut self, phase: &str) -> Self {
        phase.clone_into(&mut self.phase);
        self
    }

    /// Bound to a volume.
    pub fn bound(self) -> Self {
        self.phase("Bound")
    }

    /// Sets the storage class.
    pub fn class(mut self, class: Option<&str>) -> Self {
        self.class = class.map(str::to_owned);
        self
    }

    pub fn json(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": self.meta.json(),
            "spec": { "storageClassName": self.class },
            "status": { "phase": self.phase },
        })
    }
}
