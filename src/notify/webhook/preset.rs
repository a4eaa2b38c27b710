//! What vendors understand: a shipped document for each (`templates/presets/`), and the method, path
//! and signature that go with it. Pure. See docs/presets.md.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::message::Notification;
use crate::template::json::Document;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Microsoft Teams, through a workflow.
    Teams,
    Discord,
    GoogleChat,
    Mattermost,
    /// PagerDuty, Events API v2.
    PagerDuty,
    Opsgenie,
    Alertmanager,
    DingTalk,
    Feishu,
    WeCom,
}

impl Preset {
    pub const ALL: &'static [Self] = &[
        Self::Alertmanager,
        Self::DingTalk,
        Self::Discord,
        Self::Feishu,
        Self::GoogleChat,
        Self::Mattermost,
        Self::Opsgenie,
        Self::PagerDuty,
        Self::Teams,
        Self::WeCom,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Teams => "teams",
            Self::Discord => "discord",
            Self::GoogleChat => "googlechat",
            Self::Mattermost => "mattermost",
            Self::PagerDuty => "pagerduty",
            Self::Opsgenie => "opsgenie",
            Self::Alertmanager => "alertmanager",
            Self::DingTalk => "dingtalk",
            Self::Feishu => "feishu",
            Self::WeCom => "wecom",
        }
    }

    /// The document as it is shipped.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Teams => include_str!("../../../templates/presets/teams.yaml"),
            Self::Discord => include_str!("../../../templates/presets/discord.yaml"),
            Self::GoogleChat => include_str!("../../../templates/presets/googlechat.yaml"),
            Self::Mattermost => include_str!("../../../templates/presets/mattermost.yaml"),
            Self::PagerDuty => include_str!("../../../templates/presets/pagerduty.yaml"),
            Self::Opsgenie => include_str!("../../../templates/presets/opsgenie.yaml"),
            Self::Alertmanager => include_str!("../../../templates/presets/alertmanager.yaml"),
            Self::DingTalk => include_str!("../../../templates/presets/dingtalk.yaml"),
            Self::Feishu => include_str!("../../../templates/presets/feishu.yaml"),
            Self::WeCom => include_str!("../../../templates/presets/wecom.yaml"),
        }
    }

    /// One alert that always fires, where the vendor ends what is not repeated: when it ends, nobody watches
    /// any more. It has the name of the one that Prometheus is usually given.
    pub fn watchdog(self, cluster: &str, now: Timestamp, until: Timestamp) -> Option<Value> {
        if self != Self::Alertmanager {
            return None;
        }
        let mut labels = json!({ "alertname": "Watchdog", "severity": "none", "source": "kubeherald" });
        if let (Some(map), false) = (labels.as_object_mut(), cluster.is_empty()) {
            map.insert("cluster".into(), json!(cluster));
        }
        Some(json!({
            "labels": labels,
            "annotations": {
                "summary": "kubeherald watches the cluster",
                "description": "This alert always fires. When it ends, kubeherald does not see the cluster, does not \
                    decide, cannot keep what it decides, or does not reach this Alertmanager.",
            },
            "startsAt": now,
            "endsAt": until,
        }))
    }

    pub fn document(self) -> Result<Document, String> {
        let tree: Value = serde_saphyr::from_str(self.source()).map_err(|e| e.to_string())?;
        Document::compile(tree)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// Where it goes if nothing else is said.
    pub const fn default_url(self) -> Option<&'static str> {
        match self {
            // <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>; the EU has its own.
            Self::PagerDuty => Some("https://events.pagerduty.com/v2/enqueue"),
            // <https://docs.opsgenie.com/docs/alert-api>; the EU has its own.
            Self::Opsgenie => Some("https://api.opsgenie.com"),
            _ => None,
        }
    }

    /// Must there be a `key`?
    pub const fn needs_key(self) -> bool {
        matches!(self, Self::PagerDuty | Self::Opsgenie)
    }

    /// May there be a `key`?
    pub const fn takes_key(self) -> bool {
        matches!(self, Self::PagerDuty | Self::Opsgenie | Self::DingTalk | Self::Feishu)
    }

    /// What the key is, for people.
    pub const fn key_is(self) -> &'static str {
        match self {
            Self::PagerDuty => "the integration key of the service",
            Self::Opsgenie => "the API key of the integration",
            Self::DingTalk | Self::Feishu => "the secret that the robot signs with",
            _ => "",
        }
    }

    /// Is one request about one alert only? Then a summary is several requests.
    pub const fn is_pager(self) -> bool {
        matches!(self, Self::PagerDuty | Self::Opsgenie)
    }

    /// Does it open and close an alert for each incident, rather than show messages? Then it is told
    /// each incident by itself.
    pub const fn is_alerts(self) -> bool {
        matches!(self, Self::PagerDuty | Self::Opsgenie | Self::Alertmanager)
    }

    /// How often open alerts are sent again unless configured, where the vendor ends what is not repeated.
    pub const fn reassert(self) -> Option<Duration> {
        match self {
            Self::Alertmanager => Some(Duration::from_secs(5 * 60)),
            _ => None,
        }
    }

    /// How many messages, in which span, and how many at once: what the vendor takes, where it says so
    /// and that is other than what everybody takes. Read together: never more than `messages` + `burst`
    /// in any such span.
    pub const fn pace(self) -> Option<(Duration, u32, u32)> {
        const MINUTE: Duration = Duration::from_secs(60);
        match self {
            // 20 a minute; who sends more is shut out for ten.
            Self::DingTalk | Self::WeCom => Some((MINUTE, 15, 5)),
            // 100 a minute, 5 a second.
            Self::Feishu => Some((MINUTE, 90, 3)),
            // 60 a minute for all who write to a space.
            Self::GoogleChat => Some((MINUTE, 50, 5)),
            // Adjusts its limit to what comes; it holds back what is too much with 429.
            Self::PagerDuty => Some((MINUTE, 100, 20)),
            // Takes what it is given.
            Self::Alertmanager => Some((Duration::from_secs(1), 50, 100)),
            _ => None,
        }
    }

    /// Where this one goes.
    pub fn url(self, base: &str, n: &Notification, key: &str, now: Timestamp) -> String {
        let trimmed = base.trim_end_matches('/');
        match self {
            Self::Alertmanager => self.alerts_url(base),
            Self::Opsgenie => {
                let root = trimmed.trim_end_matches("/v2/alerts");
                if n.is_end() {
                    format!("{root}/v2/alerts/{}/close?identifierType=alias", percent_encoded(n.thread()))
                } else {
                    format!("{root}/v2/alerts")
                }
            }
            // Without it, `threadKey` is not looked at.
            // <https://developers.google.com/workspace/chat/quickstart/webhooks#start-reply>
            Self::GoogleChat if !base.contains("messageReplyOption=") => {
                query(base, "messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
            }
            // <https://open.dingtalk.com/document/orgapp/customize-robot-security-settings>
            Self::DingTalk if !key.is_empty() => {
                let stamp = now.as_millisecond();
                let sign = hmac(key.as_bytes(), format!("{stamp}\n{key}").as_bytes());
                query(base, &format!("timestamp={stamp}&sign={}", percent_encoded(&BASE64.encode(&sign))))
            }
            _ => base.to_owned(),
        }
    }

    /// Where several alerts at once go.
    pub fn alerts_url(self, base: &str) -> String {
        let trimmed = base.trim_end_matches('/');
        match self {
            Self::Alertmanager if !trimmed.ends_with("/api/v2/alerts") => format!("{trimmed}/api/v2/alerts"),
            _ => base.to_owned(),
        }
    }

    /// Adds what the vendor wants to see signed.
    pub fn sign(self, body: &mut Value, key: &str, now: Timestamp) {
        // <https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot#3c6592d6>: the text is the
        // key, and what is signed is empty.
        if let (Self::Feishu, false, Some(map)) = (self, key.is_empty(), body.as_object_mut()) {
            let stamp = now.as_second();
            let sign = hmac(format!("{stamp}\n{key}").as_bytes(), b"");
            map.insert("timestamp".into(), json!(stamp.to_string()));
            map.insert("sign".into(), json!(BASE64.encode(&sign)));
        }
    }

    /// The value of `Authorization`, where the key belongs there.
    pub fn authorization(self, key: &str) -> Option<String> {
        // <https://docs.opsgenie.com/docs/authentication>
        (self == Self::Opsgenie).then(|| format!("GenieKey {key}"))
    }
}

fn query(url: &str, more: &str) -> String {
    format!("{url}{}{more}", if url.contains('?') { '&' } else { '?' })
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length (RFC 2104, section 2), so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// What may stand in a URL as it is: RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn percent_encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests;
