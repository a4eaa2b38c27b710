//! How far annotations may silence: what the configuration allows, and for how long from when each was first
//! seen.

use kubeherald::testkit::builders::{deployment, namespace, node, pod};

use super::script::{Script, Step, checkout, cluster, looping, says, says_and_holds, silent};

const UNTIL: &str = "kubeherald.io/silence-until";
const MUTE: &str = "kubeherald.io/mute";

/// Deployment/checkout, whose only pod crashes from ten seconds on.
fn crashing() -> Script {
    let a = checkout("aaaaa");
    cluster().with(a.clone().running("T-1h")).see("10s", looping(a, 3))
}

fn muted() -> Script {
    crashing().with(namespace("shop").annotation(MUTE, "true"))
}

fn first(at: &str) -> String {
    format!(
        "+{at} first crash-loop Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s"
    )
}

const HELD: &str =
    "+15s muted crash-loop Deployment/checkout first: annotation kubeherald.io/mute of Namespace/shop";

#[test]
fn a_mute_ends_after_max_from_when_it_was_first_seen() {
    // A week, unless the configuration says otherwise.
    says_and_holds(&muted(), "7d30m", &[&first("7d")], &[HELD]);
    let short = "annotations: {max: 2h}";
    says_and_holds(&muted().under(short), "2h30m", &[&first("2h")], &[HELD]);
    // It counts from when it is seen, not from when it first holds something back.
    let a = checkout("aaaaa");
    let late = cluster()
        .with(namespace("shop").annotation(MUTE, "true"))
        .with(a.clone().running("T-1h"))
        .see("3h", looping(a, 3))
        .under(short);
    says(&late, "30m", &[&first("3h5s")]);
    // Set while the problem stands.
    let set = crashing().see("12s", namespace("shop").annotation(MUTE, "true")).under(short);
    says_and_holds(&set, "2h30m", &[&first("2h12s")], &[HELD]);
}

#[test]
fn a_restart_does_not_begin_it_anew() {
    let short = "annotations: {max: 2h}";
    let story = muted().under(short).at("30m", Step::Down).at("31m", Step::Up);
    says_and_holds(&story, "2h", &[&first("2h")], &[HELD]);
    // Down while it runs out.
    let story = muted().under(short).at("30m", Step::Down).at("3h", Step::Up);
    let said = story.run("30m");
    assert!(said[0].starts_with("+3h first crash-loop"), "{said:#?}");
}

#[test]
fn another_value_or_the_same_set_again_begins_anew() {
    let short = "annotations: {max: 2h}";
    let again = muted()
        .under(short)
        .see("1h", namespace("shop"))
        .see("61m", namespace("shop").annotation(MUTE, "true"));
    // Told in between, and its reminder is held until the second one ends.
    let said = again.run("3h");
    assert_eq!(
        said.iter().filter_map(|line| line.split(" crash-loop").next()).collect::<Vec<_>>(),
        ["+1h first", "+3h1m reminder"],
        "{said:#?}"
    );
}

#[test]
fn a_moment_far_away_is_bounded_too() {
    let story = crashing()
        .with(deployment("checkout").annotation(UNTIL, "2999-01-01T00:00:00Z"))
        .under("annotations: {max: 2h}");
    says_and_holds(
        &story,
        "2h30m",
        &[&first("2h")],
        &[
            "+15s silenced_by crash-loop Deployment/checkout first: annotation kubeherald.io/silence-until of Deployment/shop/checkout",
        ],
    );
}

/// Pods are made anew all the time; what stands on each of them is counted for their workload.
#[test]
fn pods_that_come_and_go_do_not_begin_it_anew() {
    let mut story = cluster().under("annotations: {max: 2h}").once();
    for n in 0..5 {
        let (from, to) = (n * 40, n * 40 + 39);
        let pod = checkout(&format!("aaaa{n}")).annotation(MUTE, "true");
        story = story.see(&format!("{from}m"), looping(pod.clone().created("-0s"), 3));
        story = story.gone(&format!("{to}m"), pod);
    }
    let said = story.run("10m");
    assert!(
        said.iter().any(|line| line.starts_with("+2h") && line.contains(" first crash-loop")),
        "{said:#?}"
    );
    assert_eq!(said.iter().filter(|line| line.contains(" first ")).count(), 1, "{said:#?}");
}

#[test]
fn what_is_excepted_cannot_be_silenced_by_an_annotation() {
    let critical = "annotations: {except: {severity: critical}}";
    says_and_holds(&muted().under(critical), "30m", &[&first("15s")], &[]);
    // Everything else can.
    let a = checkout("aaaaa");
    let killed = cluster()
        .with(namespace("shop").annotation(MUTE, "true"))
        .with(a.clone().running("T-1h"))
        .see("10s", a.memory("20Mi").last(137, "OOMKilled", "T-1h", "-1s").running("-0s").restarts(1));
    silent(&killed.under(critical), "20m");
    let causes = "annotations: {except: {cause: [CrashLoopBackOff], namespace: shop}}";
    says_and_holds(&muted().under(causes), "30m", &[&first("15s")], &[]);
    says_and_holds(&muted().under("annotations: {except: {cause: [Evicted]}}"), "30m", &[], &[HELD]);
}

#[test]
fn annotations_silence_nothing_where_they_are_switched_off() {
    says_and_holds(&muted().under("annotations: {enabled: false}"), "30m", &[&first("15s")], &[]);
    // Silences of the configuration do.
    let both = "annotations: {enabled: false}\nsilences: [{match: {namespace: shop}, until: \"{T+10m}\"}]";
    says(&muted().under(both), "30m", &[&first("10m")]);
}

/// A kubelet may write to its own node: whoever has taken over a node must not be able to hide its loss.
#[test]
fn a_nodes_own_annotation_cannot_hide_its_loss() {
    let story = |text: &str| {
        Script::new()
            .with(node("worker-1").annotation(MUTE, "true"))
            .see("10s", node("worker-1").annotation(MUTE, "true").lost("-0s"))
            .under(text)
    };
    let said = story("cluster: lab").run("10m");
    assert!(said.len() == 1 && said[0].contains(" first node-not-ready Node/worker-1"), "{said:#?}");
    silent(&story("annotations: {nodes: true}"), "10m");
}

#[test]
fn digests_list_what_annotations_silence() {
    let text = "receivers:
  mail: {webhook: {url: http://localhost/}, digest: {every: 1h, empty: true}}
routes: [{receivers: [mail]}]";
    let story = muted().see("10s", looping(pod("lone").node("worker-1"), 3)).under(text).once();
    let messages = story.messages("2h30m");
    let digests: Vec<_> = messages.iter().filter(|m| m.decided.digest.is_some()).collect();
    assert_eq!(digests.len(), 2);
    for digest in digests {
        let line = "- 2 silenced now by annotation kubeherald.io/mute of Namespace/shop: Deployment/checkout in shop, Pod/lone in shop";
        assert!(digest.text.lines().any(|l| l == line), "{}", digest.text);
    }
}
