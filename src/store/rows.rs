//! The rows of the outbox and their moves. When to move is [`crate::outbox`]'s business.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Call, Store, StoreError};
use crate::message::Notification;

/// The oldest open row of its thread, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRow {
    /// Its place in the order of insertion.
    pub seq: i64,
    pub key: String,
    /// Whom of the receiver it is for; empty where the receiver is one destination, or where the row has
    /// not been given out to recipients yet ([`Store::give_out`]).
    pub recipient: Arc<str>,
    /// Attempts begun so far.
    pub attempts: u32,
    /// What `max_age` counts from.
    pub queued_at: Timestamp,
    /// Why the last attempt failed; empty if none was made.
    pub reason: String,
    /// The summary it is to be told in, where that was claimed before.
    pub inside: Option<String>,
    /// It shows whether its receiver works again, and never grows too old.
    pub probe: bool,
    /// May it be told inside a summary at all? Not if it is one, nor if its own attempt was cut
    /// off, nor if it is sent again after a summary with it was refused.
    pub foldable: bool,
}

/// What a dispatcher must know to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heads {
    /// The lowest row that may go now, of the recipients asked for.
    pub due: Option<HeadRow>,
    /// Where nothing is due: when the next row will be.
    pub next_at: Option<Timestamp>,
    /// Nothing is sent before: the receiver (or its credential) asked to wait, or refuses every message.
    pub gate: Option<Timestamp>,
    /// How often in a row the receiver refused; 0: it does not.
    pub refused: u32,
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// It is `sending` now.
    Claimed {
        notification: Box<Notification>,
        /// What the first delivery of the thread returned.
        handle: Option<String>,
        attempt: u32,
    },
    /// It is `sending` now, but what is kept cannot be read by this version.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// It is not there to be claimed any more.
    Gone,
}

/// Until when nobody may be bothered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The receiver's or the credential's name.
    pub name: Arc<str>,
    pub until: Timestamp,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settle {
    Delivered {
        /// Kept if it is the first of its thread.
        handle: Option<String>,
    },
    /// Back to the queue.
    Retry {
        not_before: Timestamp,
        reason: String,
        /// The other side asked for a pause.
        gate: Option<Gate>,
    },
    /// Back to the queue: the receiver as such refuses ([`crate::notify::Outcome::Refused`]). The row may
    /// go again at once; the receiver is paused.
    Refused {
        /// Nothing is sent to the receiver before this.
        until: Timestamp,
        reason: String,
    },
    Dead {
        reason: String,
    },
}

/// Which row to claim once another is settled.
pub struct ClaimNext {
    pub receiver: Arc<str>,
    /// Where its Retry-After is kept.
    pub gate: Arc<str>,
    /// Recipients whose rows are not to be claimed.
    pub held: Vec<Arc<str>>,
    /// May the due row be claimed?
    pub choose: ChooseRow,
}

/// Chooses the row to claim of what is due, or none.
pub type ChooseRow = Box<dyn FnOnce(&Heads) -> Option<HeadRow> + Send>;

impl std::fmt::Debug for ClaimNext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimNext").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

/// What became of a row, and which one is next.
#[derive(Debug)]
pub struct Settled {
    /// `false`: the row was not open any more, nothing was changed.
    pub changed: bool,
    /// The row that was claimed.
    pub next: Option<(HeadRow, Claim)>,
}

/// A row whose attempt was cut off by the end of the process: it may have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    pub key: String,
    pub attempts: u32,
    /// The summary it was told in.
    pub inside: Option<String>,
}

