//! The cause in one line, out of the texts of Kubernetes and of container runtimes.
//!
//! Such a text is a chain: each layer puts its own words in front of the error of the layer below, so the
//! cause stands at the end, where a title is cut. The whole text is kept and shown; these functions only
//! choose the line above it. A text of another shape gives `None`; then its own first line is shown.

use super::Cause;

/// The longest text that is looked at, in bytes; longer ones have been cut before.
const MAX_LOOKED_AT: usize = 4096;

/// The line for a cause and its explaining text. `None`: the text's first line is as good.
pub fn of(cause: Cause, why: &str, image: Option<&str>) -> Option<String> {
    let why = super::text::cut(why.trim(), MAX_LOOKED_AT);
    let why: &str = &why;
    let found = match cause {
        Cause::ImagePullBackOff => return pull(why, image),
        Cause::CreateContainerError | Cause::RunContainerError => {
            hook(why).or_else(|| Some(runtime(why).to_owned()))
        }
        Cause::FailedMount | Cause::FailedAttachVolume => volume(why),
        Cause::FailedScheduling => schedule(why),
        Cause::ContainerStuck | Cause::StuckTerminating => sandbox(why),
        Cause::Unhealthy => dial(why),
        Cause::Evicted => evicted(why),
        Cause::PodRejected => why.strip_prefix("Pod was rejected: ").map(str::to_owned),
        Cause::FailedCreate => create(why),
        Cause::ProvisioningFailed => why.split_once(": rpc error: ").map(|(_, rest)| rpc(rest).to_owned()),
        Cause::NodeNotReady => node(why),
        Cause::RolloutStuck => why.split_once("has timed out progressing. ").map(|(_, pods)| pods.to_owned()),
        Cause::JobFailed => job(why),
        _ => None,
    };
    let found = found?;
    let line = found.lines().next().unwrap_or_default().trim().trim_end_matches('.').to_owned();
    let first = why.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    (!line.is_empty() && line != first).then_some(line)
}

/// Errors of containerd, CRI-O, Docker and of registries, in lower case, and what each means. The first that
/// occurs in a text counts, so the more specific ones stand above.
const PULL: &[(&str, &str)] = &[
    ("no space left on device", "no space left on the node's disk"),
    ("toomanyrequests", "the registry's pull rate limit is reached (429)"),
    ("429 too many requests", "the registry's pull rate limit is reached (429)"),
    ("no match for platform", "the image has no variant for the node's platform"),
    ("no matching manifest for", "the image has no variant for the node's platform"),
    ("no image found in image index for architecture", "the image has no variant for the node's platform"),
    ("pull access denied", "no such repository, or no permission to pull from it"),
    ("insufficient_scope", "no such repository, or no permission to pull from it"),
    ("401 unauthorized", "the registry rejects the credentials (401)"),
    ("no basic auth credentials", "the registry requires credentials"),
    ("authentication required", "the registry requires credentials"),
    ("403 forbidden", "the registry refuses (403)"),
    ("server gave http response to https client", "the registry speaks HTTP, not HTTPS"),
    (
        "certificate signed by unknown authority",
        "the registry's certificate is signed by an unknown authority",
    ),
    ("certificate has expired", "the registry's certificate has expired"),
    ("x509: ", "the registry's certificate is not accepted"),
    ("no such host", "DNS does not know the registry's name"),
    ("server misbehaving", "DNS fails for the registry's name"),
    ("connection refused", "the registry refuses the connection"),
    ("no route to host", "there is no route to the registry"),
    ("connection reset by peer", "the registry resets the connection"),
    ("i/o timeout", "the registry does not answer in time"),
    ("tls handshake timeout", "the registry does not answer in time"),
    ("client.timeout exceeded", "the registry does not answer in time"),
    ("deadline exceeded", "the registry does not answer in time"),
    ("500 internal server error", "the registry fails (500)"),
    ("502 bad gateway", "the registry fails (502)"),
    ("503 service unavailable", "the registry fails (503)"),
    ("504 gateway", "the registry fails (504)"),
    ("invalid reference format", "the image name is not valid"),
    ("invalidimagename", "the image name is not valid"),
    ("with pull policy of never", "the image is not on the node, and its pull policy is Never"),
    ("manifest unknown", "there is no such image"),
    ("name unknown", "there is no such repository"),
];

