//! Rules and receivers that change while problems stand.

use std::time::Duration;

use kubeherald::testkit::receivers::{Reply, WebhookServer};

use super::{CRASH, QUIET, Site, crashing, mount, says, told, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_is_swapped_and_what_stands_is_told_by_its_rules() {
    let site = Site::new().await;
    let hook = WebhookServer::start().await.unwrap();
    std::fs::remove_dir_all(site.path("rules")).unwrap();
    mount(&site.path("rules"), "..v1", &[("own.yaml", &format!("rules:\n{QUIET}"))]);
    site.configure(&[("hook", &hook.url())], "");
    let bot = site.start().await;
    site.server.apply(crashing("a")).unwrap();
    site.server.apply(crashing("b")).unwrap();
    says(&hook, &[]).await;

    // A rule is added, and found without being asked to look.
    let rule = |name: &str, pod: &str| {
        format!("  - {{name: {name}, match: {{cause: CrashLoopBackOff, name: {pod}}}}}\n")
    };
    mount(&site.path("rules"), "..v2", &[("own.yaml", &format!("rules:\n{}{QUIET}", rule("of-a", "a")))]);
    says(&hook, &["first of-a Pod/a"]).await;
    // Another one in a file of its own: what was told is not told again.
    let files = [
        ("own.yaml", format!("rules:\n{}{QUIET}", rule("of-a", "a"))),
        ("more.yaml", format!("rules:\n{}", rule("of-b", "b"))),
    ];
    mount(&site.path("rules"), "..v3", &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    says(&hook, &["first of-a Pod/a", "first of-b Pod/b"]).await;
    // The same under another name: no message.
    let files = [("own.yaml", format!("rules:\n{}{}{QUIET}", rule("about-a", "a"), rule("of-b", "b")))];
    mount(&site.path("rules"), "..v4", &files.each_ref().map(|(name, text)| (*name, text.as_str())));
    says(&hook, &["first of-a Pod/a", "first of-b Pod/b"]).await;
    // Gone: who was told of the beginning is told that it is not followed any more.
    mount(&site.path("rules"), "..v5", &[("own.yaml", &format!("rules:\n{}{QUIET}", rule("of-b", "b")))]);
    says(&hook, &["first of-a Pod/a", "first of-b Pod/b", "expired about-a Pod/a rule_removed"]).await;
    let end = told(&hook).pop().unwrap();
    assert!(end.title.starts_with("No longer followed, rule removed: "), "{end:?}");
    assert!(end.text.contains("the rules were changed"), "{end:?}");
    let metrics = bot.metrics().await;
    assert_eq!(metrics["kubeherald_config_reloads_total{result=\"success\"}"], "4", "one for each swap");
    bot.end().await;

    // And after a restart nothing is repeated.
    let bot = site.start().await;
    says(&hook, &["first of-a Pod/a", "first of-b Pod/b", "expired about-a Pod/a rule_removed"]).await;
    site.server.delete("Pod", "shop", "b").unwrap();
    until("the end of b", || told(&hook).iter().any(|t| t.decision == "resolved" && t.workload == "Pod/b"))
        .await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_receiver_is_drained_and_the_new_one_goes_on() {
    let site = Site::new().await;
    let (old, new) = (WebhookServer::start().await.unwrap(), WebhookServer::start().await.unwrap());
    site.configure(&[("before", &old.url())], "");
    let bot = site.start().await;
    // It is down for a while: what it is owed piles up.
    for _ in 0..40 {
        old.next(Reply::status(503, ""));
    }
    for n in 0..5 {
        site.server.apply(crashing(&format!("p{n}"))).unwrap();
    }
    until("attempts", || !old.received().all().is_empty()).await;
    site.configure(&[("after", &new.url())], "");
    let changed = bot.reloaded().await;
    assert!(changed.contains(&"\"added receiver after\"".to_owned()), "{changed:?}");
    assert!(changed.contains(&"\"removed receiver before\"".to_owned()), "{changed:?}");
    site.server.apply(crashing("late")).unwrap();
    site.server.delete("Pod", "shop", "p0").unwrap();
    until("what the old one was owed", || {
        let delivered = told(&old);
        (0..5).all(|n| delivered.iter().any(|t| t.workload == format!("Pod/p{n}")))
    })
    .await;
    // The end of what the old one was told goes to whoever is there now.
    until("the end", || told(&new).iter().any(|t| t.decision == "resolved" && t.workload == "Pod/p0")).await;
    assert_eq!(super::brief(&new), ["first crash Pod/late", "resolved crash Pod/p0"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(told(&old).iter().all(|t| t.decision == "first" && t.workload != "Pod/late"), "{:?}", told(&old));
    let metrics = bot.metrics().await;
    assert_eq!(metrics["kubeherald_outbox_depth{receiver=\"before\"}"], "0");
    assert_eq!(metrics["kubeherald_dead_letters{receiver=\"before\"}"], "0");
    let first = told(&old).len();
    bot.end().await;
    assert_eq!(told(&old).len(), first);
}

/// What it would have been told in its next digest it is told before it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_digests_that_goes_gets_its_last_one() {
    let site = Site::new().await;
    let (stays, goes) = (WebhookServer::start().await.unwrap(), WebhookServer::start().await.unwrap());
    site.configure(&[("stays", &stays.url()), ("goes", &goes.url())], "");
    let text = std::fs::read_to_string(site.path("kubeherald.yaml")).unwrap();
    let daily = text.replace("  goes:\n", "  goes:\n    digest: {every: 24h}\n");
    site.write("kubeherald.yaml", &daily);
    let bot = site.start().await;
    site.server.apply(crashing("p0")).unwrap();
    until("the first message", || !told(&stays).is_empty()).await;
    assert!(goes.received().all().is_empty(), "nothing one by one");
    site.configure(&[("stays", &stays.url())], "");
    bot.reloaded().await;
    until("the last digest", || !goes.received().all().is_empty()).await;
    let digest = goes.received().all()[0].json();
    assert_eq!(digest["decision"], "digest");
    assert!(digest["title"].as_str().unwrap().starts_with("Last digest: 1 new"), "{}", digest["title"]);
    let metrics = bot.metrics().await;
    assert_eq!(metrics["kubeherald_dead_letters{receiver=\"goes\"}"], "0");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_address_is_used_from_the_next_attempt_on() {
    let site = Site::new().await;
    let (old, new) = (WebhookServer::start().await.unwrap(), WebhookServer::start().await.unwrap());
    site.configure(&[("hook", &old.url())], "");
    let bot = site.start().await;
    // An attempt that is under way for a while, and ends well.
    site.server.apply(crashing("a")).unwrap();
    says(&old, &["first crash Pod/a"]).await;
    for _ in 0..1000 {
        old.next(Reply::status(503, ""));
    }
    site.server.apply(crashing("b")).unwrap();
    until("attempts", || told(&old).iter().filter(|t| t.workload == "Pod/b").count() > 1).await;
    site.configure(&[("hook", &new.url())], "");
    assert!(bot.reloaded().await.contains(&"\"changed receiver hook\"".to_owned()));
    says(&new, &["first crash Pod/b"]).await;
    let attempts = old.received().all().len();
    site.server.apply(crashing("c")).unwrap();
    says(&new, &["first crash Pod/b", "first crash Pod/c"]).await;
    assert_eq!(old.received().all().len(), attempts, "nothing goes to the old address");
    // It goes and comes back while it is owed something: the new one takes over.
    for _ in 0..1000 {
        new.next(Reply::status(503, ""));
    }
    site.server.apply(crashing("d")).unwrap();
    until("attempts", || told(&new).iter().any(|t| t.workload == "Pod/d")).await;
    let third = WebhookServer::start().await.unwrap();
    site.configure(&[("other", &third.url())], "");
    bot.reloaded().await;
    site.configure(&[("other", &third.url()), ("hook", &third.url())], "");
    bot.reloaded().await;
    says(&third, &["first crash Pod/d"]).await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_severities_and_what_needs_a_restart() {
    let site = Site::new().await;
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    let bot = site.start().await;
    site.server.apply(crashing("a")).unwrap();
    says(&hook, &["first crash Pod/a"]).await;
    // Less severe is no news, more severe is.
    site.write("rules/own.yaml", &format!("{}{QUIET}", CRASH.replace("warning", "info")));
    bot.reloaded().await;
    site.write("rules/own.yaml", &format!("{CRASH}{QUIET}"));
    bot.reloaded().await;
    says(&hook, &["first crash Pod/a"]).await;
    site.write("rules/own.yaml", &format!("{}{QUIET}", CRASH.replace("warning", "critical")));
    bot.reloaded().await;
    says(&hook, &["first crash Pod/a", "grew crash Pod/a"]).await;
    // A window that is over by now is reminded of, once.
    let short = CRASH.replace("severity: warning", "severity: critical, window: 1s, max_window: 1h");
    site.write("rules/own.yaml", &format!("{short}{QUIET}"));
    bot.reloaded().await;
    until("a reminder", || told(&hook).iter().any(|t| t.decision == "reminder")).await;
    site.write("rules/own.yaml", &format!("{}{QUIET}", CRASH.replace("warning", "critical")));
    bot.reloaded().await;
    let reminders = told(&hook).iter().filter(|t| t.decision == "reminder").count();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(told(&hook).iter().filter(|t| t.decision == "reminder").count(), reminders, "a window of 1h");

    site.configure(&[("hook", &hook.url())], "watch: {namespaces: {exclude: [other]}}\n");
    let path = site.path("kubeherald.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("state.db", "other.db").replace("127.0.0.1:0", "127.0.0.1:1");
    site.write("kubeherald.yaml", &text.replace("cluster: lab", "cluster: another"));
    let (status, body) = bot.reload().await;
    assert_eq!(status, 200, "{body}");
    let warnings: Vec<&str> =
        body["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(
        warnings,
        [
            "`store.path` was changed: that takes a restart; the rest is in force",
            "`http.listen` was changed: that takes a restart; the rest is in force",
            "`watch.namespaces` was changed: that takes a restart; the rest is in force",
        ]
    );
    site.server.apply(crashing("z")).unwrap();
    until("another cluster", || hook.received().all().iter().any(|got| got.json()["cluster"] == "another"))
        .await;
    bot.end().await;
}
