//! `silences`; and silences that a request to the running bot brings, read by the same reader, so that what
//! is wrong with one is said with a frame too.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::json;

use super::matching::{Match, Scope, matching};
use super::read::error::{Diagnostic, Diagnostics, Level};
use super::read::fields::{Fields, Head, section};
use super::read::kind::{self, Kind, list, span};
use super::read::node::{Node, Span, Value};
use super::read::reader::{Reader, parse};
use crate::clock;
use crate::rule::silence::{Filter, Origin, Silence, short_id};

/// At most this many silences, and mute times: each is asked before anything is told.
pub const MAX: usize = 1000;
/// The longest comment, in characters.
pub const MAX_COMMENT: usize = 500;
/// The longest name of an author, in characters.
pub const MAX_BY: usize = 100;

/// Of those that are over at `now` a warning is given.
pub fn silences<'a>(now: Timestamp) -> Kind<'a, Vec<Silence>> {
    at_most("silences", "a list of silences", silence(now))
}

fn silence<'a>(now: Timestamp) -> Kind<'a, Silence> {
    let head = Head::called("silence", "a silence", "What is not told until a moment.");
    let names = Names::default();
    section(head, move |fields| {
        let name = fields.get("name", "What records call it.", name(&names));
        let found = condition(fields, "Which incidents; at least one condition.", false);
        let from = fields.get("from", "When it begins (RFC 3339); without it: at once.", moment());
        let until = fields.require("until", "The first moment after it (RFC 3339).", moment());
        let (comment, by) = author(fields);
        if let (Some(until), Some(span)) = (until, fields.key("until")) {
            check_order(fields, from, until, span);
            if until <= now {
                let help = "remove it, or set another `until`";
                fields.warn(span, "this silence is over", "", Some(help));
            }
        }
        let ((filter, written), until) = (found?, until?);
        let from = from.unwrap_or(Timestamp::MIN);
        let parts = [name.as_deref().unwrap_or_default(), &written, &from.to_string(), &until.to_string()];
        let id = short_id(&parts);
        Some(Silence { id, name, filter, written, from, until, comment, by, origin: Origin::Config })
    })
}

/// A silence as a request asks for it: JSON with `match`, `for` or `until`, and if wanted `from`,
/// `comment` and `by`. `is_rule` knows the names of rules.
pub fn from_request(
    body: &str,
    now: Timestamp,
    is_rule: &dyn Fn(&str) -> bool,
) -> Result<Silence, Diagnostics> {
    let (mut reader, root) = json_file(body)?;
    let silence = request(now).read(&mut reader, &root);
    for (name, at) in std::mem::take(&mut reader.references.rules) {
        if !is_rule(&name) {
            reader.error(at.span, format!("there is no rule named `{name}`"), "", None);
        }
    }
    let found = reader.into_found();
    silence.filter(|_| !found.has_errors()).ok_or(found)
}

fn request<'a>(now: Timestamp) -> Kind<'a, Silence> {
    let shape = "a silence: `{\"match\": {…}, \"for\": \"2h\"}`";
    let head = Head::new("request", shape, "A silence.").place("a silence");
    section(head, move |fields| {
        let found = condition(fields, "Which incidents; at least one condition.", false);
        let from = fields.get("from", "When it begins.", or_null(moment())).flatten();
        let length = fields.get("for", "How long.", or_null(span()));
        let until = fields.get("until", "The first moment after it.", or_null(moment()));
        let (comment, by) = author(fields);
        let begins = from.unwrap_or(now).max(now);
        let given = |key| fields.node(key).is_some_and(|node| !matches!(node.value, Value::Null));
        let ends = match (given("for"), given("until")) {
            (true, false) => length.flatten().map(|length| clock::after(begins, length)),
            (false, true) => until.flatten(),
            (both, _) => {
                let label = if both { "both are given" } else { "neither is given" };
                let message = "a silence has either `for` or `until`";
                fields.error(fields.head(), message, label, None);
                None
            }
        };
        if let (Some(until), Some(place)) = (ends, fields.key("until").or_else(|| fields.key("for"))) {
            if until <= now {
                let label = format!("it is {now:.0}");
                fields.error(place, "this silence would be over already", &label, None);
            } else {
                check_order(fields, from, until, place);
            }
        }
        let ((filter, written), until) = (found?, ends?);
        let parts = [&*written, &now.to_string(), &begins.to_string(), &until.to_string(), &comment, &by];
        let (id, origin) = (short_id(&parts), Origin::Api);
        Some(Silence { id, name: None, filter, written, from: begins, until, comment, by, origin })
    })
}

