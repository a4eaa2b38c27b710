//! Mappings with keys of ours: a section asks for each of its keys once, with its documentation, its kind and
//! its default, and both the reader and the schema follow from that.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::error::Diagnostics;
use super::kind::Kind;
use super::node::{Node, Span};
use super::reader::Reader;
use super::schema::{Schema, with};
use super::source::Source;
use super::suggest::{self, did_you_mean};

/// How a section is spoken of.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The name of its definition in the schema.
    name: &'static str,
    /// What is expected where something else stands: "`{incidents, window}`".
    shape: &'static str,
    doc: &'static str,
    /// Where an unknown key is: "a route"; `None`: in what `name` says.
    place: Option<&'static str>,
}

impl Head {
    pub const fn new(name: &'static str, shape: &'static str, doc: &'static str) -> Self {
        Self { name, shape, doc, place: None }
    }

    /// One of many: "a route".
    pub const fn called(name: &'static str, what: &'static str, doc: &'static str) -> Self {
        Self { name, shape: what, doc, place: Some(what) }
    }

    pub const fn place(self, place: &'static str) -> Self {
        Self { place: Some(place), ..self }
    }
}

/// A section as a kind.
///
/// `read` must ask for all keys before it gives up: a key that it does not ask for is an unknown one. For the
/// schema it is run over an empty mapping.
pub fn section<'a, T: 'a>(head: Head, read: impl Fn(&mut Fields<'_, '_>) -> Option<T> + 'a) -> Kind<'a, T> {
    let read = Rc::new(read);
    let describe = Rc::clone(&read);
    Kind::new(
        move |reader, node| {
            let entries = reader.entries(node, head.shape)?;
            let mut fields = Fields { entries, ..Fields::empty(reader, node.span) };
            let value = read(&mut fields);
            fields.report_absent();
            fields.refuse_unknown(head);
            value
        },
        move |schema| schema.define(head.name, |schema| Fields::describe(schema, head.doc, &*describe)),
    )
}

/// The keys of one mapping while they are read, or described.
pub struct Fields<'r, 'n> {
    /// Of the file that the mapping is part of.
    pub reader: &'r mut Reader,
    span: Span,
    entries: &'n [(Node, Node)],
    known: Vec<&'static str>,
    absent: Vec<Absent>,
    description: Option<Description<'r>>,
}

/// An error about a key that is not there. It is reported when all keys were asked for: where the key is
/// misspelt, that is the only mistake.
struct Absent {
    key: &'static str,
    span: Span,
    message: String,
    label: &'static str,
}

/// The schema of a mapping as far as its keys were asked for.
struct Description<'r> {
    schema: &'r mut Schema,
    properties: &'r mut Map<String, Json>,
    required: &'r mut Vec<&'static str>,
    /// Conditions on several keys.
    conditions: &'r mut Map<String, Json>,
}

/// Runs a section over a mapping without keys: what it misses there is dropped.
pub fn without_keys<T>(read: impl FnOnce(&mut Fields<'_, '_>) -> T) -> T {
    let mut reader = Reader::new(Arc::new(Source::plain(Path::new(""), "")), Diagnostics::default());
    read(&mut Fields::empty(&mut reader, Span::default()))
}

impl<'r> Fields<'r, '_> {
    const fn empty(reader: &'r mut Reader, span: Span) -> Self {
        Self { reader, span, entries: &[], known: Vec::new(), absent: Vec::new(), description: None }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "a kind is made where it is asked for")]
