//! The limit on incidents: who has room, who gives way, and what becomes of what finds none.

use kubeherald::testkit::builders::{Pod, namespace, node, pod};

use super::script::{Script, Step, looping};

const MUTE: &str = "kubeherald.io/mute";

fn of(ns: &str, name: &str) -> Pod {
    pod(name).namespace(ns).node("worker-1")
}

/// So many pods of one namespace crash at `at`.
fn crash(mut story: Script, at: &str, ns: &str, count: usize) -> Script {
    for n in 0..count {
        story = story.see(at, looping(of(ns, &format!("{ns}-{n:02}")), 3));
    }
    story
}

fn begin() -> Script {
    Script::new().with(node("worker-1")).with(node("worker-2")).once()
}

fn under(story: Script, limit: usize) -> Script {
    story.under(&format!("engine: {{max_incidents: {limit}}}\nstorm: {{incidents: 1000000, window: 1s}}"))
}

/// Who was told of for the first time, at which second.
fn firsts(said: &[String]) -> Vec<String> {
    said.iter()
        .filter(|line| line.contains(" first "))
        .map(|line| {
            let mut words = line.split(' ');
            let (at, who) = (words.next().unwrap_or_default(), words.nth(2).unwrap_or_default());
            format!("{at} {}", who.split('/').take(2).collect::<Vec<_>>().join("/"))
        })
        .collect()
}

/// Fifty muted crash loops of one tenant, the limit at fifty: a lost node and another team's crash are told.
#[test]
fn a_muted_tenant_keeps_neither_a_node_nor_another_team_from_being_told() {
    let story = crash(begin().with(namespace("noisy").annotation(MUTE, "true")), "10s", "noisy", 50);
    let story = crash(story, "1m", "team", 1).see("2m", node("worker-2").lost("-0s"));
    let (said, _) = under(story.clone(), 50).run_with_notes("10m");
    assert_eq!(firsts(&said), ["+1m5s Pod/team-00", "+2m20s Node/worker-2"], "{said:#?}");
    // Whoever gave way is recorded, with what for.
    let notes = under(story, 50).notes("10m");
    let gave_way: Vec<&kubeherald::engine::Note> =
        notes.iter().filter(|note| note.reason == kubeherald::message::Reason::OverLimit).collect();
    assert_eq!(gave_way.len(), 1, "{gave_way:#?}");
    assert_eq!(gave_way[0].namespace.as_deref(), Some("noisy"));
    assert!(gave_way[0].detail.is_some());
}

/// The same where they are not muted, and told.
#[test]
fn the_largest_share_gives_way_also_when_it_was_told_and_is_told_so() {
    let story = crash(crash(begin(), "10s", "noisy", 30), "1m", "team", 3);
    let said = under(story, 20).run("50m");
    let told = firsts(&said);
    assert_eq!(told.iter().filter(|line| line.contains("noisy")).count(), 18, "{said:#?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("+1m5s Pod/team-")).count(), 3, "{said:#?}");
    let expired: Vec<&String> = said.iter().filter(|line| line.contains(" expired ")).collect();
    assert_eq!(expired.len(), 3, "{said:#?}");
    assert!(expired.iter().all(|line| line.contains("noisy") && line.contains("over_limit")), "{said:#?}");
}

/// Of equal shares nobody takes from the other: places do not go back and forth.
#[test]
fn equal_shares_stay_as_they_are() {
    let mut story = crash(crash(begin(), "10s", "a", 5), "11s", "b", 5);
    for minute in 1..30 {
        for ns in ["a", "b"] {
            for n in 0..12 {
                story =
                    story.see(&format!("{minute}m"), looping(of(ns, &format!("{ns}-{n:02}")), 3 + minute));
            }
        }
    }
    let said = under(story, 11).run("20m");
    assert!(!said.iter().any(|line| line.contains(" expired ")), "{said:#?}");
    assert_eq!(firsts(&said).len(), 10, "{said:#?}");
}

#[test]
fn what_is_less_severe_gives_way_in_a_namespace_of_its_own() {
    // Warnings first: images that cannot be pulled.
    let mut story = begin();
    for n in 0..9 {
        let pulling = of("shop", &format!("img-{n}")).waiting("ImagePullBackOff", "not found");
        story = story.see("10s", pulling);
    }
    let story = crash(story, "2m", "shop", 2);
    let said = under(story, 9).run("10m");
    assert_eq!(firsts(&said).iter().filter(|line| line.contains("shop-0")).count(), 2, "{said:#?}");
    assert_eq!(said.iter().filter(|line| line.contains(" expired image-pull")).count(), 2, "{said:#?}");
}

/// Nodes have a tenth of the room for themselves.
#[test]
fn namespaces_leave_the_reserve_of_nodes_alone() {
    let mut story = crash(begin(), "10s", "a", 40);
    for n in 0..3 {
        story = story.with(node(&format!("n{n}"))).see("1m", node(&format!("n{n}")).lost("-0s"));
    }
    let said = under(story, 30).run("10m");
    assert_eq!(firsts(&said).iter().filter(|line| line.contains("Node/")).count(), 3, "{said:#?}");
    assert!(!said.iter().any(|line| line.contains(" expired ")), "{said:#?}");
}

/// What found no room is told as soon as there is some, from the live state.
#[test]
fn what_found_no_room_is_taken_in_later() {
    let mut story = crash(begin(), "10s", "a", 14);
    for n in 0..10 {
        story = story.gone("10m", of("a", &format!("a-{n:02}")));
    }
    let story = under(story, 10);
    let said = story.run("20m");
    let told = firsts(&said);
    // One of the five that found no room is gone by then.
    assert_eq!(told.len(), 13, "{said:#?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("+15s")).count(), 9, "{said:#?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("+10m10s Pod/a-1")).count(), 4, "{said:#?}");
    // Those that are well again before there is room are nobody's news.
    let mut well = crash(begin(), "10s", "a", 14);
    for n in 0..14 {
        well = well.gone("10m", of("a", &format!("a-{n:02}")));
    }
    assert_eq!(firsts(&under(well, 10).run("20m")).len(), 9);
}

/// An eviction has no state that could be looked at: it is kept until there is room.
#[test]
fn a_moment_that_found_no_room_is_kept() {
    let mut story = crash(begin(), "10s", "a", 9);
    story = story.with(of("a", "evicted").running("T-1h"));
    story = story.see("1m", of("a", "evicted").failed("Evicted", "Usage of EmptyDir volume \"tmp\" exceeds"));
    for n in 0..9 {
        story = story.gone("5m", of("a", &format!("a-{n:02}")));
    }
    let said = under(story, 9).run("20m");
    let evicted: Vec<&String> = said.iter().filter(|line| line.contains(" first evicted")).collect();
    assert_eq!(evicted.len(), 1, "{said:#?}");
    assert!(evicted[0].starts_with("+5m") || evicted[0].starts_with("+6m"), "{said:#?}");
}

/// A restart at the limit shares the room anew.
#[test]
fn a_restart_at_the_limit_loses_nobody_of_another_namespace() {
    let story = crash(begin(), "10s", "noisy", 30).at("1m", Step::Down);
    let story = crash(story, "2m", "team", 2).at("3m", Step::Up);
    let said = under(story, 20).run("10m");
    assert_eq!(firsts(&said).iter().filter(|line| line.contains("Pod/team-")).count(), 2, "{said:#?}");
}
