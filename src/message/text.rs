//! Plain text of messages: titles, the text body, and the [`Facts`] that every format is built from.
//!
//! A message answers, in this order: what, how much, since when, why, where, what next. Everything
//! here is pure; times are passed in. Text that came from the cluster stays data: it is kept on its
//! line and cut, and each format escapes it for its own medium.

pub mod digest;
pub mod link;
pub mod numbers;
pub mod over;
pub mod title;
pub mod words;

use std::cmp::Reverse;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::{Decision, IncidentView, Reason};
use crate::signal::{Cause, Severity};
pub use title::{short as short_why, why as title_why};
use words::{join, one_line, plural};

/// The longest title, in characters.
pub const MAX_TITLE: usize = 300;
/// How many member names a message shows; the rest is counted.
const SHOWN_MEMBERS: usize = 5;
/// How many held-back groups a message shows; the rest is counted.
const SHOWN_HELD: usize = 5;
/// How many incidents the text of a summary lists; the rest is counted.
pub const SHOWN_INCIDENTS: usize = 200;
/// The longest line that says why, in characters: with cause and workload before it a title still fits a
/// phone's notification.
const MAX_SHORT_WHY: usize = 120;
/// An explaining text of no more bytes needs no line above it.
const SHORT_TEXT: usize = 200;
/// What is said of a container that crashes in consequence of what an incident is about.
pub const LOOPING: &str = "crash-looping";
/// The longest single name (workload, node, image, …) in a message, in characters. Kubernetes names
/// end at 253 (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).
const MAX_NAME: usize = 260;

/// What a message says about one incident, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// `CrashLoopBackOff of Deployment/checkout in shop, cluster prod-eu-1`
    pub what: String,
    /// `3 of 3 pods, 14 restarts`
    pub how_much: String,
    /// `since 08:06:24 UTC (4 min)`, `at least since …`, or the whole span of what has ended.
    pub when: String,
    /// The shortest cause known: `OOM-killed at its 20Mi limit`, `exit code 3`; may be empty.
    pub short_why: String,
    /// The explaining text, several lines, hostile; may be empty.
    pub why: String,
    /// `container app, node worker-2, image registry/checkout:1.2`; may be empty.
    pub place: String,
    /// The names of the objects; empty where the workload is the only one.
    pub objects: String,
    /// What it holds back; may be empty.
    pub held: String,
    /// Why this is said now, where that is not plain: `worse: critical now`; may be empty.
    pub note: String,
}

/// Says an incident in words.
pub fn facts(cluster: &str, decision: Decision, reason: Reason, i: &IncidentView, now: Timestamp) -> Facts {
    let when = if decision.is_end() { span(i, now) } else { since(i, now) };
    let cluster = if cluster.is_empty() { String::new() } else { format!("cluster {}", name(cluster)) };
    Facts {
        what: join(&[&format!("{} of {}", i.cause, subject(i)), &cluster], ", "),
        how_much: numbers::how_much(decision, i),
        when,
        short_why: Some(short_why(i)).filter(|short| !says_it_too(i, short)).unwrap_or_default(),
        why: i.why.to_string(),
        place: place(i),
        objects: member_names(i),
        held: held(i),
        note: note(decision, reason, i),
    }
}

/// `since 08:06:24 UTC (4 min)`
fn since(i: &IncidentView, now: Timestamp) -> String {
    let least = if i.since_at_least { "at least " } else { "" };
    format!("{least}{}", words::since(i.since, now))
}

/// `from 08:06:24 UTC to 08:11:32 UTC (5m 8s)`
fn span(i: &IncidentView, now: Timestamp) -> String {
    let end = i.ended_at.unwrap_or(i.last_seen);
    let earlier = if i.since_at_least { " or earlier" } else { "" };
    let lasted = words::duration(words::seconds_between(i.since, end));
    format!("from {}{earlier} to {} ({lasted})", words::moment(i.since, now), words::moment(end, now))
}

/// Does a container end again and again without an error?
pub fn exits_well(i: &IncidentView) -> bool {
    &*i.exit == "exit code 0" && i.deeper.is_empty()
}

fn name(text: &str) -> String {
    one_line(text, MAX_NAME)
}

