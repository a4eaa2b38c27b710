use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::WatchedKind;
use super::common::Condition;
use crate::watch::decode::fields::{CONDITIONS, List, NAME, Text};
use crate::watch::decode::{part, slim};

slim! { Job, "jobs", "batch", false {
    spec: JobSpec,
    status: JobStatus,
} }

part! {
    JobSpec { backoff_limit: Option<i64>, suspend: bool, active_deadline_seconds: Option<i64> }
    JobStatus {
        conditions: List<Condition, CONDITIONS>, failed: i64, succeeded: i64, active: i64, start_time: Option<Time>,
        completion_time: Option<Time>, failed_indexes: Option<Text<NAME>>,
    }
}

impl WatchedKind for Job {}
