//! `kubeherald send`

use clap::Args;

use super::{ConfigArgs, Failure, output};
use crate::app::receivers;
use crate::clock;
use crate::message::Decision;
use crate::notify::{Attempt, Deliver, Outcome};
use crate::template::sample;

/// See `kubeherald send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The receiver, as it is called in the configuration.
    receiver: String,
    #[command(flatten)]
    from: ConfigArgs,
}

/// Sends one message now, past the outbox, and says what the other side answered.
pub async fn send(args: &SendArgs) -> Result<(), Failure> {
    let loaded = super::load(&args.from)?;
    let notifier = receivers::by_name(&loaded.config, &args.receiver)?;
    let mut notification = sample::notification(Decision::First, sample::incident());
    notification.at = clock::now();
    notification.key = format!("test-{}-{}", notification.at.as_millisecond(), args.receiver);
    notification.receiver = args.receiver.as_str().into();
    notification.cluster = loaded.config.cluster.clone();
    notification.title = format!("Test message: {}", notification.title);
    notification.text = format!("This is a test. Nothing is wrong.\n\n{}", notification.text);
    for incident in &mut notification.incidents {
        let age = incident.last_seen.duration_since(incident.since);
        incident.last_seen = notification.at;
        incident.since = notification.at.checked_sub(age).unwrap_or(notification.at);
        incident.title = format!("Test message, nothing is wrong: {}", incident.title);
    }
    let recipients: Vec<Option<&str>> = match notifier.recipients() {
        [] => vec![None],
        several => several.iter().map(|recipient| Some(&**recipient)).collect(),
    };
    let mut failed = Vec::new();
    for recipient in recipients {
        let attempt = Attempt { notification: &notification, handle: None, recipient, number: 1 };
        match said(notifier.deliver(attempt).await) {
            Ok(()) => {
                let whom = recipient.map(|whom| format!("{whom} of ")).unwrap_or_default();
                output::say(&format!("delivered to {whom}`{}` ({})", args.receiver, notifier.kind()));
            }
            Err(why) => failed.push(why),
        }
    }
    notifier.rest().await;
    if failed.is_empty() { Ok(()) } else { Err(Failure::Error(anyhow::anyhow!(failed.join("\n")))) }
}

/// What the bot would do about what was answered.
fn said(outcome: Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Delivered { .. } => Ok(()),
        Outcome::Retry { after, reason } => Err(format!(
            "not delivered: {reason}\n  the bot would try again{}",
            after.map(|a| format!(" after {} s", a.as_secs())).unwrap_or_default()
        )),
        Outcome::Refused { reason } => Err(format!(
            "the receiver refuses: {reason}\n  the bot would keep what it owes the receiver, and try again after a while"
        )),
        Outcome::Reject { reason } => Err(format!(
            "refused: {reason}\n  the bot would not try again: it would keep the message as a dead letter"
        )),
    }
}
