//! Where secrets come from, never from the configuration itself, and addresses, which may be secrets.

use super::read::fields::{Fields, Head, section};
use super::read::kind::{Kind, path, text};
use super::read::node::Value;
use super::read::reader::SecretAt;
use crate::notify::Secret;
use serde_json::json;

const SECRET: Head = Head::called("secret", "a secret", "Where a secret is; never the secret itself.");
const HELP: &str = "name where it is: `{env: NAME}` or `{file: PATH}`";

/// `{env: NAME}` or `{file: PATH}`. The value of a plain text is a secret that stands in the file: it is
/// refused and not repeated.
pub fn secret<'a>() -> Kind<'a, Secret> {
    let read = section(SECRET, reference);
    let schema = section(SECRET, reference);
    Kind::new(
        move |reader, node| {
            let message = match node.value {
                Value::Map(_) => {
                    let secret = read.read(reader, node)?;
                    let (at, receiver) = (reader.at(node.span), reader.references.receiver.clone());
                    reader.references.secrets.push(SecretAt { secret: secret.clone(), at, receiver });
                    return Some(secret);
                }
                Value::Text { .. } => "a secret must not stand in the configuration",
                _ => "expected a secret",
            };
            reader.error(node.span, message, "", Some(HELP));
            None
        },
        move |all| schema.schema(all),
    )
}

fn reference(fields: &mut Fields<'_, '_>) -> Option<Secret> {
    let variable = text().check(|reader, node, name| {
        let bad = name.contains(['=', '\0', '$']) || name.contains(char::is_whitespace);
        if bad {
            let message = "this cannot be the name of an environment variable";
            reader.error(node.span, message, "", Some("write `{env: NAME}`"));
        }
        !bad
    });
    let env = fields.get("env", "The name of an environment variable.", variable);
    let file = fields.get("file", "A file. A path, relative to this file.", path());
    fields.condition("oneOf", || json!([{"required": ["env"]}, {"required": ["file"]}]));
    let label = match (fields.has("env"), fields.has("file")) {
        (true, true) => {
            let label = "both `env` and `file` are given";
            fields.error(fields.span(), "a secret comes from one place", label, None);
            return None;
        }
        (false, false) if fields.is_misspelt("env") || fields.is_misspelt("file") => return None,
        (false, false) => "neither `env` nor `file` is given",
        _ => return env.map(Secret::Env).or_else(|| file.map(Secret::File)),
    };
    fields.error(fields.span(), "expected a secret", label, Some(HELP));
    None
}

/// An address: in the open, or a secret (many webhook addresses are passwords).
pub fn url<'a>() -> Kind<'a, Secret> {
    secret().or(http_url().map(|url| Secret::Inline(url.into())))
}

pub fn http_url<'a>() -> Kind<'a, String> {
    Kind::new(
        |reader, node| {
            let text = reader.text(node)?;
            let good = text.parse::<http::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some_and(|host| !host.is_empty())
            });
            if !good {
                reader.expected(node, "an `http://` or `https://` address", None);
            }
            good.then(|| text.to_owned())
        },
        |_| json!({"type": "string", "pattern": "^https?://"}),
    )
}
