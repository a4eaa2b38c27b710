//! A notification as JSON, and its signature. Pure.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::message::text::{self, words};
use crate::message::{IncidentView, Notification};
use crate::template::{helpers, model};

/// The version of the payload. Keys may be added; anything else makes a new version.
pub const VERSION: &str = "kubeherald/v1";
/// Unix seconds at which the request was signed.
pub const TIMESTAMP_HEADER: &str = "x-kubeherald-timestamp";
/// `v1=` and the signature in hex.
pub const SIGNATURE_HEADER: &str = "x-kubeherald-signature";

/// The document. Text is not escaped (JSON does that) but cleaned of control characters and cut.
pub fn payload(n: &Notification) -> Value {
    let incidents: Vec<Value> = text::root_causes_first(&n.incidents).into_iter().map(incident).collect();
    json!({
        "version": VERSION,
        "key": n.key,
        "thread": n.thread(),
        "seq": n.seq,
        "receiver": n.receiver,
        "decision": n.decision,
        "reason": n.reason,
        "at": n.at,
        "late_s": n.late_s,
        "cluster": n.cluster,
        "severity": n.severity,
        "title": clean(&n.title, text::MAX_TITLE),
        "text": clean(&n.text, model::MAX_DIGEST),
        "incidents_total": n.incidents_total,
        "digest": n.digest.as_deref().map(|digest| super::digest::payload(n, digest)),
        "incidents": incidents,
    })
}

fn clean(text: &str, max: usize) -> String {
    words::cut_chars(&helpers::text(text), max)
}

fn incident(i: &IncidentView) -> Value {
    let held: Vec<Value> = i
        .held
        .iter()
        .take(100)
        .map(|h| json!({ "cause": h.cause, "namespace": h.namespace, "workload": h.workload, "members": h.members }))
        .collect();
    json!({
        "id": i.id,
        "rule": i.rule,
        "cause": i.cause,
        "severity": i.severity,
        "title": clean(&text::incident_title(i), text::MAX_TITLE),
        "namespace": i.namespace,
        "team": i.team.as_deref().map(|team| clean(team, 300)),
        "workload": i.workload,
        "container": i.container,
        "node": i.node,
        "image": i.image,
        "member_kind": i.member_kind,
        "members": i.members,
        "gone": i.gone,
        "members_total": i.members_total,
        "replicas": i.replicas,
        "occurrences": i.occurrences,
        "occurrences_new": i.occurrences_new,
        "restarts": i.restarts,
        "since": i.since,
        "since_at_least": i.since_at_least,
        "last_seen": i.last_seen,
        "ended_at": i.ended_at,
        "reason": i.reason_raw,
        "why": clean(&i.why, model::MAX_WHY),
        "exit": i.exit,
        "deeper": i.deeper,
        "flaps": i.flaps,
        "held": held,
        "held_total": i.held.len(),
        "pods_on_node": i.pods_on_node,
        "runbook": i.runbook,
        "command": i.command,
        "silence": i.silence,
        "log_tail": i.log_tail.as_deref().map(|t| words::keep_end(&helpers::text(t), model::MAX_LOG)),
        "log_from": i.log_from,
    })
}

/// HMAC-SHA256 over `timestamp.body`, as `v1=<hex>`. The timestamp is part of it so that a recorded
/// request cannot be sent again later.
pub fn sign(key: &[u8], at: Timestamp, body: &[u8]) -> String {
    // HMAC takes keys of any length (RFC 2104, section 2), so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(at.as_second().to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut out = String::from("v1=");
    for byte in mac.finalize().into_bytes() {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").ok();
    }
    out
}
