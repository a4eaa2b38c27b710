//! The local page: three files, and a stream of what happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use futures::stream::{self, Stream};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::feed::{Counts, Feed};

/// Nothing from elsewhere, no inline script. Mails bring inline styles along.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How often the numbers are sent, where nothing else happens.
const TICK: Duration = Duration::from_millis(200);

const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
];

/// Listens on a port of the loopback address, or on a free one where that is taken.
pub async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && port != 0 => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
        }
        done => done,
    }
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, feed: Arc<Feed>, stop: CancellationToken) -> std::io::Result<()> {
    let mut router = Router::new().route("/events", get(events)).route("/state", get(state));
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { file(kind, text) }));
    }
    axum::serve(listener, router.with_state(feed)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, text).into_response()
}

/// All of it at once, for programs.
async fn state(State(feed): State<Arc<Feed>>) -> Json<serde_json::Value> {
    Json(feed.document())
}

struct Reader {
    feed: Arc<Feed>,
    news: tokio::sync::watch::Receiver<bool>,
    seen: u64,
    ready: VecDeque<Event>,
    counts: Option<Counts>,
}

impl Reader {
    /// The next event; `None` when the demonstration ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if !*self.news.borrow_and_update() {
                return None;
            }
            let news = self.feed.after(self.seen);
            for entry in news.entries {
                self.seen = entry.id;
                self.ready.push_back(
                    Event::default().id(entry.id.to_string()).event(entry.kind).data(&*entry.data),
                );
            }
            if self.counts != Some(news.counts) {
                self.counts = Some(news.counts);
                let data = serde_json::to_string(&news.counts).unwrap_or_default();
                self.ready.push_back(Event::default().event("counts").data(data));
            }
            if self.ready.is_empty() {
                // Numbers alone do not wake anybody: they change hundreds of times a second.
                tokio::select! {
                    changed = self.news.changed() => changed.ok()?,
                    () = tokio::time::sleep(TICK) => {}
                }
            }
        }
    }
}

async fn events(
    State(feed): State<Arc<Feed>>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = HeaderName::from_static("last-event-id");
    let seen = headers.get(last).and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let news = feed.subscribe();
    let reader = Reader { feed, news, seen, ready: VecDeque::new(), counts: None };
    let stream = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
