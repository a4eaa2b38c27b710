//! The HTTP server: is it alive, is it ready, its metrics, and [what it can be asked to do](api).
//!
//! Everything a client can make it spend is bounded: connections, the time of each request and of
//! each connection, the size of a body, and how often the store is asked.

pub mod api;
mod connections;
pub mod health;
mod metrics;
mod page;
pub mod status;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub use self::api::{Answer, Ask, Command, Control, Refusal, Token};
pub use self::connections::Room;
use self::connections::{Connections, Place};
use crate::metrics::Metrics;
use crate::metrics::cached::Cached;
use crate::store::Store;

/// From the moment a connection is accepted, or the last answer was sent, to the end of the headers of
/// the next request. A client that says nothing for so long has nothing to say.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// From a request to its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// No connection lasts longer, whatever its client does.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(300);
/// How long answers under way may take when a connection or the server is to end.
const DRAIN: Duration = Duration::from_secs(2);
/// The most bytes of headers that are read.
const MAX_HEADERS: usize = 16 * 1024;
/// After a failure to accept (most likely no file descriptors).
const ACCEPT_NAP: Duration = Duration::from_millis(500);
/// Readiness may be asked for often, but each look is a commit.
const WRITABLE_AGE: Duration = Duration::from_secs(5);

/// What the server shows.
#[derive(Debug, Clone)]
pub struct WebState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    heartbeat: Arc<AtomicI64>,
    writable: Cached<Result<(), String>>,
    control: Control,
}

impl WebState {
    /// `heartbeat` holds the Unix milliseconds when the engine's loop last went round; it must be
    /// set at least every few seconds, also while nothing happens.
    pub fn new(metrics: Metrics, heartbeat: Arc<AtomicI64>, control: Control) -> Self {
        Self(Arc::new(Inner { metrics, heartbeat, writable: Cached::new(WRITABLE_AGE), control }))
    }

    fn control(&self) -> &Control {
        &self.0.control
    }

    fn store(&self) -> &Store {
        &self.0.metrics.sources().store
    }
}

/// Serves until `stop`; then answers under way may end within two seconds.
pub async fn serve(listener: TcpListener, state: WebState, stop: CancellationToken) -> std::io::Result<()> {
    let places = Connections::new(Room::default(), Arc::clone(state.0.metrics.http()));
    let router = router(state);
    let mut connections = JoinSet::new();
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "http server");
    }
    loop {
        // Ended ones are taken out, so that the set holds hardly more than there are places.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without a place the connection is closed here.
                if let Some(place) = places.enter(peer.ip()) {
                    connections.spawn(connection(stream, router.clone(), stop.clone(), place));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "http server cannot accept");
                tokio::time::sleep(ACCEPT_NAP).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, place: Place) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (answering, answer) = (place.answering(), answer(router.clone(), request));
        async move {
            let answered = answer.await;
            drop(answering);
            answered
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A connection that is always busy must not outlive its end: that comes first, and once.
    let ended = tokio::select! {
        biased;
        () = place.closed() => Some(Ok(())),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(MAX_CONNECTION_AGE) => None,
        ended = connection.as_mut() => Some(ended),
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "http connection");
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let answered = tokio::time::timeout(REQUEST_TIMEOUT, router.oneshot(request)).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Everything that is served, for callers in the same process. A request has no limit of time here.
pub fn router(state: WebState) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .merge(api::routes(&state))
        .with_state(state)
}
