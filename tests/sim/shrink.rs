//! From a plan that fails to the smallest one found that fails in the same way.

use std::time::{Duration, Instant};

use super::plan::{MINUTE, Ms, Plan, SECOND, What};
use super::run::run;

/// Runs until the plan is small enough for people, or the time is over.
pub fn shrink(plan: &Plan, check: &str, most: Duration) -> (Plan, u32) {
    let until = Instant::now() + most;
    let mut runs = 0;
    let mut best = plan.clone();
    let mut fails = |candidate: &Plan| {
        if Instant::now() > until {
            return false;
        }
        runs += 1;
        run(candidate, false).failures.iter().any(|failure| failure.check == check)
    };
    // Halves first, then less and less.
    let mut size = best.items.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        let mut removed = false;
        while from < best.items.len() {
            let mut candidate = best.clone();
            candidate.items.drain(from..(from + size).min(best.items.len()));
            if fails(&candidate) {
                best = candidate;
                removed = true;
            } else {
                from += size;
            }
        }
        if !removed || size > 1 {
            size /= 2;
        }
    }
    for place in 0..best.items.len() {
        for shorter in shorter(&best, place) {
            if fails(&shorter) {
                best = shorter;
                break;
            }
        }
    }
    let short = Plan { ends: (best.healed + 8 * MINUTE).min(best.ends), ..best.clone() };
    if short.ends < best.ends && fails(&short) {
        best = short;
    }
    (best, runs)
}

/// The same plan with an item that lasts for less long, or kills sooner.
fn shorter(plan: &Plan, place: usize) -> Vec<Plan> {
    let mut out = Vec::new();
    for factor in [8, 4, 2] {
        let mut candidate = plan.clone();
        let less = |lasts: &mut Ms| {
            let short = (*lasts / factor / SECOND * SECOND).max(SECOND);
            let changed = short < *lasts;
            *lasts = short;
            changed
        };
        let changed = match &mut candidate.items[place].what {
            What::Story { lasts, .. }
            | What::Api { lasts, .. }
            | What::Rbac { lasts, .. }
            | What::Receiver { lasts, .. }
            | What::ClockDrift { lasts, .. }
            | What::Suspend { lasts }
            | What::Disk { lasts, .. }
            | What::Silence { lasts, .. }
            | What::Annotate { lasts, .. } => *lasts < 1000 * MINUTE && less(lasts),
            What::Stop { down } | What::Kill { down, .. } => less(down),
            _ => false,
        };
        if changed {
            out.push(candidate);
        }
    }
    out
}
