//! The values of a digest. Bars come as widths in percent, so that a template only has to draw.

use serde_json::{Map, Value, json};

use crate::message::text::digest::{self as words, Local};
use crate::message::text::facts;
use crate::message::text::words::join;
use crate::message::{Decision, Digest, Group, IncidentView, Notification, Reason};
use crate::signal::Severity;
use crate::template::model;

/// Steps of the columns that show when problems began.
const LEVELS: u32 = 5;

const NEW: &str = "#b3261e";
const ONGOING: &str = "#c77700";
const RESOLVED: &str = "#1a7f37";

/// The values under `digest`, with at most `listed` incidents in each section; `null` for what is none.
pub fn values(n: &Notification, listed: usize) -> Value {
    let Some(digest) = n.digest.as_deref() else { return Value::Null };
    let local = Local::of(digest);
    json!({
        "headline": words::headline_of(digest, &n.incidents),
        "span": words::span(digest),
        "span_more": words::span_more(digest),
        "head": words::head(&n.cluster, digest),
        "pictures": words::pictures(digest),
        "lists": words::lists(digest, &n.incidents),
        "remark": words::remark(digest),
        "since": digest.since,
        "until": digest.until,
        "due": digest.due,
        "missed": digest.missed,
        "timezone": digest.timezone,
        "last": digest.last,
        "until_text": local.day_and_time(digest.until),
        "total": digest.total(),
        "open": digest.open(),
        "new": digest.new.total,
        "ongoing": digest.ongoing.total,
        "resolved": digest.resolved.total,
        "new_color": NEW,
        "ongoing_color": ONGOING,
        "resolved_color": RESOLVED,
        "severities": severities(digest),
        "groups": groups(digest),
        "groups_more": digest.groups_total.saturating_sub(count(digest.groups.len().min(words::GROUPS))),
        "causes": causes(digest),
        "begun": begun(digest, &local),
        "sections": sections(n, digest, &local, listed),
        "held": held(digest),
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn percent(n: u32, most: u32) -> u32 {
    words::share(n, most, 100)
}

fn severities(digest: &Digest) -> Vec<Value> {
    let most = digest.severities.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let bar = |(severity, n): &(Severity, u32)| {
        let width = percent(*n, most);
        json!({
            "name": severity, "count": n, "width": width, "rest": 100 - width,
            "color": model::color(Decision::First, *severity),
        })
    };
    digest.severities.iter().map(bar).collect()
}

fn causes(digest: &Digest) -> Vec<Value> {
    let all = words::causes(digest);
    let most = all.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let bar = |(name, n): (String, u32)| {
        let width = percent(n, most);
        json!({ "name": name, "count": n, "width": width, "rest": 100 - width })
    };
    all.into_iter().map(bar).collect()
}

fn groups(digest: &Digest) -> Vec<Value> {
    let most = digest.groups.iter().take(words::GROUPS).map(Group::total).max().unwrap_or(0);
    let bar = |g: &Group| {
        let mut left = percent(g.total(), most);
        let rest = 100 - left;
        // Each is seen, and together they are as long as the whole.
        let mut part = |n: u32, others: u32| {
            let width = if others == 0 { left } else { (left * n).div_ceil(n + others).min(left) };
            let width = if n == 0 { 0 } else { width };
            left -= width;
            width
        };
        let (new, ongoing) = (part(g.new, g.ongoing + g.resolved), part(g.ongoing, g.resolved));
        let resolved = part(g.resolved, 0);
        json!({
            "name": words::place(g.namespace.as_deref(), g.team.as_deref()),
            "namespace": g.namespace,
            "team": g.team,
            "worst": g.worst,
            "new": g.new,
            "ongoing": g.ongoing,
            "resolved": g.resolved,
            "total": g.total(),
            "counts": words::counts(g),
            "new_width": new,
            "ongoing_width": ongoing,
            "resolved_width": resolved,
            "rest": rest,
        })
    };
    digest.groups.iter().take(words::GROUPS).map(bar).collect()
}

/// Columns as rows of cells, from the top: tables grow downwards.
fn begun(digest: &Digest, local: &Local) -> Value {
    let Some(most) = digest.begun.iter().max_by_key(|b| (b.count, b.from)).filter(|b| b.count > 0) else {
        return Value::Null;
    };
    let by_hour = words::by_hour(digest);
    let levels: Vec<u32> = digest.begun.iter().map(|b| words::share(b.count, most.count, LEVELS)).collect();
    let row = |level: u32| levels.iter().map(|l| json!({ "on": *l >= level })).collect::<Vec<_>>();
    let column = |b: &crate::message::SpanCount| json!({ "from": b.from, "count": b.count, "label": local.short(b.from, by_hour) });
    let first = digest.begun.first().map(|b| local.moment(b.from));
    json!({
        "each": if by_hour { "hour" } else { "day" },
        "rows": (1..=LEVELS).rev().map(|level| json!({ "cells": row(level) })).collect::<Vec<_>>(),
        "columns": digest.begun.iter().map(column).collect::<Vec<_>>(),
        "from": first,
        "until": local.moment(digest.until),
        "most": most.count,
        "most_at": local.moment(most.from),
    })
}

fn sections(n: &Notification, digest: &Digest, local: &Local, most: usize) -> Vec<Value> {
    let mut out = Vec::new();
    for (name, section, listed) in words::sections(digest, &n.incidents) {
        if section.total == 0 {
            continue;
        }
        let (title, color) = match name {
            "new" => ("New", NEW),
            "ongoing" => ("Ongoing", ONGOING),
            _ => ("Resolved", RESOLVED),
        };
        let mut groups: Vec<(String, Vec<Value>)> = Vec::new();
        for i in listed.iter().take(most) {
            let place = words::place(i.namespace.as_deref(), i.team.as_deref());
            let values = Value::Object(incident(n, digest, i, local));
            match groups.last_mut().filter(|(name, _)| *name == place) {
                Some((_, incidents)) => incidents.push(values),
                None => groups.push((place, vec![values])),
            }
        }
        let groups: Vec<Value> = groups
            .into_iter()
            .map(|(name, incidents)| json!({ "name": name, "incidents": incidents }))
            .collect();
        out.push(json!({
            "name": name,
            "title": title,
            "color": color,
            "total": section.total,
            "more": section.total.saturating_sub(count(listed.len().min(most))),
            "groups": groups,
        }));
    }
    out
}

/// The values of one incident of a digest, and the notification's under `message`.
pub fn entry(n: &Notification, digest: &Digest, i: &IncidentView) -> Value {
    let mut out = incident(n, digest, i, &Local::of(digest));
    out.insert("message".into(), Value::Object(model::envelope(n)));
    Value::Object(out)
}

/// The values of any incident, with what a digest says otherwise.
fn incident(n: &Notification, digest: &Digest, i: &IncidentView, local: &Local) -> Map<String, Value> {
    let mut out = model::incident_values(n, i);
    let how_much = facts("", Decision::First, Reason::Schedule, i, digest.until).how_much;
    let state = words::state(digest, i);
    let title = words::entry_title(digest, i);
    let (when, holds) = (local.when(i), words::entry_holds(i));
    let unknown = if state == "state unknown" { state } else { "" };
    out.insert("line".into(), json!(join(&[&title, &how_much, &holds, &when, unknown], ", ")));
    out.insert("short_why".into(), json!(words::entry_why(i, &title)));
    out.insert("title".into(), json!(title));
    out.insert("held_text".into(), json!(holds));
    out.insert("when".into(), json!(when));
    out.insert("how_much".into(), json!(how_much));
    out.insert("state".into(), json!(if state.is_empty() { "resolved" } else { state }));
    out
}

fn held(digest: &Digest) -> Vec<Value> {
    let line = |held: &crate::message::HeldBack| {
        json!({
            "reason": held.reason,
            "count": held.count,
            "words": words::held_why(held),
            "by": held.by,
            "workloads": words::held_workloads(held),
        })
    };
    digest.held.iter().map(line).collect()
}
