//! Vendors that answer 200 and mean something else.

use std::time::Duration;

use serde_json::Value;

use super::preset::Preset;
use crate::message::text::words;
use crate::notify::Outcome;
use crate::notify::http::{self, Answer};

/// What a 2xx of this vendor really says; `None`: that it was taken.
pub fn verdict(preset: Preset, answer: &Answer, excerpt: &str) -> Option<Outcome> {
    let wrong = |fault: Fault, advice: &str| {
        let head = words::join(&[&format!("{} did not take the message", preset.name()), excerpt], ": ");
        let reason = words::join(&[&head, advice], " – ");
        match fault {
            Fault::TooMany => Outcome::Retry { after: Some(http::TOO_MANY), reason },
            Fault::Receiver => Outcome::Refused { reason },
            Fault::Message => Outcome::Reject { reason },
        }
    };
    if answer.is_page() {
        return Some(Outcome::Retry {
            after: answer.retry_after,
            reason: answer.reason(preset.name(), excerpt, http::PAGE),
        });
    }
    let names: &[&str] = match preset {
        Preset::DingTalk | Preset::WeCom => &["errcode"],
        Preset::Feishu => &["code", "StatusCode"],
        // Connectors, before workflows, answered 200 and told in words.
        // <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#rate-limiting-for-connectors>
        Preset::Teams if answer.body.contains("Webhook message delivery failed") => {
            let says = |sign: &str| answer.body.contains(sign);
            return Some(match () {
                () if says("error 429") || says("error 5") || says("throttled") => wrong(Fault::TooMany, ""),
                () if says("error 413") => wrong(Fault::Message, http::advice(413)),
                () if ["error 401", "error 403", "error 404", "error 410"].into_iter().any(says) => {
                    wrong(Fault::Receiver, "is it the address of a workflow?")
                }
                () => wrong(Fault::Message, "is it the address of a workflow?"),
            });
        }
        _ => return None,
    };
    // These say with a code that they took it, and never without: DingTalk's own gate against too many
    // requests answers 200 with another document.
    let Some(code) = code(&answer.body, names) else {
        return Some(wrong(Fault::TooMany, "that is not the answer of a robot: is something in between?"));
    };
    let (fault, advice) = meaning(preset, code)?;
    Some(wrong(fault, advice))
}

/// Is this about too many messages, whatever the status? Feishu's gateway says so with 400, too
/// (<https://open.feishu.cn/document/server-docs/api-call-guide/frequency-control>).
pub fn passes(preset: Preset, answer: &Answer) -> bool {
    let names: &[&str] = match preset {
        Preset::DingTalk | Preset::WeCom => &["errcode"],
        Preset::Feishu => &["code"],
        _ => return false,
    };
    code(&answer.body, names)
        .and_then(|code| meaning(preset, code))
        .is_some_and(|(fault, _)| fault == Fault::TooMany)
}

const fn meaning(preset: Preset, code: i64) -> Meaning {
    match preset {
        Preset::DingTalk => dingtalk(code),
        Preset::Feishu => feishu(code),
        _ => wecom(code),
    }
}

/// How long a vendor says to wait in its body.
pub fn wait(preset: Preset, answer: &Answer) -> Option<Duration> {
    // Discord says it in seconds and parts of them, in the header and, finer, in the body.
    // <https://docs.discord.com/developers/topics/rate-limits#exceeding-a-rate-limit>
    if preset != Preset::Discord || answer.retry_after.is_some() {
        return None;
    }
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    let seconds = Duration::try_from_secs_f64(body.get("retry_after")?.as_f64()?).ok()?;
    Some(http::held(seconds.as_secs().saturating_add(u64::from(seconds.subsec_nanos() > 0))))
}

/// What a vendor's code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Too many messages, or nothing that lasts.
    TooMany,
    /// The robot: its address, its secret, its settings. No message is taken.
    Receiver,
    Message,
}

use Fault::{Message, Receiver, TooMany};

/// What a code is about, and what to do. `None`: taken.
type Meaning = Option<(Fault, &'static str)>;

/// <https://open.dingtalk.com/document/robots/custom-robot-access>; codes as its gateway tells them.
const fn dingtalk(code: i64) -> Meaning {
    Some(match code {
        0 => return None,
        -1 => (TooMany, ""),
        130_101 | 410_100 => {
            (TooMany, "too many messages: DingTalk takes 20 a minute, lower the receiver's rate_limit")
        }
        310_000 => (
            Receiver,
            "the robot's security settings refuse it: give its signing secret as `key`, or allow this address or a keyword",
        ),
        400_102 => (Receiver, "the robot is switched off in the group's settings"),
        40_035 | 300_001 | 300_005 | 400_013 | 400_101 | 400_106 => {
            (Receiver, "the robot or its group is gone, or the address is wrong")
        }
        460_101 => (Message, "the message is too long"),
        _ => (Message, ""),
    })
}

/// <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot>; of 9499 it only says that the
/// request is bad.
const fn feishu(code: i64) -> Meaning {
    Some(match code {
        0 => return None,
        11_232 | 99_991_400 => (
            TooMany,
            "too many messages: Feishu takes 5 a second and 100 a minute, lower the receiver's rate_limit",
        ),
        9_499 => (Message, "Feishu does not understand the message, or it is larger than 20 KB"),
        19_021 => (Receiver, "the signature does not match: check `key`, and the clock of this machine"),
        19_022 => (Receiver, "the robot does not allow this IP address"),
        19_024 => (Receiver, "the robot asks for a keyword: use a signing secret (`key`) instead"),
        19_001 => (Receiver, "the address of the robot is wrong"),
        _ => (Message, ""),
    })
}

const fn wecom(code: i64) -> Meaning {
    Some(match code {
        0 => return None,
        -1 => (TooMany, ""),
        45_009 | 45_033 => {
            (TooMany, "too many messages: WeCom takes 20 a minute, lower the receiver's rate_limit")
        }
        40_058 => (Message, "WeCom does not understand the message, or it is longer than 4096 bytes"),
        93_000 | 93_008 | 93_017 => (Receiver, "the robot is gone or its address is wrong"),
        _ => (Message, ""),
    })
}

/// The vendor's own code; `None` where the answer has none.
fn code(body: &str, names: &[&str]) -> Option<i64> {
    let answer: Value = serde_json::from_str(body).ok()?;
    names.iter().find_map(|name| answer.get(name).and_then(Value::as_i64))
}
