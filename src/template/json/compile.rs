//! Reads the tree of a document; everything that can be wrong with it is found here.

use std::collections::BTreeMap;
use std::sync::Arc;

use handlebars::Template;
use serde_json::{Map, Value};

use super::{Document, DocumentError, Leaf, Node, lookup, values};
use crate::message::Decision;
use crate::template::check::{self, Scope, Walk, nearest};
use crate::template::registry::Source;
use crate::template::{Escaping, helpers, model, sample};

const MAX_DEPTH: usize = 32;
/// How many values a document may hold as it is written.
const MAX_NODES: usize = 5_000;

/// The ways to escape, as they are written.
const ESCAPES: &[(&str, Escaping)] = &[
    ("text", Escaping::Text),
    ("line", Escaping::Header),
    ("html", Escaping::Html),
    ("slack", Escaping::Slack),
    ("markdown", Escaping::Markdown),
    ("apart", Escaping::Apart),
];

pub(super) fn document(source: Value) -> Result<Document, Vec<DocumentError>> {
    let n = sample::notification(Decision::First, sample::incident());
    let shape = values(&n, n.at);
    let mut reader =
        Reader { errors: Vec::new(), path: Vec::new(), nodes: 0, format: Escaping::Text, needs_key: false };
    let root = match &source {
        Value::Object(map) => {
            let mut rest = map.clone();
            if let Some(escape) = rest.remove("$escape") {
                reader.format = reader.escape(&escape);
            }
            reader.node(&Value::Object(rest), &shape)
        }
        other => reader.node(other, &shape),
    };
    let needs_key = reader.needs_key;
    let mut errors = reader.errors;
    let document = Document { source: Arc::new(source), root: Arc::new(root), needs_key };
    if errors.is_empty() {
        errors = dry_render(&document);
    }
    if errors.is_empty() { Ok(document) } else { Err(errors) }
}

/// Renders it for every sample message.
fn dry_render(document: &Document) -> Vec<DocumentError> {
    let mut errors: Vec<DocumentError> = Vec::new();
    for n in sample::all() {
        let Err(mut error) = document.render(&n, "key") else { continue };
        error.message = format!("{}, in a message that says `{}`", error.message, n.decision);
        if n.incident().is_none() {
            error.help =
                Some("summaries and notices have no `incident`: put it under `$if: incident`".into());
        }
        if !errors.iter().any(|known| known.path == error.path) {
            errors.push(error);
        }
    }
    errors
}

struct Reader {
    errors: Vec<DocumentError>,
    path: Vec<String>,
    nodes: usize,
    format: Escaping,
    needs_key: bool,
}

impl Reader {
    fn say(&mut self, message: impl Into<String>, help: Option<String>) {
        self.errors.push(DocumentError { path: self.path.clone(), message: message.into(), help });
    }

