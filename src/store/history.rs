//! Each decision, those to say nothing too: what the pages, `explain` and digests read.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Call, Store};
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

/// Which rows; newest first.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only of this incident.
    pub incident: Option<String>,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Only of this workload.
    pub workload: Option<String>,
    /// Only those that something was said (`true`) or nothing was said (`false`) for.
    pub told: Option<bool>,
    /// From this time on.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Older than this row: the last id of the page before.
    pub before: Option<i64>,
    /// At most this many; 0 and more than [`HistoryQuery::MAX_ROWS`] mean that maximum.
    pub limit: usize,
}

impl HistoryQuery {
    pub const MAX_ROWS: usize = 1_000;
}

impl Store {
    /// Remembered decisions, newest first.
    pub fn history(&self, query: HistoryQuery) -> Call<Vec<HistoryEntry>> {
        self.read("read history", move |s| s.history(&query))
    }
}
