//! Who is connected. Everybody is accepted; room is made by closing the connection that has been idle longest.
//!
//! A client that connects and says nothing, or keeps a connection for its next request, costs a place
//! and nothing else, so a kubelet's probe never waits behind it: it takes the place of the one that
//! has been idle longest, and of one with the same address where that address has its share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::metrics::HttpStats;

/// How many connections there are room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In all. A kubelet and a few scrapers need a handful.
    pub all: usize,
    /// From one address. A kubelet, scrapers of its node, and whatever a node translates addresses for
    /// share one.
    pub peer: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { all: 128, peer: 16 }
    }
}

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    room: Room,
    stats: Arc<HttpStats>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Counts connections and answers: the order in which things happened.
    clock: u64,
    open: BTreeMap<u64, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// When it was accepted, or last answered.
    active: AtomicU64,
    close: CancellationToken,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    entry: Arc<Entry>,
    all: Arc<Connections>,
}

impl Connections {
    pub fn new(room: Room, stats: Arc<HttpStats>) -> Arc<Self> {
        Arc::new(Self { room, stats, table: Mutex::default() })
    }

    /// Gives a place, and makes room for it. `None`: everybody is being answered right now.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = table.open.values().filter(|entry| entry.peer == peer).count();
        let full = (of_peer >= self.room.peer).then_some(Some(peer));
        let full = full.or_else(|| (table.open.len() >= self.room.all).then_some(None));
        if let Some(among) = full
            && !table.close_idle(among)
        {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if full.is_some() {
            self.stats.closed.fetch_add(1, Ordering::Relaxed);
        }
        table.clock += 1;
        let id = table.clock;
        let entry = Arc::new(Entry {
            peer,
            answering: AtomicUsize::new(0),
            active: AtomicU64::new(id),
            close: CancellationToken::new(),
        });
        table.open.insert(id, Arc::clone(&entry));
        Some(Place { id, entry, all: Arc::clone(self) })
    }

    fn now(&self) -> u64 {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        table.clock
    }
}

impl Table {
    /// Closes the connection that has been idle longest, of one address or of all. False: none is idle.
    fn close_idle(&mut self, peer: Option<IpAddr>) -> bool {
        let idle = self.open.iter().filter(|(_, entry)| {
            entry.answering.load(Ordering::Relaxed) == 0 && peer.is_none_or(|peer| entry.peer == peer)
        });
        let longest = idle.min_by_key(|(_, entry)| entry.active.load(Ordering::Relaxed)).map(|(id, _)| *id);
        let Some(entry) = longest.and_then(|id| self.open.remove(&id)) else { return false };
        entry.close.cancel();
        true
    }
}

impl Place {
    /// Ends when the place is wanted by somebody else.
    pub async fn closed(&self) {
        self.entry.close.cancelled().await;
    }

    /// A request is being answered while this is held.
    pub fn answering(&self) -> Answering {
        self.entry.answering.fetch_add(1, Ordering::Relaxed);
        Answering { entry: Arc::clone(&self.entry), all: Arc::clone(&self.all) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.table.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.id);
    }
}

/// See [`Place::answering`].
#[derive(Debug)]
pub(super) struct Answering {
    entry: Arc<Entry>,
    all: Arc<Connections>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.entry.active.store(self.all.now(), Ordering::Relaxed);
        self.entry.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn connections(all: usize, of_peer: usize) -> Arc<Connections> {
        Connections::new(Room { all, peer: of_peer }, Arc::default())
    }

    fn is_closed(place: &Place) -> bool {
        place.entry.close.is_cancelled()
    }

    #[test]
    fn one_address_takes_its_own_places_only() {
        let all = connections(10, 2);
        let other = all.enter(peer(1)).unwrap();
        let first = all.enter(peer(2)).unwrap();
        let second = all.enter(peer(2)).unwrap();
        let third = all.enter(peer(2)).unwrap();
        assert!(is_closed(&first) && !is_closed(&second) && !is_closed(&third) && !is_closed(&other));
        // The same address, as IPv6 sockets show it.
        let mapped = "::ffff:10.0.0.2".parse().unwrap();
        let _fourth = all.enter(mapped).unwrap();
        assert!(is_closed(&second));
        assert_eq!(all.stats.closed.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn when_all_is_full_the_longest_idle_one_goes_and_never_one_that_is_answered() {
        let all = connections(3, 3);
        let busy = all.enter(peer(1)).unwrap();
        let answering = busy.answering();
        let kept = all.enter(peer(2)).unwrap();
        let silent = all.enter(peer(3)).unwrap();
        // It was here before, and has asked something since.
        drop(kept.answering());
        let _new = all.enter(peer(4)).unwrap();
        assert!(is_closed(&silent) && !is_closed(&kept) && !is_closed(&busy));
        drop(silent);
        let _newer = all.enter(peer(5)).unwrap();
        assert!(is_closed(&kept) && !is_closed(&busy));
        drop(answering);
    }

    #[test]
    fn a_place_is_refused_where_everybody_is_being_answered() {
        let all = connections(2, 2);
        let places: Vec<Place> = (1..=2).map(|n| all.enter(peer(n)).unwrap()).collect();
        let answering: Vec<Answering> = places.iter().map(Place::answering).collect();
        assert!(all.enter(peer(3)).is_none());
        assert_eq!(all.stats.refused.load(Ordering::Relaxed), 1);
        drop(answering);
        assert!(all.enter(peer(3)).is_some());
    }

    #[test]
    fn places_are_given_back() {
        let all = connections(2, 2);
        for _ in 0..10 {
            drop(all.enter(peer(1)).unwrap());
        }
        assert!(all.table.lock().unwrap().open.is_empty());
        assert_eq!(all.stats.closed.load(Ordering::Relaxed), 0);
    }
}
