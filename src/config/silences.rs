//! `silences` and `mute_times`; and silences that a request to the running bot brings, read by the
//! same reader, so that what is wrong with one is said with a frame too.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::compile::matching::{self, Match, Scope};
use super::error::{At, Diagnostic, Diagnostics, Level};
use super::raw::{Node, Source, Span, Value};
use super::read::{Map, Reader};
use super::{NAME_HELP, is_name};
use crate::clock;
use crate::rule::calendar::{DAY, WEEKDAYS, Weekly};
use crate::rule::silence::{Filter, MuteTime, Origin, Silence, short_id};

/// At most this many silences, and mute times: each is asked before anything is told.
pub const MAX: usize = 1000;
/// The longest comment, in characters.
pub const MAX_COMMENT: usize = 500;
/// The longest name of an author, in characters.
pub const MAX_BY: usize = 100;

/// The rules that are named are added to `named`, to be looked up later.
pub fn silences(reader: &mut Reader, node: &Node, named: &mut Vec<(String, At)>) -> Option<Vec<Silence>> {
    let items = reader.list(node, "a list of silences")?;
    let mut silences = Vec::new();
    let mut names = HashMap::new();
    check_number(reader, node, items.len(), "silences");
    let now = reader.now();
    for item in items.iter().take(MAX) {
        let Some(mut map) = reader.map(item, "a silence") else { continue };
        let name = map.get(reader, "name", |r, n| name(r, n, &mut names));
        let found = conditions(reader, &mut map, false);
        let from = map.get(reader, "from", moment);
        let until = map.require(reader, "until", moment);
        let (comment, by) = who(reader, &mut map);
        if let (Some(until), Some(span)) = (until, map.key_span("until")) {
            check_order(reader, from, until, span);
            if until <= now {
                reader.warn(span, "this silence is over", "", Some("remove it, or set another `until`"));
            }
        }
        map.finish(reader, "a silence");
        if let (Some((found, written)), Some(until)) = (found, until) {
            let from = from.unwrap_or(Timestamp::MIN);
            let parts =
                [name.as_deref().unwrap_or_default(), &written, &from.to_string(), &until.to_string()];
            let id = short_id(&parts);
            named.extend(found.rules);
            let filter = Filter::new(found.matcher, found.severity, found.rule);
            let origin = Origin::Config;
            silences.push(Silence { id, name, filter, written, from, until, comment, by, origin });
        }
    }
    Some(silences)
}

/// The rules that are named are added to `named`, to be looked up later.
pub fn mute_times(reader: &mut Reader, node: &Node, named: &mut Vec<(String, At)>) -> Option<Vec<MuteTime>> {
    let items = reader.list(node, "a list of mute times")?;
    let mut mute_times = Vec::new();
    let mut names = HashMap::new();
    check_number(reader, node, items.len(), "mute times");
    for item in items.iter().take(MAX) {
        let Some(mut map) = reader.map(item, "a mute time") else { continue };
        let name = map.require(reader, "name", |r, n| name(r, n, &mut names));
        let found = conditions(reader, &mut map, true);
        let days = map.get(reader, "weekdays", weekdays);
        let hours = hours(reader, &mut map);
        let zone = map.get(reader, "timezone", zone);
        if !["weekdays", "from", "to"].iter().any(|key| map.has(key)) {
            let help = "give `weekdays`, or `from` and `to`; `silences` are for a single span of time";
            reader.error(map.head(), "this would mute all the time", "no hours and no days", Some(help));
        }
        map.finish(reader, "a mute time");
        if let (Some(name), Some((found, written)), Some((from, to))) = (name, found, hours) {
            named.extend(found.rules);
            let filter = Filter::new(found.matcher, found.severity, found.rule);
            let (timezone, zone) = zone.unwrap_or_else(|| (Arc::from("UTC"), TimeZone::UTC));
            let when = Weekly { days: days.unwrap_or([true; 7]), from, to, zone };
            mute_times.push(MuteTime { name, filter, written, when, timezone });
        }
    }
    Some(mute_times)
}

/// A silence as a request asks for it: JSON with `match`, `for` or `until`, and if wanted `from`,
/// `comment` and `by`. `is_rule` knows the names of rules.
pub fn from_request(
    body: &str,
    now: Timestamp,
    is_rule: &dyn Fn(&str) -> bool,
) -> Result<Silence, Diagnostics> {
    let (mut reader, root) = json(body)?;
    let silence = request(&mut reader, &root, now, is_rule);
    let found = reader.into_found();
    silence.filter(|_| !found.has_errors()).ok_or(found)
}

