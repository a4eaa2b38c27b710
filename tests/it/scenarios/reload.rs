//! The rules change while something is wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use kubeherald::app::pipeline::Message;
use kubeherald::config::{self, Config};
use kubeherald::message::Decision;
use kubeherald::testkit::builders::{event, node, pod, stateful_set};

use super::script::{POD, Script, Step, checkout, cluster, looping, says, silent};

/// A configuration with these rules, in the order given, before the shipped ones.
fn rules(rules: &[&str]) -> Arc<Config> {
    configured("", rules)
}

fn configured(settings: &str, rules: &[&str]) -> Arc<Config> {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("rules: [{}]\n", rules.join(", "));
    std::fs::write(dir.path().join("rules.yaml"), text).unwrap();
    let settings = format!("{settings}\nrules: {{paths: [rules.yaml]}}\n");
    std::fs::write(dir.path().join("c.yaml"), settings).unwrap();
    config::load(Some(&dir.path().join("c.yaml")), &[]).unwrap_or_else(|found| panic!("{found}")).config
}

const OFF: &str = "{name: crash-loop, enabled: false}";
const CRASH: &str = "{name: crash, match: {cause: CrashLoopBackOff}}";

/// One pod of Deployment/checkout crashes at 30s.
fn story(config: &Arc<Config>) -> Script {
    let a = checkout("aaaaa");
    cluster().with(a.clone().running("T-1h")).see("30s", looping(a, 2)).configured(config)
}

const TOLD: &str = "+35s first crash Deployment/checkout/app x1 [checkout-688988776f-aaaaa]: the container exited with code 3 after running for 2 s";

/// The line with another rule and time.
fn told(at: &str, rule: &str) -> String {
    TOLD.replacen("+35s first crash", &format!("{at} first {rule}"), 1)
}

#[test]
fn a_rule_that_comes_tells_what_stands_and_one_that_goes_says_so() {
    let (without, with) = (rules(&[OFF]), rules(&[CRASH, OFF]));
    silent(&story(&without), "20m");
    says(&story(&without).reload("2m", &with), "20m", &[&told("+2m5s", "crash").replace("x1", "x2")]);
    says(
        &story(&with).reload("2m", &without),
        "50m",
        &[TOLD, "+2m expired crash Deployment/checkout/app rule_removed after 1m42s"],
    );
    // Before anybody was told: nobody is told.
    silent(&story(&with).reload("32s", &without), "50m");
    // While kubeherald is down.
    let down = story(&with).at("1m", Step::Down).reload("2m", &without).at("3m", Step::Up);
    says(&down, "50m", &[TOLD, "+3m expired crash Deployment/checkout/app rule_removed after 2m42s"]);
    let down = story(&without).at("1m", Step::Down).reload("2m", &with).at("3m", Step::Up);
    says(&down, "50m", &[&told("+3m5s", "crash").replace("x1", "x2")]);
}

#[test]
fn who_wants_no_ends_hears_none() {
    let with = rules(&["{name: crash, match: {cause: CrashLoopBackOff}, send_resolved: false}", OFF]);
    says(&story(&with).reload("2m", &rules(&[OFF])), "50m", &[TOLD]);
}

#[test]
fn a_rule_under_another_name_or_before_the_old_one_goes_on_with_the_incident() {
    let crash = rules(&[CRASH, OFF]);
    let renamed = rules(&["{name: looping, match: {cause: CrashLoopBackOff}}", OFF]);
    let narrow = rules(&[
        "{name: shop, match: {cause: CrashLoopBackOff, namespace: shop}, severity: info}",
        CRASH,
        OFF,
    ]);
    let a = checkout("aaaaa");
    for next in [&renamed, &narrow] {
        let name = if Arc::ptr_eq(next, &renamed) { "looping" } else { "shop" };
        // The next crash is no news, its end is.
        let told = story(&crash)
            .reload("2m", next)
            .see("3m", looping(a.clone(), 3))
            .at("4m", Step::Down)
            .at("5m", Step::Up)
            .see("6m", a.clone().last(3, "Error", "-12s", "-10s").running("-0s").restarts(4));
        let end = format!("+11m2s resolved {name} Deployment/checkout/app recovered after 5m44s");
        says(&told, "20m", &[TOLD, &end]);
    }
    // And it is more severe now.
    let severe = rules(&["{name: shop, match: {cause: CrashLoopBackOff}, severity: critical}", CRASH, OFF]);
    let said = story(&crash).reload("2m", &severe).run("20m");
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[1].starts_with("+2m5s grew shop Deployment/checkout/app "), "{said:#?}");
}

