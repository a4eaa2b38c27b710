//! One attempt to tell a Slack channel.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::{SlackConfig, SlackTarget};
use super::request::{self, Rendered};
use crate::clock::Clock;
use crate::notify::http::{self, Answer, Class};
use crate::notify::{Attempt, Credentials, Deliver, Outcome, Parts, Secret, secret};
use crate::template::Templates;

/// Tells a Slack channel.
#[derive(Debug)]
pub struct Slack {
    config: SlackConfig,
    templates: Templates,
    clock: Clock,
    client: http::Client,
}

/// Where the first message of a thread is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    /// The channel's id, as Slack answered it.
    channel: String,
    /// The message's id in the channel.
    ts: String,
    /// The channel as it was configured: after a change, old threads are left where they are.
    #[serde(default)]
    to: String,
}

impl Slack {
    /// Makes the notifier; reads no secret.
    pub fn new(config: SlackConfig, parts: &Parts) -> Result<Self, http::HttpError> {
        let client = http::Client::new(&config.tls, &parts.network)?;
        Ok(Self { config, templates: parts.templates.clone(), clock: parts.clock.clone(), client })
    }

    async fn bot(&self, token: &Secret, channel: &str, attempt: Attempt<'_>) -> Outcome {
        let token = match token.resolve() {
            Ok(token) => token,
            Err(e) => return Outcome::retry(format!("no Slack token: {e}")),
        };
        let n = attempt.notification;
        let whole = match request::render(n, &self.templates) {
            Ok(rendered) => rendered,
            Err(e) => return Outcome::reject(e.to_string()),
        };
        let first = attempt
            .handle
            .and_then(|h| serde_json::from_str::<Handle>(h).ok())
            .filter(|h| h.to == channel && !n.decision.is_summary());
        let Some(first) = first else { return self.post(&token, channel, &whole, n).await };

        let reply = match request::render_reply(n, &self.templates) {
            Ok(rendered) => rendered,
            Err(e) => return Outcome::reject(e.to_string()),
        };
        let mut body = with_key(&reply, &n.key);
        set(&mut body, "channel", json!(first.channel));
        set(&mut body, "thread_ts", json!(first.ts));
        set(&mut body, "reply_broadcast", json!(request::speaks_again(n)));
        match self.call("chat.postMessage", &token, &body).await {
            // The first message was deleted by somebody: this one becomes the first.
            Err(Fault::Api { error, .. }) if THREAD_GONE.contains(&error.as_str()) => {
                return self.post(&token, channel, &whole, n).await;
            }
            Err(fault) => return fault.outcome(channel),
            Ok(_) => {}
        }
        let mut body = whole.body();
        set(&mut body, "channel", json!(first.channel));
        set(&mut body, "ts", json!(first.ts));
        if let Err(fault) = self.call("chat.update", &token, &body).await {
            let reason = fault.reason(channel);
            tracing::warn!(receiver = %n.receiver, key = %n.key, reason, "the first Slack message was not edited");
        }
        Outcome::Delivered { handle: attempt.handle.map(ToOwned::to_owned) }
    }

    async fn post(
        &self,
        token: &secrecy::SecretString,
        channel: &str,
        rendered: &Rendered,
        n: &crate::message::Notification,
    ) -> Outcome {
        let mut body = with_key(rendered, &n.key);
        set(&mut body, "channel", json!(channel));
        match self.call("chat.postMessage", token, &body).await {
            Err(fault) => fault.outcome(channel),
            Ok(answer) => {
                let text = |key: &str| answer.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
                let handle = text("channel").zip(text("ts")).and_then(|(id, ts)| {
                    serde_json::to_string(&Handle { channel: id, ts, to: channel.to_owned() }).ok()
                });
                Outcome::Delivered { handle }
            }
        }
    }

    async fn call(&self, method: &str, token: &secrecy::SecretString, body: &Value) -> Result<Value, Fault> {
        let url = format!("{}/{method}", self.config.api_url.trim_end_matches('/'));
        let request = self.client.post(url).bearer_auth(token.expose_secret()).json(body);
        let answer = self.client.exchange(request, self.clock.now()).await.map_err(Fault::Line)?;
        let json = serde_json::from_str::<Value>(&answer.body).ok();
        // An answer that was cut or broke off is no JSON. Slack puts `ok` first: where it says true,
        // the message was posted, and trying it again would post it twice.
        let ok = json
            .as_ref()
            .and_then(|j| j.get("ok").and_then(Value::as_bool))
            .or_else(|| answer.body.trim_start().starts_with("{\"ok\":true").then_some(true));
        if http::class(answer.status) == Class::Taken && ok == Some(true) {
            return Ok(json.unwrap_or_else(|| scan_handle(&answer.body)));
        }
        let error = json.as_ref().and_then(|j| j.get("error")?.as_str()).map(ToOwned::to_owned);
        match error {
            Some(error) => {
                let detail = json.as_ref().map(detail).unwrap_or_default();
                Err(Fault::Api { error, detail, retry_after: answer.retry_after })
            }
            None => {
                Err(Fault::Status { excerpt: http::excerpt(&answer.body, &[token.expose_secret()]), answer })
            }
        }
    }

