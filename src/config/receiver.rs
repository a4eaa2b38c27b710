//! Receivers as written: shapes and limits are checked here, nothing is connected or read.

mod webhook;

pub use self::webhook::in_the_open;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::digest::{self, DigestConfig};
use super::raw::{Node, Value};
use super::read::{Map, Reader};
use super::secret::{self, SecretRef};
use crate::notify::webhook::Preset;
use crate::template::json::Document;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    pub name: Arc<str>,
    /// What it is, and how it is reached.
    pub kind: ReceiverKind,
    /// At most this many messages.
    pub rate_limit: RateLimit,
    /// A notification older than this is a dead letter.
    pub max_age: Duration,
    pub send_resolved: bool,
    /// May several incidents be told in one message? By default not to vendors that open and close an
    /// alert for each ([`Preset::is_alerts`]).
    pub fold: bool,
    /// When summaries are sent in place of single messages.
    pub digest: Option<DigestConfig>,
    /// How often open alerts are sent again, to a receiver that ends what is not repeated
    /// ([`Preset::reassert`]).
    pub reassert: Option<Duration>,
}

impl Receiver {
    /// Default of `max_age`: what happened yesterday is for the digest or the history. See also
    /// [`digest::MAX_AGE`].
    pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
    pub const REASSERT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
}

/// `rate_limit: {per: 1s, messages: 1, burst: 5}`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    pub per: Duration,
    pub messages: u32,
    /// How many may go at once.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per: Duration::from_secs(1), messages: 1, burst: 5 }
    }
}

/// What a receiver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverKind {
    Slack(SlackRaw),
    Webhook(WebhookRaw),
    Email(EmailRaw),
}

impl ReceiverKind {
    /// The files with certificates and their keys; read when the receiver is made.
    pub fn certificates(&self) -> impl Iterator<Item = &PathBuf> {
        let files = match self {
            Self::Slack(_) => [None, None, None],
            Self::Webhook(raw) => [raw.ca.as_ref(), raw.client_cert.as_ref(), raw.client_key.as_ref()],
            Self::Email(raw) => [raw.smtp.ca.as_ref(), None, None],
        };
        files.into_iter().flatten()
    }

