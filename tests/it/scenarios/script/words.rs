//! Messages and notes as one line each.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kubeherald::app::pipeline::Message;
use kubeherald::engine::Note;
use kubeherald::message::Reason;

/// `+35s first crash-loop Deployment/checkout/app x4 [a b c]: why`
pub(super) fn line(message: &Message, start: Timestamp) -> String {
    let decided = &message.decided;
    let offset = short(decided.at.duration_since(start).try_into().unwrap());
    let decision = decided.decision;
    if let Some(digest) = &decided.digest {
        let name = |id: &Arc<str>| {
            let i = decided.incidents.iter().find(|i| i.id == *id).unwrap();
            format!("{} {}", i.rule, i.workload)
        };
        let mut parts = Vec::new();
        for (what, section) in
            [("new", &digest.new), ("ongoing", &digest.ongoing), ("over", &digest.resolved)]
        {
            let names: Vec<String> = section.incidents.iter().map(name).collect();
            if section.total > 0 {
                parts.push(format!("{what} {}", names.join(", ")));
            }
        }
        parts.extend(digest.held.iter().map(|held| format!("{} {}", held.reason, held.count)));
        let receivers = decided.receivers.join(" ");
        return format!("+{offset} digest to {receivers}: {}", parts.join("; "));
    }
    if decision.is_summary() {
        let list: Vec<String> =
            decided.incidents.iter().map(|i| format!("{} {}", i.rule, i.workload)).collect();
        return format!("+{offset} {decision} {}: {}", decided.total, list.join(", "));
    }
    let i = &decided.incidents[0];
    let container = i.container.as_deref().map(|c| format!("/{c}")).unwrap_or_default();
    let who = format!("{} {}{container}", i.rule, i.workload);
    if decision.is_end() {
        let lasted = i.ended_at.unwrap().duration_since(i.since).try_into().unwrap_or(Duration::ZERO);
        return format!("+{offset} {decision} {who} {} after {}", decided.reason, short(lasted));
    }
    let names: Vec<&str> = i.members.iter().map(|m| &**m).collect();
    let members = if i.members_total <= 3 { names.join(" ") } else { format!("{} of them", i.members_total) };
    let held: u32 = i.held.iter().map(|h| h.members).sum();
    let held = if held > 0 { format!(" (holds {held})") } else { String::new() };
    let mut why: String = i.why.replace('\n', " ").chars().take(70).collect();
    if !i.deeper.is_empty() {
        why = format!("{why} <- {}", i.deeper.chars().take(40).collect::<String>());
    }
    format!("+{offset} {decision} {who} x{} [{members}]{held}: {why}", i.occurrences)
}

/// `+15s silenced_by crash-loop Deployment/checkout first: load-test`
pub(super) fn held_line(note: &Note, start: Timestamp) -> Option<String> {
    let (reason, by) = (note.reason, note.detail.as_deref()?);
    let plain = by.chars().all(|c| c.is_ascii_alphanumeric());
    // An incident's id has ten characters, that of a silence of the API eight, other every day.
    let quiet = matches!(reason, Reason::SilencedBy | Reason::Muted)
        || (reason == Reason::NeverTold && !(plain && by.len() == 10));
    let by = if plain && by.len() == 8 { "api" } else { by };
    let offset = short(note.at.duration_since(start).try_into().unwrap());
    let held = note.held.map(|held| format!(" {held}")).unwrap_or_default();
    quiet.then(|| format!("+{offset} {reason} {} {}{held}: {by}", note.rule, note.workload))
}

/// `1h2m3s`
fn short(span: Duration) -> String {
    let secs = span.as_secs();
    let mut out = String::new();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        let n = if unit == 86_400 {
            secs / unit
        } else {
            secs % (unit * if unit == 3600 { 24 } else { 60 }) / unit
        };
        if n > 0 {
            out.push_str(&format!("{n}{name}"));
        }
    }
    if out.is_empty() { String::from("0s") } else { out }
}
