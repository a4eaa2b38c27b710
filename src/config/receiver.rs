//! Receivers as written: shapes and limits are checked here, nothing is connected or read.

mod webhook;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::digest;
use super::raw::{Node, Value};
use super::read::{Map, Reader};
use super::secret;
use crate::engine::digest::DigestReceiver;
use crate::notify::slack::DEFAULT_API_URL;
use crate::notify::webhook::{Preset, in_the_open};
use crate::notify::{
    EmailConfig, NotifierConfig, Secret, SlackConfig, SlackTarget, SmtpConfig, SmtpTls, WebhookBody,
};
use crate::outbox::{Limit, ReceiverSpec};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    pub spec: ReceiverSpec,
    pub notifier: NotifierConfig,
    pub send_resolved: bool,
    /// When summaries are sent in place of single messages.
    pub digest: Option<DigestReceiver>,
}

impl Receiver {
    /// Default of `max_age`: what happened yesterday is for the digest or the history. See also
    /// [`digest::MAX_AGE`].
    pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
    pub const REASSERT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
}

pub fn read_all(reader: &mut Reader, node: &Node, cluster: &str, directory: &Path) -> Vec<Receiver> {
    if matches!(node.value, Value::Null) {
        return Vec::new();
    }
    let Some(map) = reader.map(node, "receivers by name") else { return Vec::new() };
    let mut receivers = Vec::new();
    for (name, key, value) in map.entries() {
        if !super::is_name(name) {
            let shown = reader.show(key);
            reader.error(key.span, format!("{shown} is no name for a receiver"), "", Some(super::NAME_HELP));
        }
        receivers.extend(read(reader, name, value, cluster, directory));
    }
    receivers
}

fn read(reader: &mut Reader, name: &str, node: &Node, cluster: &str, directory: &Path) -> Option<Receiver> {
    let mut map = reader.map(node, "a receiver")?;
    let slack = map.take("slack");
    let webhook = map.take("webhook");
    let email = map.take("email");
    let given = [slack, webhook, email].into_iter().flatten().count();
    let kind = slack
        .map(|node| slack_config(reader, node, directory).map(NotifierConfig::Slack))
        .or_else(|| webhook.map(|node| webhook::read(reader, node, directory).map(NotifierConfig::Webhook)))
        .or_else(|| email.map(|node| email_config(reader, node, directory).map(NotifierConfig::Email)));
    if given != 1 {
        let label = if given == 0 { "none is given" } else { "several are given" };
        reader.error(map.head(), "a receiver is one of `slack`, `webhook` and `email`", label, None);
    }
    let preset = match &kind {
        Some(Some(NotifierConfig::Webhook(webhook))) => match webhook.body {
            WebhookBody::Preset(preset) => Some(preset),
            _ => None,
        },
        _ => None,
    };
    let pace = preset.and_then(Preset::pace).map_or_else(Limit::default, |(per, messages, burst)| Limit {
        per,
        messages,
        burst,
    });
    let limit = map.get(reader, "rate_limit", |r, n| rate_limit(r, n, pace)).unwrap_or(pace);
    let max_age = map.get(reader, "max_age", Reader::span_of_time);
    let send_resolved = map.get(reader, "send_resolved", Reader::boolean).unwrap_or(true);
    let fold = map.get(reader, "fold", Reader::boolean).unwrap_or(!preset.is_some_and(Preset::is_alerts));
    let key = map.key_span("digest");
    let digest = map.get(reader, "digest", digest::read);
    if let (Some(key), Some(Some(kind))) = (key, &kind) {
        digest::check(reader, key, kind);
    }
    let reassert = reassert(reader, &mut map, preset);
    let usual = if digest.is_some() { digest::MAX_AGE } else { Receiver::MAX_AGE };
    let max_age = max_age.unwrap_or(usual);
    map.finish(reader, "a receiver");
    let mut notifier = kind??;
    if let (NotifierConfig::Webhook(webhook), Some(_)) = (&mut notifier, reassert) {
        webhook.reassert = reassert;
        cluster.clone_into(&mut webhook.cluster);
    }
    let name: Arc<str> = name.into();
    let digest = digest.map(|(schedule, empty)| DigestReceiver {
        name: Arc::clone(&name),
        schedule,
        empty,
        ends: send_resolved,
    });
    let spec = ReceiverSpec { name, limit, max_age, credential: credential(&notifier), fold };
    Some(Receiver { spec, notifier, send_resolved, digest })
}

/// Slack limits a bot token, not a channel: receivers that share one wait together.
fn credential(notifier: &NotifierConfig) -> Option<Arc<str>> {
    let NotifierConfig::Slack(SlackConfig { target: SlackTarget::Bot { token, .. }, .. }) = notifier else {
        return None;
    };
    match token {
        Secret::Env(name) => Some(Arc::from(format!("slack token in {name}"))),
        Secret::File(path) => Some(Arc::from(format!("slack token in {}", path.display()))),
        Secret::Inline(_) => None,
    }
}

fn reassert(reader: &mut Reader, map: &mut Map<'_>, preset: Option<Preset>) -> Option<Duration> {
    let usual = preset.and_then(Preset::reassert);
    let key = map.key_span("reassert");
    let given = map.get(reader, "reassert", |reader, node| {
        let every = reader.span_of_time(node)?;
        let (least, most) = Receiver::REASSERT;
        if every < least || every > most {
            reader.expected(node, "between `1m` and `1h`", None);
            return None;
        }
        Some(every)
    });
    if let (Some(key), None) = (key, usual) {
        let help = "only the preset `alertmanager` ends alerts that are not sent again; remove `reassert`";
        reader.error(key, "this receiver keeps alerts until they are ended", "", Some(help));
        return None;
    }
    given.or(usual)
}