fn subject(i: &IncidentView) -> String {
    match &i.namespace {
        // A namespace is not in itself.
        Some(ns) if i.workload.kind() == "Namespace" && i.workload.name() == &**ns => name(&i.workload),
        Some(ns) => format!("{} in {}", name(&i.workload), name(ns)),
        None => name(&i.workload),
    }
}

/// `3 of 12 pods`; for a node how many pods run on it; empty where the workload is the one object.
pub fn extent(i: &IncidentView) -> String {
    if &*i.member_kind == "Node" && i.members_total <= 1 {
        return match i.pods_on_node {
            Some(0) => "no pods on it".into(),
            Some(n) => format!("{} on it", words::objects(n, "Pod")),
            None => String::new(),
        };
    }
    match (i.members_total, i.replicas) {
        (0, _) | (1, None) => String::new(),
        (n, Some(of)) if of >= n => format!("{n} of {}", words::objects(of, &i.member_kind)),
        // A rollout's surge: more objects than the workload wants.
        (n, Some(of)) => format!("{} ({of} wanted)", words::objects(n, &i.member_kind)),
        (n, None) => words::objects(n, &i.member_kind),
    }
}

/// Is the explaining text short enough to be read as a whole, and the line above it a part of it?
fn says_it_too(i: &IncidentView, short: &str) -> bool {
    let error = short.split(" (volume ").next().unwrap_or(short);
    i.why.len() <= SHORT_TEXT && i.why.contains(error)
}

/// The process that a kubelet's `SystemOOM` names: "System OOM encountered, victim process: java, pid: 4711".
/// The kernel cuts process names to 15 bytes; they may hold any character, a comma as well.
pub fn oom_victim(why: &str) -> Option<&str> {
    let named = why.lines().next()?.split_once("victim process: ")?.1;
    let name = named.rsplit_once(", pid: ").map_or(named, |(name, _)| name).trim();
    (!name.is_empty()).then_some(name)
}

fn place(i: &IncidentView) -> String {
    let part = |label: &str, value: &Option<std::sync::Arc<str>>| {
        value.as_deref().filter(|v| !v.is_empty()).map(|v| format!("{label} {}", name(v))).unwrap_or_default()
    };
    let node = if i.workload.kind() == "Node" { String::new() } else { part("node", &i.node) };
    join(&[&part("container", &i.container), &node, &part("image", &i.image)], ", ")
}

fn member_names(i: &IncidentView) -> String {
    let own = i.workload.name();
    match i.members.as_slice() {
        [] => return String::new(),
        [one] if &**one == own => return String::new(),
        _ => {}
    }
    let total = usize::try_from(i.members_total).unwrap_or(usize::MAX).max(i.members.len());
    let all_gone = i.members.iter().all(|member| i.gone.contains(member));
    let shown: Vec<String> = i
        .members
        .iter()
        .take(SHOWN_MEMBERS)
        .map(|member| match !all_gone && i.gone.contains(member) {
            true => format!("{member} (gone)"),
            false => member.to_string(),
        })
        .collect();
    let names = words::list(shown.iter().map(String::as_str), SHOWN_MEMBERS, total);
    match (all_gone, i.members.len()) {
        (false, _) => names,
        (true, 1) => format!("{names} (gone)"),
        (true, _) => format!("{names}, all gone"),
    }
}

fn held(i: &IncidentView) -> String {
    if i.held.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = i
        .held
        .iter()
        .take(SHOWN_HELD)
        .map(|h| {
            let place = h.namespace.as_deref().map(|ns| format!(" in {}", name(ns))).unwrap_or_default();
            format!("{} of {}{place} ({})", h.cause, name(&h.workload), h.members)
        })
        .collect();
    let objects: u64 = i.held.iter().map(|h| u64::from(h.members)).sum();
    let names = words::list(lines.iter().map(String::as_str), SHOWN_HELD, i.held.len());
    format!("{} on {}: {names}", plural(i.held.len() as u64, "problem"), plural(objects, "object"))
}

