//! Does what the plan says at its time, whether the bot lives or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use kubeherald::testkit::apiserver::Backup;
use kubeherald::testkit::{Fault, Verb, What as Wrong};
use serde_json::{Value, json};
use simdisk::SimDisk;

use super::cluster::{NODES, RESOURCES, TARGETS, Write, wall};
use super::hostile;
use super::plan::{Annotation, ApiFault, DiskFault, Ms, SECOND, What};
use super::world::World;

/// How often somebody looks at `/readyz`.
const READY_EVERY: Ms = 15 * SECOND;
/// An armed kill that met no operation happens after so long.
const KILL_ANYWAY: Ms = 20 * SECOND;
/// For as good as ever.
const ALWAYS: u32 = u32::MAX;

/// What is on the agenda.
#[derive(Debug, Clone, Copy)]
enum Act {
    Write(usize),
    Begin(usize),
    End(usize),
    KillAnyway(usize),
    Backup(usize),
    /// What was lost by going back is written again.
    Rewrite,
    Hostile(usize, u64),
    Ready,
}

/// What somebody wants of the running bot.
#[derive(Debug, Clone)]
pub enum Wish {
    Ready,
    Reload,
    Silence { namespace: &'static str, workload: String, lasts: Ms },
    Stop,
}

pub struct Director {
    world: Arc<World>,
    pub disk: SimDisk,
    acts: Vec<(Ms, Act)>,
    next: usize,
    backups: BTreeMap<usize, Backup>,
    lost: Vec<Value>,
    /// By kind, namespace and name: what somebody put beside the objects' own annotations.
    annotations: BTreeMap<(String, String, String), BTreeMap<String, String>>,
    forbidden: BTreeMap<usize, Vec<String>>,
    /// Rules that the configuration on disk lacks.
    pub without: Vec<String>,
}

impl Director {
    pub fn new(world: &Arc<World>, disk: SimDisk) -> Self {
        let mut acts = Vec::new();
        let plan = &world.plan;
        acts.extend(world.script.writes.iter().enumerate().map(|(n, (at, _))| (*at, Act::Write(n))));
        for (number, item) in plan.items.iter().enumerate() {
            let at = item.at;
            acts.push((at, Act::Begin(number)));
            match &item.what {
                What::Api { lasts, .. }
                | What::Rbac { lasts, .. }
                | What::Receiver { lasts, .. }
                | What::ClockDrift { lasts, .. }
                | What::Disk { lasts, .. }
                | What::Annotate { lasts, .. } => acts.push((at + lasts, Act::End(number))),
                What::Kill { .. } => acts.push((at + KILL_ANYWAY, Act::KillAnyway(number))),
                What::EtcdRestore { back } => {
                    acts.push((at.saturating_sub(*back), Act::Backup(number)));
                    acts.push((at + SECOND, Act::Rewrite));
                }
                What::Hostile { hostile, .. } => {
                    for (nth, after) in hostile::times(*hostile).iter().enumerate() {
                        acts.push((at + after, Act::Hostile(number, nth as u64)));
                    }
                }
                _ => {}
            }
        }
        let mut at = READY_EVERY;
        while at < plan.ends {
            acts.push((at, Act::Ready));
            at += READY_EVERY;
        }
        // Stable: what happens at one moment happens in the order of the plan.
        acts.sort_by_key(|(at, _)| *at);
        Self {
            world: Arc::clone(world),
            disk,
            acts,
            next: 0,
            backups: BTreeMap::new(),
            lost: Vec::new(),
            annotations: BTreeMap::new(),
            forbidden: BTreeMap::new(),
            without: Vec::new(),
        }
    }

    /// When the next thing happens; at the latest the end.
    pub fn due(&self) -> Ms {
        self.acts.get(self.next).map_or(self.world.plan.ends, |(at, _)| *at).min(self.world.plan.ends)
    }

    /// Everything that happens while nobody lives.
    pub fn pass_to(&mut self, to: Ms) {
        while self.due() <= to && self.due() < self.world.plan.ends {
            self.world.pass_to(self.due());
            // Whoever wants something of the bot finds nobody there.
            let _nobody = self.act();
        }
        self.world.pass_to(to);
    }

