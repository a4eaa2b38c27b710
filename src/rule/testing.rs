//! What the tests of rules share.

use jiff::Timestamp;

use super::{Matcher, Rule};
use crate::signal::{Cause, ObjectRef, Phase, Severity, Signal, Source};

/// A raised signal about the first pod of a workload.
pub fn signal(cause: Cause, namespace: &str, workload: &str) -> Signal {
    let name = workload.rsplit('/').next().unwrap_or(workload);
    Signal {
        at: Timestamp::UNIX_EPOCH,
        since: None,
        since_at_least: false,
        cause,
        phase: Phase::Raised,
        source: Source::Status,
        object: ObjectRef {
            kind: "Pod".into(),
            namespace: Some(namespace.into()),
            name: format!("{name}-1").into(),
            uid: "u".into(),
        },
        workload: workload.into(),
        revision: None,
        container: None,
        node: None,
        reason: "".into(),
        message: "".into(),
        weight: 0,
        event_type: None,
        count: 1,
        restarts: None,
        exit: None,
        job: None,
        image: None,
        not_before: None,
        labels: [None, None, None],
        annotations: [None, None, None],
    }
}

/// A warning with every default.
pub fn rule(name: &str, matcher: Matcher) -> Rule {
    Rule::new(name, matcher, Severity::Warning)
}