fn request(
    reader: &mut Reader,
    root: &Node,
    now: Timestamp,
    is_rule: &dyn Fn(&str) -> bool,
) -> Option<Silence> {
    let mut map = reader.map(root, "a silence: `{\"match\": {…}, \"for\": \"2h\"}`")?;
    let found = conditions(reader, &mut map, false);
    for (name, at) in found.iter().flat_map(|(found, _)| &found.rules) {
        if !is_rule(name) {
            reader.error(at.span, format!("there is no rule named `{name}`"), "", None);
        }
    }
    let from = given(&mut map, "from").map(|node| moment(reader, node));
    let span = given(&mut map, "for").map(|node| reader.span_of_time(node));
    let until = given(&mut map, "until").map(|node| moment(reader, node));
    let (comment, by) = who(reader, &mut map);
    let begins = from.flatten().unwrap_or(now).max(now);
    let ends = match (span, until) {
        (Some(span), None) => span.map(|span| clock::after(begins, span)),
        (None, Some(until)) => until,
        (span, _) => {
            let label = if span.is_some() { "both are given" } else { "neither is given" };
            reader.error(map.head(), "a silence has either `for` or `until`", label, None);
            None
        }
    };
    if let (Some(until), Some(place)) = (ends, map.key_span("until").or_else(|| map.key_span("for"))) {
        if until <= now {
            reader.error(place, "this silence would be over already", &format!("it is {now:.0}"), None);
        } else {
            check_order(reader, from.flatten(), until, place);
        }
    }
    map.finish(reader, "a silence");
    let (found, written) = found?;
    let until = ends?;
    let id = short_id(&[&written, &now.to_string(), &begins.to_string(), &until.to_string(), &comment, &by]);
    let filter = Filter::new(found.matcher, found.severity, found.rule);
    Some(Silence { id, name: None, filter, written, from: begins, until, comment, by, origin: Origin::Api })
}

/// Compiles a `match` that was accepted before and kept as JSON.
pub fn restored(written: &str) -> Result<Filter, Diagnostics> {
    let (mut reader, root) = json(written)?;
    let found = matching::read(&mut reader, &root, Scope::Silence);
    let errors = reader.into_found();
    let found = found.filter(|_| !errors.has_errors()).ok_or(errors)?;
    Ok(Filter::new(found.matcher, found.severity, found.rule))
}

/// JSON, laid out so that each key has a line of its own to be shown.
fn json(text: &str) -> Result<(Reader, Node), Diagnostics> {
    let path = Path::new("request");
    let wrong = |message: String| {
        let mut found = Diagnostics::default();
        found.push(Diagnostic::file(Level::Error, path, message));
        found
    };
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| wrong(format!("this is not JSON: {error}")))?;
    let laid_out = serde_json::to_string_pretty(&value).map_err(|error| wrong(error.to_string()))?;
    let (source, root, problems) = Source::parse(path, &laid_out);
    let source = Arc::new(source);
    let mut found = Diagnostics::default();
    for problem in problems {
        found.error(&At { source: Arc::clone(&source), span: problem.span }, problem.message);
    }
    match root {
        // Nothing is past here: who reads a request says what that means for it.
        Some(root) if !found.has_errors() => {
            Ok((Reader::new(source, Diagnostics::default(), Timestamp::MIN), root))
        }
        Some(_) => Err(found),
        None => Err(wrong("there is nothing in it".into())),
    }
}

fn check_number(reader: &mut Reader, node: &Node, number: usize, what: &str) {
    if number > MAX {
        reader.error(node.span, format!("more than {MAX} {what}"), "", Some("match more with each"));
    }
}

/// A key of a request; `null` is as good as none.
fn given<'n>(map: &mut Map<'n>, key: &'static str) -> Option<&'n Node> {
    map.take(key).filter(|node| !matches!(node.value, Value::Null))
}

fn name(reader: &mut Reader, node: &Node, seen: &mut HashMap<String, usize>) -> Option<Arc<str>> {
    let text = reader.text(node)?;
    if !is_name(text) {
        let shown = reader.show(node);
        reader.error(node.span, format!("{shown} cannot be a name"), "", Some(NAME_HELP));
        return None;
    }
    let line = reader.source().place(node.span).line;
    if let Some(first) = seen.get(text) {
        let help = format!("the other is in line {first}");
        reader.error(node.span, format!("`{text}` is named twice"), "", Some(&help));
        return None;
    }
    seen.insert(text.to_owned(), line);
    Some(Arc::from(text))
}

/// `match`, compiled and as it was written.
fn conditions(reader: &mut Reader, map: &mut Map<'_>, optional: bool) -> Option<(Match, Arc<str>)> {
    let Some(node) = map.take("match") else {
        if optional {
            return Some((Match::default(), Arc::from("{}")));
        }
        reader.error(map.head(), "`match` is missing", "in this mapping", None);
        return None;
    };
    let found = matching::read(reader, node, Scope::Silence)?;
    if found.is_empty && !optional {
        let help = "if that is meant: `match: {severity: [info, warning, critical]}`";
        reader.error(node.span, "this would silence everything", "no condition", Some(help));
        return None;
    }
    Some((found, Arc::from(as_json(node).to_string())))
}