#[test]
fn what_was_told_is_not_told_again_under_another_grouping() {
    let by = |keys: &str| {
        rules(&[&format!("{{name: crash, match: {{cause: CrashLoopBackOff}}, group_by: {keys}}}"), OFF])
    };
    let (fine, coarse) = (by("[cause, object]"), by("[cause, namespace]"));
    let [a, b, c] = ["a", "b", "c"].map(|name| pod(name).node("worker-1"));
    let begin = |config: &Arc<Config>| {
        cluster()
            .with(a.clone().running("T-1h"))
            .with(b.clone().running("T-1h"))
            .with(c.clone().running("T-1h"))
            .see("30s", looping(a.clone(), 2))
            .see("30s", looping(b.clone(), 2))
            .configured(config)
    };
    let well = |pod: &kubeherald::testkit::builders::Pod| {
        pod.clone().last(3, "Error", "-12s", "-10s").running("-0s").restarts(4)
    };
    let firsts = |said: &[String]| said.iter().filter(|line| line.contains(" first ")).count();
    let ends = |said: &[String]| said.iter().filter(|line| line.contains(" resolved ")).count();
    // Two incidents become one group: both stay, and both end.
    let said = begin(&fine)
        .reload("2m", &coarse)
        .see("3m", looping(a.clone(), 3))
        .see("3m", looping(b.clone(), 3))
        .at("4m", Step::Relist)
        .see("6m", well(&a))
        .see("6m", well(&b))
        .run("20m");
    assert_eq!((firsts(&said), ends(&said), said.len()), (2, 2, 4), "{said:#?}");
    // One incident becomes two groups: its members stay with it, a new one stands by itself.
    let said = begin(&coarse)
        .reload("2m", &fine)
        .see("3m", looping(b.clone(), 3))
        .see("4m", looping(c.clone(), 3))
        .at("5m", Step::Down)
        .at("5m", Step::Up)
        .see("6m", well(&a))
        .see("6m", well(&b))
        .see("6m", well(&c))
        .run("20m");
    assert_eq!((firsts(&said), ends(&said), said.len()), (2, 2, 4), "{said:#?}");
    // What was not told yet is told in the new groups.
    let said = begin(&fine).reload("32s", &coarse).run("5m");
    assert_eq!((firsts(&said), said.len()), (1, 1), "{said:#?}");
    assert!(said[0].contains("x2 [a b]"), "{said:#?}");
}

#[test]
fn a_longer_or_shorter_for_counts_from_the_beginning_of_the_problem() {
    let lasting = |span: &str| {
        rules(&[&format!("{{name: crash, match: {{cause: CrashLoopBackOff}}, for: {span}}}"), OFF])
    };
    let at = |said: Vec<String>| -> Vec<String> {
        said.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let a = checkout("aaaaa");
    let again =
        |story: Script| (1..9).fold(story, |s, n| s.see(&format!("{}m", n * 2), looping(a.clone(), n + 2)));
    assert_eq!(at(again(story(&lasting("10m"))).run("1m")), ["+10m23s"]);
    assert_eq!(at(again(story(&lasting("10m")).reload("3m", &lasting("5m"))).run("1m")), ["+5m23s"]);
    assert_eq!(at(again(story(&lasting("5m")).reload("3m", &lasting("10m"))).run("1m")), ["+10m23s"]);
    // Over already.
    assert_eq!(at(again(story(&lasting("10m")).reload("7m", &lasting("1m"))).run("1m")), ["+7m5s"]);
}

#[test]
fn windows_and_steps_are_those_of_the_new_rules() {
    let windowed = |span: &str| {
        rules(&[&format!("{{name: crash, match: {{cause: CrashLoopBackOff}}, window: {span}}}"), OFF])
    };
    let a = checkout("aaaaa");
    let reminded = |first: &Arc<Config>, second: &Arc<Config>| -> Vec<String> {
        let mut story = story(first).reload("2m", second);
        for n in 1..12 {
            story = story.see(&format!("{}m", n * 5), looping(a.clone(), n + 2));
        }
        let said = story.run("10m");
        said.iter().filter(|line| line.contains(" reminder ")).map(|line| line[..6].to_owned()).collect()
    };
    assert_eq!(reminded(&windowed("2h"), &windowed("2h")), Vec::<String>::new());
    assert_eq!(reminded(&windowed("2h"), &windowed("30m")), ["+30m35"]);
    assert_eq!(reminded(&windowed("30m"), &windowed("2h")), Vec::<String>::new());

    let steps = |steps: &str| configured(&format!("engine: {{growth_steps: {steps}}}"), &[CRASH, OFF]);
    let grown = |first: &str, second: &str| -> usize {
        let mut story = cluster().configured(&steps(first));
        for n in 0..6 {
            let pod = checkout(&format!("{n}aaaa"));
            story = story
                .with(pod.clone().running("T-1h"))
                .see(if n < 4 { "30s" } else { "5m" }, looping(pod, 2));
        }
        let said = story.reload("2m", &steps(second)).run("20m");
        said.iter().filter(|line| line.contains(" grew ")).count()
    };
    assert_eq!(grown("[1, 5]", "[1, 5]"), 1, "from four to six");
    assert_eq!(grown("[1, 5]", "[1, 2, 3, 4]"), 0, "four were told");
    assert_eq!(grown("[1, 100]", "[1, 2, 6]"), 1);
}

#[test]
fn raw_events_are_looked_at_once_a_rule_asks_for_them() {
    let raw = rules(&["{name: raw, match: {cause: Event, reason: Rescheduled}, severity: info}"]);
    let plain = rules(&[]);
    let say = |at: &str| event(POD, "Rescheduled", "moved").uid(at);
    let begin = |config| {
        cluster()
            .with(checkout("aaaaa").running("T-1h"))
            .see("1m", say("one"))
            .see("3m", say("two"))
            .configured(config)
    };
    silent(&begin(&plain), "5m");
    let said = begin(&plain).reload("2m", &raw).run("5m");
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].starts_with("+3m5s first raw Deployment/checkout"), "{said:#?}");
    let said = begin(&raw).reload("2m", &plain).run("5m");
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[1].starts_with("+2m expired raw "), "{said:#?}");
}

