//! JSON Schemas (draft 2020-12) of configuration and rule files, for editors.
//!
//! The reader decides what is right, and `check` says it better; a schema completes names, shows
//! defaults, and marks typing errors while they are made. Closed lists and defaults come from where
//! the reader has them; that the keys are the reader's is shown by a test.

mod config;
mod matching;
mod rules;
mod silences;

use std::time::Duration;

use serde_json::{Map, Value, json};

pub use config::config;
pub use rules::rules;

type Defs = Map<String, Value>;

/// A whole document: a definition, and all others.
fn document(title: &str, root: &str, defs: Defs) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$ref": format!("#/$defs/{root}"),
        "$defs": Value::Object(defs),
    })
}

/// A mapping with exactly these keys; those that end in `!` must be given.
fn object(description: &str, keys: Vec<(&str, Value)>) -> Value {
    let mut required = Vec::new();
    let mut properties = Map::new();
    for (key, value) in keys {
        required.extend(key.strip_suffix('!').map(str::to_owned));
        properties.insert(key.trim_end_matches('!').to_owned(), value);
    }
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

fn of(name: &str, description: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}"), "description": description})
}

/// Any scalar is text: `404` and `no` are what was written.
fn text(description: &str) -> Value {
    json!({"description": description, "type": ["string", "number", "boolean"], "minLength": 1})
}

fn boolean(description: &str, default: bool) -> Value {
    json!({"description": description, "type": "boolean", "default": default})
}

fn int(description: &str, least: i64, most: i64) -> Value {
    json!({"description": description, "type": "integer", "minimum": least, "maximum": most})
}

/// How often, how many: at least one, at most a million.
fn count(description: &str) -> Value {
    int(description, 1, 1_000_000)
}

fn duration(description: &str) -> Value {
    json!({
        "description": description,
        "type": "string",
        "minLength": 1,
        "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        "examples": ["90s", "5m", "1h30m", "2d"],
    })
}

/// A size in bytes.
fn size(description: &str) -> Value {
    json!({
        "description": description,
        "type": ["string", "integer"],
        "pattern": "^[0-9]+([kMGT]|[KMGT]i)?$",
        "examples": ["768Mi", "1Gi"],
    })
}

fn default(mut schema: Value, default: impl Into<Value>) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert("default".into(), default.into());
    }
    schema
}

/// A duration as it would be written.
fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds % 86_400, seconds % 3600, seconds % 60) {
        _ if seconds == 0 => "0s".into(),
        (0, _, _) => format!("{}d", seconds / 86_400),
        (_, 0, _) => format!("{}h", seconds / 3600),
        (_, _, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// One of these names.
fn one_of<'a>(description: &str, names: impl IntoIterator<Item = &'a str>) -> Value {
    let names: Vec<&str> = names.into_iter().collect();
    json!({"description": description, "type": "string", "enum": names})
}

/// A list; nothing is an empty one.
fn list(description: &str, item: &Value) -> Value {
    json!({"description": description, "type": ["array", "null"], "items": item})
}

/// A list, or one value in place of a list of one.
fn one_or_more(description: &str, item: &Value) -> Value {
    json!({"description": description, "anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})
}

/// A mapping with keys of the user's own.
fn by_key(description: &str, value: &Value) -> Value {
    json!({"description": description, "type": "object", "additionalProperties": value})
}

/// The name of a rule or a receiver, as [`super::is_name`] has it.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
