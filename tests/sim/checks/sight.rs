//! Blindness is announced, and shows in `/readyz`.

use super::super::cluster::RESOURCES;
use super::super::plan::{ApiFault, MINUTE, Ms, SECOND, What};
use super::super::run::Failure;
use super::super::settings::HOOK;
use super::spans::without;
use super::{Case, clock};

/// Blindness that lasts longer has to be announced.
const BLIND_AFTER: Ms = 60 * SECOND;
/// For the announcement to be decided and taken.
const GRACE: Ms = 60 * SECOND;

impl Case<'_> {
    /// Spans in which nothing at all could be read of a resource, while the bot was there to notice.
    fn unseen(&self, resource: &str) -> Vec<(Ms, Ms)> {
        let mut spans: Vec<(Ms, Ms)> = Vec::new();
        for item in &self.plan.items {
            let What::Api { fault, resources, lasts } = &item.what else { continue };
            let all = resources.is_empty() || resources.iter().any(|of| of == resource);
            // What is silent is known to be so later. Where watches alone are answered badly, lists still show
            // what is there; a body breaks off only where there is something in it.
            let sees = matches!(fault, ApiFault::Gone | ApiFault::EmptyWatch | ApiFault::Cut);
            if all && !fault.is_silent() && !sees {
                spans.push((item.at, item.at + lasts));
            }
        }
        spans.sort_unstable();
        let mut merged: Vec<(Ms, Ms)> = Vec::new();
        for (from, to) in spans {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        without(&merged, &self.away())
    }
}

/// Each span of blindness is told, in the end.
pub fn announced(case: &Case<'_>, out: &mut Vec<Failure>) {
    let notices: Vec<Ms> = case
        .record
        .taken
        .iter()
        .filter(|taken| taken.receiver == HOOK && taken.text("/decision") == "notice")
        .filter(|taken| taken.text("/reason") == "blind")
        .map(|taken| taken.at)
        .collect();
    let mut told = Vec::new();
    for resource in RESOURCES {
        for (from, to) in case.unseen(resource) {
            if to - from < BLIND_AFTER + GRACE || told.contains(&(from, to)) {
                continue;
            }
            told.push((from, to));
            if !notices.iter().any(|at| *at >= from) {
                out.push(Failure {
                    check: "blind",
                    at: from,
                    text: format!(
                        "{resource} could not be read from {} to {}, and nobody was told",
                        clock(from),
                        clock(to)
                    ),
                });
            }
        }
    }
}

/// Who is blind for longer does not call itself ready.
pub fn ready(case: &Case<'_>, out: &mut Vec<Failure>) {
    for resource in RESOURCES {
        for (from, to) in case.unseen(resource) {
            let (from, to) = (from + BLIND_AFTER + 30 * SECOND, to);
            let wrong = case
                .record
                .ready
                .iter()
                .find(|ready| ready.at >= from && ready.at < to && ready.status == 200);
            if let Some(ready) = wrong {
                out.push(Failure {
                    check: "ready",
                    at: ready.at,
                    text: format!(
                        "{resource} cannot be read since {}, and at {} the bot says that it is ready ({} checks degraded)",
                        clock(from - BLIND_AFTER - 30 * SECOND),
                        clock(ready.at),
                        ready.wrong.len(),
                    ),
                });
                return;
            }
        }
    }
    // Once all is well it says so.
    if let Some(last) = case.record.ready.last()
        && super::told::alive_at_end(case)
        && last.at + MINUTE > case.plan.ends
        && last.status != 200
    {
        out.push(Failure {
            check: "ready",
            at: last.at,
            text: format!("all is well, and in the end it is not ready: {:?}", last.wrong),
        });
    }
}
