//! Where an incident is in its life, with what belongs to that.
//!
//! ```text
//!   signal ──▶ Pending ──▶ Notified ──▶ Ended ──window──▶ forgotten
//!                │  ▲         ▲         │   ▲
//!                │  └silenced┐│        again│gone before anybody was notified
//!                ├──▶ Gathering ◀──┐    ▼   │
//!                │   (a summary)   └─ Reopening
//!                └── gone before anybody was notified: forgotten
//! ```

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::{moved, past};
use crate::message::{Decision, Reason};
use crate::signal::Severity;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub enum Life {
    /// Nobody was notified yet.
    Pending(Pending),
    /// It waits for a summary. Stored as it was before: until the summary is decided nobody is notified.
    Gathering { summary: Summary, notified: Notified, ended: Option<End> },
    /// Somebody was notified, and it is not over.
    Notified(Notified),
    /// Over. It is remembered until the window has passed, so that it can be reopened.
    Ended { notified: Notified, end: End },
    /// It fired again after its end, and nobody was notified of that yet.
    Reopening { notified: Notified, end: End, pending: Pending },
}

/// What a problem waits for before anybody is notified.
#[derive(Debug, Clone, Default)]
pub struct Pending {
    /// Since when it is due (`for` is over); members gather from here.
    pub due_at: Option<Timestamp>,
    /// The incident that holds it back; an index of the table.
    pub(super) held_by: Option<Arc<str>>,
}

/// What was last told, and what follows from that.
#[derive(Debug, Clone, Copy)]
pub struct Notified {
    pub at: Timestamp,
    /// How often it had happened.
    pub occurrences: u64,
    /// How many growth steps the members had passed.
    pub step: usize,
    pub severity: Severity,
    /// The current window ends here.
    pub window_ends: Option<Timestamp>,
    /// Doublings of the window so far.
    pub reminders: u32,
    /// A growth was seen here and gathers.
    pub grew_at: Option<Timestamp>,
    /// Repeats inside the current window are written down.
    pub repeats_noted: bool,
    /// Since when it was due before.
    pub due_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct End {
    pub at: Timestamp,
    pub reason: Reason,
}

/// The summary that an incident waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    /// Of what stood at a first start.
    Standing,
    Storm,
}

impl Summary {
    pub const fn decision(self) -> (Decision, Reason) {
        match self {
            Self::Standing => (Decision::Standing, Reason::Standing),
            Self::Storm => (Decision::Storm, Reason::Storm),
        }
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::Pending(Pending::default())
    }
}

impl Life {
    /// While it waits to be told: also that of one that is reopening.
    pub const fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Pending(pending) | Self::Reopening { pending, .. } => Some(pending),
            _ => None,
        }
    }

    pub const fn pending_mut(&mut self) -> Option<&mut Pending> {
        match self {
            Self::Pending(pending) | Self::Reopening { pending, .. } => Some(pending),
            _ => None,
        }
    }

    /// `None`: nobody was notified ever.
    pub const fn notified(&self) -> Option<&Notified> {
        match self {
            Self::Pending(_) => None,
            Self::Notified(notified)
            | Self::Gathering { notified, .. }
            | Self::Ended { notified, .. }
            | Self::Reopening { notified, .. } => Some(notified),
        }
    }

    pub const fn notified_mut(&mut self) -> Option<&mut Notified> {
        match self {
            Self::Pending(_) => None,
            Self::Notified(notified)
            | Self::Gathering { notified, .. }
            | Self::Ended { notified, .. }
            | Self::Reopening { notified, .. } => Some(notified),
        }
    }

    /// The end, also of one that is reopening.
    pub const fn end(&self) -> Option<&End> {
        match self {
            Self::Ended { end, .. } | Self::Reopening { end, .. } => Some(end),
            _ => None,
        }
    }

    pub fn due_at(&self) -> Option<Timestamp> {
        self.pending().map_or_else(|| self.notified()?.due_at, |pending| pending.due_at)
    }

    /// Everything known so far will be told by a summary.
    pub fn gather(self, summary: Summary, notified: Notified) -> Self {
        Self::Gathering { summary, notified, ended: self.end().cloned() }
    }

    /// It leaves the summary it was gathered for, as it was before.
    pub fn withdraw(self, now: Timestamp) -> Self {
        let Self::Gathering { notified, ended, .. } = self else { return self };
        let pending = Pending { due_at: notified.due_at, held_by: None };
        match ended {
            None => Self::Pending(pending),
            Some(_) => Self::Reopening {
                notified: Notified { step: 0, window_ends: None, ..notified },
                end: End { at: now, reason: Reason::Recovered },
                pending,
            },
        }
    }

    /// Over, unless nobody was ever notified.
    pub fn end_with(self, end: End) -> Self {
        match self {
            Self::Pending(_) => self,
            Self::Gathering { notified, .. }
            | Self::Notified(notified)
            | Self::Ended { notified, .. }
            | Self::Reopening { notified, .. } => {
                let notified = Notified { step: 0, reminders: 0, due_at: None, ..notified };
                Self::Ended { notified, end }
            }
        }
    }

    pub fn reopen(self) -> Self {
        match self {
            Self::Ended { notified, end } => Self::Reopening { notified, end, pending: Pending::default() },
            other => other,
        }
    }

    /// The clock was set by `by` and shows `now`.
    pub fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        if let Some(pending) = self.pending_mut() {
            pending.due_at = pending.due_at.map(|at| moved(at, by));
        }
        if let Some(notified) = self.notified_mut() {
            notified.at = past(notified.at, by, now);
            for at in [&mut notified.window_ends, &mut notified.grew_at, &mut notified.due_at] {
                *at = at.map(|at| moved(at, by));
            }
        }
        if let Self::Ended { end, .. }
        | Self::Reopening { end, .. }
        | Self::Gathering { ended: Some(end), .. } = self
        {
            end.at = past(end.at, by, now);
        }
    }
}

