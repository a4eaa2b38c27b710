//! CronJobs and Jobs. A pod that fails is not yet a Job that fails.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::Story;
use super::cluster::{Key, key};
use super::objects::{Meta, Owner, Pod, Template, running, waiting};

/// So many finished Jobs are kept (`successfulJobsHistoryLimit`).
const KEPT: usize = 3;

#[derive(Debug, Clone)]
pub struct Cron {
    pub meta: Meta,
    pub template: Template,
    /// Its Jobs with their pods, oldest first.
    jobs: VecDeque<(String, Vec<Key>)>,
    minute: u64,
    last_success: Option<String>,
}

/// A Job under way.
#[derive(Debug, Clone)]
struct Job {
    meta: Meta,
    template: Template,
    failed: u32,
    failures_to_come: u32,
    pods: Vec<Key>,
    cron: Option<Key>,
    started: String,
}

impl Story {
    pub(super) fn make_cron(&mut self, namespace: &str, name: &str, template: Template) -> Key {
        let meta = self.meta(namespace, name.to_owned(), None);
        let minute = u64::try_from(self.timestamp().as_second() / 60).unwrap_or_default();
        let cron = Cron { meta, template, jobs: VecDeque::new(), minute, last_success: None };
        let made = key(namespace, name);
        self.crons.insert(made.clone(), cron);
        self.put_cron(&made, None);
        made
    }