#[test]
fn what_a_lost_rule_held_back_stands_for_itself() {
    let gone = rules(&["{name: node-not-ready, enabled: false}"]);
    let shipped = rules(&[]);
    let a = checkout("aaaaa");
    let begin = cluster()
        .with(node("worker-2"))
        .with(a.clone().running("T-1h"))
        .see("60s", node("worker-1").lost("T+60s"))
        .see("65s", looping(a, 2))
        .configured(&shipped);
    let said = begin.clone().run("5m");
    assert_eq!(said.len(), 1, "{said:#?}");
    let said = begin.reload("3m", &gone).run("5m");
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said[1].starts_with("+3m expired node-not-ready Node/worker-1 rule_removed"), "{said:#?}");
    assert!(said[2].contains(" first crash-loop Deployment/checkout"), "{said:#?}");
}

#[test]
fn new_patterns_mask_what_is_kept() {
    let (open, masked) = (rules(&[CRASH, OFF]), configured("redact: {patterns: ['code 3']}", &[CRASH, OFF]));
    let severe = |config: &Arc<Config>| {
        let mut config = Config::clone(config);
        config.rules = rules(&["{name: crash, match: {cause: CrashLoopBackOff}, severity: critical}", OFF])
            .rules
            .clone();
        Arc::new(config)
    };
    let said = story(&open).reload("2m", &severe(&masked)).run("5m");
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].contains("code 3") && !said[1].contains("code 3"), "{said:#?}");
}

/// The keys of the messages and the ids of incidents told for the first time, each of which is there once.
fn told_once(script: &Script, then: &str) -> usize {
    let messages = script.messages(then);
    let firsts = messages.iter().filter(|m| m.decided.decision == Decision::First);
    let firsts: Vec<&str> = firsts.map(|m| &*m.decided.incidents[0].id).collect();
    let ids: BTreeSet<&str> = firsts.iter().copied().collect();
    assert_eq!(ids.len(), firsts.len(), "an id twice: {firsts:?}");
    let keys: Vec<String> = messages.iter().map(Message::key).collect();
    let unique: BTreeSet<&String> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len(), "a key twice: {keys:?}");
    firsts.len()
}

/// A rule that is removed and put back while the problem stands, which says itself since when: the same group
/// and the same beginning a second time, told as an incident of its own under keys of its own.
#[test]
fn a_rule_that_comes_back_tells_a_new_incident() {
    let (with, without) = (rules(&[]), rules(&["{name: node-not-ready, enabled: false}"]));
    let lost = node("worker-2").lost("T+30s");
    let begun = cluster()
        .with(node("worker-2"))
        .see("30s", lost)
        .configured(&with)
        .reload("2m", &without)
        .reload("4m", &with)
        .reload("6m", &without);
    assert_eq!(told_once(&begun.clone().reload("8m", &with), "20m"), 3);
    // Also when kubeherald restarts between the two, and remembers nothing but its counters.
    let restarted = begun.at("7m", Step::Down).reload("8m", &with).at("9m", Step::Up);
    assert_eq!(told_once(&restarted, "20m"), 3);
}

/// A recorder counts on in one Event object, whose first time stays: a problem that is over, forgotten, and
/// there again seems to have begun when the first one did.
#[test]
fn an_event_whose_first_time_stays_is_a_new_incident() {
    let text = "Error creating: pods \"x\" is forbidden: exceeded quota";
    let failed = |count: i64| event("StatefulSet/db", "FailedCreate", text).count(count, "T+10s").uid("e1");
    let mut story = Script::new().with(stateful_set("db")).once();
    for round in 0..3 {
        let at = |minute: i64| format!("{}m", round * 180 + minute);
        story = story.see(&at(1), stateful_set("db").available(0));
        for n in 1..4 {
            story = story.see(&at(n), failed(round * 3 + n));
        }
        story = story.see(&at(9), event("StatefulSet/db", "SuccessfulCreate", "create Pod db-0").normal());
        story = story.see(&at(10), stateful_set("db"));
    }
    assert_eq!(told_once(&story, "1h"), 3);
}
