//! How each receiver wants to be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;

#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Several incidents may come in one message. Receivers that open and close something for each do
    /// not want that.
    pub fold: bool,
    pub send_resolved: bool,
    /// It gets digests, and of incidents nothing else.
    pub digest: bool,
}

/// The policies of all receivers, shared by the messages of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Policies(Arc<BTreeMap<Arc<str>, Policy>>);

impl Policies {
    pub fn of(config: &Config) -> Self {
        let policy = |r: &crate::config::Receiver| {
            let policy =
                Policy { fold: r.spec.fold, send_resolved: r.send_resolved, digest: r.digest.is_some() };
            (Arc::clone(&r.spec.name), policy)
        };
        Self(Arc::new(config.receivers.iter().map(policy).collect()))
    }

    /// A receiver that is not configured (any more) has the policy of the terminal.
    pub fn get(&self, receiver: &str) -> Policy {
        let terminal = Policy { fold: true, send_resolved: true, digest: false };
        self.0.get(receiver).copied().unwrap_or(terminal)
    }
}
