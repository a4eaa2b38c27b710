//! What a step decided, as the store keeps it.

mod records;

use std::sync::Arc;

use jiff::Timestamp;

use crate::app::pipeline::{Message, Output, Pipeline};
use crate::app::silences;
use crate::engine::digest::DigestState;
use crate::engine::{Engine, Incident};
use crate::store::{AnnotationRow, Commit, DigestRow, HistoryRow};

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

/// Stored digests to come. What cannot be read is logged and forgotten.
pub(super) fn restore_digests(rows: Vec<DigestRow>) -> Vec<DigestState> {
    let mut books: Vec<DigestState> = Vec::new();
    for row in rows {
        let body = row.body.unwrap_or_default();
        let read = match (&row.incident, books.last_mut().filter(|book| book.receiver == row.receiver)) {
            (None, _) => serde_json::from_str(&body).map(|book| books.push(book)),
            (Some(id), Some(book)) => serde_json::from_str(&body).map(|entry| {
                book.entries.insert(Arc::clone(id), entry);
            }),
            (Some(_), None) => continue,
        };
        if let Err(error) = read {
            tracing::error!(receiver = %row.receiver, incident = ?row.incident, %error,
                "a part of a digest to come cannot be read and is forgotten");
        }
    }
    books
}

/// What a step decided, as the store keeps it.
pub(crate) fn commit(pipeline: &Pipeline, out: &Output, now: Timestamp) -> Commit {
    let effects = &out.effects;
    let mut commit =
        Commit { removed: effects.removed.iter().map(ToString::to_string).collect(), ..Commit::default() };
    let engine = pipeline.engine();
    commit.silences =
        effects.silences.iter().filter_map(|id| engine.silences().get(id)).map(silences::row).collect();
    commit.silences_removed = effects.silences_removed.iter().map(ToString::to_string).collect();
    commit.annotations = effects
        .annotations
        .iter()
        .map(|key| AnnotationRow {
            place: key.0.to_string(),
            key: key.1.to_owned(),
            seen: engine.annotation_seen(key).map(|seen| (seen.value.to_string(), seen.since)),
        })
        .collect();
    for id in &effects.dirty {
        let Some(incident) = engine.incident(id) else { continue };
        commit.incidents.extend(records::row(incident, now));
    }
    for (receiver, incident) in &effects.digests {
        let book = engine.digest_state(receiver);
        let body = match incident {
            None => book.map(serde_json::to_string),
            Some(id) => book.and_then(|book| book.entries.get(id)).map(serde_json::to_string),
        };
        match body.transpose() {
            Ok(body) => commit.digests.push(DigestRow {
                receiver: Arc::clone(receiver),
                incident: incident.clone(),
                body,
            }),
            Err(error) => tracing::error!(%receiver, %error, "a part of a digest cannot be written down"),
        }
    }
    for message in &out.messages {
        put_message(&mut commit, message, Some(engine));
    }
    for note in &effects.notes {
        commit.history.push(HistoryRow {
            at: note.at,
            incident: Some(Arc::clone(&note.incident)),
            decision: None,
            reason: note.reason,
            rule: Arc::clone(&note.rule),
            namespace: note.namespace.clone(),
            workload: note.workload.clone(),
            title: String::new(),
            detail: records::held(note).to_json(),
        });
    }
    records::put(&mut commit, engine, effects, now);
    commit
}

/// A message to its receivers, and the decision as history has it. `engine`: of incidents.
pub(super) fn put_message(commit: &mut Commit, message: &Message, engine: Option<&Engine>) {
    let decided = &message.decided;
    tracing::info!(decision = %decided.decision, reason = %decided.reason, title = %message.title,
        receivers = ?decided.receivers, "decided");
    let first = commit.notifications.len();
    commit.notifications.extend(message.notifications());
    let told: Vec<&Arc<str>> =
        commit.notifications.iter().skip(first).map(|notification| &notification.receiver).collect();
    let one = decided.incidents.first().filter(|_| !decided.decision.is_summary());
    let incident = one.and_then(|one| engine?.incident(&one.id));
    let row = HistoryRow {
        at: decided.at,
        incident: one.map(|i| Arc::clone(&i.id)),
        decision: Some(decided.decision),
        reason: decided.reason,
        rule: one.map_or_else(|| Arc::from(""), |i| Arc::clone(&i.rule)),
        namespace: one.and_then(|i| i.namespace.clone()),
        workload: one.map(|i| i.workload.clone()).unwrap_or_default(),
        title: message.title.clone(),
        detail: records::decided(message, &told, incident).to_json(),
    };
    if decided.decision.is_summary() {
        let told = decided.incidents.iter().map(|incident| Arc::clone(&incident.id)).collect();
        commit.summaries.push((row, told));
    } else {
        commit.history.push(row);
    }
}