fn note(decision: Decision, reason: Reason, i: &IncidentView) -> String {
    match (decision, reason) {
        (_, Reason::Escalated) => format!("more severe than before: {} now", i.severity),
        (Decision::Reopened, _) => format!("it was over and came back, {} time", words::ordinal(i.flaps + 1)),
        (Decision::Resolved, reason) => over::note(reason, i),
        (Decision::Expired, Reason::RuleRemoved) => {
            "the rules were changed and none matches it any more; the problem may still be there".into()
        }
        (Decision::Expired, Reason::OverLimit) => {
            "the limit on open incidents is reached and others took its place; the problem may still be there"
                .into()
        }
        (Decision::Expired, _) => "its state can no longer be read: check it yourself".into(),
        (_, Reason::Standing) => "it was already there at startup".into(),
        _ => String::new(),
    }
}

/// The title of an incident whose rule has no `summary`: a sentence, see [`title`](mod@title).
pub fn default_title(i: &IncidentView) -> String {
    title::sentence(i)
}

/// The incident in one line: the rule's own summary where it has one.
pub fn incident_title(i: &IncidentView) -> String {
    if i.title.trim().is_empty() { default_title(i) } else { one_line(&i.title, MAX_TITLE) }
}

/// One line, plain text, without the cluster. See [`title_for`].
pub fn title(decision: Decision, i: &IncidentView) -> String {
    title_for(decision, Reason::First, i)
}

/// One line, plain text, without the cluster; says also that something became more severe.
pub fn title_for(decision: Decision, reason: Reason, i: &IncidentView) -> String {
    let own = incident_title(i);
    let line = match decision {
        Decision::First | Decision::Standing | Decision::Storm | Decision::Digest | Decision::Notice => own,
        Decision::Grew if reason == Reason::Escalated => format!("Now {}: {own}", i.severity),
        Decision::Grew => match extent(i) {
            extent if extent.is_empty() => format!("Grew: {own}"),
            extent => format!("Grew to {extent}: {own}"),
        },
        Decision::Reminder => {
            let least = if i.since_at_least { "at least " } else { "" };
            let since = words::moment(i.since, i.last_seen);
            match numbers::more(i) {
                more if more.is_empty() => format!("Still failing since {least}{since}: {own}"),
                more => format!("Still failing since {least}{since}, {more}: {own}"),
            }
        }
        Decision::Reopened => format!("Again ({} time): {own}", words::ordinal(i.flaps + 1)),
        Decision::Resolved | Decision::Expired => over::title(decision, reason, i),
    };
    one_line(&line, MAX_TITLE)
}

/// Several lines, plain text: what, how much, since when, why, where, what next.
pub fn text(cluster: &str, decision: Decision, reason: Reason, i: &IncidentView, now: Timestamp) -> String {
    let f = facts(cluster, decision, reason, i, now);
    let mut out = String::new();
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(label);
            // Indented: no line of foreign text can pass for one of ours.
            out.push_str(&value.trim_end().replace('\n', "\n  "));
            out.push('\n');
        }
    };
    line("", &f.what);
    line("", &join(&[&f.how_much, &f.when], ", "));
    line("Note: ", &f.note);
    // What follows from the cause stands below it.
    let (first, then) = if &*i.deeper == LOOPING { (&f.why, &f.short_why) } else { (&f.short_why, &f.why) };
    line("Why: ", &join(&[first, then], "\n"));
    line("Where: ", &f.place);
    line("Objects: ", &f.objects);
    line("Holds back: ", &f.held);
    if let Some(log) = i.log_tail.as_deref().filter(|_| tells_log(decision)) {
        line(&format!("{}:\n  ", log_label(i)), log);
    }
    if !decision.is_end() {
        line("Look: ", &i.command);
        line("Silence: ", i.silence.as_deref().unwrap_or_default());
    }
    line("Runbook: ", i.runbook.as_deref().unwrap_or_default());
    out.truncate(out.trim_end().len());
    out
}

/// Is the log told in this message? It was in the first one; a medium that edits that one shows it on.
pub const fn tells_log(decision: Decision) -> bool {
    matches!(decision, Decision::First | Decision::Reopened)
}

/// What stands above the log: whose it is, where there could be doubt.
pub fn log_label(i: &IncidentView) -> String {
    match i.log_from.as_deref() {
        Some(from) => format!("Last log lines of {}", name(from)),
        None => "Last log lines".into(),
    }
}

