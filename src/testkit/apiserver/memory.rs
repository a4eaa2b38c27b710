//! Connections without sockets: both ends live in one runtime, so that its time can be paused.
//!
//! hyper speaks HTTP/1 on both sides as it does over TCP; only the stream differs. A reset is told to the
//! client by a flag that both ends share.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::socket::Stream;
use super::{Shared, connection, lock};

/// What the other end may send before it has to wait, in bytes: a small socket buffer.
const BUFFER: usize = 64 * 1024;
/// When nothing answers at all: the limit that `watch::stream::client` sets for sockets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The address that clients are given; nothing resolves it.
pub(super) const URL: &str = "http://kubernetes.simulated";

/// The client's end of a connection.
struct Wire {
    stream: DuplexStream,
    reset: Arc<AtomicBool>,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        // As on a socket, what has not been read when the reset comes is lost.
        if polled.is_ready() && self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn connect(shared: Arc<Shared>) -> io::Result<TokioIo<Wire>> {
    let (latency, reachable) = {
        let settings = lock(&shared.settings);
        (settings.latency, settings.reachable)
    };
    if !reachable {
        tokio::time::sleep(CONNECT_TIMEOUT).await;
        return Err(io::ErrorKind::TimedOut.into());
    }
    tokio::time::sleep(latency).await;
    let Some(cancel) = lock(&shared.accepting).clone() else {
        return Err(io::ErrorKind::ConnectionRefused.into());
    };
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let reset = Arc::new(AtomicBool::new(false));
    // It ends with the runtime, if not before.
    drop(tokio::spawn(connection(shared, Stream::Memory(theirs), Arc::clone(&reset), cancel)));
    Ok(TokioIo::new(Wire { stream: ours, reset }))
}

/// A client whose connections are served in the runtime that makes them.
pub(super) fn client(shared: &Arc<Shared>) -> Result<kube::Client, kube::Error> {
    let base = URL.parse::<Uri>().map_err(|e| kube::Error::HttpError(e.into()))?;
    let token = lock(&shared.settings).token.clone();
    let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose();
    let token = token.map_err(|e| kube::Error::HttpError(e.into()))?;
    let shared = Arc::clone(shared);
    let connector = tower::service_fn(move |_: Uri| Box::pin(connect(Arc::clone(&shared))));
    let http: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Builder::new(TokioExecutor::new()).build(connector);
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let mut uri = base.clone().into_parts();
        uri.path_and_query = request.uri().path_and_query().cloned();
        if let Ok(uri) = Uri::from_parts(uri) {
            *request.uri_mut() = uri;
        }
        if let Some(token) = &token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        http.request(request)
    });
    Ok(kube::Client::new(service, "default"))
}
