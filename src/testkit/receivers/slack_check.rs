//! What Slack refuses about a message, as far as its documentation says
//! (<https://docs.slack.dev/reference/block-kit/blocks>).

use serde_json::{Map, Value};

/// Everything that is wrong with a payload; empty if Slack would take it.
pub fn violations(payload: &Value) -> Vec<String> {
    let mut check = Check { found: Vec::new() };
    check.payload(payload);
    check.found
}

/// Everything in angle brackets that Slack would act on: mentions (`<!channel>`, `<@U…>`) and links.
pub fn mentions(payload: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(payload, &mut |object| {
        let literal = object.get("type").is_some_and(|t| t == "plain_text" || t == "text");
        for key in ["text", "fallback", "pretext"] {
            if let Some(text) = object.get(key).and_then(Value::as_str).filter(|_| !literal) {
                out.extend(text.split('<').skip(1).map(|rest| {
                    let inner = rest.split('>').next().unwrap_or_default();
                    format!("<{inner}>")
                }));
            }
        }
    });
    out
}

fn walk(value: &Value, see: &mut impl FnMut(&Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            see(map);
            map.values().for_each(|v| walk(v, see));
        }
        Value::Array(items) => items.iter().for_each(|v| walk(v, see)),
        _ => {}
    }
}

struct Check {
    found: Vec<String>,
}

impl Check {
    fn say(&mut self, at: &str, what: impl AsRef<str>) {
        self.found.push(format!("{at}: {}", what.as_ref()));
    }

    fn keys(&mut self, at: &str, map: &Map<String, Value>, allowed: &[&str]) {
        for key in map.keys().filter(|k| !allowed.contains(&k.as_str())) {
            self.say(at, format!("unknown field `{key}`"));
        }
    }

    fn payload(&mut self, payload: &Value) {
        let Some(map) = payload.as_object() else { return self.say("payload", "not an object") };
        let known = [
            "attachments",
            "blocks",
            "channel",
            "metadata",
            "reply_broadcast",
            "text",
            "thread_ts",
            "ts",
            "unfurl_links",
            "unfurl_media",
        ];
        self.keys("payload", map, &known);
        let text = map.get("text").and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() {
            self.say("text", "missing: notifications would be empty");
        }
        if text.chars().count() > 4000 {
            self.say("text", "longer than 4000 characters");
        }
        let mut blocks = self.blocks("blocks", map.get("blocks"));
        for (n, attachment) in list(map.get("attachments")).iter().enumerate() {
            let at = format!("attachments[{n}]");
            let Some(map) = attachment.as_object() else { return self.say(&at, "not an object") };
            self.keys(&at, map, &["blocks", "color", "fallback"]);
            let color = map.get("color").and_then(Value::as_str).unwrap_or_default();
            if color.len() != 7 || !color.starts_with('#') {
                self.say(&at, format!("color `{color}`"));
            }
            blocks += self.blocks(&format!("{at}.blocks"), map.get("blocks"));
        }
        if blocks > 50 {
            self.say("blocks", format!("{blocks} blocks, 50 are allowed"));
        }
    }

    fn blocks(&mut self, at: &str, blocks: Option<&Value>) -> usize {
        for (n, block) in list(blocks).iter().enumerate() {
            self.block(&format!("{at}[{n}]"), block);
        }
        list(blocks).len()
    }

    fn block(&mut self, at: &str, block: &Value) {
        let Some(map) = block.as_object() else { return self.say(at, "not an object") };
        match map.get("type").and_then(Value::as_str) {
            Some("header") => {
                self.keys(at, map, &["text", "type"]);
                self.text(at, map.get("text"), 150, false);
            }
            Some("section") => {
                self.keys(at, map, &["fields", "text", "type"]);
                if map.contains_key("text") || !map.contains_key("fields") {
                    self.text(at, map.get("text"), 3000, true);
                }
                let fields = list(map.get("fields"));
                if fields.len() > 10 {
                    self.say(at, "more than 10 fields");
                }
                for field in fields {
                    self.text(at, Some(field), 2000, true);
                }
            }
            Some("context") => {
                self.keys(at, map, &["elements", "type"]);
                let elements = list(map.get("elements"));
                if elements.is_empty() || elements.len() > 10 {
                    self.say(at, "1 to 10 elements");
                }
                for element in elements {
                    self.text(at, Some(element), 3000, true);
                }
            }
            Some("divider") => self.keys(at, map, &["type"]),
            Some("rich_text") => {
                self.keys(at, map, &["elements", "type"]);
                let elements = list(map.get("elements"));
                if elements.is_empty() {
                    self.say(at, "no elements");
                }
                for (n, element) in elements.iter().enumerate() {
                    self.rich(&format!("{at}.elements[{n}]"), element);
                }
            }
            other => self.say(at, format!("block type {other:?} is not one that is sent")),
        }
    }

    fn rich(&mut self, at: &str, element: &Value) {
        let Some(map) = element.as_object() else { return self.say(at, "not an object") };
        self.keys(at, map, &["border", "elements", "type"]);
        let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
        if !["rich_text_section", "rich_text_preformatted", "rich_text_quote"].contains(&kind) {
            self.say(at, format!("type `{kind}`"));
        }
        let parts = list(map.get("elements"));
        if parts.is_empty() {
            self.say(at, "no elements");
        }
        for part in parts {
            let text = part.get("text").and_then(Value::as_str).unwrap_or_default();
            if part.get("type").is_none_or(|t| t != "text") || text.is_empty() || text.chars().count() > 3000
            {
                self.say(at, "wants a text of 1 to 3000 characters");
            }
        }
    }

    fn text(&mut self, at: &str, text: Option<&Value>, max: usize, mrkdwn: bool) {
        let Some(map) = text.and_then(Value::as_object) else { return self.say(at, "no text object") };
        match map.get("type").and_then(Value::as_str) {
            Some("plain_text") => self.keys(at, map, &["emoji", "text", "type"]),
            Some("mrkdwn") if mrkdwn => self.keys(at, map, &["text", "type", "verbatim"]),
            other => self.say(at, format!("text type {other:?}")),
        }
        let length = map.get("text").and_then(Value::as_str).unwrap_or_default().chars().count();
        if length == 0 || length > max {
            self.say(at, format!("{length} characters, 1 to {max} are allowed"));
        }
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
