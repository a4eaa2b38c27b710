//! What the HTTP notifiers share: the client, bounded answers, `Retry-After`, and which statuses
//! are worth another attempt.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::hint;
use super::network::{HttpAnswer, HttpRequest, Network, SimulatedNetwork};
use crate::clock::http_date;
use crate::message::text::words;

/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one request: from the first byte sent to the last byte read.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Shorter than the keep-alive of common servers: a connection they closed already costs an attempt.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// How much of an answer is read, in bytes. Slack repeats the message in its answer.
const MAX_BODY: usize = 1024 * 1024;
/// What a `Retry-After` is held to.
const RETRY_AFTER_RANGE: (u64, u64) = (1, 3600);

/// Which certificates to trust, and which to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file of certificate authorities to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// PEM files that together hold a client certificate and its key, for mutual TLS; usually one or
    /// two.
    pub identity: Vec<PathBuf>,
}

/// No HTTP client could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A file of `tls`.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A file of `tls` that is no PEM.
    #[error("{0} is not what it should be: {1}")]
    Pem(PathBuf, String),
    /// Anything else: mostly that the system has no trusted certificates.
    #[error("cannot set up HTTPS: {0}")]
    Client(String),
}

/// What a notifier makes its requests with.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    /// Answers in the place of servers, where there is one.
    simulated: Option<Arc<dyn SimulatedNetwork>>,
}

impl Client {
    /// A client with all limits set.
    pub fn new(tls: &Tls, network: &Network) -> Result<Self, HttpError> {
        Ok(match network {
            Network::Real => Self { inner: client(tls)?, simulated: None },
            // Nothing goes out, so no certificates are read.
            Network::Simulated(simulated) => {
                Self { inner: bare_client()?, simulated: Some(Arc::clone(simulated)) }
            }
        })
    }

    pub fn post(&self, url: impl reqwest::IntoUrl) -> reqwest::RequestBuilder {
        self.inner.post(url)
    }

    /// Begins a request without a body.
    pub fn get(&self, url: impl reqwest::IntoUrl) -> reqwest::RequestBuilder {
        self.inner.get(url)
    }

    /// Makes one request. An error is a reason for people, without the URL.
    pub async fn exchange(&self, request: reqwest::RequestBuilder, now: Timestamp) -> Result<Answer, String> {
        match &self.simulated {
            None => exchange(request, now).await,
            Some(simulated) => exchange_simulated(simulated.as_ref(), request, now).await,
        }
    }
}

/// Only builds requests. The one of a process is enough: making another takes milliseconds.
fn bare_client() -> Result<reqwest::Client, HttpError> {
    static CLIENT: std::sync::OnceLock<Result<reqwest::Client, String>> = std::sync::OnceLock::new();
    let made = CLIENT.get_or_init(|| {
        install_provider();
        reqwest::Client::builder().tls_certs_only([]).no_proxy().build().map_err(chain)
    });
    made.clone().map_err(HttpError::Client)
}

/// `main` installs the provider; tests and benches have no `main`.
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may be first: then it is installed, too.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
}

/// A client with all limits set. Redirects are not followed: a receiver is one address, and a
/// request that carries a secret must not wander.
pub fn client(tls: &Tls) -> Result<reqwest::Client, HttpError> {
    install_provider();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("kubeherald/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &tls.ca {
        let pem = std::fs::read(path).map_err(|e| HttpError::File(path.clone(), e))?;
        let certs = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|e| HttpError::Pem(path.clone(), chain(e)))?;
        builder = builder.tls_certs_merge(certs);
    }
    if let Some(path) = tls.identity.first() {
        let mut pem = Vec::new();
        for path in &tls.identity {
            pem.extend(std::fs::read(path).map_err(|e| HttpError::File(path.clone(), e))?);
            pem.push(b'\n');
        }
        let identity =
            reqwest::Identity::from_pem(&pem).map_err(|e| HttpError::Pem(path.clone(), chain(e)))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|e| HttpError::Client(chain(e)))
}

