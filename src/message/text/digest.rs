//! Digests in words. Times are those of the receiver's time zone, which is named once.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::words::{self, join, one_line, plural};
use super::{MAX_NAME, MAX_TITLE, default_title, incident_title, over, title as sentence};
use crate::message::{Decision, Digest, Group, HeldBack, IncidentView, Reason, Section};

/// How many of a section a message lists: what somebody still reads, and what keeps a mail below the
/// 102 KB that Gmail shows (<https://support.google.com/mail/thread/6187016>).
pub const LISTED: usize = 30;
/// How many causes are counted apart.
pub const CAUSES: usize = 8;
/// How many groups are counted apart.
pub const GROUPS: usize = 12;
/// How many workloads are named where something was held back.
const WORKLOADS: usize = 5;
/// What is said where nothing happened.
pub const NOTHING: &str = "Nothing began, nothing is open, nothing ended.";
/// The longest bar, in characters.
const BAR: u32 = 24;

/// Times as the clocks of a place show them.
#[derive(Debug, Clone)]
pub struct Local {
    zone: TimeZone,
    now: Timestamp,
}

impl Local {
    /// The clocks that a digest is for.
    pub fn of(digest: &Digest) -> Self {
        let zone = TimeZone::get(&digest.timezone).unwrap_or(TimeZone::UTC);
        Self { zone, now: digest.until }
    }

    /// `03:12`, `Sat 03:12` or `6 Feb 03:12`: as much as is needed to know when it was.
    pub fn moment(&self, at: Timestamp) -> String {
        let (at, now) = (at.to_zoned(self.zone.clone()), self.now.to_zoned(self.zone.clone()));
        let days = (now.date() - at.date()).get_days();
        let format = match days {
            0 => "%H:%M",
            1..7 => "%a %H:%M",
            _ if at.year() == now.year() => "%-d %b %H:%M",
            _ => "%-d %b %Y %H:%M",
        };
        at.strftime(format).to_string()
    }

    /// `Fri 6 Feb 08:00`
    pub fn day_and_time(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %-d %b %H:%M").to_string()
    }

    /// `Sat 7`: a day; `08`: an hour.
    pub fn short(&self, at: Timestamp, by_hour: bool) -> String {
        at.to_zoned(self.zone.clone()).strftime(if by_hour { "%H:%M" } else { "%a %-d %b" }).to_string()
    }

    /// `since Sat 03:12 (2 days)`, or the whole span of what is over.
    pub fn when(&self, i: &IncidentView) -> String {
        match i.ended_at {
            Some(end) => {
                let lasted = words::duration(words::seconds_between(i.since, end));
                format!("{} to {} ({lasted})", self.moment(i.since), self.moment(end))
            }
            None => {
                let lasts = words::about(words::seconds_between(i.since, self.now));
                let least = if i.since_at_least { "at least " } else { "" };
                format!("{least}since {} ({lasts})", self.moment(i.since))
            }
        }
    }
}

