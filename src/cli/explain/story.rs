//! One incident as `explain` tells it: put together from what the store has on it. Serialised, this
//! is the JSON of `explain --format json`, a contract (docs/explain.md).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::engine::{ExplainedIncident, Waits};
use crate::message::detail::Name;
use crate::message::{Detail, Reason};
use crate::store::{Delivery, HistoryEntry, IncidentRecord, KnownObject, OutboxEntry, Throttle};

/// The reason of a history row about a notification that was not queued; the decision has a row of its own.
const NOT_QUEUED: &str = Reason::NotQueued.as_str();
/// Names of objects that an answer carries.
const OBJECTS: usize = 200;

/// An object by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// `Pod`, `Deployment`, …
    pub kind: String,
    /// `null` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl From<KnownObject> for Object {
    fn from(known: KnownObject) -> Self {
        Self { kind: known.kind, namespace: known.namespace, name: known.name }
    }
}

/// One incident.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct IncidentStory {
    /// Its id, as messages show it.
    pub incident: String,
    /// `pending`, `gathering`, `held`, `silenced`, `muted`, `firing`, `recovering`, `resolved`,
    /// `never_told` or `forgotten`.
    pub state: &'static str,
    /// The rule that matched.
    pub rule: String,
    /// What of the configuration changed that rule for it: `override 1 in kubeherald.yaml:12: severity`.
    pub overrides: Vec<String>,
    /// What is wrong, where known.
    pub cause: Option<String>,
    /// How bad, where known.
    pub severity: Option<String>,
    /// Where.
    pub namespace: Option<String>,
    /// Whose, as `Kind/name`.
    pub workload: String,
    /// The container, where it is about one.
    pub container: Option<String>,
    /// The objects that were asked for.
    pub asked: Vec<Object>,
    /// Objects that are or were part of it, at most 200.
    pub objects: Vec<Object>,
    /// How many there are.
    pub objects_total: u64,
    /// When it began.
    pub since: Option<Timestamp>,
    /// When it was last seen; of one that is over and forgotten: when the last thing was decided.
    pub last_seen: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The explaining text, while it is kept.
    pub why: Option<String>,
    /// How often it happened, where known.
    pub occurrences: Option<u64>,
    /// Of these, how many no message has told.
    pub untold: Option<u64>,
    /// How often it came back after it was told over.
    pub flaps: u32,
    /// Why it is not told, while it is not.
    pub waits: Option<Waiting>,
    /// Repeats are counted, not told, until then.
    pub quiet_until: Option<Timestamp>,
    /// What was decided, newest first.
    pub events: Vec<Event>,
    /// There were more.
    pub events_cut: bool,
    /// It was written by another version and cannot be read in full.
    pub unreadable: Option<String>,
}

/// What an incident that is not told waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// `not_yet_for`, `below_count`, `group_wait`, `state_unknown`, `inhibited_by`, `silenced_by`, `muted`,
    /// `standing` or `storm`.
    pub reason: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Until when at least, where known.
    pub until: Option<Timestamp>,
    /// The incident, silence or mute time that holds it; of `state_unknown` the kind that cannot be read.
    pub by: Option<String>,
    /// What that incident is about.
    pub by_title: Option<String>,
}

/// Something that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// `first`, `grew`, …; `null`: nothing was said.
    pub decision: Option<String>,
    /// Why, or why not.
    pub reason: String,
    /// The one line that was told.
    pub title: String,
    /// The incident, silence or mute time that held it back.
    pub by: Option<String>,
    /// What that incident is about.
    pub by_title: Option<String>,
    /// Until when: the end of the window.
    pub until: Option<Timestamp>,
    /// What it had waited for, where it was never told.
    pub waited: Option<Waiting>,
    /// Who was told, and how that went.
    pub receivers: Vec<Receipt>,
}

