//! Reads `webhook:`, with the document it may bring along.

use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::Value as Json;

use crate::config::error::{At, Diagnostic, Diagnostics, Level};
use crate::config::raw::{Node, Source, Span, Value};
use crate::config::read::{Map, Reader};
use crate::config::secret;
use crate::notify::Secret;
use crate::notify::http::Tls;
use crate::notify::webhook::{Preset, WebhookAuth, WebhookBody, WebhookConfig, in_the_open};
use crate::template::json::Document;

pub fn read(reader: &mut Reader, node: &Node, directory: &Path) -> Option<WebhookConfig> {
    let mut map = reader.map(node, "`{url, …}`")?;
    let read_secret = |reader: &mut Reader, node: &Node| secret::read(reader, node, directory);
    let read_path = |reader: &mut Reader, node: &Node| secret::path(reader, node, directory);
    let names: Vec<(&str, Preset)> = Preset::ALL.iter().map(|preset| (preset.name(), *preset)).collect();
    let preset = map.get(reader, "preset", |r, n| r.choice(n, "a preset", &names));
    let read_url = |reader: &mut Reader, node: &Node| secret::url(reader, node, directory);
    let url = match preset.and_then(Preset::default_url) {
        Some(default) if !map.has("url") => {
            let _ = map.take("url");
            Some(Secret::Inline(default.into()))
        }
        // A preset that is misspelt may be one that needs no address: that is one mistake, not two.
        None if map.has("preset") => map.get(reader, "url", read_url),
        _ => map.require(reader, "url", read_url),
    };
    let template = map.get(reader, "template", |r, n| template(r, n, directory));
    let key = map.get(reader, "key", read_secret);
    speaks(reader, &mut map, preset, template.as_ref());
    let headers = map.get(reader, "headers", |r, n| headers(r, n, directory)).unwrap_or_default();
    let (headers, secret_headers) = headers;
    let basic = map.get(reader, "basic", |reader, node| {
        let mut map = reader.map(node, "`{username, password}`")?;
        let username = map.require(reader, "username", |r, n| r.text(n).map(str::to_owned));
        let password = map.require(reader, "password", read_secret);
        map.finish(reader, "`basic`");
        username.zip(password)
    });
    let bearer = map.get(reader, "bearer", read_secret);
    if let (true, Some(span)) = (map.has("basic"), map.key_span("bearer")) {
        reader.error(span, "`basic` and `bearer` are given", "one request carries one of them", None);
    }
    let sign = map.get(reader, "sign", |reader, node| {
        let mut map = reader.map(node, "`{secret}`")?;
        let secret = map.require(reader, "secret", read_secret);
        map.finish(reader, "`sign`");
        secret
    });
    let ca = map.get(reader, "ca", read_path);
    let client_cert = map.get(reader, "client_cert", read_path);
    let client_key = map.get(reader, "client_key", read_path);
    if let (Some(span), false) = (map.key_span("client_cert"), map.has("client_key")) {
        reader.error(span, "`client_cert` needs `client_key`", "", None);
    }
    if let (Some(span), false) = (map.key_span("client_key"), map.has("client_cert")) {
        reader.error(span, "`client_key` needs `client_cert`", "", None);
    }
    if let (Some(Secret::Inline(url)), Some(span)) = (&url, map.key_span("url"))
        && (basic.is_some() || bearer.is_some() || key.is_some() || !secret_headers.is_empty())
        && in_the_open(url.expose_secret())
    {
        reader.warn(span, "what logs this receiver in is sent without encryption", "", Some(ENCRYPT));
    }
    map.finish(reader, "`webhook`");
    let auth = match (basic, bearer) {
        (Some((username, password)), _) => WebhookAuth::Basic { username, password },
        (None, Some(token)) => WebhookAuth::Bearer(token),
        (None, None) => WebhookAuth::None,
    };
    let body = match (preset, template) {
        (Some(preset), _) => WebhookBody::Preset(preset),
        (None, Some(document)) => WebhookBody::Document(document),
        (None, None) => WebhookBody::Payload,
    };
    let tls = Tls { ca, identity: client_cert.into_iter().chain(client_key).collect() };
    Some(WebhookConfig { headers, secret_headers, auth, sign, body, key, tls, ..WebhookConfig::new(url?) })
}

/// In the open, and secret ones.
type Headers = (Vec<(String, String)>, Vec<(String, Secret)>);

/// What to do about an address [in the open](in_the_open).
pub const ENCRYPT: &str = "write `https://…`, or reach it on this machine or through a mesh that encrypts";

fn headers(reader: &mut Reader, node: &Node, directory: &Path) -> Option<Headers> {
    let map = reader.map(node, "headers by name")?;
    let mut headers = Headers::default();
    for (name, key, value) in map.entries() {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let shown = reader.show(key);
            reader.error(key.span, format!("{shown} is no name for a header"), "", None);
            continue;
        }
        let secret = matches!(value.value, Value::Map(_)) || name.eq_ignore_ascii_case("authorization");
        if secret {
            headers.1.extend(secret::read(reader, value, directory).map(|value| (name.to_owned(), value)));
        } else if let Some(text) = reader.text(value) {
            if http::HeaderValue::from_str(text).is_err() {
                reader.error(value.span, "this is no value for a header", "", None);
                continue;
            }
            headers.0.push((name.to_owned(), text.to_owned()));
        }
    }
    Some(headers)
}

