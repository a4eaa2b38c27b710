//! Stores and notifications for tests.

use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;

use super::{
    Call, Claim, Commit, Durability, Faults, HeadRow, IncidentRow, Options, OutboxEntry, OutboxQuery,
    OutboxStates, Settle, Store,
};

use crate::message::{Decision, IncidentView, Notification, Reason};
use crate::signal::{Cause, Severity};

/// An empty store that is gone with its last handle.
pub(crate) fn store() -> Store {
    Store::memory().unwrap()
}

/// Where a store can be opened again.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(Faults::default())
    }

    pub(crate) fn open_with(&self, faults: Faults) -> Store {
        let path = Some(self.0.path().join("herald.db"));
        Store::open_with(&Options { path, durability: Durability::Process, faults, ..Options::default() })
            .unwrap()
    }
}

/// All dead letters.
pub(crate) fn dead_letters(store: &Store) -> Call<Vec<OutboxEntry>> {
    store.outbox(OutboxQuery { states: OutboxStates::Dead, limit: 10_000, ..OutboxQuery::default() })
}

pub(crate) fn owed(notifications: Vec<Notification>) -> Commit {
    Commit { notifications, ..Commit::default() }
}

pub(crate) fn incident(id: &str, body: &str) -> IncidentRow {
    IncidentRow {
        id: id.to_owned(),
        rule: Arc::from("r"),
        state: Arc::from("firing"),
        body: body.to_owned(),
        updated_at: at(0),
    }
}

pub(crate) fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

pub(crate) fn due(store: &Store, receiver: &str, now: Timestamp) -> Option<HeadRow> {
    store.heads(&name(receiver), &name(receiver), Vec::new(), now).wait().unwrap().due
}

/// Claims the due row and says its key.
pub(crate) fn claim(store: &Store, receiver: &str, now: Timestamp) -> Option<(i64, String)> {
    let row = due(store, receiver, now)?;
    match store.claim(row.seq, now).wait().unwrap() {
        Claim::Claimed { notification, .. } => Some((row.seq, notification.key)),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn delivered() -> Settle {
    Settle::Delivered { handle: None }
}

/// `seconds` after a fixed start.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A notification `key` for `receiver` about the incident `thread`.
pub(crate) fn note(key: &str, receiver: &str, thread: &str, when: Timestamp) -> Notification {
    let s = |t: &str| -> Arc<str> { Arc::from(t) };
    Notification {
        key: key.to_owned(),
        receiver: s(receiver),
        decision: Decision::First,
        reason: Reason::First,
        at: when,
        cluster: s("test"),
        severity: Severity::Critical,
        title: format!("title of {key}"),
        text: "3 of 12 pods\nsince 10:00\nwhy: back-off restarting failed container".to_owned(),
        seq: 1,
        incidents: vec![IncidentView {
            id: s(thread),
            rule: s("crash-loop"),
            cause: Cause::CrashLoopBackOff,
            severity: Severity::Critical,
            was: None,
            seq: 1,
            namespace: Some(s("shop")),
            team: None,
            workload: "Deployment/checkout".into(),
            container: Some(s("app")),
            node: None,
            image: None,
            member_kind: s("Pod"),
            members: vec![s("checkout-1"), s("checkout-2"), s("checkout-3")],
            members_total: 3,
            replicas: Some(12),
            occurrences: 9,
            occurrences_new: 9,
            restarts: None,
            since: when,
            since_at_least: false,
            last_seen: when,
            ended_at: None,
            end_reason: None,
            left_behind: None,
            gone: Vec::new(),
            reason_raw: s("CrashLoopBackOff"),
            why: s("back-off 5m0s restarting failed container"),
            exit: s("exit code 3"),
            deeper: s(""),
            flaps: 0,
            held: Vec::new(),
            pods_on_node: None,
            runbook: None,
            command: s("kubectl -n shop logs checkout-1 --previous"),
            silence: None,
            log_tail: None,
            log_from: None,
            title: "checkout keeps crashing".to_owned(),
            first: None,
        }],
        incidents_total: 1,
        digest: None,
        late_s: None,
    }
}

/// A summary for `receiver`.
pub(crate) fn summary(key: &str, receiver: &str, when: Timestamp) -> Notification {
    Notification { decision: Decision::Storm, reason: Reason::Storm, ..note(key, receiver, "x", when) }
}
