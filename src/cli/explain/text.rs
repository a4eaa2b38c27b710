//! An answer for people who read it at three in the morning: one fact a line, the newest first.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::story::{Event, IncidentStory, Object, Receipt, Waiting};
use super::{ASLEEP, Answer, Unmatched};
use crate::clock;
use crate::message::text::words;

/// The longest text from the cluster on one line.
const LINE: usize = 300;
/// Names of objects on one line.
const NAMES: usize = 5;

/// Times as they are told: of day, and how far away.
struct When(Timestamp);

impl When {
    /// `02:31:07 UTC (12 min ago)`
    fn at(&self, at: Timestamp) -> String {
        let now = self.0;
        let away = if at > now {
            format!("in {}", words::about(words::seconds_between(now, at)))
        } else {
            format!("{} ago", words::about(words::seconds_between(at, now)))
        };
        format!("{} ({away})", words::moment(at, now))
    }
}

/// The whole answer.
pub fn text(answer: &Answer) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let when = When(answer.asked_at);
    let asked = words::one_line(&answer.object, LINE);
    if answer.is_nothing() {
        return nothing(answer, &when, &asked);
    }
    let count = u64::try_from(answer.incidents.len()).unwrap_or(u64::MAX);
    match answer.incidents.len() {
        0 => writeln!(out, "{asked}: no incident")?,
        _ => writeln!(out, "{asked}: {}", words::plural(count, "incident"))?,
    }
    asleep(answer, &when, &mut out)?;
    for story in &answer.incidents {
        out.push('\n');
        one(story, &when, &mut out)?;
    }
    if answer.older > 0 {
        writeln!(out, "\n… and {} older: see --limit and --since", answer.older)?;
    }
    if !answer.unmatched.is_empty() {
        writeln!(out, "\nbecame no incident:")?;
        for unmatched in &answer.unmatched {
            writeln!(out, "  {}", refused(unmatched, &when))?;
        }
    }
    Ok(out)
}

/// What is read here is as old as what the bot wrote last.
fn asleep(answer: &Answer, when: &When, out: &mut String) -> std::fmt::Result {
    match answer.seen_until {
        None => writeln!(out, "the bot has not completed its first look at the cluster"),
        Some(seen) if clock::between(seen, answer.asked_at) > ASLEEP => writeln!(
            out,
            "the bot wrote last at {}: it may not be running, and this is what it knew then",
            when.at(seen)
        ),
        Some(_) => Ok(()),
    }
}

fn one(story: &IncidentStory, when: &When, out: &mut String) -> std::fmt::Result {
    let workload = words::one_line(&story.workload, LINE);
    let place = story.namespace.as_deref().map(|ns| format!(" in {}", words::one_line(ns, LINE)));
    let cause = story.cause.as_deref().map(|cause| format!(": {}", words::one_line(cause, 60)));
    let container = story.container.as_deref().map(|c| format!(", container {}", words::one_line(c, 80)));
    writeln!(
        out,
        "{} {workload}{}{}{}",
        story.incident,
        place.unwrap_or_default(),
        cause.unwrap_or_default(),
        container.unwrap_or_default(),
    )?;
    let mut line = |name: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { writeln!(out, "  {name:8} {value}") }
    };
    line("state", &state(story, when))?;
    let severity = story.severity.as_deref().map(|s| format!(" ({s})"));
    line("rule", &format!("{}{}", words::one_line(&story.rule, LINE), severity.unwrap_or_default()))?;
    for one in &story.overrides {
        line("", &words::one_line(one, LINE))?;
    }
    if let Some(waits) = &story.waits {
        line("waits", &waiting(waits, when))?;
    }
    if let Some(until) = story.quiet_until {
        line("quiet", &quiet(story, until, when))?;
    }
    line("objects", &objects(story))?;
    if let Some(why) = &story.why {
        line("why", &words::one_line(why, LINE))?;
    }
    if let Some(error) = &story.unreadable {
        let error = words::one_line(error, LINE);
        line("note", &format!("it was written by another version, and cannot be read in full: {error}"))?;
    }
    for event in &story.events {
        writeln!(out, "  {}  {}", when.at(event.at), event_line(event, when))?;
        for receipt in &event.receivers {
            writeln!(out, "      {}", delivered(receipt, when))?;
        }
    }
    if story.events_cut {
        writeln!(out, "  … and more before that")?;
    }
    Ok(())
}

