//! Room for incidents, shared fairly.
//!
//! At most `max_incidents` are followed. A tenth of that, and no more than a hundred, is kept for nodes and
//! what else belongs to no namespace: it explains what happens everywhere. Past that it shares as namespaces
//! do. Where there is no room left, the largest share gives way:
//!
//! 1. what has ended is forgotten first;
//! 2. a newcomer takes the place of an incident of the namespace with the largest share, if that is larger than
//!    its own by two or more (so that no place goes back and forth), or of one that is worth less than itself:
//!    what is silenced is worth least, then what another incident holds back, then what is less severe;
//! 3. whatever finds no place is counted by namespace, and looked for again in the live state once there may be
//!    room. Moments and Events, which the live state does not show, are kept, bounded, and taken in again.
//!
//! An incident that was told and gives way is told to be no longer followed, and every one is recorded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use super::incident::Tenant;
use super::incident::object_key;
use super::{Effects, Engine, Incident, Member};
use crate::clock;
use crate::message::Reason;
use crate::rule::Rule;
use crate::signal::{Cause, Phase, Severity, Signal, World};

/// One part in so many of the room is kept for what belongs to no namespace.
const RESERVE_PART: usize = 10;
/// No more than this is kept for it.
const MAX_RESERVE: usize = 100;
/// What found no room is looked for again at least this often…
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// …and so soon after room may have become free.
const LOOK_SOON: Duration = Duration::from_secs(5);
/// At most so many problems without room are told apart; more are not counted.
const MAX_LEFT_OUT: usize = 20_000;
/// At most so many Events and moments without room are kept…
const MAX_KEPT: usize = 1_000;
/// …so many of one namespace…
const MAX_KEPT_OF_ONE: usize = 50;
/// …and none that is older: Events live for an hour.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// That there was no place is believed for this long: under a flood of signals not each of them looks at all
/// incidents.
const NO_PLACE_FOR: Duration = Duration::from_secs(5);
/// At most so many namespaces are remembered to have found no place.
const MAX_NO_PLACE: usize = 4_096;

/// How much an incident is worth its place: what gives way first is the least.
type Worth = (u8, Severity);

/// A problem, by object and cause.
type Problem = (Arc<str>, Cause);

/// Where a newcomer goes.
pub(super) enum Place {
    Free,
    /// This incident gives way.
    Of(Arc<str>),
    None,
}

/// The limit is reached: some problems are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    pub limit: usize,
    pub since: Timestamp,
    /// Who has most room, and how many incidents.
    pub largest: (Tenant, usize),
    /// How many problems are not followed, by whose; most first.
    pub left_out: Vec<(Tenant, usize)>,
}

/// Who has how much room, and what found none.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    left_out: BTreeMap<Tenant, BTreeSet<Problem>>,
    /// How many there are in `left_out`.
    total: usize,
    /// What was left out at the last look, while there is another: it is no news.
    before: BTreeMap<Tenant, BTreeSet<Problem>>,
    kept: VecDeque<Signal>,
    since: Option<Timestamp>,
    look_at: Option<Timestamp>,
    wants_look: bool,
    freed: bool,
    no_place: BTreeMap<(Tenant, Severity), Timestamp>,
    displaced: u64,
}

impl Rooms {
    /// There may be room now.
    pub(super) fn free(&mut self) {
        self.freed = self.total > 0;
        self.no_place.clear();
    }