/// What became of one notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Who is told.
    pub receiver: String,
    /// Whom of the receiver; `null` where it is one destination.
    pub recipient: Option<String>,
    /// Its fallback, where that is (or was) sent the message in its place.
    pub fallback: Option<String>,
    /// `delivered`, `queued`, `sending`, `dead`, `skipped` (the receiver wants no ends), `digest`
    /// (it is told in its digests), `not_queued` (another message has the key) or `unknown` (not in the
    /// outbox any more).
    pub state: String,
    /// When it was delivered or given up.
    pub at: Option<Timestamp>,
    /// Not tried before this.
    pub next_attempt: Option<Timestamp>,
    /// Attempts begun.
    pub attempts: u32,
    /// Why the last attempt failed, or why it was given up.
    pub reason: String,
    /// The key of the summary or digest it was (or is to be) told in.
    pub inside: Option<String>,
    /// An older message of the same thread has to go first.
    pub behind: bool,
    /// Its key, for `kubeherald outbox show`.
    pub key: Option<String>,
}

/// What a story is made of beside the record.
pub struct Sources<'a> {
    /// Deliveries by the key of the decision, and by incident.
    pub deliveries: &'a HashMap<String, Vec<Delivery>>,
    /// What other incidents are about, by id.
    pub titles: &'a BTreeMap<String, String>,
    /// Who asked for a pause.
    pub throttles: &'a [Throttle],
}

/// The key of a decision, of its history row.
pub fn key_of(row: &HistoryEntry) -> Option<String> {
    Detail::read(&row.detail).decided()?.key.clone()
}

/// The incidents that held this one back.
pub fn holders(record: &IncidentRecord) -> Vec<String> {
    let of_row = record.row.as_ref().and_then(|row| {
        let incident = ExplainedIncident::read(&row.body).ok()?;
        incident.waits.filter(|w| w.reason == Reason::InhibitedBy)?.by
    });
    let noted = record.history.iter().filter_map(|row| match Detail::read(&row.detail) {
        Detail::Held(held) => held.waited.map_or(held.by, |waited| waited.by),
        _ => None,
    });
    of_row.into_iter().chain(noted).map(|id| id.to_string()).collect()
}

/// What the incident is about, in a few words.
pub fn about(record: &IncidentRecord) -> Option<String> {
    let cause = |cause: &str, workload: &str| format!("{workload}: {cause}");
    if let Some(row) = &record.row
        && let Ok(incident) = ExplainedIncident::read(&row.body)
    {
        return Some(cause(incident.cause.as_str(), &incident.workload));
    }
    let row = record.history.iter().find(|row| row.incident.is_some())?;
    let known = record.history.iter().find_map(|row| Detail::read(&row.detail).about()?.cause.clone());
    Some(known.map_or_else(|| row.workload.clone(), |name| cause(&name, &row.workload)))
}

/// The story of one incident.
pub fn story(id: &str, record: IncidentRecord, asked: Vec<KnownObject>, from: &Sources<'_>) -> IncidentStory {
    let lost = lost(&record.history);
    let mut story = IncidentStory {
        incident: id.to_owned(),
        asked: asked.into_iter().map(Object::from).collect(),
        objects_total: record.objects_total,
        events: record.history.iter().map(|row| event(id, row, from, &lost)).collect(),
        events_cut: record.history_cut,
        ..IncidentStory::default()
    };
    of_history(&mut story, &record.history);
    story.objects = record.objects.into_iter().take(OBJECTS).map(Object::from).collect();
    if let Some(row) = record.row {
        story.rule = row.rule.to_string();
        match ExplainedIncident::read(&row.body) {
            Ok(incident) => of_incident(&mut story, incident, from.titles),
            Err(error) => {
                story.state = known_state(&row.state);
                story.unreadable = Some(error.to_string());
            }
        }
    }
    story
}

fn known_state(state: &str) -> &'static str {
    ["pending", "held", "silenced", "muted", "firing", "resolved"]
        .into_iter()
        .find(|known| *known == state)
        .unwrap_or("forgotten")
}

