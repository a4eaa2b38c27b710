//! The title of an incident: one sentence that says who has which problem, and why.
//!
//! People read it as a subject or on a lock screen, so it stays short; where something has to give way, it is
//! the container, then the middle of the reason, then the middle of names. Never its end: there stands what
//! has to be mended.

use super::words::{cut_middle, join, one_line};
use super::{LOOPING, MAX_SHORT_WHY as MAX_WHY, name, oom_victim};
use crate::message::IncidentView;
use crate::signal::{Cause, headline as cause_line};

/// The longest title of an incident, in characters: with a mark and a word before it a header of Slack still
/// holds it (150).
pub const MAX_SENTENCE: usize = 140;
/// Texts are no longer than this, in characters; so nothing of their end is lost before their middle.
const MAX_TEXT: usize = 5000;
/// A reason is not cut below this, in characters.
const LEAST_WHY: usize = 50;
/// A name is not cut below this, in characters.
const LEAST_NAME: usize = 24;

struct Sentence {
    who: String,
    /// ` in shop`; may be empty.
    place: String,
    says: String,
    /// ` (container app)`; may be empty.
    part: String,
    why: String,
}

/// `Deployment/api in shop cannot pull api:5.5.0-rc: no such host registry.example.com`
pub fn sentence(i: &IncidentView) -> String {
    Sentence::of(i).fit(MAX_SENTENCE)
}

/// The same where the namespace is said already.
pub fn without_namespace(i: &IncidentView) -> String {
    Sentence { place: String::new(), ..Sentence::of(i) }.fit(MAX_SENTENCE)
}

impl Sentence {
    fn of(i: &IncidentView) -> Self {
        let kind = i.workload.kind();
        let who = match kind {
            "Node" | "Namespace" => format!("{kind} {}", name(i.workload.name())),
            _ if i.workload.is_empty() => i.cause.to_string(),
            _ => name(&i.workload),
        };
        let place = match &i.namespace {
            // A namespace is not in itself.
            Some(ns) if !(kind == "Namespace" && i.workload.name() == &**ns) => format!(" in {}", name(ns)),
            _ => String::new(),
        };
        Self { who, place, says: says(i), part: part(i), why: why(i) }
    }

    fn text(&self) -> String {
        let head = join(&[&format!("{}{}", self.who, self.place), &self.says], " ");
        join(&[&format!("{head}{}", self.part), &self.why], ": ")
    }

    fn fit(mut self, max: usize) -> String {
        let over = |s: &Self| s.text().chars().count().saturating_sub(max);
        if over(&self) > 0 {
            self.part.clear();
        }
        let shorten = |text: &mut String, by: usize, least: usize| {
            let count = text.chars().count();
            *text = cut_middle(text, count.saturating_sub(by).max(least.min(count)));
        };
        let by = over(&self);
        shorten(&mut self.why, by, LEAST_WHY);
        let by = over(&self);
        shorten(&mut self.who, by, LEAST_NAME);
        let by = over(&self);
        shorten(&mut self.place, by, LEAST_NAME);
        let by = over(&self);
        shorten(&mut self.says, by, LEAST_NAME);
        cut_middle(&one_line(&self.text(), MAX_TEXT), max)
    }
}

