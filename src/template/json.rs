//! JSON documents whose texts are templates. See docs/webhook.md, "A document of your own".
//!
//! The tree is built by `serde_json`; only its texts are rendered, each by itself. So a quote in a log
//! line can neither end a text nor add a key, whatever the template.
//!
//! | written | becomes |
//! |---|---|
//! | `"…{{title}}…"` | a text; left out where it renders empty |
//! | `{$text: "…", $max: 100, $max_bytes: 4096, $escape: text}` | the same, cut, escaped in another way |
//! | `{$value: incident.members_total}` | the value as it is: a number, a list, `null` |
//! | `{$each: incidents, $item: …, $limit: 10}` | a list; inside a list, its items |
//! | `{$if: is_end, $then: …, $else: …}` | one of them, or nothing |
//! | `{$secret: key}` | the receiver's `key` |
//! | `$$name: …` | the key `$name` |

mod compile;

use std::cell::Cell;
use std::io;
use std::sync::{Arc, LazyLock};

use handlebars::{Context, Handlebars, Output, RenderContext, RenderError, Renderable, Template};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::registry::describe;
use super::{Escaping, helpers, model};
use crate::message::Notification;
use crate::message::text::{root_causes_first, words};
use crate::signal::text::cut;

/// The largest document, in bytes of its texts. PagerDuty takes 512 KiB, the others less.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// How long an alert is said to stand where nothing repeats it: a little longer than the longest silence
/// between two reminders.
const STANDS_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(25);

/// A compiled document. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Document {
    source: Arc<Value>,
    root: Arc<Node>,
    needs_key: bool,
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Document {}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .path.join("."))]
pub struct DocumentError {
    /// The keys and places that lead there.
    pub path: Vec<String>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A part of a document.
#[derive(Debug)]
enum Node {
    Constant(Value),
    Text(Leaf),
    Value(Vec<String>),
    Secret,
    Each { path: Vec<String>, item: Box<Node>, limit: usize },
    If { when: Template, then: Box<Node>, otherwise: Option<Box<Node>> },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

#[derive(Debug)]
struct Leaf {
    template: Template,
    format: Escaping,
    max: Option<usize>,
    max_bytes: Option<usize>,
}

/// One registry for each way to escape.
static HELPERS: LazyLock<Vec<(Escaping, Handlebars<'static>)>> = LazyLock::new(|| {
    [Escaping::Text, Escaping::Html, Escaping::Slack, Escaping::Header, Escaping::Markdown, Escaping::Apart]
        .map(|format| (format, helpers::registry(format)))
        .into()
});

impl Document {
    /// Compiles a document and renders it for every sample message. Reports everything that is wrong.
    pub fn compile(source: Value) -> Result<Self, Vec<DocumentError>> {
        compile::document(source)
    }

    /// Does it name the receiver's `key`?
    pub const fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// The document for a notification.
    pub fn render(&self, n: &Notification, key: &str) -> Result<Value, DocumentError> {
        self.render_until(n, key, n.at.checked_add(STANDS_FOR).unwrap_or(n.at))
    }

    /// The document for a notification whose incidents stand until then, where they are not over.
    pub fn render_until(
        &self,
        n: &Notification,
        key: &str,
        stands: Timestamp,
    ) -> Result<Value, DocumentError> {
        let root = Scope::root(n, stands);
        let mut last = None;
        // A summary that is too large is told with fewer incidents rather than not at all.
        for most in [usize::MAX, 20, 5, 1] {
            let budget = Cell::new(MAX_DOCUMENT);
            let mut path = Vec::new();
            let mut render = Render { key, budget: &budget, path: &mut path, most };
            match render.node(&self.root, &root) {
                Ok(value) => return Ok(value.unwrap_or(Value::Null)),
                Err(message) => {
                    let large = message.contains(TOO_LARGE);
                    last = Some(DocumentError { path, message, help: None });
                    if !large {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| DocumentError { path: Vec::new(), message: String::new(), help: None }))
    }
}

/// The values of a notification as documents see them: those of templates, with `incidents` also where
/// there is only one. `stands`: until when what is not over is said to stand.
fn values(n: &Notification, stands: Timestamp) -> Value {
    let mut out = model::notification(n);
    let Some(map) = out.as_object_mut() else { return out };
    let mut listed: Vec<Value> = match map.get("incident") {
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => match map.get("incidents") {
            Some(Value::Array(several)) => several.clone(),
            _ => Vec::new(),
        },
    };
    // The model lists them in this order, too.
    let order = root_causes_first(&n.incidents);
    for (values, i) in listed.iter_mut().zip(order) {
        if let Some(values) = values.as_object_mut() {
            values.insert("until".into(), json!(i.ended_at.unwrap_or(stands)));
        }
    }
    if let Some(one @ Value::Object(_)) = map.get_mut("incident")
        && let Some(same) = listed.first()
    {
        one.clone_from(same);
    }
    map.insert("incidents".into(), Value::Array(listed));
    map.insert("key".into(), json!(n.key));
    let color = model::color(n.decision, n.severity).trim_start_matches('#');
    map.insert("color_number".into(), json!(u32::from_str_radix(color, 16).unwrap_or_default()));
    let text = map.get("text").and_then(Value::as_str).unwrap_or_default();
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.trim().is_empty()).take(model::MAX_INCIDENTS).collect();
    let lines = json!(lines);
    map.insert("lines".into(), lines);
    let stands = if n.is_end() { n.at } else { stands };
    map.insert("until".into(), json!(n.incident().map_or(stands, |i| i.ended_at.unwrap_or(stands))));
    // A summary is a story of its own.
    map.insert("thread".into(), json!(if n.decision.is_summary() { n.key.as_str() } else { n.thread() }));
    out
}

/// What names refer to.
struct Scope {
    values: Value,
    context: Context,
    /// The notification without its incidents.
    message: Value,
}

impl Scope {
    fn root(n: &Notification, stands: Timestamp) -> Self {
        let values = values(n, stands);
        let mut message = values.clone();
        if let Some(map) = message.as_object_mut() {
            map.remove("incidents");
            map.remove("incident");
        }
        Self { context: Context::from(values.clone()), values, message }
    }