    async fn webhook(&self, url: &Secret, attempt: Attempt<'_>) -> Outcome {
        let url = match url.resolve() {
            Ok(url) => url,
            Err(e) => return Outcome::retry(format!("no Slack webhook URL: {e}")),
        };
        let rendered = match request::render(attempt.notification, &self.templates) {
            Ok(rendered) => rendered,
            Err(e) => return Outcome::reject(e.to_string()),
        };
        let address = url.expose_secret().trim();
        if !address.starts_with("https://") && !address.starts_with("http://") {
            return Outcome::refused(format!(
                "the {url_source} holds no http(s) URL",
                url_source = url_source(&self.config)
            ));
        }
        let request = self.client.post(address).json(&rendered.body());
        let answer = match self.client.exchange(request, self.clock.now()).await {
            Ok(answer) => answer,
            Err(reason) => return Outcome::retry(format!("Slack: {reason}")),
        };
        // The body is `ok`, or a word like `invalid_payload`
        // (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors>);
        // what only looks like Slack may answer as the Web API does.
        let json = serde_json::from_str::<Value>(&answer.body).ok();
        let error = json.as_ref().and_then(|j| j.get("error")?.as_str());
        let word = http::excerpt(error.unwrap_or(&answer.body), &http::secret_parts(address));
        let known = advice(&word);
        match http::class(answer.status) {
            Class::Taken if answer.is_page() => Outcome::Retry {
                after: answer.retry_after,
                reason: answer.reason("Slack", &word, http::PAGE),
            },
            Class::Taken if passes(&word) => Outcome::Retry {
                after: hold(&word, answer.hold()),
                reason: answer.reason("Slack", &word, known),
            },
            _ if refuses(&word) => Outcome::refused(answer.reason("Slack", &word, known)),
            Class::Taken if !known.is_empty() => Outcome::reject(answer.reason("Slack", &word, known)),
            Class::Taken => Outcome::Delivered { handle: None },
            Class::Later => {
                Outcome::Retry { after: answer.hold(), reason: answer.reason("Slack", &word, known) }
            }
            Class::Refused => Outcome::refused(answer.reason("Slack", &word, known)),
            Class::Never => Outcome::reject(answer.reason("Slack", &word, known)),
        }
    }
}

impl Deliver for Slack {
    fn time_limit(&self) -> Duration {
        // A reply, the first message once more where the thread is gone, and the edit.
        http::TOTAL_TIMEOUT * 3
    }

    fn credentials(&self) -> Option<Credentials> {
        match &self.config.target {
            SlackTarget::Bot { token: secret, .. } | SlackTarget::Webhook { url: secret } => {
                secret::digest([secret])
            }
        }
    }

    async fn deliver(&self, attempt: Attempt<'_>) -> Outcome {
        match &self.config.target {
            SlackTarget::Bot { token, channel } => self.bot(token, channel, attempt).await,
            SlackTarget::Webhook { url } => self.webhook(url, attempt).await,
        }
    }

    fn lists(&self) -> usize {
        request::MAX_LINES
    }
}

fn url_source(config: &SlackConfig) -> String {
    match &config.target {
        SlackTarget::Webhook { url } => url.to_string(),
        SlackTarget::Bot { token, .. } => token.to_string(),
    }
}

/// Lets other programs see which message of ours it is
/// (<https://docs.slack.dev/messaging/message-metadata>).
fn with_key(rendered: &Rendered, key: &str) -> Value {
    let mut body = rendered.body();
    set(&mut body, "metadata", json!({ "event_type": "kubeherald", "event_payload": { "key": key } }));
    body
}