fn state(story: &IncidentStory, when: &When) -> String {
    let since = story.since.map(|at| format!("since {}", when.at(at))).unwrap_or_default();
    let ended = story.ended_at.map(|at| format!("at {}", when.at(at))).unwrap_or_default();
    let state = match story.state {
        "pending" => format!("not told yet; seen {since}"),
        "gathering" => format!("about to be told in a summary; seen {since}"),
        "held" => format!("held back by another incident; seen {since}"),
        "silenced" => format!("silenced; seen {since}"),
        "muted" => format!("muted; seen {since}"),
        "firing" => format!("firing {since}"),
        "recovering" => format!("seems over, told when that has lasted; seen {since}"),
        "resolved" => format!("over {ended}; seen {since}"),
        "never_told" => format!("over {ended}, not told by itself; seen {since}"),
        _ => format!("no longer followed; seen {since}"),
    };
    let seen = match (story.last_seen, story.ended_at) {
        (Some(at), None) => format!("last at {}", when.at(at)),
        _ => String::new(),
    };
    let times = story.occurrences.filter(|n| *n > 1).map(|n| words::plural(n, "time")).unwrap_or_default();
    let flaps = match story.flaps {
        0 => String::new(),
        n => format!("came back {}", words::plural(u64::from(n), "time")),
    };
    let state = state.replace("over ,", "over,");
    words::join(&[state.trim_end_matches("; seen "), &times, &seen, &flaps], ", ")
}

fn quiet(story: &IncidentStory, until: Timestamp, when: &When) -> String {
    let so_far = match story.untold {
        None | Some(0) => String::new(),
        Some(n) => format!("; {n} so far"),
    };
    if until > when.0 {
        format!("until {}: repeats are counted, not told, unless it grows{so_far}", when.at(until))
    } else {
        format!("its window ended at {}: it is told again when it happens again{so_far}", when.at(until))
    }
}

fn objects(story: &IncidentStory) -> String {
    let workload = |o: &&Object| format!("{}/{}", o.kind, o.name) == story.workload;
    // The workload has its own line unless it is all there is.
    let members: Vec<&Object> = story.objects.iter().filter(|o| !workload(o)).collect();
    let total = usize::try_from(story.objects_total).unwrap_or(usize::MAX);
    let total = total.saturating_sub(usize::from(members.len() < story.objects.len()));
    let asked = |o: &&&Object| story.asked.contains(o);
    let (mine, others): (Vec<&Object>, Vec<&Object>) = {
        let (mine, others): (Vec<&&Object>, Vec<&&Object>) = members.iter().partition(asked);
        (mine.into_iter().copied().collect(), others.into_iter().copied().collect())
    };
    let names: Vec<String> =
        mine.into_iter().chain(others).map(|o| format!("{}/{}", o.kind, o.name)).collect();
    if names.is_empty() {
        return String::new();
    }
    words::list(names.iter().map(String::as_str), NAMES, total.max(names.len()))
}

/// Who or what holds it back.
fn holder(by: Option<&String>, title: Option<&String>) -> String {
    let by = by.map(|by| words::one_line(by, 120)).unwrap_or_default();
    match title {
        Some(title) => format!("{by} ({})", words::one_line(title, LINE)),
        None => by,
    }
}

fn waiting(waits: &Waiting, when: &When) -> String {
    let by = holder(waits.by.as_ref(), waits.by_title.as_ref());
    let until = waits.until.map(|at| when.at(at));
    let until = until.as_deref();
    match (waits.reason.as_str(), until) {
        ("not_yet_for", Some(at)) => format!("it is told if it lasts until {at}: the rule's `for`"),
        ("not_yet_for" | "group_wait", None) => "it is not seen at the moment".to_owned(),
        ("group_wait", Some(at)) => format!("until {at}, for other objects with the same problem"),
        ("below_count", _) => "it has not happened as often as the rule's `count` asks".to_owned(),
        ("state_unknown", _) => {
            format!(
                "kind {by} could not be read when it became due: told if it still stands once that can be read"
            )
        }
        ("inhibited_by", _) => format!("incident {by} explains it and counts it"),
        ("silenced_by", None) => format!("silence {by} is on"),
        ("silenced_by", Some(at)) => format!("silence {by} is on, until {at}"),
        ("muted", None) => format!("mute time {by} is on"),
        ("muted", Some(at)) => format!("mute time {by} is on, until {at}"),
        ("standing", Some(at)) => format!("for the summary of a first start, at {at}"),
        ("storm", Some(at)) => format!("for the summary of many that began at once, at {at}"),
        (reason, until) => {
            let until = until.map(|at| format!("until {at}")).unwrap_or_default();
            words::join(&[&words::one_line(&reason.replace('_', " "), 60), &by, &until], " ")
        }
    }
}