fn rate_limit(reader: &mut Reader, node: &Node, default: Limit) -> Option<Limit> {
    let mut map = reader.map(node, "`{per, messages, burst}`")?;
    let per = map.get(reader, "per", Reader::span_of_time).unwrap_or(default.per);
    let messages = map.get(reader, "messages", |r, n| r.count(n, 10_000)).unwrap_or(default.messages);
    let burst = map.get(reader, "burst", |r, n| r.count(n, 10_000)).unwrap_or(default.burst);
    map.finish(reader, "`rate_limit`");
    Some(Limit { per, messages, burst })
}

fn slack_config(reader: &mut Reader, node: &Node, directory: &Path) -> Option<SlackConfig> {
    let mut map = reader.map(node, "`{token, channel}` or `{webhook_url}`")?;
    let read_secret = |reader: &mut Reader, node: &Node| secret::read(reader, node, directory);
    let api_url = map.get(reader, "api_url", secret::http_url);
    if let (Some(url), Some(span)) = (&api_url, map.key_span("api_url"))
        && in_the_open(url)
    {
        reader.warn(span, "the bot's token is sent without encryption", "", Some(webhook::ENCRYPT));
    }
    let slack = if map.has("webhook_url") {
        let url = map.get(reader, "webhook_url", read_secret);
        if let Some(span) = map.key_span("token").or_else(|| map.key_span("channel")) {
            let help = "a webhook belongs to one channel and needs no token: remove either";
            reader.error(span, "`webhook_url` stands alone", "", Some(help));
        }
        let _ = (map.take("token"), map.take("channel"));
        url.map(SlackConfig::webhook)
    } else {
        let token = map.require(reader, "token", read_secret);
        let channel = map.require(reader, "channel", |reader, node| {
            // `channel: #alerts` is a comment to YAML.
            if matches!(node.value, Value::Null) {
                let help = "quote a channel name, because `#` begins a comment: `\"#alerts\"`";
                reader.error(node.span, "expected a channel, found nothing", "", Some(help));
                return None;
            }
            reader.text(node).map(str::to_owned)
        });
        let _ = map.take("webhook_url");
        token.zip(channel).map(|(token, channel)| SlackConfig {
            api_url: api_url.as_deref().unwrap_or(DEFAULT_API_URL).trim_end_matches('/').to_owned(),
            ..SlackConfig::bot(token, channel)
        })
    };
    map.finish(reader, "`slack`");
    slack
}

fn email_config(reader: &mut Reader, node: &Node, directory: &Path) -> Option<EmailConfig> {
    let mut map = reader.map(node, "`{from, to, smtp}`")?;
    let from = map.require(reader, "from", mailbox);
    let to = map.require(reader, "to", |reader, node| {
        let items = reader.one_or_more(node);
        Some(items.iter().filter_map(|item| mailbox(reader, item)).collect::<Vec<_>>())
    });
    let smtp = map.require(reader, "smtp", |reader, node| smtp(reader, node, directory));
    map.finish(reader, "`email`");
    Some(EmailConfig { from: from?, to: to?, reply_to: None, smtp: smtp? })
}

fn smtp(reader: &mut Reader, node: &Node, directory: &Path) -> Option<SmtpConfig> {
    let mut map = reader.map(node, "`{host, port, tls, …}`")?;
    let host = map.require(reader, "host", |reader, node| {
        let host = reader.text(node)?;
        if host.contains([':', '/', '@']) || host.contains(char::is_whitespace) {
            reader.expected(node, "the name of a host", Some("the port has a key of its own"));
            return None;
        }
        Some(host.to_owned())
    });
    let modes = [("starttls", SmtpTls::StartTls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
    let tls =
        map.get(reader, "tls", |r, n| r.choice(n, "a way to encrypt", &modes)).unwrap_or(SmtpTls::StartTls);
    let port = map.get(reader, "port", |r, n| r.int(n, 1, 65_535)).and_then(|port| u16::try_from(port).ok());
    let port = port.unwrap_or(tls.port());
    let username = map.get(reader, "username", |r, n| r.text(n).map(str::to_owned));
    let password = map.get(reader, "password", |r, n| secret::read(r, n, directory));
    for (one, other) in [("username", "password"), ("password", "username")] {
        if let (Some(span), false) = (map.key_span(one), map.has(other)) {
            reader.error(span, format!("`{one}` needs `{other}`"), "", None);
        }
    }
    if let (SmtpTls::None, Some(span)) = (tls, map.key_span("password")) {
        reader.warn(span, "the password is sent without encryption", "", Some("use `tls: starttls`"));
    }
    let ca = map.get(reader, "ca", |r, n| secret::path(r, n, directory));
    map.finish(reader, "`smtp`");
    Some(SmtpConfig { port, tls, username, password, ca, ..SmtpConfig::new(host?) })
}

fn mailbox(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if text.parse::<lettre::message::Mailbox>().is_err() {
        reader.expected(
            node,
            "a mail address",
            Some("write `name@example.com` or `Name <name@example.com>`"),
        );
        return None;
    }
    Some(text.to_owned())
}