/// The sections with their titles and incidents, empty ones too.
pub fn sections<'n>(
    digest: &'n Digest,
    incidents: &'n [IncidentView],
) -> [(&'static str, &'n Section, Vec<&'n IncidentView>); 3] {
    [("new", &digest.new), ("ongoing", &digest.ongoing), ("resolved", &digest.resolved)].map(
        |(name, section)| {
            let listed = section.incidents.iter().filter_map(|id| incidents.iter().find(|i| i.id == *id));
            (name, section, listed.collect())
        },
    )
}

/// `3 new, 5 ongoing, 4 resolved – first: Node worker-2 is not ready: the kubelet stopped answering`
pub fn headline_of(digest: &Digest, incidents: &[IncidentView]) -> String {
    let count = |n: u32, what: &str| if n == 0 { String::new() } else { format!("{n} {what}") };
    let counts = join(
        &[
            &count(digest.new.total, "new"),
            &count(digest.ongoing.total, "ongoing"),
            &count(digest.resolved.total, "resolved"),
        ],
        ", ",
    );
    let counts = if counts.is_empty() { "no problems".into() } else { counts };
    let sections = sections(digest, incidents);
    let first = sections.iter().find_map(|(_, _, listed)| listed.first().filter(|i| i.ended_at.is_none()));
    let first = first.map(|i| format!("first: {}", incident_title(i))).unwrap_or_default();
    one_line(&join(&[&counts, &first], " – "), MAX_TITLE)
}

/// One line, plain text.
pub fn title(digest: &Digest, incidents: &[IncidentView]) -> String {
    let kind = if digest.last { "Last digest" } else { "Digest" };
    one_line(&format!("{kind}: {}", headline_of(digest, incidents)), MAX_TITLE)
}

/// `Fri 6 Feb 08:00 to Mon 9 Feb 08:00`
pub fn span(digest: &Digest) -> String {
    let local = Local::of(digest);
    format!("{} to {}", local.day_and_time(digest.since), local.day_and_time(digest.until))
}

/// `3 days, times in Europe/Berlin`
pub fn span_more(digest: &Digest) -> String {
    let lasted = words::about(words::seconds_between(digest.since, digest.until));
    format!("{lasted}, times in {}", one_line(&digest.timezone, 60))
}

/// An incident where its namespace is said already: the rule's own summary, or the sentence.
pub fn entry(i: &IncidentView) -> String {
    if i.title.trim().is_empty() || i.title == default_title(i) {
        sentence::without_namespace(i)
    } else {
        one_line(&i.title, MAX_TITLE)
    }
}

/// As [`entry`]; of what has ended, what is well again.
pub fn entry_title(digest: &Digest, i: &IncidentView) -> String {
    match i.end_reason {
        _ if i.ended_at.is_none() || digest.unknown.contains(&i.id) => entry(i),
        Some(Reason::StateUnknown | Reason::RuleRemoved | Reason::OverLimit) => entry(i),
        _ => {
            let here = IncidentView { namespace: None, ..i.clone() };
            one_line(&over::line(&here), MAX_TITLE)
        }
    }
}

/// What explains an incident, in one line; empty where `title` says it already.
pub fn entry_why(i: &IncidentView, title: &str) -> String {
    let why = i.why.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = sentence::why(i);
    if !line.is_empty() && title.contains(&line) {
        return String::new();
    }
    let begin: String = one_line(why, 60).trim_end_matches(['…', '.']).to_owned();
    if title.contains(&begin) { String::new() } else { one_line(why, 200) }
}

/// `holds back 3 problems on 12 objects`; may be empty.
pub fn entry_holds(i: &IncidentView) -> String {
    let objects: u64 = i.held.iter().map(|held| u64::from(held.members)).sum();
    match i.held.len() as u64 {
        0 => String::new(),
        n => format!("holds back {} on {}", plural(n, "problem"), plural(objects, "object")),
    }
}

/// What is unusual about this one; often empty.
pub fn remark(digest: &Digest) -> String {
    let late = words::seconds_between(digest.due, digest.until) >= 120 || digest.missed > 0;
    let late = if late && !digest.last {
        let due = Local::of(digest).moment(digest.due);
        let others = match digest.missed {
            0 => String::new(),
            n => format!(", and did not send {} before", plural(n.into(), "other")),
        };
        format!("Late: kubeherald was not running at {due}, when it was due{others}.")
    } else {
        String::new()
    };
    let last = if digest.last { "This receiver gets no more digests: this is the last one." } else { "" };
    join(&[&late, last], " ")
}

/// `shop · team payments`, `the cluster`
pub fn place(namespace: Option<&str>, team: Option<&str>) -> String {
    let namespace = namespace.map_or_else(|| "the cluster".into(), |n| one_line(n, MAX_NAME));
    let team = team.map(|team| format!("team {}", one_line(team, 63))).unwrap_or_default();
    join(&[&namespace, &team], " · ")
}

/// `2 new, 1 ongoing`
pub fn counts(group: &Group) -> String {
    let count = |n: u32, what: &str| if n == 0 { String::new() } else { format!("{n} {what}") };
    let parts = [count(group.new, "new"), count(group.ongoing, "ongoing"), count(group.resolved, "resolved")];
    join(&[&parts[0], &parts[1], &parts[2]], ", ")
}

/// Why something was held back, after a number: for what annotations hold back, which one.
pub fn held_why(held: &HeldBack) -> String {
    match &held.by {
        Some(by) => format!("silenced now by {}", one_line(by, MAX_NAME)),
        None => held_words(held.reason).to_owned(),
    }
}

/// Why something was held back, after a number.
pub const fn held_words(reason: Reason) -> &'static str {
    match reason {
        Reason::WithinWindow => "repeats, counted with their problem",
        Reason::InhibitedBy => "explained by another problem",
        Reason::SilencedBy => "silenced",
        Reason::Muted => "in a mute time",
        Reason::NeverTold => "over before anyone was notified",
        Reason::OverLimit => "past the limit on incidents",
        Reason::NotYetFor => "too short",
        Reason::BelowCount => "too few",
        _ => "held back",
    }
}

