//! Which incident a signal belongs to.

use sha2::{Digest, Sha256};

use crate::rule::{GroupBy, Rule};
use crate::signal::Signal;

/// The group of a signal under a rule. Stored, hence a hash that is the same everywhere and for
/// ever: SHA-256 over a canonical encoding, cut to 128 bits.
pub(super) fn key(rule: &Rule, signal: &Signal) -> u128 {
    let mut hash = Sha256::new();
    feed(&mut hash, "rule", &rule.name);
    for part in &rule.group_by {
        match part {
            GroupBy::Cause => feed(&mut hash, "cause", signal.cause.as_str()),
            GroupBy::Namespace => feed(&mut hash, "namespace", signal.namespace().unwrap_or_default()),
            GroupBy::Workload => feed(&mut hash, "workload", &signal.workload),
            GroupBy::Container => {
                feed(&mut hash, "container", signal.container.as_deref().unwrap_or_default());
            }
            GroupBy::Node => feed(&mut hash, "node", signal.node.as_deref().unwrap_or_default()),
            GroupBy::Object => feed(&mut hash, "object", &signal.object.to_string()),
            GroupBy::Reason => feed(&mut hash, "reason", &signal.reason),
        }
    }
    let digest = hash.finalize();
    digest.iter().take(16).fold(0, |acc, byte| (acc << 8) | u128::from(*byte))
}

fn feed(hash: &mut Sha256, name: &str, value: &str) {
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(value.len().to_be_bytes());
    hash.update(value.as_bytes());
}