    fn at<T>(&mut self, name: &str, run: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name.to_owned());
        let out = run(self);
        self.path.pop();
        out
    }

    fn node(&mut self, value: &Value, scope: &Value) -> Node {
        self.nodes += 1;
        if self.path.len() > MAX_DEPTH || self.nodes > MAX_NODES {
            if self.nodes <= MAX_NODES + 1 {
                self.say("the document is too large, or nested too deep", None);
            }
            self.nodes = self.nodes.max(MAX_NODES + 1);
            return Node::Constant(Value::Null);
        }
        match value {
            Value::String(text) if text.contains("{{") => self.text(text, self.format, None, None, scope),
            Value::Array(items) => Node::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| self.at(&n.to_string(), |this| this.node(item, scope)))
                    .collect(),
            ),
            Value::Object(map) => match map.keys().find(|key| is_special(key)).cloned() {
                Some(_) => self.special(map, scope),
                None => Node::Map(map.iter().map(|(name, value)| self.entry(name, value, scope)).collect()),
            },
            other => Node::Constant(other.clone()),
        }
    }

    fn entry(&mut self, name: &str, value: &Value, scope: &Value) -> (String, Node) {
        if name.contains("{{") {
            self.at(name, |this| this.say("a key cannot be a template", None));
        }
        let written = if name.starts_with("$$") { name.get(1..).unwrap_or(name) } else { name };
        (written.to_owned(), self.at(name, |this| this.node(value, scope)))
    }

    fn special(&mut self, map: &Map<String, Value>, scope: &Value) -> Node {
        const KINDS: &[(&str, &[&str])] = &[
            ("$text", &["$max", "$max_bytes", "$escape"]),
            ("$value", &[]),
            ("$each", &["$item", "$limit"]),
            ("$if", &["$then", "$else"]),
            ("$secret", &[]),
        ];
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        let Some((kind, keys)) = KINDS.iter().find(|(name, _)| map.contains_key(*name)) else {
            let wrong = map.keys().find(|key| is_special(key)).cloned().unwrap_or_default();
            let help = match nearest(&wrong, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "there are {}; a key that begins with `$` is written `$${}`",
                    names.join(", "),
                    wrong.trim_start_matches('$')
                ),
            };
            self.at(&wrong, |this| this.say(format!("`{wrong}` means nothing here"), Some(help)));
            return Node::Constant(Value::Null);
        };
        for key in map.keys().filter(|key| key != kind && !keys.contains(&key.as_str())) {
            let help = if keys.is_empty() {
                format!("`{kind}` stands alone")
            } else {
                format!("beside `{kind}` there may be {}", keys.join(", "))
            };
            self.at(key, |this| this.say(format!("unknown key `{key}` beside `{kind}`"), Some(help)));
        }
        let main = map.get(*kind).unwrap_or(&Value::Null);
        match *kind {
            "$text" => {
                let format = map.get("$escape").map(|escape| self.at("$escape", |this| this.escape(escape)));
                let format = format.unwrap_or(self.format);
                let max = self.count(map, "$max");
                let max_bytes = self.count(map, "$max_bytes");
                let Some(text) = self.string(main, "$text") else { return Node::Constant(Value::Null) };
                self.at("$text", |this| this.text(&text, format, max, max_bytes, scope))
            }
            "$value" => match self.path_of(main, "$value", scope) {
                Some((path, _)) => Node::Value(path),
                None => Node::Constant(Value::Null),
            },
            "$each" => self.each(map, main, scope),
            "$if" => self.condition(map, main, scope),
            _ => {
                self.needs_key = true;
                if main != "key" {
                    let help = Some("the only secret there is: `{$secret: key}`".into());
                    self.at("$secret", |this| this.say("there is no such secret", help));
                }
                Node::Secret
            }
        }
    }

    fn each(&mut self, map: &Map<String, Value>, main: &Value, scope: &Value) -> Node {
        let limit = self.count(map, "$limit").unwrap_or(model::MAX_INCIDENTS).min(model::MAX_INCIDENTS);
        let Some((path, over)) = self.path_of(main, "$each", scope) else {
            return Node::Constant(Value::Null);
        };
        let Value::Array(items) = over else {
            self.at("$each", |this| this.say(format!("`{}` is no list", path.join(".")), None));
            return Node::Constant(Value::Null);
        };
        let mut inner = items.first().cloned().unwrap_or(Value::Null);
        if let Some(inner) = inner.as_object_mut() {
            let mut message = scope.get("message").cloned().unwrap_or_else(|| scope.clone());
            if let Some(message) = message.as_object_mut() {
                message.remove("incident");
                message.remove("incidents");
            }
            inner.insert("message".into(), message);
        }
        let Some(item) = map.get("$item") else {
            self.say("`$each` needs `$item`", Some("`{$each: incidents, $item: …}`".into()));
            return Node::Constant(Value::Null);
        };
        let item = self.at("$item", |this| this.node(item, &inner));
        Node::Each { path, item: Box::new(item), limit }
    }

    fn condition(&mut self, map: &Map<String, Value>, main: &Value, scope: &Value) -> Node {
        let Some(when) = self.string(main, "$if") else { return Node::Constant(Value::Null) };
        if when.contains(['{', '}']) {
            let help =
                "write the name of a value, or a call in parentheses: `is_end`, `(eq decision \"first\")`";
            self.at("$if", |this| this.say("a condition is no template", Some(help.into())));
            return Node::Constant(Value::Null);
        }
        let text = format!("{{{{#if {when}}}}}1{{{{/if}}}}");
        let when = self.at("$if", |this| this.template(&text, scope));
        let Some(then) = map.get("$then") else {
            self.say("`$if` needs `$then`", None);
            return Node::Constant(Value::Null);
        };
        let then = Box::new(self.at("$then", |this| this.node(then, scope)));
        let otherwise =
            map.get("$else").map(|node| Box::new(self.at("$else", |this| this.node(node, scope))));
        match when {
            Some(when) => Node::If { when, then, otherwise },
            None => Node::Constant(Value::Null),
        }
    }

    fn text(
        &mut self,
        text: &str,
        format: Escaping,
        max: Option<usize>,
        max_bytes: Option<usize>,
        scope: &Value,
    ) -> Node {
        match self.template(text, scope) {
            Some(template) => Node::Text(Leaf { template, format, max, max_bytes }),
            None => Node::Constant(Value::Null),
        }
    }

    fn template(&mut self, text: &str, scope: &Value) -> Option<Template> {
        let source = Source { file: String::new(), name: "document".into(), text: text.to_owned() };
        let parsed = match check::parse(source) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.say(error.message, error.help);
                return None;
            }
        };
        let none = BTreeMap::new();
        let mut walk = Walk {
            partials: &none,
            helpers: helpers::NAMES,
            open: Vec::new(),
            errors: Vec::new(),
            found: Vec::new(),
        };
        let known = Scope { here: Some(scope), root: Some(scope), up: None, known: Vec::new() };
        walk.template(&parsed.source, &parsed.template, &known, 0);
        let errors = walk.errors;
        let good = errors.is_empty();
        for error in errors {
            self.say(error.message, error.help);
        }
        good.then_some(parsed.template)
    }

    /// A path that is there, and what is there in the sample.
    fn path_of<'s>(
        &mut self,
        value: &Value,
        name: &str,
        scope: &'s Value,
    ) -> Option<(Vec<String>, &'s Value)> {
        let text = self.string(value, name)?;
        let path: Vec<String> =
            text.split('.').filter(|part| *part != "this").map(|part| part.trim().to_owned()).collect();
        let mut here = scope;
        for part in &path {
            here = match here {
                Value::Object(map) => {
                    let Some(value) = map.get(part) else {
                        let known: Vec<&str> = map.keys().map(String::as_str).collect();
                        let help = match nearest(part, &known) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => format!("there are: {}", known.join(", ")),
                        };
                        self.at(name, |this| this.say(format!("there is no variable `{text}`"), Some(help)));
                        return None;
                    };
                    value
                }
                Value::Null => here,
                _ => {
                    let message = format!("the value before `.{part}` has no fields");
                    self.at(name, |this| this.say(message, None));
                    return None;
                }
            };
        }
        let value = lookup(scope, &path);
        Some((path, value))
    }

    fn string(&mut self, value: &Value, name: &str) -> Option<String> {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            return Some(text.to_owned());
        }
        self.at(name, |this| this.say(format!("`{name}` needs a text"), None));
        None
    }

    fn count(&mut self, map: &Map<String, Value>, name: &str) -> Option<usize> {
        let value = map.get(name)?;
        let count = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        if count.is_none() {
            self.at(name, |this| this.say(format!("`{name}` needs a number above zero"), None));
        }
        count
    }

    fn escape(&mut self, value: &Value) -> Escaping {
        let text = value.as_str().unwrap_or_default();
        if let Some((_, format)) = ESCAPES.iter().find(|(name, _)| *name == text) {
            return *format;
        }
        let names: Vec<&str> = ESCAPES.iter().map(|(name, _)| *name).collect();
        let help = format!("there are {}", names.join(", "));
        self.say("unknown way to escape", Some(help));
        Escaping::Text
    }
}

fn is_special(key: &str) -> bool {
    key.starts_with('$') && !key.starts_with("$$")
}
