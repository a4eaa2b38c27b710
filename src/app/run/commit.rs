//! What a step decided, as the store keeps it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::app::pipeline::{Output, Pipeline};
use crate::app::silences;
use crate::engine::{Incident, Note};
use crate::store::{Commit, HistoryRow, IncidentRow};

/// Stored incidents. One that cannot be read is logged and forgotten.
pub(super) fn restore(rows: Vec<(String, String)>) -> Vec<Incident> {
    let mut incidents = Vec::with_capacity(rows.len());
    for (id, body) in rows {
        match serde_json::from_str(&body) {
            Ok(incident) => incidents.push(incident),
            Err(error) => {
                tracing::error!(incident = %id, %error, "a stored incident cannot be read and is forgotten");
            }
        }
    }
    incidents
}

/// `{"by": …}`; of what was silenced also what would have been told, and why it was not to be.
fn detail(note: &Note) -> serde_json::Value {
    match note.held {
        Some(held) => serde_json::json!({ "by": note.detail, "held": held, "comment": note.comment }),
        None => serde_json::json!({ "by": note.detail }),
    }
}

/// What a step decided, as the store keeps it.
pub(super) fn commit(pipeline: &Pipeline, out: &Output, now: Timestamp) -> Commit {
    let mut commit =
        Commit { removed: out.removed.iter().map(ToString::to_string).collect(), ..Commit::default() };
    let engine = pipeline.engine();
    commit.silences = out.silences.iter().filter_map(|id| engine.silence(id)).map(silences::row).collect();
    commit.silences_removed = out.silences_removed.iter().map(ToString::to_string).collect();
    for id in &out.dirty {
        let Some(incident) = pipeline.engine().incident(id) else { continue };
        match serde_json::to_string(incident) {
            Ok(body) => commit.incidents.push(IncidentRow {
                id: id.to_string(),
                rule: Arc::clone(&incident.rule),
                state: Arc::from(incident.state()),
                body,
                updated_at: now,
            }),
            Err(error) => tracing::error!(incident = %id, %error, "an incident cannot be written down"),
        }
    }
    for message in &out.messages {
        commit.notifications.extend(message.notifications());
        let decided = &message.decided;
        let one = decided.incidents.first().filter(|_| !decided.decision.is_summary());
        commit.history.push(HistoryRow {
            at: decided.at,
            incident: one.map(|i| Arc::clone(&i.id)),
            decision: Some(decided.decision),
            reason: decided.reason,
            rule: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.rule)),
            namespace: one.and_then(|i| i.namespace.clone()),
            workload: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.workload)),
            title: message.title.clone(),
            detail: serde_json::json!({ "receivers": decided.receivers }).to_string(),
        });
    }
    for note in &out.notes {
        commit.history.push(HistoryRow {
            at: note.at,
            incident: Some(Arc::clone(&note.incident)),
            decision: None,
            reason: note.reason,
            rule: Arc::clone(&note.rule),
            namespace: note.namespace.clone(),
            workload: Arc::clone(&note.workload),
            title: String::new(),
            detail: detail(note).to_string(),
        });
    }
    commit
}
