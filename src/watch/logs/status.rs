//! What a pod says about the runs of its containers: only what it takes to find a log.

use jiff::Timestamp;
use serde::Deserialize;

use super::WhichRun;
use crate::signal::log::Span;

/// What the kubelet writes where it does not know how a container ended
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kubelet_pods.go>).
const UNKNOWN: &str = "ContainerStatusUnknown";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub metadata: Metadata,
    status: Statuses,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Statuses {
    container_statuses: Option<Vec<Container>>,
    init_container_statuses: Option<Vec<Container>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    restart_count: i64,
    state: State,
    last_state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    running: Option<serde::de::IgnoredAny>,
    terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    exit_code: i32,
    reason: Option<String>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

/// The run that ended last, and where its log is. Equal: nothing has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    id: String,
    restarts: i64,
    /// The next run has begun.
    pub previous: bool,
    pub span: Span,
    exit_code: i32,
    oom: bool,
}

impl Ended {
    pub fn is(&self, which: WhichRun) -> bool {
        match which {
            WhichRun::Last => true,
            WhichRun::Failed => self.exit_code != 0,
            WhichRun::Killed => self.oom || self.exit_code == 137,
            WhichRun::EndedAfter(moment) => self.span.to.as_second() >= moment.as_second(),
        }
    }
}

impl Status {
    /// The last run of a container that ended, if its log can be told from those of others.
    pub fn ended(&self, container: &str) -> Option<Ended> {
        let lists = [&self.status.container_statuses, &self.status.init_container_statuses];
        let container = lists.into_iter().flatten().flatten().find(|c| c.name == container)?;
        let (run, previous) = match (&container.state.terminated, &container.last_state.terminated) {
            // Without an id: the runtime has lost it, and what was before it is not it.
            (Some(run), _) => (run, false),
            (None, Some(run)) => (run, container.state.running.is_some()),
            (None, None) => return None,
        };
        let Terminated { container_id, exit_code, reason, started_at, finished_at } = run.clone();
        let id = container_id.filter(|id| !id.is_empty() && reason.as_deref() != Some(UNKNOWN))?;
        Some(Ended {
            id,
            restarts: container.restart_count,
            previous,
            span: Span { from: started_at?, to: finished_at? },
            exit_code,
            oom: reason.as_deref() == Some("OOMKilled"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(id: &str, code: i32, at: &str) -> Value {
        json!({"terminated": {"containerID": id, "exitCode": code, "reason": "Error",
            "startedAt": format!("2026-11-21T08:06:{at}Z"), "finishedAt": format!("2026-11-21T08:06:{at}Z")}})
    }

    fn ended(state: &Value, last: &Value) -> Option<(String, bool)> {
        let status = json!({"name": "app", "restartCount": 1, "state": state, "lastState": last});
        let pod = json!({"metadata": {"uid": "u"}, "status": {"containerStatuses": [status]}});
        let pod: Status = serde_json::from_value(pod).unwrap();
        pod.ended("app").map(|ended| (ended.id, ended.previous))
    }

    #[test]
    fn the_log_is_the_current_one_until_the_next_run_begins() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let running = json!({"running": {"startedAt": "2026-11-21T08:06:40Z"}});
        let (x, y) = (run("x", 3, "22"), run("y", 3, "30"));
        let own = |id: &str, previous| Some((id.to_owned(), previous));
        assert_eq!(ended(&y, &x), own("y", false));
        assert_eq!(ended(&waiting, &y), own("y", false));
        assert_eq!(ended(&running, &y), own("y", true));
        assert_eq!(ended(&running, &json!({})), None, "none has ended");
        assert_eq!(ended(&json!({"waiting": {"reason": "ContainerCreating"}}), &json!({})), None);
        assert_eq!(ended(&json!({}), &json!({})), None);
        let mut lost = y.clone();
        lost["terminated"]["reason"] = json!(UNKNOWN);
        assert_eq!(ended(&lost, &x), None);
        lost["terminated"] =
            json!({"exitCode": 137, "reason": "Error", "startedAt": null, "finishedAt": null});
        assert_eq!(ended(&lost, &x), None);
    }

    #[test]
    fn init_containers_and_sidecars_are_found() {
        let mut status = json!({"name": "migrate", "restartCount": 2, "lastState": {}});
        status["state"] = run("m", 1, "22");
        let pod =
            json!({"metadata": {}, "status": {"containerStatuses": null, "initContainerStatuses": [status]}});
        let pod: Status = serde_json::from_value(pod).unwrap();
        assert_eq!(pod.ended("migrate").unwrap().id, "m");
        assert_eq!(pod.ended("app"), None);
    }

    #[test]
    fn only_the_run_that_is_meant() {
        let mut status = json!({"name": "app", "restartCount": 2, "lastState": {}});
        status["state"] = run("m", 0, "22");
        let pod = json!({"status": {"containerStatuses": [status]}});
        let run = serde_json::from_value::<Status>(pod).unwrap().ended("app").unwrap();
        let at = |text: &str| WhichRun::EndedAfter(text.parse().unwrap());
        assert!(run.is(WhichRun::Last) && !run.is(WhichRun::Failed) && !run.is(WhichRun::Killed));
        assert!(run.is(at("2026-11-21T08:06:22.9Z")) && !run.is(at("2026-11-21T08:06:23Z")));
        let killed = Ended { exit_code: 137, ..run.clone() };
        assert!(killed.is(WhichRun::Killed) && killed.is(WhichRun::Failed));
        assert!(Ended { oom: true, exit_code: 1, ..run }.is(WhichRun::Killed));
    }
}
