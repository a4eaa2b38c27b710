//! What may stand under a key: how it is read, and how the schema describes it.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::bytes;
use super::duration::{self, DurationError};
use super::node::{Node, Value};
use super::reader::Reader;
use super::schema::{Schema, with};
use super::suggest::{self, did_you_mean};

type Read<'a, T> = Box<dyn Fn(&mut Reader, &Node) -> Option<T> + 'a>;
type Describe<'a> = Box<dyn Fn(&mut Schema) -> Json + 'a>;
type Write<'a, T> = Box<dyn Fn(&T) -> Json + 'a>;

pub struct Kind<'a, T> {
    /// `None` where the node is something else; the reader was then told why.
    read: Read<'a, T>,
    schema: Describe<'a>,
    /// A default as it would be written in a file; null where the schema does not show it.
    written: Write<'a, T>,
}

impl<'a, T: 'a> Kind<'a, T> {
    pub fn new(
        read: impl Fn(&mut Reader, &Node) -> Option<T> + 'a,
        schema: impl Fn(&mut Schema) -> Json + 'a,
    ) -> Self {
        Self { read: Box::new(read), schema: Box::new(schema), written: Box::new(|_| Json::Null) }
    }

    fn written_as(self, written: impl Fn(&T) -> Json + 'a) -> Self {
        Self { written: Box::new(written), ..self }
    }

    pub fn read(&self, reader: &mut Reader, node: &Node) -> Option<T> {
        (self.read)(reader, node)
    }

    pub fn schema(&self, schema: &mut Schema) -> Json {
        (self.schema)(schema)
    }

    pub fn written(&self, default: &T) -> Json {
        (self.written)(default)
    }

    /// Reads on with the value and the node that it came from.
    pub fn then<U: 'a>(self, then: impl Fn(&mut Reader, &Node, T) -> Option<U> + 'a) -> Kind<'a, U> {
        let read = self.read;
        Kind {
            read: Box::new(move |reader, node| {
                let value = read(reader, node)?;
                then(reader, node, value)
            }),
            schema: self.schema,
            written: Box::new(|_| Json::Null),
        }
    }

    pub fn map<U: 'a>(self, map: impl Fn(T) -> U + 'a) -> Kind<'a, U> {
        self.then(move |_, _, value| Some(map(value)))
    }

    /// Refuses values for which `check` answers `false`, having said why.
    pub fn check(self, check: impl Fn(&mut Reader, &Node, &T) -> bool + 'a) -> Self {
        let read = self.read;
        let read = move |reader: &mut Reader, node: &Node| {
            read(reader, node).filter(|value| check(reader, node, value))
        };
        Self { read: Box::new(read), ..self }
    }

    /// Looks at a value, and at whether anything was found while it was read.
    pub fn watch_errors(self, look: impl Fn(&mut Reader, &Node, &T, bool) + 'a) -> Self {
        let read = self.read;
        let read = move |reader: &mut Reader, node: &Node| {
            let before = reader.found().len();
            let value = read(reader, node)?;
            let wrong = reader.found().len() > before;
            look(reader, node, &value, wrong);
            Some(value)
        };
        Self { read: Box::new(read), ..self }
    }

    /// Adds a keyword to the schema.
    pub fn with(self, keyword: &'static str, value: impl Into<Json>) -> Self {
        let (schema, value) = (self.schema, value.into());
        let schema = move |all: &mut Schema| with(schema(all), keyword, value.clone());
        Self { schema: Box::new(schema), ..self }
    }

    /// Where a mapping stands it is read by `self`, anything else by `other`.
    pub fn or(self, other: Self) -> Self {
        let (map_schema, other_schema) = (self.schema, other.schema);
        let (map, scalar) = (self.read, other.read);
        Self {
            read: Box::new(move |reader, node| match node.value {
                Value::Map(_) => map(reader, node),
                _ => scalar(reader, node),
            }),
            schema: Box::new(move |schema| json!({"anyOf": [other_schema(schema), map_schema(schema)]})),
            written: other.written,
        }
    }

    /// Makes the schema a definition of its own.
    pub fn named(self, name: &'static str) -> Self {
        let schema = self.schema;
        Self { schema: Box::new(move |all| all.define(name, |all| schema(all))), ..self }
    }
}

