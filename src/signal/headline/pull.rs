//! Images that cannot be pulled: the answer of the registry, or of the node.

use std::sync::LazyLock;

use regex::Regex;

use super::plain;

/// Where `{}` stands, the registry is named.
type Said = &'static str;

/// Errors of containerd, CRI-O, Docker and of registries, in lower case, and what each means. The first that
/// occurs in a text counts, so the more specific ones stand above.
const KNOWN: &[(&str, Said)] = &[
    ("no space left on device", "no space left on the node's disk"),
    ("read-only file system", "the node's disk is read-only"),
    ("toomanyrequests", "pull rate limit of {} reached (429)"),
    ("429 too many requests", "pull rate limit of {} reached (429)"),
    ("no match for platform", "no image for the node's platform"),
    ("no matching manifest for", "no image for the node's platform"),
    ("no image found in image index for architecture", "no image for the node's platform"),
    ("pull access denied", "no such repository, or no permission to pull from it"),
    ("insufficient_scope", "no such repository, or no permission to pull from it"),
    ("requested access to the resource is denied", "no such repository, or no permission to pull from it"),
    (
        "access to the requested resource is not authorized",
        "no such repository, or no permission to pull from it",
    ),
    ("401 unauthorized", "{} rejects the credentials (401)"),
    ("no basic auth credentials", "no credentials for {}"),
    ("authentication required", "no credentials for {}"),
    ("403 forbidden", "{} refuses access (403)"),
    ("server gave http response to https client", "{} speaks HTTP, not HTTPS"),
    ("certificate signed by unknown authority", "certificate of {} signed by unknown authority"),
    ("certificate has expired", "certificate of {} has expired"),
    ("x509: ", "certificate of {} is not valid"),
    ("no such host", "no such host {}"),
    ("server misbehaving", "DNS fails for {}"),
    ("connection refused", "{}: connection refused"),
    ("no route to host", "{}: no route to host"),
    ("network is unreachable", "{}: network is unreachable"),
    ("connection reset by peer", "{}: connection reset by peer"),
    ("i/o timeout", "{} does not answer in time"),
    ("tls handshake timeout", "{} does not answer in time"),
    ("client.timeout exceeded", "{} does not answer in time"),
    ("deadline exceeded", "{} does not answer in time"),
    ("500 internal server error", "{} fails (500 Internal Server Error)"),
    ("502 bad gateway", "{} fails (502 Bad Gateway)"),
    ("503 service unavailable", "{} fails (503 Service Unavailable)"),
    ("504 gateway", "{} fails (504 Gateway Timeout)"),
    ("invalid reference format", "the image name is not valid"),
    ("invalidimagename", "the image name is not valid"),
    ("with pull policy of never", "not on the node, and its pull policy is Never"),
    ("unexpected commit digest", "a layer arrived damaged (wrong digest)"),
    ("manifest.v1+prettyjws", "its format (Docker schema 1) is no longer supported"),
    ("did not resolve to an alias", "a short name, and no registry is configured for it"),
    ("manifest unknown", "image not found"),
    ("name unknown", "no such repository"),
    ("context canceled", "the pull was canceled"),
];

/// Why an image cannot be pulled; empty where the text does not say.
pub(super) fn line(why: &str, image: Option<&str>) -> String {
    if why.is_empty() || why.starts_with("Back-off pulling image") && !why.contains(": ") {
        return String::new();
    }
    let lower = why.to_lowercase();
    // "not found" stands at the end of the chain; in the middle of it anything may be not found.
    let missing = lower.ends_with("not found").then_some("image not found");
    let known = KNOWN.iter().find(|(words, _)| lower.contains(words)).map(|(_, said)| *said);
    match known.or(missing) {
        Some(said) if said.contains("{}") => said.replace("{}", &registry(why, image)),
        Some(said) => said.to_owned(),
        None => plain::innermost(why.lines().next().unwrap_or_default()),
    }
}

/// The host that was asked, as far as text or image tell.
fn registry(why: &str, image: Option<&str>) -> String {
    static HOST: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?:https?://|lookup )([A-Za-z0-9.-]+(?::\d+)?)").ok());
    let asked = HOST.as_ref().and_then(|host| host.captures(why)).and_then(|found| found.get(1));
    let host = asked.map(|host| host.as_str()).or_else(|| {
        let (host, _) = image?.split_once('/')?;
        host.contains(['.', ':']).then_some(host)
    });
    match host {
        Some("registry-1.docker.io" | "auth.docker.io" | "index.docker.io" | "docker.io") => {
            "Docker Hub".into()
        }
        Some(host) => host.to_owned(),
        None if image.is_some_and(|image| !image.is_empty()) => "Docker Hub".into(),
        None => "the registry".into(),
    }
}

/// `registry.example.com/shop/api:5.5@sha256:…` → `api:5.5`
pub fn short_image(image: &str) -> &str {
    let named = image.split('@').next().unwrap_or(image).trim_end_matches(':');
    named.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(named)
}
