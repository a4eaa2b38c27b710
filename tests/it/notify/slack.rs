use std::time::Duration;

use kubeherald::message::{Decision, Reason};
use kubeherald::notify::{Notifier, NotifierConfig, Outcome, SlackConfig};
use kubeherald::template::sample;
use kubeherald::testkit::receivers::{Reply, SlackServer, mentions, violations};

use super::{class, handle, inline, notifier, says, tell};

fn bot(slack: &SlackServer, token: &str, channel: &str) -> Notifier {
    let config = SlackConfig { api_url: slack.api_url(), ..SlackConfig::bot(inline(token), channel) };
    notifier(NotifierConfig::Slack(config))
}

#[tokio::test]
async fn an_incident_is_one_thread_whose_first_message_shows_the_present_state() {
    let slack = SlackServer::start().await.unwrap();
    let bot = bot(&slack, "xoxb-test", "#alerts");
    let first = handle(&tell(&bot, &says(Decision::First), None).await);
    for (n, decision) in
        [Decision::Grew, Decision::Reminder, Decision::Resolved, Decision::Reopened].iter().enumerate()
    {
        let outcome = tell(&bot, &says(*decision), Some(&first)).await;
        assert_eq!(outcome, Outcome::Delivered { handle: Some(first.clone()) });
        let messages = slack.messages();
        assert_eq!(messages.len(), n + 2);
        assert_eq!(messages[0].edits as usize, n + 1);
        let reply = &messages[n + 1];
        assert_eq!(reply.thread_ts.as_deref(), Some(messages[0].ts.as_str()));
        // Only what must not be missed leaves the thread.
        assert_eq!(reply.payload["reply_broadcast"], *decision == Decision::Reopened, "{decision}");
        if *decision == Decision::Resolved {
            let header = messages[0].payload["blocks"][0]["text"]["text"].as_str().unwrap();
            assert!(
                header.starts_with("✅ Resolved: Deployment/checkout in shop runs again (crashed for 5m 8s)"),
                "{header}"
            );
        }
    }
    let header = slack.messages()[0].payload["blocks"][0]["text"]["text"].as_str().unwrap().to_owned();
    assert!(header.starts_with("🔴 Again (3rd time)"), "it is red again: {header}");

    let mut worse = says(Decision::Grew);
    worse.reason = Reason::Escalated;
    tell(&bot, &worse, Some(&first)).await;
    assert_eq!(slack.messages().last().unwrap().payload["reply_broadcast"], true);
}

#[tokio::test]
async fn a_deleted_first_message_or_another_channel_begins_a_new_thread() {
    let slack = SlackServer::start().await.unwrap();
    slack.channel("ops", true, false);
    let first = handle(&tell(&bot(&slack, "xoxb-test", "#alerts"), &says(Decision::First), None).await);
    let moved = handle(&tell(&bot(&slack, "xoxb-test", "ops"), &says(Decision::Grew), Some(&first)).await);
    assert!(moved.contains("C0000000002"), "{moved}");
    slack.delete(&slack.messages()[0].ts);
    let again =
        handle(&tell(&bot(&slack, "xoxb-test", "#alerts"), &says(Decision::Resolved), Some(&first)).await);
    assert_ne!(again, first);
    assert_eq!(slack.messages().last().unwrap().thread_ts, None);
    // A handle of an older version is no reason to say nothing.
    let outcome = tell(&bot(&slack, "xoxb-test", "#alerts"), &says(Decision::Grew), Some("not ours")).await;
    assert_eq!(class(&outcome).0, "Delivered");
}

#[tokio::test]
async fn a_failed_edit_does_not_repeat_the_reply() {
    let slack = SlackServer::start().await.unwrap();
    let bot = bot(&slack, "xoxb-test", "#alerts");
    let first = handle(&tell(&bot, &says(Decision::First), None).await);
    slack.next("chat.update", Reply::status(500, "oops"));
    let outcome = tell(&bot, &says(Decision::Resolved), Some(&first)).await;
    assert_eq!(class(&outcome).0, "Delivered");
    assert_eq!(slack.messages().len(), 2);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let slack = SlackServer::start().await.unwrap();
    slack.channel("secret", false, false);
    slack.channel("old", true, true);
    for (token, channel, says_what) in [
        ("xoxb-test", "#nowhere", "Slack: channel_not_found (#nowhere) – check the channel's name"),
        ("xoxb-test", "secret", "Slack: not_in_channel (secret) – invite the bot"),
        ("xoxb-test", "old", "Slack: is_archived (old) – the channel is archived"),
        ("xoxb-wrong", "#alerts", "Slack: invalid_auth (#alerts) – the token is not valid"),
    ] {
        let outcome = tell(&bot(&slack, token, channel), &says(Decision::First), None).await;
        let (class, reason) = class(&outcome);
        assert_eq!(class, "Refused");
        assert!(reason.starts_with(says_what), "{reason}");
        assert!(!reason.contains(token), "{reason}");
    }
}

