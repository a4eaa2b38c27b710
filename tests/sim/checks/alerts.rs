//! Alertmanager forgets what is not said again before `endsAt`: to its users that reads "resolved".

use std::collections::BTreeMap;

use super::super::cluster::began;
use super::super::plan::{MINUTE, Ms, SECOND, What};
use super::super::record::Alert;
use super::super::run::Failure;
use super::super::settings::ALERTS;
use super::spans::without;
use super::{Case, clock};

/// Where nobody could say it again for so long before the end, nobody is to blame.
const EXCUSED: Ms = 3 * MINUTE;

/// How long the bot was away, or could not reach Alertmanager, between two moments.
fn unreachable(case: &Case<'_>, from: Ms, to: Ms) -> Ms {
    let mut cuts = case.away();
    for item in &case.plan.items {
        match &item.what {
            What::Receiver { receiver, lasts, .. } if receiver == ALERTS => {
                cuts.push((item.at, item.at + lasts));
            }
            What::Disk { lasts, .. } => cuts.push((item.at, item.at + lasts)),
            _ => {}
        }
    }
    let left: Ms = without(&[(from, to)], &cuts).iter().map(|(a, b)| b - a).sum();
    to - from - left
}

pub fn expired(case: &Case<'_>, out: &mut Vec<Failure>) {
    // A node whose clock is wrong says wrong times, and no receiver can know better.
    if case.clock_was_wrong() {
        return;
    }
    let mut alerts: BTreeMap<&BTreeMap<String, String>, Vec<&Alert>> = BTreeMap::new();
    for alert in &case.record.alerts {
        alerts.entry(&alert.labels).or_default().push(alert);
    }
    for (labels, posts) in alerts {
        for (place, post) in posts.iter().enumerate() {
            let Some(ends) = post.ends_at else { continue };
            let ends = Ms::try_from(ends.duration_since(began()).as_millis()).unwrap_or(0);
            let next = posts.get(place + 1).map_or(case.plan.ends, |next| next.at);
            // One that ends at once is over by decision.
            if ends <= post.at + SECOND || ends >= next || unreachable(case, post.at, ends) >= EXCUSED {
                continue;
            }
            let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
            let about = |t: &&super::Trouble| {
                t.cause == label("alertname")
                    && t.workload == label("workload")
                    && t.from <= ends
                    && t.to > ends
            };
            if let Some(trouble) = case.script.troubles.iter().find(about) {
                out.push(Failure {
                    check: "expired",
                    at: ends,
                    text: format!(
                        "Alertmanager forgets {} of {} at {}, and it stands until {}",
                        trouble.cause,
                        trouble.workload,
                        clock(ends),
                        clock(trouble.to.min(case.plan.ends)),
                    ),
                });
                break;
            }
        }
    }
}
