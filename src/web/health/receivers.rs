//! Receivers that refuse every message. What they are owed is kept, and another bot would be refused as well: no
//! reason to call this one not ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Check, Health};
use crate::store::Refusal;

/// So many are named.
const NAMED: usize = 10;

pub(super) fn check(refusals: &BTreeMap<Arc<str>, Refusal>) -> Check {
    let (status, detail) = if refusals.is_empty() {
        (Health::Ok, String::from("none refuses"))
    } else {
        let each = refusals.iter().take(NAMED).map(|(name, refusal)| {
            format!("`{name}` refuses every message since {}: {}", refusal.since, refusal.reason)
        });
        let mut detail = each.collect::<Vec<_>>().join("; ");
        if refusals.len() > NAMED {
            detail.push_str(&format!("; and {} more", refusals.len() - NAMED));
        }
        (Health::Degraded, detail)
    };
    Check { name: "receivers".into(), status, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_refuses_degrades_and_is_named() {
        assert_eq!(check(&BTreeMap::new()).status, Health::Ok);
        let since = "2026-02-03T08:00:00Z".parse().unwrap();
        let refusal = Refusal { since, attempts: 2, reason: "401 – check the credentials".into() };
        let found = check(&[(Arc::from("oncall"), refusal)].into());
        assert_eq!(found.status, Health::Degraded);
        let says = "`oncall` refuses every message since 2026-02-03T08:00:00Z: 401 – check the credentials";
        assert_eq!(found.detail, says);
    }
}
