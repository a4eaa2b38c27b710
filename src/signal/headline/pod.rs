//! Pods that the kubelet evicted or did not take.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::plain;

static KIBI: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b(\d+)Ki\b").ok());
static USING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"Container (\S+) was using (\d+)(\w*), (?:request is|which exceeds its request of) (\w+)")
        .ok()
});
static ENOUGH: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"didn't have enough resource: ([^,]+), requested: (\d+), used: (\d+), capacity: (\d+)").ok()
});

/// The container that used the most stands behind threshold and usage of the node.
pub(super) fn evicted(why: &str) -> String {
    let why = why.trim();
    let why = why.strip_prefix("Pod was rejected: ").unwrap_or(why);
    let Some((_, rest)) = why.split_once("low on resource: ") else {
        let text = plain::plain(why).replace("The node had condition: [", "the node had ").replace(']', "");
        return text.replace("Pod ephemeral local storage", "ephemeral local storage").replace('"', "");
    };
    let resource = rest.split([' ', '.']).next().unwrap_or_default();
    let low = format!("the node was low on {resource}");
    let Some(using) = USING.as_ref() else { return low };
    let kibi = |unit: &str| match unit {
        "Gi" => 1 << 20,
        "Mi" => 1 << 10,
        _ => 1,
    };
    let most = using.captures_iter(rest).max_by_key(|found| {
        let number = found.get(2).and_then(|n| n.as_str().parse::<u64>().ok()).unwrap_or_default();
        number.saturating_mul(found.get(3).map_or(1, |unit| kibi(unit.as_str())))
    });
    match most {
        Some(found) => {
            let part = |n| found.get(n).map_or("", |part| part.as_str());
            let used = readable(&format!("{}{}", part(2), part(3)));
            format!("{low}, container {} used {used} of a requested {}", part(1), readable(part(4)))
        }
        None => low,
    }
}

/// `1639680Ki` → `1.6Gi`
fn readable(text: &str) -> String {
    let Some(kibi) = KIBI.as_ref() else { return text.to_owned() };
    let size = |found: &Captures<'_>| {
        let n = found.get(1).and_then(|n| n.as_str().parse::<u64>().ok()).unwrap_or_default();
        match n {
            0..1024 => format!("{n}Ki"),
            1024..1_048_576 => format!("{}Mi", n / 1024),
            _ => format!("{}.{}Gi", n / 1_048_576, n % 1_048_576 * 10 / 1_048_576),
        }
    };
    kibi.replace_all(text, size).into_owned()
}

/// The resource or port that is taken.
pub(super) fn rejected(why: &str) -> String {
    let text = why.trim();
    let text = text.strip_prefix("Pod was rejected: ").or_else(|| text.strip_prefix("Pod ")).unwrap_or(text);
    if let Some(found) = ENOUGH.as_ref().and_then(|enough| enough.captures(text)) {
        let part = |n| found.get(n).map_or("", |part| part.as_str());
        let amount = |n| amount(part(1), part(n));
        return format!(
            "not enough {}: {} requested, {} of {} in use",
            part(1),
            amount(2),
            amount(3),
            amount(4)
        );
    }
    let text = match text.strip_prefix("Predicate ").and_then(|rest| rest.split_once(" failed: ")) {
        Some((_, reason)) => {
            reason.strip_prefix("node(s) ").map_or(reason.to_owned(), |r| format!("the node {r}"))
        }
        None => text.strip_suffix(", which is unexpected").unwrap_or(text).to_owned(),
    };
    let text = text.replace("The node had condition: [", "the node had ").replace(']', "");
    let text = text.strip_prefix("Allocate failed due to ").unwrap_or(&text);
    match text
        .split_once("requested number of devices unavailable for ")
        .map(|(_, rest)| rest.replace(',', ""))
    {
        // `nvidia.com/gpu. Requested: 1, Available: 0`
        Some(rest) => rest.replace(". Requested:", ": requested").replace(" Available:", ", available"),
        None => plain::innermost(text),
    }
}

/// The kubelet counts CPU in thousandths and memory in bytes.
fn amount(resource: &str, number: &str) -> String {
    match resource {
        "cpu" => format!("{number}m"),
        "memory" | "ephemeral-storage" => {
            number.parse::<u64>().map_or(number.to_owned(), |bytes| readable(&format!("{}Ki", bytes / 1024)))
        }
        _ => number.to_owned(),
    }
}
