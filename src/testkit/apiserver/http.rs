//! Answers to single requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::Value;

use super::Shared;
use super::faults::{Verb, What, spoil};
use super::logs::LogAsk;
use super::request::{Ask, Route, route};
use super::resource::Resource;
use super::status::{Continue, Failure, put};
use super::store::{From, Snapshot, Stored};
use super::stream::{Broken, Watch};

/// The body of an answer; an error cuts the connection.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The service account the simulated server takes every client for.
const USER: &str = "system:serviceaccount:default:kubeherald";

const VERSION: &str = r#"{"major":"1","minor":"36","emulationMajor":"1","emulationMinor":"36",
"minCompatibilityMajor":"1","minCompatibilityMinor":"35","gitVersion":"v1.36.0","gitCommit":"","gitTreeState":"",
"buildDate":"1970-01-01T00:00:00Z","goVersion":"go1.27.3","compiler":"gc","platform":"linux/amd64"}"#;

/// Like any origin server with a clock it says what that shows.
pub(super) async fn answer<B>(
    shared: Arc<Shared>,
    request: Request<B>,
    reset: Arc<AtomicBool>,
) -> io::Result<Response<Body>> {
    let mut response = undated(Arc::clone(&shared), request, reset).await?;
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.now());
    let date = date.map_err(io::Error::other)?;
    response.headers_mut().insert(DATE, HeaderValue::from_str(&date).map_err(io::Error::other)?);
    Ok(response)
}

async fn undated<B>(
    shared: Arc<Shared>,
    request: Request<B>,
    reset: Arc<AtomicBool>,
) -> io::Result<Response<Body>> {
    let (route, valid) = route(&request);
    let latency = shared.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if let Some(failure) = shared.unauthenticated(request.headers().get(AUTHORIZATION)) {
        // Wrong credentials are 401; none at all make an anonymous request, which may do nothing.
        return Ok(match route {
            Route::Objects(ask) if !request.headers().contains_key(AUTHORIZATION) => {
                fail(&forbidden(&ask, "system:anonymous"))
            }
            _ => fail(&failure),
        });
    }
    let ask = match route {
        Route::Version => return Ok(json(200, VERSION.to_owned())),
        Route::Healthy => return Ok(text(200, "ok")),
        Route::Nothing => return Ok(text(404, "404 page not found\n")),
        Route::Log(ask) => return log(&shared, &ask, valid, request.uri(), &reset).await,
        Route::Objects(_) if request.method() != Method::GET => {
            return Ok(fail(&Failure::method_not_allowed()));
        }
        Route::Objects(ask) => ask,
    };
    shared.record(ask.verb, ask.resource.plural, ask.partial, request.uri());
    let outside = shared.faults().outside(ask.filter.namespace.as_deref());
    if outside || shared.faults().forbidden(ask.resource.plural) {
        return Ok(fail(&forbidden(&ask, USER)));
    }
    if let Err(failure) = valid {
        return Ok(fail(&failure));
    }
    let fault = shared.faults().take(ask.verb, ask.resource.plural, ask.token.is_some());
    match fault {
        Some(What::Status(code)) => return Ok(fail(&Failure::other(code))),
        Some(What::GoneHttp) => return Ok(fail(&Failure::other(410))),
        Some(What::TooManyRequests { retry_after, json }) => return Ok(too_many(retry_after, json)),
        Some(What::HangBeforeHeaders) => return std::future::pending().await,
        Some(What::Reset) => {
            reset.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(What::Garbage) => return Ok(json(200, String::from("<html>502 Bad Gateway</html>\n"))),
        Some(What::Silent) if ask.verb != Verb::Watch => return Ok(chunked(silence())),
        Some(What::Meanwhile(ref object)) => meanwhile(&shared, object),
        _ => {}
    }
    let answered = match ask.verb {
        Verb::Get => get(&shared, &ask).map(|object| json(200, object)),
        Verb::List => list(&shared, &ask, fault.as_ref()).map(|body| match fault {
            Some(What::CutMidLine) => chunked(cut(&body)),
            Some(What::CutAfter(bytes)) => chunked(parts(head(&body, bytes))),
            _ => chunked(one(body)),
        }),
        Verb::Watch => watch(&shared, &ask, fault),
    };
    Ok(answered.unwrap_or_else(|failure| fail(&failure)))
}

/// What faults and tests call logs.
const LOG: &str = "pods/log";

async fn log(
    shared: &Shared,
    ask: &LogAsk,
    valid: Result<(), Failure>,
    uri: &http::Uri,
    reset: &AtomicBool,
) -> io::Result<Response<Body>> {
    shared.record(Verb::Get, LOG, false, uri);
    if shared.faults().outside(Some(&ask.namespace)) || shared.faults().forbidden(LOG) {
        return Ok(fail(&Failure::forbidden_log(USER, &ask.namespace, &ask.pod)));
    }
    if let Err(failure) = valid {
        return Ok(fail(&failure));
    }
    let fault = shared.faults().take(Verb::Get, LOG, false);
    match &fault {
        Some(What::Status(code)) => return Ok(fail(&Failure::other(*code))),
        Some(What::TooManyRequests { retry_after, json }) => return Ok(too_many(*retry_after, *json)),
        Some(What::HangBeforeHeaders) => return std::future::pending().await,
        Some(What::Reset) => {
            reset.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(What::Garbage) => return Ok(text(200, "<html>502 Bad Gateway</html>\n")),
        Some(What::Silent) => return Ok(respond(200, "text/plain", silence())),
        Some(What::Slow(late)) => tokio::time::sleep(*late).await,
        Some(What::Drip) => return Ok(respond(200, "text/plain", drip())),
        Some(What::Meanwhile(object)) => meanwhile(shared, object),
        _ => {}
    }
    let pods = Resource::by_plural("", "pods");
    let pod = pods.and_then(|pods| shared.store().get(pods, &ask.namespace, &ask.pod).ok_or(pods).ok());
    let answered = match (pod, pods) {
        (Some(pod), _) => shared.logs().answer(ask, &pod.value()),
        (None, Some(pods)) => Err(Failure::not_found(pods, &ask.pod)),
        (None, None) => Err(Failure::other(500)),
    };
    Ok(match (answered, fault) {
        (Err(failure), _) => fail(&failure),
        (Ok(body), Some(What::CutMidLine)) => respond(200, "text/plain", cut(&body)),
        (Ok(body), _) => respond(200, "text/plain", one(body)),
    })
}

fn meanwhile(shared: &Shared, object: &Value) {
    // The test that gives it sees that it is missing, if it is refused.
    let now = shared.now();
    shared.store().apply(object.clone(), now).ok();
}

fn drip() -> Body {
    let drops = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
    });
    StreamBody::new(drops).boxed_unsync()
}

