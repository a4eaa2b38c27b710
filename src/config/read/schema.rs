//! JSON Schemas (draft 2020-12), for editors, made of the same keys and kinds that files are read by.
//!
//! The reader decides what is right, and `check` says it better; a schema completes names, shows
//! defaults, and marks typing errors while they are made.

use serde_json::{Map, Value, json};

/// The definitions of a schema, by name.
#[derive(Debug, Default)]
pub struct Schema {
    definitions: Map<String, Value>,
}

impl Schema {
    /// A reference to a definition, which is made where it is not there yet.
    pub fn define(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.definitions.contains_key(name) {
            let definition = make(self);
            self.definitions.insert(name.to_owned(), definition);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }

    /// The whole document, around `root`.
    pub fn document(self, title: &str, root: Value) -> Value {
        let document = with(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
        with(with(document, "title", title), "$defs", self.definitions)
    }
}

/// A schema with one more keyword.
pub fn with(mut schema: Value, keyword: &str, value: impl Into<Value>) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert(keyword.to_owned(), value.into());
    }
    schema
}
