//! core/v1 Events: which cause an Event tells of, and how well its text explains.
//!
//! `reason` alone classifies nothing: `BackOff`, `Failed`, `NodeNotReady`, `FailedScheduling` and
//! `Evicted` each have several meanings, told apart by type, reporter and the words of the text.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::{PodFacts, State};
use super::finding::{Finding, weight};
use super::{Cause, Phase};
use crate::clock;

/// How long an autoscaler that said it will add a node may take before the pod counts as stuck.
const SCALE_UP: Duration = Duration::from_secs(600);
/// How long an image pull that has begun may take before the container counts as stuck.
const PULL: Duration = Duration::from_secs(900);
/// How long an external provisioner may take.
const PROVISION: Duration = Duration::from_secs(600);

/// An Event, as far as classifying needs it. Its texts are clean, masked and bounded.
#[derive(Debug, Clone, Copy)]
pub struct EventFacts<'a> {
    pub reason: &'a str,
    pub kind: &'a str,
    pub message: &'a str,
    pub reporter: &'a str,
    pub field_path: Option<&'a str>,
    pub at: Timestamp,
    /// How many occurrences are new.
    pub count: u32,
}

impl EventFacts<'_> {
    fn warning(&self) -> bool {
        self.kind == "Warning"
    }

    pub fn container(&self) -> Option<&str> {
        let (list, rest) = self.field_path?.split_once('{')?;
        (list != "spec.ephemeralContainers").then(|| rest.trim_end_matches('}'))
    }

    fn finding(&self, cause: Cause, phase: Phase, how_well: u8) -> Finding {
        let mut finding = Finding::new(cause, phase, &Arc::from(self.reason))
            .text(Arc::from(self.message), how_well)
            .at(Some(self.at))
            .count(self.count);
        finding.container = self.container().map(Arc::from);
        finding
    }
}

/// What an Event about a pod means. `pod`: what is known of it; `None` if it is gone already.
pub fn pod(event: &EventFacts<'_>, pod: Option<&PodFacts>) -> Option<Finding> {
    let waiting_to_start = pod.is_some_and(|p| !p.leaving() && !p.finished() && !p.started());
    let at_work = pod.is_some_and(|p| !p.leaving() && !p.finished());
    if event.field_path.is_some_and(|path| path.starts_with("spec.ephemeralContainers")) {
        // Somebody debugs: never restarted, and nobody's problem but theirs.
        return None;
    }
    match event.reason {
        "BackOff" if event.warning() || event.message.starts_with("Back-off restarting") => {
            // The status counts the restarts; the Event would count them again.
            Some(event.finding(Cause::CrashLoopBackOff, Phase::Detail, weight::BACK_OFF).count(0))
        }
        "BackOff" => Some(event.finding(Cause::ImagePullBackOff, Phase::Detail, weight::BACK_OFF)),
        "Failed" if event.message.starts_with("Failed to pull image") => {
            Some(event.finding(Cause::ImagePullBackOff, Phase::Detail, weight::ERROR))
        }
        "Failed" => failed(event, pod),
        "InspectFailed" | "ErrImageNeverPull" => {
            Some(event.finding(Cause::ImagePullBackOff, Phase::Detail, weight::ERROR))
        }
        "FailedPostStartHook" | "FailedPreStartHook" => {
            // The status has the error of the hook; the Event leaves it out, in case it is secret.
            Some(event.finding(Cause::RunContainerError, Phase::Detail, weight::EVENT))
        }
        "FailedKillPod" if pod.is_some_and(|p| p.id.deleting()) => {
            Some(event.finding(Cause::StuckTerminating, Phase::Detail, weight::ERROR).count(0))
        }
        "Unhealthy" if at_work => unhealthy(event, pod),
        "Killing" if at_work => killing(event),
        "FailedMount" | "FailedMapVolume" if waiting_to_start => {
            // Says only which volumes are waited for; an Event of one volume has the error.
            let waited = event.message.starts_with("Unable to attach or mount volumes");
            let how_well = if waited { weight::EVENT } else { weight::ERROR };
            Some(event.finding(Cause::FailedMount, Phase::Pulse, how_well))
        }
        "FailedAttachVolume" if waiting_to_start => {
            Some(event.finding(Cause::FailedAttachVolume, Phase::Pulse, weight::ERROR))
        }
        // No state has it, and it is written at each try.
        "FailedCreatePodSandBox" if waiting_to_start => {
            Some(event.finding(Cause::ContainerStuck, Phase::Pulse, weight::ERROR))
        }
        "FailedPodSandBoxStatus" | "NetworkNotReady" if waiting_to_start => {
            Some(event.finding(Cause::ContainerStuck, Phase::Detail, weight::ERROR))
        }
        "Pulling" if waiting_to_start => Some(
            event
                .finding(Cause::ContainerStuck, Phase::Detail, weight::EVENT)
                .count(0)
                .not_before(Some(clock::after(event.at, PULL))),
        ),
        "FailedScheduling" if !event.message.starts_with("skip schedule deleting pod") => {
            // The condition is current; the Event keeps the first message of its series.
            Some(event.finding(Cause::FailedScheduling, Phase::Detail, weight::EVENT).count(0))
        }
        "TriggeredScaleUp" | "Nominated" => Some(
            event
                .finding(Cause::FailedScheduling, Phase::Detail, weight::STATE)
                .count(0)
                .not_before(Some(clock::after(event.at, SCALE_UP))),
        ),
        // Karpenter tells of a drain as Evicted, type Normal.
        "Evicted" if event.warning() && pod.is_none_or(|p| !p.evicted) => {
            Some(event.finding(Cause::Evicted, Phase::Pulse, weight::ERROR).count(1))
        }
        _ => None,
    }
}

