//! Receivers on a loopback port: Slack, a webhook, a mail server. They record what they get, refuse
//! what the real ones would refuse, and do what a script says: answer badly, hang, hang up.

mod mail;
mod server;
mod slack;
mod slack_check;
mod smtp;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

pub use server::{Reply, WebhookServer};
pub use slack::{SlackMessage, SlackServer};
pub use slack_check::{mentions, violations};
pub use smtp::{ReceivedMail, SmtpReply, SmtpServer, Stream, Upgrade};

/// One HTTP request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Timestamp,
    /// The path with its query.
    pub path: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; replaced where it is not UTF-8.
    pub body: String,
}

impl Received {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What was received, and a way to hear of it.
#[derive(Debug)]
pub struct Record<T> {
    all: Arc<Mutex<Vec<T>>>,
    news: broadcast::Sender<T>,
}

impl<T> Clone for Record<T> {
    fn clone(&self) -> Self {
        Self { all: Arc::clone(&self.all), news: self.news.clone() }
    }
}

impl<T: Clone> Default for Record<T> {
    fn default() -> Self {
        Self { all: Arc::default(), news: broadcast::channel(256).0 }
    }
}

impl<T: Clone> Record<T> {
    fn push(&self, item: T) {
        lock(&self.all).push(item.clone());
        // Nobody may be listening.
        self.news.send(item).ok();
    }

    pub fn all(&self) -> Vec<T> {
        lock(&self.all).clone()
    }

    /// Hears of everything from now on; a slow listener misses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<T> {
        self.news.subscribe()
    }
}

/// A test that panicked while it held a lock has failed already: the data is still of use.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