/// `Deployment/checkout in shop (12), Deployment/cart in shop (3) and others`
pub fn held_workloads(held: &HeldBack) -> String {
    let names: Vec<String> = held
        .workloads
        .iter()
        .take(WORKLOADS)
        .map(|w| {
            let place =
                w.namespace.as_deref().map(|ns| format!(" in {}", one_line(ns, 63))).unwrap_or_default();
            let count = if w.count > 1 { format!(" ({})", w.count) } else { String::new() };
            format!("{}{place}{count}", one_line(&w.workload, 120))
        })
        .collect();
    let more = if held.more || held.workloads.len() > WORKLOADS { " and others" } else { "" };
    format!("{}{more}", names.join(", "))
}

/// Is the picture of when problems began one of hours? Else of days.
pub fn by_hour(digest: &Digest) -> bool {
    let first_two = digest.begun.first().zip(digest.begun.get(1));
    first_two.is_some_and(|(a, b)| words::seconds_between(a.from, b.from) <= 3600)
}

/// A digest as plain text, without the pictures: what is cut to the limits of a medium should be news.
pub fn text(cluster: &str, digest: &Digest, incidents: &[IncidentView]) -> String {
    format!("{}\n\n{}", head(cluster, digest), lists(digest, incidents))
}

/// What the digest is about, and what is unusual about it.
pub fn head(cluster: &str, digest: &Digest) -> String {
    let cluster =
        if cluster.is_empty() { String::new() } else { format!("cluster {}", one_line(cluster, MAX_NAME)) };
    let span = format!("{} ({})", span(digest), span_more(digest));
    join(&[&cluster, &span, &remark(digest)], "\n")
}

/// Every section, and what was held back.
pub fn lists(digest: &Digest, incidents: &[IncidentView]) -> String {
    let mut out = String::new();
    let mut line = |text: &str| out.extend([text.trim_end(), "\n"]);
    if digest.total() == 0 {
        line(NOTHING);
    }
    for (name, section, listed) in sections(digest, incidents) {
        if section.total > 0 {
            line("");
            line(&format!("{} ({})", name.to_uppercase(), section.total));
            list(&mut line, digest, section, &listed);
        }
    }
    if !digest.held.is_empty() {
        line("");
        line("HELD BACK");
        for held in &digest.held {
            line(&format!("- {} {}: {}", held.count, held_why(held), held_workloads(held)));
        }
    }
    out.trim_matches('\n').to_owned()
}

/// Bars and columns made of characters, for a font of one width; may be empty.
pub fn pictures(digest: &Digest) -> String {
    let mut out = String::new();
    let mut line = |text: &str| out.extend([text.trim_end(), "\n"]);
    overview(&mut line, digest);
    if with_pictures(digest) {
        let causes: Vec<_> = causes(digest).into_iter().map(|(name, n)| (name, n, String::new())).collect();
        table(&mut line, "By cause", &causes);
    }
    out.trim_matches('\n').to_owned()
}

/// Are there enough problems for pictures to say more than the lists?
pub const fn with_pictures(digest: &Digest) -> bool {
    digest.total() > 2
}

/// The most frequent causes, and the others together.
pub fn causes(digest: &Digest) -> Vec<(String, u32)> {
    let shown = digest.causes.iter().take(CAUSES).map(|(cause, n)| (cause.to_string(), *n));
    let rest: u32 = digest.causes.iter().skip(CAUSES).map(|(_, n)| n).sum();
    shown.chain((rest > 0).then(|| (String::from("others"), rest))).collect()
}

