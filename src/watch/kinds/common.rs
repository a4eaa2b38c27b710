//! What objects of several kinds have: metadata, and conditions.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::signal::ObjectRef;
use crate::signal::facts::{BadCondition, Deletion, Identity, Owner};
use crate::watch::decode::fields::{KEY, Message, REASON, Text, WORD};
use crate::watch::decode::part;
use crate::watch::intern::Interner;

part! {
    Condition {
        r#type: Text<KEY>, status: Text<WORD>, reason: Option<Text<REASON>>, message: Option<Message>,
        last_transition_time: Option<Time>,
    }
}

pub(super) fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|t| t.0)
}

pub(super) fn optional(text: Option<&str>, interner: &mut Interner) -> Option<Arc<str>> {
    text.filter(|t| !t.is_empty()).map(|t| interner.text(t))
}

pub(super) fn shared(message: Option<&Message>) -> Arc<str> {
    message.map_or_else(|| Arc::from(""), Message::shared)
}

/// Who an object is.
pub(super) fn identity(kind: &str, meta: ObjectMeta, interner: &mut Interner) -> Identity {
    let deletion = deletion(&meta, interner);
    let owner = meta
        .owner_references
        .as_ref()
        .and_then(|owners| owners.first())
        .map(|owner| Owner { kind: interner.text(&owner.kind), name: interner.text(&owner.name) });
    Identity {
        object: ObjectRef {
            kind: interner.text(kind),
            namespace: optional(meta.namespace.as_deref(), interner),
            name: Arc::from(meta.name.unwrap_or_default()),
            uid: Arc::from(meta.uid.unwrap_or_default()),
        },
        labels: interner.labels(meta.labels),
        annotations: interner.labels(meta.annotations),
        created: time(meta.creation_timestamp.as_ref()),
        deletion,
        owner,
    }
}

fn deletion(meta: &ObjectMeta, interner: &mut Interner) -> Option<Box<Deletion>> {
    let at = time(meta.deletion_timestamp.as_ref())?;
    let grace = meta.deletion_grace_period_seconds.and_then(|secs| u64::try_from(secs).ok());
    let names = meta.finalizers.iter().flatten().map(String::as_str);
    let finalizers = finalizers(names, interner);
    Some(Box::new(Deletion { at, grace: Duration::from_secs(grace.unwrap_or_default()), finalizers }))
}

pub(super) fn finalizers<'a>(
    names: impl Iterator<Item = &'a str>,
    interner: &mut Interner,
) -> Box<[Arc<str>]> {
    names
        .filter(|name| !name.is_empty())
        .take(Deletion::MAX_FINALIZERS)
        .map(|name| interner.text(name))
        .collect()
}

pub(super) fn bad_condition(condition: &Condition, interner: &mut Interner) -> BadCondition {
    BadCondition {
        kind: interner.text(&condition.r#type),
        reason: interner.text(condition.reason.as_deref().unwrap_or_default()),
        message: shared(condition.message.as_ref()),
        since: time(condition.last_transition_time.as_ref()),
    }
}