/// Sorts root causes before what follows from them: nodes, then by severity, size and age.
pub fn root_causes_first<'a>(incidents: impl IntoIterator<Item = &'a IncidentView>) -> Vec<&'a IncidentView> {
    let mut sorted: Vec<&IncidentView> = incidents.into_iter().collect();
    sorted.sort_by_key(|i| {
        let node = matches!(
            i.cause,
            Cause::NodeNotReady | Cause::NodePressure | Cause::NodeCondition | Cause::Rebooted
        );
        (
            i.ended_at.is_some(),
            !node,
            Reverse(i.severity),
            Reverse(i.held.len()),
            Reverse(i.members_total),
            i.since,
            i.id.clone(),
        )
    });
    sorted
}

/// One line of a summary: what, how much, why and since when, or what is well again.
pub fn summary_line(i: &IncidentView, now: Timestamp) -> String {
    if i.ended_at.is_some() {
        return over::line(i);
    }
    let when = since(i, now);
    let held: u64 = i.held.iter().map(|h| u64::from(h.members)).sum();
    let held = if held == 0 { String::new() } else { format!("holds back {}", plural(held, "object")) };
    join(&[&incident_title(i), &extent(i), &held, &when], ", ")
}

/// The title of a summary. `total` counts what `incidents` may be cut from.
pub fn summary_title(decision: Decision, incidents: &[IncidentView], total: u32) -> String {
    let total = total.max(u32::try_from(incidents.len()).unwrap_or(u32::MAX));
    let over = incidents.iter().filter(|i| i.ended_at.is_some()).count() as u64;
    let head = match decision {
        _ if total == 0 => "No problems".to_owned(),
        Decision::Standing => {
            let were = if total == 1 { "was" } else { "were" };
            format!("{} {were} already open at startup", plural(total.into(), "problem"))
        }
        Decision::Storm if over == 0 => format!("{} at once", plural(total.into(), "new problem")),
        Decision::Storm if u64::from(total) <= over => format!("{} over", plural(over, "problem")),
        Decision::Storm => {
            format!("{} at once, {over} over", plural(u64::from(total) - over, "problem"))
        }
        _ => {
            let open = plural(u64::from(total).saturating_sub(over), "open problem");
            if over == 0 { format!("Digest: {open}") } else { format!("Digest: {open}, {over} over") }
        }
    };
    let critical =
        incidents.iter().filter(|i| i.ended_at.is_none() && i.severity == Severity::Critical).count();
    let critical = if critical == 0 { String::new() } else { format!("{critical} critical") };
    let first = match root_causes_first(incidents).first() {
        Some(i) if i.ended_at.is_none() && total > 1 => format!(" – first: {}", incident_title(i)),
        Some(i) if total == 1 => format!(" – {}", incident_title(i)),
        _ => String::new(),
    };
    one_line(&format!("{}{first}", join(&[&head, &critical], ", ")), MAX_TITLE)
}

/// The text of a summary: root causes first, one line an incident, a mark and a count where cut.
pub fn summary_text(
    cluster: &str,
    decision: Decision,
    incidents: &[IncidentView],
    total: u32,
    now: Timestamp,
) -> String {
    let mut out = String::new();
    if !cluster.is_empty() {
        out.push_str("cluster ");
        out.push_str(&name(cluster));
        out.push('\n');
    }
    if decision == Decision::Standing && !incidents.is_empty() {
        out.push_str("From now on you are notified when one of them changes.\n");
    }
    for i in root_causes_first(incidents).into_iter().take(SHOWN_INCIDENTS) {
        out.push_str("- ");
        if i.ended_at.is_none() {
            out.push_str(i.severity.as_str());
            out.push_str(": ");
        }
        out.push_str(&summary_line(i, now));
        out.push('\n');
    }
    let shown = incidents.len().min(SHOWN_INCIDENTS);
    let total = usize::try_from(total).unwrap_or(usize::MAX).max(incidents.len());
    if total > shown {
        // Writing to a String cannot fail.
        writeln!(out, "… and {} more", total - shown).ok();
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
pub(crate) mod tests;
