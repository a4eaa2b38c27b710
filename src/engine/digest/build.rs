//! A book and the open incidents become one decision.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::state::{DigestState, HeldSoFar, slim};
use crate::clock;
use crate::engine::silence::BY_ANNOTATION;
use crate::engine::{Decided, Effects, Engine, Incident};
use crate::message::{
    Decision, Digest, Group, HeldBack, IncidentView, Notification, Reason, Section, SpanCount,
};
use crate::signal::{Cause, Severity, Workload, World};

/// How many of those that go on, and of those that are over, are listed however many new ones there are.
const KEPT_FREE: usize = 100;
/// At most so many spans in the picture of when problems began.
const MAX_SPANS: usize = 48;

type Place = (Option<Arc<str>>, Option<Arc<str>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Ongoing,
    Resolved,
}

/// What is needed of an incident to count and order it.
#[derive(Debug)]
struct Item {
    id: Arc<str>,
    state: State,
    severity: Severity,
    cause: Cause,
    place: Place,
    workload: Workload,
    since: Timestamp,
    members: u32,
    occurrences: u64,
    /// How many of these a digest told of.
    known: u64,
    unknown: bool,
}

impl Item {
    /// More of what somebody was or is told of now.
    fn repeats(&self) -> u64 {
        match self.known {
            // Each member's first time is news.
            0 => self.occurrences.saturating_sub(u64::from(self.members)),
            known => self.occurrences.saturating_sub(known),
        }
    }
}

impl Engine {
    /// Decides every digest that is due at `now`.
    pub(in crate::engine) fn tell_digests(&mut self, now: Timestamp, world: &dyn World, out: &mut Effects) {
        while let Some(name) = self.digest_states.due(now) {
            let Some(mut book) = self.digest_states.all.remove(&name) else { return };
            self.tell_digest(&mut book, now, world, out);
            out.digests.insert((Arc::clone(&name), None));
            if book.closing {
                out.digests.extend(book.entries.keys().map(|id| (Arc::clone(&name), Some(Arc::clone(id)))));
                if !self.reachable.contains(&name) {
                    self.incidents.iter_mut().for_each(|i| i.receivers.retain(|receiver| *receiver != name));
                }
            } else {
                let schedule = self.settings.digests.iter().find(|d| d.name == name).map(|d| &d.schedule);
                book.seen = now;
                book.at = schedule.and_then(|schedule| schedule.next_after(now));
                (book.due, book.missed) = (book.at, 0);
                self.digest_states.all.insert(name, book);
            }
        }
    }

    fn tell_digest(&mut self, book: &mut DigestState, now: Timestamp, world: &dyn World, out: &mut Effects) {
        self.find_vanished(book);
        let mut items = self.items(book, now);
        // A last digest is about what is not known yet.
        items.retain(|item| !book.closing || item.state != State::Ongoing);
        let groups = groups(&items);
        let rank: HashMap<&Place, usize> = groups.iter().enumerate().map(|(n, (p, _))| (p, n)).collect();
        items.sort_by_cached_key(|i| {
            let rank = rank.get(&i.place).copied().unwrap_or(usize::MAX);
            (rank, !i.cause.is_node(), Reverse(i.severity), Reverse(i.members), i.since, Arc::clone(&i.id))
        });
        repeats(book, &items);
        let empty = self.settings.digests.iter().any(|d| d.name == book.receiver && d.empty);
        let owed =
            book.more_resolved > 0 || !items.is_empty() || book.held.iter().any(|held| speaks(held.reason));
        if !owed && !empty {
            // What was held back is told with the next that has something to say.
            book.held.retain(|held| held.reason != Reason::WithinWindow);
            return;
        }
        let listed = listed(&items);
        let views: Vec<IncidentView> = listed
            .iter()
            .filter_map(|item| match book.entries.get(&item.id) {
                Some(entry) if item.state == State::Resolved => Some(entry.view.clone()),
                _ => self.view(&item.id, now, world).map(|view| slim(&view)),
            })
            .collect();
        let mut digest = draw(book, &items, &listed, &groups, now);
        digest.held.extend(self.held_by_annotations(book));
        book.seq += 1;
        self.identity.numbers.digests += 1;
        let (decision, reason) = (Decision::Digest, Reason::Schedule);
        *self.decisions.entry((decision, reason)).or_default() += 1;
        for view in views.iter().filter(|view| view.ended_at.is_none()) {
            book.adopt(view, view.occurrences);
        }
        turn_over(book, &items, now, out);
        out.decided.push(Decided {
            at: now,
            decision,
            reason,
            thread: Arc::from(Decided::SUMMARIES),
            seq: book.seq,
            number: self.identity.numbers.digests,
            receivers: vec![Arc::clone(&book.receiver)],
            total: digest.total(),
            incidents: views,
            digest: Some(Box::new(digest)),
        });
    }

