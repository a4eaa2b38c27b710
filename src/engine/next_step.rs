//! The command that shows more about an incident: names only, safe to paste.

use std::sync::Arc;

use super::{Incident, Member};
use crate::signal::Cause;

/// Kinds that own the objects of incidents and can be described where these are gone.
const WORKLOADS: &[&str] = &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"];

/// What to look at. `is_gone` knows which members no longer exist: a command about one of those fails.
///
/// Names from the API server are DNS labels; whatever else stands there is not put into a line that people
/// paste into a shell, and there is no command then.
pub(super) fn next_step(incident: &Incident, is_gone: &dyn Fn(&Member) -> bool) -> Arc<str> {
    Arc::from(command(incident, is_gone).unwrap_or_default())
}

fn command(incident: &Incident, is_gone: &dyn Fn(&Member) -> bool) -> Option<String> {
    let object = &incident.signal.object;
    let kind = &*object.kind;
    let kubectl = match incident.namespace.as_deref().filter(|_| kind != "Namespace") {
        Some(namespace) => format!("kubectl -n {}", safe(namespace)?),
        None => "kubectl".to_owned(),
    };
    let describe = |kind: &str, name: &str| Some(format!("{kubectl} describe {}", kind_name(kind, name)?));
    if let Some(step) = of_cause(incident, &kubectl) {
        return Some(step);
    }
    let there = incident.raised().chain(incident.members.values()).find(|member| !is_gone(member));
    let name = match there {
        Some(member) => &member.object.name,
        None if incident.members.is_empty() => &object.name,
        // All of them are gone: their workload is what is left.
        None => {
            let workload = &incident.workload;
            return WORKLOADS
                .contains(&workload.kind())
                .then(|| describe(workload.kind(), workload.name()))
                .flatten();
        }
    };
    let container = match incident.container.as_deref() {
        Some(container) => format!(" -c {}", safe(container)?),
        None => String::new(),
    };
    let logs = |more: &str| Some(format!("{kubectl} logs {}{container}{more} --tail=50", safe(name)?));
    match (incident.cause, kind) {
        // It crashes too rarely for a back-off: at this moment it runs.
        (Cause::CrashLoopBackOff, "Pod") if &*incident.signal.reason == "Restarting" => logs(" --previous"),
        // In back-off the log of the run that crashed is the current one, and the previous one often
        // removed already.
        (Cause::CrashLoopBackOff, "Pod") => logs(""),
        (Cause::PodFailed, "Pod") if incident.container.is_some() => logs(""),
        // A container that was OOM-killed once runs again.
        (Cause::OOMKilled, "Pod") => logs(" --previous"),
        // `describe` shows no finalizers.
        (Cause::StuckTerminating, _) if &*incident.signal.reason == "FinalizersRemain" => {
            Some(format!("{kubectl} get {} -o yaml", kind_name(kind, name)?))
        }
        _ => describe(kind, name),
    }
}

/// Where another object than the one that has the problem shows more.
fn of_cause(incident: &Incident, kubectl: &str) -> Option<String> {
    let why = &*incident.why;
    let has = |words: &str| why.contains(words);
    match incident.cause {
        Cause::JobFailed => {
            let own = (&*incident.signal.object.kind == "Job").then_some(&incident.signal.object.name);
            let job = kind_name("Job", incident.job.as_ref().or(own)?)?;
            // The pods of a Job that ran out of time are removed, and those that never ran have no log.
            let has_log =
                incident.exit.is_some() && !has("DeadlineExceeded") && !has("activeDeadlineSeconds");
            Some(match has_log {
                true => format!("{kubectl} logs {job} --tail=50"),
                false => format!("{kubectl} describe {job}"),
            })
        }
        Cause::FailedCreate if has("exceeded quota") => Some(format!("{kubectl} describe resourcequota")),
        Cause::FailedCreate if has(" per Container ") || has(" per Pod ") => {
            Some(format!("{kubectl} describe limitrange"))
        }
        Cause::FailedCreate if has("error looking up service account") => {
            Some(format!("{kubectl} get serviceaccounts"))
        }
        Cause::FailedCreate if has("failed calling webhook") || has("failed to call webhook") => {
            Some("kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations".to_owned())
        }
        Cause::StuckTerminating if &*incident.signal.reason == "NodeNotReady" => {
            let node = incident.raised().find_map(|member| member.node.as_deref());
            Some(format!("kubectl describe {}", kind_name("Node", node?)?))
        }
        Cause::StuckTerminating if has("Discovery failed for some groups") => {
            Some("kubectl get apiservices".to_owned())
        }
        _ => None,
    }
}

/// `deployment/checkout`
fn kind_name(kind: &str, name: &str) -> Option<String> {
    let letters = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphabetic());
    letters.then(|| Some(format!("{}/{}", kind.to_ascii_lowercase(), safe(name)?))).flatten()
}

fn safe(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    // A leading dash would be read as an option.
    (!text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)).then_some(text)
}
