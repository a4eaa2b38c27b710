//! Incidents as the version before [`Life`] stored them.

use serde_json::Value;

use super::*;

fn stored() -> impl Iterator<Item = (&'static str, Incident)> {
    include_str!("stored.jsonl").lines().map(|line| (line, serde_json::from_str(line).unwrap()))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_the_version_before_stored_is_read_and_written_as_it_was() {
    for (line, incident) in stored() {
        assert!(line.contains(&format!("\"group\":{},", incident.group)));
        let mut expected = json(line);
        if incident.notified().is_none() {
            // What was told of one that was never told says nothing.
            expected["told_severity"] = "info".into();
        }
        assert_eq!(json(&serde_json::to_string(&incident).unwrap()), expected);
    }
}

#[test]
fn states_of_stored_incidents_are_those_of_their_lives() {
    let life = |incident: &Incident| match incident.life() {
        Life::Pending(_) => "Pending",
        Life::Gathering { .. } => "Gathering",
        Life::Notified(_) => "Notified",
        Life::Ended { .. } => "Ended",
        Life::Reopening { .. } => "Reopening",
    };
    let lives: Vec<_> = stored().map(|(_, incident)| (life(&incident), incident.state())).collect();
    let expected = [
        ("Notified", "firing"),
        ("Notified", "firing"),
        ("Notified", "firing"),
        ("Pending", "held"),
        ("Pending", "pending"),
        ("Ended", "resolved"),
        ("Ended", "resolved"),
        ("Reopening", "held"),
    ];
    assert_eq!(lives, expected);
}

/// Nobody is notified before the summary is decided, so a restart in between must not know it as told.
#[test]
fn what_gathers_for_a_summary_is_stored_as_it_was_before() {
    for (_, incident) in stored().filter(|(_, incident)| incident.life().pending().is_some()) {
        let (at, ended) = (incident.last_seen, incident.life().end().is_some());
        let notified = incident.notified().copied().unwrap_or(Notified {
            at,
            occurrences: 1,
            step: 1,
            severity: Severity::Warning,
            window_ends: Some(at),
            reminders: 0,
            grew_at: None,
            repeats_noted: false,
            due_at: None,
        });
        let life = incident.life().clone().gather(Summary::Storm, notified);
        let gathering = Incident { life, ..incident };
        assert!(gathering.is_open() && gathering.gathers());
        let back: Incident = serde_json::from_str(&serde_json::to_string(&gathering).unwrap()).unwrap();
        assert_eq!((back.state(), back.life().end().is_some()), ("pending", ended));
    }
}
