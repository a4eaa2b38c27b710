//! What is open and what keeps the bot from its work, put together from all its parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;

use super::WebState;
use super::api::Command;
use super::health::{self, Health};
use crate::message::status::{FailedCheck, ReceiverTrouble, Status};
use crate::outbox::Trouble;
use crate::store::{OutboxEntry, OutboxQuery, OutboxStates, ReceiverSize, Store, StoreError, Throttle};

/// A store that takes longer is left out, and its check says so.
const STORE: Duration = Duration::from_secs(3);
/// So many receivers in trouble are listed.
const MAX_RECEIVERS: usize = 100;
/// So many rows of a receiver are looked at for one that was tried.
const ROWS: usize = 100;

/// Everything that `kubeherald status` shows; otherwise a status and a text that say why not.
pub(super) async fn gather(state: &WebState, most: usize) -> Result<Status, (StatusCode, String)> {
    let answer = state.control().answer(Command::Status { most }).await?;
    let mut status: Status = serde_json::from_value(answer).map_err(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("the answer cannot be read: {error}"))
    })?;
    let sources = state.0.metrics.sources();
    let now = state.0.metrics.clock().now();
    let troubles = sources.outbox.troubles();
    let receivers = receivers(&sources.store, &troubles, now);
    match tokio::time::timeout(STORE, receivers).await {
        Ok(Ok(found)) => status.receivers = found,
        Ok(Err(error)) => tracing::warn!(%error, "how receivers are doing cannot be read"),
        Err(_) => tracing::warn!("how receivers are doing cannot be read: the store does not answer"),
    }
    let checks = health::checks(state).await.into_iter().filter(|check| check.status != Health::Ok);
    status.checks = checks
        .map(|check| FailedCheck {
            check: check.name,
            status: check.status.as_str().to_owned(),
            detail: check.detail,
        })
        .collect();
    Ok(status)
}

/// Receivers that do not take messages, and those that did not take all of them, by name. `troubles`: as the
/// dispatchers know them.
pub async fn receivers(
    store: &Store,
    troubles: &BTreeMap<Arc<str>, Trouble>,
    now: Timestamp,
) -> Result<Vec<ReceiverTrouble>, StoreError> {
    let sizes = store.sizes().await?.receivers;
    let throttles = store.throttles(now).await?;
    let names: BTreeSet<String> = sizes
        .iter()
        .map(|size| size.receiver.clone())
        .chain(troubles.keys().map(ToString::to_string))
        .collect();
    let mut found = Vec::new();
    for name in names.into_iter().take(MAX_RECEIVERS) {
        let size = sizes.iter().find(|size| size.receiver == name).cloned().unwrap_or_default();
        let query = OutboxQuery {
            receiver: Some(name.clone()),
            states: OutboxStates::Undelivered,
            limit: ROWS,
            ..OutboxQuery::default()
        };
        let rows = store.outbox(query).await?;
        let tried = rows.iter().find(|row| row.state != "dead" && row.attempts > 0 && !row.reason.is_empty());
        let throttle = throttles.iter().find(|throttle| throttle.name == name);
        found.extend(trouble(name.as_str(), &size, troubles.get(name.as_str()), throttle, tried));
    }
    Ok(found)
}

/// What is the matter with a receiver; `None`: nothing.
fn trouble(
    name: &str,
    size: &ReceiverSize,
    known: Option<&Trouble>,
    throttle: Option<&Throttle>,
    tried: Option<&OutboxEntry>,
) -> Option<ReceiverTrouble> {
    let until = throttle.map(|throttle| throttle.until);
    let (state, since, next_attempt, reason) = match (known, tried, throttle) {
        (Some(Trouble { outage, refusing, .. }), ..) => {
            let state = if *refusing { "refusing" } else { "failing" };
            (state, Some(outage.since), until.max(tried.and_then(|row| row.not_before)), &outage.reason)
        }
        (None, Some(row), _) => ("failing", Some(row.created_at), until.max(row.not_before), &row.reason),
        (None, None, Some(throttle)) => ("paused", size.oldest, until, &throttle.reason),
        (None, None, None) if size.dead > 0 => ("dead_letters", None, None, &String::new()),
        _ => return None,
    };
    Some(ReceiverTrouble {
        receiver: name.to_owned(),
        state: state.to_owned(),
        since,
        next_attempt,
        waiting: size.queued + size.sending,
        dead: size.dead,
        reason: reason.clone(),
        fallback: known.and_then(|known| known.fallback.as_deref()).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Outage;

    #[test]
    fn a_receiver_is_named_with_the_worst_that_is_the_matter() {
        let at: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        let outage = |reason: &str| Outage { since: at, attempts: 3, reason: reason.into(), waiting: 3 };
        let refusal = Trouble { outage: outage("401"), refusing: true, fallback: None };
        let down = Trouble { outage: outage("503"), refusing: false, fallback: Some("hook".into()) };
        let throttle = Throttle { name: "mail".into(), until: at, reason: "429".into() };
        let size = |dead| ReceiverSize { receiver: "mail".into(), queued: 2, sending: 1, dead, oldest: None };
        let row = OutboxEntry {
            seq: 1,
            key: "a-1-mail".into(),
            receiver: "mail".into(),
            recipient: String::new(),
            thread: "a".into(),
            state: "queued".into(),
            attempts: 4,
            created_at: at,
            not_before: None,
            ended_at: None,
            reason: "connection refused".into(),
            inside: None,
            title: String::new(),
        };
        assert_eq!(trouble("mail", &size(0), Some(&down), None, None).unwrap().fallback.unwrap(), "hook");
        let of = |refusal, throttle, row, dead| {
            trouble("mail", &size(dead), refusal, throttle, row).map(|t| (t.state, t.reason, t.waiting))
        };
        let is = |state: &str, reason: &str| Some((state.to_owned(), reason.to_owned(), 3));
        assert_eq!(of(Some(&refusal), Some(&throttle), Some(&row), 1), is("refusing", "401"));
        assert_eq!(of(Some(&down), None, Some(&row), 1), is("failing", "503"));
        assert_eq!(of(None, Some(&throttle), Some(&row), 1), is("failing", "connection refused"));
        assert_eq!(of(None, Some(&throttle), None, 1), is("paused", "429"));
        assert_eq!(of(None, None, None, 1), is("dead_letters", ""));
        assert_eq!(of(None, None, None, 0), None, "what is queued and goes next is no trouble");
    }
}