/// `Failed` covers pulling, configuration, creation and start; the status knows which, the Event
/// has the text (`Error: secret "x" not found`).
fn failed(event: &EventFacts<'_>, pod: Option<&PodFacts>) -> Option<Finding> {
    let text = event.message.strip_prefix("Error: ")?;
    if super::pod::waiting_cause(text).is_some() {
        return Some(event.finding(Cause::ImagePullBackOff, Phase::Detail, weight::BACK_OFF).count(0));
    }
    let container = pod?.container(event.container()?)?;
    let State::Waiting { reason, .. } = &container.state else { return None };
    let cause = super::pod::waiting_cause(reason)?;
    Some(event.finding(cause, Phase::Detail, weight::EVENT).text(Arc::from(text), weight::EVENT))
}

/// One Event an attempt, long before the failure threshold: only an unready container shows an
/// effect, and a startup probe that fails is what startup probes are for.
fn unhealthy(event: &EventFacts<'_>, pod: Option<&PodFacts>) -> Option<Finding> {
    let readiness = event.message.starts_with("Readiness probe");
    let container = event.container().and_then(|name| pod?.container(name));
    let running = container.is_some_and(|c| matches!(c.state, State::Running(_)));
    let unready = container.is_some_and(|c| !c.ready);
    // `Liveness probe failed: ` with nothing behind it explains less than the kill that follows.
    let silent = event.message.trim_end().ends_with(':');
    let killing = ["Liveness probe", "Startup probe"].iter().any(|probe| event.message.starts_with(probe));
    let how_well = match (silent, killing) {
        (true, _) => weight::STATE,
        (false, true) => weight::ERROR,
        (false, false) => weight::EVENT,
    };
    let phase = if readiness && running && unready { Phase::Pulse } else { Phase::Detail };
    Some(event.finding(Cause::Unhealthy, phase, how_well))
}

/// `Container x failed liveness probe, will be restarted`: the effect of a probe.
fn killing(event: &EventFacts<'_>) -> Option<Finding> {
    let probe =
        event.message.contains("failed liveness probe") || event.message.contains("failed startup probe");
    probe.then(|| event.finding(Cause::Unhealthy, Phase::Pulse, weight::STATUS))
}

/// What an Event about a node means. Node conditions tell the rest.
pub fn node(event: &EventFacts<'_>) -> Option<Finding> {
    match event.reason {
        "Rebooted" => Some(Finding { at: Some(event.at), ..super::node::rebooted(Arc::from(event.message)) }),
        "EvictionThresholdMet" => Some(event.finding(Cause::NodePressure, Phase::Detail, weight::EVENT)),
        "SystemOOM" => Some(event.finding(Cause::OOMKilled, Phase::Pulse, weight::ERROR)),
        _ => None,
    }
}

/// What an Event about a controller (ReplicaSet, StatefulSet, DaemonSet, Job, CronJob) means.
/// `has_state`: its top owner is a Deployment, whose `ReplicaFailure` condition decides.
pub fn controller(event: &EventFacts<'_>, has_state: bool) -> Option<Finding> {
    match event.reason {
        "FailedCreate" if event.warning() => {
            let phase = if has_state { Phase::Detail } else { Phase::Pulse };
            Some(event.finding(Cause::FailedCreate, phase, weight::ERROR))
        }
        "SuccessfulCreate" if !has_state => {
            Some(event.finding(Cause::FailedCreate, Phase::Cleared, weight::BACK_OFF).count(0))
        }
        _ => None,
    }
}

/// What an Event about a PersistentVolumeClaim means. `WaitForFirstConsumer` waits by wish.
pub fn claim(event: &EventFacts<'_>, pending: bool) -> Option<Finding> {
    if !pending {
        return None;
    }
    match event.reason {
        "ProvisioningFailed" | "FailedBinding" => {
            Some(event.finding(Cause::ProvisioningFailed, Phase::Pulse, weight::ERROR))
        }
        "ExternalProvisioning" => Some(
            event
                .finding(Cause::ProvisioningFailed, Phase::Pulse, weight::STATE)
                .not_before(Some(clock::after(event.at, PROVISION))),
        ),
        _ => None,
    }
}
