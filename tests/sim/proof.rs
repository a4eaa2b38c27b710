//! Proves that the checks can fail: what a good run left behind is spoiled in one way at a time, and the check
//! that is meant for it has to notice.

use serde_json::{Value, json};

use super::checks;
use super::cluster::wall;
use super::coverage::Coverage;
use super::hostile::SECRET;
use super::plan::{ApiFault, Item, MINUTE, Ms, Plan, SECOND, Seam, Story, What};
use super::record::{LifeEnd, OutboxLine, Record};
use super::run::{Outcome, run, run_by};
use super::settings::{ALERTS, HOOK};
use super::stories::Script;
use super::work::{Shared, again, compare};
use super::world::lock;

/// A run as the checks see it.
struct Seen {
    plan: Plan,
    script: Script,
    record: Record,
}

type Spoil = fn(&mut Seen);

const SPOILS: [(&str, Spoil); 22] = [
    ("told", |seen| seen.record.taken.retain(|t| t.receiver != HOOK)),
    ("late", |seen| {
        let first = first_at(seen);
        seen.record.taken[first].at += 10 * MINUTE;
        let at = wall(seen.record.taken[first].at).to_string();
        seen.record.taken[first].body["at"] = json!(at);
        seen.record.taken.truncate(first + 1);
    }),
    ("invented", |seen| set(seen, "/incidents/0/namespace", json!("nowhere"))),
    ("false-resolve", |seen| seen.script.troubles[0].to = Ms::MAX),
    ("projection", |seen| seen.record.taken.retain(|t| t.text("/decision") != "resolved")),
    ("expired", |seen| {
        let first =
            seen.record.alerts.iter().position(|alert| alert.labels.contains_key("workload")).unwrap();
        let post = &mut seen.record.alerts[first];
        post.ends_at = Some(wall(post.at + 10 * SECOND));
    }),
    ("twice", |seen| {
        let again = seen.record.taken[first_at(seen)].clone();
        seen.record.taken.push(again);
    }),
    ("order", |seen| {
        let first = first_at(seen);
        seen.record.taken[first].body["seq"] = json!(9);
    }),
    ("lost", |seen| row(seen, "delivered")),
    ("dead", |seen| row(seen, "dead")),
    ("owed", |seen| row(seen, "queued")),
    ("fate", |seen| {
        let decided = seen.record.history.iter().find(|row| row.decision.is_some() && row.incident.is_some());
        let again = decided.unwrap().clone();
        seen.record.history.push(again);
    }),
    ("mails", |seen| drop(seen.record.mails.remove(0))),
    ("blind", blind),
    ("ready", blind),
    ("requests", |seen| drop(seen.record.requests.insert("pods".into(), vec![MINUTE; 100]))),
    ("size", |seen| {
        seen.record.largest.insert(HOOK, 1 << 20);
    }),
    ("taint", |seen| set(seen, "/title", json!("canary-of-data"))),
    ("secret", |seen| set(seen, "/title", json!(SECRET))),
    ("injection", |seen| {
        let mail = &mut seen.record.mails[0].raw;
        let boundary = mail.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let more = format!("\r\n--{boundary}\r\n");
        mail.push_str(&more);
    }),
    ("exit", |seen| seen.record.lives[0].end = LifeEnd::Exited("because".into())),
    ("bug", |seen| seen.record.broken.push((0, "bug", "something".into()))),
];

fn first_at(seen: &Seen) -> usize {
    seen.record.taken.iter().position(|t| t.receiver == HOOK && t.text("/decision") == "first").unwrap()
}

fn set(seen: &mut Seen, pointer: &str, value: Value) {
    let first = first_at(seen);
    *seen.record.taken[first].body.pointer_mut(pointer).unwrap() = value;
}

fn row(seen: &mut Seen, state: &str) {
    seen.record.outbox.push(OutboxLine {
        key: "nothing-1-hook".into(),
        receiver: HOOK.into(),
        state: state.into(),
        reason: String::new(),
        inside: None,
    });
}

/// The server was down, and nobody noticed.
fn blind(seen: &mut Seen) {
    let what = What::Api { fault: ApiFault::Down, resources: Vec::new(), lasts: 4 * MINUTE };
    seen.plan.items.push(Item { at: 20 * MINUTE, what });
}

/// Every check that did not notice what it is for.
pub fn unnoticed() -> Vec<String> {
    let story = |at, story, target, lasts| Item { at, what: What::Story { story, target, lasts } };
    let plan = Plan {
        note: String::new(),
        seed: 7,
        healed: 16 * MINUTE,
        ends: 30 * MINUTE,
        items: vec![
            story(2 * MINUTE, Story::CrashLoop, 0, 4 * MINUTE),
            story(3 * MINUTE, Story::StuckRollout, 3, 10 * MINUTE),
        ],
    };
    let good = run(&plan, false);
    let mut out: Vec<String> =
        good.failures.iter().map(|f| format!("a good run fails: {}: {}", f.check, f.text)).collect();
    if !out.is_empty() {
        return out;
    }
    assert!(good.record.taken.iter().any(|taken| taken.receiver == ALERTS), "alerts came");
    for (check, spoil) in SPOILS {
        let script = Script { troubles: good.script.troubles.clone(), ..Script::default() };
        let mut seen = Seen { plan: plan.clone(), script, record: good.record.clone() };
        spoil(&mut seen);
        let found = checks::all(&seen.plan, &seen.script, &seen.record);
        if !found.iter().any(|failure| failure.check == check) {
            let instead: Vec<&str> = found.iter().map(|failure| failure.check).collect();
            out.push(format!("`{check}` does not notice what it is for; noticed: {instead:?}"));
        }
    }
    let unnoticed = of_runs(&plan, good).into_iter().filter(|(_, noticed)| !noticed);
    out.extend(unnoticed.map(|(check, _)| format!("`{check}` does not notice what it is for")));
    out
}

/// The checks that look at runs rather than at what they left behind, and whether each notices what it is for.
fn of_runs(plan: &Plan, mut good: Outcome) -> [(&'static str, bool); 5] {
    let mut covered = Coverage::default();
    let nothing = covered.missing();
    covered.add(&good.record);
    let first = |missing: &[String]| missing.iter().any(|label| label == "reason/first");
    let coverage = first(&nothing) && !first(&covered.missing());
    let noticed = |check, outcome: &Outcome| outcome.failures.iter().any(|failure| failure.check == check);
    let panics = run_by(plan, false, |_, _| std::panic::resume_unwind(Box::new("as the check expects")));
    let rushes = run_by(plan, false, |world, _| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            world.begin_life();
            while world.begin(Seam::Api).is_some() {}
            world.end_life();
        });
    });
    let shared = Shared::default();
    good.trace.hash ^= 1;
    again(&shared, "the proof", plan, &good);
    good.record.taken.retain(|taken| taken.text("/decision") != "resolved");
    compare(&shared, "the proof", plan, &good);
    let failed = lock(&shared.failed);
    [
        ("coverage", coverage),
        ("panic", noticed("panic", &panics)),
        ("progress", noticed("progress", &rushes)),
        ("determinism", failed.contains_key("determinism")),
        ("convergence", failed.contains_key("convergence")),
    ]
}
