use super::*;
use crate::config::load_shipped;
use crate::signal::Cause;

/// `at decision rule`, of signals under the shipped rules.
fn told(signals: &[(u64, Cause, Option<crate::signal::Phase>)], then: Duration) -> Vec<String> {
    let config = load_shipped().unwrap().config;
    let signals: Vec<Given> = signals
        .iter()
        .map(|(at, cause, phase)| Given {
            at: Duration::from_secs(*at),
            cause: Some(*cause),
            phase: *phase,
            ..Given::default()
        })
        .collect();
    let (start, told, _) = signalled(&signals, then, Duration::ZERO, &config);
    let line = |m: &Message| ["at", "decision", "rule"].map(|field| got(m, start, field)).join(" ");
    told.iter().map(line).collect()
}

const LONG: Duration = Duration::from_secs(3 * 3600);

#[test]
fn a_problem_stands_until_it_is_cleared() {
    use crate::signal::Phase::{Cleared, Gone};
    let pull = Cause::ImagePullBackOff;
    assert_eq!(told(&[(0, pull, None)], LONG), ["35s first image-pull", "1h35s reminder image-pull"]);
    assert_eq!(
        told(&[(0, pull, None), (60, pull, Some(Cleared))], LONG),
        ["35s first image-pull", "1m30s resolved image-pull"]
    );
    assert_eq!(
        told(&[(0, pull, None), (60, pull, Some(Gone))], LONG),
        ["35s first image-pull", "1m30s resolved image-pull"]
    );
}

#[test]
fn what_events_tell_is_over_after_resolve_after() {
    assert_eq!(
        told(&[(0, Cause::FailedMount, None)], LONG),
        ["50s first failed-mount", "15m30s resolved failed-mount"]
    );
    assert_eq!(told(&[(0, Cause::Evicted, None)], LONG), ["20s first evicted", "15m resolved evicted"]);
}

#[test]
fn what_cannot_be_read_any_more_does_not_end() {
    use crate::signal::Phase::Lost;
    let pull = Cause::ImagePullBackOff;
    let signals = [(0, pull, None), (60, pull, Some(Lost))];
    assert!(!told(&signals, LONG).iter().any(|line| line.contains("resolved")));
}