    /// Brings the next look forward, where room may have become free.
    pub(super) fn saw(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.freed) {
            let soon = clock::after(now, LOOK_SOON);
            self.look_at = self.look_at.map(|at| at.min(soon));
        }
    }

    pub(super) const fn next(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// The clock was set by `by` and shows `now`.
    pub(super) fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        self.look_at = self.look_at.map(|at| clock::moved(at, by));
        self.since = self.since.map(|at| clock::past(at, by, now));
        self.no_place.clear();
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = Some(clock::after(now, LOOK_AGAIN));
            self.wants_look = true;
        }
    }

    /// A problem found no room. False: that is known already.
    fn leave_out(&mut self, now: Timestamp, tenant: &Tenant, problem: Problem) -> bool {
        self.since.get_or_insert(now);
        self.look_at.get_or_insert(clock::after(now, LOOK_AGAIN));
        let news = !self.before.get(tenant).is_some_and(|known| known.contains(&problem));
        if self.total >= MAX_LEFT_OUT {
            return news;
        }
        let new = self.left_out.entry(tenant.clone()).or_default().insert(problem);
        self.total += usize::from(new);
        new && news
    }

    /// Keeps what the live state does not show.
    fn keep(&mut self, signal: &Signal) {
        let past = signal.cause.is_point() || signal.cause == Cause::OOMKilled;
        if signal.phase != Phase::Pulse && !past {
            return;
        }
        let same = |kept: &Signal| {
            object_key(&kept.object) == object_key(&signal.object)
                && (kept.cause, &kept.container) == (signal.cause, &signal.container)
        };
        if let Some(known) = self.kept.iter_mut().find(|kept| same(kept)) {
            let count = known.count.saturating_add(signal.count);
            *known = Signal { count, since: known.since.or(Some(known.at)), ..signal.clone() };
            return;
        }
        let tenant = &signal.object.namespace;
        let of_one = self.kept.iter().filter(|kept| kept.object.namespace == *tenant).count();
        if self.kept.len() < MAX_KEPT && of_one < MAX_KEPT_OF_ONE {
            self.kept.push_back(signal.clone());
        }
    }
}

impl Engine {
    /// Is the limit on incidents reached, so that problems are not followed?
    pub fn limit_reached(&self) -> Option<LimitReached> {
        let since = self.rooms.since?;
        let largest = self.incidents.namespaces().map(|(of, count)| (count, Reverse(of.clone()))).max();
        let mut left_out: Vec<(Tenant, usize)> =
            self.rooms.left_out.iter().map(|(tenant, problems)| (tenant.clone(), problems.len())).collect();
        left_out.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Some(LimitReached {
            limit: self.settings.max_incidents,
            since,
            largest: largest.map_or((None, 0), |(count, Reverse(tenant))| (tenant, count)),
            left_out,
        })
    }

    /// How many incidents gave way to others.
    pub const fn displaced(&self) -> u64 {
        self.rooms.displaced
    }

    /// Is everything that stands to be shown once more ([`Self::begin_look`])? Asked once for each look.
    pub fn take_look(&mut self) -> bool {
        std::mem::take(&mut self.rooms.wants_look)
    }

    /// Everything that stands is shown from here on ([`Self::stands`]), so that what found no room is taken in
    /// or counted anew. What the live state does not show is taken in again at once.
    pub fn begin_look(&mut self, now: Timestamp, world: &dyn World, out: &mut Effects) {
        let rooms = &mut self.rooms;
        rooms.before = std::mem::take(&mut rooms.left_out);
        rooms.total = 0;
        rooms.freed = false;
        rooms.no_place.clear();
        for signal in std::mem::take(&mut rooms.kept) {
            if clock::between(signal.at, now) < KEPT_FOR {
                self.raise(now, &signal, world, out);
            }
        }
    }

    /// Everything that stands was shown.
    pub fn end_look(&mut self, now: Timestamp) {
        let rooms = &mut self.rooms;
        rooms.before.clear();
        if rooms.total == 0 {
            (rooms.since, rooms.look_at, rooms.freed) = (None, None, false);
        } else {
            rooms.look_at = Some(clock::after(now, LOOK_AGAIN));
        }
    }

    /// Finds a place for the incident that a signal would begin.
    pub(super) fn find_place(
        &mut self,
        now: Timestamp,
        rule: &Rule,
        signal: &Signal,
        world: &dyn World,
    ) -> Place {
        let tenant = signal.object.namespace.clone();
        let limit = self.settings.max_incidents;
        let reserve = (limit / RESERVE_PART).min(MAX_RESERVE);
        let of_cluster = self.incidents.count_of_namespace(&None);
        let pool_full =
            tenant.is_some() && self.incidents.len().saturating_sub(of_cluster) >= limit - reserve;
        if self.incidents.len() < limit && !pool_full {
            return Place::Free;
        }
        if self.rooms.no_place.get(&(tenant.clone(), rule.severity)).is_some_and(|until| now < *until) {
            return Place::None;
        }
        // What is kept free for the cluster is nobody else's; below it the cluster has a place in any case.
        let share =
            |of: &Tenant, count: usize| if of.is_none() { count.saturating_sub(reserve) } else { count };
        let own = share(&tenant, self.incidents.count_of_namespace(&tenant));
        let rooms = self.incidents.namespaces().map(|(of, count)| (share(of, count), of.clone()));
        let mut rooms: Vec<(usize, Tenant)> =
            rooms.filter(|(share, of)| *share > 0 && !(pool_full && of.is_none())).collect();
        rooms.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let ended = rooms.iter().find_map(|(_, of)| self.oldest_ended(of));
        if let Some(id) = ended {
            return Place::Of(id);
        }
        let worth = self.worth_of_newcomer(now, rule, signal, world);
        for (share, of) in rooms.iter().filter(|(share, of)| *share > own || *of == tenant) {
            let fair = *of != tenant && *share >= own + 2;
            let Some((least, id)) = self.least_of(of) else { continue };
            if least < worth || fair && least == worth {
                return Place::Of(id);
            }
        }
        if worth.0 == WORTH_ITS_PLACE {
            if self.rooms.no_place.len() >= MAX_NO_PLACE {
                self.rooms.no_place.clear();
            }
            self.rooms.no_place.insert((tenant, rule.severity), clock::after(now, NO_PLACE_FOR));
        }
        Place::None
    }