    /// Is or would this receiver be told of it? It may be new itself.
    fn concerns(&self, incident: &Incident, receiver: &Arc<str>) -> bool {
        incident.receivers.contains(receiver)
            || self.rule_of(incident).is_some_and(|rule| {
                self.told_of(&incident.signal, &rule, incident.severity).contains(receiver)
            })
    }

    /// What annotations hold back at this moment of what the receiver would be told: most first.
    fn held_by_annotations(&self, book: &DigestState) -> Vec<HeldBack> {
        let mut by: BTreeMap<(Reason, Arc<str>), HeldSoFar> = BTreeMap::new();
        let mut open: Vec<&Incident> = self.incidents.iter().filter(|i| !i.is_ended()).collect();
        open.sort_by(|a, b| (&a.namespace, &a.workload, &a.id).cmp(&(&b.namespace, &b.workload, &b.id)));
        for incident in open {
            let Some(quiet) = incident.quiet.as_ref().filter(|quiet| quiet.by.starts_with(BY_ANNOTATION))
            else {
                continue;
            };
            if self.concerns(incident, &book.receiver) {
                by.entry((quiet.reason, Arc::clone(&quiet.by)))
                    .or_insert_with(|| HeldSoFar::new(quiet.reason))
                    .add(incident.namespace.as_ref(), &incident.workload, 1);
            }
        }
        let mut held: Vec<HeldBack> = by
            .into_iter()
            .map(|((_, by), held)| HeldBack { by: Some(by), ..held.shown(Digest::MAX_HELD_WORKLOADS) })
            .collect();
        held.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.by.cmp(&b.by)));
        held.truncate(Digest::MAX_ANNOTATIONS);
        held
    }

    /// Incidents that nobody knows any more: their rule was taken away.
    fn find_vanished(&self, book: &mut DigestState) {
        for entry in book.entries.values_mut().filter(|entry| entry.end.is_none()) {
            let here = self.incidents.get(&entry.view.id);
            if here.is_none_or(Incident::is_ended) {
                entry.end = Some(Reason::StateUnknown);
                entry.view.ended_at = Some(entry.view.last_seen);
                entry.view.end_reason = Some(Reason::StateUnknown);
            }
        }
    }

    /// Everything to count, in no order.
    fn items(&self, book: &DigestState, now: Timestamp) -> Vec<Item> {
        let open = self
            .incidents
            .iter()
            .filter(|i| i.is_open() && !i.gathers() && self.concerns(i, &book.receiver))
            .map(|i| {
                let entry = book.entries.get(&i.id);
                // What is not in the book was told one by one, or did not find room there.
                let told = entry.map_or(i.since < book.since, |entry| entry.told);
                let members = i.affected();
                Item {
                    id: Arc::clone(&i.id),
                    state: if told { State::Ongoing } else { State::New },
                    severity: i.severity,
                    cause: i.cause,
                    place: (
                        i.namespace.clone(),
                        i.signal.label("team").filter(|team| !team.is_empty()).map(Arc::from),
                    ),
                    workload: i.workload.clone(),
                    since: i.since.min(now),
                    members,
                    occurrences: i.occurrences.max(u64::from(members)),
                    known: entry.map_or(if told { u64::MAX } else { 0 }, |entry| entry.occurrences),
                    unknown: false,
                }
            });
        let over = book.entries.values().filter_map(|entry| {
            let view = &entry.view;
            Some(Item {
                id: Arc::clone(&view.id),
                state: State::Resolved,
                unknown: matches!(entry.end?, Reason::StateUnknown | Reason::OverLimit),
                severity: view.severity,
                cause: view.cause,
                place: (view.namespace.clone(), view.team.clone()),
                workload: view.workload.clone(),
                since: view.since,
                members: view.members_total,
                occurrences: view.occurrences,
                known: entry.occurrences,
            })
        });
        open.chain(over).collect()
    }
}