    fn put_cron(&mut self, cron: &Key, active: Option<&Meta>) {
        let now = self.time();
        let Some(cron) = self.crons.get(cron) else { return };
        let active: Vec<Value> = active
            .iter()
            .map(|m| json!({ "kind": "Job", "apiVersion": "batch/v1", "namespace": m.namespace, "name": m.name, "uid": m.uid }))
            .collect();
        let mut status = json!({ "active": active, "lastScheduleTime": now });
        if let (Some(map), Some(at)) = (status.as_object_mut(), &cron.last_success) {
            map.insert("lastSuccessfulTime".into(), at.as_str().into());
        }
        let object = json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": cron.meta.json(),
            "spec": { "schedule": "*/2 * * * *", "concurrencyPolicy": "Forbid", "suspend": false,
                "successfulJobsHistoryLimit": KEPT, "failedJobsHistoryLimit": 1,
                "jobTemplate": { "spec": { "template": { "spec": cron.template.spec(None) } } } },
            "status": status });
        self.apply(object);
    }

    /// It is time for the next Job.
    pub(super) fn fire(&mut self, cron_key: &Key) {
        let Some(cron) = self.crons.get_mut(cron_key) else { return };
        cron.minute += 2;
        let name = format!("{}-{:08}", cron.meta.name, cron.minute);
        let (meta, template) = (cron.meta.clone(), cron.template.clone());
        let owner = Owner { kind: "CronJob", name: meta.name.clone(), uid: meta.uid.clone() };
        let job_meta = self.meta(&cron_key.0, name.clone(), Some(owner));
        self.controller_event(
            "CronJob",
            &meta,
            "cronjob-controller",
            "SuccessfulCreate",
            format!("Created job {name}"),
        );
        self.put_cron(cron_key, Some(&job_meta));
        self.begin_job(job_meta, template, 0, Some(cron_key.clone()));
    }

    /// A Job of its own; so many of its pods fail before one succeeds.
    pub(super) fn run_job(&mut self, namespace: &str, name: &str, template: Template, failures: u32) {
        let meta = self.meta(namespace, name.to_owned(), None);
        self.begin_job(meta, template, failures, None);
    }

    fn begin_job(&mut self, meta: Meta, template: Template, failures_to_come: u32, cron: Option<Key>) {
        let started = self.time();
        let job = Job { meta, template, failed: 0, failures_to_come, pods: Vec::new(), cron, started };
        self.put_job(&job, 0, &[]);
        self.job_pod(job);
    }

    fn put_job(&mut self, job: &Job, active: u32, conditions: &[&str]) {
        let now = self.time();
        let done = conditions.contains(&"Complete");
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|kind| json!({ "type": kind, "status": "True", "reason": "CompletionsReached",
                "message": "Reached expected number of succeeded pods", "lastTransitionTime": now, "lastProbeTime": now }))
            .collect();
        let mut status = json!({ "startTime": job.started, "active": active, "failed": job.failed, "conditions": conditions });
        if let (Some(map), true) = (status.as_object_mut(), done) {
            map.insert("completionTime".into(), now.into());
            map.insert("succeeded".into(), 1.into());
        }
        let object = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": job.meta.json(),
            "spec": { "backoffLimit": 6, "completions": 1, "parallelism": 1,
                "template": { "spec": job.template.spec(None) } }, "status": status });
        self.apply(object);
    }

    fn job_pod(&mut self, mut job: Job) {
        let name = format!("{}-{}", job.meta.name, self.letters(5));
        let owner = Owner { kind: "Job", name: job.meta.name.clone(), uid: job.meta.uid.clone() };
        let mut meta = self.meta(&job.meta.namespace, name.clone(), Some(owner));
        meta.labels = vec![("batch.kubernetes.io/job-name", job.meta.name.clone())];
        let pod_key = key(&meta.namespace, &name);
        let pod = Pod {
            ready_since: meta.created.clone(),
            meta,
            template: job.template.clone(),
            node: None,
            phase: "Pending",
            verdict: None,
            state: None,
            last: json!({}),
            restarts: 0,
            ready: false,
            node_lost: false,
            scheduled: None,
            unschedulable: None,
            sandbox: false,
        };
        self.pods.insert(pod_key.clone(), pod);
        self.put_pod(&pod_key);
        self.controller_event(
            "Job",
            &job.meta,
            "job-controller",
            "SuccessfulCreate",
            format!("Created pod: {name}"),
        );
        self.put_job(&job, 1, &[]);
        job.pods.push(pod_key.clone());
        self.after(0.2, move |s| {
            s.bind(&pod_key, &[]);
            s.change(&pod_key, |p| p.state = Some(waiting("ContainerCreating", None)));
            s.after(1.5, move |s| s.job_run(job, &pod_key));
        });
    }

    fn job_run(&mut self, mut job: Job, pod: &Key) {
        let image = job.template.image.clone();
        self.kubelet_event(
            pod,
            false,
            "Pulled",
            format!("Container image \"{image}\" already present on machine and can be accessed by the pod"),
        );
        self.kubelet_event(pod, false, "Created", String::from("Container created"));
        self.kubelet_event(pod, false, "Started", String::from("Container started"));
        let time = self.time();
        self.change(pod, |p| {
            p.sandbox = true;
            p.phase = "Running";
            p.state = Some(running(&time));
            p.ready = true;
        });
        let fails = job.failures_to_come > 0;
        let pod = pod.clone();
        self.after(25.0, move |s| {
            let (code, reason, phase) =
                if fails { (1, "Error", "Failed") } else { (0, "Completed", "Succeeded") };
            s.end_run(&pod, code, reason, "");
            s.change(&pod, |p| {
                p.ready = false;
                p.phase = phase;
            });
            if fails {
                job.failed += 1;
                job.failures_to_come -= 1;
                s.put_job(&job, 0, &[]);
                s.after(10.0, move |s| s.job_pod(job));
            } else {
                s.job_done(job);
            }
        });
    }

    fn job_done(&mut self, job: Job) {
        self.put_job(&job, 0, &["SuccessCriteriaMet"]);
        self.put_job(&job, 0, &["SuccessCriteriaMet", "Complete"]);
        self.controller_event("Job", &job.meta, "job-controller", "Completed", String::from("Job completed"));
        let time = self.time();
        let Some(cron_key) = job.cron else { return };
        let Some(cron) = self.crons.get_mut(&cron_key) else { return };
        cron.last_success = Some(time);
        cron.jobs.push_back((job.meta.name.clone(), job.pods));
        let old = if cron.jobs.len() > KEPT { cron.jobs.pop_front() } else { None };
        let meta = cron.meta.clone();
        self.put_cron(&cron_key, None);
        let text = format!("Saw completed job: {}, condition: Complete", job.meta.name);
        self.controller_event("CronJob", &meta, "cronjob-controller", "SawCompletedJob", text);
        if let Some((name, pods)) = old {
            self.controller_event(
                "CronJob",
                &meta,
                "cronjob-controller",
                "SuccessfulDelete",
                format!("Deleted job {name}"),
            );
            self.remove("Job", &cron_key.0, &name);
            for pod in pods {
                self.pods.remove(&pod);
                self.remove("Pod", &pod.0, &pod.1);
            }
        }
    }
}
