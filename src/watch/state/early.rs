//! Events of the first list, which wait until every kind is listed.

use std::collections::HashMap;

use super::MAX_EVENTS;
use crate::watch::kinds::Event;

/// Bytes of all Events that wait. Twenty thousand usual ones have 12 MiB.
const MAX_BYTES: usize = 32 << 20;
/// Of these, bytes of the Events of one namespace: a writer of many keeps out no others.
const MAX_SHARE: usize = MAX_BYTES / 4;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Early {
    events: Vec<Event>,
    bytes: usize,
    by_namespace: HashMap<String, usize>,
    left_out: u64,
}

impl Early {
    /// Keeps an Event, if there is room.
    pub fn push(&mut self, event: Event) {
        let involved = &event.involved_object;
        let bytes = size_of::<Event>() + event.message.len() + event.reason.len() + involved.name.len();
        let share =
            self.by_namespace.entry(event.metadata.namespace.clone().unwrap_or_default()).or_default();
        let full = self.events.len() >= MAX_EVENTS || self.bytes + bytes > MAX_BYTES;
        if full || *share + bytes > MAX_SHARE {
            if self.left_out == 0 {
                tracing::warn!(
                    namespace = event.metadata.namespace,
                    "too many Events before the first look is complete: the rest of this list is left out"
                );
            }
            self.left_out += 1;
            return;
        }
        *share += bytes;
        self.bytes += bytes;
        self.events.push(event);
    }

    /// All of them; nothing waits any more.
    pub fn take(&mut self) -> Vec<Event> {
        let left_out = self.left_out;
        if left_out > 0 {
            tracing::warn!(events = left_out, "Events were left out of the first look");
        }
        std::mem::take(self).events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::decode::parse;
    use serde_json::json;

    #[test]
    fn one_namespace_leaves_room_for_the_others() {
        let event = |namespace: &str| {
            let json =
                json!({"metadata": {"name": "e", "namespace": namespace}, "message": "x".repeat(2000)});
            parse::<Event>(&json.to_string()).unwrap()
        };
        let mut early = Early::default();
        let loud = event("loud");
        for _ in 0..10_000 {
            early.push(loud.clone());
        }
        assert!(early.left_out > 5_000 && early.bytes <= MAX_SHARE, "{} bytes", early.bytes);
        early.push(event("quiet"));
        let kept = early.take();
        assert_eq!(kept.last().unwrap().metadata.namespace.as_deref(), Some("quiet"));
        assert!(early.take().is_empty());
    }
}
