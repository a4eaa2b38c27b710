//! From configured receivers to what the outbox dispatches to.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::app::pipeline::TERMINAL;
use crate::clock::Clock;
use crate::config::receiver::{
    EmailRaw, HeaderRef, SlackAccess, SlackRaw, SmtpRaw, TlsMode, UrlRef, WebhookRaw, in_the_open,
};
use crate::config::{Config, Diagnostic, RateLimit, Receiver, ReceiverKind, SecretRef, templates};
use crate::notify::http::Tls;
use crate::notify::slack::{SlackConfig, SlackTarget};
use crate::notify::smtp::{EmailConfig, SmtpConfig, SmtpTls};
use crate::notify::terminal::TerminalConfig;
use crate::notify::webhook::{WebhookAuth, WebhookBody, WebhookConfig};
use crate::notify::{Network, Notifier, NotifierConfig, Parts, Secret};
use crate::outbox::{Limit, ReceiverSpec};
use crate::template::Templates;

/// Why a receiver cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the templates cannot be used:\n{}", .0.iter().map(|d| d.render(false)).collect::<String>())]
    Templates(Vec<Diagnostic>),
    #[error("receiver `{name}` cannot be used: {source}")]
    Receiver { name: Arc<str>, source: crate::notify::BuildError },
    #[error("no receiver is called `{name}`; there {}", match known.as_slice() {
        [] => String::from("is none configured"),
        [one] => format!("is only `{one}`"),
        several => format!("are {}", several.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
    })]
    Unknown {
        /// What was asked for.
        name: String,
        known: Vec<Arc<str>>,
    },
}

/// What notifiers get beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// For signatures and for dates in answers: receivers compare them with their own clocks.
    pub clock: Clock,
    /// How receivers are reached.
    pub network: Network,
    /// Compiled already, in the place of those that the configuration names.
    pub templates: Option<Templates>,
}

/// Every receiver with its notifier; the terminal where none is configured.
pub fn build(config: &Config) -> Result<Vec<(ReceiverSpec, Notifier)>, BuildError> {
    build_some(config, &Environment::default(), |_| true)
}

