//! What is silenced or muted: held back while it lasts, told as it is when it ends, recorded once.

use kubeherald::testkit::builders::{Node, deployment, namespace, node, pod};

use super::script::{RS, Script, Step, checkout, cluster, looping, says, says_and_holds, silent};

const UNTIL: &str = "kubeherald.io/silence-until";
const MUTE: &str = "kubeherald.io/mute";

const SILENCED: &str = "silences: [{name: load-test, match: {namespace: shop}, until: \"{T+10m}\"}]";

/// Deployment/checkout, whose only pod begins to crash after ten seconds.
fn crashing() -> Script {
    let a = checkout("aaaaa");
    cluster().with(namespace("shop")).with(a.clone().running("T-1h")).see("10s", looping(a, 3))
}

/// It has recovered by then.
fn well(script: Script, at: &str) -> Script {
    script.see(at, checkout("aaaaa").last(3, "Error", "-12s", "-10s").running("-0s").restarts(3))
}

const FIRST: &str = "first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s";

fn first(at: &str) -> String {
    format!("+{at} {FIRST}")
}

#[test]
fn what_is_silenced_is_told_once_when_that_ends() {
    let story = crashing().under(SILENCED);
    says_and_holds(
        &story,
        "2h",
        &[
            &first("10m"),
            "+1h10m reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
        &["+15s silenced_by crash-loop Deployment/checkout first: load-test"],
    );
}

#[test]
fn what_ends_while_it_is_silenced_is_recorded_and_never_told() {
    let story = well(crashing(), "2m").under(SILENCED);
    says_and_holds(
        &story,
        "1h",
        &[],
        &[
            "+15s silenced_by crash-loop Deployment/checkout first: load-test",
            "+7m2s never_told crash-loop Deployment/checkout: load-test",
        ],
    );
}

#[test]
fn only_what_matches_is_silenced() {
    let text = "silences:\n  - {match: {namespace: other}, until: \"{T+10m}\"}\n  - {match: {namespace: shop, cause: Evicted}, until: \"{T+10m}\"}\n  - {match: {name: checkout-688988776f-bbbbb}, until: \"{T+10m}\"}\n  - {match: {severity: info}, until: \"{T+10m}\"}\n  - {match: {namespace: shop}, from: \"{T+5m}\", until: \"{T+10m}\"}\n";
    says_and_holds(&crashing().under(text), "10m", &[&first("15s")], &[]);
}

#[test]
fn growth_and_reminders_are_held_and_the_end_of_what_was_told_is_told() {
    let mut story = Script::new()
        .with(node("worker-1"))
        .with(deployment("checkout").replicas(6))
        .with(pod_set())
        .see("10s", looping(member(0), 3))
        .at("1m", Step::Silence(r#"{"match": {"workload": "Deployment/checkout"}, "for": "3h", "comment": "known", "by": "anna"}"#));
    for n in 1..6 {
        story = story.see("10m", looping(member(n), 3));
    }
    let mut recovers = story.clone();
    for n in 0..6 {
        recovers = recovers.see("2h", member(n).last(3, "Error", "-12s", "-10s").running("-0s").restarts(3));
    }
    let begun = "+15s first crash-loop Deployment/checkout/app x3 [checkout-688988776f-00000]: the container exited with code 3 after running for 2 s";
    let held = "+10m5s silenced_by crash-loop Deployment/checkout grew: api";
    says_and_holds(
        &recovers,
        "2h",
        &[begun, "+2h5m2s resolved crash-loop Deployment/checkout/app recovered after 2h4s"],
        &[held],
    );
    says_and_holds(
        &story,
        "3h30m",
        &[
            begun,
            "+3h1m grew crash-loop Deployment/checkout/app x18 [6 of them]: the container exited with code 3 after running for 2 s",
        ],
        &[held],
    );
}

fn member(n: u8) -> kubeherald::testkit::builders::Pod {
    pod(&format!("{RS}-{n:05}")).owned_by_rs(RS).node("worker-1")
}

fn pod_set() -> kubeherald::testkit::builders::Workload {
    kubeherald::testkit::builders::replica_set(RS)
}

#[test]
fn a_reminder_is_held_once_and_told_when_the_silence_ends() {
    let story = crashing().at("30m", Step::Silence(r#"{"match": {"severity": "critical"}, "for": "5h"}"#));
    says_and_holds(
        &story,
        "6h",
        &[
            &first("15s"),
            "+5h30m reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
        &["+1h15s silenced_by crash-loop Deployment/checkout reminder: api"],
    );
}

/// Crashing, well, crashing again, all while it is silenced.
#[test]
fn flapping_while_silenced_repeats_nothing() {
    let a = checkout("aaaaa");
    let mut story = crashing().at("5m", Step::Silence(r#"{"match": {"namespace": "shop"}, "for": "3h"}"#));
    for n in 0..4 {
        story = well(story, &format!("{}m", 10 + n * 30));
        story = story.see(&format!("{}m", 25 + n * 30), looping(a.clone(), 4 + n));
    }
    let story = well(story, "2h20m");
    says_and_holds(
        &story.once(),
        "3h",
        &[&first("15s"), "+15m2s resolved crash-loop Deployment/checkout/app recovered after 10m4s"],
        &["+25m5s silenced_by crash-loop Deployment/checkout reopened: api"],
    );
}

#[test]
fn a_silence_that_is_ended_by_hand_lets_go_at_once() {
    let story = crashing()
        .at("0s", Step::Silence(r#"{"match": {"namespace": "shop"}, "for": "8h"}"#))
        .at("42m", Step::Unsilence);
    says_and_holds(
        &story,
        "10m",
        &[&first("42m")],
        &["+15s silenced_by crash-loop Deployment/checkout first: api"],
    );
}

#[test]
fn a_restart_changes_nothing_about_a_silence() {
    let silenced = crashing().at("0s", Step::Silence(r#"{"match": {"namespace": "shop"}, "for": "1h"}"#));
    let still = silenced.clone().at("2m", Step::Down).at("3m", Step::Up);
    says_and_holds(
        &still,
        "2h",
        &[
            &first("1h"),
            "+2h reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
        &["+15s silenced_by crash-loop Deployment/checkout first: api"],
    );
    // Over while nobody looked: recorded at the return.
    let over = well(silenced.at("2m", Step::Down), "3m").at("30m", Step::Up);
    says_and_holds(
        &over,
        "2h",
        &[],
        &[
            "+15s silenced_by crash-loop Deployment/checkout first: api",
            "+30m never_told crash-loop Deployment/checkout: api",
        ],
    );
}

#[test]
fn annotations_of_namespace_workload_and_pod() {
    let held = |whose: &str| {
        format!("+15s silenced_by crash-loop Deployment/checkout first: annotation {UNTIL} of {whose}")
    };
    let a = checkout("aaaaa");
    let calm = cluster().with(namespace("shop")).with(a.clone().running("T-1h"));
    let on_namespace =
        calm.clone().with(namespace("shop").annotation(UNTIL, "T+10m")).see("10s", looping(a.clone(), 3));
    says_and_holds(&on_namespace, "30m", &[&first("10m")], &[&held("Namespace/shop")]);
    let on_workload = calm
        .clone()
        .with(deployment("checkout").annotation(UNTIL, "T+10m"))
        .see("10s", looping(a.clone(), 3));
    says_and_holds(&on_workload, "30m", &[&first("10m")], &[&held("Deployment/shop/checkout")]);
    let on_pod = calm.see("10s", looping(a.annotation(UNTIL, "T+10m"), 3));
    says_and_holds(&on_pod, "30m", &[&first("10m")], &[&held("Pod/shop/checkout-688988776f-aaaaa")]);
}

#[test]
fn an_annotation_counts_as_soon_as_it_is_there_and_no_longer() {
    let muted = "+1h15s muted crash-loop Deployment/checkout reminder: annotation kubeherald.io/mute of Namespace/shop";
    // Before the first message, within the seconds in which members gather.
    let added = crashing().see("12s", namespace("shop").annotation(MUTE, "true"));
    says_and_holds(
        &added,
        "1h",
        &[],
        &["+15s muted crash-loop Deployment/checkout first: annotation kubeherald.io/mute of Namespace/shop"],
    );
    // Taken away while the problem stands.
    let removed = added.clone().see("33m7s", namespace("shop"));
    says(&removed, "10m", &[&first("33m7s")]);
    let emptied = added.clone().see("33m7s", namespace("shop").annotation(MUTE, "false"));
    says(&emptied, "10m", &[&first("33m7s")]);
    // Added to what was told already.
    let later = crashing().see("5m", namespace("shop").annotation(MUTE, "true"));
    says_and_holds(&later, "5h", &[&first("15s")], &[muted]);
    let until = later.see("2h", namespace("shop").annotation(MUTE, "true").annotation(UNTIL, "T+3h"));
    let until = until.see("2h30m", namespace("shop").annotation(UNTIL, "T+3h"));
    says_and_holds(
        &until,
        "1h",
        &[
            &first("15s"),
            "+3h reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
        &[
            muted,
            "+2h silenced_by crash-loop Deployment/checkout reminder: annotation kubeherald.io/silence-until of Namespace/shop",
        ],
    );
}

#[test]
fn an_annotation_of_a_deployment_or_pod_counts_as_soon_too() {
    let a = checkout("aaaaa");
    let story = crashing().see("12s", deployment("checkout").annotation(MUTE, "true"));
    silent(&story, "1h");
    says(&story.clone().see("20m", deployment("checkout")), "10m", &[&first("20m")]);
    // The Deployment goes, its pod stays: nobody says any more that it is to be quiet.
    says(&story.gone("20m", deployment("checkout")).once(), "10m", &[&first("20m")]);
    let story = crashing().see("12s", looping(a.clone().annotation(MUTE, "true"), 3));
    silent(&story, "1h");
    says(&story.see("20m", looping(a, 3)), "10m", &[&first("20m").replace("x1", "x3")]);
}

#[test]
fn an_annotation_removed_in_a_gap_is_missed_at_the_next_list() {
    let story = crashing()
        .with(namespace("shop").annotation(MUTE, "true"))
        .at("1m", Step::Gap)
        .see("2m", namespace("shop"))
        .at("7m", Step::Relist);
    says(&story.once(), "10m", &[&first("7m")]);
}

#[test]
fn one_muted_pod_of_two_hides_nothing() {
    let (a, b) = (checkout("aaaaa"), checkout("bbbbb"));
    let story = cluster()
        .with(a.clone().running("T-1h"))
        .with(b.clone().running("T-1h"))
        .see("10s", looping(a.annotation(MUTE, "true"), 3))
        .see("5m", looping(b, 3));
    says_and_holds(
        &story,
        "10m",
        &[
            "+5m first crash-loop Deployment/checkout/app x2 [checkout-688988776f-aaaaa checkout-688988776f-bbbbb]: the container exited with code 3 after running for 2 s",
        ],
        &[
            "+15s muted crash-loop Deployment/checkout first: annotation kubeherald.io/mute of Pod/shop/checkout-688988776f-aaaaa",
        ],
    );
}

#[test]
fn a_value_that_says_nothing_hides_nothing() {
    for (key, value) in [(UNTIL, "tomorrow"), (UNTIL, "2h"), (MUTE, "yes"), (MUTE, "")] {
        let story = crashing().with(namespace("shop").annotation(key, value));
        says_and_holds(&story, "10m", &[&first("15s")], &[]);
    }
    // One that is over is none either.
    says_and_holds(
        &crashing().with(namespace("shop").annotation(UNTIL, "T-1h")),
        "10m",
        &[&first("15s")],
        &[],
    );
}

const NIGHTS: &str = r#"
mute_times:
  - {name: nights, match: {severity: {any_of: [warning, critical]}}, from: "22:00", to: "07:00", timezone: Europe/Berlin}
"#;

#[test]
fn a_mute_time_over_midnight() {
    // 20:59 in Berlin: an hour later the night begins, and ends ten hours and a minute later.
    let story = crashing().begins("2026-11-20T19:59:00Z").under(NIGHTS);
    says_and_holds(
        &story,
        "12h",
        &[
            &first("15s"),
            "+1h15s reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+10h1m reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
        &["+3h15s muted crash-loop Deployment/checkout reminder: nights"],
    );
    let at_night = crashing().begins("2026-11-20T21:00:00Z").under(NIGHTS);
    says_and_holds(
        &at_night,
        "9h30m",
        &[&first("9h")],
        &["+15s muted crash-loop Deployment/checkout first: nights"],
    );
}

#[test]
fn a_mute_time_over_a_change_of_the_clock() {
    let lasts = |from: &'static str, hours: u32| {
        let story = crashing().begins(from).under(NIGHTS);
        says_and_holds(
            &story,
            &format!("{}m", hours * 60 + 30),
            &[&first(&format!("{hours}h"))],
            &["+15s muted crash-loop Deployment/checkout first: nights"],
        );
    };
    // The night in which the clock is put forward is an hour shorter, the other an hour longer.
    lasts("2026-03-28T21:00:00Z", 8);
    lasts("2026-10-24T20:00:00Z", 10);
}

#[test]
fn a_mute_time_on_some_days() {
    let text = "mute_times: [{name: weekend, weekdays: [sat-sun]}]";
    // Friday, one minute to midnight; two days and a minute later it is Monday.
    let story = crashing().begins("2026-11-20T23:59:00Z").under(text);
    says_and_holds(
        &story,
        "49h",
        &[
            &first("15s"),
            "+2d1m reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
        ],
        &["+1h15s muted crash-loop Deployment/checkout reminder: weekend"],
    );
}

#[test]
fn a_first_start_leaves_what_is_silenced_out_of_its_summary() {
    let (a, b) = (checkout("aaaaa"), pod("billing"));
    let first_start = |text: &'static str| {
        Script::first_start()
            .with(node("worker-1"))
            .with(namespace("shop"))
            .with(deployment("checkout"))
            .with(pod_set())
            .with(looping(a.clone(), 3))
            .with(looping(b.clone().node("worker-1"), 3))
            .under(text)
            .once()
    };
    let text = "silences: [{name: known, match: {workload: Deployment/checkout}, until: \"{T+10m}\"}]";
    says_and_holds(
        &first_start(text),
        "20m",
        &["+10s standing 1: crash-loop Pod/billing", &first("10m").replace("x1", "x3")],
        &["+5s silenced_by crash-loop Deployment/checkout first: known"],
    );
    // Silenced while the summary gathers.
    let during = first_start("cluster: lab")
        .at("7s", Step::Silence(r#"{"match": {"workload": "Deployment/checkout"}, "for": "9m53s"}"#));
    says_and_holds(
        &during,
        "20m",
        &["+10s standing 1: crash-loop Pod/billing", &first("10m").replace("x1", "x3")],
        &["+10s silenced_by crash-loop Deployment/checkout first: api"],
    );
}

#[test]
fn a_storm_neither_counts_nor_lists_what_is_silenced() {
    let mut story = Script::new().with(node("worker-1"));
    for n in 0..8_u32 {
        let name = format!("quiet-{n}");
        story = story.see("10s", looping(pod(&name).node("worker-1"), 3));
    }
    for n in 0..4_u32 {
        let name = format!("loud-{n}");
        story = story.see("20s", looping(pod(&name).node("worker-1"), 3));
    }
    let calm =
        "storm: {incidents: 4}\nsilences: [{name: q, match: {name: {regex: ^quiet-}}, until: \"{T+2h}\"}]";
    let said = story.clone().under(calm).run("30m");
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said.iter().all(|line| line.contains(" first ") && line.contains("loud")), "{said:#?}");
    // All twelve are a storm; eight of them are silenced while its summary gathers.
    let stormy = story
        .under("storm: {incidents: 2}")
        .at("16s", Step::Silence(r#"{"match": {"name": {"regex": "^quiet-"}}, "for": "2h"}"#));
    let (said, held) = stormy.once().run_with_notes("30m");
    let storm: Vec<&String> = said.iter().filter(|line| line.contains(" storm ")).collect();
    assert!(storm.iter().all(|line| !line.contains("quiet")), "{said:#?}");
    assert_eq!(held.iter().filter(|line| line.contains("silenced_by")).count(), 6, "{held:#?}");
    assert_eq!(said.iter().filter(|line| line.contains(" first ")).count(), 2, "{said:#?}");
}

fn lost(name: &str) -> Node {
    node(name).lost("-0s")
}

/// Who silences a node for its repair does not want to hear of its pods instead.
#[test]
fn a_silenced_node_still_holds_its_pods_back() {
    let story = cluster()
        .with(checkout("aaaaa").running("T-1h"))
        .see("10s", lost("worker-1"))
        .see("40s", looping(checkout("aaaaa"), 3))
        .under("silences: [{name: repair, match: {kind: Node, name: worker-1}, until: \"{T+30m}\"}]");
    let (said, held) = story.run_with_notes("29m");
    assert_eq!((said, held.len()), (Vec::new(), 1), "{held:#?}");
    let said = story.run("40m");
    assert!(said.len() == 1 && said[0].contains("+30m first node-not-ready Node/worker-1"), "{said:#?}");
    assert!(said[0].contains("(holds 1)"), "{said:#?}");
}

/// Of the problems of one container the first speaks for the others; a silenced one cannot.
#[test]
fn a_silenced_problem_does_not_speak_for_its_container() {
    let a = checkout("aaaaa");
    let killed = a.clone().last(137, "OOMKilled", "-12s", "-10s");
    let story = cluster()
        .with(a.running("T-1h"))
        .see("10s", killed.clone().running("-9s").restarts(1))
        .see("1m", killed.waiting("CrashLoopBackOff", "back-off").restarts(3));
    let plain = story.run("10m");
    assert!(plain.iter().all(|line| line.contains(" oom-killed ")), "{plain:#?}");
    let silenced =
        story.under("silences: [{name: oom, match: {cause: OOMKilled}, until: \"{T+30m}\"}]").once();
    let said = silenced.run("10m");
    assert!(said.len() == 1 && said[0].contains("first crash-loop"), "{said:#?}");
}

/// A moment that nobody repeats: told while it is fresh, and not hours later.
#[test]
fn what_only_happened_is_told_after_a_short_silence_and_not_after_a_long_one() {
    let why = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";
    let story = |text| {
        cluster()
            .with(checkout("aaaaa").running("T-1h"))
            .see("10s", checkout("aaaaa").failed("Evicted", why))
            .under(text)
            .once()
    };
    let said = story("silences: [{match: {cause: Evicted}, until: \"{T+5m}\"}]").run("2h");
    assert!(said.iter().any(|line| line.starts_with("+5m first evicted")), "{said:#?}");
    let said = story("silences: [{match: {cause: Evicted}, until: \"{T+1h}\"}]").run("2h");
    assert!(said.is_empty(), "{said:#?}");
}