#[tokio::test]
async fn every_named_error_has_its_outcome() {
    let slack = SlackServer::start().await.unwrap();
    let bot = bot(&slack, "xoxb-test", "#alerts");
    for (error, expected) in [
        ("ratelimited", "Retry"),
        ("internal_error", "Retry"),
        ("fatal_error", "Retry"),
        ("service_unavailable", "Retry"),
        ("request_timeout", "Retry"),
        ("channel_not_found", "Refused"),
        ("not_in_channel", "Refused"),
        ("invalid_auth", "Refused"),
        ("token_revoked", "Refused"),
        ("account_inactive", "Refused"),
        ("is_archived", "Refused"),
        ("msg_too_long", "Reject"),
        ("missing_scope", "Refused"),
        ("something_new", "Reject"),
    ] {
        let body = format!(r#"{{"ok":false,"error":"{error}"}}"#);
        slack.next("chat.postMessage", Reply::status(200, body).with("retry-after", "42"));
        let outcome = tell(&bot, &says(Decision::First), None).await;
        assert_eq!(class(&outcome).0, expected, "{error}: {outcome:?}");
        assert!(class(&outcome).1.contains(error), "{outcome:?}");
        if let Outcome::Retry { after, .. } = outcome {
            assert_eq!(after, Some(Duration::from_secs(42)));
        }
    }
    let limited = r#"{"ok":false,"error":"ratelimited"}"#;
    slack.next("chat.postMessage", Reply::status(429, limited).with("retry-after", "30"));
    let outcome = tell(&bot, &says(Decision::First), None).await;
    assert!(matches!(outcome, Outcome::Retry { after: Some(d), .. } if d.as_secs() == 30), "{outcome:?}");
}

#[tokio::test]
async fn an_incoming_webhook_gets_the_same_message_without_edits() {
    let slack = SlackServer::start().await.unwrap();
    let hook = notifier(NotifierConfig::Slack(SlackConfig::webhook(inline(slack.webhook_url()))));
    for decision in Decision::ALL {
        assert_eq!(
            tell(&hook, &says(*decision), None).await,
            Outcome::Delivered { handle: None },
            "{decision}"
        );
    }
    assert_eq!(slack.messages().len(), Decision::ALL.len());
    for (status, word, expected, advice) in [
        (400, "invalid_payload", "Reject", "check the slack templates"),
        (403, "action_prohibited", "Refused", "an administrator restricted"),
        (404, "no_service", "Refused", "make a new one"),
        (404, "channel_not_found", "Refused", "check the channel's name"),
        (410, "channel_is_archived", "Refused", "the channel is archived"),
        (429, "rate_limited", "Retry", ""),
        (500, "rollup_error", "Retry", ""),
    ] {
        slack.next("webhook", Reply::status(status, word));
        let outcome = tell(&hook, &says(Decision::First), None).await;
        let (class, reason) = class(&outcome);
        assert_eq!(class, expected, "{word}");
        assert!(reason.contains(advice) && !reason.contains("webhook-secret"), "{reason}");
    }
}

#[tokio::test]
async fn hostile_text_neither_mentions_nor_links_nor_breaks_a_limit() {
    let slack = SlackServer::start().await.unwrap();
    let bot = bot(&slack, "xoxb-test", "#alerts");
    let first = handle(&tell(&bot, &says(Decision::First), None).await);
    for decision in Decision::ALL {
        for handle in [None, Some(first.as_str())] {
            let mut n = sample::notification(*decision, sample::huge());
            n.incidents.resize(n.incidents.len() * 100, sample::huge());
            n.title = "<!channel> ".repeat(1000);
            n.cluster = "<!here>\r\n*x*".into();
            let outcome = tell(&bot, &n, handle).await;
            assert_eq!(class(&outcome).0, "Delivered", "{decision}: {outcome:?}");
        }
    }
    for message in slack.messages().iter().filter(|m| m.payload["text"].as_str().unwrap().contains("&lt;")) {
        assert_eq!(violations(&message.payload), Vec::<String>::new());
        assert_eq!(mentions(&message.payload), Vec::<String>::new());
    }
}
