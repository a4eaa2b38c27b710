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
    told_under(&config, &signals, then).0
}

fn told_under(config: &Config, signals: &[Given], then: Duration) -> (Vec<String>, Vec<String>) {
    let (start, told, silent) = signalled(signals, then, Duration::ZERO, config);
    let line = |m: &Message| ["at", "decision", "rule"].map(|field| got(m, start, field)).join(" ");
    (told.iter().map(line).collect(), silent)
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

/// Virtual time begins with 2026, a Thursday.
#[test]
fn silences_mute_times_and_annotations_hold_on_virtual_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = |text: &str| {
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, text).unwrap();
        crate::config::load(Some(&path), &[]).unwrap_or_else(|found| panic!("{found}")).config
    };
    let crash = || Given { cause: Some(Cause::CrashLoopBackOff), ..Given::default() };
    let hour = Duration::from_secs(3600);
    let silenced =
        config("silences: [{name: s, match: {namespace: default}, until: \"2026-01-01T00:20:00Z\"}]");
    let (told, silent) = told_under(&silenced, &[crash()], hour);
    assert_eq!(told, ["20m first crash-loop"]);
    assert_eq!(silent, ["5s crash-loop Deployment/app: silenced_by s"]);
    let muted = config("mute_times: [{name: m, weekdays: thu, from: \"00:00\", to: \"00:30\"}]");
    assert_eq!(told_under(&muted, &[crash()], hour).0, ["30m first crash-loop"]);

    let key = crate::signal::silence::SILENCE_UNTIL.to_owned();
    let until = |at: &str| Given { annotations: vec![(key.clone(), at.to_owned())], ..crash() };
    let (told, silent) = told_under(&config("cluster: x"), &[until("2026-01-01T00:10:00Z")], hour);
    assert_eq!(told, ["10m first crash-loop"]);
    assert!(silent[0].ends_with("silenced_by annotation kubeherald.io/silence-until of Pod/default/app-1"));
    let (told, silent) = told_under(&config("cluster: x"), &[until("2027-01-01T00:10:00Z")], hour);
    assert!(told.is_empty() && silent.len() == 1, "nothing waits for `for`: {silent:?}");
}