    /// Does it look as the templates say? Webhooks send documents.
    #[must_use]
    pub const fn uses_templates(&self) -> bool {
        matches!(self, Self::Slack(_) | Self::Email(_))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackRaw {
    /// How messages are posted.
    pub access: SlackAccess,
    /// The base of the Web API; `None`: Slack's own.
    pub api_url: Option<String>,
}

/// How messages are posted to Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlackAccess {
    /// As a bot: edits and threads.
    Bot {
        token: SecretRef,
        /// `#name`, or an id.
        channel: String,
    },
    /// Through an incoming webhook: neither edits nor threads.
    Webhook(SecretRef),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRaw {
    pub url: UrlRef,
    /// Whose language it speaks; `None`: kubeherald's own.
    pub preset: Option<Preset>,
    /// A document of the user's own.
    pub template: Option<Document>,
    /// The secret that a preset or a document names.
    pub key: Option<SecretRef>,
    /// Further headers, in the order written.
    pub headers: Vec<(String, HeaderRef)>,
    pub basic: Option<(String, SecretRef)>,
    /// A token for `Authorization: Bearer`.
    pub bearer: Option<SecretRef>,
    /// The key of the HMAC-SHA256 signature.
    pub sign: Option<SecretRef>,
    /// Certificates trusted besides the system's (PEM).
    pub ca: Option<PathBuf>,
    /// The certificate shown to the server (PEM).
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

/// An address: in the open, or a secret (many webhook addresses are passwords).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlRef {
    Plain(String),
    Secret(SecretRef),
}

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderRef {
    Plain(String),
    Secret(SecretRef),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailRaw {
    /// The sender, `name@host` or `Name <name@host>`.
    pub from: String,
    pub to: Vec<String>,
    pub smtp: SmtpRaw,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpRaw {
    pub host: String,
    pub port: u16,
    /// How it is encrypted.
    pub tls: TlsMode,
    pub username: Option<String>,
    pub password: Option<SecretRef>,
    /// Certificates trusted besides the system's (PEM).
    pub ca: Option<PathBuf>,
}

/// How SMTP is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Upgraded before anything is said; no mail without it. Port 587.
    Starttls,
    /// From the first byte. Port 465.
    Implicit,
    /// Not at all. Port 25.
    None,
}

pub fn read_all(reader: &mut Reader, node: &Node, directory: &Path) -> Vec<Receiver> {
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
        receivers.extend(read(reader, name, value, directory));
    }
    receivers
}

fn read(reader: &mut Reader, name: &str, node: &Node, directory: &Path) -> Option<Receiver> {
    let mut map = reader.map(node, "a receiver")?;
    let slack = map.take("slack");
    let webhook = map.take("webhook");
    let email = map.take("email");
    let given = [slack, webhook, email].into_iter().flatten().count();
    let kind = slack
        .map(|node| slack_access(reader, node, directory).map(ReceiverKind::Slack))
        .or_else(|| webhook.map(|node| webhook::read(reader, node, directory).map(ReceiverKind::Webhook)))
        .or_else(|| email.map(|node| email_raw(reader, node, directory).map(ReceiverKind::Email)));
    if given != 1 {
        let label = if given == 0 { "none is given" } else { "several are given" };
        reader.error(map.head(), "a receiver is one of `slack`, `webhook` and `email`", label, None);
    }
    let preset = match &kind {
        Some(Some(ReceiverKind::Webhook(raw))) => raw.preset,
        _ => None,
    };
    let pace = preset
        .and_then(Preset::pace)
        .map_or_else(RateLimit::default, |(per, messages, burst)| RateLimit { per, messages, burst });
    let rate_limit = map.get(reader, "rate_limit", |r, n| rate_limit(r, n, pace)).unwrap_or(pace);
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
    let name = name.into();
    Some(Receiver { name, kind: kind??, rate_limit, max_age, send_resolved, fold, digest, reassert })
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

fn rate_limit(reader: &mut Reader, node: &Node, default: RateLimit) -> Option<RateLimit> {
    let mut map = reader.map(node, "`{per, messages, burst}`")?;
    let per = map.get(reader, "per", Reader::span_of_time).unwrap_or(default.per);
    let messages = map.get(reader, "messages", |r, n| r.count(n, 10_000)).unwrap_or(default.messages);
    let burst = map.get(reader, "burst", |r, n| r.count(n, 10_000)).unwrap_or(default.burst);
    map.finish(reader, "`rate_limit`");
    Some(RateLimit { per, messages, burst })
}

fn slack_access(reader: &mut Reader, node: &Node, directory: &Path) -> Option<SlackRaw> {
    let mut map = reader.map(node, "`{token, channel}` or `{webhook_url}`")?;
    let read_secret = |reader: &mut Reader, node: &Node| secret::read(reader, node, directory);
    let api_url = map.get(reader, "api_url", http_url);
    if let (Some(url), Some(span)) = (&api_url, map.key_span("api_url"))
        && webhook::in_the_open(url)
    {
        reader.warn(span, "the bot's token is sent without encryption", "", Some(webhook::ENCRYPT));
    }
    let access = if map.has("webhook_url") {
        let url = map.get(reader, "webhook_url", read_secret);
        if let Some(span) = map.key_span("token").or_else(|| map.key_span("channel")) {
            let help = "a webhook belongs to one channel and needs no token: remove either";
            reader.error(span, "`webhook_url` stands alone", "", Some(help));
        }
        let _ = (map.take("token"), map.take("channel"));
        url.map(SlackAccess::Webhook)
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
        token.zip(channel).map(|(token, channel)| SlackAccess::Bot { token, channel })
    };
    map.finish(reader, "`slack`");
    Some(SlackRaw { access: access?, api_url })
}

fn email_raw(reader: &mut Reader, node: &Node, directory: &Path) -> Option<EmailRaw> {
    let mut map = reader.map(node, "`{from, to, smtp}`")?;
    let from = map.require(reader, "from", mailbox);
    let to = map.require(reader, "to", |reader, node| {
        let items = reader.one_or_more(node);
        Some(items.iter().filter_map(|item| mailbox(reader, item)).collect::<Vec<_>>())
    });
    let smtp = map.require(reader, "smtp", |reader, node| smtp(reader, node, directory));
    map.finish(reader, "`email`");
    Some(EmailRaw { from: from?, to: to?, smtp: smtp? })
}

fn smtp(reader: &mut Reader, node: &Node, directory: &Path) -> Option<SmtpRaw> {
    let mut map = reader.map(node, "`{host, port, tls, …}`")?;
    let host = map.require(reader, "host", |reader, node| {
        let host = reader.text(node)?;
        if host.contains([':', '/', '@']) || host.contains(char::is_whitespace) {
            reader.expected(node, "the name of a host", Some("the port has a key of its own"));
            return None;
        }
        Some(host.to_owned())
    });
    let modes = [("starttls", TlsMode::Starttls), ("implicit", TlsMode::Implicit), ("none", TlsMode::None)];
    let tls =
        map.get(reader, "tls", |r, n| r.choice(n, "a way to encrypt", &modes)).unwrap_or(TlsMode::Starttls);
    let port = map.get(reader, "port", |r, n| r.int(n, 1, 65_535)).and_then(|port| u16::try_from(port).ok());
    let port = port.unwrap_or(match tls {
        TlsMode::Starttls => 587,
        TlsMode::Implicit => 465,
        TlsMode::None => 25,
    });
    let username = map.get(reader, "username", |r, n| r.text(n).map(str::to_owned));
    let password = map.get(reader, "password", |r, n| secret::read(r, n, directory));
    for (one, other) in [("username", "password"), ("password", "username")] {
        if let (Some(span), false) = (map.key_span(one), map.has(other)) {
            reader.error(span, format!("`{one}` needs `{other}`"), "", None);
        }
    }
    if let (TlsMode::None, Some(span)) = (tls, map.key_span("password")) {
        reader.warn(span, "the password is sent without encryption", "", Some("use `tls: starttls`"));
    }
    let ca = map.get(reader, "ca", |r, n| secret::path(r, n, directory));
    map.finish(reader, "`smtp`");
    Some(SmtpRaw { host: host?, port, tls, username, password, ca })
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

pub(super) fn http_url(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    let good = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !good {
        reader.expected(node, "an `http://` or `https://` address", None);
        return None;
    }
    Some(text.to_owned())
}