/// Who says what the body is, and whether `key` fits.
fn speaks(reader: &mut Reader, map: &mut Map<'_>, preset: Option<Preset>, template: Option<&Document>) {
    if let (true, Some(span)) = (map.has("preset"), map.key_span("template")) {
        reader.error(span, "`preset` and `template` are given", "one document is sent", None);
        return;
    }
    let given = map.key_span("key");
    match (preset, template) {
        (Some(preset), _) if preset.needs_key() && given.is_none() => {
            let help = format!("write `key: {{env: NAME}}` or `{{file: PATH}}`: {}", preset.key_is());
            let message = format!("preset `{}` needs a `key`", preset.name());
            reader.error(map.head(), message, "in this mapping", Some(&help));
        }
        (Some(preset), _) if !preset.takes_key() => {
            if let Some(span) = given {
                let help = "its address is the secret: write `url: {file: PATH}`";
                reader.error(span, format!("preset `{}` takes no `key`", preset.name()), "", Some(help));
            }
        }
        (None, Some(document)) => match (document.needs_key(), given) {
            (true, None) => {
                let message = "the template names `{$secret: key}`, but there is no `key`";
                reader.error(map.head(), message, "in this mapping", None);
            }
            (false, Some(span)) => {
                reader.warn(span, "nothing uses this key", "", Some("the template has no `{$secret: key}`"));
            }
            _ => {}
        },
        // Where `preset` or `template` is wrong by itself, that was said.
        (None, None) if !map.has("preset") && !map.has("template") => {
            if let Some(span) = given {
                let help = "to sign requests write `sign: {secret: …}`, to log in `bearer` or `basic`";
                reader.error(span, "`key` belongs to a `preset` or a `template`", "", Some(help));
            }
        }
        _ => {}
    }
}

/// A document: written here, or a file of JSON or YAML.
fn template(reader: &mut Reader, node: &Node, directory: &Path) -> Option<Document> {
    if !matches!(node.value, Value::Text { .. }) {
        let source = Arc::clone(reader.source());
        return compile(node, &source, reader);
    }
    let path = secret::path(reader, node, directory)?;
    let text = match reader.file(&path) {
        Ok(text) => text,
        Err(wrong) => {
            let message = format!("the template cannot be used: {wrong}");
            reader.error(node.span, message, &path.display().to_string(), None);
            return None;
        }
    };
    let (source, root, problems) = Source::parse(&path, &text);
    let source = Arc::new(source);
    let mut found = Diagnostics::default();
    for problem in problems {
        let at = At { source: Arc::clone(&source), span: problem.span };
        found.push(Diagnostic::at(Level::Error, &at, problem.message));
    }
    let good = found.is_empty();
    reader.absorb(&found);
    let Some(root) = root else {
        if good {
            reader.error(node.span, "the template is empty", &path.display().to_string(), None);
        }
        return None;
    };
    if good { compile(&root, &source, reader) } else { None }
}

fn compile(root: &Node, source: &Arc<Source>, reader: &mut Reader) -> Option<Document> {
    match Document::compile(json(root)) {
        Ok(document) => Some(document),
        Err(errors) => {
            let mut found = Diagnostics::default();
            for error in errors {
                let at = At { source: Arc::clone(source), span: place(root, &error.path) };
                let diagnostic = Diagnostic::at(Level::Error, &at, error.message);
                found.push(match error.help {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                });
            }
            reader.absorb(&found);
            None
        }
    }
}

/// The tree as JSON: what is written without quotes may be a number or a truth value, as YAML has it.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Text { text, plain: true } => match text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            other => match serde_json::from_str::<serde_json::Number>(other) {
                Ok(number) => Json::Number(number),
                Err(_) => Json::String(other.to_owned()),
            },
        },
        Value::Text { text, .. } => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (name(key).to_owned(), json(value))).collect())
        }
    }
}

fn name(key: &Node) -> &str {
    if let Value::Text { text, .. } = &key.value { text } else { "" }
}

/// Where a path leads; as far as it can be followed.
fn place(root: &Node, path: &[String]) -> Span {
    let mut here = root;
    let mut key = None;
    for step in path {
        let next = match &here.value {
            Value::Map(entries) => {
                entries.iter().find(|(key, _)| name(key) == step).map(|(k, v)| (Some(k), v))
            }
            Value::List(items) => {
                step.parse::<usize>().ok().and_then(|n| items.get(n)).map(|item| (None, item))
            }
            _ => None,
        };
        let Some((found, value)) = next else { break };
        (key, here) = (found, value);
    }
    match (&here.value, key) {
        // A mapping is named by its first line: all of it could be the whole file.
        (Value::Map(entries), None) => entries.first().map_or(here.span, |(key, _)| key.span),
        (Value::Map(_) | Value::List(_), Some(key)) => key.span,
        _ => here.span,
    }
}
