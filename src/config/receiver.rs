//! `receivers`: who can be told. Nothing is connected or read here.

mod email;
mod limit;
mod slack;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::digest::digest;
use super::read::fields::{Fields, Head, section};
use super::read::kind::{Kind, NAME, boolean, check_name, span, span_within};
use super::read::node::{Node, Span, Value};
use super::read::reader::Reader;
use super::read::schema::Schema;
use super::routes::receiver_name;
use crate::clock::schedule::Schedule;
use crate::engine::digest::DigestReceiver;
use crate::notify::webhook::Preset;
use crate::notify::{NotifierConfig, Secret, SlackConfig, SlackTarget, WebhookBody};
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
    /// Default of `max_age`: what happened yesterday is for the digest or the history.
    pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
}

/// Default of `max_age` with a digest. A digest is worth reading late, and with a day a server that is down
/// over the weekend would cost Friday's.
const DIGEST_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Receivers by name.
pub fn receivers(cluster: &str) -> Kind<'_, Vec<Receiver>> {
    let read = move |reader: &mut Reader, node: &Node| {
        if matches!(node.value, Value::Null) {
            return None;
        }
        let mut receivers = Vec::new();
        for (key, value) in reader.entries(node, "receivers by name")? {
            let name = key.text();
            check_name(reader, key, name, "cannot be the name of a receiver");
            let at = reader.at(key.span);
            reader.references.defined.push((Arc::from(name), at));
            reader.references.receiver = Some(Arc::from(name));
            receivers.extend(receiver(name, cluster).read(reader, value));
            reader.references.receiver = None;
        }
        refuse_circles(reader, node, &receivers);
        Some(receivers)
    };
    let schema = |all: &mut Schema| {
        json!({
            "type": ["object", "null"],
            "additionalProperties": receiver("", "").schema(all),
            "propertyNames": {"pattern": NAME},
        })
    };
    Kind::new(read, schema)
}

fn receiver<'a>(name: &'a str, cluster: &'a str) -> Kind<'a, Receiver> {
    let head =
        Head::called("receiver", "a receiver", "One destination: one of `slack`, `webhook` and `email`.");
    section(head, move |fields| {
        let slack = fields.get("slack", "A Slack channel.", slack::slack()).map(NotifierConfig::Slack);
        let webhook = fields.get("webhook", "An HTTP endpoint.", webhook::webhook());
        let email = fields.get("email", "Mailboxes.", email::email()).map(NotifierConfig::Email);
        let notifier = slack.or(webhook.map(NotifierConfig::Webhook)).or(email);
        let preset = notifier.as_ref().and_then(preset);
        let usual = preset.and_then(Preset::pace);
        let usual =
            usual.map_or_else(Limit::default, |(per, messages, burst)| Limit { per, messages, burst });
        let limit = fields.or("rate_limit", "At most this many messages.", limit::limit(usual), usual);
        let max_age = fields.get(
            "max_age",
            "What is older is not sent any more; seven days where there is a digest.",
            span().with("default", "1d"),
        );
        let send_resolved = fields.or("send_resolved", "Tell ends.", boolean(), true);
        let fold = fields.get(
            "fold",
            "Several incidents in one message, where many come at once; by default not for the presets pagerduty, opsgenie and alertmanager.",
            boolean(),
        );
        let fallback = fields.get(
            "fallback",
            "Another receiver, which is sent the messages of this one while it does not work.",
            receiver_name(),
        );
        let digest = fields.get("digest", "When digests are sent in place of single messages.", digest());
        refuse_digest(fields, preset);
        let reassert = reassert(fields, preset, notifier.is_some());
        fields.one_of(&["slack", "webhook", "email"], "a receiver is one of `slack`, `webhook` and `email`");
        let mut notifier = notifier?;
        if let (NotifierConfig::Webhook(webhook), Some(_)) = (&mut notifier, reassert) {
            webhook.reassert = reassert;
            cluster.clone_into(&mut webhook.cluster);
        }
        let name: Arc<str> = name.into();
        let digest_of = |(schedule, empty): (Schedule, bool)| DigestReceiver {
            name: Arc::clone(&name),
            schedule,
            empty,
            ends: send_resolved,
        };
        let digest = digest.map(digest_of);
        let usual_age = if digest.is_some() { DIGEST_MAX_AGE } else { Receiver::MAX_AGE };
        let spec = ReceiverSpec {
            name,
            limit,
            max_age: max_age.unwrap_or(usual_age),
            credential: credential(&notifier),
            fold: fold.unwrap_or(!preset.is_some_and(Preset::is_alerts)),
            fallback,
        };
        Some(Receiver { spec, notifier, send_resolved, digest })
    })
}

/// A chain of fallbacks that comes back to where it began would send messages round and round.
fn refuse_circles(reader: &mut Reader, node: &Node, receivers: &[Receiver]) {
    let next = |name: &str| {
        let receiver = receivers.iter().find(|receiver| &*receiver.spec.name == name)?;
        receiver.spec.fallback.as_deref()
    };
    for receiver in receivers {
        let name = &*receiver.spec.name;
        let chain = std::iter::successors(next(name), |at| next(at)).take(receivers.len());
        let chain: Vec<&str> = chain.collect();
        let Some(back) = chain.iter().position(|at| *at == name) else { continue };
        let way: Vec<String> = chain.iter().take(back + 1).map(|at| format!("`{at}`")).collect();
        let help = "the last receiver of a chain has no `fallback`";
        reader.error(
            place_of_fallback(node, name),
            format!("fallbacks in a circle: `{name}` → {}", way.join(" → ")),
            "",
            Some(help),
        );
    }
}

fn place_of_fallback(receivers: &Node, name: &str) -> Span {
    let value = |node: &'_ Node, key: &str| match &node.value {
        Value::Map(entries) => {
            entries.iter().find(|(at, _)| at.text() == key).map(|(_, value)| value.clone())
        }
        _ => None,
    };
    let fallback = value(receivers, name).and_then(|receiver| value(&receiver, "fallback"));
    fallback.map_or(receivers.span, |node| node.span)
}

const fn preset(notifier: &NotifierConfig) -> Option<Preset> {
    match notifier {
        NotifierConfig::Webhook(webhook) => match webhook.body {
            WebhookBody::Preset(preset) => Some(preset),
            _ => None,
        },
        _ => None,
    }
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

/// Refuses digests where they make no sense.
fn refuse_digest(fields: &mut Fields<'_, '_>, preset: Option<Preset>) {
    if let (Some(key), Some(preset)) = (fields.key("digest"), preset.filter(|preset| preset.is_alerts())) {
        let message = format!("`{}` opens and closes alerts: it cannot be told in digests", preset.name());
        let help = "remove `digest`, or send the digest to a receiver of another kind";
        fields.error(key, message, "", Some(help));
    }
}

fn reassert(fields: &mut Fields<'_, '_>, preset: Option<Preset>, known: bool) -> Option<Duration> {
    const BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
    let usual = preset.and_then(Preset::reassert);
    let given = fields.get(
        "reassert",
        "How often open alerts are sent again, `1m` to `1h`; only for the preset alertmanager, where it is `5m` unless given.",
        span_within(BOUNDS, "between `1m` and `1h`", None),
    );
    if let (Some(key), None, true) = (fields.key("reassert"), usual, known) {
        let help = "only the preset `alertmanager` ends alerts that are not sent again; remove `reassert`";
        fields.error(key, "this receiver keeps alerts until they are ended", "", Some(help));
        return None;
    }
    given.or(usual)
}