fn who(reader: &mut Reader, map: &mut Map<'_>) -> (Arc<str>, Arc<str>) {
    let mut words = |key, most: usize| {
        let text = map.get(reader, key, |reader, node| match &node.value {
            Value::Null => None,
            Value::Text { text, .. } if text.chars().count() > most => {
                reader.error(node.span, format!("longer than {most} characters"), "", None);
                None
            }
            Value::Text { text, .. } => Some(crate::signal::text::clean(text)),
            _ => {
                reader.expected(node, "a text", None);
                None
            }
        });
        text.unwrap_or_else(|| Arc::from(""))
    };
    (words("comment", MAX_COMMENT), words("by", MAX_BY))
}

/// A moment: RFC 3339.
fn moment(reader: &mut Reader, node: &Node) -> Option<Timestamp> {
    let text = reader.text(node)?;
    if let Ok(moment) = text.trim().parse() {
        return Some(moment);
    }
    let help = match text.trim().parse::<DateTime>() {
        Ok(local) => format!("say where that is: `{local}Z` is UTC, `{local}+01:00` an hour ahead of it"),
        Err(_) => "write `2026-11-21T18:00:00Z`, or with an offset: `2026-11-21T19:00:00+01:00`".into(),
    };
    reader.expected(node, "a moment (RFC 3339)", Some(&help));
    None
}

fn check_order(reader: &mut Reader, from: Option<Timestamp>, until: Timestamp, place: Span) {
    if from.is_some_and(|from| until <= from) {
        reader.error(place, "this silence ends before it begins", "not after `from`", None);
    }
}

/// `mon`, `[mon, wed]`, `mon-fri`, `[sat-mon, wed]`
fn weekdays(reader: &mut Reader, node: &Node) -> Option<[bool; 7]> {
    const HELP: &str =
        "the days are `mon`, `tue`, `wed`, `thu`, `fri`, `sat` and `sun`; `mon-fri` is a range";
    let day = |text: &str| WEEKDAYS.iter().position(|(name, _)| *name == text.trim());
    let mut days = [false; 7];
    let mut right = true;
    for item in reader.one_or_more(node) {
        let text = reader.text(item)?;
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let Some((mut at, to)) = day(from).zip(day(to)) else {
            reader.expected(item, "a day of the week", Some(HELP));
            right = false;
            continue;
        };
        loop {
            if let Some(day) = days.get_mut(at) {
                *day = true;
            }
            if at == to {
                break;
            }
            at = (at + 1) % days.len();
        }
    }
    (right && days.contains(&true)).then_some(days)
}

/// `from: "22:00", to: "07:00"`; without both: the whole day.
fn hours(reader: &mut Reader, map: &mut Map<'_>) -> Option<(u16, u16)> {
    let from = map.get(reader, "from", |r, n| minute(r, n, false));
    let to = map.get(reader, "to", |r, n| minute(r, n, true));
    match (map.key_span("from"), map.key_span("to")) {
        (None, None) => Some((0, DAY)),
        (Some(span), None) | (None, Some(span)) => {
            let help = "give both, or neither for whole days";
            reader.error(span, "`from` and `to` belong together", "one is missing", Some(help));
            None
        }
        (Some(_), Some(span)) => {
            let (from, to) = (from?, to?);
            if from == to {
                let help = "leave `from` and `to` out for whole days";
                reader.error(span, "this window has no length", "the same as `from`", Some(help));
                return None;
            }
            Some((from, to))
        }
    }
}

/// `HH:MM`; `24:00` only as an end.
fn minute(reader: &mut Reader, node: &Node, end: bool) -> Option<u16> {
    let text = reader.text(node)?;
    let number = |text: &str| -> Option<u16> {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    let parsed = text.trim().split_once(':').and_then(|(hour, minute)| {
        let (hour, minute) = (number(hour)?, number(minute)?);
        let whole = minute < 60 && (hour < 24 || end && hour == 24 && minute == 0);
        whole.then_some(hour * 60 + minute)
    });
    if parsed.is_none() {
        let what = "a time of day";
        let most = if end { "24:00" } else { "23:59" };
        reader.expected(node, what, Some(&format!("write `\"HH:MM\"`, from `\"00:00\"` to `\"{most}\"`")));
    }
    parsed
}

fn zone(reader: &mut Reader, node: &Node) -> Option<(Arc<str>, TimeZone)> {
    let text = reader.text(node)?;
    if let Ok(zone) = TimeZone::get(text) {
        return Some((Arc::from(text), zone));
    }
    let help = "write an IANA name such as `Europe/Berlin` or `UTC`";
    reader.expected(node, "a time zone", Some(help));
    None
}

/// A part of a file as JSON. Numbers stay numbers where JSON would write them the same.
fn as_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Text { text, plain: true } => match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => number.into(),
            _ => text.as_str().into(),
        },
        Value::Text { text, .. } => text.as_str().into(),
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Map(entries) => entries
            .iter()
            .filter_map(|(key, value)| match &key.value {
                Value::Text { text, .. } => Some((text.clone(), as_json(value))),
                _ => None,
            })
            .collect(),
    }
}