impl<'n> Fields<'_, 'n> {
    fn describe<T>(schema: &mut Schema, doc: &str, read: &dyn Fn(&mut Fields<'_, '_>) -> Option<T>) -> Json {
        let (mut properties, mut required, mut conditions) = (Map::new(), Vec::new(), Map::new());
        without_keys(|fields| {
            let description = Description {
                schema,
                properties: &mut properties,
                required: &mut required,
                conditions: &mut conditions,
            };
            let described = Fields::empty(fields.reader, fields.span);
            let _ = read(&mut Fields { description: Some(description), ..described });
        });
        let mut object = json!({
            "description": doc,
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "required": required,
        });
        if let Some(object) = object.as_object_mut() {
            object.extend(conditions);
        }
        object
    }

    fn ask(&mut self, key: &'static str, doc: &str, describe: impl FnOnce(&mut Schema) -> Json) {
        self.known.push(key);
        if let Some(description) = &mut self.description {
            let described = with(describe(description.schema), "description", doc);
            description.properties.insert(key.to_owned(), described);
        }
    }

    /// The value of a key that may be absent; `None` also where it is wrong.
    pub fn get<T>(&mut self, key: &'static str, doc: &str, kind: Kind<'_, T>) -> Option<T> {
        self.ask(key, doc, |schema| kind.schema(schema));
        let node = self.node(key)?;
        kind.read(self.reader, node)
    }

    /// The value of a key with a default, which holds also where the value is wrong.
    pub fn or<T>(&mut self, key: &'static str, doc: &str, kind: Kind<'_, T>, default: T) -> T {
        self.ask(key, doc, |schema| match kind.written(&default) {
            Json::Null => kind.schema(schema),
            written => with(kind.schema(schema), "default", written),
        });
        self.node(key).and_then(|node| kind.read(self.reader, node)).unwrap_or(default)
    }

    /// The value of a key that must be there.
    pub fn require<T>(&mut self, key: &'static str, doc: &str, kind: Kind<'_, T>) -> Option<T> {
        if let Some(description) = &mut self.description {
            description.required.push(key);
        }
        self.miss(key);
        self.get(key, doc, kind)
    }

    /// An error where a key is absent.
    pub fn miss(&mut self, key: &'static str) {
        if !self.has(key) {
            let (span, message) = (self.head(), format!("`{key}` is missing"));
            self.absent.push(Absent { key, span, message, label: "in this mapping" });
        }
    }

    /// Is an unknown key a typing error of this one? To be asked after all keys were.
    pub fn is_misspelt(&self, key: &str) -> bool {
        self.unknown().any(|node| self.meant(node) == Some(key))
    }

    fn unknown(&self) -> impl Iterator<Item = &'n Node> {
        let entries = self.entries.iter().map(|(key, _)| key);
        entries.filter(|key| !self.known.contains(&key.text()))
    }

    /// The key that an unknown one is a typing error of.
    fn meant(&self, unknown: &Node) -> Option<&'static str> {
        suggest::nearest(unknown.text(), self.known.iter().copied().filter(|name| !self.has(name)))
    }

    fn report_absent(&mut self) {
        for Absent { key, span, message, label } in std::mem::take(&mut self.absent) {
            if !self.is_misspelt(key) {
                self.error(span, message, label, None);
            }
        }
    }

    /// Adds an error: what is wrong, what is said under the place, and what to do.
    pub fn error(&mut self, span: Span, message: impl Into<String>, label: &str, help: Option<&str>) {
        self.reader.error(span, message, label, help);
    }

    pub fn warn(&mut self, span: Span, message: impl Into<String>, label: &str, help: Option<&str>) {
        self.reader.warn(span, message, label, help);
    }

    /// An error where the key is given, which is not offered as one.
    pub fn refuse(&mut self, key: &'static str, message: &str, help: &str) {
        if let Some(span) = self.key(key) {
            self.known.push(key);
            self.reader.error(span, message, "", Some(help));
        }
    }

    /// Exactly one of these keys must be given. To be called after they were asked for: what seems to be
    /// missing may be misspelt, which is one mistake and not two.
    pub fn one_of(&mut self, keys: &[&'static str], message: &str) {
        self.condition("oneOf", || keys.iter().map(|key| json!({"required": [key]})).collect());
        let label = match (keys.iter().filter(|key| self.has(key)).count(), keys.len()) {
            (1, _) => return,
            (0, _) if self.unknown().next().is_some() => return,
            (0, 2) => "neither is given",
            (0, _) => "none is given",
            (_, 2) => "both are given",
            _ => "several are given",
        };
        self.error(self.head(), message, label, None);
    }

    /// One key asks for another.
    pub fn needs(&mut self, key: &'static str, other: &'static str) {
        if let Some(description) = &mut self.description {
            let all = description.conditions.entry("dependentRequired").or_insert_with(|| json!({}));
            if let Some(all) = all.as_object_mut() {
                all.insert(key.to_owned(), json!([other]));
            }
        }
        if let (Some(span), false) = (self.key(key), self.has(other)) {
            self.absent.push(Absent {
                key: other,
                span,
                message: format!("`{key}` needs `{other}`"),
                label: "",
            });
        }
    }

    /// A condition on several keys, for the schema alone: the section itself says what is wrong.
    pub fn condition(&mut self, keyword: &str, schema: impl FnOnce() -> Json) {
        if let Some(description) = &mut self.description {
            description.conditions.insert(keyword.to_owned(), schema());
        }
    }

    /// The value of a key, as it is written.
    pub fn node(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _)| name.text() == key).map(|(_, value)| value)
    }

    /// Where a key is written.
    pub fn key(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(name, _)| name.text() == key).map(|(name, _)| name.span)
    }

    pub fn has(&self, key: &str) -> bool {
        self.key(key).is_some()
    }

    /// Is there no key beside these?
    pub fn has_only(&self, keys: &[&str]) -> bool {
        self.entries.iter().all(|(key, _)| keys.contains(&key.text()))
    }

    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of the mapping.
    pub const fn span(&self) -> Span {
        self.span
    }

    /// The first line of the mapping: pointing at all of it would point at half the file.
    pub fn head(&self) -> Span {
        self.entries.first().map_or(self.span, |(key, _)| key.span)
    }

    fn refuse_unknown(&mut self, head: Head) {
        let place = head.place.map_or_else(|| format!("`{}`", head.name), str::to_owned);
        for node in self.unknown().collect::<Vec<_>>() {
            let help = match self.meant(node) {
                Some(name) => did_you_mean(name),
                None if self.known.len() == 1 => {
                    format!("the only key is {}", suggest::join(self.known.iter().copied()))
                }
                None => format!("the keys are {}", suggest::join(self.known.iter().copied())),
            };
            let message = format!("unknown key {} in {place}", self.reader.show(node));
            self.reader.error(node.span, message, "", Some(&help));
        }
    }
}
