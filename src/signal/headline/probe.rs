//! Probes: which one, and what it met.

use std::sync::LazyLock;

use regex::Regex;

use super::plain;

static REQUEST: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^Get "?https?://[^/\s:"]*(:\d+)?(/[^\s"]*?)?"?: (.+)$"#).ok());
static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^dial tcp \S*?(:\d+): (?:connect: )?(.+)$").ok());

/// Which probe a text of the kubelet is about: `Liveness`, `Readiness` or `Startup`.
pub fn kind(why: &str) -> Option<&'static str> {
    let lower = why.trim_start().to_ascii_lowercase();
    ["liveness", "readiness", "startup"].into_iter().find(|kind| {
        lower.starts_with(&format!("{kind} probe")) || lower.contains(&format!("failed {kind} probe"))
    })
}

/// What a probe met; empty where it printed nothing.
pub(super) fn line(why: &str) -> String {
    let why = why.trim();
    let Some((head, said)) = why.split_once(": ").or_else(|| why.strip_suffix(':').map(|head| (head, "")))
    else {
        return String::new();
    };
    if !head.to_ascii_lowercase().contains("probe") {
        return plain::innermost(why.lines().next().unwrap_or_default());
    }
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    if let Some(code) = said.strip_prefix("HTTP probe failed with statuscode: ") {
        return format!("HTTP {code}");
    }
    if let Some((_, after)) = said.split_once("failed to exec in container: timeout ") {
        return format!("no answer within {}", after.split(' ').next().unwrap_or_default());
    }
    asked(said)
}

/// A request and its error: the address is the pod's own, the port and the path tell which it was.
pub(super) fn asked(said: &str) -> String {
    if let Some(found) = REQUEST.as_ref().and_then(|request| request.captures(said)) {
        let part = |n| found.get(n).map_or("", |part| part.as_str());
        let path = if part(2) == "/" { "" } else { part(2) };
        let error = plain::plain(part(3));
        let error = error.rsplit_once(": ").map_or(error.as_str(), |(_, last)| last);
        let slow =
            error.contains("in time") || error.contains("timeout") || error.contains("request canceled");
        return format!("GET {}{path}: {}", part(1), if slow { "no answer in time" } else { error });
    }
    if let Some(found) = ADDRESS.as_ref().and_then(|address| address.captures(said)) {
        let part = |n| found.get(n).map_or("", |part| part.as_str());
        let error = if part(2) == "i/o timeout" { "no answer in time" } else { part(2) };
        return format!("port {}: {error}", part(1).trim_start_matches(':'));
    }
    plain::innermost(said)
}
