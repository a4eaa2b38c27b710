//! What `explain` reads, as the store keeps it. The shapes of `detail` are read by
//! `cli::explain`, and by nobody else: a missing field is "not known".

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::commit::row;
use crate::app::pipeline::{Message, Output, Pipeline};
use crate::engine::{Incident, Note};
use crate::message::text::words;
use crate::store::{Commit, HistoryRow, KnownObject, ObjectRow};

/// So many names of objects stand beside a decision; all of them are known by incident.
const NAMES: usize = 20;
/// The longest explaining text beside what became no incident.
const WHY: usize = 300;

/// SharedAccess what was told.
pub(super) fn notified(message: &Message, told: &[&Arc<str>], incident: Option<&Incident>) -> String {
    let decided = &message.decided;
    let (later, skipped): (Vec<&Arc<str>>, Vec<&Arc<str>>) = decided
        .receivers
        .iter()
        .filter(|name| !told.contains(name))
        .partition(|name| message.in_digests.contains(*name));
    let mut detail = json!({ "receivers": told, "skipped": skipped, "digests": later, "key": message.key() });
    let one = decided.incidents.first().filter(|_| !decided.decision.is_summary());
    if let (Some(view), Some(map)) = (one, detail.as_object_mut()) {
        let until = incident.and_then(|i| i.notified()?.window_ends).filter(|_| !decided.decision.is_end());
        let about = json!({
            "cause": view.cause,
            "severity": view.severity,
            "container": view.container,
            "since": view.since,
            "ended_at": view.ended_at,
            "until": until,
            "members": view.members.iter().take(NAMES).collect::<Vec<_>>(),
            "members_total": view.members_total,
            "occurrences": view.occurrences,
        });
        if let serde_json::Value::Object(about) = about {
            map.extend(about);
        }
    }
    detail.to_string()
}

/// SharedAccess what was held back.
pub(super) fn held(note: &Note) -> String {
    json!({
        "by": note.detail,
        "comment": note.comment,
        "held": note.held,
        "cause": note.cause,
        "severity": note.severity,
        "since": note.since,
        "ended_at": note.ended_at,
        "until": note.until,
        "waited": note.waited,
    })
    .to_string()
}

/// Adds what waits, who is part of what, and what became no incident.
pub(super) fn put(commit: &mut Commit, pipeline: &Pipeline, out: &Output, now: Timestamp) {
    let engine = pipeline.engine();
    for id in &out.records.waiting {
        match engine.incident(id).filter(|incident| !incident.recorded.kept) {
            Some(incident) => commit.pending.extend(row(incident, now)),
            None => commit.settled.push(id.to_string()),
        }
    }
    // What began and went between two commits without a trace needs none here either.
    let known: BTreeSet<&Arc<str>> = out.notes.iter().map(|note| &note.incident).collect();
    for joined in &out.records.joined {
        if known.contains(&joined.incident) || engine.incident(&joined.incident).is_some() {
            commit.objects.push(ObjectRow {
                incident: joined.incident.to_string(),
                object: KnownObject {
                    kind: joined.kind.to_string(),
                    namespace: joined.namespace.as_ref().map(ToString::to_string),
                    name: joined.name.to_string(),
                },
                at: joined.at,
            });
        }
    }
    for unmatched in &out.records.unmatched {
        let object = &unmatched.object;
        commit.history.push(HistoryRow {
            at: unmatched.at,
            incident: None,
            decision: None,
            reason: unmatched.reason,
            rule: Arc::from(""),
            namespace: object.namespace.clone(),
            workload: unmatched.workload.clone(),
            title: words::one_line(&unmatched.why, WHY),
            detail: json!({ "cause": unmatched.cause, "object": format!("{}/{}", object.kind, object.name) })
                .to_string(),
        });
    }
}
