//! Where a process begins to count, so that no number of the one before it is given again.
//!
//! While nothing can be written to the disk, decisions are kept in memory and their messages are sent. If the process
//! is killed then, what it counted is lost, and receivers have seen its ids and keys.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::engine::{Identity, Incident, Numbers};

/// The name of the store, of which its ids are made.
pub(super) const MARK_STORE: &str = "store.id";
/// How many numbers were given: [`Numbers`] as JSON.
pub(super) const MARK_NUMBERS: &str = "numbers";
/// When the process stopped in order, with everything stored; empty while one runs.
pub(super) const MARK_STOPPED: &str = "stopped";

/// More numbers than a process gives while it cannot store them.
const NUMBERS_LOST: u64 = 1 << 20;
/// More messages of one incident, or notices of one trouble, than a process decides while it cannot store them.
pub(super) const MESSAGES_LOST: u64 = 100;

/// Where the ids of this store come from.
pub(super) fn identity(marks: &BTreeMap<String, String>, cluster: &str, now: Timestamp) -> Identity {
    // Milliseconds since 1970 are more than ever were given, and differ from those of a process that stored nothing.
    let by_time = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let in_order = marks.get(MARK_STOPPED).is_some_and(|at| !at.is_empty());
    let numbers = match marks.get(MARK_NUMBERS).map(|kept| serde_json::from_str::<Numbers>(kept)) {
        None if marks.contains_key(MARK_STORE) && !in_order => Numbers::all(by_time),
        None => Numbers::default(),
        Some(Ok(numbers)) if in_order => numbers,
        Some(Ok(numbers)) => numbers.after_loss(NUMBERS_LOST, by_time),
        Some(Err(error)) => {
            tracing::error!(%error, "the counters of ids cannot be read; counting goes on far above them");
            Numbers::all(by_time)
        }
    };
    let store = match marks.get(MARK_STORE) {
        Some(name) => name.as_str().into(),
        None => Identity::name_store(cluster, now),
    };
    Identity { store, numbers }
}

/// The process before did not stop in order: messages after those that are stored may have been sent.
pub(super) fn skip_numbers(incidents: &mut [Incident]) {
    for incident in incidents.iter_mut().filter(|incident| incident.seq > 0) {
        incident.seq = incident.seq.saturating_add(MESSAGES_LOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_stopped_in_order_is_counted_on_from() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let given = |marks: &[(&str, &str)]| {
            let marks = marks.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            identity(&marks, "test", now).numbers.incidents
        };
        let by_time = u64::try_from(now.as_millisecond()).unwrap();
        assert_eq!(given(&[]), 0);
        let counted = [("store.id", "a"), ("numbers", r#"{"incidents":7}"#)];
        let [store, numbers] = counted;
        assert_eq!(given(&[store, numbers, ("stopped", "2026-11-21T07:00:00Z")]), 7);
        assert_eq!(given(&[store, numbers, ("stopped", "")]), by_time);
        assert_eq!(given(&counted), by_time);
        // Killed before anything was counted on the disk; what it counted in memory was sent.
        assert_eq!(given(&[store]), by_time);
        // The clock was put right: a counter that is ahead of the time goes on.
        assert_eq!(
            given(&[store, ("numbers", r#"{"incidents":9000000000000}"#)]),
            9_000_000_000_000 + NUMBERS_LOST
        );
    }
}
