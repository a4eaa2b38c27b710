//! Many at once, and for long: groups, steps, windows, caps.

use kubeherald::testkit::builders::{Pod, deployment, node, pod};

use super::script::{Script, deleted, looping, says};

fn of(app: usize, n: usize) -> Pod {
    let rs = format!("app{app:02}-688988776f");
    pod(&format!("{rs}-{n:04}")).owned_by_rs(&rs).node("worker-1")
}

fn many(apps: usize, each: usize) -> Script {
    let mut story = Script::new().with(node("worker-1")).once();
    for app in 0..apps {
        story = story.with(deployment(&format!("app{app:02}")).replicas(i64::try_from(each).unwrap()));
        for n in 0..each {
            // The first twenty a moment before the others: which are told one by one is then no
            // matter of chance.
            let when = if app < 20 { "10s" } else { "12s" };
            story = story.see(when, looping(of(app, n), 2));
        }
    }
    story
}

#[test]
fn two_hundred_pods_of_twenty_deployments_are_twenty_messages() {
    let said = many(20, 10).run("50m");
    assert_eq!(said.len(), 20, "{said:#?}");
    for (app, line) in said.iter().enumerate() {
        let start = format!("+15s first crash-loop Deployment/app{app:02}/app x20 [10 of them]");
        assert!(line.starts_with(&start), "{line}");
    }
}

/// `app20, app21, …` as a summary lists them.
fn listed(apps: std::ops::Range<usize>) -> String {
    let names: Vec<String> = apps.map(|app| format!("crash-loop Deployment/app{app:02}")).collect();
    names.join(", ")
}

#[test]
fn more_than_twenty_at_once_are_a_storm_and_single_ones_resume_after_it() {
    let late = "late-688988776f";
    let lone = pod(&format!("{late}-0001")).owned_by_rs(late).node("worker-1");
    let said = many(50, 4).with(deployment("late")).see("5m", looping(lone, 2)).run("50m");
    assert_eq!(said.len(), 22, "{said:#?}");
    for (app, line) in said.iter().take(20).enumerate() {
        assert!(line.starts_with(&format!("+15s first crash-loop Deployment/app{app:02}/app ")), "{line}");
    }
    assert_eq!(said[20], format!("+27s storm 30: {}", listed(20..50)));
    assert!(said[21].starts_with("+5m5s first crash-loop Deployment/late/app "), "{}", said[21]);
}

#[test]
fn what_a_storm_told_is_resolved_by_itself() {
    let mut story = many(21, 1);
    story = story.gone("2m", of(20, 0)).at("2m", deleted(deployment("app20")));
    let said = story.run("20m");
    assert!(said[20].starts_with("+27s first crash-loop Deployment/app20/app x2"), "{}", said[20]);
    assert_eq!(said[21], "+2m resolved crash-loop Deployment/app20/app objects_gone after 2m");
    assert_eq!(said.len(), 22, "{said:#?}");
}

#[test]
fn what_is_over_before_the_storm_is_told_was_never_told() {
    let mut story = many(23, 1);
    story = story.gone("18s", of(20, 0)).at("18s", deleted(deployment("app20")));
    let said = story.run("20m");
    assert_eq!(said[20], format!("+27s storm 2: {}", listed(21..23)));
    assert_eq!(said.len(), 21, "{said:#?}");
}

#[test]
fn growth_breaks_through_at_its_steps_only() {
    let mut story = Script::new().with(node("worker-1")).with(deployment("app00").replicas(100)).once();
    for n in 0..30 {
        story = story.see(&format!("{}s", 10 + n * 10), looping(of(0, n), 2));
    }
    says(
        &story,
        "30m",
        &[
            "+15s first crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+55s grew crash-loop Deployment/app00/app x10 [5 of them]: the container exited with code 3 after running for 2 s",
            "+3m25s grew crash-loop Deployment/app00/app x40 [20 of them]: the container exited with code 3 after running for 2 s",
        ],
    );
}

