use super::super::answer::verdict;
use super::*;
use crate::message::{Decision, Reason};
use crate::notify::Outcome;
use crate::notify::http::Answer;
use crate::template::sample;

const DISCORD_TITLE: usize = 256;
const DISCORD_DESCRIPTION: usize = 4096;
const DISCORD_FOOTER: usize = 2048;
const DISCORD_EMBEDS: usize = 6000;
const MATTERMOST_POST: usize = 16_383;
const GOOGLE_CHAT_MESSAGE: usize = 32_000;
const GOOGLE_CHAT_THREAD_KEY: usize = 4_000;
/// <https://learn.microsoft.com/en-us/connectors/teams/> says about 28 KB; what is refused in practice
/// begins at 21 KB (<https://github.com/atc0005/go-teams-notify/issues/59>).
const TEAMS_MESSAGE: usize = 20_500;
const PAGERDUTY_SUMMARY: usize = 1024;
const PAGERDUTY_DEDUP_KEY: usize = 255;
const PAGERDUTY_EVENT: usize = 512 * 1000;
/// <https://docs.opsgenie.com/docs/alert-api>, <https://docs.opsgenie.com/docs/alerts-and-alert-fields>, in
/// characters
const OPSGENIE_MESSAGE: usize = 130;
const OPSGENIE_ALIAS: usize = 512;
const OPSGENIE_DESCRIPTION: usize = 15_000;
const OPSGENIE_ENTITY: usize = 512;
const OPSGENIE_TAGS: usize = 20;
const OPSGENIE_TAG: usize = 50;
const OPSGENIE_DETAILS: usize = 8_000;
const OPSGENIE_NOTE: usize = 25_000;
const OPSGENIE_NAME: usize = 100;
/// The answer to more: "message too long, exceed 20000 bytes", in bytes
const DINGTALK_MESSAGE: usize = 20_000;
/// <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>, in bytes of the request
const FEISHU_REQUEST: usize = 20_000;
const WECOM_MARKDOWN: usize = 4096;

const DINGTALK_SIGN: &str = "h9EZN5ek%2B7dTG3kx%2BEk3fKf6x%2Bl8y9MoFugEuLVwYz0%3D";
const FEISHU_SIGN: &str = "SJNop30HXW7YsFsFiOo+fE00FSrutcmNl+WLt7IfQ0o=";

fn body(preset: Preset, n: &Notification) -> Value {
    preset.document().unwrap().render(n, "k3y").unwrap()
}

#[test]
fn presets_look_like_this() {
    for preset in Preset::ALL {
        let shown: Vec<String> = [Decision::First, Decision::Reminder, Decision::Resolved]
            .iter()
            .map(|decision| {
                let n = sample::notification(*decision, sample::incident());
                let url = preset.url("https://example.com/x", &n, "", n.at);
                format!("POST {url}\n{}", serde_json::to_string_pretty(&body(*preset, &n)).unwrap())
            })
            .collect();
        insta::assert_snapshot!(preset.name(), shown.join("\n\n"));
    }
}

fn chars(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.chars().count())
}

/// Some text, no longer than this.
fn has(value: &Value, max: usize) {
    assert!(value.as_str().is_some_and(|text| !text.trim().is_empty()), "{value}");
    assert!(chars(value) <= max, "{} > {max}", chars(value));
}

fn absent_or(value: &Value, max: usize) {
    assert!(value.is_null() || chars(value) <= max, "{value}");
}

