//! `/livez` and `/readyz`
//!
//! Alive says that the process is worth keeping: only a stuck engine loop says no, because nothing
//! else is mended by a restart. Ready says that problems in the cluster are seen and kept.

mod receivers;
pub mod vital;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::WebState;
use crate::clock;
use crate::message::text::words;
use crate::metrics::{ConfigStats, LimitStats};
use crate::store::{StoreError, StoreHealth};
use crate::watch::stream::{KindStatus, WatchState};

/// The engine's loop goes round every few seconds.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// Twice what a watch may be silent before it is started anew. A kind that may not be read is
/// asked for at most every five minutes, and is then given as much again.
const FRESH: Duration = Duration::from_secs(300);
const FRESH_BLIND: Duration = Duration::from_secs(600);
/// For one commit, on a disk that is slow.
const WRITABLE: Duration = Duration::from_secs(3);

/// Clocks that NTP keeps are closer together.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(30);

/// How many namespaces a check names.
const MAX_NAMED: usize = 10;

/// How one check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Health {
    Ok,
    /// Something is missing that the others do not need.
    Degraded,
    Failed,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    #[serde(rename = "check")]
    pub name: String,
    pub status: Health,
    pub detail: String,
}

pub(super) async fn livez(State(state): State<WebState>) -> Response {
    let beat = state.0.heartbeat.load(Ordering::Relaxed);
    match stuck(beat, state.0.metrics.started(), state.0.metrics.clock().now()) {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(silent) => {
            let detail = format!("the engine's loop has been silent for {} s\n", silent.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}

/// For how long the loop has been silent, if too long.
fn stuck(beat: i64, started: Timestamp, now: Timestamp) -> Option<Duration> {
    // Before its first round the loop is as old as the process.
    let beat = Timestamp::from_millisecond(beat).unwrap_or_default().max(started);
    Some(clock::between(beat, now)).filter(|silent| *silent >= HEARTBEAT)
}

pub(super) async fn readyz(State(state): State<WebState>) -> Response {
    let sources = state.0.metrics.sources();
    let watches = sources.watch.snapshot();
    let engine = sources.engine.load_full();
    let mut checks = vec![first_lists(engine.synced, &watches)];
    checks.extend(watch_checks(&watches, state.0.metrics.started(), state.0.metrics.clock().now()));
    checks.extend(engine.limit.as_ref().map(incidents));
    checks.extend(clocks(engine.clock_ahead));
    checks.push(config(&sources.config.load()));
    checks.push(receivers::check(&sources.outbox.troubles()));
    checks.push(store(&state).await);
    let status = if checks.iter().any(|check| check.status == Health::Failed) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    match body(status == StatusCode::OK, &checks) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "readiness cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn first_lists(synced: bool, watches: &[KindStatus]) -> Check {
    let waiting: Vec<_> = watches
        .iter()
        .filter(|watch| watch.lists == 0 && watch.state != WatchState::Blind)
        .map(|watch| watch.kind.as_str())
        .collect();
    let (status, detail) = if !waiting.is_empty() {
        (Health::Failed, format!("not listed yet: {}", waiting.join(", ")))
    } else if synced {
        (Health::Ok, String::from("the first picture of the cluster is complete"))
    } else {
        (Health::Failed, String::from("the lists are being taken in"))
    };
    Check { name: "first_lists".into(), status, detail }
}

fn watch_checks(watches: &[KindStatus], started: Timestamp, now: Timestamp) -> Vec<Check> {
    let mut checks: Vec<_> = watches.iter().map(|watch| watch_check(watch, started, now)).collect();
    // Where nothing at all can be read, degraded is too mild a word.
    let nothing =
        |watch: &KindStatus| watch.state == WatchState::Blind && watch.blind_namespaces == watch.namespaces;
    if watches.iter().all(nothing) {
        for check in &mut checks {
            check.status = Health::Failed;
        }
    }
    checks
}

fn watch_check(watch: &KindStatus, started: Timestamp, now: Timestamp) -> Check {
    let silent = clock::between(watch.last_activity.unwrap_or(started), now);
    let error = watch.last_error.as_deref().unwrap_or("unknown");
    let heard = format!("{}, last heard {} s ago", watch.state.as_str(), silent.as_secs());
    let (status, detail) = match watch.state {
        WatchState::Blind if watch.not_permitted && silent < FRESH_BLIND => {
            (Health::Ok, format!("not watched: not permitted ({error})"))
        }
        WatchState::Blind if watch.forbidden && silent < FRESH_BLIND && watch.namespaces > 0 => {
            let (blind, all) = (watch.blind_namespaces, watch.namespaces);
            (Health::Degraded, format!("cannot be read in {blind} of {all} namespaces: {error}"))
        }
        // The server answers, but this kind it does not give: no restart mends that.
        WatchState::Blind if watch.forbidden && silent < FRESH_BLIND => {
            (Health::Degraded, format!("cannot be read: {error}"))
        }
        // What happens in the cluster is not seen, for longer than `watch.blind_after`.
        WatchState::Blind => (Health::Failed, format!("cannot be read: {error}; {heard}")),
        WatchState::Failing if silent < FRESH => (Health::Degraded, format!("{heard}: {error}")),
        WatchState::Failing => (Health::Failed, format!("{heard}: {error}")),
        WatchState::Listing | WatchState::Watching if silent < FRESH => (Health::Ok, heard),
        WatchState::Listing | WatchState::Watching => (Health::Failed, heard),
    };
    Check { name: format!("watch/{}", watch.kind), status, detail }
}

/// Only at the limit. Room is shared fairly: most problems are followed also at the limit, but not all.
fn incidents(limit: &LimitStats) -> Check {
    let left = limit.left_out.iter().take(MAX_NAMED).map(|(of, n)| format!("{of} {n}"));
    let left = left.collect::<Vec<_>>().join(", ");
    let detail = format!(
        "at the limit of {} (`engine.max_incidents`), most of {} ({}); problems not followed: {left}",
        limit.limit, limit.largest, limit.largest_count
    );
    Check { name: "incidents".into(), status: Health::Degraded, detail }
}

/// Only where the clocks differ by so much that times in messages mislead.
fn clocks(ahead: SignedDuration) -> Option<Check> {
    if ahead.abs() < CLOCKS_DIFFER {
        return None;
    }
    let detail = format!(
        "the clock of this machine is {} {} the API server's; times of objects are corrected by that",
        words::duration(ahead.abs().as_secs()),
        if ahead.is_negative() { "behind" } else { "ahead of" }
    );
    Some(Check { name: "clock".into(), status: Health::Degraded, detail })
}

/// A configuration with errors is no reason to send nobody here: the last good one goes on.
fn config(stats: &ConfigStats) -> Check {
    let (status, detail) = match &stats.error {
        None => (Health::Ok, format!("in force since {}", stats.last_success)),
        Some(error) => (Health::Degraded, format!("not in force, the last good one goes on: {error}")),
    };
    Check { name: "config".into(), status, detail }
}

async fn store(state: &WebState) -> Check {
    let ask = || async {
        match tokio::time::timeout(WRITABLE, state.store().writable().into_future()).await {
            Ok(written) => written.map_err(|error: StoreError| error.to_string()),
            Err(_) => Err(format!("no commit within {} s", WRITABLE.as_secs())),
        }
    };
    let (status, detail) = match state.0.writable.get(ask).await {
        Ok(()) => kept(&state.store().health()),
        Err(error) => (Health::Failed, error),
    };
    Check { name: "store".into(), status, detail }
}

/// Where a commit succeeds, it may still be in memory only.
fn kept(health: &StoreHealth) -> (Health, String) {
    if let Some(why) = &health.in_memory {
        let (bytes, max) = (health.memory_bytes, health.memory_max);
        return (Health::Degraded, format!("kept in memory only ({bytes} of {max} bytes): {why}"));
    }
    if health.over_budget {
        let detail = "`store.max_bytes` is too little for what is owed and what stands";
        return (Health::Degraded, detail.to_owned());
    }
    if health.reserve == Some(false) {
        let detail = "writable, but the reserve is used up: the volume is nearly full";
        return (Health::Degraded, detail.to_owned());
    }
    (Health::Ok, "writable".to_owned())
}

/// JSON with one check a line, for programs and for people who look with `curl`.
fn body(ready: bool, checks: &[Check]) -> serde_json::Result<String> {
    let lines: Vec<_> = checks.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(format!("{{\"ready\":{ready},\"checks\":[\n{}\n]}}\n", lines.join(",\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Kind;

    fn watch(kind: Kind, state: WatchState, heard: Option<i64>) -> KindStatus {
        KindStatus {
            kind,
            state,
            last_activity: heard.map(|s| Timestamp::from_second(s).unwrap()),
            forbidden: state == WatchState::Blind,
            requests: 1,
            delayed: 0,
            lists: u64::from(state == WatchState::Watching),
            restarts: 0,
            bad_objects: 0,
            last_error: (state != WatchState::Watching).then(|| "403: no".to_owned()),
            not_permitted: false,
            namespaces: 0,
            blind_namespaces: 0,
        }
    }

    fn checked(watches: &[KindStatus], now: i64) -> Vec<Health> {
        let at = |s| Timestamp::from_second(s).unwrap();
        watch_checks(watches, at(0), at(now)).iter().map(|check| check.status).collect()
    }

    #[test]
    fn a_kind_that_may_not_be_read_degrades_and_a_silent_one_fails() {
        use Health::{Degraded, Failed, Ok};
        use WatchState::{Blind, Failing, Listing, Watching};
        for (state, heard, now, expected) in [
            (Watching, Some(1000), 1299, Ok),
            (Watching, Some(1000), 1300, Failed),
            (Listing, None, 299, Ok),
            (Listing, None, 300, Failed),
            (Failing, Some(1000), 1299, Degraded),
            (Failing, Some(1000), 1300, Failed),
            (Blind, Some(1000), 1599, Degraded),
            (Blind, Some(1000), 1600, Failed),
        ] {
            let other = watch(Kind::Node, Watching, Some(now));
            let found = checked(&[watch(Kind::Pod, state, heard), other], now);
            assert_eq!(found, [expected, Ok], "{state:?} {heard:?} at {now}");
        }
    }

    #[test]
    fn what_a_namespaced_install_may_not_read_is_information_and_what_it_may_not_read_in_part_degrades() {
        let nodes = KindStatus { not_permitted: true, ..watch(Kind::Node, WatchState::Blind, Some(10)) };
        let part = |blind_namespaces| KindStatus {
            namespaces: 3,
            blind_namespaces,
            ..watch(Kind::Pod, WatchState::Blind, Some(10))
        };
        assert_eq!(checked(&[nodes.clone(), part(1)], 11), [Health::Ok, Health::Degraded]);
        let check = watch_check(&part(1), Timestamp::UNIX_EPOCH, Timestamp::from_second(11).unwrap());
        assert!(check.detail.starts_with("cannot be read in 1 of 3 namespaces: "), "{}", check.detail);
        assert_eq!(checked(&[nodes, part(3)], 11), [Health::Failed, Health::Failed]);
    }

    #[test]
    fn a_kind_that_could_not_be_seen_for_too_long_fails_at_once() {
        let failing = KindStatus { forbidden: false, ..watch(Kind::Pod, WatchState::Blind, Some(1000)) };
        let other = watch(Kind::Node, WatchState::Watching, Some(1001));
        assert_eq!(checked(&[failing, other], 1001), [Health::Failed, Health::Ok]);
    }

    #[test]
    fn nothing_to_be_read_at_all_is_a_failure() {
        let kinds = [Kind::Pod, Kind::Node].map(|kind| watch(kind, WatchState::Blind, Some(10)));
        assert_eq!(checked(&kinds, 11), [Health::Failed, Health::Failed]);
    }

    #[test]
    fn the_limit_on_incidents_degrades_and_names_who_fills_it() {
        let limit = LimitStats {
            limit: 50,
            largest: "noisy".into(),
            largest_count: 45,
            left_out: vec![("noisy".into(), 12), ("the cluster".into(), 1)],
        };
        let check = incidents(&limit);
        assert_eq!((check.status, check.name.as_str()), (Health::Degraded, "incidents"));
        for part in ["limit of 50", "most of noisy (45)", "noisy 12, the cluster 1"] {
            assert!(check.detail.contains(part), "{}", check.detail);
        }
    }

    #[test]
    fn clocks_that_differ_by_much_degrade_and_say_by_how_much() {
        assert_eq!(clocks(SignedDuration::from_secs(-29)), None);
        for (seconds, part) in [(130, "is 2m 10s ahead of the API"), (-3_600, "is 1h behind the API")] {
            let check = clocks(SignedDuration::from_secs(seconds)).unwrap();
            assert_eq!(check.status, Health::Degraded);
            assert!(check.detail.contains(part), "{}", check.detail);
        }
    }

    #[test]
    fn a_loop_that_went_silent_is_stuck() {
        let at = |s| Timestamp::from_second(s).unwrap();
        for (beat, now, expected) in [
            (0, 1059, None),
            (0, 1060, Some(60)),
            (2_000_000, 2059, None),
            (2_000_000, 2060, Some(60)),
            // The clock was set back.
            (2_000_000, 1500, None),
            (i64::MIN, 1059, None),
        ] {
            let found = stuck(beat, at(1000), at(now)).map(|silent| silent.as_secs());
            assert_eq!(found, expected, "{beat} at {now}");
        }
    }

    #[test]
    fn the_first_lists_are_waited_for_except_of_blind_kinds() {
        let listed = watch(Kind::Pod, WatchState::Watching, Some(1));
        let blind = watch(Kind::Node, WatchState::Blind, Some(1));
        let listing = watch(Kind::Event, WatchState::Listing, Some(1));
        assert_eq!(first_lists(true, &[listed.clone(), blind.clone()]).status, Health::Ok);
        assert_eq!(first_lists(false, &[listed.clone(), blind.clone()]).status, Health::Failed);
        let check = first_lists(true, &[listed, blind, listing]);
        assert_eq!((check.status, check.detail.as_str()), (Health::Failed, "not listed yet: Event"));
    }
}
