//! A kube client whose requests cannot hang for ever and whose signs of life are noted.
//!
//! kube has no limit on the wait for headers or for the body of a list, and hides bookmarks and
//! the clean ends of watches. Both are seen here, below it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Bytes;
use kube::client::Body;
use tokio::time::Sleep;

use super::Tuning;
use super::page::{LargePages, Page};
use super::status::Entry;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The most patience a server can ask for: who says more is not to be trusted with our silence.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The server took too long.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no answer within {0:?}")]
    Headers(Duration),
    #[error("the answer did not end within {0:?}")]
    Page(Duration),
}

pub(super) fn guard(
    client: kube::Client,
    entry: &Arc<Entry>,
    tuning: &Tuning,
    large: &LargePages,
) -> kube::Client {
    let namespace = client.default_namespace().to_owned();
    let (entry, headers, page) = (Arc::clone(entry), tuning.headers_timeout, tuning.page_timeout);
    let (large, page_bytes) = (large.clone(), tuning.page_bytes);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, entry, bytes) = (client.clone(), Arc::clone(&entry), large.page(page_bytes));
        async move {
            let watch = request.uri().query().is_some_and(|q| q.split('&').any(|p| p == "watch=true"));
            let asked = tokio::time::Instant::now();
            let answer = tokio::time::timeout(headers, client.send(request)).await;
            let response = answer.map_err(|_| BoxError::from(NoAnswer::Headers(headers)))??;
            entry.alive();
            if let Some(patience) = retry_after(&response) {
                entry.wait(patience);
            }
            let unending = watch && response.status().is_success();
            let deadline = (!unending).then(|| Box::pin(tokio::time::sleep_until(asked + page)));
            Ok::<_, BoxError>(response.map(|body| Guarded {
                body,
                entry,
                deadline,
                page,
                watch: unending,
                bytes,
            }))
        }
    });
    kube::Client::new(service, namespace)
}

/// Seconds only: no API server sends a date.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

struct Guarded {
    body: Body,
    entry: Arc<Entry>,
    deadline: Option<Pin<Box<Sleep>>>,
    page: Duration,
    watch: bool,
    bytes: Page,
}

impl Guarded {
    fn too_late(&mut self, cx: &mut Context<'_>) -> Option<NoAnswer> {
        let deadline = self.deadline.as_mut()?;
        deadline.as_mut().poll(cx).is_ready().then_some(NoAnswer::Page(self.page))
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.watch && self.bytes.poll_turn(cx).is_pending() {
            return match self.too_late(cx) {
                Some(late) => Poll::Ready(Some(Err(late.into()))),
                None => Poll::Pending,
            };
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx).map_err(BoxError::from);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && !self.watch
            && let Err(too_large) = self.bytes.add(frame.data_ref().map_or(0, Bytes::len))
        {
            return Poll::Ready(Some(Err(too_large.into())));
        }
        match &polled {
            // Only of a watch: a list that was read in part has told nothing.
            Poll::Ready(Some(Ok(_))) if self.watch => self.entry.told(),
            Poll::Ready(Some(Ok(_)) | None) => self.entry.alive(),
            Poll::Ready(Some(Err(_))) => {}
            Poll::Pending => {
                if let Some(late) = self.too_late(cx) {
                    return Poll::Ready(Some(Err(late.into())));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
