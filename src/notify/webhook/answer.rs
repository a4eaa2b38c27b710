//! Vendors that answer 200 and mean something else.

use std::time::Duration;

use serde_json::Value;

use super::preset::Preset;
use crate::message::text::words;
use crate::notify::Outcome;

/// How long vendors lock out those who send too fast: DingTalk for ten minutes, WeCom and Feishu count
/// by the minute.
const TOO_FAST: Duration = Duration::from_secs(60);

/// What a 2xx of this vendor really says; `None`: that it was taken.
#[must_use]
pub fn verdict(preset: Preset, body: &str, excerpt: &str) -> Option<Outcome> {
    let (later, advice): (bool, &str) = match preset {
        // <https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages>
        Preset::DingTalk => match code(body, &["errcode"])? {
            0 => return None,
            -1 => (true, ""),
            130_101 | 410_100 => {
                (true, "too many messages: DingTalk takes 20 a minute, set the receiver's rate_limit")
            }
            310_000 => (
                false,
                "the robot's security settings refuse it: give its signing secret as `key`, or allow this address or a keyword",
            ),
            300_001 | 300_005 | 400_013 | 400_101 => (false, "the robot is gone or its address is wrong"),
            _ => (false, ""),
        },
        // <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>
        Preset::Feishu => match code(body, &["code", "StatusCode"])? {
            0 => return None,
            11_232 => (
                true,
                "too many messages: Feishu takes 5 a second and 100 a minute, set the receiver's rate_limit",
            ),
            19_021 => (false, "the signature does not match: check `key`, and the clock of this machine"),
            19_022 => (false, "the robot does not allow this IP address"),
            19_024 => (false, "the robot asks for a keyword: use a signing secret (`key`) instead"),
            19_001 => (false, "the address of the robot is wrong"),
            _ => (false, ""),
        },
        // <https://developer.work.weixin.qq.com/document/path/90313>
        Preset::WeCom => match code(body, &["errcode"])? {
            0 => return None,
            -1 => (true, ""),
            45_009 | 45_033 => {
                (true, "too many messages: WeCom takes 20 a minute, set the receiver's rate_limit")
            }
            93_000 | 93_008 | 93_017 => (false, "the robot is gone or its address is wrong"),
            _ => (false, ""),
        },
        // Connectors, before workflows, answered 200 and told in words.
        // <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#rate-limiting-for-connectors>
        Preset::Teams if body.contains("Webhook message delivery failed") => {
            let later = ["error 429", "error 5", "throttled"].iter().any(|sign| body.contains(sign));
            (later, if later { "" } else { "is it the address of a workflow?" })
        }
        _ => return None,
    };
    let head = words::join(&[&format!("{} did not take the message", preset.name()), excerpt], ": ");
    let reason = words::join(&[&head, advice], " – ");
    Some(if later { Outcome::Retry { after: Some(TOO_FAST), reason } } else { Outcome::Reject { reason } })
}

/// The vendor's own code; `None` where the answer has none.
fn code(body: &str, names: &[&str]) -> Option<i64> {
    let answer: Value = serde_json::from_str(body).ok()?;
    names.iter().find_map(|name| answer.get(name).and_then(Value::as_i64))
}
