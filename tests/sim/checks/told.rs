//! Every problem is told or there is a reason why not; nothing else is told; nothing is over too early.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cluster::TARGETS;
use super::super::hostile::TENANT;
use super::super::plan::{Annotation, HOUR, MINUTE, Ms, SECOND, Story, What};
use super::super::record::HistoryLine;
use super::super::run::Failure;
use super::super::settings::{GROUP_WAIT, HOOK, MUTED, OVER_WITHIN, rule_of};
use super::super::stories::Trouble;
use super::spans::{Span, longest, without};
use super::{Case, Line, clock, since_began};

/// Beside `for` and gathering, for everything on the way to be done.
const MARGIN: Ms = 40 * SECOND;

/// And for looking again at what was held back.
const LATE: Ms = 30 * SECOND;

const DAY: Ms = 24 * HOUR;

/// A kubelet restarts in seconds; its node counts as lost until it has been ready for a minute.
const KUBELET_RESTART: Ms = 2 * MINUTE;

/// Why a problem may go untold, and when.
struct Excuse {
    reasons: &'static [&'static str],
    spans: Vec<Span>,
}

impl Case<'_> {
    fn excuses(&self, trouble: &Trouble) -> Vec<Excuse> {
        let mut out = Vec::new();
        let silenced = self.record.silenced.iter();
        let silenced =
            silenced.filter(|s| Some(s.namespace) == trouble.namespace && s.workload == trouble.workload);
        out.push(Excuse { reasons: &["silenced_by"], spans: silenced.map(|s| (s.from, s.to)).collect() });
        let (mut muted, mut until) = (Vec::new(), Vec::new());
        for item in &self.plan.items {
            let here = |target: &usize| {
                let target = &TARGETS[target % TARGETS.len()];
                Some(target.namespace) == trouble.namespace && target.workload() == trouble.workload
            };
            match &item.what {
                What::Annotate { target, annotation, lasts } if here(target) => {
                    // An annotation counts until the watch brings that it is gone.
                    let span = (item.at, item.at + lasts + 30 * SECOND);
                    match annotation {
                        Annotation::Mute => muted.push(span),
                        Annotation::SilenceUntil => until.push(span),
                        Annotation::MuteNode => {}
                    }
                }
                _ => {}
            }
        }
        muted.extend(self.mute_times(trouble));
        out.push(Excuse { reasons: &["muted"], spans: muted });
        out.push(Excuse { reasons: &["silenced_by"], spans: until });
        out.push(Excuse { reasons: &["inhibited_by"], spans: self.lost_nodes(trouble) });
        out
    }

    /// When the mute time of its namespace was on. By a clock that was ever wrong it may have been at any time.
    fn mute_times(&self, trouble: &Trouble) -> Vec<Span> {
        let (namespace, from, to) = MUTED;
        match trouble.namespace == Some(namespace) {
            false => Vec::new(),
            true if self.clock_was_wrong() => vec![(0, Ms::MAX)],
            true => (0..=self.plan.ends / DAY).map(|day| (day * DAY + from, day * DAY + to)).collect(),
        }
    }

    /// When a node was lost whose loss explains a trouble, or was not yet trusted again.
    fn lost_nodes(&self, trouble: &Trouble) -> Vec<Span> {
        let here = |other: &&Trouble| {
            other.story == Story::NodeLost
                && trouble.nodes.iter().any(|n| other.workload == format!("Node/{n}"))
        };
        let lost = self.script.troubles.iter().filter(here);
        let lost = lost.map(|other| (other.from, other.to.saturating_add(OVER_WITHIN)));
        let restarts = self.script.kubelet_restarts.iter().filter(|(node, _)| trouble.nodes.contains(node));
        lost.chain(restarts.map(|(_, from)| (*from, from + KUBELET_RESTART))).collect()
    }

    /// When a rule was not in force that this trouble needs.
    fn rule_gone(&self, trouble: &Trouble) -> Vec<Span> {
        let Some(rule) = rule_of(trouble.cause) else { return vec![(0, Ms::MAX)] };
        let mut out: Vec<Span> = Vec::new();
        let mut since = None;
        for item in &self.plan.items {
            let What::Reload { without } = &item.what else { continue };
            match (since, without.iter().any(|name| name == rule.name)) {
                (None, true) => since = Some(item.at),
                (Some(from), false) => {
                    out.push((from, item.at));
                    since = None;
                }
                _ => {}
            }
        }
        out.extend(since.map(|from| (from, Ms::MAX)));
        out
    }

    /// Was its beginning decided, and the message refused by the webhook for good? A later end may come through.
    fn told_and_refused(&self, trouble: &Trouble) -> bool {
        let dead = |key: &str| {
            let row = self.record.outbox.iter().find(|row| row.receiver == HOOK && row.key == key);
            row.is_some_and(|row| row.state == "dead")
        };
        self.refuses(HOOK)
            && self.record.history.iter().any(|row| {
                let begins = matches!(row.decision.as_deref(), Some("first" | "reopened"));
                let here = row.workload == trouble.workload && row.namespace.as_deref() == trouble.namespace;
                begins && here && row.key().is_some_and(|key| dead(&format!("{key}-{HOOK}")))
            })
    }

    /// When the bot could have seen that the trouble is, or was, there.
    fn seen(&self, trouble: &Trouble) -> Vec<Span> {
        let shown = [(trouble.from, trouble.shown_to.min(self.plan.ends))];
        let mut seen = without(&shown, &without(&[(0, Ms::MAX)], &self.up()));
        let resources: &[&str] = match trouble.story {
            Story::NodeLost => &["nodes"],
            Story::SystemOom => &["nodes", "events"],
            Story::Quota | Story::QuotaAgain => &["statefulsets", "events", "pods", "namespaces"],
            Story::FailedJob => &["jobs", "namespaces"],
            Story::StuckRollout => &["deployments", "namespaces"],
            Story::NoVolume => &["pods", "events", "replicasets", "deployments", "namespaces"],
            _ => &["pods", "replicasets", "deployments", "namespaces"],
        };
        for resource in resources {
            seen = without(&seen, &self.blind(resource));
        }
        seen
    }
}