/// Names, bars and numbers.
fn table(line: &mut impl FnMut(&str), head: &str, rows: &[(String, u32, String)]) {
    if rows.is_empty() {
        return;
    }
    line("");
    line(head);
    let wide = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).min(40);
    let most = rows.iter().map(|(_, n, _)| *n).max().unwrap_or(1);
    for (name, n, more) in rows {
        line(&format!("  {:<wide$}  {} {n}{more}", one_line(name, 40), bar(*n, most)));
    }
}

fn overview(line: &mut impl FnMut(&str), digest: &Digest) {
    if with_pictures(digest) {
        let severities: Vec<_> =
            digest.severities.iter().map(|(s, n)| (s.to_string(), *n, String::new())).collect();
        table(line, "Open, by severity", &severities);
        let mut groups: Vec<_> = digest
            .groups
            .iter()
            .take(GROUPS)
            .map(|g| {
                (place(g.namespace.as_deref(), g.team.as_deref()), g.total(), format!(" ({})", counts(g)))
            })
            .collect();
        let more = digest.groups_total.saturating_sub(u32::try_from(groups.len()).unwrap_or(u32::MAX));
        if more > 0 {
            let rest = digest.total().saturating_sub(groups.iter().map(|(_, n, _)| n).sum());
            groups.push((format!("{more} more"), rest, String::new()));
        }
        table(line, "By namespace", &groups);
    }
    let most = digest.begun.iter().max_by_key(|b| (b.count, b.from)).filter(|b| b.count > 0);
    if let Some(most) = most.filter(|_| with_pictures(digest)) {
        let local = Local::of(digest);
        let each = if by_hour(digest) { "hour" } else { "day" };
        line("");
        line(&format!("Began, by {each}"));
        let levels: String = digest.begun.iter().map(|b| level(b.count, most.count)).collect();
        let from = digest.begun.first().map(|b| local.moment(b.from)).unwrap_or_default();
        line(&format!("  {from} {levels} {}", local.moment(digest.until)));
        line(&format!("  most in the {each} of {}: {}", local.moment(most.from), most.count));
    }
}

fn list(line: &mut impl FnMut(&str), digest: &Digest, section: &Section, listed: &[&IncidentView]) {
    let local = Local::of(digest);
    let mut before = None;
    for i in listed.iter().take(LISTED) {
        let here = place(i.namespace.as_deref(), i.team.as_deref());
        if before.as_ref() != Some(&here) {
            line(&format!("{here}:"));
            before = Some(here);
        }
        let state = state(digest, i);
        let state = if state.is_empty() { String::new() } else { format!("{state}: ") };
        let title = entry_title(digest, i);
        line(&format!("- {state}{title}"));
        let f = super::facts("", Decision::First, Reason::Schedule, i, digest.until);
        line(&format!("  {}", join(&[&local.when(i), &f.how_much, &entry_holds(i)], ", ")));
        let why = entry_why(i, &title);
        if !why.is_empty() {
            line(&format!("  why: {why}"));
        }
        if i.ended_at.is_none() && !i.command.is_empty() {
            line(&format!("  look: {}", i.command));
        }
    }
    let shown = u32::try_from(listed.len().min(LISTED)).unwrap_or(u32::MAX);
    if section.total > shown {
        line(&format!("… and {} more, not listed here", section.total - shown));
    }
}

/// What is said of an incident in front of its title: how bad it is, or that nobody knows.
pub fn state(digest: &Digest, i: &IncidentView) -> &'static str {
    match i.ended_at {
        Some(_) if digest.unknown.contains(&i.id) => "state unknown",
        Some(_) => "",
        None => i.severity.as_str(),
    }
}

/// How many of `of` steps stand for `n`, where `most` are all of them: at least one for something.
pub fn share(n: u32, most: u32, of: u32) -> u32 {
    if n == 0 || most == 0 {
        return 0;
    }
    let steps = (u64::from(n) * u64::from(of)).div_ceil(u64::from(most));
    u32::try_from(steps).unwrap_or(of).clamp(1, of)
}

fn bar(n: u32, most: u32) -> String {
    "█".repeat(usize::try_from(share(n, most, BAR)).unwrap_or(0))
}

fn level(n: u32, most: u32) -> char {
    const LEVELS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let at = usize::try_from(share(n, most, 8)).unwrap_or(0);
    LEVELS.get(at).copied().unwrap_or('█')
}
