//! What the page shows, as a list of entries that a browser can come late to, and come back to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

/// So many entries are kept. The story has about eighty; the rest is for a demonstration that is left
/// running.
const KEPT: usize = 2000;

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Counts from 1.
    pub id: u64,
    /// `cluster`, `slack`, `webhook`, `mail`
    pub kind: &'static str,
    /// JSON.
    pub data: Arc<str>,
}

/// Numbers that change all the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Objects written to the API server.
    pub writes: u64,
    /// Decisions told.
    pub messages: u64,
    /// Things that went wrong.
    pub troubles: u64,
    /// Pods there are.
    pub pods: usize,
    /// Nodes there are.
    pub nodes: usize,
    /// When the story began, on the cluster's clock, in milliseconds since 1970.
    pub began: i64,
    /// What the cluster's clock shows.
    pub clock: i64,
    /// The story is over.
    pub over: bool,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    entries: VecDeque<Entry>,
    counts: Counts,
}

/// The entries, and a way to wait for more.
#[derive(Debug)]
pub struct Feed {
    inner: Mutex<Inner>,
    news: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { inner: Mutex::default(), news: watch::channel(true).0 }
    }
}

/// What a reader has not seen yet.
#[derive(Debug)]
pub struct News {
    /// New entries.
    pub entries: Vec<Entry>,
    /// The numbers now.
    pub counts: Counts,
}

impl Feed {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Behind the lock there is never anything half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry.
    pub fn push(&self, kind: &'static str, data: &Value) {
        let mut inner = self.inner();
        inner.last += 1;
        let entry = Entry { id: inner.last, kind, data: data.to_string().into() };
        inner.entries.push_back(entry);
        if inner.entries.len() > KEPT {
            inner.entries.pop_front();
        }
        drop(inner);
        self.news.send_replace(true);
    }

    /// Changes the numbers.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.inner().counts);
    }

    /// The numbers now.
    pub fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// Everything after entry `seen`.
    pub fn after(&self, seen: u64) -> News {
        let inner = self.inner();
        // Who has seen more than there is comes from an earlier demonstration.
        let seen = if seen > inner.last { 0 } else { seen };
        let entries = inner.entries.iter().filter(|e| e.id > seen).cloned().collect();
        News { entries, counts: inner.counts }
    }

    /// Hears of changes; `false` means that there will be no more.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.news.subscribe()
    }

    /// Tells every reader to go.
    pub fn close(&self) {
        self.news.send_replace(false);
    }

    /// All of it, as one document.
    pub fn document(&self) -> Value {
        let News { entries, counts } = self.after(0);
        let entries: Vec<Value> = entries
            .iter()
            .map(|e| json!({ "id": e.id, "kind": e.kind, "data": serde_json::from_str::<Value>(&e.data).unwrap_or_default() }))
            .collect();
        json!({ "counts": counts, "entries": entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_where_it_was_and_a_stranger_begins_anew() {
        let feed = Feed::default();
        for n in 0..KEPT + 5 {
            feed.push("cluster", &json!({ "n": n }));
        }
        let ids = |seen| feed.after(seen).entries.iter().map(|e| e.id).collect::<Vec<_>>();
        let last = u64::try_from(KEPT).unwrap() + 5;
        assert_eq!(ids(last - 2), [last - 1, last]);
        assert_eq!(ids(last), [0_u64; 0]);
        // It has seen more than there is: that was another demonstration.
        assert_eq!((ids(last + 1).len(), ids(0).first()), (KEPT, Some(&6)));
        assert_eq!(feed.document()["entries"][0]["data"]["n"], 5);
    }
}
