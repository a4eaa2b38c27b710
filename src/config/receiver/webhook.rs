//! `webhook` of a receiver.

mod document;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::config::read::fields::{Fields, Head, section};
use crate::config::read::kind::{Kind, choice, path, text};
use crate::config::read::node::{Node, Value};
use crate::config::read::reader::Reader;
use crate::config::read::schema::Schema;
use crate::config::secret::{secret, url};
use crate::notify::Secret;
use crate::notify::http::Tls;
use crate::notify::webhook::{Preset, WebhookAuth, WebhookBody, WebhookConfig, in_the_open};
use crate::template::json::Document;

/// What to do about an address [in the open](in_the_open).
pub const ENCRYPT: &str = "write `https://…`, or reach it on this machine or through a mesh that encrypts";

pub fn webhook<'a>() -> Kind<'a, WebhookConfig> {
    let head = Head::new("webhook", "`{url, …}`", "An HTTP endpoint.");
    section(head, |fields| {
        let presets = Preset::ALL.iter().map(|preset| (preset.name(), *preset));
        let preset = fields.get("preset", "Speaks the language of a vendor.", choice("a preset", presets));
        let given = fields.get("url", "Where.", url());
        let template = fields.get(
            "template",
            "A JSON document whose texts are templates, or the path of a file with one.",
            document::document(),
        );
        let key = fields.get("key", "The secret that the preset or the template names.", secret());
        let headers = fields.get("headers", "Further headers.", headers());
        let (headers, secret_headers) = headers.unwrap_or_default();
        let auth = auth(fields);
        let sign = fields.get("sign", "Signs each request.", sign());
        let tls = tls(fields);
        fields.condition("anyOf", || json!([{"required": ["url"]}, {"required": ["preset"]}]));
        speaks(fields, preset, template.as_ref());
        let usual = preset.and_then(Preset::default_url);
        // A preset that is misspelt may be one that needs no address: that is one mistake, not two.
        let misspelt = fields.has("preset") || fields.is_misspelt("preset");
        if usual.is_none() && (preset.is_some() || !misspelt) {
            fields.miss("url");
        }
        let logs_in = !matches!(auth, WebhookAuth::None) || key.is_some() || !secret_headers.is_empty();
        if let (Some(Secret::Inline(url)), Some(span)) = (&given, fields.key("url"))
            && logs_in
            && in_the_open(url.expose_secret())
        {
            fields.warn(span, "the receiver's credentials are sent without encryption", "", Some(ENCRYPT));
        }
        let body = match (preset, template) {
            (Some(preset), _) => WebhookBody::Preset(preset),
            (None, Some(document)) => WebhookBody::Document(document),
            (None, None) => WebhookBody::Payload,
        };
        let usual = usual.filter(|_| !fields.has("url"));
        let url = given.or(usual.map(|url| Secret::Inline(url.into())))?;
        Some(WebhookConfig { headers, secret_headers, auth, sign, body, key, tls, ..WebhookConfig::new(url) })
    })
}

fn auth(fields: &mut Fields<'_, '_>) -> WebhookAuth {
    let basic = fields.get("basic", "User and password.", basic());
    let bearer = fields.get("bearer", "A token for `Authorization: Bearer`.", secret());
    if let (true, Some(span)) = (fields.has("basic"), fields.key("bearer")) {
        fields.error(span, "`basic` and `bearer` are given", "one request carries one of them", None);
    }
    basic.or(bearer.map(WebhookAuth::Bearer)).unwrap_or_default()
}

fn basic<'a>() -> Kind<'a, WebhookAuth> {
    let head = Head::new("basic", "`{username, password}`", "User and password.");
    section(head, |fields| {
        let username = fields.require("username", "The name.", text());
        let password = fields.require("password", "The password.", secret());
        Some(WebhookAuth::Basic { username: username?, password: password? })
    })
}

fn sign<'a>() -> Kind<'a, Secret> {
    let head = Head::new("sign", "`{secret}`", "HMAC-SHA256 over time and body.");
    section(head, |fields| fields.require("secret", "The key.", secret()))
}

fn tls(fields: &mut Fields<'_, '_>) -> Tls {
    let ca = "Certificates trusted besides the system's (PEM). A path, relative to this file.";
    let ca = fields.get("ca", ca, path());
    let cert = "The certificate shown to the server (PEM). A path, relative to this file.";
    let cert = fields.get("client_cert", cert, path());
    let key = fields.get("client_key", "Its key (PEM). A path, relative to this file.", path());
    fields.needs("client_cert", "client_key");
    fields.needs("client_key", "client_cert");
    Tls { ca, identity: cert.into_iter().chain(key).collect() }
}

/// In the open, and secret ones.
type Headers = (Vec<(String, String)>, Vec<(String, Secret)>);

fn headers<'a>() -> Kind<'a, Headers> {
    let read = |reader: &mut Reader, node: &Node| {
        let mut headers = Headers::default();
        for (key, value) in reader.entries(node, "headers by name")? {
            let name = key.text();
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                let message = format!("{} cannot be the name of a header", reader.show(key));
                reader.error(key.span, message, "", None);
            } else if matches!(value.value, Value::Map(_)) || name.eq_ignore_ascii_case("authorization") {
                headers.1.extend(secret().read(reader, value).map(|value| (name.to_owned(), value)));
            } else if let Some(text) = reader.text(value) {
                if http::HeaderValue::from_str(text).is_ok() {
                    headers.0.push((name.to_owned(), text.to_owned()));
                } else {
                    reader.error(value.span, "this cannot be the value of a header", "", None);
                }
            }
        }
        Some(headers)
    };
    let schema = |all: &mut Schema| {
        let value = json!({"anyOf": [text().schema(all), secret().schema(all)]});
        json!({"type": "object", "additionalProperties": value})
    };
    Kind::new(read, schema)
}

/// Who says what the body is, and whether `key` fits.
fn speaks(fields: &mut Fields<'_, '_>, preset: Option<Preset>, template: Option<&Document>) {
    if let (true, Some(span)) = (fields.has("preset"), fields.key("template")) {
        fields.error(span, "`preset` and `template` are given", "one document is sent", None);
        return;
    }
    let given = fields.key("key");
    match (preset, template) {
        (Some(preset), _) if preset.needs_key() && given.is_none() => {
            let help = format!("write `key: {{env: NAME}}` or `{{file: PATH}}`: {}", preset.key_is());
            let message = format!("preset `{}` needs a `key`", preset.name());
            fields.error(fields.head(), message, "in this mapping", Some(&help));
        }
        (Some(preset), _) if !preset.takes_key() => {
            if let Some(span) = given {
                let help = "its address is the secret: write `url: {file: PATH}`";
                fields.error(span, format!("preset `{}` takes no `key`", preset.name()), "", Some(help));
            }
        }
        (None, Some(document)) => match (document.needs_key(), given) {
            (true, None) => {
                let message = "the template names `{$secret: key}`, but there is no `key`";
                fields.error(fields.head(), message, "in this mapping", None);
            }
            (false, Some(span)) => {
                fields.warn(span, "nothing uses this key", "", Some("the template has no `{$secret: key}`"));
            }
            _ => {}
        },
        // Where `preset` or `template` is wrong by itself, that was said.
        (None, None) if !fields.has("preset") && !fields.has("template") => {
            if let Some(span) = given {
                let help = "to sign requests write `sign: {secret: …}`, to log in `bearer` or `basic`";
                fields.error(span, "`key` belongs to a `preset` or a `template`", "", Some(help));
            }
        }
        _ => {}
    }
}
