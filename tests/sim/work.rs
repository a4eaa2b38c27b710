//! Runs plans on several threads and says what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::arguments::{Plans, Wanted};
use super::checks;
use super::coverage::{self, Coverage};
use super::generate;
use super::plan::Plan;
use super::proof;
use super::run::{Failure, Outcome, run};
use super::shrink::shrink;
use super::words;
use super::world::{World, lock, worlds};

/// One seed in so many runs twice, on two threads.
const TWICE: u64 = 50;
/// One seed in so many is compared with a run of its plan without faults.
const COMPARED: u64 = 20;
/// So many seeds reach everything that can be reached; fewer need not.
const REACHES_ALL: u64 = 2000;
/// A run that takes longer hangs, also on a busy machine: somebody waits for what never comes.
const HANGS: Duration = Duration::from_secs(600);
/// A world of which nothing is seen while its thread runs for so long goes round in a circle: half an hour of one
/// takes a second.
const STANDS_STILL: Duration = Duration::from_secs(15);
/// For making a failing plan smaller.
const SHRINKING: Duration = Duration::from_secs(120);

/// What threads share.
#[derive(Default)]
pub struct Shared {
    coverage: Mutex<Coverage>,
    /// The first failing plan of each check, and how many there were.
    pub failed: Mutex<BTreeMap<&'static str, (Plan, String, u64)>>,
    running: Mutex<BTreeMap<usize, (Instant, String)>>,
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
}

pub fn work(wanted: &Wanted) -> ExitCode {
    let began = Instant::now();
    let shared = Arc::new(Shared { next: AtomicU64::new(wanted.seeds.start), ..Shared::default() });
    watch_over(&shared);
    let kept = match plans(&wanted.plans) {
        Ok(kept) => kept,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    if wanted.plans == Plans::Kept {
        let unnoticed = proof::unnoticed();
        if !unnoticed.is_empty() {
            eprintln!("! the checks themselves: {}", unnoticed.join("\n! "));
            return ExitCode::FAILURE;
        }
    }
    let kept = Arc::new(kept);
    let turn = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..wanted.jobs)
        .map(|thread| {
            let shared = Arc::clone(&shared);
            let (end, keep_going) = (wanted.seeds.end, wanted.keep_going);
            let until = wanted.seconds.map(|seconds| began + seconds);
            let (kept, turn) = (Arc::clone(&kept), Arc::clone(&turn));
            let (trace, one) = (wanted.trace, matches!(wanted.plans, Plans::One(_)));
            std::thread::spawn(move || {
                while let Some((name, plan)) = kept.get(turn.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = guarded(&shared, thread, name, plan, trace);
                    if trace {
                        outcome.trace.lines.iter().flatten().for_each(|line| println!("{line}"));
                    }
                    if one {
                        println!("{}", words::story(plan, &outcome));
                    }
                    judge(&shared, name, plan, &outcome);
                }
                seeds(&shared, thread, end, until, keep_going);
            })
        })
        .collect();
    let panicked = threads.into_iter().map(std::thread::JoinHandle::join).any(|ended| ended.is_err());
    let done = shared.done.load(Ordering::Relaxed);
    report(&shared, wanted, &kept, done, began.elapsed(), panicked)
}

fn plans(wanted: &Plans) -> Result<Vec<(String, Plan)>, String> {
    let mut files: Vec<PathBuf> = match wanted {
        Plans::None => Vec::new(),
        Plans::One(file) => vec![file.clone()],
        Plans::Kept => {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/plans");
            let found = std::fs::read_dir(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
            found
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|p| p.extension().is_some_and(|e| e == "json"))
                .collect()
        }
    };
    files.sort();
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let plan = coverage::read(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok((file.display().to_string(), plan))
    };
    files.into_iter().map(read).collect()
}

