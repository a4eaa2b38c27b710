use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use kubeherald::message::Decision;
use kubeherald::notify::http::{Class, class as status_class};
use kubeherald::notify::webhook::{Preset, WebhookBody};
use kubeherald::notify::{NotifierConfig, Outcome, SlackConfig, WebhookAuth, WebhookConfig};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{Reply, SlackServer, WebhookServer};

use super::{class, inline, notifier, says, tell};

#[tokio::test]
async fn every_status_of_every_http_notifier_has_its_outcome() {
    let hook = WebhookServer::start().await.unwrap();
    let slack = SlackServer::start().await.unwrap();
    let bot = SlackConfig { api_url: slack.api_url(), ..SlackConfig::bot(inline("xoxb-test"), "#alerts") };
    let notifiers = [
        ("webhook", notifier(NotifierConfig::Webhook(WebhookConfig::new(inline(hook.url()))))),
        ("slack webhook", notifier(NotifierConfig::Slack(SlackConfig::webhook(inline(slack.webhook_url()))))),
        ("slack bot", notifier(NotifierConfig::Slack(bot))),
    ];
    let n = says(Decision::First);
    for status in 200..600 {
        let reply = Reply::status(status, "<html>some proxy</html>").with("retry-after", "7");
        hook.next(reply.clone());
        slack.next("webhook", reply.clone());
        slack.next("chat.postMessage", reply);
        for (name, notifier) in &notifiers {
            let outcome = tell(notifier, &n, None).await;
            let expected = match status_class(status) {
                // A page for people is no answer of Slack's: it comes from something in between.
                Class::Taken if *name == "slack bot" => "Retry",
                // Only a 204 has no body that could be one.
                Class::Taken if *name == "slack webhook" && status != 204 => "Retry",
                Class::Taken => "Delivered",
                Class::Later => "Retry",
                Class::Refused => "Refused",
                Class::Never => "Reject",
            };
            assert_eq!(class(&outcome).0, expected, "{name} {status}: {outcome:?}");
            if let Outcome::Retry { after, reason } = &outcome {
                assert_eq!(*after, Some(Duration::from_secs(7)), "{name} {status}");
                assert!(reason.contains(&status.to_string()), "{reason}");
            }
        }
    }
}

#[tokio::test]
async fn a_webhook_gets_a_signed_document_and_the_headers_it_asks_for() {
    let hook = WebhookServer::start().await.unwrap();
    let mut config = WebhookConfig::new(inline(hook.url()));
    config.headers.push(("X-Env".into(), "prod".into()));
    config.secret_headers.push(("X-Key".into(), inline("k3y")));
    config.auth = WebhookAuth::Basic { username: "herald".into(), password: inline("pass") };
    config.sign = Some(inline("shared"));
    assert!(!format!("{config:?}").contains("shared"));
    let n = says(Decision::First);
    let outcome = tell(&notifier(NotifierConfig::Webhook(config)), &n, None).await;
    assert_eq!(outcome, Outcome::Delivered { handle: None });
    let got = &hook.received().all()[0];
    assert_eq!(got.path, "/hook");
    for (name, value) in [
        ("x-env", "prod"),
        ("x-key", "k3y"),
        ("authorization", "Basic aGVyYWxkOnBhc3M="),
        ("idempotency-key", "8c2f6a10-1-sample"),
        ("content-type", "application/json; charset=utf-8"),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    let stamp = got.header("x-kubeherald-timestamp").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"shared").unwrap();
    mac.update(format!("{stamp}.{}", got.body).as_bytes());
    let signature = got.header("x-kubeherald-signature").unwrap().strip_prefix("v1=").unwrap();
    let bytes: Vec<u8> = signature
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    mac.verify_slice(&bytes).unwrap();
    assert_eq!(got.json()["version"], "kubeherald/v1");
    assert_eq!(got.json()["incidents"][0]["workload"], "Deployment/checkout");
}

