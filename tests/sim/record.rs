//! What could be seen from outside during a run. The checks read this, the plan, and nothing of the bot.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::plan::Ms;

/// A notification that an HTTP receiver took.
#[derive(Debug, Clone)]
pub struct Taken {
    pub at: Ms,
    /// Counts the lives of the bot from 0.
    pub life: usize,
    pub receiver: &'static str,
    /// The idempotency key.
    pub key: String,
    pub body: Value,
    /// The whole answer was handed over: the bot knows that it was taken.
    pub answered: bool,
}

impl Taken {
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn seq(&self) -> u64 {
        self.body.get("seq").and_then(Value::as_u64).unwrap_or_default()
    }

    /// When the bot decided it, by its own clock.
    pub fn decided(&self) -> Option<Timestamp> {
        self.text("/at").parse().ok()
    }
}

/// A mail that was taken for one recipient.
#[derive(Debug, Clone)]
pub struct Mail {
    pub at: Ms,
    pub life: usize,
    pub to: String,
    /// `Message-ID`
    pub id: String,
    /// `X-Kubeherald-Thread`
    pub thread: String,
    pub raw: String,
    /// The bot was told so.
    pub answered: bool,
}

/// One alert in a request to Alertmanager.
#[derive(Debug, Clone)]
pub struct Alert {
    pub at: Ms,
    pub labels: BTreeMap<String, String>,
    pub ends_at: Option<Timestamp>,
}

/// What `/readyz` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub at: Ms,
    pub status: u16,
    /// Checks that were not in order, with what they said.
    pub wrong: Vec<(String, String)>,
}

/// How a life of the bot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifeEnd {
    Killed,
    Stopped,
    /// It ended by itself.
    Exited(String),
    /// The run is over.
    Over,
}

#[derive(Debug, Clone)]
pub struct Life {
    pub from: Ms,
    pub to: Ms,
    pub end: LifeEnd,
}

/// A row of the history, in the words of the store.
#[derive(Debug, Clone)]
pub struct HistoryLine {
    pub at: Timestamp,
    pub incident: Option<String>,
    pub decision: Option<String>,
    pub reason: String,
    pub namespace: Option<String>,
    pub workload: String,
    pub detail: String,
}

impl HistoryLine {
    /// What the keys of its notifications begin with.
    pub fn key(&self) -> Option<String> {
        let detail: Value = serde_json::from_str(&self.detail).ok()?;
        Some(detail.get("key")?.as_str()?.to_owned())
    }

    /// What an incident waited for that ended before anybody was notified.
    pub fn waited(&self) -> Option<String> {
        let detail: Value = serde_json::from_str(&self.detail).ok()?;
        Some(detail.pointer("/waited/reason")?.as_str()?.to_owned())
    }
}

/// A row of the outbox, in the words of the store.
#[derive(Debug, Clone)]
pub struct OutboxLine {
    pub key: String,
    pub receiver: String,
    pub state: String,
    pub reason: String,
    pub inside: Option<String>,
}

/// A silence that the bot has confirmed.
#[derive(Debug, Clone)]
pub struct Silenced {
    pub namespace: &'static str,
    pub workload: String,
    pub from: Ms,
    pub to: Ms,
}

#[derive(Debug, Clone, Default)]
pub struct Record {
    pub taken: Vec<Taken>,
    pub mails: Vec<Mail>,
    pub alerts: Vec<Alert>,
    pub ready: Vec<Ready>,
    pub lives: Vec<Life>,
    pub silenced: Vec<Silenced>,
    /// When each resource was asked for (lists and watches).
    pub requests: BTreeMap<String, Vec<Ms>>,
    pub history: Vec<HistoryLine>,
    pub outbox: Vec<OutboxLine>,
    /// Every error that the wall clock of the bot had: from when, and by how much (ms).
    pub skews: Vec<(Ms, i64)>,
    /// The largest request body, by receiver.
    pub largest: BTreeMap<&'static str, usize>,
    /// Bytes on the disk at the end, and the most there were.
    pub disk: (u64, u64),
    /// Things that the world itself found wrong while the run went on.
    pub broken: Vec<(Ms, &'static str, String)>,
    /// How often each fault was really met, not only planned.
    pub met: BTreeMap<String, u64>,
}