/// Pause after a 429 without `Retry-After`. Vendors count by the minute, and
/// some shut out for longer who does not stop.
pub const TOO_MANY: Duration = Duration::from_secs(60);

/// What the other side answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// What `Retry-After` asked for, clamped.
    pub retry_after: Option<Duration>,
    /// The beginning of the body.
    pub body: String,
}

impl Answer {
    /// How long the whole receiver waits, not only this message: as long as it was asked to, or a
    /// while where there were too many.
    pub fn hold(&self) -> Option<Duration> {
        self.retry_after.or((self.status == 429).then_some(TOO_MANY))
    }

    /// Is it a page for people? No API answers so: something in between does, a proxy or a login.
    pub fn is_page(&self) -> bool {
        self.body.trim_start().starts_with('<')
    }

    /// `the webhook answered 503: … – what to do`
    pub fn reason(&self, who: &str, excerpt: &str, advice: &str) -> String {
        let advice = if advice.is_empty() { self::advice(self.status) } else { advice };
        let head = words::join(&[&format!("{who} answered {}", self.status), excerpt], ": ");
        words::join(&[&head, advice], " – ")
    }
}

/// What to do about a page in place of an answer.
pub const PAGE: &str = "that is a page for people: is something in between, a proxy or a login?";

/// Makes one request. An error is a reason for people, without the URL.
pub async fn exchange(request: reqwest::RequestBuilder, now: Timestamp) -> Result<Answer, String> {
    let mut response = request.send().await.map_err(chain)?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers(), now);
    let mut body = Vec::new();
    // An answer that breaks off has a status all the same, and the status decides.
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_BODY.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if body.len() >= MAX_BODY {
            break;
        }
    }
    Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The same with a simulation in the place of the network, under the same limits.
async fn exchange_simulated(
    network: &dyn SimulatedNetwork,
    request: reqwest::RequestBuilder,
    now: Timestamp,
) -> Result<Answer, String> {
    let request = request.build().map_err(chain)?;
    let to = address(request.url());
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let request = HttpRequest {
        method: request.method().to_string(),
        url: request.url().to_string(),
        headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec(),
    };
    let answered = tokio::time::timeout(TOTAL_TIMEOUT, network.http(request)).await;
    let answered = answered.unwrap_or(Err(TransportError::NoAnswer));
    let HttpAnswer { status, headers, mut body } = answered.map_err(|error| error.reason(to.as_deref()))?;
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) =
            (reqwest::header::HeaderName::try_from(name), reqwest::header::HeaderValue::try_from(value))
        {
            map.append(name, value);
        }
    }
    body.truncate(MAX_BODY);
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status, retry_after: retry_after(&map, now), body })
}

/// What a status says about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Taken,
    /// It may be taken later.
    Later,
    /// Nothing is taken at this address, or with these credentials.
    Refused,
    /// This message will not be taken as it is.
    Never,
}

/// Sorts statuses (<https://www.rfc-editor.org/rfc/rfc9110#section-15>): 2xx is taken; 408, 409 (a
/// request with the same key is being processed), 421, 423, 425, 429 and 5xx may pass; 3xx, 401, 402, 403,
/// 404, 405, 407 and 410 are about the address or the credentials; the rest is about this message.
pub const fn class(status: u16) -> Class {
    match status {
        200..=299 => Class::Taken,
        408 | 409 | 421 | 423 | 425 | 429 | 500..=599 => Class::Later,
        300..=399 | 401..=405 | 407 | 410 => Class::Refused,
        _ => Class::Never,
    }
}

/// What to do about a status that is not taken.
pub const fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed: configure the final address",
        401 | 407 => "check the credentials",
        403 => "the credentials do not allow this",
        404 | 405 | 410 => "check the address",
        413 => "the message is too large for the other side",
        400 | 415 | 422 => {
            "the other side does not understand the message: is it the right kind of receiver?"
        }
        429 => "too many messages: lower the receiver's rate_limit",
        _ => "",
    }
}