fn seeds(shared: &Shared, thread: usize, end: u64, until: Option<Instant>, keep_going: bool) {
    loop {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        let late = until.is_some_and(|until| Instant::now() > until);
        if seed >= end || late || shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let plan = generate::plan(seed);
        let name = format!("seed {seed}");
        let outcome = guarded(shared, thread, &name, &plan, false);
        if seed.is_multiple_of(TWICE) {
            again(shared, &name, &plan, &outcome);
        }
        if seed.is_multiple_of(COMPARED) {
            compare(shared, &name, &plan, &outcome);
        }
        if judge(shared, &name, &plan, &outcome) {
            if keep_going {
                println!("{}", words::line(&name, &plan, &outcome));
            } else {
                shared.stop.store(true, Ordering::Relaxed);
            }
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs a plan under the eyes of [`watch_over`].
fn guarded(shared: &Shared, thread: usize, name: &str, plan: &Plan, words: bool) -> Outcome {
    lock(&shared.running).insert(thread, (Instant::now(), name.to_owned()));
    let outcome = run(plan, words);
    lock(&shared.running).remove(&thread);
    outcome
}

/// Another thread has other random states of hash maps and another stack: the trace must be the same.
pub fn again(shared: &Shared, name: &str, plan: &Plan, first: &Outcome) {
    let copy = plan.clone();
    let second = std::thread::spawn(move || run(&copy, false)).join();
    if second.as_ref().is_ok_and(|second| second.trace.hash == first.trace.hash) {
        return;
    }
    let copy = plan.clone();
    let words = std::thread::spawn(move || run(&copy, true)).join();
    let mine = run(plan, true);
    let other = words.ok().and_then(|outcome| outcome.trace.lines).unwrap_or_default();
    let mine = mine.trace.lines.unwrap_or_default();
    let place = mine.iter().zip(&other).position(|(a, b)| a != b).unwrap_or(mine.len().min(other.len()));
    let line = |lines: &[String]| lines.get(place).cloned().unwrap_or_else(|| "nothing".into());
    let text = format!("two runs differ at line {place}: {:?} and {:?}", line(&mine), line(&other));
    keep(shared, name, plan, &Failure { check: "determinism", at: 0, text });
}

/// Faults that are over leave nothing behind: what is open is what would be open without them.
pub fn compare(shared: &Shared, name: &str, plan: &Plan, outcome: &Outcome) {
    let calm = plan.without_faults();
    let calm_outcome = run(&calm, false);
    let found = checks::projection(outcome, plan).zip(checks::projection(&calm_outcome, &calm));
    if let Some((with, without)) = found
        && with != without
    {
        let text = format!("open in the end {with:?}, and without faults {without:?}");
        keep(shared, name, plan, &Failure { check: "convergence", at: plan.ends, text });
    }
}

/// Counts what was reached, and keeps failures. `true`: there were some.
fn judge(shared: &Shared, name: &str, plan: &Plan, outcome: &Outcome) -> bool {
    lock(&shared.coverage).add(&outcome.record);
    for failure in &outcome.failures {
        keep(shared, name, plan, failure);
    }
    !outcome.failures.is_empty()
}

fn keep(shared: &Shared, name: &str, plan: &Plan, failure: &Failure) {
    let mut failed = lock(&shared.failed);
    let said = format!("{name}: {}", failure.text);
    let entry = failed.entry(failure.check).or_insert_with(|| (plan.clone(), said, 0));
    entry.2 += 1;
}

/// Ends the process where a run does not end by itself.
fn watch_over(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    std::thread::spawn(move || {
        let begun = Instant::now();
        let mut seen: Vec<(Arc<World>, u64, Duration)> = Vec::new();
        while let Some(shared) = shared.upgrade() {
            seen = worlds()
                .into_iter()
                .map(|(world, steps)| {
                    let same =
                        seen.iter().find(|(other, before, _)| Arc::ptr_eq(other, &world) && *before == steps);
                    let ran = world.ran().unwrap_or_else(|| begun.elapsed());
                    let since = same.map_or(ran, |(.., since)| *since);
                    if ran.saturating_sub(since) > STANDS_STILL {
                        world.stuck();
                    }
                    (world, steps, since)
                })
                .collect();
            let hangs = lock(&shared.running).values().find(|(since, _)| since.elapsed() > HANGS).cloned();
            if let Some((since, name)) = hangs {
                eprintln!(
                    "! progress: {name} runs for {} s: some loop goes round without rest",
                    since.elapsed().as_secs()
                );
                std::process::exit(1);
            }
            drop(shared);
            std::thread::sleep(Duration::from_secs(1));
        }
    });
}

fn report(
    shared: &Shared,
    wanted: &Wanted,
    kept: &[(String, Plan)],
    done: u64,
    took: Duration,
    panicked: bool,
) -> ExitCode {
    let coverage = lock(&shared.coverage);
    if matches!(wanted.plans, Plans::One(_)) {
        return if lock(&shared.failed).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    println!("happened:\n{}reasons:\n{}", words::table(&coverage.met), words::table(&coverage.reasons));
    let mut failed = std::mem::take(&mut *lock(&shared.failed));
    if done >= REACHES_ALL {
        let missing = coverage.missing();
        if !missing.is_empty() {
            println!("! coverage: never reached: {}", missing.join(", "));
            failed.entry("coverage").or_insert_with(|| (Plan::default(), missing.join(", "), 1));
        }
    }
    drop(coverage);
    for (check, (plan, said, count)) in &failed {
        println!("\n! {check}, {count} times, first in {said}");
        if plan.items.is_empty() {
            continue;
        }
        tell(check, plan);
    }
    let rate = f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / took.as_secs_f64().max(0.001);
    println!("{} kept plans and {done} seeds in {:.1} s ({rate:.1} seeds/s)", kept.len(), took.as_secs_f64());
    if failed.is_empty() && !panicked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shrinks a failing plan, writes it down and tells its story.
fn tell(check: &str, plan: &Plan) {
    let (small, runs) = match check {
        "determinism" | "convergence" => (plan.clone(), 0),
        _ => shrink(plan, check, SHRINKING),
    };
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join(format!("{check}-{}.json", plan.seed));
    println!("{} of {} items are left after {runs} runs:\n", small.items.len(), plan.items.len());
    println!("{}", words::story(&small, &run(&small, false)));
    match std::fs::write(&file, coverage::written(&small)) {
        Ok(()) => println!("  cargo test --test sim -- --plan {}", file.display()),
        Err(error) => println!("  {}: {error}", file.display()),
    }
}
