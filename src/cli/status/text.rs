//! A status for people: the most severe first, one incident in two or three lines.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::message::status::{OpenIncident, Status};
use crate::message::text::words;
use crate::signal::Severity;

/// The longest text of one entry, in characters.
const ENTRY: usize = 600;
/// So many receivers, checks and annotations are listed each.
const LISTED: usize = 20;

/// How it is to look.
pub struct Look {
    /// Columns.
    pub width: usize,
    pub color: bool,
    /// Also what another incident explains.
    pub all: bool,
    /// Options that find the bot, and those that find its store, for commands that are printed.
    pub again: String,
    pub store: String,
}

impl Look {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.color && !code.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Lines of at most the width, each begun with so many spaces.
    fn wrapped(&self, text: &str, indent: usize, code: &str, out: &mut String) -> std::fmt::Result {
        let text = words::one_line(text, ENTRY);
        let room = self.width.saturating_sub(indent).max(20);
        for line in lines(&text, room) {
            writeln!(out, "{:indent$}{}", "", self.paint(code, &line))?;
        }
        Ok(())
    }
}

/// Breaks at spaces; a word that is longer than a line is broken where it must be.
fn lines(text: &str, room: usize) -> Vec<String> {
    let mut found = vec![String::new()];
    for word in text.split(' ') {
        let chars: Vec<char> = word.chars().collect();
        for (i, piece) in chars.chunks(room).enumerate() {
            let Some(line) = found.last_mut() else { continue };
            let used = line.chars().count();
            let gap = usize::from(used > 0 && i == 0);
            if used + gap + piece.len() > room {
                found.push(piece.iter().collect());
                continue;
            }
            line.extend(std::iter::repeat_n(' ', gap).chain(piece.iter().copied()));
        }
    }
    found
}

/// The whole answer.
pub fn text(status: &Status, look: &Look) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let now = status.asked_at;
    look.wrapped(&head(status), 0, "1", &mut out)?;
    if !status.synced {
        look.wrapped("the first look at the cluster is not complete yet", 0, "", &mut out)?;
    }
    let listed = |incident: &&OpenIncident| look.all || incident.state != "held";
    for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
        let of = status.incidents.iter().filter(listed).filter(|incident| incident.severity == severity);
        let of: Vec<&OpenIncident> = of.collect();
        if of.is_empty() {
            continue;
        }
        let code = match severity {
            Severity::Critical => "1;31",
            Severity::Warning => "1;33",
            Severity::Info => "1;34",
        };
        writeln!(out, "\n{}", look.paint(code, severity.as_str()))?;
        for incident in of {
            one(incident, now, look, &mut out)?;
        }
    }
    footnotes(status, look, &mut out)?;
    troubles(status, look, &mut out)?;
    Ok(out)
}

fn head(status: &Status) -> String {
    let of_severity = [
        (status.critical, Severity::Critical),
        (status.warning, Severity::Warning),
        (status.info, Severity::Info),
    ];
    let parts: Vec<String> =
        of_severity.iter().filter(|(n, _)| *n > 0).map(|(n, of)| format!("{n} {}", of.as_str())).collect();
    let open = match status.incidents_total {
        0 => "nothing is open".to_owned(),
        n => format!("{} ({})", words::plural(n, "open incident"), parts.join(", ")),
    };
    let cluster = words::one_line(&status.cluster, 100);
    let cluster = if cluster.is_empty() { String::new() } else { format!("{cluster}: ") };
    format!("{cluster}{open} at {}", words::moment(status.asked_at, status.asked_at))
}

fn one(incident: &OpenIncident, now: Timestamp, look: &Look, out: &mut String) -> std::fmt::Result {
    // What nobody is notified of stands back.
    let code = if incident.held_back.is_some() { "2" } else { "" };
    look.wrapped(&incident.title, 2, code, out)?;
    let place = incident.namespace.as_deref().map(|ns| format!("namespace {ns}")).unwrap_or_default();
    let details = details(incident, now);
    look.wrapped(&words::join(&[&details, &place, &incident.incident], ", "), 6, "2", out)?;
    match &incident.held_back {
        Some(held) => look.wrapped(&held.line(now), 6, "36", out),
        None => Ok(()),
    }
}

/// Without the severity, which stands above.
fn details(incident: &OpenIncident, now: Timestamp) -> String {
    let all = incident.details(now);
    all.strip_prefix(incident.severity.as_str())
        .map_or(all.as_str(), |rest| rest.trim_start_matches(", "))
        .to_owned()
}

/// What is not listed, and where it is to be seen.
fn footnotes(status: &Status, look: &Look, out: &mut String) -> std::fmt::Result {
    let held = status.incidents.iter().filter(|incident| incident.state == "held").count() as u64;
    let more = status.incidents_total.saturating_sub(status.incidents.len() as u64);
    let mut notes = Vec::new();
    if held > 0 && !look.all {
        let are = if held == 1 { "is" } else { "are" };
        let what = words::plural(held, "incident");
        notes.push(format!(
            "{what} that another one explains {are} not listed: kubeherald status --all{}",
            look.again
        ));
    }
    if more > 0 {
        notes.push(format!("… and {more} more: kubeherald status --limit 500{}", look.again));
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        // A command that is broken over two lines cannot be pasted.
        writeln!(out, "{}", words::one_line(&note, ENTRY))?;
    }
    Ok(())
}

