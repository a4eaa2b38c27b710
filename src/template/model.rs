//! The values a template can use.
//!
//! Every key is always there: what is not known is `null`, so that strict mode can tell "not known"
//! from "misspelt". The keys are a contract with people's own templates: new ones may come, none
//! changes its meaning.

pub mod digest;

use serde_json::{Map, Value, json};

use super::Input;
pub use crate::message::text::link::is_web_link;
use crate::message::text::{self, link, over, words};
use crate::message::{Decision, IncidentView, Notification};
use crate::signal::Severity;

/// The longest explaining text a template gets, in characters.
pub const MAX_WHY: usize = 2000;
/// The longest log tail a template gets, in characters.
pub const MAX_LOG: usize = 4000;
/// The longest text a template gets, in characters.
pub const MAX_TEXT: usize = 20_000;
/// The longest text of a digest.
pub const MAX_DIGEST: usize = 60_000;
/// How many incidents of a summary a template gets; `incidents_more` counts the others.
pub const MAX_INCIDENTS: usize = 100;

/// The values of a whole notification.
pub fn notification(n: &Notification) -> Value {
    listing(n, text::digest::LISTED)
}

/// The values of a whole notification; if it is a digest, with at most so many incidents in a section.
pub fn listing(n: &Notification, most: usize) -> Value {
    let mut out = envelope(n);
    let shown: Vec<Value> = if n.decision.is_summary() {
        text::root_causes_first(&n.incidents)
            .into_iter()
            .take(MAX_INCIDENTS)
            .map(|i| Value::Object(incident_values(n, i)))
            .collect()
    } else {
        Vec::new()
    };
    let total = u64::from(n.incidents_total).max(n.incidents.len() as u64);
    out.insert("incidents_more".into(), json!(total.saturating_sub(shown.len() as u64)));
    out.insert("incidents".into(), Value::Array(shown));
    let one = n.incident().map_or(Value::Null, |i| Value::Object(incident_values(n, i)));
    out.insert("incident".into(), one);
    out.insert("digest".into(), digest::values(n, most));
    Value::Object(out)
}

/// The values of one incident of a notification: its own, and the notification's under `message`.
pub fn incident(n: &Notification, i: &IncidentView) -> Value {
    let mut out = incident_values(n, i);
    out.insert("message".into(), Value::Object(envelope(n)));
    Value::Object(out)
}

/// The values for a template's input; `None` where a notification has no such part.
pub fn of(input: Input, n: &Notification) -> Option<Value> {
    match input {
        Input::Notification => Some(notification(n)),
        Input::Digest => n.digest.is_some().then(|| notification(n)),
        Input::Incident => n.incidents.first().map(|i| incident(n, i)),
    }
}

fn envelope(n: &Notification) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("cluster", json!(words::one_line(&n.cluster, 120)));
    put("receiver", json!(n.receiver));
    put("decision", json!(n.decision));
    put("reason", json!(n.reason));
    put("severity", json!(n.severity));
    put("at", json!(n.at));
    put("at_text", json!(words::moment(n.at, n.at)));
    put("date", json!(n.at.strftime("%-d %B %Y").to_string()));
    put("title", json!(words::one_line(&n.title, text::MAX_TITLE)));
    // Each list of a digest is bounded already, and what was held back stands at its end.
    let most = if n.digest.is_some() { MAX_DIGEST } else { MAX_TEXT };
    let late = n.late().map(|late| format!("Note: {late}")).unwrap_or_default();
    put("text", json!(words::join(&[&words::cut_chars(&n.text, most), &late], "\n")));
    put("late", json!(n.late()));
    put("headline", json!(over::without_state(n.decision, &words::one_line(&n.title, text::MAX_TITLE))));
    // The subject of all mails about an incident: it must not change.
    let first = n.incident().and_then(|i| i.first.as_ref());
    let (title, severity) = first.map_or((&*n.title, n.severity), |first| (&*first.title, first.severity));
    let first_state = if first.is_some() { severity.as_str() } else { state(n.decision, n.severity) };
    put("is_reply", json!(first.is_some()));
    put("first_state", json!(first_state));
    put("first_title", json!(words::one_line(title, text::MAX_TITLE)));
    put("seq", json!(n.seq));
    put("is_end", json!(n.is_end()));
    put("is_summary", json!(n.decision.is_summary()));
    put("is_notice", json!(n.decision == Decision::Notice));
    put("incidents_total", json!(n.incidents_total));
    put("mark", json!(mark(n.decision, n.severity)));
    put("state", json!(state(n.decision, n.severity)));
    put("color", json!(color(n.decision, n.severity)));
    put("tint", json!(tint(n.decision, n.severity)));
    out
}

