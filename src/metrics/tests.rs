//! What a scrape says.

use std::collections::BTreeMap;

use super::families::{STATES, holds, reasons};
use super::*;
use crate::clock;
use crate::notify::{Attempt, Deliver, Outcome};
use crate::outbox::Policy;
use crate::watch::Kind;
use crate::watch::logs::LogOutcome;

fn metrics(stats: EngineStats) -> Metrics {
    let store = Store::memory().unwrap();
    Metrics::new(Sources {
        engine: Arc::new(ArcSwap::from_pointee(stats)),
        config: Arc::new(ArcSwap::from_pointee(ConfigStats::begun("0123456789abcdef".into(), clock::now()))),
        watch: WatchStatus::new(&Kind::ALL),
        outbox: Outbox::new(store.clone(), Clock::System, Policy::default()),
        logs: Arc::default(),
        heartbeat: Arc::default(),
        store,
    })
}

struct Nobody;

impl Deliver for Nobody {
    fn time_limit(&self) -> std::time::Duration {
        std::time::Duration::from_secs(30)
    }

    async fn deliver(&self, _: Attempt<'_>) -> Outcome {
        Outcome::Delivered { handle: None }
    }
}

/// Series and values; a series told twice fails.
fn series(text: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(all.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {name}");
    }
    all
}