/// What keeps the bot from its work.
fn troubles(status: &Status, look: &Look, out: &mut String) -> std::fmt::Result {
    let now = status.asked_at;
    let receivers: Vec<String> = status.receivers.iter().map(|trouble| trouble.line(now)).collect();
    section("receivers", &receivers, look, out)?;
    if status.receivers.iter().any(|trouble| trouble.dead > 0) {
        writeln!(out, "      kubeherald outbox list --dead{}", look.store)?;
    }
    let checks: Vec<String> =
        status.checks.iter().map(|check| format!("{}: {}", check.check, check.detail)).collect();
    section("the bot", &checks, look, out)?;
    if status.checks.iter().any(|check| check.check.starts_with("watch/") && check.detail.contains("403")) {
        writeln!(out, "      kubeherald rbac | kubectl apply -f -")?;
    }
    let annotations: Vec<String> = status.annotations.iter().map(ToString::to_string).collect();
    section("annotations that do nothing", &annotations, look, out)?;
    let more = status.annotations_total.saturating_sub(annotations.len().min(LISTED) as u64);
    if more > 0 {
        writeln!(out, "  … and {more} more")?;
    }
    Ok(())
}

fn section(title: &str, lines: &[String], look: &Look, out: &mut String) -> std::fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", look.paint("1;35", title))?;
    for line in lines.iter().take(LISTED) {
        look.wrapped(line, 2, "", out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::status::{AnnotationMistake, FailedCheck, HeldBack, ReceiverTrouble};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn incident(severity: Severity, title: &str, state: &str) -> OpenIncident {
        OpenIncident {
            incident: "5h2kq8m1x0".into(),
            title: title.into(),
            severity,
            state: state.into(),
            rule: "crash-loop".into(),
            cause: "CrashLoopBackOff".into(),
            namespace: Some("shop".into()),
            workload: "Deployment/checkout".into(),
            container: None,
            since: at("2026-11-21T08:06:23Z"),
            last_seen: at("2026-11-21T08:09:00Z"),
            size: "3 of 3 pods".into(),
            members_total: 3,
            replicas: Some(3),
            occurrences: 14,
            explains: 0,
            notified: true,
            held_back: None,
        }
    }

    fn full() -> Status {
        let silenced = OpenIncident {
            held_back: Some(HeldBack {
                reason: "silenced_by".into(),
                by: Some("3k9x2abq".into()),
                comment: Some("release 4.2 (by anna)".into()),
                until: Some(at("2026-11-21T10:10:00Z")),
            }),
            ..incident(Severity::Warning, "Deployment/api cannot pull api:5.5.0-rc: no such host", "silenced")
        };
        let long = "Deployment/checkout keeps crashing: container checkout, exit code 3, and a text that is longer than a line";
        Status {
            cluster: "prod-eu-1".into(),
            asked_at: at("2026-11-21T08:10:00Z"),
            synced: true,
            incidents: vec![
                incident(Severity::Critical, long, "firing"),
                silenced,
                incident(Severity::Warning, "a pod on a lost node", "held"),
            ],
            incidents_total: 12,
            critical: 1,
            warning: 11,
            receivers: vec![ReceiverTrouble {
                receiver: "mail".into(),
                state: "refusing".into(),
                since: Some(at("2026-11-21T08:00:00Z")),
                next_attempt: Some(at("2026-11-21T08:15:00Z")),
                waiting: 4,
                dead: 1,
                reason: "535 authentication failed".into(),
                fallback: None,
            }],
            checks: vec![FailedCheck {
                check: "watch/Pod".into(),
                status: "degraded".into(),
                detail: "cannot be read: 403: pods is forbidden".into(),
            }],
            annotations: vec![AnnotationMistake {
                object: "Namespace/shop".into(),
                annotation: "kubeherald.io/mute".into(),
                value: "yes\u{1b}[2J".into(),
                problem: "expected \"true\" or \"false\"".into(),
            }],
            annotations_total: 1,
            ..Status::default()
        }
    }

    fn look(width: usize) -> Look {
        let again = " -c k.yaml".to_owned();
        Look { width, color: false, all: false, store: again.clone(), again }
    }

    #[test]
    fn a_status_reads_well_at_eighty_columns() {
        let text = text(&full(), &look(80)).unwrap();
        insta::assert_snapshot!(text);
        assert!(!text.contains('\u{1b}'));
        let pasted = |line: &str| line.contains("kubeherald ");
        assert!(text.lines().all(|line| line.chars().count() <= 80 || pasted(line)), "{text}");
    }

    #[test]
    fn nothing_open_is_one_line() {
        let status = Status { asked_at: at("2026-11-21T08:10:00Z"), synced: true, ..Status::default() };
        assert_eq!(text(&status, &look(100)).unwrap(), "nothing is open at 08:10:00 UTC\n");
    }

    #[test]
    fn words_longer_than_a_line_are_broken() {
        assert_eq!(lines("ab cd", 5), ["ab cd"]);
        assert_eq!(lines("ab cd", 4), ["ab", "cd"]);
        assert_eq!(lines("a bcdefghij k", 4), ["a", "bcde", "fghi", "j k"]);
    }
}
