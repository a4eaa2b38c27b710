//! Runs that the kubelet ended: by a probe or because a hook failed.
//!
//! The status of such a container looks like that of a program which ended by itself: exit code 137,
//! 143, or 0 where the program stops cleanly. An Event, written just before, has the reason. It is kept
//! with the container and put to the run whose time it falls into, so the order in which status and
//! Event arrive makes no difference.

use std::sync::Arc;
use std::time::Duration;

use super::ended_run;
use crate::clock;
use crate::signal::event::EventFacts;
use crate::signal::facts::{ContainerFacts, Kill, PodFacts, Run, State};
use crate::signal::headline;
use crate::signal::text;

/// The API tells times in whole seconds.
const SECOND: Duration = Duration::from_secs(1);
/// The recorder writes fewer and fewer Events about a pod that fails all the time. A run that ends with
/// the same exit code as one that was ended not longer ago than this was ended for the same reason.
const STILL_SO: Duration = Duration::from_secs(3600);

/// Takes over what was known of the container, and puts what is known to a run that is new.
pub(super) fn carry(old: &ContainerFacts, container: &mut ContainerFacts) {
    container.kill.clone_from(&old.kill);
    let mut hook = None;
    if let State::Waiting { reason, message } = &container.state
        && is_hook(reason)
    {
        let by = message.as_deref().and_then(hook_text).unwrap_or_else(|| hook_word(reason).to_owned());
        let ended = container.last.as_ref().and_then(|run| run.exit.finished_at);
        let kill = container.kill.get_or_insert_default();
        (kill.at, kill.by) = (ended.or(kill.at), Arc::from(by));
        hook = Some(Arc::clone(&kill.by));
    }
    let known = [old.last.as_deref(), current(&old.state)];
    let kill = container.kill.as_deref_mut();
    let Some(kill) = kill else { return };
    let current = match &mut container.state {
        State::Terminated(run) => Some(run),
        _ => None,
    };
    for run in [container.last.as_mut(), current].into_iter().flatten() {
        match known.into_iter().flatten().find(|old| same_run(old, run)) {
            Some(old) if old.exit.ended_by.is_some() => run.exit.ended_by.clone_from(&old.exit.ended_by),
            _ => put(kill, run),
        }
    }
    // The status has the error of the hook, which the Event leaves out.
    if let (Some(by), Some(run)) = (hook, container.last.as_mut()) {
        run.exit.ended_by = Some(by);
    }
}

/// Keeps what an Event says about the end of a run. True: a run that is known already was ended like that.
pub fn note(pod: &mut PodFacts, event: &EventFacts<'_>) -> Option<Arc<str>> {
    let name = event.container()?;
    let container = pod.containers.iter_mut().find(|container| &*container.name == name)?;
    match event.reason {
        "Unhealthy" if ends_container(event.message) && !event.message.trim_end().ends_with(':') => {
            container.kill.get_or_insert_default().probe = Some(text::clean(event.message));
            return None;
        }
        "Killing" => {
            let probe = ["liveness", "startup"]
                .into_iter()
                .find(|probe| event.message.contains(&format!("failed {probe} probe")))?;
            let kill = container.kill.get_or_insert_default();
            let told = kill.probe.clone().filter(|text| text.to_ascii_lowercase().starts_with(probe));
            kill.by = told.unwrap_or_else(|| Arc::from(format!("its {probe} probe failed")));
            kill.at = Some(event.at);
        }
        "FailedPostStartHook" | "FailedPreStartHook" => {
            let kill = container.kill.get_or_insert_default();
            kill.at = Some(event.at);
            if !kill.by.contains("Start hook failed") {
                kill.by = Arc::from(if event.reason == "FailedPostStartHook" {
                    "postStart hook failed"
                } else {
                    "preStart hook failed"
                });
            }
        }
        _ => return None,
    }
    let kill = container.kill.as_deref_mut()?;
    let current = match &mut container.state {
        State::Terminated(run) => Some(run),
        _ => None,
    };
    let mut found = false;
    for run in [container.last.as_mut(), current].into_iter().flatten() {
        let before = run.exit.ended_by.is_some();
        if !before {
            put(kill, run);
            found |= run.exit.ended_by.is_some();
        }
    }
    found.then(|| Arc::clone(&container.name))
}

/// What ended all containers of a pod at once, as the pod tells it.
pub fn ended_with(pod: &PodFacts) -> Option<Arc<str>> {
    match (pod.status.as_deref(), pod.disruption.as_deref()) {
        (Some((reason, message)), _)
            if matches!(&**reason, "Evicted" | "DeadlineExceeded" | "Preempting") =>
        {
            Some(Arc::from(format!("{reason}: {message}").trim()))
        }
        (_, Some(reason)) => Some(Arc::from(format!("its pod was removed ({reason})"))),
        _ => None,
    }
}

fn put(kill: &mut Kill, run: &mut Run) {
    let (Some(at), Some(end)) = (kill.at, run.exit.finished_at) else { return };
    let begun = run.exit.started_at.is_none_or(|begin| begin <= clock::after(at, SECOND));
    let ended = at <= clock::after(end, SECOND);
    let within = begun && ended && run.exit.started_at.is_none_or(|begin| begin.as_second() > 0);
    let again = ended && kill.code == Some(run.exit.code) && clock::between(at, end) <= STILL_SO;
    let oom = run.exit.reason.as_deref() == Some("OOMKilled");
    if (within || again) && !oom {
        kill.code = Some(run.exit.code);
        run.exit.ended_by = Some(Arc::clone(&kill.by));
    }
}

fn current(state: &State) -> Option<&Run> {
    match state {
        State::Terminated(run) => Some(run),
        _ => None,
    }
}

/// The same run, whatever is known by now of what ended it.
pub(super) fn same_run(a: &Run, b: &Run) -> bool {
    a.exit.code == b.exit.code
        && a.exit.started_at == b.exit.started_at
        && a.exit.finished_at == b.exit.finished_at
}

/// Have the two seen different runs end?
pub(super) fn another_ended(now: &ContainerFacts, old: &ContainerFacts) -> bool {
    match (ended_run(now), ended_run(old)) {
        (Some(now), Some(old)) => !same_run(now, old),
        (now, _) => now.is_some(),
    }
}

/// A readiness probe never ends its container.
fn ends_container(message: &str) -> bool {
    message.starts_with("Liveness probe") || message.starts_with("Startup probe")
}

fn is_hook(reason: &str) -> bool {
    matches!(reason, "PostStartHookError" | "PreStartHookError")
}

fn hook_word(reason: &str) -> &'static str {
    if reason == "PostStartHookError" { "postStart hook failed" } else { "preStart hook failed" }
}

fn hook_text(message: &str) -> Option<String> {
    headline::hook(message)
}
