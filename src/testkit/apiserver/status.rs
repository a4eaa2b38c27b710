//! The `Status` objects of a real API server, word by word, and the `continue` tokens.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::faults::Verb;
use super::resource::Resource;

/// Go's `base64.RawURLEncoding`, which does not mind bits that are left over.
const TOKENS: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// The text of a 410 for an expired `continue` token.
const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter, or use the continue token in this response to retrieve the \
    remainder of the results. Continuing with the provided token results in an inconsistent list - objects that \
    were created, modified, or deleted between the time the first chunk was returned and now may show up in the \
    list.";

/// Sets a field of a JSON object.
pub(super) fn put(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value.into());
    }
}

/// A failure to answer with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub code: u16,
    pub body: Value,
}

impl Failure {
    fn new(code: u16, reason: &str, message: &str) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
        });
        if !reason.is_empty() {
            put(&mut body, "reason", reason);
        }
        Self { code, body }
    }

    fn details(mut self, details: Value) -> Self {
        put(&mut self.body, "details", details);
        self
    }

    pub fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn forbidden(
        user: &str,
        verb: Verb,
        resource: &Resource,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Self {
        let Resource { plural, group, .. } = resource;
        let scope = namespace.map_or_else(
            || String::from("at the cluster scope"),
            |namespace| format!("in the namespace \"{namespace}\""),
        );
        let target = name.map_or_else(|| (*plural).to_owned(), |name| format!("{plural} \"{name}\""));
        let mut details = json!({ "kind": plural });
        if !group.is_empty() {
            put(&mut details, "group", *group);
        }
        if let Some(name) = name {
            put(&mut details, "name", name);
        }
        let message = format!(
            "{target} is forbidden: User \"{user}\" cannot {} resource \"{plural}\" in API group \"{group}\" {scope}",
            verb.as_str(),
        );
        Self::new(403, "Forbidden", &message).details(details)
    }

    /// Of the log of a pod.
    pub fn forbidden_log(user: &str, namespace: &str, pod: &str) -> Self {
        let message = format!(
            "pods \"{pod}\" is forbidden: User \"{user}\" cannot get resource \"pods/log\" in API group \"\" in the \
             namespace \"{namespace}\""
        );
        Self::new(403, "Forbidden", &message).details(json!({ "name": pod, "kind": "pods" }))
    }

    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let mut details = json!({ "name": name, "kind": resource.plural });
        if !resource.group.is_empty() {
            put(&mut details, "group", resource.group);
        }
        Self::new(404, "NotFound", &format!("{}{group} \"{name}\" not found", resource.plural))
            .details(details)
    }

    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).details(json!({}))
    }

    /// Clients other than kubectl see 500 without a reason, not 400.
    pub fn bad_version(version: &str) -> Self {
        let message = format!(
            "resourceVersion: Invalid value: \"{version}\": strconv.ParseUint: parsing \"{version}\": invalid syntax"
        );
        Self::new(500, "", &message)
    }

    pub fn version_too_large(version: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {version}, current: {current}");
        Self::new(504, "Timeout", &message).details(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }))
    }

    pub fn watch_list(field: &str, detail: &str) -> Self {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: Forbidden: {detail}");
        Self::new(422, "Invalid", &message).details(json!({
            "group": "meta.k8s.io", "kind": "ListOptions",
            "causes": [{"reason": "FieldValueForbidden", "message": format!("Forbidden: {detail}"), "field": field}],
        }))
    }

    pub fn expired_continue(fresh: &str) -> Self {
        let mut failure = Self::new(410, "Expired", EXPIRED);
        put(&mut failure.body, "metadata", json!({ "continue": fresh }));
        failure
    }

    /// The two wordings of "too old": the watch cache's and etcd's.
    pub fn too_old(resource: &Resource, version: u64, oldest: u64) -> Self {
        if resource.cached {
            Self::new(410, "Expired", &format!("too old resource version: {version} ({oldest})"))
        } else {
            Self::new(410, "Expired", "The resourceVersion for the provided watch is too old.")
        }
    }

    pub fn initializing(retry_after: u32) -> Self {
        Self::new(429, "TooManyRequests", "storage is (re)initializing")
            .details(json!({ "retryAfterSeconds": retry_after }))
    }

    /// Some failure with this code.
    pub fn other(code: u16) -> Self {
        match code {
            401 => Self::unauthorized(),
            410 => Self::new(410, "Expired", "The resourceVersion for the provided list is too old."),
            500 => Self::new(500, "InternalError", "Internal error occurred: simulated"),
            503 => {
                Self::new(503, "ServiceUnavailable", "the server is currently unable to handle the request")
            }
            504 => Self::version_too_large(0, 0),
            _ => Self::new(code, "", "simulated"),
        }
    }
}

/// The contents of a `continue` token; its encoding is the server's secret, clients must not look.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Continue {
    v: String,
    /// The version the list is pinned to; -1: any, inconsistent.
    pub rv: i64,
    /// The last key sent and a NUL, so that the next one sorts behind it.
    start: String,
}

impl Continue {
    pub fn after(version: i64, namespace: &str, name: &str) -> Self {
        Self { v: String::from("meta.k8s.io/v1"), rv: version, start: format!("/{namespace}/{name}\0") }
    }

    /// The key of the last object sent.
    pub fn last(&self) -> Option<(&str, &str)> {
        self.start.strip_suffix('\0')?.trim_start_matches('/').rsplit_once('/').or_else(|| {
            // Cluster-scoped: the namespace is empty.
            Some(("", self.start.strip_suffix('\0')?.trim_start_matches('/')))
        })
    }

    pub fn encode(&self) -> String {
        TOKENS.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub fn decode(token: &str) -> Result<Self, Failure> {
        let invalid = |why: &str| {
            Failure::bad_request(&format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = TOKENS.decode(token).map_err(|_| invalid("illegal base64 data at input byte 0"))?;
        let found: Self = serde_json::from_slice(&bytes).map_err(|_| {
            let first = bytes.first().copied().unwrap_or_default();
            let shown = if first.is_ascii_graphic() {
                char::from(first).to_string()
            } else {
                format!("\\x{first:02x}")
            };
            invalid(&format!("invalid character '{shown}' looking for beginning of value"))
        })?;
        if found.v != "meta.k8s.io/v1" || found.last().is_none() {
            return Err(invalid("server does not recognize this encoded version"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_a_real_server() {
        let recorded = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTExMzAsInN0YXJ0IjoiL3Mtbm9kZS9icm9rZW4tNjY0NmM4NzVmYi1mdmZrc1x1MDAwMCJ9";
        let token = Continue::decode(recorded).unwrap();
        assert_eq!(token, Continue::after(11130, "s-node", "broken-6646c875fb-fvfks"));
        assert_eq!(token.last(), Some(("s-node", "broken-6646c875fb-fvfks")));
        assert_eq!(token.encode(), recorded);
        assert_eq!(Continue::after(7, "", "node-1").last(), Some(("", "node-1")));
    }
}