/// When the webhook knew of it first, by the time of the decision; what was open already when it began
/// goes on.
fn told_at(lines: &[Line<'_>], case: &Case<'_>, trouble: &Trouble) -> Option<Ms> {
    let mut open = false;
    for line in lines.iter().filter(|line| line.is_about(trouble)) {
        let at = case.decided(line.message);
        if at + SECOND >= trouble.from && (open || !line.is_end()) {
            return Some(if open { trouble.from } else { at });
        }
        open = !line.is_end();
    }
    open.then_some(trouble.from)
}

pub fn told(case: &Case<'_>, out: &mut Vec<Failure>) {
    let lines = case.lines();
    for trouble in &case.script.troubles {
        let Some(rule) = rule_of(trouble.cause) else { continue };
        let needs = rule.hold + GROUP_WAIT + MARGIN;
        let (seen, gone) = (case.seen(trouble), case.rule_gone(trouble));
        // What happened when no rule asked for it is not looked up when one returns; what stands is.
        let first = seen.first().map_or(0, |(from, _)| *from);
        if trouble.to == trouble.from && gone.iter().any(|(from, to)| (from..to).contains(&&first)) {
            continue;
        }
        let seen = without(&seen, &gone);
        let told = told_at(&lines, case, trouble);
        if longest(&seen) < needs {
            continue;
        }
        let mut left = seen.clone();
        let mut reasons = Vec::new();
        let excuses = case.excuses(trouble);
        for excuse in &excuses {
            // By itself: two may cover the same time, and only one of them is written down.
            if without(&seen, &excuse.spans) != seen {
                reasons.extend(excuse.reasons);
            }
            left = without(&left, &excuse.spans);
        }
        let namespace = trouble.namespace.unwrap_or("the cluster");
        if let Some(told) = told {
            let from = left.iter().find(|(a, b)| b - a >= needs).map(|(a, _)| *a);
            if let Some(from) = from.filter(|from| {
                // Of a first message that was refused the next one is the first that is seen.
                told > from + needs + LATE && !case.clock_was_wrong() && !case.refuses(HOOK)
            }) {
                out.push(Failure {
                    check: "late",
                    at: told,
                    text: format!(
                        "{} of {} in {namespace} could be seen from {} on, and was told at {}",
                        trouble.cause,
                        trouble.workload,
                        clock(from),
                        clock(told),
                    ),
                });
            }
            continue;
        }
        let history = case.record.history.iter();
        let mut rows = history.filter(|row| {
            row.workload == trouble.workload
                && row.namespace.as_deref() == trouble.namespace
                && row.decision.is_none()
        });
        // What only happened counts until its pod has been well for a while: it may be over within an excuse, while
        // its pod shows it for longer.
        let over_within = |row: &HistoryLine| {
            let (Some(at), Some(waited)) = (since_began(row.at), row.waited()) else { return false };
            let covers = |(from, to): &Span| *from <= first && at <= to + LATE;
            let mut excuses = excuses.iter().filter(|excuse| excuse.reasons.contains(&waited.as_str()));
            trouble.to == trouble.from
                && (case.clock_was_wrong() && excuses.next().is_some()
                    || excuses.any(|excuse| excuse.spans.iter().any(covers)))
        };
        if rows
            .any(|row| (longest(&left) < needs && reasons.contains(&row.reason.as_str())) || over_within(row))
        {
            continue;
        }
        if case.told_and_refused(trouble) {
            continue;
        }
        out.push(Failure {
            check: "told",
            at: trouble.from,
            text: format!(
                "{} of {} in {namespace} from {} to {} was never told, and no reason is listed",
                trouble.cause,
                trouble.workload,
                clock(trouble.from),
                clock(trouble.to.min(case.plan.ends)),
            ),
        });
    }
}

pub fn invented(case: &Case<'_>, out: &mut Vec<Failure>) {
    for line in case.lines() {
        // What a tenant says of their own namespace is theirs.
        if line.namespace == Some(TENANT) {
            continue;
        }
        let known = |trouble: &Trouble| line.is_about(trouble) && trouble.from <= line.message.at;
        if !case.script.troubles.iter().any(known) {
            out.push(Failure {
                check: "invented",
                at: line.message.at,
                text: format!(
                    "{} of {} in {:?} was told ({}), and the world never had it",
                    line.cause, line.workload, line.namespace, line.decision
                ),
            });
        }
    }
}

pub fn resolved(case: &Case<'_>, out: &mut Vec<Failure>) {
    for line in case.lines().iter().filter(|line| line.decision == "resolved") {
        let (decided, arrived) = (case.decided(line.message), line.message.at);
        // Where the clock was wrong only the arrival is known, and what it says may be minutes old.
        let since = if case.clock_was_wrong() { arrived.saturating_sub(10 * MINUTE) } else { decided };
        let stands = |t: &&Trouble| line.is_about(t) && t.from + SECOND < since && t.to > decided + SECOND;
        if let Some(trouble) = case.script.troubles.iter().find(stands) {
            out.push(Failure {
                check: "false-resolve",
                at: arrived,
                text: format!(
                    "{} of {} was told to be over at {} ({}), and it stands from {} to {}",
                    line.cause,
                    line.workload,
                    clock(decided),
                    line.message.text("/reason"),
                    clock(trouble.from),
                    clock(trouble.to.min(case.plan.ends)),
                ),
            });
        }
    }
}

/// What the webhook believes to be open in the end is what stands in the end.
pub fn projection(case: &Case<'_>, out: &mut Vec<Failure>) {
    if !alive_at_end(case) {
        return;
    }
    let ends = case.plan.ends;
    let lines = case.lines();
    let mut last: BTreeMap<&str, &Line<'_>> = BTreeMap::new();
    for line in &lines {
        last.insert(line.message.text("/thread"), line);
    }
    // Who refused a message of an incident for good does not know how it ended.
    let given_up = |thread: &str| {
        let mut dead = case.record.outbox.iter().filter(|row| row.receiver == HOOK && row.state == "dead");
        dead.any(|row| row.key.starts_with(&format!("{thread}-")))
    };
    for line in last.values().filter(|line| !line.is_end() && line.namespace != Some(TENANT)) {
        let sent = (line.message.life, line.message.at);
        let lost = case.was_lost_with_memory(sent, HOOK, |key| key == line.message.key);
        if lost || given_up(line.message.text("/thread")) {
            continue;
        }
        // What ran on a node that was lost before it had proved to be well: nobody knows.
        let unknown = |t: &Trouble| {
            case.lost_nodes(t).iter().any(|(from, to)| *from < t.to + OVER_WITHIN && *to >= ends)
        };
        let stands = |t: &Trouble| {
            line.is_about(t) && (t.to.max(t.from).saturating_add(OVER_WITHIN) >= ends || unknown(t))
        };
        if !case.script.troubles.iter().any(stands) {
            out.push(Failure {
                check: "projection",
                at: ends,
                text: format!("{} of {} is still open in the end, and it is over", line.cause, line.workload),
            });
        }
    }
    for trouble in
        case.script.troubles.iter().filter(|t| t.to >= ends && t.from + 5 * MINUTE < case.plan.healed)
    {
        let open = last.values().any(|line| line.is_about(trouble) && !line.is_end());
        let excused =
            case.excuses(trouble).iter().any(|e| !e.spans.is_empty()) || !case.rule_gone(trouble).is_empty();
        if !open && !excused && told_at(&lines, case, trouble).is_some() {
            out.push(Failure {
                check: "projection",
                at: ends,
                text: format!(
                    "{} of {} stands in the end, and it is not open",
                    trouble.cause, trouble.workload
                ),
            });
        }
    }
}

pub fn alive_at_end(case: &Case<'_>) -> bool {
    case.record.lives.last().is_some_and(|life| life.end == super::super::record::LifeEnd::Over)
}

/// What the webhook believes to be open in the end: where, whose, what and how bad. Of problems at the edge
/// of the run nothing is said.
pub fn open_at_end(case: &Case<'_>) -> BTreeSet<String> {
    let ends = case.plan.ends;
    let lines = case.lines();
    let mut last: BTreeMap<&str, &Line<'_>> = BTreeMap::new();
    for line in &lines {
        last.insert(line.message.text("/thread"), line);
    }
    let settled = |line: &Line<'_>| {
        let about: Vec<&Trouble> = case.script.troubles.iter().filter(|t| line.is_about(t)).collect();
        let stands = |t: &&Trouble| t.to >= ends && t.from + 5 * MINUTE < case.plan.healed;
        let over = |t: &&Trouble| t.to.max(t.from).saturating_add(OVER_WITHIN) < ends;
        about.iter().all(|t| stands(t) || over(t)) && about.iter().all(|t| case.lost_nodes(t).is_empty())
    };
    let open = last.values().filter(|line| !line.is_end() && line.namespace != Some(TENANT) && settled(line));
    let words = open.map(|line| {
        let severity = line.message.text("/severity");
        format!("{severity} {} of {} in {:?}", line.cause, line.workload, line.namespace)
    });
    words.collect()
}