fn pull(why: &str, image: Option<&str>) -> Option<String> {
    // Docker's words for a missing image are a line of their own, with the image in it.
    if why.starts_with("manifest for ") {
        return None;
    }
    let lower = why.to_ascii_lowercase();
    let known = PULL.iter().find(|(words, _)| lower.contains(words)).map(|(_, said)| *said);
    // "not found" stands at the end of the chain; in the middle of it anything may be not found.
    let missing = lower.ends_with("not found").then_some("there is no such image");
    let said = known.or(missing)?;
    Some(match image.filter(|image| !image.is_empty()) {
        Some(image) => format!("{said}: {image}"),
        None => said.to_owned(),
    })
}

/// The error of a container runtime without the prefixes of its layers.
pub fn runtime(why: &str) -> &str {
    const LAYERS: &[&str] = &[
        "unable to start container process: ",
        "error during container init: ",
        "runc create failed: ",
        "OCI runtime create failed: ",
        "failed to create shim task: ",
        "failed to create containerd task: ",
        "failed to start container: ",
        "failed to generate spec: ",
        "desc = ",
    ];
    let from = LAYERS.iter().filter_map(|layer| why.find(layer).map(|at| at + layer.len())).max();
    let rest = from.and_then(|from| why.get(from..)).unwrap_or(why);
    rest.strip_suffix(": unknown").unwrap_or(rest)
}

/// `Exec lifecycle hook ([…]) for Container "app" in Pod "…" failed - error: command '…' exited with 7: , message: ""`
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/lifecycle/handlers.go>).
pub fn hook(why: &str) -> Option<String> {
    let (_, error) =
        why.contains(" lifecycle hook (").then(|| why.split_once(" failed - error: ")).flatten()?;
    let error = error.split(", message: ").next().unwrap_or(error);
    let error = error.lines().next().unwrap_or_default().trim_end_matches([' ', ':']);
    Some(format!("postStart hook failed: {}", dial(error).unwrap_or_else(|| error.to_owned())))
}

/// `rpc error: code = Internal desc = …`
fn rpc(text: &str) -> &str {
    text.rsplit_once("desc = ").map_or(text, |(_, error)| error)
}

/// `MountVolume.SetUp failed for volume "creds" : …` → `… (volume creds)`
fn volume(why: &str) -> Option<String> {
    let (_, rest) = why.split_once(" for volume \"")?;
    let (name, error) = rest.split_once('"')?;
    let error = error.trim_start_matches([' ', ':']);
    // What mount(8) said stands below the command that was tried.
    let said = error.lines().find_map(|line| line.strip_prefix("Output: ")).filter(|said| !said.is_empty());
    let error = said.unwrap_or_else(|| rpc(error.lines().next().unwrap_or_default()));
    let error = error.rsplit_once("failed to create newCsiDriverClient: ").map_or(error, |(_, error)| error);
    let error = error.strip_prefix("kubernetes.io/csi: ").unwrap_or(error).trim_end_matches('.');
    (!error.is_empty()).then(|| format!("{error} (volume {name})"))
}