fn of_history(story: &mut IncidentStory, rows: &[HistoryEntry]) {
    let mine = || rows.iter().filter(|row| row.incident.is_some() && row.reason != NOT_QUEUED);
    story.last_seen = rows.first().map(|row| row.at);
    if let Some(row) = mine().next() {
        story.rule.clone_from(&row.rule);
        story.namespace.clone_from(&row.namespace);
        story.workload.clone_from(&row.workload);
    }
    // The newest that says it.
    let details: Vec<(Detail, &HistoryEntry)> = mine().map(|row| (Detail::read(&row.detail), row)).collect();
    let abouts = || details.iter().filter_map(|(detail, _)| detail.about());
    story.cause = abouts().find_map(|about| about.cause.clone()).map(Name::into_owned);
    story.severity = abouts().find_map(|about| about.severity.clone()).map(Name::into_owned);
    story.since = abouts().find_map(|about| about.since);
    let told = || details.iter().filter_map(|(detail, _)| detail.decided()?.incident.as_ref());
    story.container = told().find_map(|one| one.container.as_ref()).map(ToString::to_string);
    story.occurrences = told().find_map(|one| one.occurrences);
    let last = details.first();
    let ends = ["recovered", "objects_gone", "quiet", "state_unknown"];
    let over = last.filter(|(_, row)| row.reason == "never_told" || ends.contains(&row.reason.as_str()));
    story.ended_at =
        over.map(|(detail, row)| detail.about().and_then(|about| about.ended_at).unwrap_or(row.at));
    story.state = match last.map(|(_, row)| row.reason.as_str()) {
        Some(reason) if ends.contains(&reason) => "resolved",
        // What holds it back has told it as a part of itself.
        Some("never_told" | "inhibited_by") => "never_told",
        _ => "forgotten",
    };
}

fn of_incident(story: &mut IncidentStory, incident: ExplainedIncident, titles: &BTreeMap<String, String>) {
    let text = |text: Option<Arc<str>>| text.map(|text| text.to_string());
    story.state = incident.state;
    story.cause = Some(incident.cause.as_str().to_owned());
    story.overrides = incident.overrides.iter().map(ToString::to_string).collect();
    story.severity = Some(incident.severity.as_str().to_owned());
    story.namespace = text(incident.namespace);
    story.workload = incident.workload.to_string();
    story.container = text(incident.container);
    story.since = Some(incident.since);
    story.last_seen = Some(incident.last_seen);
    story.why = (!incident.why.is_empty()).then(|| incident.why.to_string());
    story.occurrences = Some(incident.occurrences);
    story.untold = Some(incident.untold);
    story.flaps = incident.flaps;
    story.ended_at = incident.ended_at;
    story.waits = incident.waits.map(|Waits { reason, since, until, by }| {
        waiting(reason.as_str(), (Some(since), until), by.as_deref(), titles)
    });
    story.quiet_until = incident.quiet_until;
}

fn waiting(
    reason: &str,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
    by: Option<&str>,
    titles: &BTreeMap<String, String>,
) -> Waiting {
    let by_title = by.and_then(|id| titles.get(id).cloned());
    Waiting { reason: reason.to_owned(), since, until, by: by.map(str::to_owned), by_title }
}

fn event(id: &str, row: &HistoryEntry, from: &Sources<'_>, lost: &BTreeSet<(Timestamp, String)>) -> Event {
    let detail = Detail::read(&row.detail);
    let by = detail.held().and_then(|held| held.by.as_deref());
    let waited = detail.held().and_then(|held| held.waited.as_ref());
    Event {
        at: row.at,
        decision: row.decision.clone(),
        reason: row.reason.clone(),
        title: row.title.clone(),
        by_title: by.and_then(|id| from.titles.get(id).cloned()),
        by: by.map(str::to_owned),
        until: detail.about().and_then(|about| about.until),
        waited: waited.map(|w| waiting(&w.reason, (w.since, w.until), w.by.as_deref(), from.titles)),
        receivers: if row.decision.is_some() { receipts(id, row, &detail, from, lost) } else { Vec::new() },
    }
}

/// Was another message queued under the key of this decision, and this one not? That is recorded; versions
/// that did not record it show a delivery from before the decision.
fn is_of_another(entry: &OutboxEntry, row: &HistoryEntry, lost: &BTreeSet<(Timestamp, String)>) -> bool {
    let before = entry.created_at < row.at && entry.ended_at.is_some_and(|ended| ended < row.at);
    before || lost.contains(&(row.at, entry.key.clone()))
}