#[test]
fn members_past_the_cap_are_counted() {
    says(
        &many(1, 10).capped(100, 4),
        "50m",
        &[
            "+15s first crash-loop Deployment/app00/app x20 [10 of them]: the container exited with code 3 after running for 2 s",
        ],
    );
}

#[test]
fn a_member_past_the_cap_counts_once_however_often_it_crashes() {
    let mut story = many(1, 10).capped(100, 4);
    for n in 1..30 {
        story = story.see(&format!("{}s", 20 + n * 10), looping(of(0, 9), n + 2));
    }
    says(
        &story,
        "50m",
        &[
            "+15s first crash-loop Deployment/app00/app x20 [10 of them]: the container exited with code 3 after running for 2 s",
        ],
    );
}

#[test]
fn incidents_past_the_cap_are_not_told_and_the_first_stay() {
    let said = many(5, 1).capped(3, 100).run("50m");
    assert_eq!(said.len(), 3, "{said:#?}");
}

#[test]
fn reminders_come_at_doubling_distances() {
    let story =
        Script::new().with(node("worker-1")).with(deployment("app00")).see("10s", looping(of(0, 0), 2));
    says(
        &story,
        "6d",
        &[
            "+15s first crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+1h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+3h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+7h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+15h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+1d7h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+2d7h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+3d7h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+4d7h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
            "+5d7h15s reminder crash-loop Deployment/app00/app x2 [app00-688988776f-0000]: the container exited with code 3 after running for 2 s",
        ],
    );
}

/// What is left of a storm when its summary is due may be a single problem, for all receivers or for one.
#[test]
fn a_summary_of_one_problem_is_that_problems_own_message() {
    let mut story = Script::new().with(node("worker-1"));
    for n in 0..4 {
        story = story.see("10s", looping(pod(&format!("bare-{n}")).node("worker-1"), 3));
    }
    let story = story.under("storm: {incidents: 3}").once();
    let said = story.run("30m");
    let told: Vec<&str> = said.iter().filter_map(|line| line.split(" crash-loop").next()).collect();
    assert_eq!(told, ["+15s first", "+15s first", "+15s first", "+25s first"], "{said:#?}");
    let messages = story.messages("30m");
    let last = messages.last().unwrap();
    assert_eq!((last.decided.seq, last.decided.total), (1, 1));
    assert!(!last.title.contains("at once") && last.title.contains("keeps crashing"), "{}", last.title);
    // Its end is told as that of any other.
    let mut ends = story;
    for n in 0..4 {
        let pod = pod(&format!("bare-{n}")).node("worker-1");
        ends = ends.see("5m", pod.last(3, "Error", "-12s", "-10s").running("-0s").restarts(3));
    }
    let said = ends.run("30m");
    assert_eq!(said.iter().filter(|line| line.contains(" resolved ")).count(), 4, "{said:#?}");
}

#[test]
fn a_storm_is_one_only_for_receivers_of_several_problems() {
    let text = "
storm: {incidents: 2}
receivers:
  all: {webhook: {url: 'http://127.0.0.1:9/a'}}
  one: {webhook: {url: 'http://127.0.0.1:9/b'}}
routes:
  - {match: {name: bare-4}, receivers: [one]}
  - {receivers: [all]}
";
    let mut story = Script::new().with(node("worker-1"));
    for n in 0..5 {
        let when = if n < 2 { "10s" } else { "12s" };
        story = story.see(when, looping(pod(&format!("bare-{n}")).node("worker-1"), 3));
    }
    let said = story.under(text).once().run("30m");
    assert_eq!(
        said.iter().filter(|line| line.contains("+27s first crash-loop Pod/bare-4")).count(),
        1,
        "{said:#?}"
    );
    assert_eq!(said.iter().filter(|line| line.contains("+27s storm 2:")).count(), 1, "{said:#?}");
}
