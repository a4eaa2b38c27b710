//! Receivers that do not work. What they are owed is kept, and another bot would not reach them either: no reason to
//! call this one not ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Check, Health};
use crate::outbox::Trouble;

/// So many are named.
const NAMED: usize = 10;

pub(super) fn check(troubles: &BTreeMap<Arc<str>, Trouble>) -> Check {
    let (status, detail) = if troubles.is_empty() {
        (Health::Ok, String::from("all work, as far as is known"))
    } else {
        let each = troubles.iter().take(NAMED).map(|(name, trouble)| line(name, trouble));
        let mut detail = each.collect::<Vec<_>>().join("; ");
        if troubles.len() > NAMED {
            detail.push_str(&format!("; and {} more", troubles.len() - NAMED));
        }
        (Health::Degraded, detail)
    };
    Check { name: "receivers".into(), status, detail }
}

fn line(name: &str, Trouble { outage, refusing, fallback }: &Trouble) -> String {
    let how = if *refusing { "refuses every message" } else { "has not worked" };
    let (since, reason, waiting) = (outage.since, &outage.reason, outage.waiting);
    let to = fallback.as_ref().map(|to| format!(", its messages go to `{to}`")).unwrap_or_default();
    format!("`{name}` {how} since {since}: {reason} ({waiting} waiting{to})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Outage;

    #[test]
    fn a_receiver_that_does_not_work_degrades_and_is_named() {
        assert_eq!(check(&BTreeMap::new()).status, Health::Ok);
        let since = "2026-02-03T08:00:00Z".parse().unwrap();
        let outage =
            |reason: &str, waiting| Outage { since, attempts: 2, reason: reason.to_owned(), waiting };
        let refusing =
            Trouble { outage: outage("401 – check the credentials", 3), refusing: true, fallback: None };
        let failing =
            Trouble { outage: outage("HTTP 503", 1), refusing: false, fallback: Some(Arc::from("mail")) };
        let found = check(&[(Arc::from("oncall"), refusing), (Arc::from("slack"), failing)].into());
        assert_eq!(found.status, Health::Degraded);
        let says = "`oncall` refuses every message since 2026-02-03T08:00:00Z: 401 – check the credentials (3 waiting); \
                    `slack` has not worked since 2026-02-03T08:00:00Z: HTTP 503 (1 waiting, its messages go to `mail`)";
        assert_eq!(found.detail, says);
    }
}
