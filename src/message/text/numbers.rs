//! How much: objects, restarts and occurrences, each with the word for what is counted.

use super::{extent, words};
use crate::message::{Decision, IncidentView};
use crate::signal::Cause;
use words::{join, plural};

/// `3 of 12 pods, 113 restarts`, `2 pods affected, seen 41 times`
pub fn how_much(decision: Decision, i: &IncidentView) -> String {
    let extent = extent(i);
    let affected = match (i.replicas, &*i.member_kind) {
        (_, "Node") => extent,
        (Some(of), _) if of >= i.members_total => extent,
        _ => match extent.split_once(" (") {
            _ if extent.is_empty() => extent,
            Some((objects, wanted)) => format!("{objects} affected ({wanted}"),
            None => format!("{extent} affected"),
        },
    };
    let times = counted(i);
    let new = match i.occurrences_new {
        new if decision == Decision::Reminder && new > 0 && !times.is_empty() => {
            format!(" ({new} since the last message)")
        }
        _ => String::new(),
    };
    join(&[&affected, &format!("{times}{new}")], ", ")
}

/// How often it happened, in the word for it: `113 restarts`, `3 OOM kills`, `seen 41 times`. Empty where it
/// happened once, and where only its state is seen, which nothing counts.
pub fn counted(i: &IncidentView) -> String {
    let all = i.occurrences;
    if let Some(restarts) = restarts(i) {
        // Restarts of weeks ago count, too, where the kubelet counts; the reader compares with `kubectl get pods`.
        let before = restarts > all.saturating_add(u64::from(i.members_total.max(1)));
        return match before && all > 0 {
            true => format!("{} ({restarts} restarts in all)", unit(i.cause).of(all)),
            false => plural(restarts, "restart"),
        };
    }
    match unit(i.cause) {
        _ if all <= 1 => String::new(),
        Unit::Object(_) if all <= u64::from(i.members_total) => String::new(),
        unit => unit.of(all),
    }
}

/// `43 more restarts`, of a reminder; empty where nothing is counted.
pub fn more(i: &IncidentView) -> String {
    let new = i.occurrences_new;
    match unit(i.cause) {
        _ if new == 0 => String::new(),
        _ if restarts(i).is_some() => plural(new, "more restart"),
        Unit::Word(word) | Unit::Object(word) => plural(new, &format!("more {word}")),
        Unit::Seen => format!("seen {}", plural(new, "more time")),
        Unit::Nothing => String::new(),
    }
}

fn restarts(i: &IncidentView) -> Option<u64> {
    let by_probe = i.cause == Cause::Unhealthy && &*i.reason_raw == "Killing";
    let restarts = matches!(i.cause, Cause::CrashLoopBackOff | Cause::RunContainerError) || by_probe;
    i.restarts.filter(|count| restarts && *count > 0)
}

/// What the occurrences of a cause are.
enum Unit {
    Word(&'static str),
    /// One for each object, as a rule: counted apart only where there were more.
    Object(&'static str),
    /// Events that say the same again.
    Seen,
    /// A state: how often it was looked at says nothing.
    Nothing,
}

impl Unit {
    fn of(&self, count: u64) -> String {
        match self {
            Self::Word(word) | Self::Object(word) => plural(count, word),
            Self::Seen => format!("seen {}", plural(count, "time")),
            Self::Nothing => String::new(),
        }
    }
}

const fn unit(cause: Cause) -> Unit {
    match cause {
        Cause::CrashLoopBackOff => Unit::Word("crash"),
        Cause::OOMKilled => Unit::Word("OOM kill"),
        Cause::Rebooted => Unit::Word("reboot"),
        Cause::JobFailed => Unit::Object("failed run"),
        Cause::Evicted => Unit::Object("eviction"),
        Cause::PodRejected => Unit::Object("rejection"),
        Cause::CreateContainerError
        | Cause::RunContainerError
        | Cause::FailedMount
        | Cause::FailedAttachVolume
        | Cause::ContainerStuck
        | Cause::Unhealthy
        | Cause::FailedCreate
        | Cause::ProvisioningFailed
        | Cause::Event => Unit::Seen,
        Cause::ImagePullBackOff
        | Cause::CreateContainerConfigError
        | Cause::FailedScheduling
        | Cause::NodeNotReady
        | Cause::NodePressure
        | Cause::NodeCondition
        | Cause::RolloutStuck
        | Cause::StuckTerminating
        | Cause::PodFailed => Unit::Nothing,
    }
}
