//! What all causes have in common: an error text without what only machines read, and its end.

use std::sync::LazyLock;

use regex::Regex;

/// More than this is shortened from the front, in characters: the error that the layers above wrapped
/// stands at the end.
const ENOUGH: usize = 90;
/// A last part of fewer characters does not stand for itself.
const TERSE: usize = 12;

const UUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
/// Kubernetes makes up names from these letters
/// (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/util/rand/rand.go>).
const MADE_UP: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// What is left out or said shorter, in this order.
static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    patterns().into_iter().filter_map(|(pattern, with)| Some((Regex::new(&pattern).ok()?, with))).collect()
});

fn patterns() -> Vec<(String, &'static str)> {
    vec![
        (r#"\\+""#.into(), "\""),
        (r"\\[nrt]".into(), " "),
        // Of a page only its title, of what Vault answers only the error.
        (r"(?is)<(?:!doctype|html)\b.*?<title>([^<]*)</title>.*".into(), "$1"),
        (r"Error making API request\.? URL: \S+ \S+ Code: (\d+)\. Errors: \* (.*)".into(), "$2 ($1)"),
        (r"Some content in the namespace has finalizers remaining: ".into(), "finalizers remaining: "),
        (
            r#"corresponding condition of pod readiness gate "([^"]+)" does not exist"#.into(),
            "readiness gate $1 has no condition",
        ),
        // `/var/lib/kubelet/pods/…/mount`, `projects/…/disks/x`: the last part says what it is.
        (r#"(^|[\s"'(=:`])(?:/[^\s"'`:,/]+){3,}(/[^\s"'`:,/]+)"#.into(), "${1}…${2}"),
        (r#"(^|[\s"'(])(?:[\w.-]+/){5,}([\w.-]*)"#.into(), "${1}…/${2}"),
        (r"rpc error: code = \w+ desc = ".into(), ""),
        (r"(?i)error response from daemon: ".into(), ""),
        (r"^\(combined from similar events\): ".into(), ""),
        // Digests, UIDs, ids of containers, and names made of them.
        (r"@?sha256:[0-9a-f]{7,64}".into(), ""),
        (format!(r#" ?["'](?:pvc-|disk-)?{UUID}["']"#), ""),
        (format!(r"[ -]?(?:[0-9a-z]+-)?{UUID}"), ""),
        (r#"[ -]?["'(]?\b[0-9a-f]{20,}\b["')]?"#.into(), ""),
        (format!(r"-{MADE_UP}{{8,10}}-{MADE_UP}{{5}}\b"), ""),
        (r"[\s,]*status code: \d+, request id:\s*\S*".into(), ""),
        // `3m42.019387s`
        (r"(\d)\.\d{3,}s\b".into(), "${1}s"),
        (r#"(https?://[^\s"'?]+)\?[^\s"']*"#.into(), "$1"),
        (r"dial (?:tcp|udp|unix) (\S+): (?:connect: |getsockopt: )?".into(), "$1: "),
        (r"dial tcp: ".into(), ""),
        (
            r"context deadline exceeded \(Client\.Timeout exceeded while awaiting headers\)".into(),
            "no answer in time",
        ),
        (r"\(Client\.Timeout exceeded while awaiting headers\)".into(), "(timeout)"),
        (r" …/( |$)".into(), "$1"),
        (r#" ?(?:""|'')"#.into(), ""),
        (r"\s+([,;:.])(\s|$)".into(), "$1$2"),
        (r":(?:\s*:)+".into(), ":"),
    ]
}

/// One line without escapes, digests, UIDs, ids, long paths and the wrapper of gRPC.
pub(super) fn plain(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (pattern, with) in RULES.iter() {
        if pattern.is_match(&text) {
            text = pattern.replace_all(&text, *with).into_owned();
        }
    }
    let text = text.trim_matches([' ', '.', ':', ',', ';', super::super::text::REPLACED]);
    // A quotation whose other end stood in a wrapper.
    if text.matches('"').count().is_multiple_of(2) {
        text.to_owned()
    } else {
        text.trim_matches('"').to_owned()
    }
}

/// Whole parts that say nothing.
const EMPTY: &[&str] = &["error", "err", "failed", "unknown", "rbd", "mount.nfs", "mount", "Code"];

/// What layers put in front of the error of the layer below.
const WRAPPERS: &[&str] = &[
    "failed to pull image",
    "failed to pull and unpack image",
    "failed to resolve reference",
    "failed to resolve image",
    "failed to copy",
    "httpReadSeeker",
    "failed open",
    "failed to do request",
    "Head \"",
    "Head http",
    "Get \"",
    "Get http",
    "no available registry endpoint",
    "failed to authorize",
    "pull image err",
    "unable to pull image",
    "initializing source",
    "failed to create containerd task",
    "failed to create containerd container",
    "failed to create shim task",
    "failed to create task for container",
    "OCI runtime create failed",
    "OCI runtime exec failed",
    "exec failed",
    "runc create failed",
    "container create failed",
    "unable to start container process",
    "error during container init",
    "failed to start container",
    "failed to exec in container",
    "failed to start exec",
    "failed to generate container",
    "failed to generate spec",
    "container_linux.go",
    "process_linux.go",
    "rootfs_linux.go",
    "standard_init_linux.go",
    "starting container process caused",
    "applying cgroup configuration for process caused",
    "container init caused",
    "mount failed",
    "Mount failed",
    "failed to stage volume",
    "kubernetes.io/csi",
    "attacher.MountDevice failed",
    "Internal error occurred",
    "not implemented",
];

/// Ends that say nothing without what stands before them.
const VAGUE: &[&str] = &[
    "not found",
    "exit status",
    "context deadline exceeded",
    "context canceled",
    "permission denied",
    "no such file or directory",
    "is a directory",
    "not a directory",
    "file exists",
    "timed out waiting for the condition",
    "i/o timeout",
    "connection refused",
    "unauthorized",
    "invalid argument",
    "internal error",
    "operation not permitted",
    "signal: killed",
    "device or resource busy",
    "executable file not found in $path",
    "no matching entries in passwd file",
    "no such host",
    "no answer in time",
    "resource busy",
];

/// The last error of a chain: without the layers' words, without repetitions, and from the front no longer
/// than a title bears.
pub(super) fn innermost(text: &str) -> String {
    let text = plain(text);
    let mut parts: Vec<&str> = Vec::new();
    for part in split(&text) {
        let part = part.trim();
        let wraps = WRAPPERS.iter().any(|wrapper| {
            part.strip_prefix(wrapper).is_some_and(|rest| {
                rest.is_empty() || wrapper.ends_with(['"', 'p']) || rest.starts_with([' ', ':', '('])
            })
        });
        let lower = part.to_lowercase();
        let said = parts.iter().any(|before| {
            let before = before.to_lowercase();
            before == lower || (lower.len() >= TERSE && before.contains(&lower))
        });
        let again = parts.last().is_some_and(|last| last.to_lowercase().ends_with(&lower));
        let empty = part.is_empty() || EMPTY.iter().any(|empty| part.eq_ignore_ascii_case(empty));
        if empty || wraps || said || again {
            continue;
        }
        parts.push(part);
    }
    if parts.is_empty() {
        return split(&text).last().map(|part| part.trim().to_owned()).unwrap_or_default();
    }
    let mut from = 0;
    while from + 1 < parts.len()
        && length(&parts, from) > ENOUGH
        && !parts.get(from + 1..).is_some_and(|rest| rest.len() == 1 && is_vague(rest.first().copied()))
    {
        from += 1;
    }
    parts.get(from..).unwrap_or_default().join(": ")
}

fn length(parts: &[&str], from: usize) -> usize {
    parts.get(from..).unwrap_or_default().iter().map(|part| part.chars().count() + 2).sum()
}

fn is_vague(part: Option<&str>) -> bool {
    part.is_some_and(|part| {
        let lower = part.to_lowercase();
        part.chars().count() < TERSE || VAGUE.iter().any(|vague| lower.starts_with(vague))
    })
}

/// The parts between `: `, outside quotes; anywhere, where the quotes do not match.
fn split(text: &str) -> Vec<&str> {
    if !text.matches('"').count().is_multiple_of(2) {
        return text.split(": ").collect();
    }
    let mut parts = Vec::new();
    let (mut from, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ':' if !quoted && text.get(at + 1..).is_some_and(|rest| rest.starts_with(' ')) => {
                parts.extend(text.get(from..at));
                from = at + 2;
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(RULES.len(), patterns().len());
    }

    #[test]
    fn what_only_machines_read_is_left_out() {
        for (text, expected) in [
            ("rpc error: code = Internal desc = rpc error: code = Unknown desc = disk full", "disk full"),
            ("image app@sha256:0123456789abcdef is gone", "image app is gone"),
            (
                "rbd image pool/csi-vol-e4d2d56e-70d5-11eb-9a1b-9ef3bde4434c is used",
                "rbd image pool/csi is used",
            ),
            ("pod checkout-688988776f-bv2xk is gone", "pod checkout is gone"),
            ("open /var/lib/kubelet/pods/x/volumes/data: denied", "open …/data: denied"),
            ("see https://example.com/a/b/c/d/e?x=1", "see https://example.com/a/b/c/d/e"),
            ("seen 3m42.019387s ago", "seen 3m42s ago"),
            ("a my-service-https b", "a my-service-https b"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn the_end_of_a_chain_is_kept_with_what_it_needs() {
        assert_eq!(innermost("failed to copy: httpReadSeeker: failed open: disk full"), "disk full");
        assert_eq!(innermost("manifest unknown: manifest unknown"), "manifest unknown");
        assert_eq!(innermost("Error: Error: permission denied"), "permission denied");
        let long = format!("{}: open orders.db: permission denied", "the first layer says a lot ".repeat(5));
        assert_eq!(innermost(&long), "open orders.db: permission denied");
    }
}
