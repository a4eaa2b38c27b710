//! What a step decided, as the store keeps it.

use std::sync::Arc;

use jiff::Timestamp;

use super::trail;
use crate::app::pipeline::{Output, Pipeline};
use crate::app::silences;
use crate::engine::Incident;
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

/// What a step decided, as the store keeps it.
pub(crate) fn commit(pipeline: &Pipeline, out: &Output, now: Timestamp) -> Commit {
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
        let first = commit.notifications.len();
        commit.notifications.extend(message.notifications());
        let told: Vec<&Arc<str>> =
            commit.notifications.iter().skip(first).map(|notification| &notification.receiver).collect();
        let decided = &message.decided;
        let one = decided.incidents.first().filter(|_| !decided.decision.is_summary());
        let detail = trail::told(message, &told, one.and_then(|i| pipeline.engine().incident(&i.id)));
        let row = HistoryRow {
            at: decided.at,
            incident: one.map(|i| Arc::clone(&i.id)),
            decision: Some(decided.decision),
            reason: decided.reason,
            rule: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.rule)),
            namespace: one.and_then(|i| i.namespace.clone()),
            workload: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.workload)),
            title: message.title.clone(),
            detail,
        };
        if one.is_some() {
            commit.history.push(row);
        } else {
            let told = decided.incidents.iter().map(|incident| Arc::clone(&incident.id)).collect();
            commit.summaries.push((row, told));
        }
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
            detail: trail::held(note),
        });
    }
    trail::put(&mut commit, pipeline, out, now);
    commit
}
