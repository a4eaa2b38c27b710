//! What the vendors of the presets answer, and what that means.

use kubeherald::notify::webhook::{Preset, WebhookBody};
use kubeherald::notify::{NotifierConfig, WebhookConfig};

use super::http::{inline, make, reason, tell};
use super::peer::{Act, Peer, answer};
use super::table::{End, Line, is_documented, markdown, matches, shows_no_secret};
use End::{After, Delivered, Refused, Reject, Retry};

/// A preset, a status with headers and a body, and what it comes to.
type Case = (Preset, u16, &'static [(&'static str, &'static str)], &'static str, Line);

fn case(
    preset: Preset,
    said: (u16, &'static [(&'static str, &'static str)], &'static str),
    name: &'static str,
    end: End,
    reason: &'static str,
) -> Case {
    (preset, said.0, said.1, said.2, Line { case: name, ends: vec![end], reason: reason.into() })
}

fn cases() -> Vec<Case> {
    const PAGE: &str = "<html>Please log in</html>";
    let odd = "the webhook answered 400: … – the other side does not understand the message: is it the right kind of receiver?";
    let many = "the webhook answered 429: … – too many messages: lower the receiver's rate_limit";
    let bare = "the webhook answered 429 – too many messages: lower the receiver's rate_limit";
    vec![
        case(Preset::Alertmanager, (200, &[], ""), "`alertmanager`: 200", Delivered, ""),
        case(
            Preset::Alertmanager,
            (400, &[], r#""start time must be before end time""#),
            "`alertmanager`: 400",
            Reject,
            odd,
        ),
        case(
            Preset::Alertmanager,
            (200, &[], PAGE),
            "`alertmanager`: 200 with the page of a login before it",
            Retry,
            "alertmanager answered 200: <html>Please log in</html> – that is a page for people: is something in between, a proxy or a login?",
        ),
        case(
            Preset::DingTalk,
            (200, &[], r#"{"errcode":0,"errmsg":"ok"}"#),
            "`dingtalk`: `errcode` 0",
            Delivered,
            "",
        ),
        case(
            Preset::DingTalk,
            (200, &[], r#"{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}"#),
            "`dingtalk`: 130101, 410100",
            After(60),
            "dingtalk did not take the message: … – too many messages: DingTalk takes 20 a minute, lower the receiver's rate_limit",
        ),
        case(
            Preset::DingTalk,
            (200, &[], r#"{"status":1111,"wait":5,"source":"x5","punish":"deny"}"#),
            "`dingtalk`: 200 without an `errcode` (its gate against too many requests)",
            After(60),
            "dingtalk did not take the message: … – that is not the answer of a robot: is something in between?",
        ),
        case(
            Preset::DingTalk,
            (200, &[], r#"{"errcode":310000,"errmsg":"sign not match"}"#),
            "`dingtalk`: 310000",
            Refused,
            "dingtalk did not take the message: … – the robot's security settings refuse it: give its signing secret as `key`, or allow this address or a keyword",
        ),
        case(
            Preset::DingTalk,
            (200, &[], r#"{"errcode":300005,"errmsg":"token is not exist"}"#),
            "`dingtalk`: 300001, 300005, 400013, 400101, 400106",
            Refused,
            "dingtalk did not take the message: … – the robot or its group is gone, or the address is wrong",
        ),
        case(
            Preset::DingTalk,
            (200, &[], r#"{"errcode":400102,"errmsg":"bot is stopped"}"#),
            "`dingtalk`: 400102",
            Refused,
            "dingtalk did not take the message: … – the robot is switched off in the group's settings",
        ),
        case(Preset::Discord, (204, &[], ""), "`discord`: 204", Delivered, ""),
        case(
            Preset::Discord,
            (429, &[], r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#),
            "`discord`: 429, `retry_after` 64.57 in the body",
            After(65),
            many,
        ),
        case(
            Preset::Discord,
            (
                429,
                &[("retry-after", "66")],
                r#"{"message":"You are being rate limited.","retry_after":65.1,"global":true}"#,
            ),
            "`discord`: 429, `Retry-After: 66`",
            After(66),
            many,
        ),
        case(
            Preset::Discord,
            (404, &[], r#"{"message":"Unknown Webhook","code":10015}"#),
            "`discord`: 404, the webhook is gone",
            Refused,
            "the webhook answered 404: … – check the address",
        ),
        case(
            Preset::Feishu,
            (200, &[], r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#),
            "`feishu`: `code` 0",
            Delivered,
            "",
        ),
        case(
            Preset::Feishu,
            (200, &[], r#"{"code":11232,"data":{},"msg":"frequency limited"}"#),
            "`feishu`: 11232",
            After(60),
            "feishu did not take the message: … – too many messages: Feishu takes 5 a second and 100 a minute, lower the receiver's rate_limit",
        ),
        case(
            Preset::Feishu,
            (
                200,
                &[],
                r#"{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}"#,
            ),
            "`feishu`: 19021",
            Refused,
            "feishu did not take the message: … – the signature does not match: check `key`, and the clock of this machine",
        ),
        case(
            Preset::Feishu,
            (200, &[], r#"{"code":19022,"msg":"Ip Not Allowed"}"#),
            "`feishu`: 19022",
            Refused,
            "feishu did not take the message: … – the robot does not allow this IP address",
        ),
        case(
            Preset::Feishu,
            (200, &[], r#"{"code":19024,"msg":"Key Words Not Found"}"#),
            "`feishu`: 19024",
            Refused,
            "feishu did not take the message: … – the robot asks for a keyword: use a signing secret (`key`) instead",
        ),
        case(
            Preset::Feishu,
            (400, &[], r#"{"code":99991400,"msg":"request trigger frequency limit"}"#),
            "`feishu`: 400, 99991400",
            After(60),
            odd,
        ),
        case(
            Preset::Feishu,
            (400, &[], r#"{"code":9499,"msg":"Bad Request","data":{}}"#),
            "`feishu`: 400, 9499",
            Reject,
            odd,
        ),
        case(
            Preset::GoogleChat,
            (200, &[], r#"{"name":"spaces/A/messages/B"}"#),
            "`googlechat`: 200",
            Delivered,
            "",
        ),
        case(
            Preset::GoogleChat,
            (429, &[], r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#),
            "`googlechat`: 429",
            After(60),
            many,
        ),
        case(
            Preset::GoogleChat,
            (403, &[], r#"{"error":{"code":403,"status":"PERMISSION_DENIED"}}"#),
            "`googlechat`: 403",
            Refused,
            "the webhook answered 403: … – the credentials do not allow this",
        ),
        case(Preset::Mattermost, (200, &[], "ok"), "`mattermost`: 200", Delivered, ""),
        case(
            Preset::Mattermost,
            (
                400,
                &[],
                r#"{"id":"web.incoming_webhook.parse.app_error","message":"Unable to parse incoming data."}"#,
            ),
            "`mattermost`: 400",
            Reject,
            odd,
        ),
        case(
            Preset::Opsgenie,
            (202, &[], r#"{"result":"Request will be processed"}"#),
            "`opsgenie`: 202",
            Delivered,
            "",
        ),
        case(
            Preset::Opsgenie,
            (422, &[], r#"{"message":"Request body is not processable. Please check the errors."}"#),
            "`opsgenie`: 422",
            Reject,
            "the webhook answered 422: … – the other side does not understand the message: is it the right kind of receiver?",
        ),
        case(
            Preset::Opsgenie,
            (401, &[], r#"{"message":"Could not authenticate"}"#),
            "`opsgenie`: 401",
            Refused,
            "the webhook answered 401: … – check the credentials",
        ),
        case(
            Preset::Opsgenie,
            (
                429,
                &[("x-ratelimit-state", "THROTTLED")],
                r#"{"message":"You are making too many requests!"}"#,
            ),
            "`opsgenie`: 429",
            After(60),
            many,
        ),
        case(
            Preset::PagerDuty,
            (202, &[], r#"{"status":"success","message":"Event processed"}"#),
            "`pagerduty`: 202",
            Delivered,
            "",
        ),
        case(
            Preset::PagerDuty,
            (
                400,
                &[],
                r#"{"status":"invalid event","errors":["'routing_key' is invalid 0123456789abcdef"]}"#,
            ),
            "`pagerduty`: 400",
            Reject,
            "the webhook answered 400: …***… – the other side does not understand the message: is it the right kind of receiver?",
        ),
        case(Preset::PagerDuty, (429, &[], ""), "`pagerduty`: 429", After(60), bare),
        case(Preset::PagerDuty, (500, &[], ""), "`pagerduty`: 500", Retry, "the webhook answered 500"),
        case(Preset::Teams, (202, &[], ""), "`teams`: 202", Delivered, ""),
        case(Preset::Teams, (200, &[], "1"), "`teams`: 200, a connector", Delivered, ""),
        case(
            Preset::Teams,
            (
                200,
                &[],
                "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x",
            ),
            "`teams`: 200, a connector that tells of 429",
            After(60),
            "teams did not take the message: …",
        ),
        case(
            Preset::Teams,
            (
                200,
                &[],
                "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 with ContextId x",
            ),
            "`teams`: 200, a connector that tells of 413",
            Reject,
            "teams did not take the message: … – the message is too large for the other side",
        ),
        case(
            Preset::Teams,
            (413, &[], ""),
            "`teams`: 413",
            Reject,
            "the webhook answered 413 – the message is too large for the other side",
        ),
        case(
            Preset::Teams,
            (429, &[("retry-after", "10")], ""),
            "`teams`: 429, `Retry-After: 10`",
            After(10),
            bare,
        ),
        case(
            Preset::WeCom,
            (200, &[], r#"{"errcode":0,"errmsg":"ok"}"#),
            "`wecom`: `errcode` 0",
            Delivered,
            "",
        ),
        case(
            Preset::WeCom,
            (200, &[], r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#),
            "`wecom`: 45009",
            After(60),
            "wecom did not take the message: … – too many messages: WeCom takes 20 a minute, lower the receiver's rate_limit",
        ),
        case(
            Preset::WeCom,
            (200, &[], r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#),
            "`wecom`: 93000",
            Refused,
            "wecom did not take the message: … – the robot is gone or its address is wrong",
        ),
        case(
            Preset::WeCom,
            (200, &[], r#"{"errcode":40058,"errmsg":"markdown.content exceed max length 4096"}"#),
            "`wecom`: 40058",
            Reject,
            "wecom did not take the message: … – WeCom does not understand the message, or it is longer than 4096 bytes",
        ),
    ]
}

#[tokio::test]
async fn what_vendors_answer_has_its_outcome() {
    let peer = Peer::start().await;
    let mut wrong = Vec::new();
    let mut lines = Vec::new();
    let mut made = Vec::new();
    for (preset, status, headers, body, line) in cases() {
        if !made.iter().any(|(of, _)| *of == preset) {
            let config = WebhookConfig {
                body: WebhookBody::Preset(preset),
                key: Some(inline("0123456789abcdef")),
                ..WebhookConfig::new(inline(format!(
                    "http://127.0.0.1:{}/hook?token=s3cr3t-query",
                    peer.port
                )))
            };
            made.push((preset, make(NotifierConfig::Webhook(config))));
        }
        let (_, notifier) = made.iter().find(|(of, _)| *of == preset).unwrap();
        peer.does(Act::Say(answer(status, headers, body)));
        let outcome = tell(notifier).await;
        let said = reason(&outcome);
        if End::of(&outcome) != line.ends[0] || !matches(&line.reason, said) || !shows_no_secret(said) {
            wrong.push(format!("{}:\n  {outcome:?}\n  not {:?} {}", line.case, line.ends[0], line.reason));
        }
        lines.push(line);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(made.len(), Preset::ALL.len(), "every preset");
    is_documented("presets", &markdown(&["outcome"], &lines));
}
