//! What the history says of a decision beside its columns, as JSON. Read by `explain`: a field that is
//! missing is not known, and names are text, so that rows of other versions can be read.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The name of a cause, a severity, a reason or a decision.
pub type Name = Cow<'static, str>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// A notification was not queued: another message has its key.
    NotQueued {
        key: String,
        receiver: Arc<str>,
    },
    /// Notifications that were delivered in one.
    Folded {
        receivers: Vec<Arc<str>>,
        inside: String,
        folded: Vec<String>,
    },
    /// What kubeherald said of itself.
    Notice {
        receivers: Vec<Arc<str>>,
        text: String,
    },
    Decided(DecidedDetail),
    /// A problem that became no incident. `object`: `Kind/name`.
    Unmatched {
        cause: Name,
        object: String,
    },
    Held(HeldDetail),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DecidedDetail {
    /// Receivers with a notification of their own.
    pub receivers: Vec<Arc<str>>,
    /// Those that want no ends.
    #[serde(default)]
    pub skipped: Vec<Arc<str>>,
    /// Those that are told in their digests.
    #[serde(default)]
    pub digests: Vec<Arc<str>>,
    /// What the keys of the notifications begin with; versions before did not keep it.
    #[serde(default)]
    pub key: Option<String>,
    /// `None` of a summary.
    #[serde(flatten)]
    pub incident: Option<DecidedIncident>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DecidedIncident {
    #[serde(flatten)]
    pub about: About,
    pub container: Option<Arc<str>>,
    /// Names of members, cut.
    pub members: Vec<Arc<str>>,
    pub members_total: Option<u32>,
    pub occurrences: Option<u64>,
}

/// Nothing was said, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldDetail {
    /// The incident, silence or mute time that holds it back.
    pub by: Option<Arc<str>>,
    pub comment: Option<Arc<str>>,
    /// What would have been told.
    pub held: Option<Name>,
    /// What it waited for, where it ended before it was told.
    pub waited: Option<Waited>,
    #[serde(flatten)]
    pub about: About,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    pub cause: Option<Name>,
    pub severity: Option<Name>,
    pub since: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Until when nothing more is told, at least.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    pub reason: Name,
    #[serde(default)]
    pub since: Option<Timestamp>,
    #[serde(default)]
    pub until: Option<Timestamp>,
    #[serde(default)]
    pub by: Option<Arc<str>>,
}

impl Detail {
    /// What cannot be read says nothing.
    pub fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| Self::Held(HeldDetail::default()))
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| String::from("{}"))
    }

    pub const fn decided(&self) -> Option<&DecidedDetail> {
        match self {
            Self::Decided(decided) => Some(decided),
            _ => None,
        }
    }

    pub const fn held(&self) -> Option<&HeldDetail> {
        match self {
            Self::Held(held) => Some(held),
            _ => None,
        }
    }

    /// What is said of one incident.
    pub fn about(&self) -> Option<&About> {
        match self {
            Self::Decided(decided) => decided.incident.as_ref().map(|incident| &incident.about),
            Self::Held(held) => Some(&held.about),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rows_are_read_as_what_they_were_written_as() {
        let at = "2026-11-21T08:00:00Z";
        let about = json!({ "cause": "OOMKilled", "severity": "critical", "since": at, "ended_at": null, "until": at });
        let with = |mut more: Value| {
            for (name, value) in about.as_object().unwrap() {
                more[name] = value.clone();
            }
            more
        };
        let waited = json!({ "reason": "not_yet_for", "since": at, "until": null, "by": null });
        let rows = [
            (json!({ "key": "a-1-x", "receiver": "x" }), "NotQueued"),
            (json!({ "receivers": ["x"], "inside": "fold-1-x", "folded": ["a-1-x"] }), "Folded"),
            (json!({ "receivers": ["x"], "text": "blind" }), "Notice"),
            (json!({ "receivers": ["x"], "skipped": [], "digests": [], "key": "storm-1-1" }), "Decided"),
            (
                with(json!({
                    "receivers": ["x"], "skipped": ["y"], "digests": ["z"], "key": "a-1", "container": null,
                    "members": ["p"], "members_total": 1, "occurrences": 3,
                })),
                "Decided",
            ),
            (json!({ "cause": "OOMKilled", "object": "Pod/p" }), "Unmatched"),
            (with(json!({ "by": null, "comment": null, "held": "first", "waited": waited })), "Held"),
        ];
        for (row, shape) in rows {
            let detail = Detail::read(&row.to_string());
            assert!(format!("{detail:?}").starts_with(shape), "{detail:?}");
            let again: Value = serde_json::from_str(&detail.to_json()).unwrap();
            for (name, value) in row.as_object().unwrap() {
                assert_eq!(again[name], *value, "{name} of {shape}");
            }
        }
    }

    #[test]
    fn what_a_row_does_not_say_is_not_known() {
        for text in ["{}", "not JSON", "[1]", r#"{"by": 1}"#] {
            assert_eq!(Detail::read(text), Detail::Held(HeldDetail::default()), "{text}");
        }
        let before = Detail::read(r#"{"receivers": ["x"], "since": "2026-11-21T08:00:00Z"}"#);
        assert!(before.decided().unwrap().key.is_none() && before.about().unwrap().since.is_some());
    }
}