/// One decision, or one not to say anything.
fn event_line(event: &Event, when: &When) -> String {
    let title = words::one_line(&event.title, LINE);
    let Some(decision) = &event.decision else { return held(event, when) };
    let what = match (decision.as_str(), event.reason.as_str()) {
        ("first", _) => "told",
        ("grew", "escalated") => "told that it is worse",
        ("grew", _) => "told that it grew",
        ("reminder", _) => "told that it goes on",
        ("reopened", _) => "told that it is back",
        ("resolved", "objects_gone") => "told that it is over (the objects are gone, the workload is well)",
        ("resolved", "quiet") => "told that it is over (nothing was heard of it)",
        ("resolved", _) => "told that it is over",
        ("expired", "over_limit") => "told that it is no longer followed (the limit on incidents is reached)",
        ("expired", "rule_removed") => "told that it is no longer followed (its rule is gone)",
        ("expired", _) => "told that it is not known how it ended",
        ("standing", _) => "told in the summary of a first start",
        ("storm", _) => "told in a summary of many",
        ("digest", _) => "told in a digest",
        (other, _) => return format!("{}: {title}", words::one_line(other, 60)),
    };
    format!("{what}: {title}")
}

fn held(event: &Event, when: &When) -> String {
    let by = holder(event.by.as_ref(), event.by_title.as_ref());
    match event.reason.as_str() {
        "inhibited_by" => format!("not told: incident {by} explains it and counts it"),
        "silenced_by" => format!("not told: silence {by} was on"),
        "muted" => format!("not told: mute time {by} was on"),
        "within_window" => {
            let until = event.until.map(|at| format!(" until {}", words::moment(at, when.0)));
            format!("happened again; repeats are counted, not told{}", until.unwrap_or_default())
        }
        "never_told" => never_told(event),
        "recovered" | "objects_gone" | "quiet" | "state_unknown" => {
            "over; not told, because its rule has `send_resolved: false`".to_owned()
        }
        "not_queued" => format!(
            "a notification was not queued, since another message has its key: {}",
            words::one_line(&event.title, LINE)
        ),
        "over_limit" => words::join(
            &["no longer followed: the limit on incidents was reached, and room went to", &by],
            " ",
        ),
        "no_rule" => "no longer followed: its rule was taken out of the configuration".to_owned(),
        other => {
            words::join(&["not told:", &words::one_line(&other.replace('_', " "), 60), by.as_str()], " ")
        }
    }
}

fn never_told(event: &Event) -> String {
    let Some(waited) = &event.waited else { return "over before it was told".to_owned() };
    let by = holder(waited.by.as_ref(), waited.by_title.as_ref());
    match waited.reason.as_str() {
        "not_yet_for" => "over before it had lasted as long as the rule's `for` asks: not told".to_owned(),
        "below_count" => "over before it happened as often as the rule's `count` asks: not told".to_owned(),
        "group_wait" => "over before it was told, while other objects were waited for".to_owned(),
        "state_unknown" => format!("over when kind {by} could be read again: not told"),
        "inhibited_by" => format!("over; not told by itself, since incident {by} explained it"),
        "silenced_by" => format!("over; not told, since silence {by} was on"),
        "muted" => format!("over; not told, since mute time {by} was on"),
        "standing" | "storm" => "over before the summary it was gathered for: not told".to_owned(),
        _ => "over before it was told".to_owned(),
    }
}