impl super::DigestStates {
    fn due(&self, now: Timestamp) -> Option<Arc<str>> {
        self.all.values().find(|book| book.at.is_some_and(|at| at <= now)).map(|b| Arc::clone(&b.receiver))
    }
}

/// Is this worth a digest where nothing else happened? That something was over before it was told is
/// normal life.
const fn speaks(reason: Reason) -> bool {
    matches!(reason, Reason::SilencedBy | Reason::Muted | Reason::OverLimit)
}

/// By namespace and team, the worst first.
fn groups(items: &[Item]) -> Vec<(Place, Group)> {
    let mut groups: BTreeMap<Place, (bool, Group)> = BTreeMap::new();
    for item in items {
        let (namespace, team) = item.place.clone();
        let (node, group) = groups.entry(item.place.clone()).or_insert_with(|| {
            (false, Group { namespace, team, worst: None, new: 0, ongoing: 0, resolved: 0 })
        });
        match item.state {
            State::New => group.new += 1,
            State::Ongoing => group.ongoing += 1,
            State::Resolved => group.resolved += 1,
        }
        if item.state != State::Resolved {
            group.worst = group.worst.max(Some(item.severity));
            *node |= item.cause.is_node();
        }
    }
    let mut sorted: Vec<(Place, (bool, Group))> = groups.into_iter().collect();
    // Nodes explain what happens on them.
    sorted.sort_by_cached_key(|(place, (node, group))| {
        let open = group.new.saturating_add(group.ongoing);
        (Reverse(group.worst), !node, Reverse(open), Reverse(group.total()), place.clone())
    });
    sorted.into_iter().map(|(place, (_, group))| (place, group)).collect()
}

/// Repeats were folded into their incident, and are counted as held back.
fn repeats(book: &mut DigestState, items: &[Item]) {
    for item in items {
        let more = item.repeats();
        if more > 0 {
            book.hold_back(Reason::WithinWindow, item.place.0.as_ref(), &item.workload, more);
        }
    }
}

/// Those that the notification carries, in order.
fn listed(items: &[Item]) -> Vec<&Item> {
    let of = |state| items.iter().filter(move |item| item.state == state);
    let (ongoing, resolved) = (of(State::Ongoing).count(), of(State::Resolved).count());
    let mut room = Notification::MAX_INCIDENTS;
    let new = room - ongoing.min(KEPT_FREE) - resolved.min(KEPT_FREE);
    let mut listed: Vec<&Item> = of(State::New).take(new).collect();
    room -= listed.len();
    let ongoing = room - resolved.min(KEPT_FREE);
    listed.extend(of(State::Ongoing).take(ongoing));
    let room = Notification::MAX_INCIDENTS.saturating_sub(listed.len());
    listed.extend(of(State::Resolved).take(room));
    listed
}