/// A text that is not empty. Any scalar is text: `404` and `no` are what was written.
pub fn text<'a>() -> Kind<'a, String> {
    Kind::new(
        |reader, node| reader.text(node).map(str::to_owned),
        |_| json!({"type": ["string", "number", "boolean"], "minLength": 1}),
    )
    .written_as(|text| json!(text))
}

/// The name of something: a metric label, a part of keys and of addresses.
pub fn name<'a>(wrong: &'static str) -> Kind<'a, String> {
    let schema = |_: &mut Schema| json!({"type": ["string", "number", "boolean"], "pattern": NAME});
    let read = move |reader: &mut Reader, node: &Node| {
        let text = reader.text(node)?.to_owned();
        check_name(reader, node, &text, wrong).then_some(text)
    };
    Kind::new(read, schema)
}

/// The pattern of names.
pub const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

/// Says what is wrong with a name: "`a b` `wrong`".
pub fn check_name(reader: &mut Reader, node: &Node, name: &str, wrong: &str) -> bool {
    let good = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !good {
        let help = "use at most 63 letters, digits, `-`, `_` and `.`, a letter or digit first";
        let shown = reader.show(node);
        reader.error(node.span, format!("{shown} {wrong}"), "", Some(help));
    }
    good
}

pub fn boolean<'a>() -> Kind<'a, bool> {
    let read = |reader: &mut Reader, node: &Node| match &node.value {
        Value::Text { text, plain: true } if text == "true" => Some(true),
        Value::Text { text, plain: true } if text == "false" => Some(false),
        _ => {
            reader.expected(node, "`true` or `false`", None);
            None
        }
    };
    Kind::new(read, |_| json!({"type": "boolean"})).written_as(|value| json!(value))
}

/// A whole number within bounds.
pub fn int<'a, T: TryFrom<i64> + TryInto<i64> + Copy + 'a>(least: i64, most: i64) -> Kind<'a, T> {
    let read = move |reader: &mut Reader, node: &Node| {
        let number = match &node.value {
            Value::Text { text, plain: true } => text.parse::<i64>().ok(),
            _ => None,
        };
        let number = number.filter(|n| (least..=most).contains(n)).and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            reader.expected(node, &format!("a whole number from {least} to {most}"), None);
        }
        number
    };
    Kind::new(read, move |_| json!({"type": "integer", "minimum": least, "maximum": most}))
        .written_as(|value| TryInto::<i64>::try_into(*value).map_or(Json::Null, Json::from))
}

/// How often, how many: at least one, at most a million.
pub fn count<'a, T: TryFrom<i64> + TryInto<i64> + Copy + 'a>() -> Kind<'a, T> {
    int(1, 1_000_000)
}

/// A size in bytes.
pub fn size<'a>((least, most): (u64, u64)) -> Kind<'a, u64> {
    let read = move |reader: &mut Reader, node: &Node| {
        let size = match &node.value {
            Value::Text { text, .. } => bytes::parse(text).ok(),
            _ => None,
        };
        let size = size.filter(|size| (least..=most).contains(size));
        if size.is_none() {
            let what = format!("a size from `{}` to `{}`", bytes::written(least), bytes::written(most));
            reader.expected(node, &what, Some(bytes::HELP));
        }
        size
    };
    let schema = |_: &mut Schema| {
        json!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+([kMGT]|[KMGT]i)?$",
            "examples": ["768Mi", "1Gi"],
        })
    };
    Kind::new(read, schema).written_as(|size| json!(bytes::written(*size)))
}

pub fn delay<'a>() -> Kind<'a, Duration> {
    let read = |reader: &mut Reader, node: &Node| {
        let Value::Text { text, .. } = &node.value else {
            reader.expected(node, "a duration", Some(duration::HELP));
            return None;
        };
        let error = match duration::parse(text) {
            Ok(duration) => return Some(duration),
            Err(error) => error,
        };
        let help = match error {
            DurationError::Unit if text.bytes().all(|b| b.is_ascii_digit()) => {
                format!("write `{text}s` for seconds or `{text}m` for minutes")
            }
            _ => duration::HELP.into(),
        };
        let message = format!("expected a duration, found {}", reader.show(node));
        reader.error(node.span, message, &error.to_string(), Some(&help));
        None
    };
    let schema = |_: &mut Schema| {
        json!({
            "type": "string",
            "minLength": 1,
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "examples": ["90s", "5m", "1h30m", "2d"],
        })
    };
    Kind::new(read, schema).written_as(|duration| json!(duration::written(*duration)))
}

