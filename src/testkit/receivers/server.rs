//! An HTTP server that can also hang and hang up, and the webhook on it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{Received, Record, Task, lock};

/// The largest request that is taken.
const MAX_REQUEST: usize = 8 * 1024 * 1024;

/// What a server does with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Says nothing for so long, then hangs up.
    Hang(Duration),
    /// Hangs up at once.
    HangUp,
}

impl Reply {
    /// An answer with a status and a body.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with a header more.
    pub fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Answer { status, headers, body }
            }
            other => other,
        }
    }
}

/// Serves every request with `answer` until the task is dropped.
pub(super) async fn serve<F, A>(answer: F) -> io::Result<(SocketAddr, Task)>
where
    F: Fn(Received) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Reply> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            connections.spawn(async move {
                let service = hyper::service::service_fn(move |request| one(request, answer.clone()));
                // An error is how a scripted hang-up ends the connection.
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok((address, Task(task)))
}

async fn one<F, A>(request: Request<Incoming>, answer: F) -> Result<Response<Full<Bytes>>, io::Error>
where
    F: Fn(Received) -> A,
    A: Future<Output = Reply>,
{
    let (head, body) = request.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
        .collect();
    let bytes = Limited::new(body, MAX_REQUEST).collect().await.map_err(io::Error::other)?.to_bytes();
    let received = Received {
        at: crate::clock::now(),
        path: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        headers,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    match answer(received).await {
        Reply::Answer { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Full::new(Bytes::from(body))).map_err(io::Error::other)
        }
        Reply::Hang(time) => {
            tokio::time::sleep(time).await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Reply::HangUp => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// Records requests and answers 200, or what a script says.
#[derive(Debug)]
pub struct WebhookServer {
    address: SocketAddr,
    received: Record<Received>,
    script: Arc<Mutex<VecDeque<Reply>>>,
    _task: Task,
}

impl WebhookServer {
    /// Listens on a free loopback port.
    pub async fn start() -> io::Result<Self> {
        let received = Record::default();
        let script: Arc<Mutex<VecDeque<Reply>>> = Arc::default();
        let (record, replies) = (received.clone(), Arc::clone(&script));
        let (address, task) = serve(move |request: Received| {
            record.push(request);
            let reply = lock(&replies).pop_front().unwrap_or_else(|| Reply::status(200, "ok"));
            std::future::ready(reply)
        })
        .await?;
        Ok(Self { address, received, script, _task: task })
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn received(&self) -> &Record<Received> {
        &self.received
    }

    /// Does this with the next request that has no reply yet.
    pub fn next(&self, reply: Reply) {
        lock(&self.script).push_back(reply);
    }
}