/// What is wrong, as the predicate of the sentence.
fn says(i: &IncidentView) -> String {
    let volume = || match cause_line::volume::name(&i.why) {
        Some(volume) => format!("volume {}", one_line(volume, 60)),
        None => "its volume".into(),
    };
    match i.cause {
        Cause::CrashLoopBackOff if super::exits_well(i) => "keeps exiting".into(),
        Cause::CrashLoopBackOff => "keeps crashing".into(),
        Cause::ImagePullBackOff => match i.image.as_deref().filter(|image| !image.is_empty()) {
            Some(image) => format!("cannot pull {}", one_line(cause_line::short_image(image), 80)),
            None => "cannot pull its image".into(),
        },
        Cause::CreateContainerConfigError | Cause::CreateContainerError | Cause::RunContainerError => {
            "cannot start".into()
        }
        Cause::OOMKilled => "ran out of memory".into(),
        Cause::Evicted => "was evicted".into(),
        Cause::FailedMount => format!("cannot mount {}", volume()),
        Cause::FailedAttachVolume => format!("cannot attach {}", volume()),
        Cause::FailedScheduling => "cannot be scheduled".into(),
        Cause::ContainerStuck => "does not start".into(),
        Cause::Unhealthy => match cause_line::probe::kind(&i.why) {
            Some(probe) if &*i.reason_raw == "Killing" => format!("is restarted by its {probe} probe"),
            Some(probe) => format!("fails its {probe} probe"),
            None => "fails its probe".into(),
        },
        Cause::PodRejected => match i.node.as_deref().filter(|node| !node.is_empty()) {
            Some(node) => format!("was rejected by node {}", one_line(node, 60)),
            None => "was rejected by its node".into(),
        },
        Cause::NodeNotReady => "is not ready".into(),
        Cause::NodePressure => pressure(i),
        Cause::NodeCondition if i.deeper.is_empty() => "reports a problem".into(),
        Cause::NodeCondition => format!("reports {}", one_line(&i.deeper, 60)),
        Cause::Rebooted => "has rebooted".into(),
        Cause::JobFailed if &*i.reason_raw == "DeadlineExceeded" => {
            "did not finish before its deadline".into()
        }
        Cause::PodFailed if &*i.reason_raw == "DeadlineExceeded" => "was ended at its deadline".into(),
        Cause::JobFailed | Cause::PodFailed => "failed".into(),
        Cause::RolloutStuck => "does not roll out".into(),
        Cause::FailedCreate => "cannot create pods".into(),
        Cause::ProvisioningFailed => "gets no volume".into(),
        Cause::StuckTerminating => "does not terminate".into(),
        Cause::Event if i.reason_raw.is_empty() && i.why.trim().is_empty() => "has an Event".into(),
        Cause::Event => String::new(),
    }
}

/// Which resource a node lacks: of several conditions their types are known, of one the reason of the kubelet.
fn pressure(i: &IncidentView) -> String {
    let known = format!("{} {} {}", i.deeper, i.reason_raw, i.why.lines().next().unwrap_or_default());
    let lacks: Vec<&str> = [
        (["MemoryPressure", "InsufficientMemory", "insufficient memory"], "memory"),
        (["DiskPressure", "HasDiskPressure", "disk pressure"], "disk space"),
        (["PIDPressure", "InsufficientPID", "insufficient PID"], "process IDs"),
    ]
    .iter()
    .filter(|(marks, _)| marks.iter().any(|mark| known.contains(mark)))
    .map(|(_, what)| *what)
    .collect();
    if lacks.is_empty() { "has no pod network".into() } else { format!("is low on {}", lacks.join(" and ")) }
}

/// Which container it is, where its name says more than the workload's.
fn part(i: &IncidentView) -> String {
    let Some(container) = i.container.as_deref().filter(|c| !c.is_empty() && *c != i.workload.name()) else {
        return String::new();
    };
    let container = one_line(container, 63);
    match i.cause {
        _ if &*i.member_kind == "Node" => String::new(),
        Cause::CreateContainerConfigError | Cause::CreateContainerError | Cause::RunContainerError => {
            format!(" container {container}")
        }
        Cause::CrashLoopBackOff | Cause::OOMKilled | Cause::Unhealthy | Cause::PodFailed => {
            format!(" (container {container})")
        }
        _ => String::new(),
    }
}

