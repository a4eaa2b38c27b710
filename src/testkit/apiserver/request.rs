//! What a request asks for: path, query and Accept header, read as strictly as a real server does.

use std::time::Duration;

use http::header::ACCEPT;

use super::faults::Verb;
use super::logs::LogAsk;
use super::resource::Resource;
use super::status::{Continue, Failure};
use super::store::Filter;

/// A request for objects.
#[derive(Debug)]
pub(super) struct Ask {
    pub verb: Verb,
    pub resource: &'static Resource,
    pub filter: Filter,
    /// For [`Verb::Get`].
    pub name: Option<String>,
    pub partial: bool,
    pub limit: usize,
    pub token: Option<String>,
    pub version: String,
    pub bookmarks: bool,
    pub initial: bool,
    pub timeout: Option<Duration>,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Route {
    Objects(Box<Ask>),
    Log(LogAsk),
    Version,
    Healthy,
    Nothing,
}

/// Reads path and query. The failure of a malformed query is given back with the route, because
/// authorisation comes before validation.
pub(super) fn route<B>(request: &http::Request<B>) -> (Route, Result<(), Failure>) {
    let path = request.uri().path();
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let (group, rest) = match segments.as_slice() {
        ["version"] => return (Route::Version, Ok(())),
        ["readyz" | "livez" | "healthz"] => return (Route::Healthy, Ok(())),
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, "v1", rest @ ..] => (*group, rest),
        _ => return (Route::Nothing, Ok(())),
    };
    if let (["namespaces", namespace, "pods", pod, "log"], "") = (rest, group) {
        let (ask, read) = LogAsk::read(namespace, pod, request.uri().query().unwrap_or_default());
        return (Route::Log(ask), read);
    }
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
        ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
        [plural] => (None, *plural, None),
        [plural, name] => (None, *plural, Some(*name)),
        _ => return (Route::Nothing, Ok(())),
    };
    let Some(resource) = Resource::by_plural(group, plural) else { return (Route::Nothing, Ok(())) };
    // Cluster-scoped objects are under no namespace; one namespaced object is under its own.
    if namespace.is_some() != resource.namespaced && (namespace.is_some() || name.is_some()) {
        return (Route::Nothing, Ok(()));
    }

    let mut ask = Ask {
        verb: if name.is_some() { Verb::Get } else { Verb::List },
        resource,
        filter: Filter { namespace: namespace.map(str::to_owned), ..Filter::default() },
        name: name.map(str::to_owned),
        partial: wants_partial(request),
        limit: 0,
        token: None,
        version: String::new(),
        bookmarks: false,
        initial: false,
        timeout: None,
    };
    let read = ask.read(request.uri().query().unwrap_or_default());
    (Route::Objects(Box::new(ask)), read)
}

fn wants_partial<B>(request: &http::Request<B>) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
    accept.split([';', ',']).any(|part| part.trim().starts_with("as=PartialObjectMetadata"))
}

impl Ask {
    fn read(&mut self, query: &str) -> Result<(), Failure> {
        let mut fields = String::new();
        let mut matching = String::new();
        let mut bad = None;
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            let yes = matches!(value.as_str(), "1" | "true");
            match key {
                "watch" if yes && self.verb == Verb::List => self.verb = Verb::Watch,
                "limit" => match value.parse() {
                    Ok(limit) => self.limit = limit,
                    Err(_) => bad = Some(format!("strconv.ParseInt: parsing \"{value}\": invalid syntax")),
                },
                "timeoutSeconds" => match value.parse() {
                    Ok(0) => {}
                    Ok(seconds) => self.timeout = Some(Duration::from_secs(seconds)),
                    Err(_) => bad = Some(format!("strconv.ParseInt: parsing \"{value}\": invalid syntax")),
                },
                "continue" if !value.is_empty() => self.token = Some(value),
                "resourceVersion" => self.version = value,
                "resourceVersionMatch" => matching = value,
                "allowWatchBookmarks" => self.bookmarks = yes,
                "sendInitialEvents" => self.initial = yes,
                "fieldSelector" => fields = value,
                "labelSelector" if !value.is_empty() => {
                    bad = Some(String::from("label selectors are not simulated"));
                }
                _ => {}
            }
        }
        if let Some(message) = bad {
            return Err(Failure::bad_request(&message));
        }
        self.select(&fields)?;
        if self.initial && self.verb == Verb::Watch && matching != "NotOlderThan" {
            return Err(Failure::watch_list(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if !self.initial && self.verb == Verb::Watch && !matching.is_empty() {
            return Err(Failure::watch_list(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if self.verb == Verb::List && self.token.is_some() && !matches!(self.version.as_str(), "" | "0") {
            return Err(Failure::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(())
    }

    /// Only what every resource supports: real servers know a few more labels for some.
    fn select(&mut self, selector: &str) -> Result<(), Failure> {
        for term in selector.split(',').filter(|t| !t.is_empty()) {
            let (field, value, wanted) = if let Some((field, value)) = term.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (field, value, true)
            } else {
                let message = format!("invalid selector: '{selector}'; can't understand '{term}'");
                return Err(Failure::bad_request(&message));
            };
            match field {
                "metadata.name" => self.filter.names.push((value.to_owned(), wanted)),
                "metadata.namespace" if self.resource.namespaced => {
                    self.filter.namespaces.push((value.to_owned(), wanted));
                }
                _ => return Err(Failure::bad_request(&format!("field label not supported: {field}"))),
            }
        }
        Ok(())
    }

    /// The version asked for; `None`: none, or any.
    pub fn at(&self) -> Result<Option<u64>, Failure> {
        match self.version.as_str() {
            "" | "0" => Ok(None),
            version => version.parse().map(Some).map_err(|_| Failure::bad_version(version)),
        }
    }

    pub fn page(&self) -> Result<Option<Continue>, Failure> {
        self.token.as_deref().map(Continue::decode).transpose()
    }
}

/// A query value; what is malformed stays as it is.
fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