fn delivered(receipt: &Receipt, when: &When) -> String {
    let mut name = words::one_line(&receipt.receiver, 80);
    if let Some(recipient) = &receipt.recipient {
        name = format!("{name} ({})", words::one_line(recipient, 80));
    }
    if let Some(fallback) = &receipt.fallback {
        name = format!("{name}, by its fallback {}", words::one_line(fallback, 80));
    }
    let reason = words::one_line(&receipt.reason, LINE);
    let tried = match receipt.attempts {
        0 | 1 => String::new(),
        n => format!("after {n} attempts"),
    };
    let at = receipt.at.map(|at| format!("at {}", words::moment(at, when.0))).unwrap_or_default();
    let inside = receipt.inside.as_deref().map(|key| {
        let what = if key.starts_with("digest") { "digest" } else { "summary" };
        format!("in the {what} {}", words::one_line(key, 120))
    });
    let inside = inside.unwrap_or_default();
    let said = match receipt.state.as_str() {
        "delivered" => words::join(&["delivered", &at, &inside, &tried], " "),
        "sending" => words::join(&["is being sent", &inside], " "),
        "dead" => {
            let given_up = words::join(&["given up", &at, &tried], " ");
            let again = receipt
                .key
                .as_deref()
                .map(|key| format!("send it again: kubeherald outbox resend {}", words::one_line(key, 200)));
            words::join(&[&given_up, &reason, &again.unwrap_or_default()], ": ")
        }
        "queued" => {
            let next = match receipt.next_attempt {
                _ if receipt.behind => "after an older message of this incident".to_owned(),
                Some(at) if at > when.0 => format!("next attempt {}", when.at(at)),
                _ => "next attempt as soon as possible".to_owned(),
            };
            let failed = match receipt.attempts {
                0 => String::new(),
                n => format!("tried {}", words::plural(u64::from(n), "time")),
            };
            words::join(&["waits", &inside, &words::join(&[&next, &failed, &reason], ", ")], " – ")
        }
        "skipped" => "not told: it wants no ends (`send_resolved: false`)".to_owned(),
        "digest" => "told in its digest".to_owned(),
        "not_queued" => "not queued: another message has its key".to_owned(),
        _ => "not in the outbox any more: delivered more than a week ago, or dropped by hand".to_owned(),
    };
    format!("{name}: {said}")
}

fn refused(unmatched: &Unmatched, when: &When) -> String {
    let object = words::one_line(&unmatched.object, LINE);
    let place = unmatched.namespace.as_deref().map(|ns| format!(" in {}", words::one_line(ns, LINE)));
    let cause = words::one_line(unmatched.cause.as_deref().unwrap_or("a problem"), 60);
    let reason = match unmatched.reason.as_str() {
        "no_rule" => "no rule matches it",
        "over_limit" => "there were too many incidents (`engine.max_incidents`)",
        other => other,
    };
    let why = words::one_line(&unmatched.why, LINE);
    let head = format!("{}  {object}{}: {cause}, {reason}", when.at(unmatched.at), place.unwrap_or_default());
    words::join(&[&head, &why], " – ")
}

/// Nothing is known of it; what that can mean.
fn nothing(answer: &Answer, when: &When, asked: &str) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    if answer.older > 0 {
        let older = u64::try_from(answer.older).unwrap_or(u64::MAX);
        let them = if older == 1 { "one older incident is" } else { "older incidents are" };
        writeln!(out, "nothing is known of {asked} within that time; {them} known: leave out --since")?;
        return Ok(out);
    }
    writeln!(out, "nothing is known of {asked}")?;
    asleep(answer, when, &mut out)?;
    if !answer.near.is_empty() {
        writeln!(out, "\nknown, and like it:")?;
        for object in &answer.near {
            let name = words::one_line(&object.name, LINE);
            let place = object.namespace.as_deref().map(|ns| format!(" -n {}", words::one_line(ns, LINE)));
            writeln!(out, "  {}/{name}{}", words::one_line(&object.kind, 60), place.unwrap_or_default())?;
        }
    }
    writeln!(out, "\nthat can mean:")?;
    if let Some(namespace) = &answer.unwatched {
        let namespace = words::one_line(namespace, LINE);
        writeln!(
            out,
            "  the namespace {namespace} is not watched (`watch.namespaces` of this configuration)"
        )?;
    } else {
        writeln!(
            out,
            "  nothing was wrong with it, or only for less than ten seconds and than its rule's `for`"
        )?;
        writeln!(
            out,
            "  no rule looks for what was wrong (what the bot recognises and no rule wants, it says here)"
        )?;
        writeln!(out, "  it has another name, or is in another namespace")?;
        writeln!(out, "  its namespace is not watched (`watch.namespaces`)")?;
    }
    writeln!(out, "  it is longer ago than {} days: older history is not kept", answer.kept_days)?;
    Ok(out)
}
