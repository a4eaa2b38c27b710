//! What the document of a digest has beside its incidents. Pure.

use serde_json::{Value, json};

use crate::message::text::digest as words;
use crate::message::{Digest, Notification};

/// The value of `digest`. `incidents` are ids of those in the document.
pub(super) fn payload(n: &Notification, digest: &Digest) -> Value {
    let section = |name: &str| {
        let sections = words::sections(digest, &n.incidents);
        let found = sections.into_iter().find(|(known, ..)| *known == name);
        found.map_or(Value::Null, |(_, section, listed)| {
            json!({ "total": section.total, "incidents": listed.iter().map(|i| &i.id).collect::<Vec<_>>() })
        })
    };
    let groups = digest.groups.iter().map(|g| {
        json!({
            "namespace": g.namespace, "team": g.team, "worst": g.worst,
            "new": g.new, "ongoing": g.ongoing, "resolved": g.resolved,
        })
    });
    let held = digest.held.iter().map(|held| {
        let workloads = held
            .workloads
            .iter()
            .map(|w| json!({ "namespace": w.namespace, "workload": w.workload, "count": w.count }));
        json!({
            "reason": held.reason, "count": held.count, "more": held.more,
            "workloads": workloads.collect::<Vec<_>>(),
        })
    });
    let counted = |name: &'static str, counts: Vec<(Value, u32)>| {
        counts.into_iter().map(|(what, count)| json!({ name: what, "count": count })).collect::<Vec<_>>()
    };
    json!({
        "since": digest.since,
        "until": digest.until,
        "due": digest.due,
        "missed": digest.missed,
        "timezone": digest.timezone,
        "last": digest.last,
        "new": section("new"),
        "ongoing": section("ongoing"),
        "resolved": section("resolved"),
        "unknown": digest.unknown,
        "severities": counted("severity", digest.severities.iter().map(|(s, n)| (json!(s), *n)).collect()),
        "causes": counted("cause", digest.causes.iter().map(|(c, n)| (json!(c), *n)).collect()),
        "groups": groups.collect::<Vec<_>>(),
        "groups_total": digest.groups_total,
        "begun": digest.begun.iter().map(|b| json!({ "from": b.from, "count": b.count })).collect::<Vec<_>>(),
        "held": held.collect::<Vec<_>>(),
    })
}