/// Keys of notifications that were not queued, with the times of their decisions.
fn lost(rows: &[HistoryEntry]) -> BTreeSet<(Timestamp, String)> {
    let lost = rows.iter().filter(|row| row.reason == NOT_QUEUED);
    lost.filter_map(|row| match Detail::read(&row.detail) {
        Detail::NotQueued { key, .. } => Some((row.at, key)),
        _ => None,
    })
    .collect()
}

/// What became of each notification of a decision.
fn receipts(
    id: &str,
    row: &HistoryEntry,
    detail: &Detail,
    from: &Sources<'_>,
    lost: &BTreeSet<(Timestamp, String)>,
) -> Vec<Receipt> {
    // A row of several notifications that were delivered in one, or of a notice, is about no incident.
    let decided = detail.decided().cloned().unwrap_or_default();
    let key = decided.key;
    let names = |names: Vec<Arc<str>>| names.into_iter().map(|name| name.to_string());
    let found = key.as_deref().and_then(|key| from.deliveries.get(key)).or_else(|| from.deliveries.get(id));
    let mut receipts: Vec<Receipt> = names(decided.receivers)
        .flat_map(|receiver| {
            let of_receiver = |d: &&Delivery| {
                let entry = &d.entry;
                match &key {
                    Some(key) => {
                        let rest = entry.key.strip_prefix(key.as_str()).and_then(|k| k.strip_prefix('-'));
                        // One row, or one for each recipient, or for a fallback that is told as well.
                        rest.and_then(|k| k.strip_prefix(receiver.as_str()))
                            .is_some_and(|k| k.is_empty() || k.starts_with(['/', '@']))
                    }
                    // Written before keys were kept: of one decision at one time.
                    None => entry.receiver == receiver && entry.created_at == row.at,
                }
            };
            let mut told: Vec<Receipt> = found
                .into_iter()
                .flatten()
                .filter(of_receiver)
                .map(|delivery| {
                    if is_of_another(&delivery.entry, row, lost) {
                        let receiver = receiver.clone();
                        Receipt { receiver, state: NOT_QUEUED.to_owned(), ..Receipt::default() }
                    } else {
                        receipt(receiver.clone(), delivery, from.throttles)
                    }
                })
                .collect();
            told.sort_by(|a, b| (&a.fallback, &a.recipient).cmp(&(&b.fallback, &b.recipient)));
            if told.is_empty() {
                told.push(Receipt { receiver, state: "unknown".to_owned(), ..Receipt::default() });
            }
            told
        })
        .collect();
    for (list, state) in [(decided.skipped, "skipped"), (decided.digests, "digest")] {
        receipts.extend(names(list).map(|receiver| Receipt {
            receiver,
            state: state.to_owned(),
            ..Receipt::default()
        }));
    }
    receipts
}

fn receipt(receiver: String, delivery: &Delivery, throttles: &[Throttle]) -> Receipt {
    let entry = &delivery.entry;
    let queued = entry.state == "queued";
    // What is behind another row waits for that one.
    let left_alone =
        throttles.iter().find(|p| p.name == entry.receiver).filter(|_| queued && !delivery.behind);
    let next = entry.not_before.filter(|_| queued).max(left_alone.map(|p| p.until));
    let reason = match left_alone {
        Some(throttles) if entry.reason.is_empty() => &throttles.reason,
        _ => &entry.reason,
    };
    Receipt {
        fallback: (entry.receiver != receiver).then(|| entry.receiver.clone()),
        receiver,
        recipient: (!entry.recipient.is_empty()).then(|| entry.recipient.clone()),
        state: entry.state.clone(),
        at: entry.ended_at,
        next_attempt: next,
        attempts: entry.attempts,
        reason: reason.clone(),
        inside: entry.inside.clone(),
        behind: delivery.behind,
        key: Some(entry.key.clone()),
    }
}
