//! Notifications for tests.

use std::sync::Arc;

use jiff::Timestamp;

use crate::message::{Decision, IncidentView, Notification, Reason};
use crate::signal::{Cause, Severity};

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
            since: when,
            last_seen: when,
            ended_at: None,
            reason_raw: s("CrashLoopBackOff"),
            why: s("back-off 5m0s restarting failed container"),
            exit: s("exit code 3"),
            deeper: s(""),
            flaps: 0,
            held: Vec::new(),
            pods_on_node: None,
            runbook: None,
            command: s("kubectl -n shop logs checkout-1 --previous"),
            log_tail: None,
            log_from: None,
            title: "checkout keeps crashing".to_owned(),
        }],
        incidents_total: 1,
        digest: None,
    }
}

/// A summary for `receiver`.
pub(crate) fn summary(key: &str, receiver: &str, when: Timestamp) -> Notification {
    Notification { decision: Decision::Storm, reason: Reason::Storm, ..note(key, receiver, "x", when) }
}
