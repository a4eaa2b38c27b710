//! What keeps nodes from taking a pod.

use std::cmp::Reverse;

use super::plain;

/// Later reasons are left out beyond this, in characters.
const ENOUGH: usize = 80;

/// `0/5 nodes are available: …`: what the pod asks for before what keeps nodes for others, the most nodes
/// first, and without the same over again for preemption.
pub(super) fn line(why: &str) -> String {
    if why.starts_with("no nodes available") {
        return "the cluster has no nodes".into();
    }
    let Some((head, rest)) = why.split_once(" nodes are available:") else {
        let text = why.split_once(" plugin \"").and_then(|(_, rest)| rest.split_once("\": "));
        return plain::innermost(text.map_or(why, |(_, error)| error));
    };
    let nodes = head.rsplit('/').next().and_then(|n| n.trim().parse::<u32>().ok()).unwrap_or_default();
    // What plugins say after that (`. no new claims to deallocate, preemption: …`) is about ways out.
    let reasons = rest.split(". ").next().unwrap_or(rest).trim().trim_end_matches('.');
    let mut parts: Vec<(u32, String)> = parts(reasons).iter().map(|part| reason(part)).collect();
    let kept = |said: &str| said.starts_with("taint") || said.contains("unschedulable") || said == "cordoned";
    parts.sort_by_key(|(count, said)| (kept(said), Reverse(if *count == 0 { u32::MAX } else { *count })));
    let mut out = String::new();
    for (n, (count, said)) in parts.iter().filter(|(_, said)| !said.is_empty()).enumerate() {
        let how_many = match (*count, n) {
            (0, _) => String::new(),
            (1, _) if nodes == 1 => " (the only node)".into(),
            (count, _) if count == nodes => format!(" (all {nodes} nodes)"),
            (count, 0) => format!(" ({count} of {nodes} nodes)"),
            (count, _) => format!(" ({count})"),
        };
        let more = format!("{}{said}{how_many}", if out.is_empty() { "" } else { ", " });
        if !out.is_empty() && out.chars().count() + more.chars().count() > ENOUGH {
            break;
        }
        out.push_str(&more);
    }
    out
}

/// The list, whose parts may have a list of their own in braces.
fn parts(reasons: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in reasons.split(", ") {
        match parts.last_mut() {
            Some(last)
                if last.matches('{').count() > last.matches('}').count()
                    || part.starts_with("that the pod") =>
            {
                last.push_str(", ");
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
    }
    parts
}

/// On how many nodes, and what.
fn reason(part: &str) -> (u32, String) {
    let part = part.trim();
    let (count, said) = match part.split_once(' ').map(|(n, said)| (n.parse::<u32>(), said)) {
        Some((Ok(count), said)) => (count, said),
        _ => (0, part),
    };
    let said = said.strip_prefix("node(s) ").unwrap_or(said);
    let taints = said.strip_prefix("had untolerated taint").or_else(|| said.strip_prefix("had taint"));
    if let Some((_, list)) = taints.and_then(|rest| rest.split_once('{')) {
        let list = list.split('}').next().unwrap_or(list);
        let names: Vec<String> = list
            .split(", ")
            .map(|taint| match taint.split_once(": ") {
                Some((key, value)) if !value.trim().is_empty() => format!("{key}={}", value.trim()),
                _ => taint.trim_end_matches([':', ' ']).to_owned(),
            })
            .collect();
        return (count, format!("taint {} not tolerated", names.join(", ")));
    }
    let said = match said {
        "were unschedulable" => "cordoned",
        "exceed max volume count" => "too many volumes",
        "had volume node affinity conflict" => "its volume is in another zone or on another node",
        "didn't match Pod's node affinity/selector" | "didn't match Pod's node affinity" => {
            "node affinity/selector does not match"
        }
        "didn't match node selector" => "node selector does not match",
        "didn't match pod topology spread constraints" => "topology spread constraints do not match",
        "didn't match pod anti-affinity rules" => "pod anti-affinity rules do not match",
        "didn't have free ports for the requested pod ports" => "host port taken",
        "pod has unbound immediate PersistentVolumeClaims" => "a volume claim is not bound",
        "Insufficient pods" | "Too many pods" => "too many pods",
        other => other,
    };
    let said = match said.strip_prefix("Insufficient ") {
        Some(resource) => format!("not enough {resource}"),
        None => plain::plain(said),
    };
    (count, said)
}