    fn item(&self, item: &Value) -> Self {
        let mut values = item.clone();
        if let Some(map) = values.as_object_mut() {
            map.insert("message".into(), self.message.clone());
        }
        Self { context: Context::from(values.clone()), values, message: self.message.clone() }
    }
}

/// The value at a path; `this` is where it begins.
fn lookup<'v>(values: &'v Value, path: &[String]) -> &'v Value {
    let mut here = values;
    for name in path {
        here = here.get(name).unwrap_or(&Value::Null);
    }
    here
}

struct Render<'r> {
    key: &'r str,
    budget: &'r Cell<usize>,
    /// Where it is; after an error, where that was.
    path: &'r mut Vec<String>,
    /// At most so many items of any list.
    most: usize,
}

impl Render<'_> {
    /// `None`: nothing is left of it.
    fn node(&mut self, node: &Node, scope: &Scope) -> Result<Option<Value>, String> {
        Ok(match node {
            Node::Constant(value) => Some(value.clone()),
            Node::Text(leaf) => self.text(leaf, scope)?.map(Value::String),
            Node::Value(path) => {
                let value = lookup(&scope.values, path);
                self.spend(value.to_string().len())?;
                (!value.is_null()).then(|| value.clone())
            }
            Node::Secret => Some(Value::String(self.key.to_owned())),
            Node::Each { path, item, limit } => Some(Value::Array(self.each(path, item, *limit, scope)?)),
            Node::If { when, then, otherwise } => {
                let chosen = if self.render(when, Escaping::Text, scope)?.is_empty() {
                    otherwise.as_ref().map(|node| ("$else", node))
                } else {
                    Some(("$then", then))
                };
                match chosen {
                    Some((name, node)) => self.at(name, |this| this.node(node, scope))?,
                    None => None,
                }
            }
            Node::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (n, node) in items.iter().enumerate() {
                    let value = self.at(&n.to_string(), |this| this.node(node, scope))?;
                    match (node, value) {
                        (Node::Each { .. }, Some(Value::Array(several))) => out.extend(several),
                        (_, value) => out.extend(value),
                    }
                }
                Some(Value::Array(out))
            }
            Node::Map(entries) => {
                let mut out = Map::new();
                for (name, node) in entries {
                    if let Some(value) = self.at(name, |this| this.node(node, scope))? {
                        out.insert(name.clone(), value);
                    }
                }
                Some(Value::Object(out))
            }
        })
    }

    fn each(
        &mut self,
        path: &[String],
        item: &Node,
        limit: usize,
        scope: &Scope,
    ) -> Result<Vec<Value>, String> {
        let Value::Array(items) = lookup(&scope.values, path) else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for one in items.iter().take(limit.min(self.most)) {
            let inner = scope.item(one);
            out.extend(self.at("$item", |this| this.node(item, &inner))?);
        }
        Ok(out)
    }

    fn text(&mut self, leaf: &Leaf, scope: &Scope) -> Result<Option<String>, String> {
        let mut text = self.render(&leaf.template, leaf.format, scope)?;
        if let Some(max) = leaf.max {
            // The end of a title says what has to be mended.
            text = match leaf.format {
                Escaping::Header => words::cut_middle(&text, max),
                _ => words::cut_chars(&text, max),
            };
        }
        if let Some(max) = leaf.max_bytes {
            text = cut(&text, max).into_owned();
        }
        Ok((!text.trim().is_empty()).then_some(text))
    }

    fn render(&self, template: &Template, format: Escaping, scope: &Scope) -> Result<String, String> {
        let Some((_, registry)) = HELPERS.iter().find(|(f, _)| *f == format) else {
            return Ok(String::new());
        };
        let mut out = Capped { text: String::new(), max: self.budget.get() };
        let mut state = RenderContext::new(None);
        template
            .render(registry, &scope.context, &mut state, &mut out)
            .map_err(|e: RenderError| describe(&e))?;
        self.spend(out.text.len())?;
        Ok(out.text)
    }

    fn spend(&self, bytes: usize) -> Result<(), String> {
        let left = self.budget.get().checked_sub(bytes);
        self.budget.set(left.ok_or_else(too_large)?);
        Ok(())
    }

    fn at<T>(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.path.push(name.to_owned());
        let out = run(self)?;
        self.path.pop();
        Ok(out)
    }
}

const TOO_LARGE: &str = "the document is larger than";

fn too_large() -> String {
    format!("{TOO_LARGE} {} KiB", MAX_DOCUMENT / 1024)
}

struct Capped {
    text: String,
    max: usize,
}

impl Output for Capped {
    fn write(&mut self, seg: &str) -> Result<(), io::Error> {
        if self.text.len().saturating_add(seg.len()) > self.max {
            return Err(io::Error::other(too_large()));
        }
        self.text.push_str(seg);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
