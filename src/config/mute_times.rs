//! `mute_times`: hours of the week at which nothing is told.

use serde_json::json;

use super::digest::{timezone, utc};
use super::read::fields::{Fields, Head, section};
use super::read::kind::{Kind, one_or_more, text};
use super::silences::{Names, at_most, condition, name};
use crate::rule::calendar::{DAY, WEEKDAYS, Weekly};
use crate::rule::silence::MuteTime;

pub fn mute_times<'a>() -> Kind<'a, Vec<MuteTime>> {
    at_most("mute times", "a list of mute times", mute_time())
}

fn mute_time<'a>() -> Kind<'a, MuteTime> {
    let head = Head::called("mute_time", "a mute time", "What is not told at some hours of the week.");
    let names = Names::default();
    section(head, move |fields| {
        let name = fields.require("name", "What records call it.", name(&names));
        let found = condition(fields, "Which incidents; without it: all.", true);
        let days = "On which days it begins, `mon` or `mon-fri`; without it: every day.";
        let days = fields.get("weekdays", days, weekdays());
        let hours = hours(fields);
        let (timezone, zone) = fields.or("timezone", "Whose clock it is; an IANA name.", timezone(), utc());
        fields.condition("anyOf", || json!([{"required": ["weekdays"]}, {"required": ["from"]}]));
        if !["weekdays", "from", "to"].iter().any(|key| fields.has(key)) {
            let help = "give `weekdays`, or `from` and `to`; `silences` are for a single span of time";
            let message = "this would mute all the time";
            fields.error(fields.head(), message, "no hours and no days", Some(help));
        }
        let ((filter, written), (from, to)) = (found?, hours?);
        let when = Weekly { days: days.unwrap_or([true; 7]), from, to, zone };
        Some(MuteTime { name: name?, filter, written, when, timezone })
    })
}

/// `mon`, `[mon, wed]`, `mon-fri`, `[sat-mon, wed]`
fn weekdays<'a>() -> Kind<'a, [bool; 7]> {
    let names: Vec<&str> = WEEKDAYS.iter().map(|(name, _)| *name).collect();
    let names = names.join("|");
    let range = text().then(|reader, node, text| {
        let day = |text: &str| WEEKDAYS.iter().position(|(name, _)| *name == text.trim());
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        let range = day(from).zip(day(to));
        if range.is_none() {
            let help =
                "the days are `mon`, `tue`, `wed`, `thu`, `fri`, `sat` and `sun`; `mon-fri` is a range";
            reader.expected(node, "a day of the week", Some(help));
        }
        range
    });
    let range = range.with("type", "string").with("pattern", format!("^({names})(-({names}))?$"));
    one_or_more(range).then(|_, _, ranges| {
        let mut days = [false; 7];
        for (from, to) in ranges {
            let length = (to + 7 - from) % 7;
            for (at, day) in days.iter_mut().enumerate() {
                *day |= (at + 7 - from) % 7 <= length;
            }
        }
        days.contains(&true).then_some(days)
    })
}

/// `from: "22:00", to: "07:00"`; without both: the whole day.
fn hours(fields: &mut Fields<'_, '_>) -> Option<(u16, u16)> {
    let from = "When it begins, `\"HH:MM\"`; without it: all day.";
    let from = fields.get("from", from, time_of_day(false));
    let to = "When it ends; not after `from`: on the next day.";
    let to = fields.get("to", to, time_of_day(true));
    fields.condition("dependentRequired", || json!({"from": ["to"], "to": ["from"]}));
    match (fields.key("from"), fields.key("to")) {
        (None, None) => Some((0, DAY)),
        (Some(span), None) | (None, Some(span)) => {
            let help = "give both, or neither for whole days";
            fields.error(span, "`from` and `to` belong together", "one is missing", Some(help));
            None
        }
        (Some(_), Some(span)) => {
            let (from, to) = (from?, to?);
            if from == to {
                let help = "leave `from` and `to` out for whole days";
                fields.error(span, "this window has no length", "the same as `from`", Some(help));
                return None;
            }
            Some((from, to))
        }
    }
}

/// `HH:MM` as minutes of the day; `24:00` only as an end.
fn time_of_day<'a>(end: bool) -> Kind<'a, u16> {
    let most = if end { "24:00" } else { "23:59" };
    let pattern =
        if end { "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" } else { "^([01][0-9]|2[0-3]):[0-5][0-9]$" };
    Kind::new(
        move |reader, node| {
            let number = |text: &str| -> Option<u16> {
                let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| text.parse().ok()).flatten()
            };
            let parsed = reader.text(node)?.trim().split_once(':').and_then(|(hour, minute)| {
                let (hour, minute) = (number(hour)?, number(minute)?);
                let whole = minute < 60 && (hour < 24 || end && hour == 24 && minute == 0);
                whole.then_some(hour * 60 + minute)
            });
            if parsed.is_none() {
                let help = format!("write `\"HH:MM\"`, from `\"00:00\"` to `\"{most}\"`");
                reader.expected(node, "a time of day", Some(&help));
            }
            parsed
        },
        move |_| json!({"type": "string", "pattern": pattern}),
    )
}
