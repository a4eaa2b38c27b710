//! Sandboxes of pods and their networks.

use std::sync::LazyLock;

use regex::Regex;

use super::{plain, pull, runtime};

static PLUGIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"plugin type="([^"]+)"(?: name="[^"]*")? failed \((?:add|delete)\): ?(.*)$"#).ok()
});
static IMAGE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?:failed to get sandbox image|failed pulling image) "([^"]+)": (.*)$"#).ok()
});

/// Why a pod's sandbox is not made, or not taken down; empty where nobody says.
pub(super) fn line(why: &str) -> String {
    let quiet = why.replace("\\\"", "\"");
    let text = quiet.lines().next().unwrap_or_default().trim();
    if let Some((_, error)) = text.split_once("reason:NetworkPluginNotReady message:") {
        return not_ready(error);
    }
    let Some(error) = ["ailed to create pod sandbox: ", "ailed create pod sandbox: ", "error killing pod: "]
        .into_iter()
        .find_map(|head| text.split_once(head))
        .map(|(_, error)| error)
    else {
        return if text.ends_with("pod sandbox:") { String::new() } else { plain::innermost(text) };
    };
    let error = error.split(", failed to clean up sandbox").next().unwrap_or(error);
    if let Some((_, rest)) = error.split_once("failed to \"KillContainer\" for \"")
        && let Some((container, rest)) = rest.split_once('"')
    {
        let error = rest.split_once(": ").map_or(rest, |(_, error)| error);
        return format!("killing container {container}: {}", plain::innermost(error.trim_matches('"')));
    }
    if let Some(found) = IMAGE.as_ref().and_then(|image| image.captures(error))
        && let (Some(image), Some(error)) = (found.get(1), found.get(2))
    {
        let image = image.as_str();
        return format!(
            "cannot pull {}: {}",
            pull::short_image(image),
            pull::line(error.as_str(), Some(image))
        );
    }
    if error.contains("runc create failed") || error.contains("is reserved for \"") {
        return runtime::line(error);
    }
    let lower = error.to_ascii_lowercase();
    let network =
        ["networkplugin", "netplugin", "network for sandbox"].iter().any(|mark| lower.contains(mark));
    plugin(innermost_network(error), network)
}

/// Behind the names of the sandbox and of the pod.
fn innermost_network(error: &str) -> &str {
    let mut rest = error;
    for mark in [
        "for sandbox \"",
        "network for pod \"",
        "set up pod \"",
        "teardown pod \"",
        "from CNI network \"",
        "to CNI network \"",
    ] {
        if let Some((_, after)) = rest.split_once(mark)
            && let Some((_, error)) = after.split_once(": ")
        {
            rest = error;
        }
    }
    rest.rsplit_once("ERRORED: ").map_or(rest, |(_, error)| error)
}

fn plugin(error: &str, network: bool) -> String {
    let mut error = error.trim_end_matches(['"', ' ']);
    while error.ends_with(']') && error.matches(']').count() > error.matches('[').count() {
        error = error.trim_end_matches(']').trim_end();
    }
    match PLUGIN.as_ref().and_then(|plugin| plugin.captures(error)) {
        Some(found) => {
            let part = |n| found.get(n).map_or("", |part| part.as_str());
            format!("network plugin {}: {}", part(1), last_words(part(2)))
        }
        None => {
            let said = last_words(error);
            if network { format!("network plugin: {said}") } else { said }
        }
    }
}

fn last_words(error: &str) -> String {
    let error = error.strip_prefix("add cmd: ").unwrap_or(error);
    let error =
        error.replace("netplugin failed with no error message: signal: killed", "killed, without a message");
    let error = error.replace("netplugin failed with no error message", "failed without a message");
    plain::innermost(&error)
}

/// What a runtime says of its network plugin.
pub(super) fn not_ready(error: &str) -> String {
    let error = error.trim_end_matches(']');
    let error = error.strip_prefix("Network plugin returns error: ").unwrap_or(error);
    let error = error.strip_prefix("docker: network plugin is not ready: ").unwrap_or(error);
    format!("no pod network: {}", plain::plain(error))
}
