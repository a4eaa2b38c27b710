//! Receivers that are told everything at once. The stories begin on Saturday, 21 November 2026, 8:00 UTC.

use kubeherald::message::{Decision, Reason};
use kubeherald::testkit::builders::{deployment, namespace, pod, replica_set};

use super::script::{Script, Step, checkout, cluster, looping, says};

const HOURLY: &str = "receivers:
  mail: {webhook: {url: http://localhost/}, digest: {every: 1h}}
routes: [{receivers: [mail]}]";

/// A crash loop from 30 s on, well again from 3 minutes on (told over at 8 minutes).
fn loops_and_recovers() -> Script {
    let a = checkout("aaaaa");
    cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", looping(a.clone(), 2))
        .see("3m", a.last(3, "Error", "-12s", "-10s").running("-0s").restarts(3))
}

/// Another crash loop, of Deployment/NAME.
fn loops(script: Script, at: &str, name: &str) -> Script {
    let rs = format!("{name}-688988776f");
    script
        .with(deployment(name))
        .with(replica_set(&rs))
        .see(at, looping(pod(&format!("{rs}-aaaaa")).owned_by_rs(&rs).node("worker-1"), 2))
}

#[test]
fn new_then_ongoing_then_over() {
    let a = checkout("aaaaa");
    let story = cluster()
        .under(HOURLY)
        .with(a.clone().running("T-1h"))
        .see("30s", looping(a.clone(), 2))
        .see("100m", a.last(3, "Error", "-12s", "-10s").running("-0s").restarts(3))
        .once();
    says(
        &story,
        "5h",
        &[
            "+35s first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+1h digest to mail: new crash-loop Deployment/checkout",
            "+1h35s reminder crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s",
            "+1h45m2s resolved crash-loop Deployment/checkout/app recovered after 1h39m44s",
            "+2h digest to mail: over crash-loop Deployment/checkout",
        ],
    );
    let told: Vec<_> =
        story.messages("5h").iter().flat_map(|m| m.notifications().collect::<Vec<_>>()).collect();
    let keys: Vec<&str> = told.iter().map(|n| n.key.as_str()).collect();
    assert_eq!(
        keys,
        ["digest-1795251600000-1-mail", "digest-1795255200000-2-mail"],
        "nothing goes out by itself"
    );
    assert!(told.iter().all(|n| n.decision == Decision::Digest && n.reason == Reason::Schedule));
}

#[test]
fn what_goes_on_is_told_again_and_what_began_and_ended_is_told_once() {
    let a = checkout("aaaaa");
    let story = cluster().under(HOURLY).with(a.clone().running("T-1h")).see("30s", looping(a, 2)).once();
    let digests = |story: &Script, then: &str| -> Vec<String> {
        story.run(then).into_iter().filter(|line| line.contains(" digest to ")).collect()
    };
    assert_eq!(
        digests(&story, "3h"),
        [
            "+1h digest to mail: new crash-loop Deployment/checkout",
            "+2h digest to mail: ongoing crash-loop Deployment/checkout",
            "+3h digest to mail: ongoing crash-loop Deployment/checkout",
        ]
    );
    let brief = loops_and_recovers().under(HOURLY).once();
    assert_eq!(digests(&brief, "3h"), ["+1h digest to mail: over crash-loop Deployment/checkout"]);
}

#[test]
fn with_nothing_to_say_nothing_is_sent_unless_wanted() {
    let quiet = cluster().under(HOURLY).once();
    says(&quiet, "5h", &[]);
    let wanted = HOURLY.replace("every: 1h", "cron: '30 9,10 * * *', timezone: Europe/Berlin, empty: true");
    says(&cluster().under(&wanted).once(), "5h", &["+30m digest to mail: ", "+1h30m digest to mail: "]);
}

/// Down from minute 50 to 190: three digests were due.
#[test]
fn missed_digests_are_one_late_one() {
    let story =
        loops(cluster(), "10m", "cart").under(HOURLY).at("50m", Step::Down).at("190m", Step::Up).once();
    let messages = story.messages("1h");
    let digests: Vec<_> = messages.iter().filter_map(|m| m.decided.digest.as_ref().map(|d| (m, d))).collect();
    assert_eq!(digests.len(), 2);
    let (message, late) = &digests[0];
    let at = |t: jiff::Timestamp| t.strftime("%H:%M:%S").to_string();
    assert_eq!(
        (at(late.since), at(late.due), at(late.until), late.missed),
        ("08:00:00".into(), "11:00:00".into(), "11:10:10".into(), 2)
    );
    assert!(message.text.contains(
        "Late: kubeherald was not running at 11:00, when it was due, and did not send 2 others before."
    ));
    assert_eq!(late.new.total, 1);
    let (_, next) = &digests[1];
    assert_eq!((at(next.since), at(next.due), next.missed), ("11:10:10".into(), "12:00:00".into(), 0));
    assert_eq!((next.ongoing.total, next.new.total), (1, 0));
}

/// A restart at any moment of the story changes nothing of what the digests say.
#[test]
fn restarts_neither_lose_nor_repeat_an_entry() {
    let story = || loops(loops(loops_and_recovers(), "70m", "cart"), "80m", "search").under(HOURLY).once();
    let digests = |story: &Script| -> Vec<String> {
        let said = story.run("3h").into_iter().filter(|line| line.contains(" digest to "));
        // Counts of repeats suffer from restarts; the story with a later restart is told for longer.
        said.map(|line| line.split("; within_window").next().unwrap_or_default().to_owned()).take(4).collect()
    };
    let plain = digests(&story());
    assert_eq!(
        plain,
        [
            "+1h digest to mail: over crash-loop Deployment/checkout",
            "+2h digest to mail: new crash-loop Deployment/cart, crash-loop Deployment/search",
            "+3h digest to mail: ongoing crash-loop Deployment/cart, crash-loop Deployment/search",
            "+4h digest to mail: ongoing crash-loop Deployment/cart, crash-loop Deployment/search",
        ]
    );
    for minute in [1, 2, 5, 9, 30, 58, 62, 75, 85, 110, 118, 122, 150] {
        let (down, up) = (format!("{minute}m"), format!("{}s", minute * 60 + 20));
        assert_eq!(digests(&story().at(&down, Step::Down).at(&up, Step::Up)), plain, "down at {down}");
    }
}

#[test]
fn a_receiver_without_ends_hears_of_what_it_does_not_know() {
    let yaml = HOURLY.replace("digest:", "send_resolved: false, digest:");
    let digests = |story: Script| -> Vec<String> {
        let said = story.under(&yaml).once().run("3h");
        said.into_iter().filter(|line| line.contains(" digest to ")).collect()
    };
    assert_eq!(digests(loops_and_recovers()), ["+1h digest to mail: over crash-loop Deployment/checkout"]);
    let a = checkout("aaaaa");
    let late = cluster()
        .with(a.clone().running("T-1h"))
        .see("30s", looping(a.clone(), 2))
        .see("100m", a.last(3, "Error", "-12s", "-10s").running("-0s").restarts(3));
    assert_eq!(digests(late), ["+1h digest to mail: new crash-loop Deployment/checkout"]);
}

/// Who is told one by one is told as before; a route decides, not the digest.
#[test]
fn others_are_told_at_once() {
    let yaml = "receivers:
  mail: {webhook: {url: http://localhost/}, digest: {every: 1h}}
  hook: {webhook: {url: http://localhost/}}
routes:
  - {match: {workload: Deployment/cart}, receivers: [hook]}
  - {receivers: [hook, mail]}";
    let story = loops(loops_and_recovers(), "20m", "cart").under(yaml).once();
    let told: Vec<String> = story
        .messages("2h")
        .iter()
        .flat_map(|m| m.notifications().collect::<Vec<_>>())
        .map(|n| format!("{} {} {}", n.receiver, n.decision, n.incidents[0].workload))
        .collect();
    assert_eq!(
        told,
        [
            "hook first Deployment/checkout",
            "hook resolved Deployment/checkout",
            "hook first Deployment/cart",
            "mail digest Deployment/checkout",
            "hook reminder Deployment/cart",
        ]
    );
}

#[test]
fn a_receiver_that_leaves_its_digest_gets_what_was_in_it() {
    let ordinary = HOURLY.replace(", digest: {every: 1h}", "");
    let story = loops(loops_and_recovers(), "20m", "cart")
        .under(HOURLY)
        .then_under(&ordinary)
        .at("30m", Step::Down)
        .at("31m", Step::Up)
        .once();
    let messages = story.messages("2h");
    let last: Vec<_> = messages.iter().filter(|m| m.decided.digest.is_some()).collect();
    assert_eq!(last.len(), 1);
    let digest = last[0].decided.digest.as_ref().unwrap();
    assert!(digest.last && last[0].title.starts_with("Last digest: 1 new, 1 resolved"), "{}", last[0].title);
    assert_eq!(last[0].notifications().count(), 1);
    // From then on it is told one by one.
    let after: Vec<_> = messages.iter().filter(|m| m.decided.decision == Decision::Reminder).collect();
    assert!(!after.is_empty() && after.iter().all(|m| m.notifications().count() == 1));
}

#[test]
fn a_receiver_that_begins_with_digests_knows_what_it_was_told() {
    let ordinary = HOURLY.replace(", digest: {every: 1h}", "");
    let story = loops(cluster(), "20m", "cart")
        .under(&ordinary)
        .then_under(HOURLY)
        .at("30m", Step::Down)
        .at("31m", Step::Up)
        .once();
    let said: Vec<String> = story.run("1h").into_iter().filter(|line| line.contains(" digest to ")).collect();
    assert_eq!(said, ["+1h digest to mail: ongoing crash-loop Deployment/cart"]);
}

/// The label `team` is found on the pod, and on its namespace.
#[test]
fn problems_are_grouped_by_namespace_and_team_the_worst_first() {
    let in_ns = |ns: &str, name: &str| looping(pod(name).namespace(ns).node("worker-1"), 3);
    let story = cluster()
        .under(HOURLY)
        .with(namespace("alpha").label("team", "platform"))
        .with(namespace("omega"))
        .see("10m", in_ns("alpha", "one"))
        .see("10m", in_ns("omega", "two").label("team", "payments"))
        .see("10m", in_ns("omega", "three").label("team", "payments"))
        .see("10m", in_ns("omega", "four"))
        .once();
    let messages = story.messages("1h");
    let digest = messages.iter().find_map(|m| m.decided.digest.as_ref()).unwrap();
    let groups: Vec<String> = digest
        .groups
        .iter()
        .map(|g| format!("{:?} {:?} {}", g.namespace.as_deref(), g.team.as_deref(), g.new))
        .collect();
    assert_eq!(
        groups,
        [
            "Some(\"omega\") Some(\"payments\") 2",
            "Some(\"alpha\") Some(\"platform\") 1",
            "Some(\"omega\") None 1",
        ]
    );
}

/// What nobody is told one by one is counted with the reason, also for who is told in digests.
#[test]
fn what_was_held_back_is_counted() {
    let oom = |restarts| {
        checkout("aaaaa")
            .last(137, "OOMKilled", "-12s", "-10s")
            .waiting("CrashLoopBackOff", "back-off")
            .restarts(restarts)
    };
    let story = cluster()
        .under(HOURLY)
        .with(checkout("aaaaa").running("T-1h"))
        .see("30s", oom(2))
        .see("90s", oom(3))
        .see("200s", oom(4))
        .once();
    let messages = story.messages("1h");
    let digest = messages.iter().find_map(|m| m.decided.digest.as_ref()).unwrap();
    let held: Vec<String> = digest
        .held
        .iter()
        .map(|h| {
            format!(
                "{} {} {:?}",
                h.reason,
                h.count,
                h.workloads.iter().map(|w| &*w.workload).collect::<Vec<_>>()
            )
        })
        .collect();
    assert_eq!(
        held,
        ["within_window 2 [\"Deployment/checkout\"]", "inhibited_by 1 [\"Deployment/checkout\"]"]
    );
    let text = &messages.iter().find(|m| m.decided.digest.is_some()).unwrap().text;
    assert!(
        text.contains("HELD BACK\n- 2 repeats, counted with their problem: Deployment/checkout"),
        "{text}"
    );
}

/// A silence holds back what a digest would have told as well, and the digest says how much.
#[test]
fn what_is_silenced_is_counted_as_held_back() {
    let silenced = format!(
        "{HOURLY}\nsilences: [{{name: known, match: {{workload: Deployment/cart}}, until: \"{{T+5h}}\"}}]"
    );
    let story = loops(loops_and_recovers(), "20m", "cart").under(&silenced).once();
    let messages = story.messages("1h");
    let digest = messages.iter().find_map(|m| m.decided.digest.as_ref()).unwrap();
    let held: Vec<_> = digest.held.iter().filter(|h| h.reason == Reason::SilencedBy).collect();
    assert!(held.len() == 1 && held[0].count == 1, "{:?}", digest.held);
    assert_eq!(&*held[0].workloads[0].workload, "Deployment/cart");
    assert!(digest.new.incidents.is_empty(), "only what is over is told");
}

/// Taken out by a reload it is told the last digest at once, by whoever still serves it.
#[test]
fn a_receiver_that_goes_with_a_reload_gets_what_was_in_it() {
    let other = HOURLY.replace("mail", "post");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.yaml"), other).unwrap();
    let config = kubeherald::config::load(Some(&dir.path().join("c.yaml")), &[]).unwrap().config;
    let story = loops_and_recovers().under(HOURLY).reload("20m", &config).once();
    let messages = story.messages("10m");
    let last: Vec<_> = messages.iter().filter(|m| m.decided.digest.is_some()).collect();
    assert_eq!(last.len(), 1);
    let told: Vec<_> = last[0].notifications().map(|n| n.receiver.to_string()).collect();
    assert!(last[0].title.starts_with("Last digest: 1 resolved") && told == ["mail"], "{told:?}");
}

/// Far more than a book or a message holds: what is not listed is counted.
#[test]
fn five_thousand_incidents_are_counted_and_the_worst_are_listed() {
    const ALL: u32 = 5_000;
    let bad = |n: u32| looping(pod(&format!("p{n}")).namespace(&format!("ns{}", n % 90)).node("worker-1"), 3);
    let mut story = Script::new().under(HOURLY).capped(5_100, 10).once();
    for n in 0..ALL {
        story = story.see("10m", bad(n));
    }
    let messages = story.messages("55m");
    let digests: Vec<_> = messages.iter().filter(|m| m.decided.digest.is_some()).collect();
    let counts: Vec<_> = digests
        .iter()
        .map(|m| {
            let d = m.decided.digest.as_ref().unwrap();
            (d.new.total, d.ongoing.total, d.resolved.total, m.decided.incidents.len(), m.decided.total)
        })
        .collect();
    assert_eq!(counts, [(ALL, 0, 0, 500, ALL)]);
    let first = digests[0].decided.digest.as_ref().unwrap();
    assert_eq!((first.groups.len(), first.groups_total), (50, 90));
    assert!(digests[0].text.contains("… and 4970 more, not listed here"), "{}", digests[0].text);
    for message in digests {
        let n = message.notifications().next().unwrap();
        let templates = kubeherald::template::Templates::shipped().unwrap();
        let mail = kubeherald::notify::smtp::Mail::render(&n, &templates, "example.com").unwrap();
        assert!(mail.html.len() < 100_000, "{}", mail.html.len());
        assert!(serde_json::to_string(&n).unwrap().len() < 2_000_000);
    }
}