#[tokio::test]
async fn every_label_value_is_there_from_the_start() {
    let text = metrics(EngineStats::default()).render(Exposition::Text).await.unwrap();
    let all = series(&text);
    let zero = |name: String| assert_eq!(all.get(&name), Some(&0.0), "{name}");
    for cause in Cause::ALL {
        zero(format!("kubeherald_signals_total{{cause=\"{cause}\"}}"));
    }
    for decision in Decision::ALL {
        for reason in reasons(*decision) {
            zero(format!("kubeherald_decisions_total{{decision=\"{decision}\",reason=\"{reason}\"}}"));
        }
    }
    for reason in Reason::ALL.iter().filter(|reason| holds(**reason)) {
        zero(format!("kubeherald_held_total{{reason=\"{reason}\"}}"));
    }
    for outcome in LogOutcome::ALL {
        zero(format!("kubeherald_log_tails_total{{outcome=\"{}\"}}", outcome.as_str()));
    }
    for state in STATES {
        zero(format!("kubeherald_incidents{{state=\"{state}\"}}"));
    }
    for kind in Kind::ALL {
        zero(format!("kubeherald_watch_up{{kind=\"{kind}\"}}"));
        for counter in ["restarts", "requests", "requests_delayed"] {
            zero(format!("kubeherald_watch_{counter}_total{{kind=\"{kind}\"}}"));
        }
        let age = all[&format!("kubeherald_watch_last_activity_age_seconds{{kind=\"{kind}\"}}")];
        assert!((0.0..60.0).contains(&age));
    }
    zero("kubeherald_config_reloads_total{result=\"success\"}".into());
    zero("kubeherald_config_reloads_total{result=\"failure\"}".into());
    for name in ["kubeherald_config_last_reload_successful", "kubeherald_config_info{hash=\"0123456789ab\"}"]
    {
        assert_eq!(all.get(name), Some(&1.0), "{name}");
    }
    assert!(all["kubeherald_config_last_reload_success_timestamp_seconds"] > 1.0e9);
    zero("kubeherald_refused_total".into());
    zero("kubeherald_synced".into());
    assert!(all["kubeherald_store_bytes"] > 0.0);
    let build = format!("kubeherald_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(all.get(&build), Some(&1.0));
}

#[test]
fn a_reason_holds_or_tells() {
    let held: Vec<_> = Reason::ALL.iter().filter(|reason| holds(**reason)).map(|r| r.as_str()).collect();
    assert_eq!(
        held.join(" "),
        "not_yet_for group_wait within_window inhibited_by silenced_by muted never_told below_count \
         over_limit no_rule"
    );
}

#[tokio::test]
async fn what_the_parts_know_is_told() {
    let metrics = metrics(EngineStats {
        signals: BTreeMap::from([(Cause::OOMKilled, 7)]),
        // A pair that is not in the table of those that occur.
        decisions: BTreeMap::from([((Decision::First, Reason::Standing), 2)]),
        held: BTreeMap::from([(Reason::WithinWindow, 43)]),
        incidents: BTreeMap::from([("firing", 3)]),
        memory: vec![("pods", 150_000)],
        refused: 5,
        displaced: 0,
        limit: None,
        not_queued: 0,
        bad_annotations: 0,
        forged: BTreeMap::new(),
        cut: BTreeMap::new(),
        clock_steps: ClockSteps { forward: 0, back: 2 },
        clock_ahead: jiff::SignedDuration::from_secs(-90),
        synced: true,
        blind: vec!["Event".into()],
    });
    // A receiver has numbers as soon as it has a desk.
    let spec = crate::outbox::ReceiverSpec {
        name: Arc::from("on\"call"),
        limit: crate::outbox::Limit { per: Duration::from_secs(1), messages: 1, burst: 1 },
        max_age: Duration::from_secs(60),
        credential: None,
        fold: true,
        fallback: None,
    };
    let outbox = &metrics.sources().outbox;
    drop(outbox.dispatcher(spec, Nobody));
    outbox.counters()[0].1.retried.store(4, Ordering::Relaxed);
    outbox.counters()[0].1.folded.store(480, Ordering::Relaxed);

    let text = metrics.render(Exposition::OpenMetrics).await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    let all = series(&text);
    for (name, value) in [
        ("kubeherald_signals_total{cause=\"OOMKilled\"}", 7.0),
        ("kubeherald_decisions_total{decision=\"first\",reason=\"standing\"}", 2.0),
        ("kubeherald_held_total{reason=\"within_window\"}", 43.0),
        ("kubeherald_incidents{state=\"firing\"}", 3.0),
        ("kubeherald_memory_objects{sort=\"pods\"}", 150_000.0),
        ("kubeherald_refused_total", 5.0),
        ("kubeherald_clock_steps_total{direction=\"forward\"}", 0.0),
        ("kubeherald_clock_steps_total{direction=\"back\"}", 2.0),
        ("kubeherald_clock_ahead_seconds", -90.0),
        ("kubeherald_synced", 1.0),
        ("kubeherald_store_up", 1.0),
        ("kubeherald_deliveries_total{receiver=\"on\\\"call\",outcome=\"retried\"}", 4.0),
        ("kubeherald_outbox_folded_total{receiver=\"on\\\"call\"}", 480.0),
        ("kubeherald_outbox_depth{receiver=\"on\\\"call\"}", 0.0),
        ("kubeherald_outbox_oldest_age_seconds{receiver=\"on\\\"call\"}", 0.0),
        ("kubeherald_dead_letters{receiver=\"on\\\"call\"}", 0.0),
    ] {
        assert_eq!(all.get(name), Some(&value), "{name}");
    }
}

#[tokio::test]
async fn what_waits_in_the_outbox_is_told_with_its_age() {
    let metrics = metrics(EngineStats::default());
    let queued = clock::before(clock::now(), Duration::from_secs(90));
    let note = |key| crate::store::fixture::note(key, "hook", "t", queued);
    let commit = crate::store::Commit { notifications: vec![note("a"), note("b")], ..Default::default() };
    metrics.sources().store.commit(commit).await.unwrap();
    let all = series(&metrics.render(Exposition::Text).await.unwrap());
    assert_eq!(all.get("kubeherald_outbox_depth{receiver=\"hook\"}"), Some(&2.0));
    let age = all["kubeherald_outbox_oldest_age_seconds{receiver=\"hook\"}"];
    assert!((90.0..120.0).contains(&age), "{age}");
}

#[tokio::test]
async fn counters_are_described_under_the_names_their_format_wants() {
    let metrics = metrics(EngineStats::default());
    let open = metrics.render(Exposition::OpenMetrics).await.unwrap();
    assert!(open.contains("# TYPE kubeherald_signals counter\n"));
    let text = metrics.render(Exposition::Text).await.unwrap();
    assert!(text.contains("# TYPE kubeherald_signals_total counter\n") && !text.contains("# EOF"));
    // The process goes on between the two, and time passes.
    let names = |text: &str| series(text).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&open), names(&text));
}
