//! The body of one watch.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::faults::spoil;
use super::http::{halves, head};
use super::request::Ask;
use super::resource::Resource;
use super::store::Event;

/// Watches without `timeoutSeconds` end after 30 to 60 minutes
/// (`staging/src/k8s.io/apiserver/pkg/endpoints/handlers/get.go`); the shorter end here.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);
/// How long before its end a watch sends a last bookmark
/// (`staging/src/k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go`).
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// A fault of a watch that has begun.
pub(super) enum Broken {
    Silent,
    Cut,
    /// After so many bytes more.
    CutAfter(usize),
    Malformed(Value),
}

pub(super) struct Watch {
    shared: Arc<Shared>,
    resource: &'static Resource,
    partial: bool,
    replay: VecDeque<Arc<Event>>,
    events: mpsc::Receiver<Arc<Event>>,
    /// The end mark of the initial events is still to be sent, with this version.
    end_mark: Option<u64>,
    /// Nothing but silence up to this version.
    from: u64,
    bookmark: Option<Instant>,
    deadline: Instant,
    broken: Option<Broken>,
    /// What is left of a line that is being cut.
    parts: VecDeque<io::Result<String>>,
}

impl Watch {
    pub fn new(
        shared: Arc<Shared>,
        ask: &Ask,
        replay: VecDeque<Arc<Event>>,
        events: mpsc::Receiver<Arc<Event>>,
        version: u64,
        broken: Option<Broken>,
    ) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            resource: ask.resource,
            partial: ask.partial,
            replay,
            events,
            end_mark: ask.initial.then_some(version),
            from: ask.at().ok().flatten().unwrap_or_default(),
            bookmark: None,
            deadline: now + ask.timeout.unwrap_or(DEFAULT_TIMEOUT),
            broken,
            parts: VecDeque::new(),
            shared,
        };
        if ask.bookmarks && ask.resource.cached {
            watch.bookmark = watch.next_bookmark(now);
        }
        watch
    }

    fn next_bookmark(&self, now: Instant) -> Option<Instant> {
        let regular = now + self.shared.bookmark_interval();
        let next = self.deadline.checked_sub(LAST_BOOKMARK).map_or(regular, |last| last.min(regular));
        (next > now).then_some(next)
    }

    /// The next line; `None`: the watch ends cleanly; an error: the connection is cut.
    pub async fn next(&mut self) -> Option<io::Result<String>> {
        if matches!(self.broken, Some(Broken::Silent)) {
            return std::future::pending().await;
        }
        if let Some(part) = self.parts.pop_front() {
            // Lets the first half leave the write buffer.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Some(part);
        }
        loop {
            if let Some(event) = self.replay.pop_front() {
                return self.line(&event);
            }
            if let Some(version) = self.end_mark.take() {
                return Some(Ok(self.bookmark_line(version, true)));
            }
            let far = self.deadline;
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.deadline) => return None,
                event = self.events.recv() => {
                    let event = event?;
                    return self.line(&event);
                }
                () = tokio::time::sleep_until(self.bookmark.unwrap_or(far)), if self.bookmark.is_some() => {
                    self.bookmark = self.next_bookmark(Instant::now());
                    // A bookmark says that everything up to its version has been sent: under the
                    // lock nothing can come between the look at the queue and the version.
                    let version = {
                        let store = self.shared.store();
                        (self.events.is_empty() && store.version() >= self.from).then(|| store.version())
                    };
                    if let Some(version) = version {
                        return Some(Ok(self.bookmark_line(version, false)));
                    }
                }
            }
        }
    }

    fn line(&mut self, event: &Event) -> Option<io::Result<String>> {
        let mut object = if self.partial { event.object.partial() } else { event.object.full() };
        if let Some(Broken::Malformed(patch)) = &self.broken
            && let Some(spoiled) = spoil(&object, patch)
        {
            object = spoiled;
            self.broken = None;
        }
        let line = format!("{{\"type\":\"{}\",\"object\":{object}}}\n", event.write.as_str());
        if matches!(self.broken, Some(Broken::Cut)) {
            self.parts = halves(&line);
            return self.parts.pop_front();
        }
        if let Some(Broken::CutAfter(left)) = &mut self.broken {
            if line.len() > *left {
                self.parts = head(&line, *left);
                return self.parts.pop_front();
            }
            *left -= line.len();
        }
        Some(Ok(line))
    }

    fn bookmark_line(&self, version: u64, end: bool) -> String {
        let (kind, api) = if self.partial {
            ("PartialObjectMetadata", String::from("meta.k8s.io/v1"))
        } else {
            (self.resource.kind, self.resource.api_version())
        };
        let mark = if end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
        format!(
            "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"{kind}\",\"apiVersion\":\"{api}\",\
             \"metadata\":{{\"resourceVersion\":\"{version}\"{mark}}}}}}}\n"
        )
    }
}
