//! The cause in one line, out of the texts of Kubernetes and of container runtimes.
//!
//! Such a text is a chain: each layer puts its own words in front of the error of the layer below, so the
//! cause stands at the end, where a title would be cut. The whole text is kept and shown; these functions
//! only choose the words above it. They are tried on the texts in `tests/data/messages`.

mod admission;
mod network;
mod plain;
mod pod;
pub mod probe;
mod pull;
mod runtime;
mod schedule;
pub mod volume;

use super::Cause;
pub use pull::short_image;
pub use runtime::{hook, line as runtime};

/// The longest text that is looked at, in bytes; longer ones have been cut before.
const MAX_LOOKED_AT: usize = 4096;

/// Why, in words that stand behind a sentence about the cause; empty where the text has nothing to say that
/// the cause does not.
pub fn line(cause: Cause, why: &str, image: Option<&str>) -> String {
    let why = super::text::cut(why.trim(), MAX_LOOKED_AT);
    let why: &str = why.trim_end_matches(super::text::CUT);
    let first = why.lines().next().unwrap_or_default();
    // Where a status has no text its reason stands for one, and says what the cause says.
    if super::pod::waiting_cause(why).is_some() {
        return String::new();
    }
    let line = match cause {
        Cause::ImagePullBackOff => pull::line(why, image),
        Cause::CreateContainerConfigError => runtime::config(why),
        Cause::CreateContainerError | Cause::RunContainerError => hook(why).unwrap_or_else(|| runtime(why)),
        Cause::FailedMount | Cause::FailedAttachVolume => volume::line(why),
        Cause::FailedScheduling => schedule::line(first),
        Cause::ContainerStuck | Cause::StuckTerminating => network::line(why),
        Cause::Unhealthy => probe::line(why),
        Cause::Evicted => pod::evicted(why),
        Cause::PodRejected => pod::rejected(why),
        Cause::FailedCreate => admission::line(why),
        Cause::ProvisioningFailed => volume::claim(why),
        Cause::NodeNotReady => node(first),
        Cause::NodePressure => pressure(first),
        Cause::RolloutStuck => rollout(why),
        Cause::JobFailed => job(first),
        // The boot is the news; the new boot id is not.
        Cause::Rebooted => String::new(),
        Cause::CrashLoopBackOff
        | Cause::OOMKilled
        | Cause::NodeCondition
        | Cause::PodFailed
        | Cause::Event => plain::plain(first),
    };
    line.lines().next().unwrap_or_default().trim_matches([' ', '.']).to_owned()
}

/// `container runtime network not ready: NetworkReady=false reason:… message:…`, `[first, second]`
fn node(why: &str) -> String {
    let why = why.trim_end_matches('.');
    match why {
        "Kubelet stopped posting node status" => return "the kubelet stopped answering".into(),
        "node is shutting down" => return "it is shutting down".into(),
        "Kubelet never posted node status" => return "the kubelet has never answered".into(),
        _ => {}
    }
    let why = why.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(why);
    if let Some((_, error)) = why.split_once("reason:NetworkPluginNotReady message:") {
        return network::not_ready(error);
    }
    if let Some((_, error)) = why.split_once("container runtime not ready: RuntimeReady=false") {
        let error = error.rsplit_once("Error while dialing: ").map_or(error, |(_, error)| error);
        return format!("container runtime not ready: {}", plain::innermost(error.trim_end_matches('"')));
    }
    let why = why.replace("container runtime status check may not have completed yet, ", "");
    let why = why.replace("pleg was last seen active ", "last active ");
    plain::plain(why.split("; threshold is ").next().unwrap_or(&why))
}

/// What the kubelet says of pressure only says that there is some.
fn pressure(why: &str) -> String {
    if why.starts_with("kubelet has ") || why.starts_with("Attempting to reclaim ") {
        return String::new();
    }
    plain::plain(why)
}

/// `ReplicaSet "checkout-1" has timed out progressing. Pod checkout-1-x: container app runs but is not ready`
fn rollout(why: &str) -> String {
    let Some((_, pods)) = why.split_once("has timed out progressing.") else { return plain::plain(why) };
    let pods = pods.trim().lines().next().unwrap_or_default();
    let lacks =
        pods.strip_prefix("Pod ").and_then(|rest| rest.split_once(": ")).map_or(pods, |(_, lacks)| lacks);
    if lacks.is_empty() { "no progress before its deadline".into() } else { plain::plain(lacks) }
}

/// What comes between the verdict about a Job at its deadline and what its pod waited for.
pub const UNTIL_THEN: &str = "; until then ";

/// What decided about a Job, or kept its pods from running until its deadline came.
fn job(why: &str) -> String {
    // Of a CronJob the text begins with the name of its Job.
    let named = why.strip_prefix("Job ").and_then(|rest| rest.split_once(": "));
    let why = named.filter(|(name, _)| !name.contains(' ')).map_or(why, |(_, verdict)| verdict);
    if let Some((_, waited)) = why.split_once(UNTIL_THEN) {
        let waited =
            waited.strip_prefix("pod ").and_then(|rest| rest.split_once(": ")).map_or(waited, |(_, w)| w);
        return plain::innermost(waited.split_once(": ").map_or(waited, |(_, error)| error));
    }
    if why.contains("longer than specified deadline") {
        let limit = why.split_once("(activeDeadlineSeconds: ").and_then(|(_, rest)| rest.split(')').next());
        return limit.map(|limit| format!("activeDeadlineSeconds: {limit}")).unwrap_or_default();
    }
    if why.starts_with("Container ") && why.contains(" matching FailJob rule") {
        let container = why.split(' ').nth(1).unwrap_or_default();
        let code =
            why.split_once("exit code ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default();
        return format!("container {container} exited with code {code} (pod failure policy)");
    }
    if why.contains("reached the specified backoff limit") {
        return "all its tries failed (backoff limit reached)".into();
    }
    plain::plain(why)
}

/// The failed indexes in the text of a Job: `1,3-5`.
pub fn failed_indexes(why: &str) -> Option<&str> {
    why.rsplit_once("(failed indexes: ").and_then(|(_, rest)| rest.split(')').next())
}

#[cfg(test)]
mod tests;