/// Why, in a few words; may be empty.
pub fn why(i: &IncidentView) -> String {
    let text = match i.cause {
        Cause::NodeCondition | Cause::NodePressure => of_text(i),
        Cause::OOMKilled if &*i.member_kind == "Node" => {
            oom_victim(&i.why).map(|victim| format!("the kernel killed process {victim}")).unwrap_or_default()
        }
        Cause::PodFailed if &*i.reason_raw == "DeadlineExceeded" => String::new(),
        Cause::Event => join(&[&i.reason_raw, &of_text(i)], ": "),
        // What follows from the cause stands behind it.
        _ if &*i.deeper == LOOPING => join(&[&of_text(i), LOOPING], ", "),
        // Below the title they stand for themselves.
        Cause::CrashLoopBackOff | Cause::PodFailed if i.deeper.is_empty() => {
            join(&[&i.exit, &last_words(&i.why)], ": ")
        }
        Cause::JobFailed if short(i) == *i.exit => {
            let said = i.why.split_once('\n').map(|(_, said)| last_words(said)).unwrap_or_default();
            let how = join(&[&i.exit, &said], ": ");
            if how.is_empty() { of_text(i) } else { how }
        }
        _ => short(i),
    };
    // The sentence says it already.
    let said = match i.cause {
        Cause::JobFailed => "failed ",
        Cause::CreateContainerError | Cause::RunContainerError => "cannot be started: ",
        _ => "",
    };
    let text = text.strip_prefix(said).unwrap_or(&text);
    cut_middle(&one_line(text, MAX_TEXT), MAX_WHY)
}

fn of_text(i: &IncidentView) -> String {
    cause_line::line(i.cause, &i.why, i.image.as_deref())
}

/// The cause in a few words: what lies deeper, how a run ended, or the innermost error of the text.
pub fn short(i: &IncidentView) -> String {
    let text = match (i.cause, &*i.reason_raw) {
        // The verdict about a Job has the cause; its pods were killed in consequence.
        (Cause::JobFailed, "DeadlineExceeded" | "PodFailurePolicy") => of_text(i),
        (Cause::JobFailed, _) if cause_line::failed_indexes(&i.why).is_some() => {
            let indexes = cause_line::failed_indexes(&i.why).unwrap_or_default();
            let how = if i.deeper.is_empty() { i.exit.to_string() } else { deeper(&i.deeper) };
            join(&[&format!("failed indexes {indexes}"), &how], ", ")
        }
        (Cause::NodeCondition | Cause::NodePressure, _) => i.deeper.to_string(),
        _ if !i.deeper.is_empty() => deeper(&i.deeper),
        (Cause::JobFailed | Cause::CrashLoopBackOff | Cause::PodFailed, _) => i.exit.to_string(),
        _ => Some(of_text(i)).filter(|line| !line.is_empty()).unwrap_or_else(|| i.exit.to_string()),
    };
    cut_middle(&one_line(&text, MAX_TEXT), MAX_WHY)
}

/// What lies deeper may be the text of a probe or of an eviction.
fn deeper(text: &str) -> String {
    if let Some(evicted) = text.strip_prefix("Evicted: ") {
        return format!("evicted: {}", cause_line::line(Cause::Evicted, evicted, None));
    }
    match cause_line::probe::kind(text) {
        Some(probe) => {
            join(&[&format!("{probe} probe failed"), &cause_line::line(Cause::Unhealthy, text, None)], ": ")
        }
        None => text.lines().next().unwrap_or_default().to_owned(),
    }
}

/// What a program said at its end, where that is one line: of a stack or of a log nobody knows which line
/// counts, except where the first one tells.
fn last_words(said: &str) -> String {
    const OURS: &[&str] = &[
        "the container exited",
        "the init container exited",
        "the sidecar exited",
        "restarts again",
        "OOM-killed",
        "back-off ",
        "Back-off ",
    ];
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let (Some(first), last) = (lines.next(), lines.next_back()) else { return String::new() };
    let line = match last {
        None => first,
        Some(last) if first.starts_with("Traceback (most recent call last)") => last,
        Some(_)
            if ["panic: ", "fatal error: ", "Exception in thread "].iter().any(|p| first.starts_with(p)) =>
        {
            first
        }
        Some(_) => return String::new(),
    };
    if OURS.iter().any(|ours| line.starts_with(ours)) {
        return String::new();
    }
    cause_line::line(Cause::PodFailed, line, None)
}
