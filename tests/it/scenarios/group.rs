//! Many at once, and for long: groups, steps, windows, caps.

use kubeherald::testkit::builders::{Pod, deployment, node, pod};

use super::script::{Script, looping, says};

fn of(app: usize, n: usize) -> Pod {
    let rs = format!("app{app:02}-688988776f");
    pod(&format!("{rs}-{n:04}")).owned_by_rs(&rs).node("worker-1")
}

fn many(apps: usize, each: usize) -> Script {
    let mut story = Script::new().with(node("worker-1")).once();
    for app in 0..apps {
        story = story.with(deployment(&format!("app{app:02}")).replicas(i64::try_from(each).unwrap()));
        for n in 0..each {
            story = story.see("10s", looping(of(app, n), 2));
        }
    }
    story
}

#[test]
fn two_hundred_pods_of_fifty_deployments_are_fifty_messages() {
    let said = many(50, 4).run("50m");
    assert_eq!(said.len(), 50, "{said:#?}");
    for (app, line) in said.iter().enumerate() {
        let start = format!("+15s first crash-loop Deployment/app{app:02}/app x8 [4 of them]");
        assert!(line.starts_with(&start), "{line}");
    }
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
