use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::WatchedKind;
use crate::watch::decode::{part, slim};

slim! { CronJob, "cronjobs", "batch", false {
    spec: CronJobSpec,
    status: CronJobStatus,
} }

part! {
    CronJobSpec { suspend: bool }
    CronJobStatus { last_successful_time: Option<Time>, last_schedule_time: Option<Time> }
}

impl WatchedKind for CronJob {}
