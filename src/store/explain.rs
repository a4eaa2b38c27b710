//! What is known of an object: which incidents it is or was part of, and what became of each.

use jiff::Timestamp;

use super::commit::IncidentRow;
use super::history::HistoryEntry;
use super::listing::OutboxEntry;
use super::{Call, Store, StoreError};

/// An object by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownObject {
    pub kind: String,
    /// `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    pub name: String,
}

/// An object to remember as a part of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    pub incident: String,
    pub object: KnownObject,
    /// When it was taken in.
    pub at: Timestamp,
}

/// Which objects. Case counts nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectQuery {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only of this namespace.
    pub namespace: Option<String>,
    pub name: String,
    /// All whose name begins so.
    pub prefix: bool,
}

/// An incident that has to do with what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentMatch {
    pub incident: String,
    /// The last that is known of it.
    pub last: Timestamp,
    /// The object that was asked for.
    pub object: KnownObject,
}

/// Everything the store has on one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRecord {
    /// As the engine wrote it last; `None`: it is over and its window, too.
    pub row: Option<IncidentRow>,
    /// What was decided, newest first; summaries that told it, too.
    pub history: Vec<HistoryEntry>,
    /// There is more than is given.
    pub history_cut: bool,
    /// The objects that were part of it, those that joined first first.
    pub objects: Vec<KnownObject>,
    /// How many there are.
    pub objects_total: u64,
}

/// A notification in whatever state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The row of the outbox.
    pub entry: OutboxEntry,
    /// An older one of the same thread has to go first.
    pub behind: bool,
}

/// The trail of decisions.
pub(super) trait Trail {
    fn history(&mut self, before: i64) -> Result<Vec<HistoryEntry>, StoreError>;
    fn concerning(&mut self, query: &ObjectQuery) -> Result<Vec<IncidentMatch>, StoreError>;
    fn incident_record(&mut self, id: &str, at_most: usize) -> Result<IncidentRecord, StoreError>;
    fn deliveries(&mut self, prefix: &str) -> Result<Vec<Delivery>, StoreError>;
    fn unmatched(
        &mut self,
        query: &ObjectQuery,
        since: Option<Timestamp>,
    ) -> Result<Vec<HistoryEntry>, StoreError>;
    fn known_objects(&mut self, at_most: usize) -> Result<Vec<KnownObject>, StoreError>;
    fn forget_pending(&mut self) -> Result<(), StoreError>;
}

impl Store {
    /// Remembered decisions, newest first, at most 1000; `before`: only older ones, by the last id of the page
    /// before.
    pub fn history(&self, before: Option<i64>) -> Call<Vec<HistoryEntry>> {
        let before = before.unwrap_or(i64::MAX);
        self.read("read history", move |s| s.history(before))
    }

    /// Incidents that the objects are or were part of, or the one with this id; the last one first.
    pub fn concerning(&self, query: ObjectQuery) -> Call<Vec<IncidentMatch>> {
        self.read("look for incidents of an object", move |s| s.concerning(&query))
    }

    /// What is known of one incident, its history cut to `at_most` rows (1000 at most).
    pub fn incident_record(&self, id: &str, at_most: usize) -> Call<IncidentRecord> {
        let id = id.to_owned();
        self.read("read an incident", move |s| s.incident_record(&id, at_most))
    }

    /// The rows of the outbox whose key begins so, newest first.
    pub fn deliveries(&self, prefix: &str) -> Call<Vec<Delivery>> {
        let prefix = prefix.to_owned();
        self.read("look for deliveries", move |s| s.deliveries(&prefix))
    }

    /// Problems that became no incident, newest first.
    pub fn unmatched(&self, query: ObjectQuery, since: Option<Timestamp>) -> Call<Vec<HistoryEntry>> {
        self.read("look for what became no incident", move |s| s.unmatched(&query, since))
    }

    /// Objects the store knows, those it learned of last first.
    pub fn known_objects(&self, at_most: usize) -> Call<Vec<KnownObject>> {
        self.read("list objects", move |s| s.known_objects(at_most))
    }

    /// Forgets what waited: at a start, before the first look at the cluster.
    pub fn forget_pending(&self) -> Call<()> {
        self.write("forget what waited", |s| s.forget_pending())
    }
}