pub(super) trait Rows {
    /// Without the rows of the recipients `held`.
    fn heads(
        &mut self,
        receiver: &str,
        gate: &str,
        held: &[Arc<str>],
        now: Timestamp,
    ) -> Result<Heads, StoreError>;
    fn claim(&mut self, seq: i64, now: Timestamp) -> Result<Claim, StoreError>;
    fn settle(&mut self, seq: i64, what: &Settle, now: Timestamp) -> Result<bool, StoreError>;
    fn recover(&mut self, receiver: &str) -> Result<Vec<Interrupted>, StoreError>;
    fn bury_unknown(&mut self, known: &[Arc<str>], now: Timestamp) -> Result<usize, StoreError>;
    fn give_out(
        &mut self,
        receiver: &str,
        recipients: &[Arc<str>],
        now: Timestamp,
    ) -> Result<usize, StoreError>;
}

impl Store {
    /// What the dispatcher of `receiver` may do at `now`, without the rows of the recipients `held`. `gate` is
    /// where its Retry-After is kept.
    pub fn heads(
        &self,
        receiver: &Arc<str>,
        gate: &Arc<str>,
        held: Vec<Arc<str>>,
        now: Timestamp,
    ) -> Call<Heads> {
        let (receiver, gate) = (Arc::clone(receiver), Arc::clone(gate));
        self.read("look for the next row", move |s| s.heads(&receiver, &gate, &held, now))
    }

    /// Marks a row as `sending` and hands out what to send.
    pub fn claim(&self, seq: i64, now: Timestamp) -> Call<Claim> {
        self.write("claim a row", move |s| s.claim(seq, now))
    }

    /// Records how a row fared. `false`: it is not open any more, nothing was changed.
    pub fn settle(&self, seq: i64, what: Settle, now: Timestamp) -> Call<bool> {
        self.write("settle a row", move |s| s.settle(seq, &what, now))
    }

    /// Records how a row fared and, in the same transaction, claims the row that `ahead` chooses of
    /// what is due then. One flush to the disk for both, and one way to the store's thread.
    pub fn settle_and_claim(
        &self,
        seq: i64,
        what: Settle,
        ahead: ClaimNext,
        now: Timestamp,
    ) -> Call<Settled> {
        let mut ahead = Some(ahead);
        self.write("settle a row", move |s| {
            let changed = s.settle(seq, &what, now)?;
            // The choice is made once; where the transaction is run again, the row alone is settled.
            let Some(ahead) = ahead.take().filter(|_| changed) else {
                return Ok(Settled { changed, next: None });
            };
            let heads = s.heads(&ahead.receiver, &ahead.gate, &ahead.held, now)?;
            let next = match (ahead.choose)(&heads) {
                Some(row) => Some(s.claim(row.seq, now)?).map(|claim| (row, claim)),
                None => None,
            };
            Ok(Settled { changed, next })
        })
    }

    /// Queues the rows of a receiver again whose attempt was cut off. To be called before its
    /// dispatcher's first claim. Each keeps its key: a row that was told by itself is not told
    /// inside a summary, a row of a summary only inside that one.
    pub fn recover(&self, receiver: &Arc<str>) -> Call<Vec<Interrupted>> {
        let receiver = Arc::clone(receiver);
        self.write("recover rows", move |s| s.recover(&receiver))
    }

    /// Makes dead letters of all open rows whose receiver is not among `known`, and forgets their open
    /// alerts: nobody would ever send them, and a queue nobody serves is a hidden loss. Returns how many.
    pub fn bury_unknown(&self, known: &[Arc<str>], now: Timestamp) -> Call<usize> {
        let known = known.to_vec();
        self.write("bury rows of unknown receivers", move |s| s.bury_unknown(&known, now))
    }

    /// Makes a row for each of `recipients` of every due row of the receiver that names none. The commit knows
    /// receivers only; from the first attempt on each recipient has a row with a fate of its own. Returns how
    /// many rows there were, at most 200: then there may be more.
    pub fn give_out(&self, receiver: &Arc<str>, recipients: &[Arc<str>], now: Timestamp) -> Call<usize> {
        let (receiver, recipients) = (Arc::clone(receiver), recipients.to_vec());
        self.write("give rows out to recipients", move |s| s.give_out(&receiver, &recipients, now))
    }
}