#[tokio::test]
async fn a_broken_line_is_tried_again_and_names_no_url() {
    let hook = WebhookServer::start().await.unwrap();
    let url = format!("{}?token=s3cr3t-token", hook.url());
    let notifier = notifier(NotifierConfig::Webhook(WebhookConfig::new(inline(url))));
    hook.next(Reply::HangUp);
    let outcome = tell(&notifier, &says(Decision::First), None).await;
    let (class, reason) = class(&outcome);
    assert_eq!(class, "Retry");
    assert!(!reason.contains("s3cr3t") && !reason.contains("127.0.0.1"), "{reason}");
    hook.next(Reply::status(302, "").with("location", "http://127.0.0.1:1/"));
    let outcome = tell(&notifier, &says(Decision::First), None).await;
    assert!(super::class(&outcome).1.contains("redirects are not followed"), "{outcome:?}");
    hook.next(Reply::status(404, "/hook?token=s3cr3t-token is not here"));
    let outcome = tell(&notifier, &says(Decision::First), None).await;
    assert!(!super::class(&outcome).1.contains("s3cr3t"), "{outcome:?}");
    drop(hook);
    // The first may meet the end of a connection that was kept open.
    tell(&notifier, &says(Decision::First), None).await;
    let outcome = tell(&notifier, &says(Decision::First), None).await;
    assert_eq!(super::class(&outcome).0, "Retry", "{outcome:?}");
    assert!(super::class(&outcome).1.contains("cannot connect"), "{outcome:?}");
}

#[tokio::test]
async fn a_missing_secret_is_tried_again_and_named() {
    let mut config = WebhookConfig::new(inline("http://127.0.0.1:1/"));
    config.sign = Some(kubeherald::notify::Secret::File("/nowhere/hook-secret".into()));
    let outcome = tell(&notifier(NotifierConfig::Webhook(config)), &says(Decision::First), None).await;
    assert_eq!(
        class(&outcome),
        (
            "Retry",
            "a secret of the webhook is missing: cannot read /nowhere/hook-secret: No such file or directory"
        )
    );
}

#[tokio::test]
async fn hostile_text_stays_inside_the_document() {
    let hook = WebhookServer::start().await.unwrap();
    let notifier = notifier(NotifierConfig::Webhook(WebhookConfig::new(inline(hook.url()))));
    for decision in Decision::ALL {
        let n = sample::notification(*decision, sample::huge());
        assert_eq!(class(&tell(&notifier, &n, None).await).0, "Delivered", "{decision}");
    }
    for got in hook.received().all() {
        assert!(got.body.len() < 300_000, "{}", got.body.len());
        let got = got.json();
        // A notice quotes it in its text.
        let hostile = got["text"].as_str().unwrap().contains("<!channel>") && got["decision"] == "notice";
        let hostile = hostile
            || got["incidents"].as_array().unwrap().iter().any(|i| {
                i["why"].as_str().unwrap().starts_with("<!channel>")
                    && i["why"].as_str().unwrap().ends_with('…')
            });
        assert!(hostile);
    }
}

fn preset(preset: Preset, url: String) -> WebhookConfig {
    WebhookConfig {
        body: WebhookBody::Preset(preset),
        key: Some(inline("0123456789abcdef")),
        ..WebhookConfig::new(inline(url))
    }
}

#[tokio::test]
async fn a_pager_gets_one_alert_for_each_incident_and_none_is_told_twice_for_nothing() {
    let hook = WebhookServer::start().await.unwrap();
    let pager = notifier(NotifierConfig::Webhook(preset(Preset::PagerDuty, hook.url())));
    let n = says(Decision::Storm);
    assert_eq!(n.incidents.len(), 2);
    hook.next(Reply::status(202, ""));
    hook.next(Reply::status(429, "throttled").with("retry-after", "7"));
    let outcome = tell(&pager, &n, None).await;
    assert!(matches!(outcome, Outcome::Retry { after: Some(after), .. } if after == Duration::from_secs(7)));
    hook.next(Reply::status(202, ""));
    assert_eq!(tell(&pager, &n, None).await, Outcome::Delivered { handle: None });
    let keys: Vec<String> = hook
        .received()
        .all()
        .iter()
        .map(|got| serde_json::from_str::<serde_json::Value>(&got.body).unwrap()["dedup_key"].to_string())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0] != keys[1] && keys[1] == keys[2], "{keys:?}");
}

#[tokio::test]
async fn an_error_in_an_answer_of_200_is_an_error_and_shows_no_key() {
    let hook = WebhookServer::start().await.unwrap();
    let robot = notifier(NotifierConfig::Webhook(preset(Preset::DingTalk, hook.url())));
    let n = says(Decision::First);
    hook.next(Reply::status(200, r#"{"errcode":310000,"errmsg":"bad sign 0123456789abcdef"}"#));
    let Outcome::Refused { reason } = tell(&robot, &n, None).await else { panic!("refused") };
    assert!(reason.contains("bad sign ***") && reason.contains("`key`"), "{reason}");
    let got = &hook.received().all()[0];
    assert!(got.path.contains("timestamp=") && got.path.contains("&sign="), "{}", got.path);
    hook.next(Reply::status(200, r#"{"errcode":0,"errmsg":"ok"}"#));
    assert_eq!(tell(&robot, &n, None).await, Outcome::Delivered { handle: None });
}
