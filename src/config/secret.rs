//! Where secrets come from: never from the configuration itself.

use std::path::{Path, PathBuf};

use super::raw::{Node, Value};
use super::read::Reader;
use crate::notify::Secret;

const HELP: &str = "name where it is: `{env: NAME}` or `{file: PATH}`";

/// Reads `{env: NAME}` or `{file: PATH}`, relative to the directory of the configuration. The value
/// of a plain text is a secret that stands in the file: it is refused and not repeated.
pub fn read(reader: &mut Reader, node: &Node, directory: &Path) -> Option<Secret> {
    if !matches!(node.value, Value::Map(_)) {
        let message = match node.value {
            Value::Text { .. } => "a secret must not stand in the configuration",
            _ => "expected a secret",
        };
        reader.error(node.span, message, "", Some(HELP));
        return None;
    }
    let mut map = reader.map(node, "a secret")?;
    let span = map.span;
    let env = map.get(reader, "env", |reader, node| {
        let name = reader.text(node)?;
        if name.contains(['=', '\0', '$']) || name.contains(char::is_whitespace) {
            reader.error(
                node.span,
                "this is no name of an environment variable",
                "",
                Some("write `{env: NAME}`"),
            );
            return None;
        }
        Some(name.to_owned())
    });
    let file = map.get(reader, "file", |reader, node| path(reader, node, directory));
    let given = (map.has("env"), map.has("file"));
    map.finish(reader, "a secret");
    match given {
        (true, true) => {
            reader.error(span, "a secret comes from one place", "both `env` and `file` are given", None);
            None
        }
        (false, false) => {
            reader.error(span, "expected a secret", "neither `env` nor `file` is given", Some(HELP));
            None
        }
        _ => env.map(Secret::Env).or_else(|| file.map(Secret::File)),
    }
}

/// An address: in the open, or a secret (many webhook addresses are passwords).
pub fn url(reader: &mut Reader, node: &Node, directory: &Path) -> Option<Secret> {
    if matches!(node.value, Value::Map(_)) {
        return read(reader, node, directory);
    }
    http_url(reader, node).map(|url| Secret::Inline(url.into()))
}

pub fn http_url(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    let good = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !good {
        reader.expected(node, "an `http://` or `https://` address", None);
        return None;
    }
    Some(text.to_owned())
}

/// Reads a path; a relative one is relative to the directory of the file it stands in.
pub fn path(reader: &mut Reader, node: &Node, directory: &Path) -> Option<PathBuf> {
    let text = reader.text(node)?;
    if text.contains('\0') {
        reader.error(node.span, "this is no path", "", None);
        return None;
    }
    Some(directory.join(text))
}
