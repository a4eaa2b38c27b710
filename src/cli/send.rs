//! `kubeherald send`

use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;

use super::{ConfigArgs, Failure, output};
use crate::app::pipeline::TERMINAL;
use crate::app::receivers;
use crate::clock;
use crate::config::Config;
use crate::message::{Decision, Notification};
use crate::notify::{Attempt, Deliver, Notifier, Outcome};
use crate::template::sample;

/// Receivers that are sent to at the same time: one that does not answer holds up no other.
const AT_ONCE: usize = 8;

/// See `kubeherald send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The receivers, as they are called in the configuration.
    #[arg(value_name = "RECEIVER", required_unless_present = "all")]
    receivers: Vec<String>,
    /// Send to every receiver once, also to those with a digest.
    #[arg(long, conflicts_with = "receivers")]
    all: bool,
    #[command(flatten)]
    from: ConfigArgs,
}

/// Sends one message to each receiver now, past the outbox, and prints what the other side answered.
pub async fn send(args: &SendArgs) -> Result<(), Failure> {
    let loaded = super::load(&args.from)?;
    let config = &*loaded.config;
    let names: Vec<Arc<str>> = match (args.all, config.receivers.as_slice()) {
        (false, _) => args.receivers.iter().map(|name| Arc::from(name.as_str())).collect(),
        (true, []) => vec![Arc::from(TERMINAL)],
        (true, all) => all.iter().map(|receiver| Arc::clone(&receiver.spec.name)).collect(),
    };
    output::diagnostics(
        &loaded.missing_secrets(|owner| owner.is_some_and(|o| names.iter().any(|n| **n == *o))),
    );
    to_each(config, &names).await
}

/// Sends to these receivers; a line for each answer. An error if one of them took nothing.
pub async fn to_each(config: &Config, names: &[Arc<str>]) -> Result<(), Failure> {
    // All names are looked up before the first message goes out.
    let mut to = Vec::new();
    for name in names {
        to.push((name, receivers::by_name(config, name)?));
    }
    let now = clock::now();
    let mut answers = stream::iter(to)
        .map(|(name, notifier)| async move { one(config, name, &notifier, now).await })
        .buffered(AT_ONCE);
    let mut failed = 0_usize;
    while let Some(lines) = answers.next().await {
        failed += usize::from(lines.iter().any(Result::is_err));
        for line in lines {
            match line {
                Ok(line) => output::say(&line),
                Err(why) => output::error(&anyhow!(why)),
            }
        }
    }
    if failed == 0 {
        return Ok(());
    }
    if names.len() > 1 {
        output::say(&format!("{failed} of {} receivers took no message", names.len()));
    }
    Err(Failure::Told)
}

/// One message to one receiver: a line for each recipient.
async fn one(
    config: &Config,
    name: &Arc<str>,
    notifier: &Notifier,
    now: Timestamp,
) -> Vec<Result<String, String>> {
    let notification = message(config, name, now);
    let recipients: Vec<Option<&str>> = match notifier.recipients() {
        [] => vec![None],
        several => several.iter().map(|recipient| Some(&**recipient)).collect(),
    };
    let mut lines = Vec::new();
    for recipient in recipients {
        let attempt = Attempt { notification: &notification, handle: None, recipient, number: 1 };
        let answer = answered(name, notifier.deliver(attempt).await);
        let whom = recipient.map(|whom| format!("{whom} of ")).unwrap_or_default();
        lines.push(answer.map(|()| format!("delivered to {whom}`{name}` ({})", notifier.kind())));
    }
    notifier.rest().await;
    lines
}

fn message(config: &Config, name: &Arc<str>, now: Timestamp) -> Notification {
    let mut notification = sample::notification(Decision::First, sample::incident());
    notification.at = now;
    notification.key = format!("test-{}-{name}", now.as_millisecond());
    notification.receiver = Arc::clone(name);
    notification.cluster = Arc::clone(&config.cluster);
    notification.title = format!("Test message: {}", notification.title);
    notification.text = format!("This is a test. Nothing is wrong.\n\n{}", notification.text);
    for incident in &mut notification.incidents {
        let age = incident.last_seen.duration_since(incident.since);
        incident.last_seen = now;
        incident.since = now.checked_sub(age).unwrap_or(now);
        incident.title = format!("Test message, nothing is wrong: {}", incident.title);
    }
    notification
}

/// What the bot would do about what was answered.
fn answered(name: &str, outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Delivered { .. } => Ok(()),
        Outcome::Retry { after, reason } => Err(format!(
            "`{name}`: not delivered: {reason}\n  the bot would try again{}",
            after.map(|a| format!(" after {} s", a.as_secs())).unwrap_or_default()
        )),
        Outcome::Refused { reason } => Err(format!(
            "`{name}`: the receiver refuses every message: {reason}\n  the bot would keep its messages, and try again after a while"
        )),
        Outcome::Reject { reason } => Err(format!(
            "`{name}`: this message is refused: {reason}\n  the bot would not try again, and keep the message as a dead letter"
        )),
    }
}