fn forbidden(ask: &Ask, user: &str) -> Failure {
    Failure::forbidden(user, ask.verb, ask.resource, ask.filter.namespace.as_deref(), ask.name.as_deref())
}

fn get(shared: &Shared, ask: &Ask) -> Result<String, Failure> {
    let name = ask.name.as_deref().unwrap_or_default();
    let namespace = ask.filter.namespace.as_deref().unwrap_or_default();
    let found = shared.store().get(ask.resource, namespace, name);
    let object = found.ok_or_else(|| Failure::not_found(ask.resource, name))?;
    Ok(if ask.partial { object.partial() } else { object.full() })
}

fn list(shared: &Shared, ask: &Ask, fault: Option<&What>) -> Result<String, Failure> {
    let page = ask.page()?;
    let at = ask.at()?;
    let mut store = shared.store();
    if let Some(at) = at
        && at > store.version()
    {
        return Err(Failure::version_too_large(at, store.version()));
    }
    // "Any version" comes from the cache, which does not page.
    let limit = if ask.version == "0" || ask.limit == 0 { usize::MAX } else { ask.limit };
    let current = store.version();
    let (objects, version): (Snapshot, u64) = match &page {
        None => (store.objects(ask.resource), current),
        Some(page) => {
            let pinned = u64::try_from(page.rv).ok();
            let kept = if fault == Some(&What::ExpirePage) {
                None
            } else {
                pinned.map_or_else(|| Some(store.objects(ask.resource)), |rv| store.kept(ask.resource, rv))
            };
            let fresh = || page.last().map(|(ns, name)| Continue::after(-1, ns, name).encode());
            let kept = kept.ok_or_else(|| Failure::expired_continue(&fresh().unwrap_or_default()))?;
            (kept, pinned.unwrap_or(current))
        }
    };
    let last = page.as_ref().and_then(Continue::last);
    let mut rest = objects
        .iter()
        .filter(|o| ask.filter.matches(o))
        .filter(|o| last.is_none_or(|(namespace, name)| (&*o.namespace, &*o.name) > (namespace, name)));
    let items: Vec<&Arc<Stored>> = rest.by_ref().take(limit).collect();
    let remaining = rest.count();

    let mut metadata = serde_json::json!({ "resourceVersion": version.to_string() });
    if remaining > 0
        && let Some(end) = items.last()
    {
        let pin = i64::try_from(version).unwrap_or(-1);
        put(&mut metadata, "continue", Continue::after(pin, &end.namespace, &end.name).encode());
        // With a selector the server does not know how many of the rest would match.
        if !ask.filter.selects() {
            put(&mut metadata, "remainingItemCount", remaining);
        }
        if page.is_none() {
            store.keep(ask.resource, &objects);
        }
    }
    drop(store);

    let spoiled = |json: String| match fault {
        Some(What::MalformedObject(patch)) => spoil(&json, patch).unwrap_or(json),
        _ => json,
    };
    let (kind, version) = if ask.partial {
        (String::from("PartialObjectMetadataList"), String::from("meta.k8s.io/v1"))
    } else {
        (format!("{}List", ask.resource.kind), ask.resource.api_version())
    };
    let mut body = format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#);
    for (index, object) in items.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&spoiled(if ask.partial { object.partial() } else { object.item() }));
    }
    body.push_str("]}\n");
    Ok(body)
}

