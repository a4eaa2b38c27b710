//! Scripted faults: what the simulated API server does wrong, to which requests, how often.

use std::collections::BTreeSet;

use serde_json::Value;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Get,
    /// One page of a list.
    List,
    Watch,
}

impl Verb {
    /// As RBAC spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// This HTTP status with a JSON `Status` body.
    Status(u16),
    /// 429 with `Retry-After` in seconds; `json` as while caches warm up, else in plain text as from
    /// priority and fairness.
    TooManyRequests {
        retry_after: u32,
        /// With a `Status` body.
        json: bool,
    },
    /// 410 as the HTTP status.
    GoneHttp,
    /// 200, then an ERROR event with code 410. Only on watches.
    GoneInStream,
    /// 200, then an ERROR event with this code. Only on watches.
    ErrorInStream(u16),
    /// The connection ends in the middle of the next event (or of the list) without a last chunk.
    CutMidLine,
    /// Headers come, then nothing, ever. The connection stays open.
    Silent,
    /// Nothing comes, ever. The connection stays open.
    HangBeforeHeaders,
    /// The connection is reset.
    Reset,
    /// This merge patch (RFC 7386) is laid over the objects it fits: those with its
    /// `metadata.name`, or all. In a watch the first object that fits is spoiled.
    MalformedObject(Value),
    /// A body that is no JSON, as from a proxy's error page sent with 200.
    Garbage,
    /// The `continue` token has expired. Only on further pages of lists; first pages are let through.
    ExpirePage,
    /// This object is written by someone else, just before the request is answered.
    Meanwhile(Value),
    /// The answer comes after this time. Only on logs.
    Slow(std::time::Duration),
    /// A space now and then, for ever. Only on logs.
    Drip,
    /// The watch ends as soon as it began.
    CloseWatches,
    /// The connection ends after so many bytes of the body, without a last chunk.
    CutAfter(usize),
    /// The watch sends one object that the client has already, and ends. Only on watches.
    OneAndClose,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    verb: Verb,
    plural: String,
    times: u32,
    what: What,
}

impl Fault {
    /// Does `what` to the next request with this verb for this resource (`pods`).
    pub fn new(verb: Verb, plural: &str, what: What) -> Self {
        Self { verb, plural: plural.to_owned(), times: 1, what }
    }

    /// Does it so many times.
    pub const fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    scripted: Vec<Fault>,
    forbidden: BTreeSet<String>,
    /// Only in these namespaces anything is allowed; `None`: everywhere.
    roles_in: Option<BTreeSet<String>>,
}

impl Faults {
    pub fn script(&mut self, fault: Fault) {
        self.scripted.push(fault);
    }

    pub fn clear(&mut self) {
        self.scripted.clear();
    }

    pub fn left(&self) -> u32 {
        self.scripted.iter().map(|fault| fault.times).sum()
    }

    pub fn forbid(&mut self, plural: &str) {
        self.forbidden.insert(plural.to_owned());
    }

    pub fn allow(&mut self, plural: &str) {
        self.forbidden.remove(plural);
    }

    pub fn forbidden(&self, plural: &str) -> bool {
        self.forbidden.contains(plural)
    }

    pub fn only_roles(&mut self, namespaces: Option<&[&str]>) {
        self.roles_in = namespaces.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// Does no Role allow anything in this namespace, or (`None`) for the whole cluster?
    pub fn outside(&self, namespace: Option<&str>) -> bool {
        let Some(roles) = &self.roles_in else { return false };
        namespace.is_none_or(|namespace| !roles.contains(namespace))
    }

    /// The fault for a request, counted as done. `further`: it is not the first page of a list.
    pub fn take(&mut self, verb: Verb, plural: &str, further: bool) -> Option<What> {
        let index = self.scripted.iter().position(|fault| {
            fault.verb == verb
                && fault.plural == plural
                && fault.times > 0
                && (fault.what != What::ExpirePage || further)
        })?;
        let fault = self.scripted.get_mut(index)?;
        fault.times -= 1;
        let what = fault.what.clone();
        if fault.times == 0 {
            self.scripted.remove(index);
        }
        Some(what)
    }
}

/// Lays an RFC 7386 merge patch over `json` if it fits; `None`: it does not.
pub(super) fn spoil(json: &str, patch: &Value) -> Option<String> {
    let mut value: Value = serde_json::from_str(json).ok()?;
    for field in ["name", "namespace"] {
        let wanted = patch.pointer(&format!("/metadata/{field}"));
        if wanted.is_some_and(|wanted| value.pointer(&format!("/metadata/{field}")) != Some(wanted)) {
            return None;
        }
    }
    merge(&mut value, patch);
    Some(value.to_string())
}

fn merge(target: &mut Value, patch: &Value) {
    let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) else {
        target.clone_from(patch);
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