/// `Retry-After` in seconds or as an HTTP date
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>), clamped to 1 s … 1 h.
///
/// A date is taken relative to the answer's own `Date` where it has one: the other side's clock may
/// differ from ours.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let (_, most) = RETRY_AFTER_RANGE;
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        // More digits than a number holds is long enough, too.
        value.parse::<u64>().unwrap_or(most)
    } else {
        let until = http_date(value)?;
        let from = headers.get(DATE).and_then(|v| v.to_str().ok()).and_then(http_date).unwrap_or(now);
        u64::try_from(until.as_second().saturating_sub(from.as_second())).unwrap_or(0)
    };
    Some(held(seconds))
}

/// What another side asks for, held to what it is believed.
pub fn held(seconds: u64) -> Duration {
    let (least, most) = RETRY_AFTER_RANGE;
    Duration::from_secs(seconds.clamp(least, most))
}

/// Why a request had no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// It took too long.
    NoAnswer,
    /// No connection; the innermost cause, which says most ("connection refused").
    Connect(String),
    /// The connection broke off; the innermost cause.
    Request(String),
    Other(String),
}

impl TransportError {
    /// For people, with what to do where that is known. `to`: host and port.
    pub fn reason(&self, to: Option<&str>) -> String {
        let said = match self {
            Self::NoAnswer => return String::from("no answer in time"),
            Self::Connect(cause) => {
                let head =
                    to.map_or_else(|| "cannot connect".to_owned(), |to| format!("cannot connect to {to}"));
                words::join(&[&head, cause], ": ")
            }
            Self::Request(cause) => words::join(&["the request failed", cause], ": "),
            Self::Other(text) => text.clone(),
        };
        let said = words::one_line(&said, 300);
        words::join(&[&said, hint::of(&said)], " – ")
    }
}

/// Host and port, which unlike the rest of an address are no secret.
fn address(url: &reqwest::Url) -> Option<String> {
    let host = words::one_line(url.host_str()?, 120);
    Some(url.port_or_known_default().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
}

/// A reqwest error with its causes. Of its URL, which may be a secret, only host and port are shown.
pub fn chain(error: reqwest::Error) -> String {
    let to = error.url().and_then(address);
    let error = error.without_url();
    // The innermost cause says most ("connection refused", "invalid peer certificate: …").
    let mut inner = error.source();
    let mut last = String::new();
    while let Some(e) = inner {
        last = e.to_string();
        inner = e.source();
    }
    // "Connection refused", without "(os error 111)".
    last.truncate(last.find(" (os error").unwrap_or(last.len()));
    let error = if error.is_timeout() {
        TransportError::NoAnswer
    } else if error.is_connect() {
        TransportError::Connect(last)
    } else if error.is_request() {
        TransportError::Request(last)
    } else {
        TransportError::Other(words::join(&[&error.to_string(), &last], ": "))
    };
    error.reason(to.as_deref())
}

/// The beginning of an answer for a reason, with everything that is secret taken out.
pub fn excerpt(body: &str, secrets: &[&str]) -> String {
    let mut body = words::one_line(body, 2000);
    for secret in secrets.iter().filter(|s| s.len() >= 6) {
        body = body.replace(secret, "***");
    }
    words::one_line(&body, 200)
}

/// The parts of a URL that must not be shown: the whole, its path and query, the segments.
pub fn secret_parts(url: &str) -> Vec<&str> {
    let rest = url.split_once("://").map_or(url, |(_, r)| r);
    let path = rest.find('/').and_then(|i| rest.get(i..)).unwrap_or_default();
    let userinfo = rest.split('/').next().and_then(|a| a.rsplit_once('@')).map(|(u, _)| u);
    let plain = path.split(['?', '#']).next().unwrap_or_default();
    let mut parts = vec![url, path, plain];
    parts.extend(userinfo);
    parts.extend(path.split(['/', '?', '&', '=']));
    parts
}
