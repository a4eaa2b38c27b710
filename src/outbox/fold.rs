//! Many notifications as one summary: what waits beyond a receiver's rate limit is told together.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::message::{Decision, Detail, IncidentView, Notification, Reason, text};
use crate::store::{FoldRow, HistoryRow};

/// The key of a summary of these rows: the same rows in the same order give the same key. `recipient` is
/// empty where the receiver is one destination.
pub fn key(receiver: &str, recipient: &str, rows: &[FoldRow]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        // With its length, so that no two lists are one text.
        hash.update(row.notification.key.len().to_le_bytes());
        hash.update(row.notification.key.as_bytes());
    }
    let mut key = String::from("fold-");
    for byte in hash.finalize().iter().take(10) {
        // Writing to a String cannot fail.
        write!(key, "{byte:02x}").ok();
    }
    write!(key, "-{receiver}").ok();
    if !recipient.is_empty() {
        write!(key, "/{recipient}").ok();
    }
    key
}

/// The summary of `rows`, which are in order; `None` where there are none. A function of them alone,
/// so that it is the same message however often it is sent.
pub fn summary(key: &str, receiver: &Arc<str>, rows: &[FoldRow]) -> Option<Notification> {
    let newest = &rows.last()?.notification;
    let mut incidents = latest(rows);
    for incident in &mut incidents {
        // A line each is no place for a log. It may also come to a row while the summary is under way,
        // which must not change its bytes.
        (incident.log_tail, incident.log_from) = (None, None);
    }
    let total = u32::try_from(incidents.len()).unwrap_or(u32::MAX);
    let at = rows.iter().map(|r| r.notification.at).max()?;
    Some(Notification {
        key: key.to_owned(),
        receiver: Arc::clone(receiver),
        decision: Decision::Storm,
        reason: Reason::Storm,
        at,
        cluster: Arc::clone(&newest.cluster),
        severity: incidents.iter().map(|i| i.severity).max()?,
        title: text::summary_title(Decision::Storm, &incidents, total),
        text: text::summary_text(&newest.cluster, Decision::Storm, &incidents, total, at),
        seq: 1,
        incidents,
        incidents_total: total,
        digest: None,
        late_s: None,
    })
}

/// What the history keeps of a summary that was delivered.
pub fn summary_row(summary: &Notification, rows: &[FoldRow], now: Timestamp) -> HistoryRow {
    let folded = rows.iter().map(|r| r.notification.key.clone()).collect();
    let receivers = vec![Arc::clone(&summary.receiver)];
    HistoryRow {
        at: now,
        incident: None,
        decision: Some(summary.decision),
        reason: summary.reason,
        rule: Arc::from(""),
        namespace: None,
        workload: "".into(),
        title: summary.title.clone(),
        detail: Detail::Folded { receivers, inside: summary.key.clone(), folded }.to_json(),
    }
}

/// Each incident once, as its newest row shows it, by first appearance.
fn latest(rows: &[FoldRow]) -> Vec<IncidentView> {
    let mut place: HashMap<Arc<str>, usize> = HashMap::new();
    let mut views: Vec<IncidentView> = Vec::new();
    for view in rows.iter().filter_map(|r| r.notification.incident()) {
        let at = *place.entry(Arc::clone(&view.id)).or_insert(views.len());
        match views.get_mut(at) {
            Some(older) => older.clone_from(view),
            None => views.push(view.clone()),
        }
    }
    views
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{at, note};

    fn row(key: &str, thread: &str, seconds: i64) -> FoldRow {
        FoldRow { seq: seconds, notification: Box::new(note(key, "x", thread, at(seconds))) }
    }

    #[test]
    fn an_incident_is_listed_once_as_it_is_now() {
        let mut end = row("a2", "a", 9);
        end.notification.decision = Decision::Resolved;
        end.notification.incidents[0].ended_at = Some(at(9));
        let rows = [row("a1", "a", 1), row("b1", "b", 2), row("c1", "c", 3), end];
        let n = summary("k", &Arc::from("x"), &rows).unwrap();
        let ids: Vec<&str> = n.incidents.iter().map(|i| &*i.id).collect();
        assert_eq!((ids.as_slice(), n.incidents_total, n.at), (["a", "b", "c"].as_slice(), 3, at(9)));
        assert_eq!(n.incidents[0].ended_at, Some(at(9)));
        assert!(n.title.starts_with("2 problems at once, 1 over"), "{}", n.title);
        assert_eq!(n.text.lines().filter(|l| l.starts_with("- ")).count(), 3, "{}", n.text);
        assert!(n.decision.is_summary() && n.thread() == "summary");
        assert_eq!(Some(n), summary("k", &Arc::from("x"), &rows));
        assert_eq!(summary("k", &Arc::from("x"), &[]), None);
    }

    #[test]
    fn the_key_names_the_rows_and_who_is_told() {
        let rows = [row("a", "a", 1), row("bc", "b", 2)];
        let other = [row("ab", "a", 1), row("c", "b", 2)];
        assert_eq!(key("x", "", &rows), key("x", "", &rows));
        assert!(key("x", "", &rows).ends_with("-x") && key("x", "a@b", &rows).ends_with("-x/a@b"));
        for (receiver, recipient, rows) in [("x", "", &other), ("y", "", &rows), ("x", "z", &rows)] {
            assert_ne!(key("x", "", &[row("a", "a", 1), row("bc", "b", 2)]), key(receiver, recipient, rows));
        }
    }
}