/// `0/5 nodes are available: …`: what the pod asks for before what keeps nodes for others, the most nodes
/// first, and without the same over again for preemption.
fn schedule(why: &str) -> Option<String> {
    let (head, rest) = why.split_once(" nodes are available: ")?;
    // What plugins say after that (`. no new claims to deallocate, preemption: …`) is about ways out.
    let reasons = rest.split(". ").next().unwrap_or(rest).trim().trim_end_matches('.');
    // A list in braces belongs to its reason.
    let mut parts: Vec<String> = Vec::new();
    for part in reasons.split(", ") {
        match parts.last_mut() {
            Some(last) if last.matches('{').count() > last.matches('}').count() => {
                last.push_str(", ");
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
    }
    let kept = |part: &str| part.contains("taint") || part.contains("unschedulable");
    let count = |part: &str| part.split(' ').next().and_then(|n| n.parse::<u32>().ok());
    parts.sort_by_key(|part| (kept(part), std::cmp::Reverse(count(part).unwrap_or(u32::MAX))));
    Some(format!("{head} nodes are available: {}", parts.join(", ")))
}

/// `Failed to create pod sandbox: … for sandbox "9b1f…": …`, and the same when it is taken down.
fn sandbox(why: &str) -> Option<String> {
    let quiet = why.replace("\\\"", "\"");
    let cause = match quiet.rsplit_once("for sandbox \"").and_then(|(_, rest)| rest.split_once("\": ")) {
        Some((_, error)) => error,
        None if why.starts_with("Failed to create pod sandbox") || why.starts_with("error killing pod") => {
            quiet.rsplit_once("desc = ")?.1
        }
        None => why.split_once("reason:NetworkPluginNotReady message:").map(|(_, error)| error)?,
    };
    Some(cause.trim_end_matches(['"', ']', ' ']).to_owned())
}

/// `… dial tcp 10.244.1.5:8080: connect: connection refused`: the address stands before it already.
fn dial(why: &str) -> Option<String> {
    let (head, rest) = why.split_once(": dial tcp ")?;
    let (_, error) = rest.split_once(": ")?;
    let error = error.strip_prefix("connect: ").unwrap_or(error);
    Some(format!("{head}: {error}"))
}

/// The container that used too much stands behind threshold and usage of the node: those two are left out.
fn evicted(why: &str) -> Option<String> {
    let (what, rest) = why.split_once(" Threshold quantity: ")?;
    let (_, who) = rest.split_once(". ")?;
    Some(format!("{what} {who}"))
}

fn create(why: &str) -> Option<String> {
    let text = why.strip_prefix("Error creating: ").unwrap_or(why);
    if let Some((_, reason)) = text.split_once("\" is forbidden: ") {
        return Some(reason.to_owned());
    }
    let text = text.strip_prefix("Internal error occurred: ").unwrap_or(text);
    if let Some((hook, error)) = text.split_once(": failed to call webhook: ") {
        let error = dial(error).unwrap_or_else(|| error.to_owned());
        let error = error.rsplit_once("\": ").map_or(error.as_str(), |(_, error)| error);
        return Some(format!("{hook}: {error}"));
    }
    (text != why).then(|| text.to_owned())
}

/// `container runtime network not ready: NetworkReady=false reason:… message:…`, `[first, second]`
fn node(why: &str) -> Option<String> {
    if let Some((_, error)) = why.split_once("reason:NetworkPluginNotReady message:") {
        return Some(error.trim_end_matches(']').to_owned());
    }
    Some(why.strip_prefix('[')?.strip_suffix(']')?.to_owned())
}

/// What comes between the verdict about a Job at its deadline and what its pod waited for.
pub const UNTIL_THEN: &str = "; until then ";

/// What kept the pods of a Job from running until its deadline came.
fn job(why: &str) -> Option<String> {
    why.split_once(UNTIL_THEN).map(|(_, waited)| format!("deadline exceeded{UNTIL_THEN}{waited}"))
}

/// The failed indexes in the text of a Job: `1,3-5`.
pub fn failed_indexes(why: &str) -> Option<&str> {
    why.rsplit_once("(failed indexes: ").and_then(|(_, rest)| rest.split(')').next())
}

#[cfg(test)]
mod tests;
