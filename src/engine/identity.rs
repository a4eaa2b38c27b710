//! Ids that one store never gives twice, and the counters they are made of.
//!
//! An id stands in keys of notifications, in addresses, and in the deduplication keys of other systems. Were
//! it made of what an incident is about, the same incident a second time would look like a replay of the
//! first, and its messages would be dropped. So each id is made of a number that only goes up. The counters
//! are stored in the transaction that stores whatever carries the number. After a process that did not stop in
//! order they go on far above what is stored: while the disk fails, numbers are given and sent that are not on it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many numbers of each sort were given so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Numbers {
    pub incidents: u64,
    /// Summaries of a first start or of a storm.
    pub summaries: u64,
    /// Digests, of all receivers together.
    pub digests: u64,
    /// Silences of the API.
    pub silences: u64,
}

impl Numbers {
    /// The same number of everything.
    pub const fn all(given: u64) -> Self {
        Self { incidents: given, summaries: given, digests: given, silences: given }
    }

    /// Goes on where up to `lost` of each were given that were not stored; `by_time` grows with each process.
    #[must_use]
    pub fn after_loss(self, lost: u64, by_time: u64) -> Self {
        let on = |given: u64| given.saturating_add(lost).max(by_time);
        Self {
            incidents: on(self.incidents),
            summaries: on(self.summaries),
            digests: on(self.digests),
            silences: on(self.silences),
        }
    }
}

/// Where ids come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Names the store, and differs between stores, so that two of them give different ids to the same
    /// number. Empty where nothing is stored (replays, tests): ids are the same in each run.
    pub store: Arc<str>,
    pub numbers: Numbers,
}

/// Characters of an id: 5 bits each.
const CHARS: u32 = 10;
/// Bits of one half of the permuted number.
const HALF: u32 = CHARS * 5 / 2;
const HALF_MASK: u64 = (1 << HALF) - 1;
/// Four rounds make a Feistel network of a pseudo-random function a pseudo-random permutation.
const ROUNDS: u8 = 4;

impl Identity {
    /// A name for a store that begins now. Of two stores that begin at the same nanosecond, the names of their
    /// clusters tell which is which.
    pub fn name_store(cluster: &str, now: Timestamp) -> Arc<str> {
        let mut hash = Sha256::new();
        hash.update(cluster.len().to_be_bytes());
        hash.update(cluster.as_bytes());
        hash.update(now.as_nanosecond().to_be_bytes());
        let name =
            hash.finalize().iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        Arc::from(name)
    }

    /// The id of the incident with this number: short, and unambiguous to read aloud.
    ///
    /// A hash cut to ten characters would repeat by chance after some millions of incidents. This is a
    /// permutation of all ten-character names, keyed with the store: different numbers give different ids,
    /// up to 2^50 of them.
    pub fn incident_id(&self, number: u64) -> Arc<str> {
        let (mut left, mut right) = ((number >> HALF) & HALF_MASK, number & HALF_MASK);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.mix(round, right));
        }
        readable((left << HALF) | right)
    }

    fn mix(&self, round: u8, half: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.store.as_bytes());
        hash.update([round]);
        hash.update(half.to_be_bytes());
        let digest = hash.finalize();
        digest.iter().take(8).fold(0_u64, |acc, byte| (acc << 8) | u64::from(*byte)) & HALF_MASK
    }
}

fn readable(mut bits: u64) -> Arc<str> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let letters = (0..CHARS).map(|_| {
        let index = usize::try_from(bits & 31).unwrap_or(0);
        bits >>= 5;
        char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
    });
    Arc::from(letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(store: &str) -> Identity {
        Identity { store: Arc::from(store), numbers: Numbers::default() }
    }

    #[test]
    fn different_numbers_give_different_ids() {
        let store = of("a");
        let numbers = (1..20_000).chain((40..50).map(|bit| 1 << bit)).chain([(1 << 50) - 1]);
        let mut seen = BTreeSet::new();
        for number in numbers {
            let id = store.incident_id(number);
            assert_eq!(id.len(), 10);
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric()), "{id}");
            assert!(seen.insert(id), "{number}");
        }
    }

    #[test]
    fn different_stores_give_different_ids_to_one_number() {
        let of_one: BTreeSet<_> = (1..5_000).map(|n| of("one").incident_id(n)).collect();
        assert!((1..5_000).all(|n| !of_one.contains(&of("two").incident_id(n))));
        assert_eq!(of("").incident_id(7), of("").incident_id(7), "the same in each run");
    }

    #[test]
    fn counters_of_another_version_are_read() {
        let read: Numbers = serde_json::from_str(r#"{"incidents": 7, "other": 1}"#).unwrap();
        assert_eq!(read, Numbers { incidents: 7, ..Numbers::default() });
    }
}
