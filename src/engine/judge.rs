//! What is due for one incident now: a pure function. [`Engine::evaluate`](super::Engine) does it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::incident::Life;
use super::recover::stable_for;
use super::{Incident, Member, Settings};
use crate::clock;
use crate::message::{Decision, Reason};
use crate::rule::Rule;
use crate::signal::{Cause, Exit, Health, World};

/// Pods of a new revision that are available have to stay so for this long.
const SETTLE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing before this moment, or before something changes.
    Wait(Option<Timestamp>),
    /// Nobody was notified, and nobody has the problem at this moment.
    Calm,
    /// Nobody was notified, and nobody is left who could have the problem.
    Gone,
    /// It has not lasted for long enough or happened often enough.
    NotYet {
        reason: Reason,
        until: Option<Timestamp>,
    },
    /// It became due by the clock alone while this kind could not be seen: what is known of it is too old.
    Unseen(Arc<str>),
    /// Another incident explains it.
    Held(Arc<str>),
    /// It is due; until then members gather.
    Gather {
        due_at: Timestamp,
        until: Timestamp,
    },
    /// Somebody is to be notified of its beginning.
    Begin {
        due_at: Timestamp,
    },
    /// It has grown; until then more members gather.
    Growing {
        until: Timestamp,
    },
    /// It happened again within the window.
    Repeats {
        window_ends: Timestamp,
    },
    /// Who was notified is to be told of growth, or reminded.
    Tell(Decision, Reason),
    Over(Reason),
}

/// What a judgement needs to know beside the incident.
pub(super) struct Context<'a> {
    pub now: Timestamp,
    pub settings: &'a Settings,
    pub world: &'a dyn World,
    /// Which incident holds it back; asked only of what is due.
    pub holder: &'a dyn Fn() -> Option<Arc<str>>,
    /// How the last members left, where they did just now.
    pub recovered: Option<Reason>,
    /// How its workload is, where nothing else can tell whether it is over.
    pub health: Health,
}

pub(super) fn judge(incident: &Incident, rule: &Rule, context: &Context<'_>) -> Verdict {
    match (incident.is_open(), incident.members.is_empty()) {
        (false, true) => Verdict::Gone,
        (false, false) => waiting(incident, rule, context),
        (true, true) => over(incident, rule, context),
        (true, false) if incident.gathers() => Verdict::Wait(None),
        (true, false) => open(incident, rule, context),
    }
}

/// Nobody was notified yet.
fn waiting(incident: &Incident, rule: &Rule, context: &Context<'_>) -> Verdict {
    let now = context.now;
    let due = incident.raised().map(|member| due(member, rule)).min();
    let due = if incident.hastened { due.map(|due| due.min(now)) } else { due };
    let due_at = incident.life().due_at();
    // A crash loop that is due stays so while its container runs for a moment.
    let due = due.or_else(|| due_at.filter(|_| incident.cause.is_run()));
    // A kill that was held back has happened, also if its container runs again.
    let held = incident.held_by().is_some() && !matches!(incident.life(), Life::Reopening { .. });
    let due = due.or_else(|| (held && incident.cause == Cause::OOMKilled).then_some(now));
    let Some(due) = due else { return Verdict::Calm };
    if now < due {
        return Verdict::NotYet { reason: Reason::NotYetFor, until: Some(due) };
    }
    if let Some(count) = rule.count.filter(|_| !incident.hastened) {
        let from = clock::before(now, count.within);
        let within = incident.times.iter().filter(|(at, _)| *at >= from);
        if within.map(|(_, n)| u64::from(*n)).sum::<u64>() < u64::from(count.at_least) {
            return Verdict::NotYet { reason: Reason::BelowCount, until: None };
        }
    }
    if due_at.is_none()
        && !incident.hastened
        && let Some(kind) = unseen(incident, rule, context)
    {
        return Verdict::Unseen(kind);
    }
    if let Some(holder) = (context.holder)() {
        return Verdict::Held(holder);
    }
    let due_at = due_at.unwrap_or(now);
    let until = clock::after(due_at, group_wait(rule, context));
    if now < until { Verdict::Gather { due_at, until } } else { Verdict::Begin { due_at } }
}

/// When a member is due, if it goes on having the problem.
fn due(member: &Member, rule: &Rule) -> Timestamp {
    clock::after(member.since, rule.for_duration).max(member.not_before.unwrap_or(Timestamp::MIN))
}

