//! Pods that the API server does not accept.

use std::sync::LazyLock;

use regex::Regex;

use super::plain;

/// The words of a policy are looked at up to here, in bytes.
const SAID: usize = 400;

static DETAILS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r" ?\((?:pod or )?containers? [^()]*\)").ok());
static POLICY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request: (.+)$").ok()
});
static QUOTA: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^exceeded quota: ([^,]+), requested: (.+), used: (.+), limited: (.+)$").ok()
});
static FAILED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^failed calling webhook "([^"]+)": (.+)$"#).ok());
static DENIED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^admission webhook "([^"]+)" denied the request:? ?(.*)$"#).ok());

/// The quota, policy, webhook or account.
pub(super) fn line(why: &str) -> String {
    let text = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("Error creating:").map_or(text.as_str(), str::trim);
    let text = text.split_once(" failed error: ").map_or(text, |(_, error)| error);
    let text = match text.split_once("\" is forbidden: ").or_else(|| text.split_once("\" is invalid: ")) {
        Some((_, reason)) => reason,
        None => text.strip_prefix("Internal error occurred: ").unwrap_or(text),
    };
    let found = |pattern: &LazyLock<Option<Regex>>| {
        let captures = pattern.as_ref()?.captures(text)?;
        let part = |n| captures.get(n).map_or(String::new(), |part| part.as_str().to_owned());
        Some([part(1), part(2), part(3), part(4)])
    };
    if let Some([name, requested, used, limited]) = found(&QUOTA) {
        return quota(&name, &requested, &used, &limited);
    }
    if let Some([name, error, ..]) = found(&FAILED) {
        let error = called(&error);
        return match error.split_once("no endpoints available for service ") {
            Some((_, service)) => format!("webhook service {} has no endpoints", service.trim_matches('"')),
            None => format!("webhook {name}: {error}"),
        };
    }
    if let Some([name, said, ..]) = found(&DENIED) {
        return format!("denied by {name}: {}", denied(&said));
    }
    if let Some([name, said, ..]) = found(&POLICY) {
        return format!("denied by policy {name}: {said}");
    }
    if text.starts_with("violates PodSecurity") {
        let short = DETAILS.as_ref().map_or(text.into(), |details| details.replace_all(text, ""));
        let short = short.replace(":latest\"", "\"").replace(" != false", "").replace(" != true", "");
        return short
            .replace("violates PodSecurity", "PodSecurity")
            .replace("unrestricted capabilities", "capabilities")
            .replace('"', "");
    }
    if let Some((said, _)) = text.split_once(" against any security context constraint: ") {
        return format!("{said} against any security context constraint");
    }
    let list = text.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(text);
    // A LimitRange lists everything; the first thing is enough to begin with.
    let first = list.split(", maximum ").next().and_then(|list| list.split(", minimum ").next());
    plain::plain(first.unwrap_or(list))
}

/// What is used, what comes on top, and the limit: `requests.cpu 32575m+20 of 50`.
fn quota(name: &str, requested: &str, used: &str, limited: &str) -> String {
    let of = |list: &str, key: &str| {
        list.split(',')
            .find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key))
            .map(|(_, v)| v.to_owned())
    };
    let parts: Vec<String> = requested
        .split(',')
        .filter_map(|pair| {
            let (key, asked) = pair.split_once('=')?;
            Some(format!("{key} {}+{asked} of {}", of(used, key)?, of(limited, key)?))
        })
        .collect();
    // The amounts say which quota it is, where there are several.
    let name = if parts.len() > 1 { String::new() } else { format!(" {name}") };
    format!("exceeded quota{name}: {}", parts.join(", "))
}

/// What a webhook that does not answer does instead.
fn called(error: &str) -> String {
    let error = error.strip_prefix("failed to call webhook: ").unwrap_or(error);
    let request = error.starts_with("Post ");
    let error = match error.split_once(": ").filter(|_| request) {
        // `Post "https://service…": ` and `Post https://service…: `
        Some((_, rest)) => rest,
        None => error,
    };
    let error = error.split(" (possibly because of ").next().unwrap_or(error);
    match plain::plain(error) {
        slow if slow.contains("context deadline exceeded") || slow.contains("i/o timeout") => {
            "no answer in time".into()
        }
        error => error
            .rsplit_once(": ")
            .filter(|(head, _)| head.contains('.'))
            .map_or(error.clone(), |(_, last)| last.to_owned()),
    }
}

/// The words of a policy engine: what is wrong, not which paths it looked at.
fn denied(said: &str) -> String {
    // Kyverno: `resource … was blocked due to the following policies NAME: RULE: 'validation error: …. rule … failed at path …'`
    if let Some((_, rest)) = said.split_once("validation error: ") {
        let rest = rest.replace("''", "'");
        return plain::plain(rest.split(". rule ").next().unwrap_or(&rest).trim_end_matches('\''));
    }
    // Gatekeeper: one `[constraint] message` after the other.
    let first = match said.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, message)) => message.split(" [").next().unwrap_or(message),
        None => said,
    };
    let first = first.split(", please see ").next().unwrap_or(first);
    super::super::text::cut(&plain::plain(first), SAID).into_owned()
}
