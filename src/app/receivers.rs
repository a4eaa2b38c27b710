//! From configured receivers to what the outbox dispatches to.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::app::pipeline::TERMINAL;
use crate::clock::Clock;
use crate::config::{Config, Diagnostic, Receiver, templates};
use crate::notify::terminal::TerminalConfig;
use crate::notify::webhook::in_the_open;
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
        [] => String::from("is none configured (--config names the configuration)"),
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
    let any = if terminal { wanted(TERMINAL) } else { config.receivers.iter().any(|r| wanted(&r.spec.name)) };
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
            fallback: None,
        };
        let notifier =
            make(&Arc::from(TERMINAL), NotifierConfig::Terminal(TerminalConfig::stdout()), &parts)?;
        return Ok(vec![(spec, notifier)]);
    }
    let receivers = config.receivers.iter().filter(|receiver| wanted(&receiver.spec.name));
    receivers.map(|receiver| Ok((receiver.spec.clone(), one(receiver, &parts)?))).collect()
}

/// One receiver by name, for `send`.
pub fn by_name(config: &Config, name: &str) -> Result<Notifier, BuildError> {
    let parts = parts(config, &Environment::default())?;
    match config.receivers.iter().find(|receiver| &*receiver.spec.name == name) {
        Some(receiver) => one(receiver, &parts),
        None if config.receivers.is_empty() && name == TERMINAL => {
            make(&Arc::from(TERMINAL), NotifierConfig::Terminal(TerminalConfig::stdout()), &parts)
        }
        None => Err(BuildError::Unknown {
            name: name.to_owned(),
            known: config.receivers.iter().map(|r| Arc::clone(&r.spec.name)).collect(),
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

fn one(receiver: &Receiver, parts: &Parts) -> Result<Notifier, BuildError> {
    let Receiver { spec, notifier, .. } = receiver;
    if let NotifierConfig::Webhook(webhook) = notifier {
        warn_in_the_open(&spec.name, &webhook.url);
    }
    make(&spec.name, notifier.clone(), parts)
}

fn make(name: &Arc<str>, config: NotifierConfig, parts: &Parts) -> Result<Notifier, BuildError> {
    Notifier::new(config, parts).map_err(|source| BuildError::Receiver { name: Arc::clone(name), source })
}

/// An address that is a secret itself is seen only now; one that cannot be read is said when it is needed.
fn warn_in_the_open(receiver: &str, url: &Secret) {
    let open = || url.resolve().is_ok_and(|url| in_the_open(url.expose_secret()));
    if !matches!(url, Secret::Inline(_)) && open() {
        tracing::warn!(
            receiver,
            "the address of this receiver is secret and `http://`: it is sent without encryption"
        );
    }
}