/// As JSON, in one object with the rest of the incident; versions without [`Life`] had these fields.
#[derive(Serialize, Deserialize)]
struct Stored {
    due_at: Option<Timestamp>,
    told_at: Option<Timestamp>,
    told_occurrences: u64,
    told_step: usize,
    told_severity: Severity,
    window_ends: Option<Timestamp>,
    reminders: u32,
    grew_at: Option<Timestamp>,
    #[serde(default)]
    repeats_noted: bool,
    end: Option<End>,
    reopening: bool,
    held_by: Option<Arc<str>>,
}

impl From<Stored> for Life {
    fn from(stored: Stored) -> Self {
        let pending = Pending { due_at: stored.due_at, held_by: stored.held_by };
        let Some(at) = stored.told_at else { return Self::Pending(pending) };
        let notified = Notified {
            at,
            occurrences: stored.told_occurrences,
            step: stored.told_step,
            severity: stored.told_severity,
            window_ends: stored.window_ends,
            reminders: stored.reminders,
            grew_at: stored.grew_at,
            repeats_noted: stored.repeats_noted,
            due_at: pending.due_at,
        };
        match stored.end {
            None => Self::Notified(notified),
            Some(end) if stored.reopening => Self::Reopening { notified, end, pending },
            Some(end) => Self::Ended { notified, end },
        }
    }
}

impl From<Life> for Stored {
    fn from(life: Life) -> Self {
        let life = match life {
            Life::Gathering { notified, ended: None, .. } => {
                Life::Pending(Pending { due_at: notified.due_at, held_by: None })
            }
            Life::Gathering { notified, ended: Some(end), .. } => {
                let pending = Pending { due_at: notified.due_at, held_by: None };
                Life::Reopening { notified, end, pending }
            }
            other => other,
        };
        let notified = life.notified();
        Self {
            due_at: life.due_at(),
            told_at: notified.map(|n| n.at),
            told_occurrences: notified.map_or(0, |n| n.occurrences),
            told_step: notified.map_or(0, |n| n.step),
            told_severity: notified.map_or(Severity::Info, |n| n.severity),
            window_ends: notified.and_then(|n| n.window_ends),
            reminders: notified.map_or(0, |n| n.reminders),
            grew_at: notified.and_then(|n| n.grew_at),
            repeats_noted: notified.is_some_and(|n| n.repeats_noted),
            end: life.end().cloned(),
            reopening: matches!(life, Life::Reopening { .. }),
            held_by: life.pending().and_then(|pending| pending.held_by.clone()),
        }
    }
}
