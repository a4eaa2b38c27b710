//! What becomes due by the clock alone while its kind cannot be seen is not told as new before the kind is
//! seen again.

use kubeherald::message::Reason;
use kubeherald::testkit::builders::{Pod, event, node, stateful_set};
use kubeherald::watch::Kind;

use super::script::{Script, Step, checkout, cluster, fresh, says, silent};

/// Half a minute into the story; by the shipped rule it is stuck at 6 min.
fn deleted(pod: &Pod) -> Script {
    let going = pod.clone().running("T-1h").deleting("T+60s").grace(30);
    cluster().with(pod.clone().running("T-1h")).see("30s", going).once()
}

/// From then on nothing is seen of pods.
fn blind_from(story: Script, at: &str) -> Script {
    story.at(at, Step::Gap).at(at, Step::Blind(Kind::Pod))
}

const STUCK: &str = "stuck-terminating Deployment/checkout x1 [checkout-688988776f-aaaaa]: \
                     container app still runs on node worker-1 after the grace period";

#[test]
fn a_deletion_that_ended_unseen_is_not_told_as_stuck() {
    let a = checkout("aaaaa");
    let story = blind_from(deleted(&a), "61s").gone("70s", a).at("30m", Step::List(Kind::Pod));
    silent(&story, "1h");
}

#[test]
fn a_deletion_that_still_stands_is_told_when_it_is_seen_again() {
    let a = checkout("aaaaa");
    let story = blind_from(deleted(&a), "61s").at("30m", Step::List(Kind::Pod));
    says(&story, "10m", &[&format!("+30m5s first {STUCK}")]);
    // As long as it is blind it waits, and `explain` can say for what.
    let waits = blind_from(deleted(&a), "61s");
    silent(&waits, "5h");
    silent(&blind_from(deleted(&a), "61s").at("3m", Step::Listing(Kind::Pod)), "10m");
    let gone = blind_from(deleted(&a), "61s").gone("20m", a).at("30m", Step::List(Kind::Pod));
    let notes = gone.notes("1m");
    let waited = notes.iter().find(|note| note.reason == Reason::NeverTold).unwrap().waited.as_ref().unwrap();
    assert_eq!((waited.reason, waited.by.as_deref()), (Reason::StateUnknown, Some("Pod")));
}

#[test]
fn what_was_due_before_the_blindness_is_told() {
    let a = checkout("aaaaa");
    // It gathers from 6:00 to 6:05.
    says(&blind_from(deleted(&a), "6m2s"), "10m", &[&format!("+6m5s first {STUCK}")]);
}

#[test]
fn the_rules_for_does_not_run_out_unseen() {
    let pulling = fresh().waiting("ImagePullBackOff", "Back-off pulling image \"app:2\"");
    let story = blind_from(cluster().once().see("15s", pulling), "20s");
    let over = story.clone().see("30s", fresh().running("-0s")).at("10m", Step::List(Kind::Pod));
    silent(&over, "1h");
    let stands = story.at("10m", Step::List(Kind::Pod));
    let said = stands.run("10m");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("+10m5s first image-pull Deployment/checkout"), "{said:#?}");
}

/// A kubelet that restarts, and an API server that is away for some seconds meanwhile.
#[test]
fn a_watch_that_fails_for_seconds_delays_what_is_due_by_as_much() {
    let lost = node("worker-1").not_ready("PLEG is not healthy", "-0s");
    let story = cluster().once().see("60s", lost).at("62s", Step::Gap).at("62s", Step::Failing(Kind::Node));
    let over = story.clone().see("64s", node("worker-1")).at("80s", Step::List(Kind::Node));
    silent(&over, "1h");
    // By the shipped rule it is due at 1:15.
    let said = |at| story.clone().at(at, Step::Contact(Kind::Node)).run("1m");
    assert!(said("64s")[0].starts_with("+1m20s first node-not-ready Node/worker-1"), "{:#?}", said("64s"));
    assert!(said("80s")[0].starts_with("+1m25s first node-not-ready Node/worker-1"), "{:#?}", said("80s"));
}

#[test]
fn what_events_show_is_told_although_the_objects_kind_is_blind() {
    let text =
        "create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: exceeded quota: small";
    let failed = |count| event("StatefulSet/db", "FailedCreate", text).count(count, "T+60s");
    let story = cluster()
        .once()
        .at("10s", Step::Blind(Kind::StatefulSet))
        .see("60s", failed(1))
        .see("90s", failed(3));
    let said = story.clone().see("4m", failed(9)).run("5m");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains(" first failed-create StatefulSet/db"), "{said:#?}");
    // Where Events themselves are not seen any more, nobody knows whether it goes on.
    let blind = story.at("100s", Step::Gap).at("100s", Step::Blind(Kind::Event));
    silent(&blind, "5m");
    let said = blind.see("5m", failed(20)).at("10m", Step::List(Kind::Event)).run("1m");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("+10m5s first failed-create StatefulSet/db"), "{said:#?}");
}

#[test]
fn a_restart_while_blind_makes_nothing_due() {
    let text =
        "create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: exceeded quota: small";
    let failed = |count| event("StatefulSet/db", "FailedCreate", text).count(count, "T+60s");
    let story = cluster()
        .with(stateful_set("db").available(0))
        .once()
        .see("60s", failed(1))
        .at("70s", Step::Down)
        .at("80s", Step::UpBlind(Kind::Event));
    silent(&story, "10m");
    let said = story.see("5m", failed(20)).at("10m", Step::List(Kind::Event)).run("1m");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("+10m5s first failed-create StatefulSet/db"), "{said:#?}");
}