fn draw(
    book: &DigestState,
    items: &[Item],
    listed: &[&Item],
    groups: &[(Place, Group)],
    now: Timestamp,
) -> Digest {
    let section = |state, more: u32| {
        let total = u32::try_from(items.iter().filter(|i| i.state == state).count()).unwrap_or(u32::MAX);
        let incidents = listed.iter().filter(|i| i.state == state).map(|i| Arc::clone(&i.id)).collect();
        Section { total: total.saturating_add(more), incidents }
    };
    let mut causes: BTreeMap<Cause, u32> = BTreeMap::new();
    let mut severities: BTreeMap<Severity, u32> = BTreeMap::new();
    for item in items {
        *causes.entry(item.cause).or_default() += 1;
        if item.state != State::Resolved {
            *severities.entry(item.severity).or_default() += 1;
        }
    }
    let mut causes: Vec<(Cause, u32)> = causes.into_iter().collect();
    causes.sort_by_key(|(cause, count)| (Reverse(*count), *cause));
    let mut held: Vec<_> = book.held.iter().map(|h| h.shown(Digest::MAX_HELD_WORKLOADS)).collect();
    held.sort_by_key(|held| held.reason);
    Digest {
        since: book.since,
        until: now,
        due: book.due.unwrap_or(now),
        missed: book.missed,
        timezone: Arc::clone(&book.timezone),
        last: book.closing,
        new: section(State::New, 0),
        ongoing: section(State::Ongoing, 0),
        resolved: section(State::Resolved, book.more_resolved),
        unknown: listed.iter().filter(|i| i.unknown).map(|i| Arc::clone(&i.id)).collect(),
        severities: severities.into_iter().rev().collect(),
        causes,
        groups: groups.iter().take(Digest::MAX_GROUPS).map(|(_, group)| group.clone()).collect(),
        groups_total: u32::try_from(groups.len()).unwrap_or(u32::MAX),
        begun: begun(book, items, now),
        held,
    }
}

/// How many problems began in each hour, or in each day (or few days) of a longer time.
fn begun(book: &DigestState, items: &[Item], now: Timestamp) -> Vec<SpanCount> {
    let mut spans = spans(book.since, now, &TimeZone::get(&book.timezone).unwrap_or(TimeZone::UTC));
    if spans.len() < 2 {
        return Vec::new();
    }
    for item in items.iter().filter(|i| i.since >= book.since) {
        let behind = spans.partition_point(|span| span.from <= item.since);
        if let Some(span) = spans.get_mut(behind.saturating_sub(1)) {
            span.count = span.count.saturating_add(1);
        }
    }
    spans
}

fn spans(since: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<SpanCount> {
    let hours = clock::between(since, until).as_secs() / 3600;
    let days = i64::try_from(hours / 24).unwrap_or(i64::MAX);
    let most = i64::try_from(MAX_SPANS).unwrap_or(i64::MAX);
    let local = since.to_zoned(zone.clone());
    let mut spans = Vec::new();
    let mut push = |from: Timestamp| {
        spans.push(SpanCount { from, count: 0 });
        spans.len() <= MAX_SPANS
    };
    if hours < 44 {
        // Zones are off by whole hours, by halves and by quarters; clock changes keep the minutes.
        let past = i64::from(local.minute()) * 60 + i64::from(local.second());
        let mut from = since.checked_sub(SignedDuration::from_secs(past)).unwrap_or(since);
        while from < until && push(from) {
            let Ok(next) = from.checked_add(SignedDuration::from_hours(1)) else { break };
            from = next;
        }
    } else {
        let step = days / (most - 2) + 1;
        let mut day = local.date();
        while let Ok(start) = day.to_zoned(zone.clone()) {
            if start.timestamp() >= until || !push(start.timestamp()) {
                break;
            }
            let Ok(next) = day.checked_add(SignedDuration::from_hours(24 * step)) else { break };
            day = next;
        }
    }
    spans
}

/// The book begins anew: what is open was told, what is over is forgotten.
fn turn_over(book: &mut DigestState, items: &[Item], now: Timestamp, out: &mut Effects) {
    let occurrences: HashMap<&Arc<str>, u64> = items.iter().map(|i| (&i.id, i.occurrences)).collect();
    let receiver = Arc::clone(&book.receiver);
    book.entries.retain(|id, entry| {
        out.digests.insert((Arc::clone(&receiver), Some(Arc::clone(id))));
        entry.told = true;
        entry.occurrences = occurrences.get(id).copied().unwrap_or(entry.occurrences);
        entry.end.is_none()
    });
    (book.since, book.more_resolved) = (now, 0);
    book.held.clear();
}