/// The kind that cannot be seen, if nothing else shows that a problem which is due now still stands. What has
/// happened stays true.
fn unseen(incident: &Incident, rule: &Rule, context: &Context<'_>) -> Option<Arc<str>> {
    if incident.cause.is_point() || incident.cause == Cause::OOMKilled {
        return None;
    }
    let shown_by = |member: &Member| -> Arc<str> {
        if member.pulse { Arc::from("Event") } else { Arc::clone(&member.object.kind) }
    };
    let mut members = incident.raised().filter(|m| due(m, rule) <= context.now).peekable();
    let first = shown_by(members.peek()?);
    let all = members.all(|m| context.world.is_unseen(&shown_by(m), m.object.namespace.as_deref()));
    all.then_some(first)
}

/// Somebody was notified, and it goes on.
fn open(incident: &Incident, rule: &Rule, context: &Context<'_>) -> Verdict {
    let Some(notified) = incident.notified() else { return Verdict::Wait(None) };
    let now = context.now;
    let active = incident.raised().next().is_some();
    let worse = incident.severity > notified.severity;
    if active && (steps_passed(context.settings, incident) > notified.step || worse) {
        let until = clock::after(notified.grew_at.unwrap_or(now), group_wait(rule, context));
        if now < until {
            return Verdict::Growing { until };
        }
        return Verdict::Tell(Decision::Grew, if worse { Reason::Escalated } else { Reason::Grew });
    }
    let window_ends = notified.window_ends.unwrap_or(now);
    let fresh = incident.untold() > 0;
    if now < window_ends {
        return match fresh && !notified.repeats_noted {
            true => Verdict::Repeats { window_ends },
            false => Verdict::Wait(Some(window_ends)),
        };
    }
    let state = incident.raised().any(|m| !m.pulse && m.unknown_since.is_none());
    if !active || !(fresh || state) {
        // Recovering, or nothing new: a reminder would say what is not known to be so.
        return Verdict::Wait(None);
    }
    Verdict::Tell(Decision::Reminder, Reason::Reminder)
}

/// Is an incident without members over? A pod that is gone may come back as bad as before; only its
/// workload can tell.
fn over(incident: &Incident, rule: &Rule, context: &Context<'_>) -> Verdict {
    let (now, departed) = (context.now, &incident.departed);
    if departed.left == 0 {
        return Verdict::Over(context.recovered.unwrap_or(Reason::Recovered));
    }
    if incident.cause == Cause::StuckTerminating {
        // That it is gone is all that was waited for.
        return Verdict::Over(Reason::ObjectsGone);
    }
    let empty = departed.empty_since.unwrap_or(now);
    let stable = stable_for(incident, rule);
    let at = match context.health {
        Health::Absent => empty,
        Health::Unknown => clock::after(empty, stable),
        // Something else is wrong with it by now; this problem has nobody left to have it.
        Health::Unhealthy => clock::after(empty, rule.resolve_after.max(stable)),
        Health::Healthy => {
            let namespace = incident.namespace.as_deref();
            let revision = context.world.revision(namespace, &incident.workload);
            let replaced = revision.is_some_and(|r| !departed.left_revisions.contains(&r));
            // The same pods once more: they looked well for a moment before, too.
            let need = match (incident.cause.is_run(), replaced) {
                (true, false) => stable,
                // New pods have to outlive the run that ended so badly.
                (true, true) => {
                    let ran = incident.exit.as_ref().and_then(Exit::ran).unwrap_or_default();
                    stable.min(SETTLE.saturating_add(ran))
                }
                (false, _) => stable.min(SETTLE),
            };
            clock::after(departed.well_since.unwrap_or(now), need)
        }
    };
    if now >= at { Verdict::Over(Reason::ObjectsGone) } else { Verdict::Wait(Some(at)) }
}

fn group_wait(rule: &Rule, context: &Context<'_>) -> Duration {
    rule.group_wait.unwrap_or(context.settings.group_wait)
}

/// How many growth steps the members have passed.
pub(super) fn steps_passed(settings: &Settings, incident: &Incident) -> usize {
    let affected = incident.affected();
    settings.growth_steps.iter().filter(|step| **step <= affected).count()
}

/// When the window that began at `from` ends: it doubles with each reminder.
pub(super) fn window_ends(from: Timestamp, reminders: u32, rule: &Rule) -> Timestamp {
    let doubled = rule.window.saturating_mul(2_u32.saturating_pow(reminders.min(16)));
    clock::after(from, doubled.min(rule.max_window.max(rule.window)))
}
