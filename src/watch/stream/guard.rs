//! A kube client whose requests cannot hang for ever or follow each other too fast, whose answers are
//! bounded, and whose signs of life are noted.
//!
//! kube has no limit on the wait for headers or for the body of a list, hides bookmarks and the ends of
//! watches, and asks again at once when a watch ends. All of it is seen here, below it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Bytes;
use jiff::Timestamp;
use kube::client::Body;
use tokio::time::{Instant, Sleep};

use super::Tuning;
use super::pace::Pacer;
use super::page::{LargePages, Turn};
use super::status::{Entry, ServerTime};
use crate::clock;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Upper bound for `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// So many watches in a row that ended at once and brought nothing: then a list shows whether the version
/// they asked for is what is wrong.
const EMPTY_WATCHES: u32 = 3;
/// A page of a list with fewer bytes is short. A page of the smallest objects (metadata of 50 namespaces)
/// has more.
const SHORT_PAGE: usize = 16 * 1024;
/// The longest line of a watch, in bytes. etcd takes objects of 1.5 MiB; as JSON one can be twice that.
const MAX_LINE: usize = 8 * 1024 * 1024;
/// How an ERROR among the events of a watch begins: the server says no more about objects.
const ERROR_LINE: &[u8] = br#"{"type":"ERROR""#;

/// Why there is no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no answer within {0:?}")]
    Headers(Duration),
    #[error("the answer did not end within {0:?}")]
    Page(Duration),
    #[error("{EMPTY_WATCHES} watches in a row ended at once and brought nothing")]
    EmptyWatches,
    #[error("the watch was silent, and did not even end in time")]
    DeadWatch,
    #[error("a page of the list has more than {0} bytes")]
    PageSize(usize),
    #[error("a line of the watch is longer than {} MiB", MAX_LINE / (1024 * 1024))]
    LineLength,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Watch,
    List,
    NextPage,
}

impl Asks {
    fn of(uri: &Uri) -> Self {
        let mut parameters = uri.query().unwrap_or_default().split('&');
        if parameters.clone().any(|p| p == "watch=true") {
            Self::Watch
        } else if parameters.any(|p| p.starts_with("continue=")) {
            Self::NextPage
        } else {
            Self::List
        }
    }
}

/// When the next request of a kind may go out; shared by its requests and its answers.
#[derive(Debug)]
struct Gate {
    requests: Pacer,
    pages: Pacer,
    /// Watches in a row that ended at once and brought nothing.
    empty: u32,
    /// A watch was opened, and its end has not been seen.
    open: bool,
    /// The last page was not short: a list that makes progress is not slowed like other requests.
    full_page: bool,
    rng: fastrand::Rng,
    /// The pause after the first empty watch; doubles.
    pause: Duration,
}

impl Gate {
    /// How long the request has to wait.
    fn admit(&mut self, asks: Asks, now: Instant) -> Result<Duration, NoAnswer> {
        let mut pause = Duration::ZERO;
        // kube goes on by itself where it heard nothing for a few seconds more than a watch lasts. For
        // that long nobody knows what happened, so a list has to show it.
        if std::mem::take(&mut self.open) && asks == Asks::Watch {
            return Err(NoAnswer::DeadWatch);
        }
        if asks == Asks::Watch && self.empty > 0 {
            if self.empty >= EMPTY_WATCHES {
                self.empty = 0;
                return Err(NoAnswer::EmptyWatches);
            }
            pause = self.pause.saturating_mul(1 << (self.empty - 1));
            pause = pause.mul_f64(0.5 + self.rng.f64() / 2.0);
        }
        let paced = match asks {
            Asks::NextPage if std::mem::take(&mut self.full_page) => self.pages.next(now),
            Asks::NextPage | Asks::List | Asks::Watch => self.requests.next(now),
        };
        Ok(pause.max(paced))
    }
}

pub(super) fn guard(
    client: kube::Client,
    entry: &Arc<Entry>,
    tuning: &Tuning,
    large: &LargePages,
) -> kube::Client {
    let namespace = client.default_namespace().to_owned();
    let (entry, tuning, large) = (Arc::clone(entry), tuning.clone(), large.clone());
    let gate = Arc::new(Mutex::new(Gate {
        requests: Pacer::new(tuning.requests),
        pages: Pacer::new(tuning.pages),
        empty: 0,
        open: false,
        full_page: false,
        rng: tuning.seed.map_or_else(fastrand::Rng::new, |seed| {
            fastrand::Rng::with_seed(seed.wrapping_add(entry.salt()).rotate_left(32))
        }),
        pause: tuning.backoff_min,
    }));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, entry, gate, tuning) =
            (client.clone(), Arc::clone(&entry), Arc::clone(&gate), tuning.clone());
        let turn = large.page();
        async move {
            let asks = Asks::of(request.uri());
            let wait = lock(&gate).admit(asks, Instant::now())?;
            entry.asked(!wait.is_zero());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                entry.excuse();
            }
            let asked = Instant::now();
            let answer = tokio::time::timeout(tuning.headers_timeout, client.send(request)).await;
            let response =
                answer.map_err(|_| BoxError::from(NoAnswer::Headers(tuning.headers_timeout)))??;
            if let Some(patience) = retry_after(&response) {
                entry.wait(patience);
            }
            let success = response.status().is_success();
            // A proxy that has no answer of the server names its own time.
            if let Some(date) = date(&response).filter(|_| success) {
                entry.server_time(ServerTime { date, asked, answered: Instant::now() });
            }
            let watch = (success && asks == Asks::Watch).then(|| Watch::new(tuning.empty_watch));
            match watch {
                Some(_) => lock(&gate).open = true,
                None => entry.alive(),
            }
            let page = tuning.page_timeout;
            let deadline = watch.is_none().then(|| Box::pin(tokio::time::sleep_until(asked + page)));
            let page_bytes = tuning.page_bytes;
            let guarded =
                |body| Guarded { body, entry, gate, deadline, page, watch, size: 0, page_bytes, turn };
            Ok::<_, BoxError>(response.map(guarded))
        }
    });
    kube::Client::new(service, namespace)
}

fn lock(gate: &Mutex<Gate>) -> std::sync::MutexGuard<'_, Gate> {
    // Nothing is left half-done by a panic in between.
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds only: no API server sends a date.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

fn date(response: &Response<Body>) -> Option<Timestamp> {
    clock::http_date(response.headers().get(DATE)?.to_str().ok()?)
}

/// A watch that was answered with 200.
struct Watch {
    opened: Instant,
    /// Ends when the watch has lasted for long enough to count as alive although it brings nothing.
    lasts: Option<Pin<Box<Sleep>>>,
    /// Whether a line about an object came.
    brought: bool,
    /// Whether its end was counted.
    ended: bool,
    line: Line,
}

impl Watch {
    fn new(empty_watch: Duration) -> Self {
        Self {
            opened: Instant::now(),
            lasts: Some(Box::pin(tokio::time::sleep(empty_watch))),
            brought: false,
            ended: false,
            line: Line::default(),
        }
    }

    /// True once, when the watch has lasted for long enough.
    fn lasted(&mut self, cx: &mut Context<'_>) -> bool {
        let lasts = self.lasts.as_mut().is_some_and(|lasts| lasts.as_mut().poll(cx).is_ready());
        if lasts {
            self.lasts = None;
        }
        lasts
    }

    fn is_empty(&self) -> bool {
        !self.brought && self.lasts.is_some()
    }
}

/// Where the bytes of a watch are within its lines.
#[derive(Debug, Default)]
struct Line {
    /// The first bytes of the line that is not complete, as many as say whether it is an ERROR.
    head: Vec<u8>,
    length: usize,
}

impl Line {
    /// Takes bytes in. True if they complete a line that says something about objects.
    fn take(&mut self, data: &[u8]) -> Result<bool, NoAnswer> {
        let mut complete = false;
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            let missing = ERROR_LINE.len().saturating_sub(self.head.len());
            self.head.extend(part.iter().filter(|byte| !byte.is_ascii_whitespace()).take(missing));
            self.length = self.length.saturating_add(part.len());
            if self.length > MAX_LINE {
                return Err(NoAnswer::LineLength);
            }
            if part.ends_with(b"\n") {
                complete |= !self.head.is_empty() && self.head != ERROR_LINE;
                *self = Self::default();
            }
        }
        Ok(complete)
    }
}

struct Guarded {
    body: Body,
    entry: Arc<Entry>,
    gate: Arc<Mutex<Gate>>,
    deadline: Option<Pin<Box<Sleep>>>,
    page: Duration,
    /// `None`: a page of a list, or the text of an error.
    watch: Option<Watch>,
    /// Bytes of the answer so far.
    size: usize,
    /// The most bytes of a page.
    page_bytes: usize,
    turn: Turn,
}

impl Guarded {
    fn too_late(&mut self, cx: &mut Context<'_>) -> Option<NoAnswer> {
        let deadline = self.deadline.as_mut()?;
        deadline.as_mut().poll(cx).is_ready().then_some(NoAnswer::Page(self.page))
    }

    fn data(&mut self, data: &[u8]) -> Result<(), NoAnswer> {
        self.entry.alive();
        self.size = self.size.saturating_add(data.len());
        match &mut self.watch {
            Some(watch) => {
                if watch.line.take(data)? {
                    watch.brought = true;
                    self.entry.line_came();
                }
                Ok(())
            }
            None if self.size > self.page_bytes => Err(NoAnswer::PageSize(self.page_bytes)),
            None => Ok(()),
        }
    }

    /// The answer is over; `clean`: as HTTP has it, and not cut off.
    fn end(&mut self, clean: bool) {
        let mut gate = lock(&self.gate);
        let Some(watch) = &mut self.watch else {
            gate.full_page = clean && self.size >= SHORT_PAGE;
            drop(gate);
            if clean {
                self.entry.alive();
            }
            return;
        };
        if std::mem::replace(&mut watch.ended, true) {
            return;
        }
        gate.open = false;
        if watch.is_empty() {
            gate.empty = gate.empty.saturating_add(1);
        } else {
            gate.empty = 0;
            drop(gate);
            self.entry.ended(clean);
        }
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let read = self.size;
        if self.watch.is_none() && self.turn.poll(read, cx).is_pending() {
            return match self.too_late(cx) {
                Some(late) => Poll::Ready(Some(Err(late.into()))),
                None => Poll::Pending,
            };
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx).map_err(BoxError::from);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref()
                    && let Err(error) = self.data(data)
                {
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
            Poll::Ready(None) => self.end(true),
            Poll::Ready(Some(Err(_))) => self.end(false),
            Poll::Pending => {
                if let Some(late) = self.too_late(cx) {
                    return Poll::Ready(Some(Err(late.into())));
                }
                if let Some(watch) = self.watch.as_mut()
                    && watch.lasted(cx)
                {
                    let opened = watch.opened;
                    self.entry.lasts(opened);
                }
            }
        }
        polled
    }

    /// Never early: the end of the answer is to be seen here.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_lines_about_objects_count() {
        let mut line = Line::default();
        for (data, told) in [
            ("{\"type\":\"ADD", false),
            ("ED\",\"object\":{}}", false),
            ("\n", true),
            ("\n \n\r\n", false),
            ("{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n", false),
            ("{\"type\":\"BOOKMARK\"}\n{\"type\":\"ERR", true),
            ("OR\"}\n", false),
            ("x\n", true),
        ] {
            assert_eq!(line.take(data.as_bytes()).unwrap(), told, "{data:?}");
        }
        let long = vec![b'x'; MAX_LINE / 2];
        assert!(!line.take(&long).unwrap() && !line.take(&long).unwrap());
        assert!(matches!(line.take(b"x"), Err(NoAnswer::LineLength)));
    }
}
