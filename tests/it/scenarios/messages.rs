//! What a message says beside its headline: since when, how much, what to do next, and that it is over.

use kubeherald::app::pipeline::Message;
use kubeherald::message::{Decision, IncidentView, Notification};
use kubeherald::template::{Name, Templates, model};
use kubeherald::testkit::builders::{
    claim, cron_job, deployment, event, job, namespace, node, pod, replica_set, stateful_set,
};

use super::script::{POD, RS, Script, checkout, cluster, fresh, looping};

fn view(message: &Message) -> &IncidentView {
    &message.decided.incidents[0]
}

/// The first message, which is about one incident.
fn first(script: &Script, then: &str) -> Message {
    let messages = script.messages(then);
    let said = messages.into_iter().find(|message| message.decided.decision == Decision::First);
    said.expect("a first message")
}

/// The line of a message's text that begins with `label`.
fn line(message: &Message, label: &str) -> String {
    let found = message.text.lines().find_map(|line| line.strip_prefix(label));
    found.unwrap_or_default().to_owned()
}

/// The line with numbers and times.
fn measure(message: &Message) -> String {
    message.text.lines().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_loop_that_was_there_at_the_start_is_as_old_as_its_pod() {
    // Four restarts in three minutes: it never ran well.
    let loops = checkout("aaaaa").created("T-3m").scheduled("T-3m").last(3, "Error", "-42s", "-40s");
    let loops = loops.waiting("CrashLoopBackOff", "back-off 1m20s restarting failed container").restarts(4);
    let told = first(&cluster().with(loops), "1m");
    assert_eq!(measure(&told), "1 of 1 pod, 4 restarts, since 07:57:00 UTC (3 min)");
    assert!(!view(&told).since_at_least);
}

#[test]
fn a_loop_of_a_pod_that_ran_well_before_is_at_least_as_old_as_its_last_run() {
    let loops = checkout("aaaaa").created("T-9d").scheduled("T-9d").last(3, "Error", "-72s", "-70s");
    let loops = loops.waiting("CrashLoopBackOff", "back-off 1m20s restarting failed container").restarts(4);
    let told = first(&cluster().with(loops.clone()), "1m");
    assert_eq!(measure(&told), "1 of 1 pod, 4 restarts, at least since 07:58:48 UTC (1 min)");
    let ends = cluster().with(loops.clone()).see("2m", loops.last(3, "Error", "-72s", "-70s").running("-0s"));
    let said = ends.messages("10m");
    let over = said.iter().find(|message| message.decided.decision == Decision::Resolved).unwrap();
    assert!(over.title.contains("runs again (crashed for at least "), "{}", over.title);
    assert!(measure(over).contains("from 07:58:48 UTC or earlier to "), "{}", over.text);
}

#[test]
fn a_loop_that_is_seen_from_the_beginning_is_no_bound() {
    let told = first(&cluster().see("10s", fresh()).see("30s", looping(fresh(), 2)), "1m");
    assert_eq!(measure(&told), "1 of 1 pod, 2 restarts, since 08:00:10 UTC (25 s)");
    // Old restarts are in the kubelet's count: both numbers are told.
    let calm = checkout("aaaaa").created("T-9d").scheduled("T-9d").running("T-9d").restarts(100);
    let told = first(&cluster().with(calm.clone()).see("30s", looping(calm, 102)), "1m");
    assert_eq!(measure(&told), "1 of 1 pod, 1 crash (102 restarts in all), since 08:00:18 UTC (17 s)");
}

#[test]
fn what_waits_since_its_last_run_ended_says_since_when() {
    let gone = checkout("aaaaa").created("T-9d").scheduled("T-9d").last(0, "Completed", "T-9d", "T-20m");
    let told = first(
        &cluster().with(
            gone.waiting("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: not found")
                .restarts(1),
        ),
        "1m",
    );
    assert_eq!(measure(&told), "1 of 1 pod, since 07:40:00 UTC (20 min)");
}

#[test]
fn an_event_that_repeats_began_when_it_was_first_seen() {
    let failing = |reason: &str| {
        event(POD, reason, "Failed to create pod sandbox: network plugin is not ready").count(41, "T-5m")
    };
    let waiting = fresh().created("T-6m").scheduled("T-6m");
    let told = first(
        &cluster().with(waiting.clone()).see("5s", failing("FailedCreatePodSandBox").last_seen("-0s")),
        "3m",
    );
    assert_eq!(view(&told).since.to_string(), "2026-11-21T07:54:00Z", "scheduled then: {}", told.text);
}

fn failed_job(name: &str) -> kubeherald::testkit::builders::Job {
    job(name).owned_by("CronJob", "noisy").created("-1m")
}

#[test]
fn the_next_step_is_about_the_object_that_shows_more() {
    let next = |script: &Script, then: &str| line(&first(script, then), "Look: ");
    let with_pod = |job: &str| {
        pod(&format!("{job}-x2x4z"))
            .owned_by("Job", job)
            .restart_policy("Never")
            .node("worker-1")
            .terminated(3, "Error", "-3s", "-1s")
    };
    // The Job of a CronJob, and the last one that failed.
    let begin = Script::new().with(node("worker-1")).with(cron_job("noisy"));
    let story = begin
        .clone()
        .see("1m", failed_job("noisy-29921287"))
        .see("62s", with_pod("noisy-29921287").phase("Failed"))
        .see("65s", failed_job("noisy-29921287").backoff_limit("-0s"));
    assert_eq!(next(&story, "1m"), "kubectl -n shop logs job/noisy-29921287 --tail=50");
    let deadline = failed_job("noisy-1").failed(
        "DeadlineExceeded",
        "Job was active longer than specified deadline",
        "-0s",
    );
    let never_ran = begin.see("1m", failed_job("noisy-1")).see("65s", deadline);
    assert_eq!(next(&never_ran, "1m"), "kubectl -n shop describe job/noisy-1", "there is no log");

    let unbound =
        pod("checkout-688988776f-aaaaa").owned_by_rs(RS).unschedulable("0/3 nodes are available", "-0s");
    let story = cluster().see("10s", unbound);
    assert_eq!(next(&story, "2m"), format!("kubectl -n shop describe pod/{RS}-aaaaa"));
    let quota =
        "pods \"x\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4";
    let story = cluster().see("10s", deployment("checkout").replica_failure(quota, "-0s"));
    assert_eq!(next(&story, "2m"), "kubectl -n shop describe resourcequota");
    let story = cluster()
        .see("10s", claim("data"))
        .see("15s", event("PersistentVolumeClaim/data", "ProvisioningFailed", "no such class"));
    assert_eq!(next(&story, "5m"), "kubectl -n shop describe persistentvolumeclaim/data");
    let held = pod("db-0").owned_by("StatefulSet", "db").node("worker-1").finalizer("example.com/backup");
    let story =
        Script::new().with(node("worker-1")).with(stateful_set("db")).see("10s", held.deleting("-0s"));
    assert_eq!(next(&story, "20m"), "kubectl -n shop get pod/db-0 -o yaml", "`describe` shows no finalizers");
    let story = cluster().with(checkout("aaaaa").running("T-1h")).see("30s", looping(checkout("aaaaa"), 2));
    assert_eq!(next(&story, "1m"), format!("kubectl -n shop logs {RS}-aaaaa -c app --tail=50"));
}

#[test]
fn a_pod_that_is_gone_is_marked_and_nobody_is_sent_to_it() {
    let evicted = |name: &str| checkout(name).failed("Evicted", "The node was low on resource: memory.");
    let both = cluster()
        .with(checkout("aaaaa").running("T-1h"))
        .with(checkout("bbbbb").running("T-1h"))
        .see("30s", evicted("aaaaa"))
        .see("31s", evicted("bbbbb"));
    let one_gone = both.clone().gone("33s", checkout("aaaaa"));
    let told = first(&one_gone, "1m");
    assert_eq!(line(&told, "Objects: "), format!("{RS}-aaaaa (gone), {RS}-bbbbb"));
    assert_eq!(line(&told, "Look: "), format!("kubectl -n shop describe pod/{RS}-bbbbb"));
    let none_left = first(&one_gone.gone("34s", checkout("bbbbb")), "1m");
    assert_eq!(line(&none_left, "Objects: "), format!("{RS}-aaaaa, {RS}-bbbbb, all gone"));
    assert_eq!(line(&none_left, "Look: "), "kubectl -n shop describe deployment/checkout");
}

#[test]
fn a_rollout_that_mends_it_says_that_the_affected_pods_are_gone() {
    let bad = checkout("aaaaa")
        .waiting("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: not found");
    let good =
        pod("checkout-5d9c7b4c8-bbbbb").owned_by_rs("checkout-5d9c7b4c8").node("worker-1").running("-0s");
    let story = cluster()
        .see("10s", bad.clone())
        .see("10s", deployment("checkout").available(0))
        .see("3m", replica_set("checkout-5d9c7b4c8"))
        .see("3m", good)
        .see("3m", deployment("checkout"))
        .gone("3m1s", bad);
    let said = story.messages("10m");
    let over = said.last().unwrap();
    assert!(
        over.title.starts_with("Resolved: Deployment/checkout in shop pulls its image again (failed for "),
        "{}",
        over.title
    );
    assert_eq!(line(over, "Note: "), "the affected pods are gone; the remaining ones are healthy");
    let removed = cluster()
        .see("10s", checkout("aaaaa").waiting("ImagePullBackOff", "not found"))
        .gone("3m", deployment("checkout"))
        .gone("3m1s", checkout("aaaaa"));
    let said = removed.messages("30m");
    let over = said.last().unwrap();
    assert!(
        over.title
            .starts_with("Resolved: The affected pod of Deployment/checkout in shop is gone (failed for "),
        "{}",
        over.title
    );
    assert_eq!(line(over, "Note: "), "the affected pods are gone; the workload was removed or wants no pods");
}

#[test]
fn a_container_that_ends_without_an_error_keeps_exiting() {
    let ends = |restarts| {
        checkout("aaaaa")
            .last(0, "Completed", "-12s", "-10s")
            .waiting("CrashLoopBackOff", "back-off 10s")
            .restarts(restarts)
    };
    let told = first(&cluster().with(checkout("aaaaa").running("T-1h")).see("30s", ends(2)), "1m");
    assert_eq!(told.title, "Deployment/checkout in shop keeps exiting (container app): exit code 0");
}

#[test]
fn a_runbook_may_stand_at_the_workload_or_its_namespace() {
    const KEY: &str = "kubeherald.io/runbook";
    let under = |workload: Option<&str>, space: Option<&str>| {
        let mut shop = namespace("shop");
        let mut web = deployment("checkout");
        if let Some(url) = space {
            shop = shop.annotation(KEY, url);
        }
        if let Some(url) = workload {
            web = web.annotation(KEY, url);
        }
        let story = Script::new().with(node("worker-1")).with(shop).with(web).with(replica_set(RS));
        let told = first(&story.see("30s", looping(checkout("aaaaa"), 2)), "1m");
        line(&told, "Runbook: ")
    };
    let (own, general) = ("https://wiki.example.com/checkout", "https://wiki.example.com/shop");
    assert_eq!(under(None, Some(general)), general);
    assert_eq!(under(Some(own), Some(general)), own, "the more specific one counts");
    for hostile in
        ["javascript:alert(1)", "https://wiki.example.com@evil.example/", "https://a b", "see the wiki"]
    {
        assert_eq!(under(Some(hostile), Some(general)), general, "{hostile} is not taken");
        assert_eq!(under(Some(hostile), None), "", "{hostile} is not taken");
    }
}

#[test]
fn the_line_that_silences_an_incident_is_in_the_message_where_the_bot_takes_it() {
    const LISTEN: &str = "http: {listen: \"127.0.0.1:0\"";
    let told = |config: &str| {
        let story =
            cluster().with(checkout("aaaaa").running("T-1h")).see("30s", looping(checkout("aaaaa"), 2));
        let well = checkout("aaaaa").last(3, "Error", "-12s", "-10s").running("-0s").restarts(3);
        story.see("2m", well).under(config).once().messages("10m")
    };
    let with_token =
        format!("{LISTEN}, token: {{env: TOKEN}}, command: kubectl -n ops exec deploy/bot -- kubeherald}}\n");
    let said = told(&with_token);
    let id = &view(&said[0]).id;
    assert_eq!(
        line(&said[0], "Silence: "),
        format!("kubectl -n ops exec deploy/bot -- kubeherald silence add incident={id} --for 2h")
    );
    assert_eq!(said[1].decided.decision, Decision::Resolved);
    assert!(!said[1].text.contains("silence add"), "what is over needs no silence: {}", said[1].text);
    let without = told(&format!("{LISTEN}, command: kubeherald}}\n"));
    assert!(!without[0].text.contains("silence add"), "nobody could use it: {}", without[0].text);
}

/// Gmail and Outlook take a mail with another subject out of its thread.
#[test]
fn all_mails_of_an_incident_have_the_subject_of_the_first() {
    let well = |pod: kubeherald::testkit::builders::Pod| {
        pod.last(3, "Error", "-12s", "-10s").running("-0s").restarts(4)
    };
    let mut story =
        cluster().with(checkout("aaaaa").running("T-1h")).see("30s", looping(checkout("aaaaa"), 2));
    for n in 0..6 {
        story = story.see("2m", looping(checkout(&format!("more{n}")), 2));
    }
    for n in 0..6 {
        story = story.see("90m", well(checkout(&format!("more{n}"))));
    }
    let story = story.see("90m", well(checkout("aaaaa"))).see("100m", looping(checkout("aaaaa"), 9));
    let messages = story.messages("5m");
    let templates = Templates::shipped().unwrap();
    let mail = |message: &Message| {
        let n: Notification = message.notifications().next().unwrap();
        let values = model::notification(&n);
        let subject = templates.render(Name::EmailSubject, &values).unwrap();
        let text = templates.render(Name::EmailText, &values).unwrap();
        (message.decided.decision, subject, text.lines().next().unwrap_or_default().to_owned())
    };
    let mails: Vec<_> = messages.iter().map(mail).collect();
    let kinds: Vec<Decision> = mails.iter().map(|(decision, ..)| *decision).collect();
    assert!(
        [Decision::Grew, Decision::Reminder, Decision::Resolved, Decision::Reopened]
            .iter()
            .all(|d| kinds.contains(d)),
        "{kinds:?}"
    );
    let base = &mails[0].1;
    assert_eq!(base, "[critical] Deployment/checkout in shop keeps crashing (container app): exit code 3");
    for (decision, subject, text) in &mails[1..] {
        assert_eq!(subject, &format!("Re: {base}"), "{decision}");
        assert!(!base.ends_with(text.as_str()), "the first line says what is new: {text}");
    }
    let over = mails.iter().find(|(decision, ..)| *decision == Decision::Resolved).unwrap();
    assert!(over.2.starts_with("Resolved: Deployment/checkout in shop runs again ("), "{over:?}");
}
