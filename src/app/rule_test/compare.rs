//! Expected and told messages, side by side.

use std::time::Duration;

use jiff::Timestamp;

use crate::app::pipeline::Message;
use crate::clock;
use crate::config::Expect;
use crate::message::IncidentView;

/// A line of the comparison; numbers are places in the two lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Same {
        expect: usize,
        told: usize,
    },
    /// Told, but not as expected.
    Differs {
        expect: usize,
        told: usize,
        /// What is not as expected.
        fields: Vec<&'static str>,
    },
    Missing(usize),
    /// Told, but not expected.
    Extra(usize),
    /// Told, and not asked about.
    Other(usize),
}

impl Row {
    /// Does the test pass with it?
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Same { .. } | Self::Other(_))
    }
}

/// One thing that is expected of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// What is expected, as shown.
    pub value: String,
}

/// Everything that is expected of a message.
pub fn fields(expect: &Expect) -> Vec<Field> {
    let number = |n: u32| n.to_string();
    let mut fields: Vec<(&'static str, Option<String>)> = vec![
        ("at", expect.at.map(short)),
        ("decision", expect.decision.map(str::to_owned)),
        ("cause", expect.cause.map(|cause| cause.to_string())),
        ("severity", expect.severity.map(|severity| severity.to_string())),
        ("members", expect.members.map(number)),
        ("occurrences", expect.occurrences.map(number)),
        ("incidents", expect.incidents.map(number)),
        ("receivers", expect.receivers.as_ref().map(|names| list(names))),
    ];
    fields.extend(expect.texts.iter().map(|(name, text)| (*name, Some(text.clone()))));
    fields.into_iter().filter_map(|(name, value)| Some(Field { name, value: value? })).collect()
}

/// What a message has in place of an expected field. Of the incidents of a summary, the first.
pub fn got(message: &Message, start: Timestamp, name: &str) -> String {
    value(message, message.decided.incidents.first(), start, name)
}

fn value(message: &Message, incident: Option<&IncidentView>, start: Timestamp, name: &str) -> String {
    let decided = &message.decided;
    let text = |of: fn(&IncidentView) -> Option<&str>| incident.and_then(of).unwrap_or("-").to_owned();
    match name {
        "at" => short(clock::between(start, decided.at)),
        "decision" => decided.decision.to_string(),
        "cause" => text(|i| Some(i.cause.as_str())),
        "severity" => text(|i| Some(i.severity.as_str())),
        "rule" => text(|i| Some(&i.rule)),
        "workload" => text(|i| Some(&i.workload)),
        "namespace" => text(|i| i.namespace.as_deref()),
        "container" => text(|i| i.container.as_deref()),
        "node" => text(|i| i.node.as_deref()),
        "members" => incident.map(|i| i.members_total).unwrap_or_default().to_string(),
        "occurrences" => incident.map(|i| i.occurrences).unwrap_or_default().to_string(),
        "incidents" => decided.total.to_string(),
        "receivers" => list(&decided.receivers),
        "title" => message.title.clone(),
        "text" => message.text.clone(),
        _ => String::new(),
    }
}

/// Receivers are a set.
fn list<S: AsRef<str>>(names: &[S]) -> String {
    let mut names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    names.dedup();
    names.join(",")
}

/// The fields in which a message is not as expected. A summary is as expected when one of its
/// incidents is.
fn differences(expect: &Expect, fields: &[Field], message: &Message, start: Timestamp) -> Vec<&'static str> {
    let at = clock::between(start, message.decided.at);
    let within = expect.within.unwrap_or(Expect::WITHIN);
    let wrong = |incident: Option<&IncidentView>| -> Vec<&'static str> {
        let holds = |field: &Field| {
            let got = value(message, incident, start, field.name);
            match field.name {
                "at" => expect.at.is_none_or(|wanted| at.abs_diff(wanted) <= within),
                "title" | "text" => got.contains(&field.value),
                _ => got == field.value,
            }
        };
        fields.iter().filter(|field| !holds(field)).map(|field| field.name).collect()
    };
    let incidents = message.decided.incidents.iter().map(Some);
    incidents.map(wrong).min_by_key(Vec::len).unwrap_or_else(|| wrong(None))
}

/// What a missing or an unexpected message costs. A pair that differs in part costs less than both.
const GAP: usize = 1000;

/// Puts the two lists side by side such that as much as possible is as expected: the cheapest
/// alignment, as of two texts that are compared line by line.
pub(super) fn align(expect: &[Expect], told: &[Message], start: Timestamp, only: bool) -> Vec<Row> {
    let fields: Vec<Vec<Field>> = expect.iter().map(fields).collect();
    let pairs: Vec<Vec<Vec<&'static str>>> = expect
        .iter()
        .zip(&fields)
        .map(|(e, fields)| told.iter().map(|message| differences(e, fields, message, start)).collect())
        .collect();
    let wrong = |e: usize, t: usize| pairs.get(e).and_then(|row| row.get(t));
    let pair = |e: usize, t: usize| {
        let wrong = wrong(e, t).map_or(usize::MAX, Vec::len);
        let all = fields.get(e).map_or(0, Vec::len);
        match wrong {
            0 => 0,
            // Mostly different: two messages, not one that went wrong.
            wrong if wrong > all / 2 => 3 * GAP,
            wrong => GAP + GAP * wrong / all,
        }
    };
    // cost[e][t]: of the rest from there on.
    let mut cost = vec![vec![0_usize; told.len() + 1]; expect.len() + 1];
    let at = |cost: &[Vec<usize>], e: usize, t: usize| {
        cost.get(e).and_then(|row| row.get(t)).copied().unwrap_or(usize::MAX / 2)
    };
    for e in (0..=expect.len()).rev() {
        for t in (0..=told.len()).rev() {
            let (more_e, more_t) = (e < expect.len(), t < told.len());
            let both = if more_e && more_t { at(&cost, e + 1, t + 1) + pair(e, t) } else { usize::MAX };
            let missing = if more_e { at(&cost, e + 1, t) + GAP } else { usize::MAX };
            let extra = if more_t { at(&cost, e, t + 1) + GAP } else { usize::MAX };
            let best = both.min(missing).min(extra);
            if let Some(cell) = cost.get_mut(e).and_then(|row| row.get_mut(t)) {
                *cell = if best == usize::MAX { 0 } else { best };
            }
        }
    }
    let mut rows = Vec::new();
    let (mut e, mut t) = (0, 0);
    while e < expect.len() || t < told.len() {
        let here = at(&cost, e, t);
        let (more_e, more_t) = (e < expect.len(), t < told.len());
        if more_e && more_t && here == at(&cost, e + 1, t + 1) + pair(e, t) {
            rows.push(match wrong(e, t) {
                Some(fields) if !fields.is_empty() => {
                    Row::Differs { expect: e, told: t, fields: fields.clone() }
                }
                _ => Row::Same { expect: e, told: t },
            });
            (e, t) = (e + 1, t + 1);
        } else if more_e && here == at(&cost, e + 1, t) + GAP {
            rows.push(Row::Missing(e));
            e += 1;
        } else {
            rows.push(if only { Row::Extra(t) } else { Row::Other(t) });
            t += 1;
        }
    }
    rows
}

/// `1h30m`, `5m`, `35s`: as people write it, to the second.
pub(super) fn short(duration: Duration) -> String {
    let seconds = (duration + Duration::from_millis(500)).as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let mut text = String::new();
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
        text.push_str(&format!("{number}{unit}"));
    }
    if text.is_empty() { "0s".into() } else { text }
}
