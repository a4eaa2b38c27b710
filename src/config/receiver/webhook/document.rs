//! `template` of a webhook: a document written in place, or a file of JSON or YAML.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::config::read::error::{At, Diagnostic, Diagnostics, Level};
use crate::config::read::kind::{Kind, path};
use crate::config::read::node::{Node, Span, Value};
use crate::config::read::reader::{Reader, parse};
use crate::config::read::source::Source;
use crate::template::json::Document;

pub fn document<'a>() -> Kind<'a, Document> {
    Kind::new(read, |_| serde_json::json!({"type": ["object", "array", "string"]}))
}

fn read(reader: &mut Reader, node: &Node) -> Option<Document> {
    if !matches!(node.value, Value::Text { .. }) {
        let source = Arc::clone(reader.source());
        return compile(node, &source, reader);
    }
    let path = path().read(reader, node)?;
    let text = match reader.file(&path) {
        Ok(text) => text,
        Err(wrong) => {
            let message = format!("the template cannot be used: {wrong}");
            reader.error(node.span, message, &path.display().to_string(), None);
            return None;
        }
    };
    let mut found = Diagnostics::default();
    let (source, root) = parse(&path, &text, &mut found);
    if !found.is_empty() {
        reader.found().append(found);
        return None;
    }
    let Some(root) = root else {
        reader.error(node.span, "the template is empty", &path.display().to_string(), None);
        return None;
    };
    compile(&root, &source, reader)
}

fn compile(root: &Node, source: &Arc<Source>, reader: &mut Reader) -> Option<Document> {
    let errors = match Document::compile(to_json(root)) {
        Ok(document) => return Some(document),
        Err(errors) => errors,
    };
    for error in errors {
        let at = At { source: Arc::clone(source), span: place(root, &error.path) };
        let diagnostic = Diagnostic::at(Level::Error, &at, error.message);
        reader.found().push(Diagnostic { help: error.help, ..diagnostic });
    }
    None
}

/// The tree as JSON: what is written without quotes may be a number or a truth value, as YAML has it.
fn to_json(node: &Node) -> Json {
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
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.text().to_owned(), to_json(value))).collect())
        }
    }
}

/// Where a path leads; as far as it can be followed.
fn place(root: &Node, path: &[String]) -> Span {
    let mut here = root;
    let mut key = None;
    for step in path {
        let next = match &here.value {
            Value::Map(entries) => {
                entries.iter().find(|(key, _)| key.text() == step).map(|(k, v)| (Some(k), v))
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