fn watch(shared: &Arc<Shared>, ask: &Ask, fault: Option<What>) -> Result<Response<Body>, Failure> {
    let gone = |failure: &Failure| chunked(one(error_line(&failure.body)));
    let at = ask.at()?;
    if ask.initial && !ask.bookmarks {
        return Err(Failure::watch_list(
            "allowWatchBookmarks",
            "sendInitialEvents requires setting allowWatchBookmarks to true",
        ));
    }
    match &fault {
        Some(What::GoneInStream) => {
            let oldest = shared.store().version();
            return Ok(gone(&Failure::too_old(ask.resource, at.unwrap_or_default(), oldest)));
        }
        Some(What::ErrorInStream(code)) => return Ok(gone(&Failure::other(*code))),
        Some(What::CloseWatches) => return Ok(chunked(one(String::new()))),
        Some(What::OneAndClose) => {
            let objects = shared.store().objects(ask.resource);
            let first = objects.first().map(|o| if ask.partial { o.partial() } else { o.full() });
            let line = first.map(|o| format!("{{\"type\":\"ADDED\",\"object\":{o}}}\n"));
            return Ok(chunked(one(line.unwrap_or_default())));
        }
        _ => {}
    }
    let from = match at {
        Some(version) if !ask.initial => From::Version(version),
        _ => From::State,
    };
    let mut store = shared.store();
    let version = store.version();
    let (replay, events) = match store.watch(ask.resource, &ask.filter, &from) {
        Ok(opened) => opened,
        Err(too_old) => return Ok(gone(&Failure::too_old(ask.resource, at.unwrap_or_default(), too_old.0))),
    };
    drop(store);
    let broken = match fault {
        Some(What::Silent) => Some(Broken::Silent),
        Some(What::CutMidLine) => Some(Broken::Cut),
        Some(What::CutAfter(bytes)) => Some(Broken::CutAfter(bytes)),
        Some(What::MalformedObject(patch)) => Some(Broken::Malformed(patch)),
        _ => None,
    };
    let watch = Watch::new(Arc::clone(shared), ask, replay, events, version, broken);
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Some((next.map(|line| Frame::data(Bytes::from(line))), watch))
    });
    Ok(chunked(StreamBody::new(stream).boxed_unsync()))
}

fn error_line(status: &Value) -> String {
    format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n")
}

fn one(body: String) -> Body {
    let frame = if body.is_empty() { None } else { Some(Ok(Frame::data(Bytes::from(body)))) };
    StreamBody::new(futures::stream::iter(frame)).boxed_unsync()
}

/// Half of it, then the connection ends without a last chunk.
pub(super) fn halves(body: &str) -> VecDeque<io::Result<String>> {
    let half = body.char_indices().nth(body.chars().count() / 2).map_or(0, |(index, _)| index);
    let head = body.get(..half).unwrap_or_default().to_owned();
    [Ok(head), Err(io::ErrorKind::UnexpectedEof.into())].into()
}

/// So many bytes of it, then the connection ends without a last chunk.
pub(super) fn head(body: &str, bytes: usize) -> VecDeque<io::Result<String>> {
    let end = body.char_indices().map(|(at, _)| at).find(|at| *at >= bytes).unwrap_or(body.len());
    let head = body.get(..end).unwrap_or_default().to_owned();
    [Ok(head), Err(io::ErrorKind::UnexpectedEof.into())].into()
}

fn cut(body: &str) -> Body {
    parts(halves(body))
}

fn parts(parts: VecDeque<io::Result<String>>) -> Body {
    let stream = futures::stream::unfold(parts, |mut parts| async {
        let part = parts.pop_front()?;
        if part.is_err() {
            // Lets the first half leave the write buffer.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some((part.map(|text| Frame::data(Bytes::from(text))), parts))
    });
    StreamBody::new(stream).boxed_unsync()
}

fn silence() -> Body {
    let never = futures::stream::unfold((), |()| std::future::pending());
    StreamBody::new(never).boxed_unsync()
}

fn respond(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if code == 403 {
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    }
    response
}

fn full(body: String) -> Body {
    Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn json(code: u16, body: String) -> Response<Body> {
    respond(code, "application/json", full(body))
}

fn text(code: u16, body: &str) -> Response<Body> {
    respond(code, "text/plain; charset=utf-8", full(body.to_owned()))
}

fn chunked(body: Body) -> Response<Body> {
    respond(200, "application/json", body)
}

fn fail(failure: &Failure) -> Response<Body> {
    json(failure.code, format!("{}\n", failure.body))
}

fn too_many(retry_after: u32, as_json: bool) -> Response<Body> {
    let mut response = if as_json {
        fail(&Failure::initializing(retry_after))
    } else {
        text(429, "Too many requests, please try again later.\n")
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    response
}
