//! Configurations with errors: the last good one stays in force, and that is said once.

use std::time::Duration;

use kubeherald::clock::{self, Clock};
use kubeherald::testkit::receivers::WebhookServer;

use super::{CRASH, QUIET, Site, Told, crashing, says, told, until};

const THREE: &str = "rules:\n  - {name: crash, match: {cause: CrashLopBackOff}, for: 1 minute}\n  - {name: other, match: {cause: Evicted}, windo: 1h}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_mistakes_are_told_once_and_the_last_good_rules_go_on() {
    let site = Site::new().await;
    let (hook, other) = (WebhookServer::start().await.unwrap(), WebhookServer::start().await.unwrap());
    let routes =
        "routes:\n  - {match: {namespace: elsewhere}, receivers: [other]}\n  - {receivers: [hook]}\n";
    site.configure(&[("other", &other.url()), ("hook", &hook.url())], routes);
    let bot = site.start().await;
    let good = bot.metrics().await;
    assert_eq!(good["kubeherald_config_last_reload_successful"], "1");
    assert_eq!(bot.check("config").await.0, "ok");

    // Found by itself.
    site.write("rules/own.yaml", THREE);
    says(&hook, &["notice config_broken"]).await;
    let notice = told(&hook).remove(0);
    assert_eq!(notice.title, "The configuration has 3 errors: the last good one stays in force");
    for part in ["own.yaml:2: ", "CrashLopBackOff", "CrashLoopBackOff", "1 minute", "own.yaml:3: ", "windo"] {
        assert!(notice.text.contains(part), "{part} in {}", notice.text);
    }
    // Asked for: the same frames as `check`, and no second notice.
    let (status, body) = bot.reload().await;
    let error = body["error"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(error.contains("own.yaml:2:") && error.contains("^^^^"), "{error}");
    site.signal.notify_one();
    tokio::time::sleep(Duration::from_millis(300)).await;
    says(&hook, &["notice config_broken"]).await;
    let metrics = bot.metrics().await;
    assert_eq!(metrics["kubeherald_config_last_reload_successful"], "0");
    assert_eq!(metrics["kubeherald_config_reloads_total{result=\"failure\"}"], "3");
    let hash = |metrics: &std::collections::BTreeMap<String, String>| {
        metrics.keys().find(|name| name.starts_with("kubeherald_config_info")).unwrap().clone()
    };
    assert_eq!(hash(&metrics), hash(&good), "what is in force");
    let (status, detail) = bot.check("config").await;
    assert!(status == "degraded" && detail.contains("own.yaml:2: "), "{status}: {detail}");
    assert_eq!(bot.get("/readyz").await.0, 200, "still ready");
    // The last good rules speak.
    site.server.apply(crashing("a")).unwrap();
    says(&hook, &["notice config_broken", "first crash Pod/a"]).await;

    // A restart with the store of the broken time needs a good configuration, and says so once. Here:
    // other mistakes are told again, in the same thread, and the mended ones too.
    site.write("rules/own.yaml", &THREE.replace("windo", "mathc"));
    says(&hook, &["notice config_broken", "first crash Pod/a", "notice config_broken"]).await;
    site.write("rules/own.yaml", &format!("{CRASH}{QUIET}"));
    let all = ["notice config_broken", "first crash Pod/a", "notice config_broken", "notice config_mended"];
    says(&hook, &all).await;
    let threads: std::collections::BTreeSet<String> = hook
        .received()
        .all()
        .iter()
        .map(kubeherald::testkit::receivers::Received::json)
        .filter(|body| body["decision"] == "notice")
        .map(|body| body["thread"].to_string())
        .collect();
    assert_eq!(threads.len(), 1, "{threads:?}");
    assert_eq!(bot.check("config").await.0, "ok");
    assert_eq!(bot.metrics().await["kubeherald_config_last_reload_successful"], "1");
    assert_eq!(told(&other), [], "not the default receiver");
    bot.end().await;
    let bot = site.start().await;
    says(&hook, &all).await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_survives_a_restart_and_is_taken_back_after_it() {
    let site = Site::new().await;
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    let bot = site.start().await;
    site.write("rules/own.yaml", THREE);
    says(&hook, &["notice config_broken"]).await;
    bot.end().await;
    assert!(site.source().begin().is_err(), "it does not start with it");
    site.write("rules/own.yaml", &format!("{CRASH}{QUIET}"));
    let bot = site.start().await;
    says(&hook, &["notice config_broken", "notice config_mended"]).await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_half_written_for_a_moment_is_no_error() {
    let site = Site::new().await;
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    let mut source = site.source();
    source.settle = Duration::from_millis(400);
    let bot = site.start_from(source).await;
    site.server.apply(crashing("a")).unwrap();
    says(&hook, &["first crash Pod/a"]).await;
    for n in 0..4 {
        // In place, in two parts, as editors do; half of it may be a whole, without the rule.
        let half = if n % 2 == 0 { "rules:\n  - {name: cra" } else { "" };
        std::fs::write(site.path("rules/own.yaml"), half).unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        std::fs::write(site.path("rules/own.yaml"), format!("{CRASH}{QUIET}# {n}\n")).unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    // Asked in the middle of it.
    std::fs::write(site.path("rules/own.yaml"), "rules:\n  - {name: cra").unwrap();
    let (asked, ()) = tokio::join!(bot.reload(), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        std::fs::write(site.path("rules/own.yaml"), format!("{CRASH}{QUIET}# done\n")).unwrap();
    });
    assert_eq!(asked.0, 200, "{}", asked.1);
    says(&hook, &["first crash Pod/a"]).await;
    assert_eq!(bot.metrics().await["kubeherald_config_reloads_total{result=\"failure\"}"], "0");
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_in_a_circle_or_without_end_are_refused() {
    let mut site = Site::new().await;
    // Asked for, so that the answer says what changed.
    site.poll = Duration::from_secs(3_600);
    let hook = WebhookServer::start().await.unwrap();
    site.write("templates/slack.title.hbs", "{{mark}} {{title}}");
    site.write("hook.yaml", "{what: \"{{title}}\"}");
    let template = format!(
        "  own:\n    webhook: {{url: \"{}\", template: hook.yaml}}\nrules: {{dir: rules}}",
        hook.url()
    );
    site.configure(&[("hook", &hook.url())], "templates: {dir: templates}\n");
    let text = std::fs::read_to_string(site.path("kubeherald.yaml")).unwrap();
    site.write("kubeherald.yaml", &text.replace("rules: {dir: rules}", &template));
    let bot = site.start().await;

    let cycle = [
        ("templates/slack.title.hbs", "{{> _a}}"),
        ("templates/_a.hbs", "{{> _b}}"),
        ("templates/_b.hbs", "{{> _a}}"),
    ];
    for (name, text) in cycle {
        site.write(name, text);
    }
    let (status, body) = bot.reload().await;
    let error = body["error"].as_str().unwrap();
    assert!(status == 400 && error.contains("includes itself: _a → _b → _a"), "{error}");
    // 100 × 100 × 1 KiB.
    let every = |body: &str| {
        format!("{{{{#each incidents}}}}{{{{#each ../incidents}}}}{body}{{{{/each}}}}{{{{/each}}}}")
    };
    let huge = every(&"x".repeat(20_000)).repeat(3);
    site.write("templates/slack.title.hbs", "{{mark}} {{title}}");
    site.write("templates/email.text.hbs", &huge);
    site.write("templates/_b.hbs", "b");
    let (status, body) = bot.reload().await;
    let error = body["error"].as_str().unwrap();
    assert!(status == 400 && error.contains("email.text.hbs"), "{error}");
    assert!(error.contains("larger than 256 KiB"), "{error}");
    std::fs::remove_file(site.path("templates/email.text.hbs")).unwrap();
    // The document of a webhook is looked at, too.
    site.write("hook.yaml", "{what: \"{{titel}}\"}");
    let (status, body) = bot.reload().await;
    let error = body["error"].as_str().unwrap();
    assert!(status == 400 && error.contains("hook.yaml:1") && error.contains("`title`"), "{error}");
    site.write("hook.yaml", "{who: \"{{title}}\"}");
    let changed = bot.reloaded().await;
    assert!(changed.iter().any(|c| c.contains("changed") && c.contains("hook.yaml")), "{changed:?}");
    assert!(changed.contains(&"\"changed receiver own\"".to_owned()), "{changed:?}");
    site.server.apply(crashing("a")).unwrap();
    until("a document", || hook.received().all().iter().any(|got| got.body.starts_with("{\"who\":"))).await;
    bot.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blindness_is_told_once_and_so_is_its_end() {
    let mut site = Site::new().await;
    site.clock = Clock::played(clock::now(), 30);
    let hook = WebhookServer::start().await.unwrap();
    site.configure(&[("hook", &hook.url())], "");
    site.server.forbid("events");
    let bot = site.start().await;
    says(&hook, &["notice blind"]).await;
    let notice: Told = told(&hook).remove(0);
    assert_eq!(notice.title, "Blind: 1 kind of objects cannot be read: Event");
    assert!(notice.text.contains("Event: since ") && notice.text.contains(": 403: "), "{}", notice.text);
    bot.end().await;
    // Nothing is repeated by a restart.
    let bot = site.start().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    says(&hook, &["notice blind"]).await;
    site.server.allow("events");
    bot.end().await;
    // The end is told, by whichever process sees it.
    let bot = site.start().await;
    says(&hook, &["notice blind", "notice sees_again"]).await;
    assert_eq!(told(&hook)[1].title, "No longer blind: Event can be read again");
    bot.end().await;
}