fn incident_values(n: &Notification, i: &IncidentView) -> Map<String, Value> {
    // In a summary each incident stands for itself.
    let decision = match n.decision {
        d if !d.is_summary() => d,
        _ if i.ended_at.is_some() => Decision::Resolved,
        _ => Decision::First,
    };
    let facts = text::facts("", decision, n.reason, i, n.at);
    let end = i.ended_at.unwrap_or(i.last_seen);
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("id", json!(i.id));
    put("rule", json!(i.rule));
    put("cause", json!(i.cause));
    put("severity", json!(i.severity));
    put("was", json!(i.was));
    put("namespace", json!(i.namespace));
    put("team", json!(i.team));
    put("workload", json!(i.workload));
    put("container", json!(i.container));
    put("node", json!(i.node));
    put("image", json!(i.image));
    put("member_kind", json!(i.member_kind));
    put("members", json!(i.members));
    put("members_total", json!(i.members_total));
    put("replicas", json!(i.replicas));
    put("occurrences", json!(i.occurrences));
    put("occurrences_new", json!(i.occurrences_new));
    put("restarts", json!(i.restarts));
    put("since", json!(i.since));
    put("since_at_least", json!(i.since_at_least));
    put("last_seen", json!(i.last_seen));
    put("ended_at", json!(i.ended_at));
    put("gone", json!(i.gone));
    put("seconds", json!(words::seconds_between(i.since, end)));
    put("reason", json!(i.reason_raw));
    put("why", json!(words::cut_chars(&i.why, MAX_WHY)));
    put("exit", json!(i.exit));
    put("deeper", json!(i.deeper));
    put("flaps", json!(i.flaps));
    put("pods_on_node", json!(i.pods_on_node));
    put("runbook", json!(i.runbook));
    let runbook = i.runbook.as_deref().filter(|url| is_web_link(url));
    put("runbook_url", json!(runbook));
    put("runbook_host", json!(runbook.and_then(link::host)));
    put("command", json!(if decision.is_end() { "" } else { &*i.command }));
    put("silence", json!(i.silence.as_deref().filter(|_| !decision.is_end())));
    let log = i.log_tail.as_deref().filter(|_| text::tells_log(decision));
    put("log_tail", json!(log.map(|t| words::keep_end(t, MAX_LOG))));
    put("log_label", json!(log.map(|_| text::log_label(i))));
    put("held", json!(i.held));
    put("title", json!(text::incident_title(i)));
    put("line", json!(text::summary_line(i, n.at)));
    put("is_over", json!(i.ended_at.is_some()));
    put("mark", json!(mark(decision, i.severity)));
    put("color", json!(color(decision, i.severity)));
    put("tint", json!(tint(decision, i.severity)));
    put("what", json!(facts.what));
    put("how_much", json!(facts.how_much));
    put("when", json!(facts.when));
    put("short_why", json!(facts.short_why));
    put("place", json!(facts.place));
    put("objects", json!(facts.objects));
    put("held_text", json!(facts.held));
    put("note", json!(facts.note));
    out
}

/// The one sign in front of a title.
pub const fn mark(decision: Decision, severity: Severity) -> &'static str {
    match (decision, severity) {
        // A notice is info when it takes an earlier one back.
        (Decision::Resolved, _) | (Decision::Notice, Severity::Info) => "✅",
        (Decision::Expired, _) => "❔",
        (Decision::Digest, _) => "📋",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning) => "🟠",
        (_, Severity::Info) => "🔵",
    }
}

/// The state in one word.
pub const fn state(decision: Decision, severity: Severity) -> &'static str {
    match (decision, severity) {
        (Decision::Resolved, _) | (Decision::Notice, Severity::Info) => "resolved",
        (Decision::Expired, _) => "state unknown",
        (Decision::Digest, _) => "digest",
        (_, severity) => severity.as_str(),
    }
}

/// A colour that carries white text (contrast at least 4.5 : 1), as `#rrggbb`.
pub const fn color(decision: Decision, severity: Severity) -> &'static str {
    match (decision, severity) {
        (Decision::Resolved, _) | (Decision::Notice, Severity::Info) => "#1a7f37",
        (Decision::Expired, _) => "#57606a",
        (Decision::Digest, _) | (_, Severity::Info) => "#0a58b0",
        (_, Severity::Critical) => "#b3261e",
        (_, Severity::Warning) => "#a85a00",
    }
}

/// The same colour as a background for dark text.
pub const fn tint(decision: Decision, severity: Severity) -> &'static str {
    match (decision, severity) {
        (Decision::Resolved, _) | (Decision::Notice, Severity::Info) => "#eaf6ed",
        (Decision::Expired, _) => "#f0f2f4",
        (Decision::Digest, _) | (_, Severity::Info) => "#e9f1fa",
        (_, Severity::Critical) => "#fdeeed",
        (_, Severity::Warning) => "#fff4e5",
    }
}