fn set(body: &mut Value, key: &str, value: Value) {
    if let Some(map) = body.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// `channel` and `ts` of an answer that was cut: Slack sends them before the message itself.
fn scan_handle(body: &str) -> Value {
    let field = |key: &str| {
        let rest = body.split_once(&format!("\"{key}\":\""))?.1;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    json!({ "ok": true, "channel": field("channel"), "ts": field("ts") })
}

/// Slack explains a refused payload in `response_metadata.messages` or `errors`.
fn detail(answer: &Value) -> String {
    let messages = answer.pointer("/response_metadata/messages").or_else(|| answer.get("errors"));
    let list: Vec<&str> =
        messages.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).take(3).collect();
    http::excerpt(&list.join("; "), &[])
}

/// The thread's first message is not there any more.
const THREAD_GONE: &[&str] = &["thread_not_found", "message_not_found", "invalid_thread_ts"];

/// Why Slack did not take a message.
enum Fault {
    Line(String),
    /// An answer that is not the Web API's.
    Status {
        answer: Answer,
        excerpt: String,
    },
    /// The Web API's `error`.
    Api {
        error: String,
        detail: String,
        retry_after: Option<Duration>,
    },
}

impl Fault {
    fn reason(&self, channel: &str) -> String {
        match self {
            Self::Line(reason) => format!("Slack: {reason}"),
            Self::Status { answer, excerpt } => {
                let advice = match http::class(answer.status) {
                    Class::Taken if answer.is_page() => http::PAGE,
                    Class::Taken => "that is no answer of Slack's: is something in between, a proxy?",
                    _ => "",
                };
                answer.reason("Slack", excerpt, advice)
            }
            Self::Api { error, detail, .. } => {
                said(&words(&format!("Slack: {error} ({channel})"), detail), advice(error))
            }
        }
    }

    fn outcome(self, channel: &str) -> Outcome {
        let reason = self.reason(channel);
        match self {
            Self::Line(_) => Outcome::Retry { after: None, reason },
            Self::Status { answer, .. } => match http::class(answer.status) {
                // A 200 that is no answer of Slack's comes from something in between (a proxy's
                // login page): that passes.
                Class::Taken | Class::Later => Outcome::Retry { after: answer.hold(), reason },
                Class::Refused => Outcome::Refused { reason },
                Class::Never => Outcome::Reject { reason },
            },
            Self::Api { error, retry_after, .. } => {
                if passes(&error) {
                    Outcome::Retry { after: hold(&error, retry_after), reason }
                } else if refuses(&error) {
                    Outcome::Refused { reason }
                } else {
                    Outcome::Reject { reason }
                }
            }
        }
    }
}

fn words(head: &str, tail: &str) -> String {
    crate::message::text::words::join(&[head, tail], ": ")
}

fn said(reason: &str, advice: &str) -> String {
    crate::message::text::words::join(&[reason.trim_end_matches([':', ' ']), advice], " – ")
}

/// How long the receiver waits: too many messages are too many also where Slack does not say for how
/// long.
fn hold(error: &str, asked: Option<Duration>) -> Option<Duration> {
    let many = matches!(error, "ratelimited" | "rate_limited" | "message_limit_exceeded");
    asked.or(many.then_some(http::TOO_MANY))
}

/// Errors that say nothing against the message
/// (<https://docs.slack.dev/reference/methods/chat.postMessage#errors>).
fn passes(error: &str) -> bool {
    matches!(
        error,
        "ratelimited"
            | "rate_limited"
            | "message_limit_exceeded"
            | "internal_error"
            | "fatal_error"
            | "service_unavailable"
            | "request_timeout"
            | "team_added_to_org"
            | "rollup_error"
    )
}

/// Errors that say that no message of ours is taken: about the token, the app, the workspace or the channel.
fn refuses(error: &str) -> bool {
    matches!(
        error,
        "invalid_auth"
            | "not_authed"
            | "access_denied"
            | "account_inactive"
            | "token_revoked"
            | "token_expired"
            | "no_permission"
            | "missing_scope"
            | "not_allowed_token_type"
            | "org_login_required"
            | "ekm_access_denied"
            | "team_access_not_granted"
            | "two_factor_setup_required"
            | "enterprise_is_restricted"
            | "channel_not_found"
            | "not_in_channel"
            | "is_archived"
            | "channel_is_archived"
            | "restricted_action"
            | "restricted_action_read_only_channel"
            | "restricted_action_thread_only_channel"
            | "restricted_action_non_threadable_channel"
            | "posting_to_general_channel_denied"
            | "action_prohibited"
            | "no_service"
            | "no_team"
            | "team_disabled"
            | "invalid_token"
            | "no_active_hooks"
    )
}

/// What to do about an error, by its name.
fn advice(error: &str) -> &'static str {
    match error {
        "channel_not_found" => {
            "check the channel's name; invite the bot if it is private (/invite @bot), or use the channel's id"
        }
        "not_in_channel" => "invite the bot to the channel (/invite @bot)",
        "is_archived" | "channel_is_archived" => "the channel is archived: choose another or unarchive it",
        "invalid_auth" | "not_authed" => "the token is not valid: use the bot token (xoxb-…) of the app",
        "token_revoked" | "token_expired" => "the token was revoked or expired: install the app again",
        "account_inactive" => "the app was uninstalled or its workspace removed: install it again",
        "missing_scope" | "no_permission" => {
            "the app needs the scope chat:write: add it and install the app again"
        }
        "msg_too_long" => "the message is too long: shorten the slack templates",
        "invalid_blocks" | "invalid_blocks_format" | "invalid_attachments" | "invalid_payload" => {
            "Slack does not understand the message: check the slack templates, and report it if they are the shipped ones"
        }
        "restricted_action" | "action_prohibited" | "posting_to_general_channel_denied" => {
            "an administrator restricted who may post here"
        }
        "no_service" | "invalid_token" | "no_active_hooks" => {
            "the incoming webhook was disabled or removed: make a new one"
        }
        "ratelimited" | "rate_limited" => "too many messages: lower the receiver's rate_limit",
        _ => "",
    }
}
