//! What has to hold in every run. Everything here is judged by the plan, the stories and the record.

mod alerts;
mod bounds;
mod fates;
mod sight;
mod spans;
mod told;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::cluster::began;
use super::plan::{Ms, Plan, ReceiverFault, What};
use super::record::{Record, Taken};
use super::run::{Failure, Outcome};
use super::settings::HOOK;
use super::stories::{Script, Trouble};

/// Everything that can be known of a run from outside.
pub struct Case<'c> {
    pub plan: &'c Plan,
    pub script: &'c Script,
    pub record: &'c Record,
}

/// Every invariant that did not hold.
pub fn all(plan: &Plan, script: &Script, record: &Record) -> Vec<Failure> {
    let case = Case { plan, script, record };
    let mut out: Vec<Failure> = Vec::new();
    out.extend(record.broken.iter().map(|(at, check, text)| Failure { check, at: *at, text: text.clone() }));
    if out.is_empty() {
        bounds::exits(&case, &mut out);
        told::told(&case, &mut out);
        told::invented(&case, &mut out);
        told::resolved(&case, &mut out);
        told::projection(&case, &mut out);
        alerts::expired(&case, &mut out);
        fates::once(&case, &mut out);
        fates::order(&case, &mut out);
        fates::settled(&case, &mut out);
        fates::counted(&case, &mut out);
        fates::mails(&case, &mut out);
        sight::announced(&case, &mut out);
        sight::ready(&case, &mut out);
    }
    bounds::requests(&case, &mut out);
    bounds::sizes(&case, &mut out);
    bounds::taint(&case, &mut out);
    out
}

/// What is open in the end, by what the webhook was told; `None` where nobody can say.
pub fn projection(outcome: &Outcome, plan: &Plan) -> Option<BTreeSet<String>> {
    let case = Case { plan, script: &outcome.script, record: &outcome.record };
    let refused = |what: &What| matches!(what, What::Receiver { fault: ReceiverFault::Refused, .. });
    let sure = told::alive_at_end(&case) && !case.clock_was_wrong() && !case.any(refused);
    sure.then(|| told::open_at_end(&case))
}

/// One incident in a message at the webhook.
pub struct Line<'c> {
    pub message: &'c Taken,
    pub decision: &'c str,
    pub namespace: Option<&'c str>,
    pub workload: &'c str,
    pub cause: &'c str,
}

impl Line<'_> {
    pub fn is_end(&self) -> bool {
        matches!(self.decision, "resolved" | "expired")
    }

    pub fn is_about(&self, trouble: &Trouble) -> bool {
        self.workload == trouble.workload
            && self.namespace == trouble.namespace
            && (self.cause == trouble.cause || trouble.also.contains(&self.cause))
    }
}

impl<'c> Case<'c> {
    /// What the webhook was told of incidents, in the order in which it came; repeats left out.
    pub fn lines(&self) -> Vec<Line<'c>> {
        let mut seen = std::collections::BTreeSet::new();
        let mut out = Vec::new();
        for message in self.record.taken.iter().filter(|taken| taken.receiver == HOOK) {
            if !seen.insert(&message.key) {
                continue;
            }
            for incident in message.body.get("incidents").and_then(|i| i.as_array()).into_iter().flatten() {
                let text = |name: &str| incident.get(name).and_then(|value| value.as_str());
                out.push(Line {
                    message,
                    decision: message.text("/decision"),
                    namespace: text("namespace"),
                    workload: text("workload").unwrap_or_default(),
                    cause: text("cause").unwrap_or_default(),
                });
            }
        }
        out
    }

    /// Was the wall clock ever wrong?
    pub fn clock_was_wrong(&self) -> bool {
        self.record.skews.iter().any(|(_, skew)| skew.abs() > 500)
    }

    /// When a message was decided. Where the bot's clock was wrong only its arrival is known.
    pub fn decided(&self, message: &Taken) -> Ms {
        if self.clock_was_wrong() {
            return message.at;
        }
        message.decided().and_then(since_began).unwrap_or(message.at).min(message.at)
    }

    pub fn any(&self, what: impl Fn(&What) -> bool) -> bool {
        self.plan.items.iter().any(|item| what(&item.what))
    }
}

/// `None`: before the beginning.
fn since_began(at: Timestamp) -> Option<Ms> {
    Ms::try_from(at.duration_since(began()).as_millis()).ok()
}

/// `12:34` since the beginning.
pub fn clock(at: Ms) -> String {
    let seconds = at / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
