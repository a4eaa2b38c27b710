//! `namespace=shop`, `name=~^canary-`, `label.team=payments`: a `match` on the command line, as the
//! JSON of the configuration's grammar and back. Whether a key or a value makes sense is the bot's
//! to say.

use serde_json::{Map, Value, json};

/// How something is compared, as typed and as the grammar has it.
const OPERATORS: &[(&str, &str)] =
    &[("!=", "none_of"), ("!~", "not_regex"), ("=~", "regex"), ("=", "any_of")];

/// Keys with a key of their own.
const NESTED: &[(&str, &str)] = &[("label.", "labels"), ("annotation.", "annotations")];

/// Reads conditions. `Err` says what is wrong with one.
pub fn read(conditions: &[String]) -> Result<Value, String> {
    let mut found = Map::new();
    for text in conditions {
        let (key, how, value) = split(text)?;
        let value = match (key, value.parse::<i32>()) {
            ("exit_code", Ok(code)) => json!(code),
            _ => json!(value),
        };
        let nested = NESTED.iter().find_map(|(prefix, name)| Some((*name, key.strip_prefix(prefix)?)));
        let (map, key) = match nested {
            Some((_, "")) => return Err(format!("`{text}`: name the key behind the dot")),
            Some((name, key)) => {
                let map = found.entry(name).or_insert_with(|| json!({}));
                let Some(map) = map.as_object_mut() else { return Err(mixed(text)) };
                (map, key)
            }
            None => (&mut found, key),
        };
        let conditions = map.entry(key).or_insert_with(|| json!({}));
        let list = conditions
            .as_object_mut()
            .map(|conditions| conditions.entry(how).or_insert_with(|| json!([])))
            .and_then(Value::as_array_mut);
        // `labels=x` beside `label.a=b`.
        let Some(list) = list else { return Err(mixed(text)) };
        list.push(value);
    }
    for (name, value) in &mut found {
        if NESTED.iter().any(|(_, nested)| nested == name) {
            value.as_object_mut().into_iter().flatten().for_each(|(_, value)| shorten(value));
        } else {
            shorten(value);
        }
    }
    Ok(Value::Object(found))
}

/// Does it compare something?
pub fn is_condition(text: &str) -> bool {
    OPERATORS.iter().any(|(typed, _)| text.contains(typed))
}

fn mixed(text: &str) -> String {
    format!("`{text}`: write labels as `label.KEY=value` and annotations as `annotation.KEY=value`")
}

fn split(text: &str) -> Result<(&str, &'static str, &str), String> {
    let (at, typed, how) = text
        .char_indices()
        .find_map(|(at, _)| {
            let rest = text.get(at..)?;
            OPERATORS.iter().find(|(typed, _)| rest.starts_with(typed)).map(|(typed, how)| (at, *typed, *how))
        })
        .ok_or_else(|| {
            format!(
                "`{text}` is no condition: write `key=value`, such as `namespace=shop` or `name=~^canary-`"
            )
        })?;
    let key = text.get(..at).unwrap_or_default().trim();
    let value = text.get(at + typed.len()..).unwrap_or_default();
    if key.is_empty() || value.is_empty() {
        return Err(format!("`{text}`: {} is missing", if key.is_empty() { "the key" } else { "the value" }));
    }
    if matches!(key, "labels" | "annotations") {
        return Err(mixed(text));
    }
    Ok((key, how, value))
}

/// One text instead of a list of one, and no map around what is equal only.
fn shorten(conditions: &mut Value) {
    let Some(map) = conditions.as_object_mut() else { return };
    for list in map.values_mut() {
        if let Some([one]) = list.as_array().map(Vec::as_slice) {
            *list = one.clone();
        }
    }
    if map.len() == 1
        && let Some(any_of) = map.remove("any_of")
    {
        *conditions = any_of;
    }
}

/// A `match` as it is typed.
pub fn show(matches: &Value) -> String {
    let mut shown = Vec::new();
    for (key, value) in matches.as_object().into_iter().flatten() {
        match NESTED.iter().find(|(_, name)| name == key) {
            Some((prefix, _)) => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    conditions(&format!("{prefix}{key}"), value, &mut shown);
                }
            }
            None => conditions(key, value, &mut shown),
        }
    }
    shown.join(" ")
}

fn conditions(key: &str, value: &Value, shown: &mut Vec<String>) {
    let mut each = |typed: &str, value: &Value| {
        for item in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            let item = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            shown.push(format!("{key}{typed}{item}"));
        }
    };
    match value.as_object() {
        None => each("=", value),
        Some(map) => {
            for (how, value) in map {
                let typed = OPERATORS.iter().find(|(_, name)| name == how).map_or("=", |(typed, _)| typed);
                each(typed, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(conditions: &[&str]) -> Result<Value, String> {
        read(&conditions.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn conditions_become_the_grammar_of_the_configuration_and_back() {
        let typed = [
            "annotation.a=b=c",
            "cause=CrashLoopBackOff",
            "cause=OOMKilled",
            "exit_code=137",
            "label.app.kubernetes.io/name!=x",
            "label.team=payments",
            "name!~-canary$",
            "name=~^api-",
            "namespace=shop",
        ];
        let found = from(&typed).unwrap();
        assert_eq!(
            found,
            json!({
                "namespace": "shop",
                "cause": ["CrashLoopBackOff", "OOMKilled"],
                "name": {"regex": "^api-", "not_regex": "-canary$"},
                "labels": {"team": "payments", "app.kubernetes.io/name": {"none_of": "x"}},
                "annotations": {"a": "b=c"},
                "exit_code": 137,
            })
        );
        assert_eq!(show(&found), typed.join(" "));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for wrong in ["shop", "=shop", "namespace=", "label.=x", "labels=x", "", "namespace"] {
            assert!(from(&[wrong]).is_err(), "{wrong}");
        }
    }

    /// What is sent is what the bot's own reader takes.
    #[test]
    fn the_configuration_reads_what_is_sent() {
        let matches = from(&[
            "namespace=shop",
            "cause=OOMKilled",
            "name=~^api-",
            "label.team=payments",
            "exit_code=137",
        ]);
        let rule = format!("rules:\n  - {{name: x, severity: info, match: {}}}\n", matches.unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.yaml");
        std::fs::write(&path, rule).unwrap();
        crate::config::load(None, &[path]).map_err(|found| found.render(false)).unwrap();
    }
}