    /// The next thing happens.
    pub fn act(&mut self) -> Option<Wish> {
        let (_, act) = *self.acts.get(self.next)?;
        self.next += 1;
        match act {
            Act::Write(number) => {
                let (_, write) = self.world.script.writes[number].clone();
                self.write(write);
            }
            Act::Begin(item) => return self.begin(item),
            Act::End(item) => self.end(item),
            Act::KillAnyway(item) => self.world.kill_if_armed(item),
            Act::Backup(item) => {
                self.backups.insert(item, self.world.server.backup());
            }
            Act::Rewrite => {
                for object in std::mem::take(&mut self.lost) {
                    self.world.server.apply(object).expect("it was there before");
                }
            }
            Act::Hostile(item, nth) => {
                if let What::Hostile { hostile, target } = self.world.plan.items[item].what {
                    for write in hostile::writes(&self.world, hostile, target, item, nth) {
                        self.write(write);
                    }
                }
            }
            Act::Ready => return Some(Wish::Ready),
        }
        None
    }

    pub fn write(&self, write: Write) {
        match write {
            Write::Apply(mut object) => {
                let text =
                    |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (kind, namespace, name) =
                    (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
                self.world.note(&format!("the cluster writes {kind} {namespace}/{name}"));
                let added = self.annotations.get(&(kind, namespace, name));
                if let (Some(added), Some(metadata)) = (added, object.pointer_mut("/metadata")) {
                    metadata["annotations"] = json!(added);
                }
                self.world.server.apply(object).expect("stories write valid objects");
            }
            Write::Log { namespace, pod, run, line } => {
                let ended = wall(self.world.now().saturating_sub(SECOND));
                let id = format!("containerd://app-{run}");
                self.world.server.log((namespace, &pod, "app"), &id, [(ended, line.as_str())]);
            }
            Write::Delete { kind, namespace, name } => {
                self.world.note(&format!("the cluster deletes {kind} {namespace}/{name}"));
                self.world.server.delete(&kind, &namespace, &name);
            }
        }
    }

    fn begin(&mut self, item: usize) -> Option<Wish> {
        let world = Arc::clone(&self.world);
        let what = &world.plan.items[item].what;
        world.note(&format!("begins: {}", what.label()));
        match what {
            What::Story { .. } | What::Hostile { .. } => world.met(what),
            What::Api { fault, resources, .. } => {
                world.begin_api_fault(item, *fault, resources);
                self.set_faults();
                // A fault of requests would not be met before a watch ends by itself.
                self.close(resources);
            }
            What::EtcdRestore { .. } => self.go_back(item),
            What::Rbac { resources, .. } => {
                world.met(what);
                self.forbidden.insert(item, resources.clone());
                for plural in resources {
                    world.server.forbid(plural);
                }
            }
            What::Compact => {
                world.met(what);
                world.server.compact();
            }
            What::Receiver { receiver, fault, .. } => world.begin_receiver_fault(item, receiver, *fault),
            What::ClockStep { by } => {
                world.met(what);
                world.step(*by);
            }
            What::ClockDrift { ppm, .. } => {
                world.met(what);
                world.drift(*ppm);
            }
            What::Suspend { lasts } => self.suspend(item, *lasts),
            What::Disk { fault, .. } => {
                world.begin_disk_fault(item, *fault);
                if *fault == DiskFault::Full {
                    self.disk.set_capacity(Some(self.disk.used()));
                }
            }
            What::Kill { seam, nth, edge, .. } => {
                if !world.is_dead() {
                    world.arm(item, *seam, *nth, *edge);
                }
            }
            What::Stop { .. } => {
                if !world.is_dead() {
                    world.met(what);
                    return Some(Wish::Stop);
                }
            }
            What::Reload { without } => {
                world.met(what);
                self.without.clone_from(without);
                return Some(Wish::Reload);
            }
            What::Silence { target, lasts } => {
                let target = &TARGETS[target % TARGETS.len()];
                let (namespace, workload) = (target.namespace, target.workload());
                return Some(Wish::Silence { namespace, workload, lasts: *lasts });
            }
            What::Annotate { target, annotation, lasts } => {
                world.met(what);
                let until = wall(world.plan.items[item].at + lasts).to_string();
                self.annotate(*target, *annotation, Some(&until));
            }
        }
        None
    }

    fn end(&mut self, item: usize) {
        let world = Arc::clone(&self.world);
        let what = &world.plan.items[item].what;
        world.note(&format!("is over: {}", what.label()));
        world.end_fault(item);
        match what {
            What::Api { .. } => self.set_faults(),
            What::Rbac { resources, .. } => {
                self.forbidden.remove(&item);
                let still: Vec<&String> = self.forbidden.values().flatten().collect();
                let over = resources.iter().filter(|plural| !still.contains(plural));
                over.for_each(|plural| world.server.allow(plural));
            }
            What::ClockDrift { .. } => world.drift(0),
            What::Disk { fault: DiskFault::Full, .. } => self.disk.set_capacity(None),
            What::Annotate { target, annotation, .. } => self.annotate(*target, *annotation, None),
            _ => {}
        }
    }

    /// Scripts what the server does wrong from now on.
    fn set_faults(&self) {
        let server = &self.world.server;
        server.clear_faults();
        let faults = self.world.api_faults();
        let down = faults.iter().any(|(_, fault, _)| *fault == ApiFault::Down);
        let done =
            if down { server.stop().now_or_never() } else { server.restart().now_or_never().map(drop) };
        done.expect("a server in memory stops and starts at once");
        for (_, fault, resources) in &faults {
            let wrong = match fault {
                ApiFault::Down => continue,
                ApiFault::Reset => Wrong::Reset,
                ApiFault::Status429 => Wrong::TooManyRequests { retry_after: 1, json: false },
                ApiFault::Status500 => Wrong::Status(500),
                ApiFault::Status503 => Wrong::Status(503),
                ApiFault::Gone => Wrong::GoneInStream,
                ApiFault::EmptyWatch => Wrong::CloseWatches,
                ApiFault::Cut => Wrong::CutMidLine,
                ApiFault::Silence => Wrong::Silent,
                ApiFault::Hang => Wrong::HangBeforeHeaders,
                ApiFault::Garbage => Wrong::Garbage,
            };
            let verbs: &[Verb] = match fault {
                ApiFault::Gone | ApiFault::EmptyWatch => &[Verb::Watch],
                _ => &[Verb::List, Verb::Watch],
            };
            let all = RESOURCES
                .iter()
                .filter(|plural| resources.is_empty() || resources.iter().any(|of| of == *plural));
            for plural in all {
                for verb in verbs {
                    server.fault(Fault::new(*verb, plural, wrong.clone()).times(ALWAYS));
                }
            }
        }
    }

    fn close(&self, resources: &[String]) {
        if resources.is_empty() {
            self.world.server.close_watches();
        }
        for plural in resources {
            self.world.server.close_watches_of(plural);
        }
    }

    /// The state of an earlier moment is back; whoever writes objects writes them again a second later.
    fn go_back(&mut self, item: usize) {
        let Some(backup) = self.backups.remove(&item) else { return };
        let server = &self.world.server;
        self.world.met(&self.world.plan.items[item].what);
        let kinds: Vec<&str> = kubeherald::testkit::apiserver::RESOURCES.iter().map(|r| r.kind).collect();
        let now: Vec<Value> = kinds.iter().flat_map(|kind| server.objects(kind)).collect();
        server.restore(&backup);
        // What is gone meanwhile is removed by whoever removed it.
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        let known: Vec<Option<Value>> = now.iter().map(uid).collect();
        let old: Vec<Value> = kinds.iter().flat_map(|kind| server.objects(kind)).collect();
        for object in old.iter().filter(|object| !known.contains(&uid(object))) {
            if let Write::Delete { kind, namespace, name } = Write::delete(object) {
                server.delete(&kind, &namespace, &name);
            }
        }
        self.lost = now;
    }

    /// What happens meanwhile is done at once: for the process no time passes.
    fn suspend(&mut self, item: usize, lasts: Ms) {
        let world = Arc::clone(&self.world);
        if world.is_dead() {
            return;
        }
        world.met(&world.plan.items[item].what);
        let until = (world.now() + lasts).min(world.plan.ends);
        world.sleep(until.saturating_sub(world.now()));
        // Connections that nobody serves for so long are dead on both sides.
        world.server.close_watches();
        while self.due() < until {
            let _asleep = self.act();
        }
    }

    fn annotate(&mut self, target: usize, annotation: Annotation, until: Option<&str>) {
        let place = target % TARGETS.len();
        let (kind, namespace, name) = match annotation {
            Annotation::MuteNode => ("Node", "", NODES[target % NODES.len()]),
            _ => ("Deployment", TARGETS[place].namespace, TARGETS[place].name),
        };
        let entry = match annotation {
            Annotation::SilenceUntil => ("kubeherald.io/silence-until", until.map(str::to_owned)),
            Annotation::Mute | Annotation::MuteNode => {
                ("kubeherald.io/mute", until.map(|_| String::from("true")))
            }
        };
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let added = self.annotations.entry(key).or_default();
        match entry {
            (key, Some(value)) => added.insert(key.to_owned(), value),
            (key, None) => added.remove(key),
        };
        let named = |object: &Value| {
            object.pointer("/metadata/name").and_then(Value::as_str) == Some(name)
                && object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
                    == namespace
        };
        if let Some(object) = self.world.server.objects(kind).into_iter().find(named) {
            self.write(Write::Apply(object));
        }
    }
}