/// A duration that is not zero.
pub fn span<'a>() -> Kind<'a, Duration> {
    delay().check(|reader, node, duration| {
        if duration.is_zero() {
            reader.error(node.span, "this must be more than zero", "", None);
        }
        !duration.is_zero()
    })
}

/// A duration within bounds; `what` names them.
pub fn span_within<'a>(
    (least, most): (Duration, Duration),
    what: &'a str,
    help: Option<&'a str>,
) -> Kind<'a, Duration> {
    span().check(move |reader, node, duration| {
        let good = (least..=most).contains(duration);
        if !good {
            reader.expected(node, what, help);
        }
        good
    })
}

/// One name of a closed list.
pub fn choice<'a, T: Copy + PartialEq + 'a>(
    what: &'static str,
    names: impl IntoIterator<Item = (&'static str, T)>,
) -> Kind<'a, T> {
    let names: Rc<[(&str, T)]> = names.into_iter().collect();
    let written = Rc::clone(&names);
    let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let schema = json!({"type": "string", "enum": all});
    let read = move |reader: &mut Reader, node: &Node| {
        let text = reader.text(node)?;
        let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let all = || names.iter().map(|(name, _)| *name);
            let help = suggest::nearest(text, all())
                .map_or_else(|| format!("expected one of {}", suggest::join(all())), did_you_mean);
            let message = format!("{} is not {what}", reader.show(node));
            reader.error(node.span, message, "", Some(&help));
        }
        found
    };
    Kind::new(read, move |_| schema.clone()).written_as(move |value| {
        written.iter().find(|(_, one)| one == value).map_or(Json::Null, |one| json!(one.0))
    })
}

/// A path; a relative one is relative to the directory of the file it stands in.
pub fn path<'a>() -> Kind<'a, PathBuf> {
    text().then(|reader, node, text| {
        if text.contains('\0') {
            reader.error(node.span, "this is not a path", "", None);
            return None;
        }
        Some(reader.directory().join(text))
    })
}

/// A list; nothing is an empty one. Items that are wrong are left out.
pub fn list<'a, T: 'a>(what: &'a str, item: Kind<'a, T>) -> Kind<'a, Vec<T>> {
    let Kind { read, schema, written } = item;
    let read = move |reader: &mut Reader, node: &Node| match &node.value {
        Value::List(items) => Some(items.iter().filter_map(|item| read(reader, item)).collect()),
        Value::Null => Some(Vec::new()),
        _ => {
            let help = match &node.value {
                Value::Text { .. } => "write it in brackets, `[a, b]`",
                _ => "each item of a list begins with `- `",
            };
            reader.expected(node, what, Some(help));
            None
        }
    };
    Kind::new(read, move |all| json!({"type": ["array", "null"], "items": schema(all)}))
        .written_as(move |items| items.iter().map(&written).collect())
}

/// A list, or one value in place of a list of one.
pub fn one_or_more<'a, T: 'a>(item: Kind<'a, T>) -> Kind<'a, Vec<T>> {
    let (read, schema) = (item.read, item.schema);
    let read = move |reader: &mut Reader, node: &Node| {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            reader.error(node.span, "this list is empty", "nothing can match it", None);
        }
        Some(items.iter().filter_map(|item| read(reader, item)).collect())
    };
    Kind::new(read, move |all| {
        let item = schema(all);
        json!({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})
    })
}

/// A mapping with keys of the user's own, in the order written.
pub fn by_key<'a, T: 'a>(what: &'a str, value: Kind<'a, T>) -> Kind<'a, Vec<(String, T)>> {
    let (read, schema) = (value.read, value.schema);
    let read = move |reader: &mut Reader, node: &Node| {
        let entries = reader.entries(node, what)?;
        let read = |(key, value): &(Node, Node)| Some((key.text().to_owned(), read(reader, value)?));
        Some(entries.iter().filter_map(read).collect())
    };
    Kind::new(read, move |all| json!({"type": "object", "additionalProperties": schema(all)}))
}
