//! `silences` and `mute_times`.

use serde_json::{Value, json};

use super::{NAME, boolean, default, duration, object, of, one_or_more, text, written};
use crate::rule::AnnotationRules;
use crate::rule::calendar::WEEKDAYS;

fn name(description: &str) -> Value {
    json!({"description": description, "type": ["string", "number", "boolean"], "pattern": NAME})
}

fn moment(description: &str) -> Value {
    // A date with a time of day and an offset; the reader knows the calendar.
    let pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9:]+)";
    let examples = ["2026-11-21T18:00:00Z", "2026-11-21T19:00:00+01:00"];
    json!({"description": description, "type": "string", "pattern": pattern, "examples": examples})
}

fn time_of_day(description: &str, pattern: &str) -> Value {
    json!({"description": description, "type": "string", "pattern": pattern})
}

/// Adds both, for the section of the configuration that is named after each.
pub(super) fn add(add: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let keys = vec![
        ("name", name("What records call it.")),
        ("match!", of("match", "Which incidents; at least one condition.")),
        ("until!", moment("The first moment after it (RFC 3339).")),
        ("from", moment("When it begins (RFC 3339); without it: at once.")),
        ("comment", text("Why.")),
        ("by", text("Who wrote it.")),
    ];
    add("silence", object("What is not told until a moment.", keys));
    let days: Vec<&str> = WEEKDAYS.iter().map(|(name, _)| *name).collect();
    let day = days.join("|");
    let day = json!({"type": "string", "pattern": format!("^({day})(-({day}))?$")});
    let keys = vec![
        ("name!", name("What records call it.")),
        ("match", of("match", "Which incidents; without it: all.")),
        (
            "weekdays",
            one_or_more("On which days it begins, `mon` or `mon-fri`; without it: every day.", &day),
        ),
        (
            "from",
            time_of_day(
                "When it begins, `\"HH:MM\"`; without it: all day.",
                "^([01][0-9]|2[0-3]):[0-5][0-9]$",
            ),
        ),
        (
            "to",
            time_of_day(
                "When it ends; not after `from`: on the next day.",
                "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
            ),
        ),
        ("timezone", default(text("Whose clock it is; an IANA name."), "UTC")),
    ];
    let mut it = object("What is not told at some hours of the week.", keys);
    if let Some(map) = it.as_object_mut() {
        map.insert("dependentRequired".into(), json!({"from": ["to"], "to": ["from"]}));
        map.insert("anyOf".into(), json!([{"required": ["weekdays"]}, {"required": ["from"]}]));
    }
    add("mute_time", it);
    let it = AnnotationRules::default();
    let keys = vec![
        ("enabled", boolean("Annotations silence at all.", it.enabled)),
        (
            "max",
            default(
                duration("Each counts for at most so long from when it was first seen."),
                written(it.max),
            ),
        ),
        ("nodes", boolean("Annotations of nodes count, too.", it.nodes)),
        ("except", of("match", "These incidents they cannot silence; at least one condition.")),
    ];
    add("annotations", object("What annotations may silence.", keys));
}
