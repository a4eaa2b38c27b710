//! What a recording must not hold: it is made to be shared.

use serde_json::{Map, Value};

use crate::signal::redact::{MASK, Redactor};

/// Bulk that repeats the object, secrets included, as one text.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Mappings whose keys are their author's: a key says there what the value is, `{"password": "…"}`.
const FREE: &[&str] = &["annotations", "volumeAttributes", "options", "attributes"];
/// Lists of words of a command line.
const COMMANDS: &[&str] = &["args", "command"];

/// Masks objects before they are written.
#[derive(Debug, Clone, Default)]
pub struct Masker {
    /// The built-in patterns, and those of the configuration.
    pub redactor: Redactor,
    /// Keeps `metadata.managedFields`, which no rule reads and which double the size of an object.
    pub managed_fields: bool,
}

impl Masker {
    pub fn object(&self, object: &mut Value) {
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            if !self.managed_fields {
                metadata.remove("managedFields");
            }
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
        self.value("", object);
    }

    fn value(&self, key: &str, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) if COMMANDS.contains(&key) => self.command(items),
            Value::Array(items) => {
                for item in items {
                    if let ("env" | "httpHeaders", Some(entry)) = (key, item.as_object_mut()) {
                        hide(entry);
                    }
                    self.value("", item);
                }
            }
            Value::Object(map) => {
                let free = FREE.contains(&key);
                for (name, value) in map.iter_mut() {
                    match value {
                        Value::String(text) if free => self.labelled(name, text),
                        _ => self.value(name, value),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, text: &mut String) {
        let masked = self.redactor.redact(text);
        if *masked != **text {
            *text = masked.into_owned();
        }
    }

    /// A value whose label stands beside it and not in it.
    fn labelled(&self, label: &str, text: &mut String) {
        let label = label.rsplit(['/', '.']).next().unwrap_or(label).trim_start_matches('-');
        let line = format!("{label}={text}");
        if self
            .redactor
            .redact(&line)
            .strip_prefix(label)
            .is_some_and(|rest| rest.starts_with(&format!("={MASK}")))
        {
            MASK.clone_into(text);
        } else {
            self.text(text);
        }
    }

    /// `["--password", "hunter2"]`
    fn command(&self, words: &mut [Value]) {
        let mut flag: Option<String> = None;
        for word in words {
            let Value::String(text) = word else { continue };
            let next = Some(text.clone()).filter(|text| text.starts_with('-') && !text.contains('='));
            match flag.take() {
                Some(flag) if next.is_none() => self.labelled(&flag, text),
                _ => self.text(text),
            }
            flag = next;
        }
    }
}

/// What a variable or a header is, nobody can tell by its name; that there is one, its name says.
fn hide(entry: &mut Map<String, Value>) {
    if let Some(value @ Value::String(_)) = entry.get_mut("value") {
        *value = Value::from(MASK);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signal::redact;

    #[test]
    fn no_secret_of_an_object_is_left() {
        let mut pod = json!({
            "kind": "Pod",
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "0a1b2c3d-0000-4000-8000-00000000000a",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{\"env\":\"hunter2\"}",
                    "example.com/api-token": "hunter2hunter2",
                    "example.com/note": "see postgres://app:hunter2@db/shop",
                    "example.com/team": "payments",
                },
            },
            "spec": {
                "containers": [{
                    "name": "app", "image": "registry.example.com/app:1.2",
                    "env": [
                        {"name": "A", "value": "hunter2"},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                    ],
                    "command": ["sh", "-c", "run --password=hunter2"],
                    "args": ["--token", "hunter2", "--verbose", "--listen", ":80"],
                    "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": "hunter2"}]}},
                }],
                "volumes": [{"csi": {"volumeAttributes": {"password": "hunter2", "share": "a"}}}],
            },
            "status": {"containerStatuses": [{"state": {"terminated": {
                "message": "cannot log in with password=hunter2", "reason": "Error", "exitCode": 1,
            }}}]},
        });
        let before = pod.clone();
        Masker::default().object(&mut pod);
        let text = pod.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("managedFields") && !text.contains("last-applied"), "{text}");
        for kept in [
            "/metadata/uid",
            "/metadata/annotations/example.com~1team",
            "/spec/containers/0/image",
            "/spec/containers/0/env/0/name",
            "/spec/containers/0/env/1",
            "/spec/containers/0/args/4",
            "/spec/volumes/0/csi/volumeAttributes/share",
            "/status/containerStatuses/0/state/terminated/reason",
        ] {
            assert_eq!(pod.pointer(kept), before.pointer(kept), "{kept}");
        }
        let once = pod.clone();
        Masker::default().object(&mut pod);
        assert_eq!(pod, once, "masked again nothing changes");
    }

    #[test]
    fn patterns_of_the_configuration_and_wanted_fields_count() {
        let redactor = Redactor::new(vec![redact::compile("ACME-[0-9]{6}").unwrap()]);
        let mut event = json!({"metadata": {"managedFields": [1]}, "message": "order ACME-123456 failed"});
        Masker { redactor, managed_fields: true }.object(&mut event);
        assert_eq!(
            event,
            json!({"metadata": {"managedFields": [1]}, "message": format!("order {MASK} failed")})
        );
    }
}