    /// The incident that has been over for longest.
    fn oldest_ended(&self, tenant: &Tenant) -> Option<Arc<str>> {
        let ended = self.incidents.of_namespace(tenant).filter(|i| i.is_ended());
        let ended = ended.filter_map(|i| Some((i.life().end()?.at, Arc::clone(&i.id))));
        ended.min().map(|(_, id)| id)
    }

    /// The incident that is worth least: of equals one that was not told, and of these the newest.
    fn least_of(&self, tenant: &Tenant) -> Option<(Worth, Arc<str>)> {
        let incidents = self.incidents.of_namespace(tenant);
        incidents
            .map(|i| (worth(i), i.notified().is_some(), Reverse(i.number), Arc::clone(&i.id)))
            .min()
            .map(|(worth, _, _, id)| (worth, id))
    }

    fn worth_of_newcomer(&self, now: Timestamp, rule: &Rule, signal: &Signal, world: &dyn World) -> Worth {
        let mut draft = Incident::new((0, Arc::from("")), now, rule, signal, false);
        let key = (object_key(&signal.object), signal.container.clone());
        draft.members.insert(key, Member::of(signal, now));
        let quiet = self.is_quiet(&draft, now, world);
        (if quiet { SILENCED } else { WORTH_ITS_PLACE }, rule.severity)
    }

    /// A problem found no place.
    pub(super) fn leave_out(&mut self, now: Timestamp, signal: &Signal, rule: &Rule, out: &mut Effects) {
        let problem = (object_key(&signal.object), signal.cause);
        self.rooms.keep(signal);
        if self.rooms.leave_out(now, &signal.object.namespace, problem) {
            self.refused += 1;
            self.unmatched(now, signal, Reason::OverLimit, out);
            self.book_refused(signal, rule, out);
        }
    }

    /// Gives an incident's place to another one, `to`.
    pub(super) fn displace(
        &mut self,
        id: &Arc<str>,
        to: &Arc<str>,
        now: Timestamp,
        world: &dyn World,
        out: &mut Effects,
    ) {
        let Some(incident) = self.incidents.get(id) else { return };
        let freed = self.rooms.freed;
        if incident.is_ended() {
            self.remove(id, out);
        } else {
            self.rooms.displaced += 1;
            for member in incident.raised() {
                self.rooms.leave_out(now, &incident.namespace, (member.key(), incident.cause));
                if member.pulse {
                    let (object, container) = (member.object.clone(), member.part.clone());
                    let (at, since, phase) = (member.last, Some(member.since), Phase::Pulse);
                    let node = member.node.clone();
                    let signal = Signal {
                        at,
                        since,
                        phase,
                        object,
                        container,
                        node,
                        count: 1,
                        ..(*incident.signal).clone()
                    };
                    self.rooms.keep(&signal);
                }
            }
            self.give_up(id, (Reason::OverLimit, Some(Arc::clone(to))), true, now, world, out);
        }
        // The room is taken already.
        self.rooms.freed = freed;
    }
}

/// Silenced, and not told.
const SILENCED: u8 = 0;
/// Told by another one that holds it back.
const HELD_BACK: u8 = 1;
const WORTH_ITS_PLACE: u8 = 2;

fn worth(incident: &Incident) -> Worth {
    let class = match (&incident.quiet, incident.held_by()) {
        _ if incident.is_open() => WORTH_ITS_PLACE,
        (Some(_), _) => SILENCED,
        (_, Some(_)) => HELD_BACK,
        _ => WORTH_ITS_PLACE,
    };
    (class, incident.severity)
}