/// The same, but only those that are wanted by name.
pub fn build_some(
    config: &Config,
    environment: &Environment,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(ReceiverSpec, Notifier)>, BuildError> {
    let terminal = config.receivers.is_empty();
    let any = if terminal { wanted(TERMINAL) } else { config.receivers.iter().any(|r| wanted(&r.name)) };
    if !any {
        return Ok(Vec::new());
    }
    let parts = parts(config, environment)?;
    if terminal {
        let spec = ReceiverSpec {
            name: Arc::from(TERMINAL),
            // Nobody limits a terminal, and it is no use to anybody hours later.
            limit: Limit { per: std::time::Duration::from_secs(1), messages: 1000, burst: 1000 },
            max_age: Receiver::MAX_AGE,
            credential: None,
            fold: true,
        };
        let notifier =
            make(&Arc::from(TERMINAL), NotifierConfig::Terminal(TerminalConfig::stdout()), &parts)?;
        return Ok(vec![(spec, notifier)]);
    }
    let receivers = config.receivers.iter().filter(|receiver| wanted(&receiver.name));
    receivers.map(|receiver| Ok((spec(receiver), one(receiver, &config.cluster, &parts)?))).collect()
}

/// One receiver by name, for `send`.
pub fn by_name(config: &Config, name: &str) -> Result<Notifier, BuildError> {
    let parts = parts(config, &Environment::default())?;
    match config.receivers.iter().find(|receiver| &*receiver.name == name) {
        Some(receiver) => one(receiver, &config.cluster, &parts),
        None if config.receivers.is_empty() && name == TERMINAL => {
            make(&Arc::from(TERMINAL), NotifierConfig::Terminal(TerminalConfig::stdout()), &parts)
        }
        None => Err(BuildError::Unknown {
            name: name.to_owned(),
            known: config.receivers.iter().map(|r| Arc::clone(&r.name)).collect(),
        }),
    }
}

fn parts(config: &Config, environment: &Environment) -> Result<Parts, BuildError> {
    let Environment { clock, network, templates } = environment.clone();
    let templates = match templates {
        Some(templates) => templates,
        None => templates::load(config.templates.as_deref()).map_err(BuildError::Templates)?,
    };
    Ok(Parts { templates, clock, network })
}

fn one(receiver: &Receiver, cluster: &str, parts: &Parts) -> Result<Notifier, BuildError> {
    let config = match &receiver.kind {
        ReceiverKind::Slack(raw) => NotifierConfig::Slack(slack(raw)),
        ReceiverKind::Webhook(raw) => {
            let config =
                WebhookConfig { reassert: receiver.reassert, cluster: cluster.to_owned(), ..webhook(raw) };
            warn_in_the_open(&receiver.name, raw, &config.url);
            NotifierConfig::Webhook(config)
        }
        ReceiverKind::Email(raw) => NotifierConfig::Email(email(raw)),
    };
    make(&receiver.name, config, parts)
}

fn make(name: &Arc<str>, config: NotifierConfig, parts: &Parts) -> Result<Notifier, BuildError> {
    Notifier::new(config, parts).map_err(|source| BuildError::Receiver { name: Arc::clone(name), source })
}

fn spec(receiver: &Receiver) -> ReceiverSpec {
    let RateLimit { per, messages, burst } = receiver.rate_limit;
    ReceiverSpec {
        name: Arc::clone(&receiver.name),
        limit: Limit { per, messages, burst },
        max_age: receiver.max_age,
        credential: credential(receiver),
        fold: receiver.fold,
    }
}

/// Slack limits a bot token, not a channel: receivers that share one wait together.
fn credential(receiver: &Receiver) -> Option<Arc<str>> {
    let ReceiverKind::Slack(SlackRaw { access: SlackAccess::Bot { token, .. }, .. }) = &receiver.kind else {
        return None;
    };
    Some(match token {
        SecretRef::Env(name) => Arc::from(format!("slack token in {name}")),
        SecretRef::File(path) => Arc::from(format!("slack token in {}", path.display())),
    })
}

/// Where a secret of the configuration is read.
pub(super) fn secret(reference: &SecretRef) -> Secret {
    match reference {
        SecretRef::Env(name) => Secret::Env(name.clone()),
        SecretRef::File(path) => Secret::File(path.clone()),
    }
}

fn slack(raw: &SlackRaw) -> SlackConfig {
    let mut config = match &raw.access {
        SlackAccess::Bot { token, channel } => SlackConfig::bot(secret(token), channel.clone()),
        SlackAccess::Webhook(url) => SlackConfig::webhook(secret(url)),
    };
    if let (Some(url), SlackTarget::Bot { .. }) = (&raw.api_url, &config.target) {
        config.api_url = url.trim_end_matches('/').to_owned();
    }
    config
}

/// An address that is a secret itself is seen only now; one that cannot be read is said when it is needed.
fn warn_in_the_open(receiver: &str, raw: &WebhookRaw, url: &Secret) {
    let open = || url.resolve().is_ok_and(|url| in_the_open(url.expose_secret()));
    if matches!(raw.url, UrlRef::Secret(_)) && open() {
        tracing::warn!(
            receiver,
            "the address of this receiver is secret and `http://`: it is sent without encryption"
        );
    }
}

fn webhook(raw: &WebhookRaw) -> WebhookConfig {
    let url = match &raw.url {
        UrlRef::Plain(url) => Secret::Inline(url.clone().into()),
        UrlRef::Secret(reference) => secret(reference),
    };
    let mut config = WebhookConfig::new(url);
    for (name, value) in &raw.headers {
        match value {
            HeaderRef::Plain(value) => config.headers.push((name.clone(), value.clone())),
            HeaderRef::Secret(reference) => config.secret_headers.push((name.clone(), secret(reference))),
        }
    }
    config.auth = match (&raw.basic, &raw.bearer) {
        (Some((username, password)), _) => {
            WebhookAuth::Basic { username: username.clone(), password: secret(password) }
        }
        (None, Some(token)) => WebhookAuth::Bearer(secret(token)),
        (None, None) => WebhookAuth::None,
    };
    config.sign = raw.sign.as_ref().map(secret);
    config.key = raw.key.as_ref().map(secret);
    config.body = match (raw.preset, &raw.template) {
        (Some(preset), _) => WebhookBody::Preset(preset),
        (None, Some(document)) => WebhookBody::Document(document.clone()),
        (None, None) => WebhookBody::Payload,
    };
    config.tls = Tls {
        ca: raw.ca.clone(),
        identity: raw.client_cert.iter().chain(&raw.client_key).cloned().collect(),
    };
    config
}

fn email(raw: &EmailRaw) -> EmailConfig {
    EmailConfig { from: raw.from.clone(), to: raw.to.clone(), reply_to: None, smtp: smtp(&raw.smtp) }
}

fn smtp(raw: &SmtpRaw) -> SmtpConfig {
    let mut config = SmtpConfig::new(raw.host.clone());
    config.port = raw.port;
    config.tls = match raw.tls {
        TlsMode::Starttls => SmtpTls::StartTls,
        TlsMode::Implicit => SmtpTls::Implicit,
        TlsMode::None => SmtpTls::None,
    };
    config.username.clone_from(&raw.username);
    config.password = raw.password.as_ref().map(secret);
    config.ca.clone_from(&raw.ca);
    config
}
