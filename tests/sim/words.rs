//! A run, told to people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::checks::clock;
use super::cluster::{NODES, TARGETS};
use super::plan::{HOUR, Ms, Plan, SECOND, What};
use super::record::LifeEnd;
use super::run::{Failure, Outcome};
use super::settings::HOOK;

fn span(ms: Ms) -> String {
    match ms {
        ms if ms >= 100 * HOUR => String::from("until the end"),
        ms if ms % SECOND == 0 => format!("for {} s", ms / SECOND),
        ms => format!("for {ms} ms"),
    }
}

fn target(number: usize) -> String {
    let target = &TARGETS[number % TARGETS.len()];
    format!("{}/{}", target.namespace, target.name)
}

fn all(resources: &[String]) -> String {
    if resources.is_empty() { String::from("everything") } else { resources.join(", ") }
}

fn sentence(what: &What) -> String {
    match what {
        What::Story { story, target: number, lasts } if story.is_node() => {
            format!("{story:?} at node {} {}", NODES[number % NODES.len()], span(*lasts))
        }
        What::Story { story, target: number, lasts } => {
            format!("{story:?} in {} {}", target(*number), span(*lasts))
        }
        What::Api { fault, resources, lasts } => {
            format!("the API server answers {fault:?} to requests for {} {}", all(resources), span(*lasts))
        }
        What::EtcdRestore { back } => {
            format!("the cluster goes back to what it was {} s before", back / SECOND)
        }
        What::Rbac { resources, lasts } => format!("{} may not be read {}", all(resources), span(*lasts)),
        What::Compact => "the API server forgets its history".into(),
        What::Receiver { receiver, fault, lasts } => {
            format!("receiver {receiver}: {fault:?} {}", span(*lasts))
        }
        What::ClockStep { by } => format!("the bot's clock is set by {} s", by / 1000),
        What::ClockDrift { ppm, lasts } => format!("the bot's clock drifts by {ppm} ppm {}", span(*lasts)),
        What::Suspend { lasts } => format!("the bot's machine sleeps {}", span(*lasts)),
        What::Disk { fault, lasts } => format!("the disk: {fault:?} {}", span(*lasts)),
        What::Kill { seam, nth, edge, down, loss } => format!(
            "the bot is killed {edge:?} its operation {nth} at seam {seam:?}, and is away for {} s; unflushed writes: {loss:?}",
            down / SECOND
        ),
        What::Stop { down } => format!("the bot is stopped, and is away for {} s", down / SECOND),
        What::Reload { without } if without.is_empty() => "all rules are back".into(),
        What::Reload { without } => format!("the rules {} are removed", without.join(", ")),
        What::Silence { target: number, lasts } => {
            format!("{} is silenced {}", target(*number), span(*lasts))
        }
        What::Annotate { target: number, annotation, lasts } => {
            format!("{}: annotation {annotation:?} {}", target(*number), span(*lasts))
        }
        What::Hostile { hostile, target: number } => {
            format!("a tenant tries {hostile:?} against {}", target(*number))
        }
    }
}

/// What happened, what was told, and what is wrong with it, in order of time.
pub fn story(plan: &Plan, outcome: &Outcome) -> String {
    let mut lines: Vec<(Ms, u8, String)> = Vec::new();
    for item in &plan.items {
        lines.push((item.at, 0, sentence(&item.what)));
    }
    for life in &outcome.record.lives {
        lines.push((life.from, 1, "  the bot starts".into()));
        let end = match &life.end {
            LifeEnd::Killed => "  the bot is gone: killed".into(),
            LifeEnd::Stopped => "  the bot has stopped in order".into(),
            LifeEnd::Exited(why) => format!("  the bot has ended by itself: {why}"),
            LifeEnd::Over => "  the run is over".into(),
        };
        lines.push((life.to, 3, end));
    }
    for taken in outcome.record.taken.iter().filter(|taken| taken.receiver == HOOK) {
        let text = format!(
            "  webhook: {} ({}, {}): {}",
            taken.text("/decision"),
            taken.text("/reason"),
            taken.key,
            taken.text("/title")
        );
        lines.push((taken.at, 2, text));
    }
    for Failure { check, at, text } in &outcome.failures {
        lines.push((*at, 4, format!("! {check}: {text}")));
    }
    lines.sort();
    let mut out = String::new();
    for (at, _, line) in lines {
        writeln!(out, "{:>9} {line}", clock(at)).unwrap();
    }
    writeln!(
        out,
        "          ({} virtual seconds in {:.2} s)",
        plan.ends / SECOND,
        outcome.took.as_secs_f64()
    )
    .unwrap();
    out
}

/// What failed, and among which faults.
pub fn line(name: &str, plan: &Plan, outcome: &Outcome) -> String {
    let checks: BTreeSet<&str> = outcome.failures.iter().map(|failure| failure.check).collect();
    let faults = plan.items.iter().filter(|item| !matches!(item.what, What::Story { .. }));
    let faults: BTreeSet<String> = faults.map(|item| item.what.label()).collect();
    let join = |set: Vec<&str>| set.join(" ");
    format!(
        "{name}: {} | {}",
        join(checks.into_iter().collect()),
        join(faults.iter().map(String::as_str).collect())
    )
}

/// How often each kind was met.
pub fn table(met: &BTreeMap<String, u64>) -> String {
    let mut out = String::new();
    for (label, count) in met {
        writeln!(out, "{count:>10} {label}").unwrap();
    }
    out
}
