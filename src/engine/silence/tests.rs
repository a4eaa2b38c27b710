use std::sync::Arc;
use std::time::Duration;

use super::super::{Engine, Settings};
use super::*;
use crate::clock;
use crate::rule::silence::Origin;
use crate::rule::testing::{rule, signal};
use crate::rule::{AnnotationRules, Filter, Matcher, Routes, RuleSet, SeverityMatch, TextMatch};
use crate::signal::{Cause, Health, Signal, Standing, Workload};

/// A world in which everything is as bad as it was, and nobody says anything about silence.
struct Bad;

impl World for Bad {
    fn standing(&self, _: &ObjectRef, _: Option<&str>, _: Cause) -> Standing {
        Standing::Raised
    }
    fn health(&self, _: Option<&str>, _: &Workload) -> Health {
        Health::Unhealthy
    }
    fn revision(&self, _: Option<&str>, _: &Workload) -> Option<Arc<str>> {
        None
    }
    fn replicas(&self, _: Option<&str>, _: &Workload) -> Option<u32> {
        None
    }
    fn on_node(&self, _: Option<&str>, _: &Workload, _: &str) -> bool {
        false
    }
    fn pods_on_node(&self, _: &str) -> u32 {
        0
    }
    fn annotations(&self, _: &ObjectRef, _: &Workload) -> Option<silence::Layers> {
        None
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn everything(id: &str, until: Timestamp, origin: Origin) -> Silence {
    Silence {
        id: Arc::from(id),
        name: None,
        filter: Filter::new(Matcher::default(), SeverityMatch::default(), TextMatch::default()),
        written: Arc::from("{}"),
        from: Timestamp::MIN,
        until,
        comment: Arc::from(""),
        by: Arc::from(""),
        origin,
    }
}

fn settings(silences: &[Silence]) -> Settings {
    Settings {
        group_wait: Duration::ZERO,
        growth_steps: vec![1, 5],
        max_incidents: 100,
        max_members: 100,
        storm_incidents: 100,
        storm_window: Duration::from_secs(60),
        silences: Arc::from(silences),
        mute_times: Arc::from([]),
        annotations: AnnotationRules::default(),
        digests: Vec::new(),
    }
}

fn rules() -> RuleSet {
    RuleSet::new(vec![rule("crash-loop", Matcher::cause(Cause::CrashLoopBackOff))])
}

fn engine(silences: &[Silence]) -> Engine {
    let mut engine = Engine::new(settings(silences), rules(), Routes::default(), false);
    engine.synced(at(0), &Bad, &mut Effects::default());
    engine
}

fn crash(at: Timestamp) -> Signal {
    Signal { at, ..signal(Cause::CrashLoopBackOff, "shop", "Deployment/checkout") }
}

fn decisions(out: &Effects) -> Vec<Decision> {
    out.decided.iter().map(|decided| decided.decision).collect()
}

#[test]
fn a_reload_takes_the_silences_of_the_configuration_and_leaves_those_of_the_api() {
    let mut out = Effects::default();
    let mut engine = engine(&[everything("config", at(9999), Origin::Config)]);
    engine.signal(at(1), &crash(at(1)), &Bad, &mut out);
    engine.signal(at(2), &crash(at(2)), &Bad, &mut out);
    assert_eq!((decisions(&out), out.notes.len()), (Vec::new(), 1), "recorded once");
    engine.silences_mut().add(everything("api", at(500), Origin::Api), at(3), &mut out).unwrap();

    engine.reload(at(9), (settings(&[]), rules(), Routes::default()), &[], &Bad, &mut out);
    assert!(engine.wants_review());
    engine.review(at(10), &Bad, &mut out);
    assert!(!engine.wants_review());
    assert_eq!(decisions(&out), []);
    assert_eq!(out.notes.last().unwrap().detail.as_deref(), Some("api"), "now that one holds it");

    assert!(engine.silences_mut().expire("api", at(20), &mut out));
    assert!(!engine.silences_mut().expire("api", at(21), &mut out), "only once");
    assert!(engine.wants_review());
    engine.review(at(20), &Bad, &mut out);
    assert_eq!(decisions(&out), [Decision::First]);
    assert_eq!(engine.held_counts()[&Reason::SilencedBy], 2);
}

#[test]
fn a_silence_that_is_to_begin_can_be_ended_before() {
    let mut out = Effects::default();
    let mut engine = engine(&[]);
    let later = Silence { from: at(100), ..everything("later", at(200), Origin::Api) };
    engine.silences_mut().add(later, at(0), &mut out).unwrap();
    assert!(engine.silences_mut().expire("later", at(50), &mut out));
    let silence = engine.silences().get("later").unwrap();
    assert_eq!((silence.state(at(50)), silence.state(at(150))), ("expired", "expired"));
}

#[test]
fn silences_are_bounded_and_those_that_are_over_are_forgotten() {
    let mut out = Effects::default();
    let mut engine = engine(&[everything("taken", at(9999), Origin::Config)]);
    let id = engine.silences_mut().add(everything("taken", at(10), Origin::Api), at(0), &mut out).unwrap();
    assert_ne!(&*id, "taken", "an id names one silence");
    for n in 1..MAX_SILENCES {
        let silence = everything(&format!("s{n:04}"), at(10), Origin::Api);
        engine.silences_mut().add(silence, at(0), &mut out).unwrap();
    }
    let one_more = || everything("one-more", at(20_000_000), Origin::Api);
    assert_eq!(engine.silences_mut().add(one_more(), at(9), &mut out), Err(TooMany));
    engine.silences_mut().add(one_more(), at(10), &mut out).unwrap();
    assert_eq!(engine.silences().all().count(), 1 + MAX_SILENCES + 1);

    // One that was over first is forgotten first.
    let early = Silence { until: at(5), ..everything("early", at(5), Origin::Api) };
    engine.silences_mut().restore([early]);
    engine.silences_mut().prune(at(11), &mut out);
    assert_eq!(out.silences_removed, [Arc::from("early")]);
    let keep = i64::try_from(KEEP_EXPIRED.as_secs()).unwrap();
    engine.silences_mut().prune(at(10 + keep), &mut out);
    assert_eq!(out.silences_removed.len(), 1);
    engine.silences_mut().prune(at(11 + keep), &mut out);
    assert_eq!(out.silences_removed.len(), 1 + MAX_SILENCES);
    let left: Vec<&str> = engine.silences().all().map(|silence| &*silence.id).collect();
    assert_eq!(left, ["taken", "one-more"]);
    assert!(out.silences.contains("one-more") && !out.silences.contains("s0001"));
}

#[test]
fn of_several_the_longest_counts_and_each_is_recorded_once() {
    let mut out = Effects::default();
    let short = everything("short", at(100), Origin::Config);
    let mut engine = engine(&[short, everything("long", at(200), Origin::Config)]);
    for second in 1..20 {
        engine.signal(at(second), &crash(at(second)), &Bad, &mut out);
    }
    assert_eq!(engine.next_deadline(), Some(at(200)));
    engine.tick(at(200), &Bad, &mut out);
    let notes: Vec<_> = out.notes.iter().filter_map(|note| note.detail.as_deref()).collect();
    assert_eq!((notes, decisions(&out)), (vec!["long"], vec![Decision::First]));
}

/// What is stored of an incident says why it is held, and comes back so.
#[test]
fn what_is_held_back_survives_and_is_not_recorded_again() {
    let mut out = Effects::default();
    let silences = [everything("config", at(9999), Origin::Config)];
    let mut before = engine(&silences);
    before.signal(at(1), &crash(at(1)), &Bad, &mut out);
    let incident = before.incidents().next().unwrap();
    assert!(incident.to_keep() && out.dirty.contains(&incident.id));
    assert_eq!(incident.state(), "held");
    let stored = serde_json::to_string(incident).unwrap();

    let mut out = Effects::default();
    let mut after = Engine::new(settings(&silences), rules(), Routes::default(), false);
    after.restore([serde_json::from_str(&stored).unwrap()]);
    after.signal(at(60), &crash(at(60)), &Bad, &mut out);
    after.synced(at(60), &Bad, &mut out);
    assert!(out.notes.is_empty() && out.decided.is_empty(), "{out:?}");
    after.tick(at(9999), &Bad, &mut out);
    assert_eq!(decisions(&out), [Decision::First]);
}

fn named(n: i64, signal: Signal) -> Signal {
    let object =
        ObjectRef { name: format!("checkout-{n}").into(), uid: format!("u{n}").into(), ..signal.object };
    Signal { object, ..signal }
}

/// Of objects past the cap neither names nor annotations are known: they may be others.
#[test]
fn what_is_not_known_by_name_is_not_silenced_by_name() {
    let pattern = regex::Regex::new("^checkout-").unwrap();
    for (members, expected) in [(3, 0), (2, 1)] {
        let mut filter = everything("config", at(9999), Origin::Config);
        let name = TextMatch { regex: vec![pattern.clone()], ..TextMatch::default() };
        let matcher = Matcher::default().with(crate::rule::Field::Name, name);
        filter.filter = Filter::new(matcher, SeverityMatch::default(), TextMatch::default());
        let settings = Settings { max_members: members, growth_steps: vec![1], ..settings(&[filter]) };
        let mut engine = Engine::new(settings, rules(), Routes::default(), false);
        let mut out = Effects::default();
        for n in 0..3 {
            engine.signal(at(n), &named(n, crash(at(n))), &Bad, &mut out);
        }
        engine.synced(at(5), &Bad, &mut out);
        assert_eq!(decisions(&out).len(), expected, "{members} by name: {:?}", out.notes);
    }
}

/// It was told, ended, fires again in a storm, and is silenced before the summary of the storm.
#[test]
fn one_that_was_to_be_told_again_by_a_summary_goes_back_to_its_end() {
    let mut out = Effects::default();
    let settings = Settings { storm_incidents: 1, ..settings(&[]) };
    let mut engine = Engine::new(settings, rules(), Routes::default(), false);
    engine.synced(at(0), &Bad, &mut out);
    engine.signal(at(1), &crash(at(1)), &Bad, &mut out);
    let id = Arc::clone(&engine.incidents().next().unwrap().id);
    let end = super::super::incident::End { at: at(2), reason: Reason::Recovered };
    engine.incidents.advance(&id, |life| life.end_with(end));
    // Another one is told first; this one is past the limit.
    engine.signal(
        at(3),
        &Signal { workload: "Deployment/other".into(), ..named(9, crash(at(3))) },
        &Bad,
        &mut out,
    );
    engine.signal(at(4), &crash(at(4)), &Bad, &mut out);
    assert!(engine.incident(&id).unwrap().gathers(), "{out:?}");
    engine.silences_mut().add(everything("api", at(500), Origin::Api), at(5), &mut out).unwrap();
    let due = engine.summaries.next().unwrap();
    engine.tick(due, &Bad, &mut out);
    let incident = engine.incident(&id).unwrap();
    assert!(matches!(incident.life(), Life::Reopening { .. }) && incident.flaps == 0, "{incident:?}");
    assert!(!decisions(&out).contains(&Decision::Storm));
    assert_eq!(out.notes.iter().filter(|note| note.held == Some(Decision::Reopened)).count(), 1);
    // Nothing is told of it as long as the silence lasts, and it is told as what it is after it.
    out.decided.clear();
    engine.tick(at(499), &Bad, &mut out);
    assert_eq!(decisions(&out), []);
    // One of the two is told at once, the other by the storm that it is left of.
    engine.tick(at(500), &Bad, &mut out);
    engine.tick(at(510), &Bad, &mut out);
    let mut told = decisions(&out);
    told.sort();
    assert_eq!(told, [Decision::First, Decision::Reopened]);
}

/// Incidents of versions that did not count them keep their ids, and none is given again.
#[test]
fn incidents_without_a_number_are_read() {
    let mut out = Effects::default();
    let mut before = engine(&[]);
    before.signal(at(1), &crash(at(1)), &Bad, &mut out);
    let next = before.incidents().next().unwrap().id.to_string();
    // Their ids were hashes: one may be what the next number stands for.
    let stored = serde_json::to_string(before.incidents().next().unwrap()).unwrap();
    let without = stored.replacen("\"number\":1,", "", 1);
    assert_ne!(without, stored);
    let stored = serde_json::from_str(&without).unwrap();

    let mut engine = Engine::new(settings(&[]), rules(), Routes::default(), false);
    engine.restore([stored]);
    engine.synced(at(10), &Bad, &mut Effects::default());
    assert_eq!(engine.incident(&next).unwrap().number, 0);
    let other = Signal { workload: "Deployment/other".into(), ..named(9, crash(at(11))) };
    engine.signal(at(11), &other, &Bad, &mut out);
    let numbers: Vec<u64> = engine.incidents().filter(|i| *i.id != *next).map(|i| i.number).collect();
    assert_eq!((numbers, engine.numbers().incidents), (vec![2], 2));
}

/// What counts from a moment counts on after the clock was set: how long an annotation is known, and when what
/// found no room is looked for again.
#[test]
fn a_clock_that_is_set_moves_bounds_and_looks() {
    let mut out = Effects::default();
    let settings = Settings { max_incidents: 1, ..settings(&[]) };
    let mut engine = Engine::new(settings, rules(), Routes::default(), false);
    engine.synced(at(0), &Bad, &mut out);
    let namespace =
        ObjectRef { kind: "Namespace".into(), namespace: None, name: "shop".into(), uid: "".into() };
    let muted = Arc::new(std::collections::BTreeMap::from([(silence::MUTE.to_owned(), "true".to_owned())]));
    let seen = silence::SilenceSeen::of(&namespace, &Workload::default(), Some(&muted));
    engine.annotations_seen(at(0), &seen, &mut out);
    let key = (Arc::from("Namespace/shop"), silence::MUTE);
    let week = 7 * 86_400;
    assert_eq!(engine.annotation_until(&key, at(10)), Some(at(week)));
    engine.signal(at(1), &crash(at(1)), &Bad, &mut out);
    let other = Signal { workload: "Deployment/other".into(), ..named(9, crash(at(1))) };
    engine.signal(at(1), &other, &Bad, &mut out);
    assert_eq!(engine.limit_reached().map(|limit| limit.left_out.len()), Some(1));
    let look = engine.rooms.next().unwrap();

    // Set back, and forward again: how long an annotation silences goes by the wall clock, so only a time that
    // is yet to come is moved; when the limit is looked at again moves both ways.
    for (by, now, back) in [(-7200, 10 - 7200, -7200), (7200, 10, 0)] {
        let mut moved = Effects::default();
        engine.clock_set(jiff::SignedDuration::from_secs(by), at(now), &Bad, &mut moved);
        assert!(moved.annotations.contains(&key), "stored again");
        let (until, next) = (engine.annotation_until(&key, at(now)), engine.rooms.next());
        assert_eq!(until, Some(at(week - 7200)));
        assert_eq!(next, Some(clock::moved(look, jiff::SignedDuration::from_secs(back))));
    }
}
