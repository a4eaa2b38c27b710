//! Each decision, those to say nothing too: what the pages, `explain` and digests read.

use std::sync::Arc;

use jiff::Timestamp;

use crate::message::{Decision, Reason};

/// A decision to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    pub at: Timestamp,
    /// About which incident; `None` for summaries and for what became none.
    pub incident: Option<Arc<str>>,
    /// What was said; `None`: nothing.
    pub decision: Option<Decision>,
    /// Why, or why not.
    pub reason: Reason,
    /// The rule; empty where none is meant.
    pub rule: Arc<str>,
    /// Where; `None` for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    pub workload: crate::signal::Workload,
    /// One line for people.
    pub title: String,
    /// JSON: whatever else explains it.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Grows with each row; pages go by it.
    pub id: i64,
    pub at: Timestamp,
    pub incident: Option<String>,
    /// The contract name of what was said; `None`: nothing. Text, so that rows of later versions
    /// can still be listed.
    pub decision: Option<String>,
    /// The contract name of why.
    pub reason: String,
    pub rule: String,
    pub namespace: Option<String>,
    pub workload: String,
    /// One line for people.
    pub title: String,
    pub detail: String,
}
