//! What `explain` reads, as the store keeps it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::app::pipeline::Message;
use crate::engine::{Effects, Engine, Incident, Note};
use crate::message::detail::{About, DecidedDetail, DecidedIncident, HeldDetail, Waited};
use crate::message::text::words;
use crate::message::{Decision, Detail};
use crate::store::{Commit, HistoryRow, IncidentRow, KnownObject, MAX_INCIDENT, ObjectRow};

/// So many names of objects stand beside a decision; all of them are known by incident.
const NAMES: usize = 20;
/// The longest explaining text beside what became no incident.
const WHY: usize = 300;

/// What was told, and to whom.
pub(super) fn decided(message: &Message, told: &[&Arc<str>], incident: Option<&Incident>) -> Detail {
    let decided = &message.decided;
    if decided.decision == Decision::Notice {
        return Detail::Notice { receivers: decided.receivers.clone(), text: message.text.clone() };
    }
    let others = decided.receivers.iter().filter(|name| !told.contains(name)).cloned();
    let (digests, skipped) = others.partition(|name| message.policies.get(name).digest);
    let one = decided.incidents.first().filter(|_| !decided.decision.is_summary());
    let until = incident.and_then(|i| i.notified()?.window_ends).filter(|_| !decided.decision.is_end());
    Detail::Decided(DecidedDetail {
        receivers: told.iter().map(|name| Arc::clone(name)).collect(),
        skipped,
        digests,
        key: Some(message.key()),
        incident: one.map(|view| DecidedIncident {
            about: About {
                cause: Some(view.cause.as_str().into()),
                severity: Some(view.severity.as_str().into()),
                since: Some(view.since),
                ended_at: view.ended_at,
                until,
            },
            container: view.container.clone(),
            members: view.members.iter().take(NAMES).cloned().collect(),
            members_total: Some(view.members_total),
            occurrences: Some(view.occurrences),
        }),
    })
}

/// What was held back, and why.
pub(super) fn held(note: &Note) -> Detail {
    Detail::Held(HeldDetail {
        by: note.detail.clone(),
        comment: note.comment.clone(),
        held: note.held.map(|held| held.as_str().into()),
        waited: note.waited.as_ref().map(|waits| Waited {
            reason: waits.reason.as_str().into(),
            since: Some(waits.since),
            until: waits.until,
            by: waits.by.clone(),
        }),
        about: About {
            cause: Some(note.cause.as_str().into()),
            severity: Some(note.severity.as_str().into()),
            since: Some(note.since),
            ended_at: note.ended_at,
            until: note.until,
        },
    })
}

/// Adds what waits, who is part of what, and what became no incident.
pub(super) fn put(commit: &mut Commit, engine: &Engine, effects: &Effects, now: Timestamp) {
    for id in &effects.records.waiting {
        match engine.incident(id).filter(|incident| !incident.recorded.kept) {
            Some(incident) => commit.pending.extend(row(incident, now)),
            None => commit.settled.push(id.to_string()),
        }
    }
    // What began and went between two commits without a trace needs none here either.
    let known: BTreeSet<&Arc<str>> = effects.notes.iter().map(|note| &note.incident).collect();
    for joined in &effects.records.joined {
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
    for unmatched in &effects.records.unmatched {
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
            detail: Detail::Unmatched {
                cause: unmatched.cause.as_str().into(),
                object: format!("{}/{}", object.kind, object.name),
            }
            .to_json(),
        });
    }
}

/// An incident as the store keeps it. One that cannot be written down is logged.
pub(super) fn row(incident: &Incident, now: Timestamp) -> Option<IncidentRow> {
    let body = body(incident)
        .inspect_err(|error| {
            tracing::error!(incident = %incident.id, %error, "an incident cannot be written down");
        })
        .ok()?;
    Some(IncidentRow {
        id: incident.id.to_string(),
        rule: Arc::clone(&incident.rule),
        state: Arc::from(incident.state()),
        body,
        updated_at: now,
    })
}

/// As JSON. Of one that is too large to be kept, members are counted instead of named.
fn body(incident: &Incident) -> serde_json::Result<String> {
    let mut body = serde_json::to_string(incident)?;
    if body.len() <= MAX_INCIDENT {
        return Ok(body);
    }
    let mut short = incident.clone();
    while body.len() > MAX_INCIDENT && !short.members.is_empty() {
        let keep = short.members.len() / 2;
        while short.members.len() > keep && short.members.pop_last().is_some() {
            short.unnamed = short.unnamed.saturating_add(1);
        }
        body = serde_json::to_string(&short)?;
    }
    tracing::warn!(incident = %incident.id, members = short.members.len(), "too large to be kept whole");
    Ok(body)
}