/// What the vendor documents: required fields, types, lengths.
fn strict(preset: Preset, got: &Value, n: &Notification) {
    let size = got.to_string().len();
    match preset {
        Preset::Discord => {
            assert_eq!(got["allowed_mentions"], json!({"parse": []}));
            let embed = &got["embeds"][0];
            has(&embed["title"], DISCORD_TITLE);
            has(&embed["description"], DISCORD_DESCRIPTION);
            has(&embed["footer"]["text"], DISCORD_FOOTER);
            let all: usize =
                [&embed["title"], &embed["description"], &embed["footer"]["text"]].map(chars).iter().sum();
            assert!(all <= DISCORD_EMBEDS);
            assert!(embed["color"].as_u64().unwrap() <= 0x00ff_ffff);
            assert!(embed["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
        }
        Preset::Mattermost => {
            let attachment = &got["attachments"][0];
            for key in ["fallback", "title", "text", "color"] {
                has(&attachment[key], MATTERMOST_POST);
            }
            assert!(size <= 4 * MATTERMOST_POST);
            assert!(chars(&attachment["text"]) + chars(&attachment["title"]) <= MATTERMOST_POST);
        }
        Preset::GoogleChat => {
            has(&got["text"], GOOGLE_CHAT_MESSAGE);
            assert!(got["text"].as_str().unwrap().len() <= GOOGLE_CHAT_MESSAGE);
            has(&got["thread"]["threadKey"], GOOGLE_CHAT_THREAD_KEY);
        }
        Preset::Teams => {
            assert!(size <= TEAMS_MESSAGE, "{size}");
            assert_eq!(got["type"], "message");
            let card = &got["attachments"][0];
            assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
            assert_eq!(card["content"]["type"], "AdaptiveCard");
            for block in card["content"]["body"].as_array().unwrap() {
                assert_eq!(block["type"], "TextBlock");
                has(&block["text"], 1000);
            }
        }
        Preset::PagerDuty => {
            assert!(size <= PAGERDUTY_EVENT);
            assert_eq!(got["routing_key"], "k3y");
            assert_eq!(got["event_action"], if n.is_end() { "resolve" } else { "trigger" });
            has(&got["dedup_key"], PAGERDUTY_DEDUP_KEY);
            has(&got["payload"]["summary"], PAGERDUTY_SUMMARY);
            has(&got["payload"]["source"], 1000);
            assert!(
                ["critical", "error", "warning", "info"]
                    .contains(&got["payload"]["severity"].as_str().unwrap())
            );
            for link in got["links"].as_array().unwrap() {
                has(&link["href"], 2000);
            }
        }
        Preset::Opsgenie if n.is_end() => {
            has(&got["note"], OPSGENIE_NOTE);
            has(&got["source"], OPSGENIE_NAME);
            has(&got["user"], OPSGENIE_NAME);
            assert!(got.get("message").is_none());
        }
        Preset::Opsgenie => {
            has(&got["message"], OPSGENIE_MESSAGE);
            has(&got["alias"], OPSGENIE_ALIAS);
            has(&got["description"], OPSGENIE_DESCRIPTION);
            absent_or(&got["entity"], OPSGENIE_ENTITY);
            assert!(["P1", "P3", "P5"].contains(&got["priority"].as_str().unwrap()));
            let tags = got["tags"].as_array().unwrap();
            assert!(tags.len() <= OPSGENIE_TAGS);
            for tag in tags {
                has(tag, OPSGENIE_TAG);
            }
            let details = got["details"].as_object().unwrap();
            assert!(details.iter().map(|(k, v)| k.len() + chars(v)).sum::<usize>() <= OPSGENIE_DETAILS);
        }
        Preset::Alertmanager => {
            for alert in got.as_array().unwrap() {
                for (name, value) in alert["labels"].as_object().unwrap() {
                    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
                    has(value, 1000);
                }
                has(&alert["labels"]["alertname"], 100);
                let at = |key: &str| alert[key].as_str().unwrap().parse::<Timestamp>().unwrap();
                assert!(at("startsAt") <= at("endsAt"));
                let over = n.is_end() || n.incidents.iter().any(|i| i.ended_at.is_some());
                assert!(at("endsAt") > n.at || over);
            }
            let notices = usize::from(n.decision == Decision::Notice);
            assert_eq!(got.as_array().unwrap().len(), n.incidents.len().min(100) + notices);
        }
        Preset::DingTalk => {
            assert_eq!((&got["msgtype"], &got["at"]["isAtAll"]), (&json!("text"), &json!(false)));
            has(&got["text"]["content"], DINGTALK_MESSAGE);
            assert!(size <= DINGTALK_MESSAGE);
        }
        Preset::Feishu => {
            assert_eq!(got["msg_type"], "text");
            has(&got["content"]["text"], FEISHU_REQUEST);
            assert!(size <= FEISHU_REQUEST, "{size}");
        }
        Preset::WeCom => {
            assert_eq!(got["msgtype"], "markdown");
            has(&got["markdown"]["content"], WECOM_MARKDOWN);
            assert!(got["markdown"]["content"].as_str().unwrap().len() <= WECOM_MARKDOWN);
        }
    }
}

#[test]
fn every_message_keeps_to_what_the_vendor_documents() {
    for preset in Preset::ALL {
        let document = preset.document().unwrap();
        let large = [sample::incident(), sample::huge()].map(|i| sample::digest::large(&i, 4_500));
        // To those that open and close alerts nobody sends digests.
        let large = large.into_iter().filter(|_| !preset.is_alerts());
        for n in sample::all().chain(large) {
            let told = if preset.is_pager() { n.apart() } else { vec![n] };
            for n in told {
                strict(*preset, &document.render(&n, "k3y").unwrap(), &n);
            }
        }
    }
}

#[test]
fn an_alert_that_became_worse_ends_the_one_it_was() {
    let mut i = sample::incident();
    i.was = Some(crate::signal::Severity::Warning);
    let n = sample::notification(Decision::Grew, i);
    let got = body(Preset::Alertmanager, &n);
    let [now, before] = got.as_array().unwrap().as_slice() else { panic!("{got}") };
    let until = |alert: &Value| alert["endsAt"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(until(now) > n.at && until(before) == n.at);
    // Nothing else sets the two apart, and what it was is what was opened.
    let first = sample::notification(Decision::First, {
        let mut i = sample::incident();
        i.severity = crate::signal::Severity::Warning;
        i
    });
    assert_eq!(before["labels"], body(Preset::Alertmanager, &first)[0]["labels"]);
    assert_eq!(
        now["labels"],
        body(Preset::Alertmanager, &sample::notification(Decision::Resolved, sample::incident()))[0]["labels"]
    );
}

/// What an alert is known by may not change while it lives.
#[test]
fn nothing_that_changes_is_a_label_of_an_alert() {
    let first = body(Preset::Alertmanager, &sample::notification(Decision::First, sample::incident()));
    let mut i = sample::incident();
    i.container = None;
    i.node = Some("another".into());
    i.members.truncate(1);
    (i.members_total, i.occurrences, i.flaps) = (1, 400, 2);
    i.why = "something else".into();
    i.title = "otherwise".into();
    let later = body(Preset::Alertmanager, &sample::notification(Decision::Resolved, i));
    assert_eq!(first[0]["labels"], later[0]["labels"]);
}

/// So many in any span, counted as vendors do.
#[test]
fn the_pace_keeps_to_what_vendors_take() {
    for (preset, most) in
        [(Preset::DingTalk, 20), (Preset::WeCom, 20), (Preset::Feishu, 100), (Preset::GoogleChat, 60)]
    {
        let (per, messages, burst) = preset.pace().unwrap();
        assert_eq!(per.as_secs(), 60);
        assert!(messages + burst <= most, "{}", preset.name());
    }
}

#[test]
fn a_notice_is_an_alert_that_the_next_one_closes() {
    let broken = sample::notification(Decision::Notice, sample::incident());
    let mended = sample::notice(Reason::ConfigMended, &sample::incident());
    assert_eq!((broken.thread(), mended.thread()), ("config-1770106292000", "config-1770106292000"));
    let shown = |preset: Preset, n: &Notification| preset.document().unwrap().render(n, "k3y").unwrap();
    let [begin, end] = [&broken, &mended].map(|n| shown(Preset::PagerDuty, n));
    assert_eq!((&begin["event_action"], &end["event_action"]), (&json!("trigger"), &json!("resolve")));
    assert_eq!(begin["dedup_key"], end["dedup_key"]);
    let begin = shown(Preset::Opsgenie, &broken);
    let close = Preset::Opsgenie.url("https://x", &mended, "", Timestamp::UNIX_EPOCH);
    assert_eq!(
        close,
        format!("https://x/v2/alerts/{}/close?identifierType=alias", begin["alias"].as_str().unwrap())
    );
    let [begin, end] = [&broken, &mended].map(|n| shown(Preset::Alertmanager, n));
    assert_eq!(begin[0]["labels"], end[0]["labels"], "the same alert");
    assert_eq!(end[0]["endsAt"], json!(mended.at));
}

#[test]
fn nothing_from_the_cluster_mentions_or_links() {
    let mut i = sample::incident();
    let nasty = "@everyone @here <!here> <!channel> <users/all> <@U1> <at id=\"all\"></at> [x](https://evil.example) <https://evil.example|x>";
    i.why = nasty.into();
    i.title = nasty.into();
    let mut n = sample::notification(Decision::First, i);
    n.title = nasty.into();
    for preset in [
        Preset::Discord,
        Preset::Mattermost,
        Preset::GoogleChat,
        Preset::Teams,
        Preset::DingTalk,
        Preset::Feishu,
        Preset::WeCom,
    ] {
        let shown = body(preset, &n).to_string();
        for bad in ["@everyone", "@here", "@all", "<users", "<at ", "](", "<https"] {
            let escaped = preset == Preset::Discord || preset == Preset::Mattermost;
            // Behind a backslash the sign is only a sign.
            let shown = if escaped { shown.replace("\\\\<", "").replace("\\\\]", "") } else { shown.clone() };
            assert!(!shown.contains(bad), "{}: {bad}: {shown}", preset.name());
        }
    }
}

#[test]
fn addresses_follow_the_vendors() {
    let n = sample::notification(Decision::First, sample::incident());
    let end = sample::notification(Decision::Resolved, sample::incident());
    let url = |preset: Preset, base: &str, n: &Notification| preset.url(base, n, "", n.at);
    assert_eq!(url(Preset::Alertmanager, "http://am:9093/", &n), "http://am:9093/api/v2/alerts");
    assert_eq!(
        url(Preset::Opsgenie, "https://api.eu.opsgenie.com", &n),
        "https://api.eu.opsgenie.com/v2/alerts"
    );
    assert_eq!(
        url(Preset::Opsgenie, "https://api.opsgenie.com/v2/alerts", &end),
        "https://api.opsgenie.com/v2/alerts/8c2f6a10/close?identifierType=alias"
    );
    assert_eq!(
        url(Preset::GoogleChat, "https://chat.googleapis.com/v1/spaces/A/messages?key=k", &n),
        "https://chat.googleapis.com/v1/spaces/A/messages?key=k&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
    );
}

#[test]
fn signatures_are_those_of_the_vendors() {
    let n = sample::notification(Decision::First, sample::incident());
    let at: Timestamp = "2026-02-03T08:11:32Z".parse().unwrap();
    // printf '1770106292000\nSEC1' | openssl dgst -sha256 -hmac SEC1 -binary | base64
    assert_eq!(
        Preset::DingTalk.url("https://oapi.dingtalk.com/robot/send?access_token=t", &n, "SEC1", at),
        format!(
            "https://oapi.dingtalk.com/robot/send?access_token=t&timestamp=1770106292000&sign={DINGTALK_SIGN}"
        )
    );
    // printf '' | openssl dgst -sha256 -hmac $'1770106292\nSEC1' -binary | base64
    let mut body = json!({"msg_type": "text"});
    Preset::Feishu.sign(&mut body, "SEC1", at);
    assert_eq!((body["timestamp"].as_str(), body["sign"].as_str()), (Some("1770106292"), Some(FEISHU_SIGN)));
    assert_eq!(percent_encoded("a/b+c=~").to_string(), "a%2Fb%2Bc%3D~");
}

#[test]
fn answers_that_are_200_and_mean_something_else() {
    let cases = [
        (Preset::DingTalk, r#"{"errcode":0,"errmsg":"ok"}"#, None),
        (Preset::DingTalk, r#"{"errcode":310000,"errmsg":"sign not match"}"#, Some((false, "`key`"))),
        (Preset::DingTalk, r#"{"errcode":130101,"errmsg":"too fast"}"#, Some((true, "rate_limit"))),
        (Preset::Feishu, r#"{"StatusCode":0,"StatusMessage":"success","code":0}"#, None),
        (Preset::Feishu, r#"{"code":19021,"msg":"sign match fail"}"#, Some((false, "clock"))),
        (Preset::Feishu, r#"{"code":11232,"msg":"frequency limited"}"#, Some((true, "rate_limit"))),
        (Preset::WeCom, r#"{"errcode":0,"errmsg":"ok"}"#, None),
        (Preset::WeCom, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#, Some((false, "address"))),
        (Preset::WeCom, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#, Some((true, "rate_limit"))),
        (Preset::Teams, "1", None),
        (
            Preset::Teams,
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
            Some((true, "")),
        ),
        (
            Preset::Teams,
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 403",
            Some((false, "workflow")),
        ),
        (
            Preset::DingTalk,
            r#"{"status":1111,"wait":5,"source":"x5","punish":"deny"}"#,
            Some((true, "robot")),
        ),
        (Preset::DingTalk, r#"{"errcode":400102,"errmsg":"bot is stopped"}"#, Some((false, "switched off"))),
        (Preset::WeCom, r#"{"errcode":40058,"errmsg":"exceed max length 4096"}"#, Some((false, "4096"))),
        (Preset::Feishu, "", Some((true, "robot"))),
        (
            Preset::Teams,
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413",
            Some((false, "too large")),
        ),
        (Preset::Discord, "", None),
        (Preset::PagerDuty, r#"{"status":"success","message":"Event processed","dedup_key":"k"}"#, None),
    ];
    for (preset, answer, wanted) in cases {
        let answered = Answer { status: 200, retry_after: None, body: answer.to_owned() };
        let got = match verdict(preset, &answered, answer) {
            None => None,
            Some(Outcome::Retry { reason, after }) => after.map(|_| (true, reason)),
            Some(Outcome::Reject { reason } | Outcome::Refused { reason }) => Some((false, reason)),
            Some(other @ Outcome::Delivered { .. }) => panic!("{other:?}"),
        };
        match (&got, wanted) {
            (None, None) => {}
            (Some((later, reason)), Some((want, advice))) if *later == want && reason.contains(advice) => {}
            other => panic!("{answer}: {other:?}"),
        }
    }
}

#[test]
fn the_watchdog_is_an_alert_like_others() {
    let now = sample::incident().since;
    let until = now + jiff::SignedDuration::from_mins(15);
    let got = Preset::Alertmanager.watchdog("prod-eu-1", now, until).unwrap();
    assert_eq!(got["labels"]["alertname"], "Watchdog");
    assert_eq!(
        (&got["labels"]["cluster"], &got["labels"]["source"]),
        (&json!("prod-eu-1"), &json!("kubeherald"))
    );
    assert_eq!((&got["startsAt"], &got["endsAt"]), (&json!(now), &json!(until)));
    // An empty label is none to Alertmanager.
    assert_eq!(Preset::Alertmanager.watchdog("", now, until).unwrap()["labels"].get("cluster"), None);
    assert_eq!(Preset::PagerDuty.watchdog("", now, until), None);
}
