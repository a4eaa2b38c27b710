//! One run: a plan, carried out from the beginning of a world to its end, and judged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubeherald::clock::Clock;
use kubeherald::testkit::ApiServer;
use simdisk::SimDisk;

use super::chance;
use super::checks;
use super::cluster;
use super::director::Director;
use super::disk;
use super::life::{back_off, down, live};
use super::plan::{Loss, MINUTE, Ms, Plan, What};
use super::record::{Life, LifeEnd, Record};
use super::stories::{self, Script};
use super::world::{Trace, World, lock};

/// A life that lasted for so long begins the kubelet's back-off anew.
const STEADY: Ms = 10 * MINUTE;

/// An invariant that did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which one.
    pub check: &'static str,
    pub at: Ms,
    pub text: String,
}

pub struct Outcome {
    pub script: Arc<Script>,
    pub record: Record,
    pub trace: Trace,
    pub failures: Vec<Failure>,
    pub took: Duration,
}

/// Carries a plan out. `words`: keep the trace as text.
pub fn run(plan: &Plan, words: bool) -> Outcome {
    run_by(plan, words, play)
}

/// The same by another way of playing, for the proof that checks can fail.
pub fn run_by(plan: &Plan, words: bool, play: impl FnOnce(&Arc<World>, &SimDisk)) -> Outcome {
    let began = Instant::now();
    let plan = Arc::new(plan.clone());
    let script = Arc::new(stories::script(&plan));
    let server = Arc::new(ApiServer::in_memory(Clock::Fixed(cluster::began())));
    for object in cluster::initial() {
        server.apply(object).expect("the cluster is made of valid objects");
    }
    let world = World::new(Arc::clone(&plan), Arc::clone(&script), server, words);
    let disk = SimDisk::new();
    disk::connect(&disk, &world);
    let panicked = catch_unwind(AssertUnwindSafe(|| play(&world, &disk))).err();
    disk.heal();
    let trace = world.trace();
    let mut record = std::mem::take(&mut *lock(&world.record));
    record.disk.0 = disk.used();
    record.disk.1 = record.disk.1.max(disk.used());
    let mut failures = Vec::new();
    if let Some(payload) = panicked {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        failures.push(Failure { check: "panic", at: 0, text: text.unwrap_or_default() });
    } else {
        failures.extend(checks::all(&plan, &script, &record));
    }
    Outcome { script, record, trace, failures, took: began.elapsed() }
}

fn play(world: &Arc<World>, disk: &SimDisk) {
    let mut director = Director::new(world, disk.clone());
    let plan = Arc::clone(&world.plan);
    let mut exits = 0;
    loop {
        let from = world.now();
        let end = live(world, &mut director);
        let to = world.now();
        let mut record = lock(&world.record);
        record.disk.1 = record.disk.1.max(disk.used());
        record.lives.push(Life { from, to, end: end.clone() });
        drop(record);
        let killer = world.take_killer();
        let met = killer.is_some_and(|(_, met)| met);
        let killer = killer.map(|(item, _)| &plan.items[item].what);
        let (pause, loss) = match &end {
            LifeEnd::Over => return,
            LifeEnd::Killed => {
                if let Some(what) = killer.filter(|_| met) {
                    world.met(what);
                }
                let loss = match killer {
                    Some(What::Kill { loss, .. }) => *loss,
                    _ => Loss::Process,
                };
                (killer.map_or(1000, down), loss)
            }
            LifeEnd::Stopped => {
                let stopped =
                    plan.items.iter().rev().find(|i| i.at <= to && matches!(i.what, What::Stop { .. }));
                (stopped.map_or(1000, |item| down(&item.what)), Loss::Process)
            }
            LifeEnd::Exited(why) => {
                world.note(&format!("the bot ended by itself: {why}"));
                exits = if to.saturating_sub(from) > STEADY { 0 } else { exits + 1 };
                (back_off(exits), Loss::Process)
            }
        };
        if world.is_lost() {
            return;
        }
        let back = to + pause;
        director.pass_to(back.min(plan.ends));
        if back >= plan.ends {
            return;
        }
        disk.restart(disk::loss(loss, chance::draw(plan.seed, "loss", world.life() as u64)));
    }
}