/// In a request `null` is as good as nothing.
fn or_null<'a, T: 'a>(kind: Kind<'a, T>) -> Kind<'a, Option<T>> {
    Kind::new(
        move |reader, node| match node.value {
            Value::Null => None,
            _ => kind.read(reader, node).map(Some),
        },
        |_| json!({}),
    )
}

/// Compiles a `match` that was accepted before and kept as JSON.
pub fn restored(written: &str) -> Result<Filter, Diagnostics> {
    let (mut reader, root) = json_file(written)?;
    let found = matching(Scope::Silence).read(&mut reader, &root);
    let errors = reader.into_found();
    found.filter(|_| !errors.has_errors()).map(Match::filter).ok_or(errors)
}

/// JSON, laid out so that each key has a line of its own to be shown.
fn json_file(text: &str) -> Result<(Reader, Node), Diagnostics> {
    let path = Path::new("request");
    let wrong = |message: String| {
        let mut found = Diagnostics::default();
        found.push(Diagnostic::file(Level::Error, path, message));
        found
    };
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| wrong(format!("this is not JSON: {error}")))?;
    let laid_out = serde_json::to_string_pretty(&value).map_err(|error| wrong(error.to_string()))?;
    let mut found = Diagnostics::default();
    let (source, root) = parse(path, &laid_out, &mut found);
    match root {
        Some(root) if !found.has_errors() => Ok((Reader::new(source, found), root)),
        Some(_) => Err(found),
        None => Err(wrong("there is nothing in it".into())),
    }
}

/// A list of what is asked before anything is told.
pub fn at_most<'a, T: 'a>(what: &'a str, shape: &'a str, item: Kind<'a, T>) -> Kind<'a, Vec<T>> {
    list(shape, item).check(move |reader, node, _| {
        let number = if let Value::List(items) = &node.value { items.len() } else { 0 };
        if number > MAX {
            reader.error(node.span, format!("more than {MAX} {what}"), "", Some("match more with each"));
        }
        number <= MAX
    })
}

/// The lines of names that were given already.
pub type Names = RefCell<HashMap<String, usize>>;

/// A name that was not given before.
pub fn name(seen: &Names) -> Kind<'_, Arc<str>> {
    kind::name("cannot be a name").then(|reader, node, name| {
        let line = reader.source().place(node.span).line;
        if let Some(first) = seen.borrow().get(&name) {
            let help = format!("the other is in line {first}");
            reader.error(node.span, format!("`{name}` is named twice"), "", Some(&help));
            return None;
        }
        seen.borrow_mut().insert(name.clone(), line);
        Some(name.into())
    })
}

/// `match`, compiled and as it was written.
pub fn condition(fields: &mut Fields<'_, '_>, doc: &str, optional: bool) -> Option<(Filter, Arc<str>)> {
    let kind = matching(Scope::Silence).check(|reader, node, found: &Match| {
        let everything = found.is_empty && !optional;
        if everything {
            let help = "if that is meant: `match: {severity: [info, warning, critical]}`";
            reader.error(node.span, "this would silence everything", "no condition", Some(help));
        }
        !everything
    });
    let kind = kind.then(|_, node, found| Some((found.filter(), Arc::from(as_json(node).to_string()))));
    if !optional {
        return fields.require("match", doc, kind);
    }
    let found = fields.get("match", doc, kind);
    if fields.has("match") { found } else { Some((Match::default().filter(), Arc::from("{}"))) }
}

fn author(fields: &mut Fields<'_, '_>) -> (Arc<str>, Arc<str>) {
    let comment = fields.get("comment", "Why.", words(MAX_COMMENT));
    let by = fields.get("by", "Who wrote it.", words(MAX_BY));
    (comment.unwrap_or_default(), by.unwrap_or_default())
}

fn words<'a>(most: usize) -> Kind<'a, Arc<str>> {
    let text = kind::text();
    Kind::new(
        move |reader, node| match &node.value {
            Value::Null => None,
            Value::Text { text, .. } if text.chars().count() > most => {
                reader.error(node.span, format!("longer than {most} characters"), "", None);
                None
            }
            Value::Text { text, .. } => Some(crate::signal::text::clean(text)),
            _ => {
                reader.expected(node, "a text", None);
                None
            }
        },
        move |all| text.schema(all),
    )
}

/// A moment: RFC 3339.
fn moment<'a>() -> Kind<'a, Timestamp> {
    let read = |reader: &mut Reader, node: &Node| {
        let text = reader.text(node)?;
        if let Ok(moment) = text.trim().parse() {
            return Some(moment);
        }
        let help = match text.trim().parse::<DateTime>() {
            Ok(local) => format!("add a time zone: `{local}Z` is UTC, `{local}+01:00` an hour ahead of it"),
            Err(_) => "write `2026-11-21T18:00:00Z`, or with an offset: `2026-11-21T19:00:00+01:00`".into(),
        };
        reader.expected(node, "a time (RFC 3339)", Some(&help));
        None
    };
    // A date with a time of day and an offset; the reader knows the calendar.
    let pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)";
    let examples = ["2026-11-21T18:00:00Z", "2026-11-21T19:00:00+01:00"];
    Kind::new(read, move |_| json!({"type": "string", "pattern": pattern, "examples": examples}))
}

fn check_order(fields: &mut Fields<'_, '_>, from: Option<Timestamp>, until: Timestamp, place: Span) {
    if from.is_some_and(|from| until <= from) {
        fields.error(place, "this silence ends before it begins", "not after `from`", None);
    }
}

/// A part of a file as JSON. Numbers stay numbers where JSON would write them the same.
fn as_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Text { text, plain: true } => match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => number.into(),
            _ => text.as_str().into(),
        },
        Value::Text { text, .. } => text.as_str().into(),
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Map(entries) => entries
            .iter()
            .filter_map(|(key, value)| match &key.value {
                Value::Text { text, .. } => Some((text.clone(), as_json(value))),
                _ => None,
            })
            .collect(),
    }
}
